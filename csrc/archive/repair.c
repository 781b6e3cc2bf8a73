#include "archive/repair.h"

#define OVERHEAD 2048u /* what a try costs beside its bytes, in bytes hashed */
#define PER_SEARCH ((uint64_t)256 << 10)
#define PER_BYTE 32u
#define PER_ENVELOPE ((uint64_t)32 << 20)
#define MOST_BYTES ((size_t)16 << 10) /* in a longer part only bits are corrected: there are too many changes of bytes */
#define POLYNOMIAL 0xedb88320u
#define NUMBER_AT 4u

int zllm_budget_spend(budget_t *b, uint64_t tries, uint64_t size) {
    if (size > b->left || tries > b->left / (size + OVERHEAD)) return 0;
    b->left -= tries * (size + OVERHEAD);
    return 1;
}

/* The register of CRC-32 behind each byte, if it was 0 before, and the byte by the highest eight bits of that. */
typedef struct {
    uint32_t table[256];
    uint8_t last[256];
} crc_t;

static void make_tables(crc_t *c) {
    for (uint32_t value = 0; value < 256; value++) {
        uint32_t r = value;
        for (int bit = 0; bit < 8; bit++) r = r >> 1 ^ (POLYNOMIAL & (0u - (r & 1)));
        c->table[value] = r;
        c->last[r >> 24] = (uint8_t)value;
    }
}

/* Places are found from the end on: of those that are kept the one nearest to the beginning comes first. */
static void keep_first(fix_t list[MOST_FIXES], size_t *n, fix_t fix) {
    if (*n < MOST_FIXES) ++*n;
    for (size_t i = *n - 1; i > 0; i--) list[i] = list[i - 1];
    list[0] = fix;
}

/* All changes of one byte in `size` bytes with this syndrome, which is taken back byte by byte. */
static size_t find_places(uint32_t syndrome, size_t size, fix_t out[MOST_FIXES]) {
    crc_t c;
    fix_t bytes[MOST_FIXES];
    size_t bits = 0, others = 0;
    make_tables(&c);
    for (size_t at = size; at-- > 0;) {
        const uint8_t change = c.last[syndrome >> 24];
        if (change != 0 && c.table[change] == syndrome) {
            if ((change & (change - 1)) == 0) keep_first(out, &bits, (fix_t){at, change});
            else if (size <= MOST_BYTES) keep_first(bytes, &others, (fix_t){at, change});
        }
        syndrome = (syndrome ^ c.table[change]) << 8 | change;
    }
    for (size_t i = 0; i < others && bits < MOST_FIXES; i++) out[bits++] = bytes[i];
    return bits;
}

size_t zllm_repair_body(uint32_t seed, const void *front, size_t front_size, const uint8_t *rest, size_t rest_size,
                        budget_t *budget, fix_t out[MOST_FIXES]) {
    part_check_t c;
    if (rest_size < CHECK_SIZE || !zllm_budget_spend(budget, 1, PER_SEARCH + PER_BYTE * (uint64_t)rest_size)) return 0;
    zllm_part_check_start(&c, seed);
    zllm_part_check_add(&c, front, front_size);
    zllm_part_check_add(&c, rest, rest_size - CHECK_SIZE);
    const uint32_t syndrome = zllm_part_check_end(&c) ^ little32(rest + rest_size - CHECK_SIZE);
    int wrong = 0;
    for (int i = 0; i < 4; i++) wrong += (syndrome >> 8 * i & 0xff) != 0;
    if (wrong > 1) return find_places(syndrome, rest_size - CHECK_SIZE, out);
    out[0] = (fix_t){.at = SIZE_MAX};
    return 1;
}

/* Envelopes. */

typedef struct {
    uint8_t data[MAX_ENVELOPE];
    size_t size;
    uint32_t seed;
    uint64_t number;
    envelope_proof_t proved;
    void *context;
    envelope_t *out;
} trying_t;

static int try_envelope(trying_t *t, const uint32_t *seed) {
    if (!zllm_envelope_read(t->data, t->size, seed, t->out) || t->out->number != t->number) return 0;
    return t->proved(t->context, t->out);
}

static int try_byte(trying_t *t, size_t at) {
    const uint8_t byte = t->data[at];
    int found = 0;
    for (unsigned change = 1; change < 256 && found == 0; change++) {
        t->data[at] = byte ^ (uint8_t)change;
        found = try_envelope(t, &t->seed);
    }
    t->data[at] = byte;
    return found;
}

/* One byte of the checksum is wrong. */
static int try_checksum(trying_t *t, const envelope_t *as_it_is) {
    uint8_t right[MAX_ENVELOPE];
    const size_t size = zllm_envelope_write(as_it_is, t->seed, right);
    if ((right[size - 1] == t->data[size - 1]) == (right[size - 2] == t->data[size - 2])) return 0;
    return try_envelope(t, NULL);
}

int zllm_repair_envelope(const uint8_t *data, size_t size, uint32_t seed, uint64_t number, envelope_proof_t proved,
                         void *context, budget_t *budget, envelope_t *out) {
    trying_t t = {.size = size < MAX_ENVELOPE ? size : MAX_ENVELOPE, .seed = seed, .number = number, .proved = proved,
                  .context = context, .out = out};
    uint8_t due[NUMBER_AT + MAX_VARINT_BYTES] = {SYNC_0, SYNC_1};
    envelope_t as_it_is;
    int wrong = 0, found = 0;
    if (size < NUMBER_AT) return 0;
    memcpy(due + 2, data + 2, 2);
    const size_t known = NUMBER_AT + varint_put(due + NUMBER_AT, number);
    if (size < known) return 0;
    for (size_t i = 0; i < known; i++) wrong += due[i] != data[i];
    if (wrong > 1 || !zllm_budget_spend(budget, 1, PER_ENVELOPE)) return 0;
    memcpy(t.data, data, t.size);
    memcpy(t.data, due, known);
    if (wrong == 1) return try_envelope(&t, &t.seed);
    size_t end = t.size;
    if (zllm_envelope_read(t.data, t.size, NULL, &as_it_is)) {
        end = envelope_size(&as_it_is) + 1 < t.size ? envelope_size(&as_it_is) + 1 : t.size;
        found = try_checksum(&t, &as_it_is);
    }
    for (size_t at = 2; at < 4 && found == 0; at++) found = try_byte(&t, at);
    for (size_t at = known; at < end && found == 0; at++) found = try_byte(&t, at);
    return found;
}
