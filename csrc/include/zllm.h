/* libzllm: text coded by an exact integer language model and an adaptive predictor.
 *
 * Everything here is integers, and every function gives the same integers on every machine, with every kernel and for
 * every batch size. docs/arithmetic.md says what is computed; this header says how to ask for it.
 *
 * Threading: a zllm_model is read-only once made and may be shared by any number of threads. A zllm_job and a zllm_team are
 * shared by the threads that work at them. Any function may be called by several threads at once, for different objects.
 * Errors: functions return a zllm_result; what they store in other places is undefined unless it is ZLLM_OK, except where
 * they say more. Pointers must not be NULL, and arrays must be as long as is said, which is not checked.
 * No function prints, exits, aborts or keeps a pointer that it was given, except where it says so.
 *
 * Not promised before version 1.0: that a program need not be compiled anew for another version of the library, and that
 * another arithmetic version decodes what this one encoded.
 */
#ifndef ZLLM_H
#define ZLLM_H

#include <stddef.h>
#include <stdint.h>

/* Functions that the shared library exports. ZLLM_STATIC: compiled into the program that calls them. */
#if defined(ZLLM_STATIC)
#define ZLLM_API
#elif defined(_WIN32) && defined(ZLLM_BUILD)
#define ZLLM_API __declspec(dllexport)
#elif defined(_WIN32)
#define ZLLM_API __declspec(dllimport)
#elif defined(__GNUC__)
#define ZLLM_API __attribute__((visibility("default")))
#else
#define ZLLM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ZLLM_VERSION_STRING "0.1.0"
#define ZLLM_VERSION_NUMBER 100 /* 10000 major + 100 minor + patch */

/* Raised whenever any integer on the coding path changes: data is decoded by the version that encoded it. */
#define ZLLM_ARITHMETIC_VERSION 7

/* The versions of the library that runs, which need not be those of the header that a program was compiled with. */
ZLLM_API const char *zllm_version(void); /* "0.1.0": a static string */
ZLLM_API uint32_t zllm_version_number(void);
ZLLM_API uint32_t zllm_arithmetic_version(void);

/* How an object is made, or a call works; where a function takes options, NULL asks for what all zeros ask for. */
typedef struct {
    size_t size; /* sizeof(zllm_options): later versions may have more fields, which mean nothing while they are zero */
    /* Where all memory comes from, and goes to; both NULL: the C library. allocate gives `size` bytes, aligned as malloc's are,
     * or NULL; release gets what it gave and the same size. Every thread that uses the object may call them. */
    void *(*allocate)(void *context, size_t size);
    void (*release)(void *context, void *memory, size_t size);
    void *context;
    size_t memory_limit; /* bytes that the object, or the call, may have at a time, with all that belongs to it; 0: any */
} zllm_options;

typedef enum {
    ZLLM_OK = 0,
    ZLLM_E_MEMORY = 1,             /* out of memory, or a limit of it is reached; nothing was made */
    ZLLM_E_MODEL = 2,              /* the model breaks a limit; zllm_model_error() says which */
    ZLLM_E_KERNEL_UNKNOWN = 3,     /* no kernel of that name exists */
    ZLLM_E_KERNEL_NOT_BUILT = 4,   /* it exists, but not for this processor family or compiler */
    ZLLM_E_KERNEL_UNSUPPORTED = 5, /* it was built, but this processor lacks the instructions */
    ZLLM_E_DATA = 6,               /* coded data that no encoder makes; outputs are undefined but in bounds */
    ZLLM_E_SPACE = 7,              /* an output buffer is too small */
    ZLLM_E_CANCELLED = 8,          /* *cancel became non-zero */
    ZLLM_E_ARGUMENT = 9,           /* an argument is out of its range */
    ZLLM_E_KERNEL_WRONG = 10,      /* the kernel's self-check found another integer than the scalar code gives */
    /* Of archives and of coded buffers (zllm_archive.h, zllm_text.h). */
    ZLLM_E_FORMAT = 11,  /* not zllm data */
    ZLLM_E_VERSION = 12, /* it takes another version of the library, or a feature that this one lacks */
    ZLLM_E_DAMAGED = 13, /* a checksum, a length or a structure is wrong, or the end is missing */
    ZLLM_E_MISSING = 14, /* a model or codec is not here */
    ZLLM_E_LIMIT = 15,   /* more of something than zllm_limits allows */
    ZLLM_E_TAR = 16,     /* the tar stream was broken before it was packed; the archive is whole */
    ZLLM_E_INPUT = 17,   /* the input cannot be read */
    ZLLM_E_OUTPUT = 18,  /* a function of the caller that takes data failed */
    ZLLM_END = 19        /* there is no more; no error */
} zllm_result;

/* Types of a tensor's elements. */
typedef enum { ZLLM_I8 = 0, ZLLM_U8, ZLLM_I16, ZLLM_I32, ZLLM_U32 } zllm_type;
/* Its name, "I8", ..., a static string, and the bytes of an element; NULL and 0 past the last type. */
ZLLM_API const char *zllm_type_name(zllm_type type);
ZLLM_API size_t zllm_type_size(zllm_type type);

/* A tensor of a model file (docs/model-format.md). */
typedef struct {
    const char *name; /* name_size bytes of UTF-8 */
    size_t name_size;
    zllm_type type;
    uint32_t dimensions;
    uint64_t shape[4];
    uint64_t offset, size; /* in bytes; the offset is from the start of the file */
    const uint8_t *data;   /* little-endian, at any address; NULL if the file is not in memory */
} zllm_tensor;

/* A model file as far as its header says: the container and its description are proper, and the tensors fill the file. What
 * is in them is checked by zllm_model_parse alone. */
typedef struct zllm_model_file zllm_model_file;
/* Bytes before the tensors' data, of a file that starts with these `size` bytes, at least 8 of them; 10 to 4 MiB and 8. */
ZLLM_API zllm_result zllm_model_file_front(const uint8_t *front, size_t size, uint64_t *bytes);
/* Open a file of which at least those bytes are given. If all of it is, tensors have data, for which `front` must stay.
 * ZLLM_E_MODEL if it is not a model file; *out is NULL on failure. */
ZLLM_API zllm_result zllm_model_file_open(const uint8_t *front, size_t size, const zllm_options *options,
                                          zllm_model_file **out);
ZLLM_API void zllm_model_file_free(zllm_model_file *file);
/* Bytes that the whole file has. */
ZLLM_API uint64_t zllm_model_file_size(const zllm_model_file *file);
/* JSON text of *size bytes, and *n tensors; they stay as long as the file is open. */
ZLLM_API const char *zllm_model_file_description(const zllm_model_file *file, size_t *size);
ZLLM_API const zllm_tensor *zllm_model_file_tensors(const zllm_model_file *file, size_t *n);

/* What files of a family of networks ("transformer") have: fields of the config and of each layer, and tensors. */
typedef struct {
    const char *part; /* "config", "layers" or "tensors" */
    const char *name; /* a layer's tensor is named with N in the place of the layer's number */
    const char *meaning;
    /* Of tensors, in terms of the config's fields: rows, columns (NULL: one dimension), and when there is one: an
     * expression, "always" or "optional". */
    const char *type, *rows, *columns, *when;
    const char *exponent;            /* of tensors: its name in the description's exponents, or NULL */
    int32_t low, high;               /* of a layer's field, or the exponent */
    int32_t needed, fallback;        /* what a field, or exponent, is if the file does not say; or it has to */
} zllm_schema_row;
/* The i-th row of that family's schema; 0 past the last, or for an unknown family. */
ZLLM_API int zllm_schema(const char *family, size_t i, zllm_schema_row *out);

typedef struct zllm_model zllm_model;

/* A model of all bytes of a .zlm file: checks every number, packs the weights for the kernel, and stores it in *out. `kernel`
 * is a name, or NULL for the fastest that this machine has. The bytes are copied, and may be freed at once. *out is NULL on
 * failure; ZLLM_E_MODEL: it is not a model that this program can compute, and zllm_model_error() says why. */
ZLLM_API zllm_result zllm_model_parse(const uint8_t *data, size_t size, const char *kernel,
                                      const zllm_options *options, zllm_model **out);
/* The same of a description (JSON text) and tensors that are not in one file; they need no offset. */
ZLLM_API zllm_result zllm_model_new(const char *description, size_t description_size, const zllm_tensor *tensors, size_t n,
                                    const char *kernel, const zllm_options *options, zllm_model **out);
/* Free a model, or NULL, when all jobs of it have been freed. */
ZLLM_API void zllm_model_free(zllm_model *model);
/* Why the last call of this thread that returned ZLLM_E_MODEL did: a line of UTF-8, which the next such call changes. */
ZLLM_API const char *zllm_model_error(void);
/* The name of the kernel that computes it: a static string. */
ZLLM_API const char *zllm_model_kernel(const zllm_model *model);
/* How many tokens there are. */
ZLLM_API uint32_t zllm_model_vocab(const zllm_model *model);
/* How many weights say what follows: one of each token, and where the head has two levels, before them one of each class. */
ZLLM_API uint32_t zllm_model_outputs(const zllm_model *model);
/* The token that starts streams and documents: vocab if the embedding has a row more, else the byte 0. */
ZLLM_API uint32_t zllm_model_start(const zllm_model *model);
/* Bytes of memory that the model holds, and that one stream needs while it is coded. Estimates: small parts are left out. */
ZLLM_API size_t zllm_model_memory(const zllm_model *model);
ZLLM_API size_t zllm_stream_memory(const zllm_model *model);

/* Kernels, which compute the same integers by different instructions: a model's, and the adaptive predictor's. The name of the i-th of all that exist, the fastest
 * first, or NULL past the last; a static string. */
ZLLM_API const char *zllm_kernel_name(size_t i);
/* ZLLM_OK if that kernel can run here, else which ZLLM_E_KERNEL_... says why not; ZLLM_E_ARGUMENT for NULL. */
ZLLM_API zllm_result zllm_kernel_state(const char *name);
/* Several kernels may have the same instructions for the predictor: the name of those that this one has, that of a kernel, a
 * static string. NULL if the kernel cannot run here. */
ZLLM_API const char *zllm_kernel_predictor(const char *name);
/* Give the system back what the C library's malloc keeps for each thread, where it can; nothing that is in use. */
ZLLM_API void zllm_memory_trim(void);

/* On a token to encode: the decoder knows it, it is context only. It is the start token, and before and after it stand
 * others: the last of one document and the first of the next. */
#define ZLLM_GIVEN 0x80000000u

/* One stream of a frame: a run of its text that the model reads with a context of its own.
 * Encoding reads `tokens`, whose text is `size` bytes. Decoding is told of `cuts`: at each of these ascending offsets
 * (0 < cut < size) a new document starts, as the encoder was told by ZLLM_GIVEN. */
typedef struct {
    const uint32_t *tokens;
    size_t n_tokens;
    size_t size;
    const uint64_t *cuts;
    size_t n_cuts;
} zllm_stream;

/* One frame: streams that advance in lockstep, token by token, and share one predictor and one code string.
 * Encoding writes `coded` (coded_size: room in, length out); decoding reads it and writes the streams' text, `size` bytes
 * in all, to `data`. */
typedef struct {
    zllm_stream *streams;
    size_t n_streams; /* 1 to 256, none of them empty */
    uint8_t *data;
    size_t size;      /* below 2^32 - 1 */
    uint8_t *coded;
    size_t coded_size;
} zllm_frame;

/* Threads that decode the same jobs together, sharing every product by its rows: the weights of a model that is larger than
 * the caches are then read once for all lanes. Each calls zllm_job_work with the same jobs, made for one thread, once. */
typedef struct zllm_team zllm_team;
/* For 1 to 256 threads, else ZLLM_E_ARGUMENT. It is for one set of jobs. *out is NULL on failure. */
ZLLM_API zllm_result zllm_team_new(uint32_t threads, const zllm_options *options, zllm_team **out);
/* Free a team, or NULL, when all of its threads have returned. */
ZLLM_API void zllm_team_free(zllm_team *team);

/* How a thread codes; nothing in it changes a byte of the result. Pointers may be NULL. */
typedef struct {
    uint32_t lanes;                 /* rows of a step: streams decoded or tokens of one encoded at once, 1 to 256 */
    const volatile int32_t *cancel; /* polled between steps; set it by an atomic or a volatile store */
    volatile uint64_t *progress;    /* counts bytes of text done */
    uint64_t *nanoseconds;          /* [ZLLM_STAGES] of zllm_testing.h: time is added to it */
    zllm_team *team;                /* when decoding: to which the thread belongs */
} zllm_run;

/* A frame to be coded by `threads` threads together; by 0 if the model is computed elsewhere (below). Every stream is
 * started with token `start`, which is not coded: it is below vocab, or vocab itself if the embedding has vocab + 1 rows.
 * The frame is the caller's and must stay. Its result is there when every thread has returned ZLLM_OK; when one fails, so
 * do the others that have not done their part yet. threads: up to 256. What the threads work with counts as the job's memory.
 * ZLLM_E_ARGUMENT: the streams' sizes, tokens or cuts do not fit each other, or the model. *out is NULL on failure. */
typedef struct zllm_job zllm_job;
ZLLM_API zllm_result zllm_job_new(const zllm_model *model, zllm_frame *frame, uint32_t start, uint32_t threads,
                                  int decoding, const zllm_options *options, zllm_job **out);
/* Free a job, or NULL, when all of its threads have returned. */
ZLLM_API void zllm_job_free(zllm_job *job);
/* The part of thread number `thread`, from 0. Every thread of a job has to call this once, at about the same time, for
 * they wait for each other; where one cannot come, set *cancel. Several jobs, all to be encoded or all to be decoded,
 * may be given by a thread, or a team, that is the only one of each: when decoding, their streams fill the steps together;
 * what it works with counts as the first one's memory. Failures: ZLLM_E_MEMORY, ZLLM_E_SPACE (encoding), ZLLM_E_DATA
 * (decoding), ZLLM_E_CANCELLED, and ZLLM_E_ARGUMENT for jobs, numbers or lanes that do not fit. A job works once. */
ZLLM_API zllm_result zllm_job_work(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run);
/* Bytes that a job holds: the predictor's tables, its text, and the model's probabilities when encoding. */
ZLLM_API size_t zllm_job_memory(const zllm_model *model, size_t size, size_t n_streams, int decoding);

/* Coding with a model that is computed elsewhere, to the same bytes: jobs of 0 threads, one thread at a time for each.
 *
 * Encoding. The decisions on token t's path through the byte trie have the numbers first[t] to first[t + 1] - 1; first is
 * [vocab + 1]. Decision d is whether the token, one of those from low[d] to high[d] - 1, is at or above split[d]; its
 * probability is made of their weights (docs/arithmetic.md, section 5). Where the head has two levels, the three are
 * numbers of classes, or of tokens behind them: those of zllm_model_outputs. They may be NULL. */
ZLLM_API void zllm_trie_paths(const zllm_model *model, uint32_t *first, uint32_t *low, uint32_t *split, uint32_t *high);
/* Encode the next tokens of the frame, in its order: of each stream the first, of each the second, and so on. lm: the
 * model's probabilities of all decisions on these tokens' paths, n in all, which end with a token's. When the frame's last
 * token is coded, coded_size is the code string's length. */
ZLLM_API zllm_result zllm_steps_encode(zllm_job *job, const uint32_t *lm, size_t n, const zllm_run *run);

#define ZLLM_ENDED 0xffffffffu /* the lane of a stream that is at its end */
/* Distributions, one a lane: all weights (zllm_model_outputs), and the sum of those before each block of 64. They have to be those of docs/arithmetic.md, section 5: at least 1, at most 2^26, and their sums. */
typedef struct {
    const uint32_t *weights; /* [lanes][outputs] */
    const uint64_t *base;    /* [lanes][outputs / 64 + 1] */
} zllm_distributions;
/* Decode a token of each stream. `lane` has the lanes of the streams of all jobs, one job after the other; that of a
 * stream that gets to its end becomes ZLLM_ENDED. tokens[lane], of as many as there are lanes, becomes what the model is to
 * be fed next. Without distributions (NULL) nothing is decoded: a new job's tokens are those that its streams start with. */
ZLLM_API zllm_result zllm_steps_decode(zllm_job **jobs, size_t n, uint32_t *lane, size_t lanes,
                                       const zllm_distributions *distributions, uint32_t *tokens, const zllm_run *run);

/* `length` bytes at offset `at` are a copy of those `distance` bytes earlier; both may overlap. */
typedef struct {
    uint64_t at, length, distance;
} zllm_repeat;
/* Repeats of at least `least` (128 or more) bytes, ascending and apart from each other; n below 2^32 - 1.
 * *count: room in, number out. Only encoders need it, and nothing depends on which repeats are found. */
ZLLM_API zllm_result zllm_repeats(const uint8_t *text, size_t n, size_t least, zllm_repeat *out, size_t *count,
                                  const zllm_options *options);

/* Text without a model, by the adaptive predictor alone, with the kernel of that name, or the fastest one for NULL; a kernel
 * is refused as zllm_model_new refuses it. At each of the ascending offsets `cuts` (0 < cut < n) a new
 * document starts; the decoder must be given the same. n must be below 2^32 - 1. *out_size: room in, length out.
 * The encoder chooses what contexts are made for (docs/arithmetic.md, "profile"), and the code string says it.
 * Any bytes decode to something: a wrong text is not noticed. `cancel` (polled) and `progress` (counts bytes of text done)
 * may be NULL. Failures: ZLLM_E_MEMORY, ZLLM_E_CANCELLED, ZLLM_E_SPACE (encoding), ZLLM_E_KERNEL_...,
 * and ZLLM_E_ARGUMENT for n or cuts. */
ZLLM_API zllm_result zllm_cm_encode(const uint8_t *text, size_t n, const uint64_t *cuts, size_t n_cuts, uint8_t *out,
                                    size_t *out_size, const volatile int32_t *cancel, volatile uint64_t *progress,
                                    const char *kernel, const zllm_options *options);
ZLLM_API zllm_result zllm_cm_decode(const uint8_t *coded, size_t coded_size, uint8_t *text, size_t n, const uint64_t *cuts,
                                    size_t n_cuts, const volatile int32_t *cancel, volatile uint64_t *progress,
                                    const char *kernel, const zllm_options *options);

/* A run of audio samples, after `raw` other bytes: `count` times one sample of each of 1 to 8 channels, `width` bytes each, 1 to
 * 4, the highest byte first if `big`; `centred`: unsigned numbers, whose middle is silence; `shift`: so many of the lowest bits,
 * fewer than there are, are zero in all. */
typedef struct {
    uint64_t raw, count; /* count is 1 or more */
    uint32_t width, channels, shift, big, centred;
} zllm_pcm_run;

/* Whether bytes without a header are samples, as far as differences between neighbours tell: the run that ends with them, its
 * bytes before the first whole sample in `raw`, or a count of 0. Only encoders need it. */
ZLLM_API void zllm_pcm_measure(const uint8_t *data, size_t n, zllm_pcm_run *run);
/* Audio samples, and bytes around them, as a payload of codec pcm (docs/media.md), in its strong or its `fast` form. Any bytes
 * may be called samples; n must be below 2^32 - 1. *out_size: room in, length out. `cancel` and `progress` as for zllm_cm_encode.
 * Failures: ZLLM_E_MEMORY, ZLLM_E_CANCELLED, ZLLM_E_SPACE, and ZLLM_E_ARGUMENT for runs that do not fit the data, or change
 * the format more than 8 times and once more in each 64 KiB. */
ZLLM_API zllm_result zllm_pcm_encode(const uint8_t *data, size_t n, const zllm_pcm_run *runs, size_t n_runs, int fast,
                                     uint8_t *out, size_t *out_size, const volatile int32_t *cancel,
                                     volatile uint64_t *progress, const zllm_options *options);
/* ZLLM_E_DATA: the runs do not fit n bytes, or another version made it. Any code string decodes to something. */
ZLLM_API zllm_result zllm_pcm_decode(const uint8_t *coded, size_t coded_size, uint8_t *data, size_t n,
                                     const volatile int32_t *cancel, volatile uint64_t *progress,
                                     const zllm_options *options);
/* Bytes of memory that either takes, at most. */
ZLLM_API size_t zllm_pcm_memory(int fast);

/* A run of `rows` rows of pixels, after `raw` other bytes: `columns` pixels of `planes` samples, 1 to 4 and 2^18 a row, of `width` bytes, 1 or 2,
 * the highest byte first if `big`; `padding` bytes follow each row. */
typedef struct {
    uint64_t raw, rows; /* rows is 1 or more, and so is columns */
    uint32_t columns, planes, width, big, padding;
} zllm_image_run;

/* Whether bytes without a header are rows of pixels, as zllm_pcm_measure tells of samples: rows is 0 if not. */
ZLLM_API void zllm_image_measure(const uint8_t *data, size_t n, zllm_image_run *run);
/* Pixels, and bytes around them, as a payload of codec image (docs/media.md), and back; all as of zllm_pcm_encode and
 * zllm_pcm_decode. */
ZLLM_API zllm_result zllm_image_encode(const uint8_t *data, size_t n, const zllm_image_run *runs, size_t n_runs,
                                       uint8_t *out, size_t *out_size, const volatile int32_t *cancel,
                                       volatile uint64_t *progress, const zllm_options *options);
ZLLM_API zllm_result zllm_image_decode(const uint8_t *coded, size_t coded_size, uint8_t *data, size_t n,
                                       const volatile int32_t *cancel, volatile uint64_t *progress,
                                       const zllm_options *options);
/* Bytes of memory that either takes for `size` bytes, at most. */
ZLLM_API size_t zllm_image_memory(uint64_t size);

/* A stream of deflate (RFC 1951) and the data that it unpacks to, below 2^31 bytes, as a recipe (docs/media.md) by which that
 * very stream is made of the data again. `window`: log2 of its window, 8 to 15; `hint`: the first two bytes of the recipe of a
 * stream that the same program wrote, or two of 255. *recipe_size: room in, length out. Failures: ZLLM_E_SPACE: there is no
 * such recipe, or a longer one; ZLLM_E_DATA: it is no stream; ZLLM_E_ARGUMENT, ZLLM_E_MEMORY, ZLLM_E_CANCELLED. */
ZLLM_API zllm_result zllm_deflate_find(const uint8_t *coded, size_t coded_size, const uint8_t *data, size_t n,
                                       uint32_t window, const uint8_t *hint, uint8_t *recipe, size_t *recipe_size,
                                       const volatile int32_t *cancel, const zllm_options *options);
/* Rows of a PNG image, each a filter's number and `row` bytes, as filters and pixels; `pixel`: bytes between a byte and the one
 * left of it, 1 to 8. ZLLM_E_DATA: there is no such filter. */
ZLLM_API zllm_result zllm_png_unfilter(const uint8_t *filtered, size_t rows, size_t row, size_t pixel, uint8_t *filters,
                                       uint8_t *pixels);
/* The n bytes that a plan makes of unpacked ones (docs/media.md, codec rebuild). ZLLM_E_DATA: it makes others, or nothing. */
ZLLM_API zllm_result zllm_rebuild_join(const uint8_t *plan, size_t plan_size, const uint8_t *unpacked, size_t unpacked_size,
                                       uint8_t *out, size_t n, const volatile int32_t *cancel, const zllm_options *options);
/* Bytes of memory that it takes for n bytes made of so many unpacked ones, at most. */
ZLLM_API size_t zllm_rebuild_memory(uint64_t n, uint64_t unpacked);

#ifdef __cplusplus
}
#endif

#endif
