/* What the C core computes on this machine, by its public API alone: decodes and encodes frames, the golden archives'
 * among them, by one thread and by several, and text without a model; evaluates the golden sequences, runs the range
 * coder and the fixed-point functions over their arguments, and prints a line "SHA-256  item" for each. On every machine
 * the lines must be those of tests/golden/golden.json.
 *
 *     machine --kernels               every kernel, one a line: its name, "usable", "unsupported" or "not built"
 *     machine BUNDLE KERNEL [--short] KERNEL may be "all"; --short leaves out what takes long
 *
 * Exit code 0, or 1 with a message. Made and run by .ci/cross and tests/test_golden.py. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

int fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("machine: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return 1;
}

void print_item(sha256_t *s, const char *name, const char *kind) {
    char hex[65];
    sha256_finish(s, hex);
    printf("%s  %s%s\n", hex, name, kind);
}

/* The record is the model file. */
static int do_model(run_t *r, const char *name) {
    bundle_t *b = &r->bundle;
    const size_t size = (size_t)(b->end - b->at);
    const uint8_t *file = bundle_bytes(b, size);
    if (b->bad || size < 12 || r->n_models == MODELS) return fail("the bundle is damaged: model %s", name);
    const zllm_result rc = zllm_model_parse(file, size, r->kernel, NULL, &r->models[r->n_models]);
    if (rc != ZLLM_OK) return fail("model %s: error %d: %s", name, (int)rc, zllm_model_error());
    if (strcmp(zllm_model_kernel(r->models[r->n_models]), r->kernel) != 0) return fail("another kernel was taken");
    r->outputs[r->n_models] = zllm_model_outputs(r->models[r->n_models]);
    r->n_models++;
    return 0;
}

static int do_evaluate(run_t *r, const char *name) {
    bundle_t *b = &r->bundle;
    const uint32_t model = bundle_u32(b), n = bundle_u32(b);
    const uint32_t *tokens = bundle_u32s(b, n);
    if (b->bad || model >= r->n_models) return fail("the bundle is damaged: %s", name);
    const uint64_t outputs = r->outputs[model];
    int32_t *logits = bundle_room(b, n * outputs, sizeof *logits);
    uint64_t *sums = bundle_room(b, n * (outputs + 1), sizeof *sums);
    sha256_t s;
    if (b->bad) return fail("out of memory");
    const zllm_result rc = zllm_evaluate(r->models[model], tokens, n, 1, logits, sums);
    if (rc != ZLLM_OK) return fail("%s: error %d", name, (int)rc);
    sha256_start(&s);
    for (uint64_t i = 0; i < n * outputs; i++) sha256_add_little(&s, (uint32_t)logits[i], 4);
    print_item(&s, name, "/logits");
    sha256_start(&s);
    for (uint64_t i = 0; i < n * (outputs + 1); i++) sha256_add_little(&s, sums[i], 8);
    print_item(&s, name, "/sums");
    return 0;
}

static int do_coder(run_t *r, const char *name) {
    bundle_t *b = &r->bundle;
    const uint32_t n = bundle_u32(b);
    const uint8_t *bits = bundle_bytes(b, n);
    const uint32_t m = bundle_u32(b);
    const uint32_t *probabilities = bundle_u32s(b, m);
    size_t size = 4 * (size_t)n + 16;
    uint8_t *coded = bundle_room(b, size, 1), *out = bundle_room(b, n, 1);
    sha256_t s;
    if (b->bad || n != m) return fail("the bundle is damaged: %s", name);
    const zllm_result rc = zllm_coder_encode(bits, probabilities, n, coded, &size);
    if (rc != ZLLM_OK) return fail("%s: error %d", name, (int)rc);
    sha256_start(&s);
    sha256_add(&s, coded, size);
    print_item(&s, name, "/code");
    zllm_coder_decode(coded, size, probabilities, n, out);
    sha256_start(&s);
    sha256_add(&s, out, n);
    print_item(&s, name, "/bits");
    return 0;
}

static void hash_function(sha256_t *s, uint32_t function, uint64_t x) {
    int32_t a, b;
    switch (function) {
    case 0:
        sha256_add_little(s, zllm_rsqrt(x, &a), 4);
        sha256_add_little(s, (uint32_t)a, 4);
        break;
    case 1:
        sha256_add_little(s, zllm_exp2((uint32_t)x), 4);
        break;
    case 2:
        sha256_add_little(s, (uint32_t)zllm_sigmoid(bundle_signed((uint32_t)x)), 4);
        break;
    case 4:
        sha256_add_little(s, (uint32_t)zllm_gelu(bundle_signed((uint32_t)x)), 4);
        break;
    default:
        zllm_sincos((uint32_t)x, &a, &b);
        sha256_add_little(s, (uint32_t)a, 4);
        sha256_add_little(s, (uint32_t)b, 4);
    }
}

static int do_function(run_t *r, const char *name) {
    bundle_t *b = &r->bundle;
    const uint32_t function = bundle_u32(b), n = bundle_u32(b);
    const uint64_t *arguments = bundle_u64s(b, n);
    sha256_t s;
    if (b->bad || function > 4) return fail("the bundle is damaged: %s", name);
    sha256_start(&s);
    for (uint32_t i = 0; i < n; i++) hash_function(&s, function, arguments[i]);
    print_item(&s, name, "");
    return 0;
}

static int do_quantise(run_t *r, const char *name) {
    bundle_t *b = &r->bundle;
    const uint32_t normalise = bundle_u32(b), rows = bundle_u32(b);
    sha256_t s;
    sha256_start(&s);
    for (uint32_t i = 0; !b->bad && i < rows; i++) {
        const uint32_t n = bundle_u32(b);
        const uint32_t *values = bundle_u32s(b, n);
        int32_t *x = bundle_room(b, n, sizeof *x), exponent;
        int8_t *q = bundle_room(b, n, 1);
        uint32_t mantissa;
        if (b->bad) break;
        for (uint32_t j = 0; j < n; j++) x[j] = bundle_signed(values[j]);
        zllm_quantise(x, n, (int)normalise, q, &mantissa, &exponent);
        sha256_add(&s, q, n);
        sha256_add_little(&s, mantissa, 4);
        sha256_add_little(&s, (uint32_t)exponent, 4);
    }
    if (b->bad) return fail("the bundle is damaged: %s", name);
    print_item(&s, name, "");
    return 0;
}

static int do_record(run_t *r, char kind, const char *name) {
    switch (kind) {
    case 'M': return do_model(r, name);
    case 'E': return do_evaluate(r, name);
    case 'S': return do_frames(r, name);
    case 'X': return do_failures(r, name);
    case 'T': return do_text(r, name);
    case 'C': return do_coder(r, name);
    case 'F': return do_function(r, name);
    case 'Q': return do_quantise(r, name);
    default: return fail("the bundle has a record of unknown kind %d", kind);
    }
}

static int do_records(run_t *r) {
    bundle_t *b = &r->bundle;
    const uint8_t *end = b->end;
    const uint8_t *magic = bundle_bytes(b, 8);
    if (magic == NULL || memcmp(magic, "ZLLMGOLD", 8) != 0) return fail("this is no bundle");
    if (bundle_u32(b) != ZLLM_ARITHMETIC_VERSION) return fail("the bundle is for another arithmetic version");
    while (b->at < end) {
        char name[128] = {0};
        const char kind = (char)bundle_get(b, 1);
        const int slow = (int)bundle_get(b, 1);
        const size_t length = (size_t)bundle_get(b, 2);
        const uint8_t *label = bundle_bytes(b, length);
        const uint64_t size = bundle_get(b, 8);
        if (b->bad || length >= sizeof name || size > (uint64_t)(end - b->at)) return fail("the bundle is damaged");
        memcpy(name, label, length);
        const uint8_t *next = b->at + size;
        b->end = next;
        if (!(slow && r->leave_out_slow)) {
            if (do_record(r, kind, name)) return 1;
            if (b->at != next) return fail("the bundle is damaged: %s is longer than it should be", name);
        }
        bundle_release(b);
        b->at = next;
        b->end = end;
    }
    return 0;
}

static int run_kernel(const uint8_t *data, size_t size, const char *kernel, int leave_out_slow) {
    run_t r = {.bundle = {.at = data, .end = data + size}, .kernel = kernel, .leave_out_slow = leave_out_slow};
    const zllm_result rc = zllm_kernel_check(kernel);
    if (rc != ZLLM_OK) return fail("kernel %s: error %d", kernel, (int)rc);
    const int failed = do_records(&r);
    bundle_release(&r.bundle);
    for (uint32_t i = 0; i < r.n_models; i++) zllm_model_free(r.models[i]);
    return failed;
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t room = 1 << 16;
    *size = 0;
    while (file != NULL) {
        uint8_t *grown = realloc(data, room);
        if (grown == NULL) break;
        data = grown;
        *size += fread(data + *size, 1, room - *size, file);
        if (*size < room) {
            const int failed = ferror(file);
            fclose(file);
            if (!failed) return data;
            file = NULL;
        }
        room *= 2;
    }
    if (file != NULL) fclose(file);
    free(data);
    return NULL;
}

static int list_kernels(void) {
    const char *name;
    for (size_t i = 0; (name = zllm_kernel_name(i)) != NULL; i++) {
        const zllm_result rc = zllm_kernel_state(name);
        const char *other = rc == ZLLM_E_KERNEL_NOT_BUILT ? "not built" : "unsupported";
        printf("%s %s\n", name, rc == ZLLM_OK ? "usable" : other);
    }
    return 0;
}

int main(int argc, char **argv) {
    int failed = 0;
    size_t size;
    const char *name;
    if (argc == 2 && strcmp(argv[1], "--kernels") == 0) return list_kernels();
    if (argc != 3 && !(argc == 4 && strcmp(argv[3], "--short") == 0))
        return fail("usage: machine --kernels | machine BUNDLE KERNEL|all [--short]");
    uint8_t *data = read_file(argv[1], &size);
    if (data == NULL) return fail("cannot read %s", argv[1]);
    if (strcmp(argv[2], "all") != 0) failed = run_kernel(data, size, argv[2], argc == 4);
    for (size_t i = 0; strcmp(argv[2], "all") == 0 && !failed && (name = zllm_kernel_name(i)) != NULL; i++)
        if (zllm_kernel_state(name) == ZLLM_OK) failed = run_kernel(data, size, name, argc == 4);
    free(data);
    return failed;
}
