/* What the self-check must find in the predictor's operations: one at a time is broken in a copy of the generic ones, in ways
 * that SIMD goes wrong, and no text is coded with it, and no model made. This file takes the place of csrc/dispatch.c:
 * zllm_kernel_find gives a kernel that is the generic one but for these operations. Prints a line for each fault; exit status
 * 1 if one is missed. */
#include <stdio.h>
#include <string.h>

#include "kernels.h"
#include "predictor/operations.h"

#define G (&zllm_operations_generic)

static operations_t operations;
static zllm_kernel under_test;
static int predictions; /* that the operations under test made */

zllm_result zllm_kernel_find(const char *name, const zllm_kernel **out) {
    (void)name;
    *out = &under_test;
    return ZLLM_OK;
}

#define FIND(name) static void name(uint8_t *table, uint32_t line_mask, const uint32_t *hash, uint8_t **slot, uint32_t n)
#define FIND_RIGHT() G->find(table, line_mask, hash, slot, n)

FIND(find_without_last) { G->find(table, line_mask, hash, slot, n > 1 ? n - 1 : n); }

FIND(find_behind) { /* one more than there are */
    FIND_RIGHT();
    slot[n] = slot[0];
}

FIND(find_all_first) { /* as if no two wanted the same line: what the first one emptied is not seen */
    uint8_t before[256][64];
    for (uint32_t i = 0; i < n; i++) memcpy(before[i], table + (size_t)(hash[i] & line_mask) * 64, 64);
    FIND_RIGHT();
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *found;
        const uint32_t first = hash[i] & 0xff000000u;
        G->find(before[i], 0, &first, &found, 1);
        slot[i] = table + (size_t)(hash[i] & line_mask) * 64 + (found - before[i]);
    }
}

FIND(find_not_emptied) { /* histories that are another context's */
    uint8_t before[256][64];
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *line = table + (size_t)(hash[i] & line_mask) * 64;
        memcpy(before[i], line, 64);
        G->find(table, line_mask, hash + i, slot + i, 1);
        memcpy(slot[i] + 15, before[i] + (slot[i] - line) + 15, 1);
    }
}

FIND(find_signed_uses) { /* slots of 128 uses and more are the least used */
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *line = table + (size_t)(hash[i] & line_mask) * 64;
        int best = 1 << 20, place = 0;
        for (int k = 0; k < 4; k++) {
            const int rank = line[16 * k] == hash[i] >> 24 ? -(1 << 20) : (int8_t)line[16 * k + 1];
            if (rank < best) {
                best = rank;
                place = k;
            }
        }
        slot[i] = line + 16 * place;
        if (best > -(1 << 20)) memset(slot[i], 0, 16);
        slot[i][0] = (uint8_t)(hash[i] >> 24);
    }
}

FIND(find_last_equal) { /* of slots that are used as much, the last one */
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *line = table + (size_t)(hash[i] & line_mask) * 64;
        int best = 1 << 20, place = 0;
        for (int k = 3; k >= 0; k--) {
            const int right = line[16 * k] == hash[i] >> 24, rank = right ? -1 : line[16 * k + 1];
            if (rank < best || right) {
                best = rank;
                place = k;
            }
        }
        slot[i] = line + 16 * place;
        if (best >= 0) memset(slot[i], 0, 16);
        slot[i][0] = (uint8_t)(hash[i] >> 24);
    }
}

static void mix_right(mixer_t *m) {
    predictions++;
    G->mix(m);
}

static void mix_without_last_set(mixer_t *m) {
    const int32_t was = m->outputs[SETS - 1];
    G->mix(m);
    m->outputs[SETS - 1] = was;
}

static void mix_without_last_input(mixer_t *m) {
    const int16_t last = m->inputs[INPUTS - 1];
    m->inputs[INPUTS - 1] = 0;
    G->mix(m);
    m->inputs[INPUTS - 1] = last;
}

static void mix_without_limit(mixer_t *m) {
    G->mix(m);
    for (uint32_t s = 0; s < SETS; s++) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < INPUTS; i++) sum += m->inputs[i] * m->weights[m->vector[s]][i];
        m->outputs[s] = sum >> 14;
    }
}

static void mix_truncating(mixer_t *m) { /* towards zero */
    G->mix(m);
    for (uint32_t f = 0; f < FINALS; f++) {
        int64_t sum = 0;
        for (uint32_t s = 0; s < SETS; s++) sum += (int64_t)m->outputs[s] * m->final[m->final_vector[f]][s];
        m->finals[f] = clamp_stretch(sum / 65536);
    }
}

static void mix_finals_in_32_bits(mixer_t *m) {
    G->mix(m);
    for (uint32_t f = 0; f < FINALS; f++) {
        uint32_t sum = 0;
        for (uint32_t s = 0; s < SETS; s++) sum += (uint32_t)m->outputs[s] * (uint32_t)m->final[m->final_vector[f]][s];
        m->finals[f] = clamp_stretch((int32_t)sum >> 16);
    }
}

static void mix_behind(mixer_t *m) {
    G->mix(m);
    m->outputs[FINAL_ROW - 1] = 1;
}

static void mix_into_inputs(mixer_t *m) {
    G->mix(m);
    m->inputs[0]++;
}

#define TRAIN(name) static void name(mixer_t *m, const int32_t steps[SETS], const int32_t wrong[FINALS])
#define ROW(s) m->weights[m->vector[s]]

TRAIN(train_wrapping) {
    int16_t was[INPUTS];
    memcpy(was, ROW(SETS - 1), sizeof was);
    G->train(m, steps, wrong);
    for (uint32_t i = 0; i < INPUTS; i++)
        ROW(SETS - 1)[i] = (int16_t)(was[i] + (((m->inputs[i] * 16 * steps[SETS - 1] >> 16) + 1) >> 1));
}

TRAIN(train_truncating) {
    int16_t was[INPUTS];
    memcpy(was, ROW(0), sizeof was);
    G->train(m, steps, wrong);
    for (uint32_t i = 0; i < INPUTS; i++) {
        const int32_t sum = was[i] + (m->inputs[i] * 16 * steps[0] >> 17);
        ROW(0)[i] = (int16_t)(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
    }
}

TRAIN(train_first_half) {
    int16_t was[INPUTS];
    memcpy(was, ROW(2), sizeof was);
    G->train(m, steps, wrong);
    memcpy(ROW(2) + INPUTS / 2, was + INPUTS / 2, sizeof was / 2);
}

TRAIN(train_beside) { /* a vector that was not selected */
    uint32_t used = 0, other = 0;
    G->train(m, steps, wrong);
    for (uint32_t s = 0; s < SETS; s++) used |= 1u << m->vector[s];
    while (used >> other & 1) other++;
    m->weights[other][INPUTS - 1] ^= 1;
}

TRAIN(train_final_without_limit) {
    int32_t was[FINAL_ROW];
    memcpy(was, m->final[m->final_vector[0]], sizeof was);
    G->train(m, steps, wrong);
    for (uint32_t s = 0; s < SETS; s++)
        m->final[m->final_vector[0]][s] = was[s] + ((m->outputs[s] * wrong[0] + (1 << 15)) >> 16);
}

TRAIN(train_final_padding) {
    G->train(m, steps, wrong);
    m->final[m->final_vector[FINALS - 1]][FINAL_ROW - 1] = 1;
}

TRAIN(train_last_final) {
    int32_t was[FINAL_ROW];
    memcpy(was, m->final[m->final_vector[FINALS - 1]], sizeof was);
    G->train(m, steps, wrong);
    memcpy(m->final[m->final_vector[FINALS - 1]], was, sizeof was);
}

static void flag_without_last_set(flag_mixer_t *m) {
    G->mix_flag(m);
    m->outputs[FLAG_SETS - 1] = m->outputs[0];
}

static void flag_without_limit(flag_mixer_t *m) {
    G->mix_flag(m);
    for (uint32_t s = 0; s < FLAG_SETS; s++) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < FLAG_INPUTS; i++) sum += m->inputs[i] * ROW(s)[i];
        m->outputs[s] = sum >> 14;
    }
}

static void flag_train_wrapping(flag_mixer_t *m, const int32_t steps[FLAG_SETS]) {
    int16_t was[FLAG_INPUTS];
    memcpy(was, ROW(1), sizeof was);
    G->train_flag(m, steps);
    for (uint32_t i = 0; i < FLAG_INPUTS; i++)
        ROW(1)[i] = (int16_t)(was[i] + (((m->inputs[i] * 16 * steps[1] >> 16) + 1) >> 1));
}

static void flag_train_one_step(flag_mixer_t *m, const int32_t steps[FLAG_SETS]) {
    const int32_t same[FLAG_SETS] = {steps[0], steps[0], steps[0]};
    G->train_flag(m, same);
}

#define LEARN(name) static void name(const uint16_t *reciprocal, const lanes_t *l, uint32_t n, uint32_t answers)

LEARN(learn_in_eights) { G->learn(reciprocal, l, n / 8 * 8, answers); }
LEARN(learn_all_lanes) { G->learn(reciprocal, l, n ? LANES : n, answers); }
LEARN(learn_first_answers) { G->learn(reciprocal, l, n, (answers & 255) * 0x010101u); }

LEARN(learn_signed_reciprocal) {
    for (uint32_t i = 0; i < n; i++) {
        const adaptive_t was = l->seen[i];
        const int64_t gap = (answers >> i & 1 ? (1 << 22) - 1 : 0) - (int32_t)(was >> 10);
        const uint32_t step = (uint32_t)((gap * (int16_t)reciprocal[was & 1023]) >> 16) << 10;
        *l->at[i] = was + step + ((was & 1023) < l->limit[i]);
    }
}

LEARN(learn_past_limit) {
    G->learn(reciprocal, l, n, answers);
    for (uint32_t i = 0; i < n; i++) *l->at[i] += (l->seen[i] & 1023) == l->limit[i];
}

LEARN(learn_gap_in_22_bits) {
    G->learn(reciprocal, l, n, answers);
    for (uint32_t i = 0; i < n; i++)
        if (l->seen[i] >> 31 && !(answers >> i & 1)) *l->at[i] ^= 1024;
}

static int refused(const char *name, operations_t broken) {
    uint8_t room[100] = {0};
    size_t size = sizeof room;
    zllm_model *model;
    operations = broken;
    under_test = zllm_kernel_generic;
    under_test.predictor = &operations;
    int right = !zllm_operations_match(&operations, 0) && !zllm_kernel_matches(&under_test, 0);
    for (int i = 0; i < 2; i++) { /* a first refusal must not be taken for an approval */
        right &= zllm_cm_encode(room, 9, NULL, 0, room, &size, NULL, NULL, NULL, NULL) == ZLLM_E_KERNEL_WRONG;
        right &= zllm_cm_decode(room, 9, room, 9, NULL, 0, NULL, NULL, NULL, NULL) == ZLLM_E_KERNEL_WRONG;
        right &= zllm_model_new("", 0, NULL, 0, NULL, NULL, &model) == ZLLM_E_KERNEL_WRONG && model == NULL;
    }
    printf("%s %s\n", name, right ? "refused" : "NOT FOUND");
    return right;
}

#define BROKEN(operation, fault)        \
    do {                                \
        operations_t broken = *G;       \
        broken.operation = fault;       \
        ok &= refused(#fault, broken);  \
    } while (0)

static int all_refused(void) {
    int ok = 1;
    BROKEN(find, find_without_last);
    BROKEN(find, find_behind);
    BROKEN(find, find_all_first);
    BROKEN(find, find_not_emptied);
    BROKEN(find, find_signed_uses);
    BROKEN(find, find_last_equal);
    BROKEN(mix, mix_without_last_set);
    BROKEN(mix, mix_without_last_input);
    BROKEN(mix, mix_without_limit);
    BROKEN(mix, mix_truncating);
    BROKEN(mix, mix_finals_in_32_bits);
    BROKEN(mix, mix_behind);
    BROKEN(mix, mix_into_inputs);
    BROKEN(train, train_wrapping);
    BROKEN(train, train_truncating);
    BROKEN(train, train_first_half);
    BROKEN(train, train_beside);
    BROKEN(train, train_final_without_limit);
    BROKEN(train, train_final_padding);
    BROKEN(train, train_last_final);
    BROKEN(mix_flag, flag_without_last_set);
    BROKEN(mix_flag, flag_without_limit);
    BROKEN(train_flag, flag_train_wrapping);
    BROKEN(train_flag, flag_train_one_step);
    BROKEN(learn, learn_in_eights);
    BROKEN(learn, learn_all_lanes);
    BROKEN(learn, learn_first_answers);
    BROKEN(learn, learn_signed_reciprocal);
    BROKEN(learn, learn_past_limit);
    BROKEN(learn, learn_gap_in_22_bits);
    return ok;
}

/* Right operations are used, and are checked a single time: encoding an empty text predicts nothing. */
static int right_accepted(void) {
    uint8_t room[100];
    size_t size = sizeof room;
    operations = *G;
    operations.mix = mix_right;
    under_test = zllm_kernel_generic;
    under_test.predictor = &operations;
    const zllm_result first = zllm_cm_encode(room, 0, NULL, 0, room, &size, NULL, NULL, NULL, NULL);
    const int checks = predictions;
    const zllm_result second = zllm_cm_decode(room, 0, room, 0, NULL, 0, NULL, NULL, NULL, NULL);
    const int once = checks > 0 && predictions == checks;
    const zllm_result third = zllm_cm_decode(room, 0, room, 9, NULL, 0, NULL, NULL, NULL, NULL);
    const int right = first == ZLLM_OK && second == ZLLM_OK && third == ZLLM_OK && once && predictions == checks + 9 * 8;
    printf("right operations %s\n", right ? "checked once, and used" : "NOT ACCEPTED, or checked again, or not used");
    return right;
}

int main(void) {
    int ok = all_refused();
    ok &= right_accepted(); /* last: from now on the address of the operations under test is trusted */
    return !ok;
}
