/* Text by the adaptive predictor alone: coded, and its golden code string decoded. */
#include "machine.h"

#define ROOM 1024u /* beside the 24 bits that each of a byte's 8 decisions takes at most */

int do_text(run_t *r, const char *name) {
    bundle_t *b = &r->bundle;
    const uint32_t size = bundle_u32(b);
    const uint8_t *text = bundle_bytes(b, size);
    const uint32_t n_cuts = bundle_u32(b);
    const uint64_t *cuts = bundle_u64s(b, n_cuts);
    const uint32_t golden_size = bundle_u32(b);
    const uint8_t *golden = bundle_bytes(b, golden_size);
    size_t coded_size = 24 * (size_t)size + ROOM;
    uint8_t *coded = bundle_room(b, coded_size, 1), *out = bundle_room(b, size, 1);
    volatile uint64_t progress = 0;
    sha256_t s;
    if (b->bad) return fail("the bundle is damaged: %s", name);
    zllm_result rc = zllm_cm_encode(text, size, cuts, n_cuts, coded, &coded_size, NULL, &progress, r->kernel, NULL);
    if (rc != ZLLM_OK) return fail("%s: encoding: error %d", name, (int)rc);
    sha256_start(&s);
    sha256_add(&s, coded, coded_size);
    print_item(&s, name, "/code");
    rc = zllm_cm_decode(golden, golden_size, out, size, cuts, n_cuts, NULL, &progress, r->kernel, NULL);
    if (rc != ZLLM_OK) return fail("%s: decoding: error %d", name, (int)rc);
    if (progress != 2 * (uint64_t)size) return fail("%s: progress was counted wrong", name);
    sha256_start(&s);
    sha256_add(&s, out, size);
    print_item(&s, name, "/text");
    return 0;
}
