/* A stream by several threads: blocks are read, coded and written in turns. */
#include "plugins/7zip/turns.h"

#include <stdlib.h>

#include "archive/bytes.h"
#include "archive/limits.h"
#include "archive/part.h"

#define MOST_THREADS 64u

static result_t result_of(zllm_result rc) {
    switch (rc) {
        case ZLLM_OK: return S_OK;
        case ZLLM_E_MEMORY: return E_OUTOFMEMORY;
        case ZLLM_E_CANCELLED: return E_ABORT;
        case ZLLM_E_VERSION: return E_NOTIMPL;
        case ZLLM_E_KERNEL_WRONG: return E_FAIL;
        default: return S_FALSE; /* the data is damaged */
    }
}

/* A turn: as many pieces as there are threads. */
typedef struct {
    settings_t *settings;
    in_stream_t *in;
    out_stream_t *out;
    progress_t *progress;
    files_t *files;         /* encoding: of the solid block, or NULL */
    uint64_t file, start;   /* number and place of the file that the last piece ended in */
    uint64_t read, written; /* bytes of turns that are over */
    uint32_t threads;
    piece_t pieces[MOST_THREADS];
    size_t n;
    result_t outcome;
} turn_t;

static int tick(void *context, uint64_t done) {
    turn_t *t = context;
    if (t->progress == NULL) return 0;
    const int encoding = t->settings->encoding;
    const uint64_t in = t->read + (encoding ? done : 0), out = t->written + (encoding ? 0 : done);
    const result_t rc = t->progress->table->ratio(t->progress, &in, &out);
    if (rc != S_OK) t->outcome = rc;
    return rc != S_OK;
}

static void free_pieces(turn_t *t) {
    for (size_t i = 0; i < t->n; i++) {
        free(t->pieces[i].in);
        free(t->pieces[i].out);
        free(t->pieces[i].cuts);
    }
    t->n = 0;
}

/* As many threads as the limit of memory allows, for blocks of that size; 0: not even one. */
static uint32_t allowed(const settings_t *s, size_t block, uint32_t most) {
    const size_t one = piece_memory(&s->coding, block, !s->encoding);
    const uint64_t fit = s->memory == 0 ? most : s->memory / one;
    return fit < most ? (uint32_t)fit : most;
}

static result_t work(turn_t *t, work_t how) {
    t->outcome = S_OK;
    t->settings->coding.cancel = 0;
    if (work_at(how, &t->settings->coding, t->pieces, t->n, t->threads, tick, t) != 0) return t->outcome;
    for (size_t i = 0; i < t->n; i++)
        if (t->pieces[i].rc != ZLLM_OK) return result_of(t->pieces[i].rc);
    return S_OK;
}

/* Where large files begin and end in a piece of data, from `from` on in the solid block; without memory for it, nowhere. */
static void cut_at_files(turn_t *t, piece_t *p, uint64_t from) {
    const uint64_t end = from + p->in_size;
    uint64_t size;
    p->cuts = malloc((2 * (p->in_size / LARGE_FILE) + 4) * sizeof *p->cuts);
    while (p->cuts != NULL && t->start < end && t->files->table->size(t->files, t->file, &size) == S_OK) {
        const uint64_t stop = t->start + size;
        if (size >= LARGE_FILE) {
            if (t->start > from) p->cuts[p->n_cuts++] = (size_t)(t->start - from);
            if (stop < end) p->cuts[p->n_cuts++] = (size_t)(stop - from);
        }
        if (stop > end) break; /* it goes on in the next piece */
        t->start = stop;
        t->file++;
    }
}

static result_t read_pieces(turn_t *t) {
    const size_t block = t->settings->block;
    uint64_t from = t->read;
    while (t->n < t->threads) {
        piece_t *p = &t->pieces[t->n];
        *p = (piece_t){.in = malloc(block), .in_size = block};
        if (p->in == NULL) return E_OUTOFMEMORY;
        t->n++;
        const result_t rc = read_fully(t->in, p->in, &p->in_size);
        if (rc != S_OK) return rc;
        if (t->files != NULL) cut_at_files(t, p, from);
        from += p->in_size;
        if (p->in_size == block) continue;
        if (p->in_size == 0) {
            free(p->in);
            free(p->cuts);
            t->n--;
        }
        break;
    }
    return S_OK;
}

static result_t encode(turn_t *t) {
    const uint8_t end = STREAM_END;
    result_t rc = S_OK;
    for (int more = 1; more;) {
        rc = read_pieces(t);
        more = rc == S_OK && t->n == t->threads;
        if (rc == S_OK) rc = work(t, encode_piece);
        for (size_t i = 0; i < t->n && rc == S_OK; i++) {
            const piece_t *p = &t->pieces[i];
            rc = write_fully(t->out, p->out, p->out_size);
            t->read += p->in_size;
            t->written += p->out_size;
            t->settings->uses_model |= p->uses_model;
        }
        free_pieces(t);
        if (rc != S_OK) return rc;
    }
    t->settings->coded = 1;
    return write_fully(t->out, &end, 1);
}

static result_t read_byte(turn_t *t, uint8_t *out) {
    size_t size = 1;
    const result_t rc = read_fully(t->in, out, &size);
    t->read += size;
    return rc != S_OK ? rc : size == 1 ? S_OK : S_FALSE;
}

static result_t read_number(turn_t *t, uint64_t most, size_t *out) {
    uint8_t bytes[MAX_VARINT_BYTES];
    size_t n = 0;
    do {
        const result_t rc = n < sizeof bytes ? read_byte(t, &bytes[n]) : S_FALSE;
        if (rc != S_OK) return rc;
    } while (bytes[n++] & 0x80);
    bytes_t b = bytes_of(bytes, n);
    *out = (size_t)bytes_varint(&b, most);
    return b.bad ? S_FALSE : S_OK;
}

/* The next block's front, and its data. *end: it is the stream's end instead. */
static result_t read_block(turn_t *t, piece_t *p, int *end) {
    *p = (piece_t){.rc = ZLLM_OK};
    result_t rc = read_byte(t, &p->codec);
    if (rc != S_OK) return rc;
    *end = p->codec == STREAM_END;
    if (*end) return S_OK;
    if (p->codec != CODEC_STORE && p->codec != CODEC_CM && p->codec != CODEC_LLM) return S_FALSE;
    rc = read_number(t, MOST_BLOCK, &p->out_size);
    if (rc == S_OK && p->codec != CODEC_STORE) rc = read_number(t, MAX_PAYLOAD, &p->in_size);
    if (rc != S_OK) return rc;
    if (p->out_size == 0) return S_FALSE;
    if (allowed(t->settings, p->out_size, 1) == 0) {
        complain("a block of %llu bytes takes more memory than is allowed", (unsigned long long)p->out_size);
        return E_OUTOFMEMORY;
    }
    p->out = malloc(p->out_size);
    p->in = malloc(p->in_size + 1);
    if (p->out == NULL || p->in == NULL) return E_OUTOFMEMORY;
    size_t size = p->codec == CODEC_STORE ? p->out_size : p->in_size;
    const size_t wanted = size;
    rc = read_fully(t->in, p->codec == CODEC_STORE ? p->out : p->in, &size);
    t->read += size;
    return rc != S_OK ? rc : size == wanted ? S_OK : S_FALSE;
}

/* Up to a piece a thread, of which all may be in memory at once. */
static result_t read_blocks(turn_t *t, int *end) {
    size_t largest = 0;
    while (t->n < t->threads && !*end) {
        piece_t *p = &t->pieces[t->n++];
        const result_t rc = read_block(t, p, end);
        if (rc != S_OK) return rc;
        if (*end) t->n--;
        else if (p->out_size > largest) largest = p->out_size;
        if (allowed(t->settings, largest, t->threads) <= t->n) break;
    }
    return S_OK;
}

static result_t write_pieces(turn_t *t, const uint64_t *size) {
    for (size_t i = 0; i < t->n; i++) {
        const piece_t *p = &t->pieces[i];
        const uint64_t rest = size == NULL ? p->out_size : *size - t->written;
        const size_t part = p->out_size < rest ? p->out_size : (size_t)rest;
        const result_t rc = write_fully(t->out, p->out, part);
        if (rc != S_OK) return rc;
        t->written += part;
        if (part < p->out_size && t->settings->whole) return S_FALSE;
    }
    return S_OK;
}

static result_t decode(turn_t *t, const uint64_t *size) {
    int end = 0;
    while (!end && (t->settings->whole || size == NULL || t->written < *size)) {
        result_t rc = read_blocks(t, &end);
        if (rc == S_OK) rc = work(t, decode_piece);
        if (rc == S_OK) rc = write_pieces(t, size);
        free_pieces(t);
        if (rc != S_OK) return rc;
    }
    return S_OK;
}

static result_t start_encoding(turn_t *t) {
    static const guid_t FILES = INTERFACE(4, 0x30);
    void *files = NULL;
    t->threads = allowed(t->settings, t->settings->block, t->threads);
    if (t->threads == 0) {
        complain("blocks of %llu bytes take more memory than is allowed: see c= and memuse=",
                 (unsigned long long)t->settings->block);
        return E_OUTOFMEMORY;
    }
    if (t->in->table->unknown.query(t->in, &FILES, &files) == S_OK) t->files = files;
    const result_t rc = encode(t);
    if (t->files != NULL) (void)t->files->table->unknown.release(t->files);
    return rc;
}

result_t code_stream(settings_t *s, in_stream_t *in, out_stream_t *out, const uint64_t *size, progress_t *progress) {
    turn_t *t = calloc(1, sizeof *t);
    if (t == NULL) return E_OUTOFMEMORY;
    *t = (turn_t){.settings = s, .in = in, .out = out, .progress = progress};
    t->threads = s->threads < 1 ? 1 : s->threads > MOST_THREADS ? MOST_THREADS : s->threads;
    const result_t rc = s->encoding ? start_encoding(t) : decode(t, size);
    free(t);
    return rc;
}
