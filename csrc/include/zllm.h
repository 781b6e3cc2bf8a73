/* zllm: exact integer language model and its arithmetic coder.
 *
 * Everything here is integers, and every function gives the same integers on every machine, with every kernel and for
 * every batch size. docs/arithmetic.md says what is computed; this header says how to ask for it.
 *
 * Threading: a zllm_model is read-only once made and may be shared by any number of threads.
 * A zllm_job is shared by the threads that work at it; nothing else is.
 * No function prints, exits, aborts or keeps a pointer that it was given, except where it says so.
 */
#ifndef ZLLM_H
#define ZLLM_H

#include <stddef.h>
#include <stdint.h>

/* Raised whenever any integer on the coding path changes. */
#define ZLLM_ARITHMETIC_VERSION 7

typedef enum {
    ZLLM_OK = 0,
    ZLLM_E_MEMORY = 1,             /* out of memory; nothing was made */
    ZLLM_E_MODEL = 2,              /* the model breaks a limit; zllm_model_error() says which */
    ZLLM_E_KERNEL_UNKNOWN = 3,     /* no kernel of that name exists */
    ZLLM_E_KERNEL_NOT_BUILT = 4,   /* it exists, but not for this processor family or compiler */
    ZLLM_E_KERNEL_UNSUPPORTED = 5, /* it was built, but this processor lacks the instructions */
    ZLLM_E_DATA = 6,               /* coded data that no encoder makes; outputs are undefined but in bounds */
    ZLLM_E_SPACE = 7,              /* an output buffer is too small */
    ZLLM_E_CANCELLED = 8,          /* *cancel became non-zero */
    ZLLM_E_ARGUMENT = 9,           /* an argument is out of its range */
    ZLLM_E_KERNEL_WRONG = 10       /* the kernel's self-check found another integer than the scalar code gives */
} zllm_result;

typedef struct {
    uint32_t vocab, dim, layers, heads, kv_heads, head_dim, ffn, window;
    /* Variants, 0 if not wanted. */
    uint32_t qk;         /* heads of queries and keys: 0 normalised, 1 plain, 2 normalised and multiplied by a gain */
    uint32_t mlp;        /* 0 SwiGLU, 1 GELU */
    uint32_t parallel;   /* 1: the feed-forward reads what attention read */
    uint32_t positions;  /* learned positions, so many */
    uint32_t embed_rows; /* of an embedding that is not the head's: vocab or, with a start token of its own, vocab + 1 */
    uint32_t wide_head;  /* 1: the head's input has 15 bits */
} zllm_config;

/* int8 weights [rows][cols] in [-127, 127], one positive scale a row: value = q * scale * 2^-exponent. */
typedef struct {
    const int8_t *q;
    const int16_t *scale;
    const int32_t *bias; /* [rows], in the map's fractional bits, below 2^30 in size; or NULL */
    uint32_t rows, cols;
    int32_t exponent;
} zllm_weights;

/* Of the elements of a head: value = gain * 2^-exponent. */
typedef struct {
    const int16_t *gain; /* [head_dim]; NULL unless config.qk is 2 */
    int32_t exponent;
} zllm_gain;

typedef struct {
    zllm_weights qkv;      /* [(heads + 2 kv_heads) * head_dim][dim] */
    zllm_weights o;        /* [dim][heads * head_dim] */
    zllm_weights gate_up;  /* [2 ffn][dim], gates first; [ffn][dim] for GELU */
    zllm_weights down;     /* [dim][ffn] */
    uint32_t temperature;  /* 2^15 to 2^16 - 1; score factor = temperature * 2^-temperature_exponent, in log2 units */
    int32_t temperature_exponent;
    uint32_t v_shift;      /* 0 to 40 */
    uint32_t up_frac;      /* 0 to 12 */
    uint32_t k_frac;       /* 0 to 30; fractional bits of a key's scale, 18 for normalised heads */
    uint32_t wide;         /* inputs with 15 bits: 1 of qkv, 2 of o, 4 of gate_up, 8 of down */
    zllm_gain q_gain, k_gain;
} zllm_layer;

typedef struct {
    zllm_config config;
    const uint8_t *token_bytes;     /* the tokens one after the other, ascending by bytes, no two equal */
    const uint32_t *token_offsets;  /* [vocab + 1] into token_bytes */
    size_t token_bytes_size;
    zllm_weights head;              /* [vocab][dim] */
    const int8_t *embed;            /* [config.embed_rows][dim]; NULL if these are 0: the head's q */
    const int16_t *embed_scale;     /* [config.embed_rows, or vocab], in 2^-embed_exponent */
    int32_t embed_exponent;         /* 13 to 40 */
    const int32_t *positions;       /* [config.positions][dim], in 2^-12, up to 2^28 in size; NULL if these are 0 */
    const uint32_t *rope_step;      /* [head_dim / 2], turns a position in 2^-32 */
    const zllm_layer *layers;       /* [config.layers] */
} zllm_model_data;

typedef struct zllm_model zllm_model;

/* Checks every number of the model, packs its weights for the kernel and stores it in *out. `kernel` is a name, or NULL
 * for the fastest that this machine has. The data is copied, and may be freed at once. *out is NULL on failure. */
zllm_result zllm_model_new(const zllm_model_data *data, const char *kernel, zllm_model **out);
void zllm_model_free(zllm_model *model);
/* What the last zllm_model_new of this thread did not like; a static string. */
const char *zllm_model_error(void);
const char *zllm_model_kernel(const zllm_model *model);
/* Bytes of memory that the model holds, and that one stream needs while it is coded. */
size_t zllm_model_memory(const zllm_model *model);
size_t zllm_stream_memory(const zllm_model *model);

/* Name of the i-th kernel, or NULL past the last; zllm_kernel_state says whether it can run here. */
const char *zllm_kernel_name(size_t i);
zllm_result zllm_kernel_state(const char *name);
/* Compare every primitive of a kernel with the scalar one on fixed vectors: ZLLM_OK or ZLLM_E_KERNEL_WRONG.
 * zllm_model_new does it once a process for the kernel it takes. */
zllm_result zllm_kernel_check(const char *name);
/* Give the system back what malloc keeps for each thread, where malloc can. */
void zllm_memory_trim(void);

/* Shortest of `repeats` runs of the kernel's product of an int8 matrix [rows][cols] with `batch` rows, in nanoseconds;
 * rows and cols multiples of 32, each up to 4096, batch up to 256. */
zllm_result zllm_kernel_time(const char *name, uint32_t rows, uint32_t cols, uint32_t batch, uint32_t repeats,
                             uint64_t *nanoseconds);

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

/* What the time is spent on. */
typedef enum {
    ZLLM_STAGE_MATRIX = 0, /* products with the layers' matrices */
    ZLLM_STAGE_HEAD,       /* product with the head's matrix */
    ZLLM_STAGE_ATTENTION,  /* products with cached keys and values */
    ZLLM_STAGE_QUANTISE,   /* normalising and quantising rows */
    ZLLM_STAGE_SCALE,      /* sums to fixed point, residual */
    ZLLM_STAGE_CACHE,      /* rotary code, keys and values into the cache */
    ZLLM_STAGE_SOFTMAX,    /* scores to weights of values */
    ZLLM_STAGE_GATE,       /* SwiGLU */
    ZLLM_STAGE_WEIGHTS,    /* logits to prefix sums */
    ZLLM_STAGE_WALK,       /* prefix sums to probabilities of decisions, when encoding */
    ZLLM_STAGE_MIXER,      /* predictor and range coder; when decoding, the walk as well */
    ZLLM_STAGE_WAIT,       /* for other threads */
    ZLLM_STAGES
} zllm_stage;

/* Threads that decode the same jobs together, sharing every product by its rows: the weights of a model that is larger than
 * the caches are then read once for all lanes. Each calls zllm_job_work with the same jobs, made for one thread, once. */
typedef struct zllm_team zllm_team;
zllm_result zllm_team_new(uint32_t threads, zllm_team **out);
void zllm_team_free(zllm_team *team);

/* How a thread codes; nothing in it changes a byte of the result. Pointers may be NULL. */
typedef struct {
    uint32_t lanes;                 /* rows of a step: streams decoded or tokens of one encoded at once, 1 to 256 */
    const volatile int32_t *cancel; /* polled between steps; set it by an atomic or a volatile store */
    volatile uint64_t *progress;    /* counts bytes of text done */
    uint64_t *nanoseconds;          /* [ZLLM_STAGES]: time is added to it */
    zllm_team *team;                /* when decoding: to which the thread belongs */
} zllm_run;

/* A frame to be coded by `threads` threads together; by 0 if the model is computed elsewhere (below). Every stream is
 * started with token `start`, which is not coded: it is below vocab, or vocab itself if the embedding has vocab + 1 rows.
 * The frame is the caller's and must stay. Its result is there when every thread has returned ZLLM_OK; when one fails, so
 * do the others that have not done their part yet. *out is NULL on failure. threads: up to 256. */
typedef struct zllm_job zllm_job;
zllm_result zllm_job_new(const zllm_model *model, zllm_frame *frame, uint32_t start, uint32_t threads, int decoding,
                         zllm_job **out);
void zllm_job_free(zllm_job *job);
/* The part of thread number `thread`, from 0. Every thread of a job has to call this once, at about the same time, for
 * they wait for each other; where one cannot come, set *cancel. Several jobs, all to be encoded or all to be decoded,
 * may be given by a thread, or a team, that is the only one of each: when decoding, their streams fill the steps together. */
zllm_result zllm_job_work(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run);
/* Bytes that a job holds: the predictor's tables, its text, and the model's answers when encoding. */
size_t zllm_job_memory(const zllm_model *model, size_t size, size_t n_streams, int decoding);

/* Coding with a model that is computed elsewhere, to the same bytes: jobs of 0 threads, one thread at a time for each.
 *
 * Encoding. The decisions on token t's way through the byte trie have the numbers first[t] to first[t + 1] - 1; first is
 * [vocab + 1]. Decision d is whether the token, one of those from low[d] to high[d] - 1, is at or above split[d]; its
 * probability is made of the tokens' weights (docs/arithmetic.md, section 5). These three may be NULL. */
void zllm_model_ways(const zllm_model *model, uint32_t *first, uint32_t *low, uint32_t *split, uint32_t *high);
/* Encode the next tokens of the frame, in its order: of each stream the first, of each the second, and so on. lm: the
 * model's probabilities of all decisions on these tokens' ways, n in all, which end with a token's. When the frame's last
 * token is coded, coded_size is the code string's length. */
zllm_result zllm_steps_encode(zllm_job *job, const uint32_t *lm, size_t n, const zllm_run *run);

#define ZLLM_ENDED 0xffffffffu /* the lane of a stream that is at its end */
/* What the model says of its lanes: of each token its weight, and the sum of the weights of all tokens before each block
 * of 64. They have to be those of docs/arithmetic.md, section 5: at least 1, at most 2^26, and their sums. */
typedef struct {
    const uint32_t *weights; /* [lanes][vocab] */
    const uint64_t *base;    /* [lanes][vocab / 64 + 1] */
} zllm_answers;
/* Decode a token of each stream. `lane` has the lanes of the streams of all jobs, one job after the other; that of a
 * stream that gets to its end becomes ZLLM_ENDED. tokens[lane], of as many as there are lanes, becomes what the model is to
 * be fed next. Without answers (NULL) nothing is decoded: a new job's tokens are those that its streams start with. */
zllm_result zllm_steps_decode(zllm_job **jobs, size_t n, uint32_t *lane, size_t lanes, const zllm_answers *answers,
                              uint32_t *tokens, const zllm_run *run);

/* `length` bytes at offset `at` that also stand `distance` bytes earlier; they may overlap. */
typedef struct {
    uint64_t at, length, distance;
} zllm_repeat;
/* Repeats of at least `least` (128 or more) bytes, ascending and apart from each other; n below 2^32 - 1.
 * *count: room in, number out. Only encoders need it, and nothing depends on which repeats are found. */
zllm_result zllm_repeats(const uint8_t *text, size_t n, size_t least, zllm_repeat *out, size_t *count);

/* For tests and known answers: feed `tokens` one by one and store, after each, the logits (int32 [n][vocab], log2 units
 * in 2^-16) and the weights' prefix sums (uint64 [n][vocab + 1]). Either output may be NULL. */
zllm_result zllm_evaluate(const zllm_model *model, const uint32_t *tokens, size_t n, int32_t *logits, uint64_t *sums);

/* The binary range coder alone. Probabilities are of a one, in 2^-24, 1 to 2^24 - 1. */
zllm_result zllm_coder_encode(const uint8_t *bits, const uint32_t *probabilities, size_t n, uint8_t *out, size_t *size);
void zllm_coder_decode(const uint8_t *coded, size_t size, const uint32_t *probabilities, size_t n, uint8_t *bits);

/* Text without a model, by the adaptive predictor alone. At each of the ascending offsets `cuts` (0 < cut < n) a new
 * document starts; the decoder must be given the same. n must be below 2^32 - 1. *out_size: room in, length out.
 * The encoder chooses what contexts are made for (docs/arithmetic.md, "profile") and the code string says it.
 * Any bytes decode to something. `cancel` and `progress` may be NULL; progress counts bytes of text done. */
zllm_result zllm_cm_encode(const uint8_t *text, size_t n, const uint64_t *cuts, size_t n_cuts, uint8_t *out,
                           size_t *out_size, const volatile int32_t *cancel, volatile uint64_t *progress);
zllm_result zllm_cm_decode(const uint8_t *coded, size_t coded_size, uint8_t *text, size_t n, const uint64_t *cuts,
                           size_t n_cuts, const volatile int32_t *cancel, volatile uint64_t *progress);

/* Fixed-point functions of the specification, for its worked vectors. */
uint32_t zllm_rsqrt(uint64_t x, int32_t *exponent);
uint32_t zllm_exp2(uint32_t d);
int32_t zllm_sigmoid(int32_t x);
int32_t zllm_gelu(int32_t x);
void zllm_sincos(uint32_t phase, int32_t *sine, int32_t *cosine);
void zllm_quantise(const int32_t *x, uint32_t n, int normalise, int8_t *q, uint32_t *mantissa, int32_t *exponent);

#endif
