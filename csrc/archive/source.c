#include "archive/source.h"

#include <string.h>

#define STEP ((size_t)64 << 10)

static zllm_result failed(problem_t *p) {
    (void)zllm_problem(p, ZLLM_E_INPUT, "the archive cannot be read");
    return ZLLM_E_INPUT;
}

void zllm_input_free(input_t *s) {
    zllm_heap_free(s->heap, s->buffer);
    zllm_heap_free(s->heap, s->side);
}

/* Up to `size` bytes at `offset`; fewer at the end only. */
static zllm_result read_at(const input_t *s, uint64_t offset, uint8_t *data, size_t size, size_t *got, problem_t *p) {
    *got = 0;
    if (!s->input.sequential && offset >= s->input.size) return ZLLM_OK;
    if (!s->input.sequential && s->input.size - offset < size) size = (size_t)(s->input.size - offset);
    while (*got < size) {
        size_t count = size - *got;
        if (s->input.read(s->input.context, offset + *got, data + *got, &count) != 0 || count > size - *got)
            return failed(p);
        if (count == 0) break;
        *got += count;
    }
    return ZLLM_OK;
}

/* Room for `size` bytes from s->from on. */
static zllm_result make_room(input_t *s, size_t size, problem_t *p) {
    if (size <= s->room - s->from) return ZLLM_OK;
    uint8_t *to = s->buffer;
    if (size > s->room) {
        to = zllm_heap_take(s->heap, size);
        if (to == NULL) return NO_MEMORY(p);
    }
    if (s->have > 0) memmove(to, s->buffer + s->from, s->have);
    if (to != s->buffer) {
        zllm_heap_free(s->heap, s->buffer);
        s->buffer = to;
        s->room = size;
    }
    s->from = 0;
    return ZLLM_OK;
}

/* Have `size` bytes in the buffer, unless there are fewer. A pipe's come piece by piece, each as long as all before it, so
 * that no length that is claimed takes memory before there is data. */
static zllm_result fill(input_t *s, size_t size, problem_t *p) {
    while (s->have < size && !s->ended) {
        size_t want = size - s->have, got;
        const size_t step = s->have > STEP ? s->have : STEP;
        const uint64_t at = s->position + s->have;
        if (s->input.sequential) want = want < step ? want : step;
        else if (at >= s->input.size) want = 0;
        else if (s->input.size - at < want) want = (size_t)(s->input.size - at);
        else if (want < STEP && s->input.size - at >= STEP && s->have == 0) want = STEP;
        if (want == 0) {
            s->ended = 1;
            break;
        }
        zllm_result rc = make_room(s, s->have + want, p);
        if (rc == ZLLM_OK) rc = read_at(s, at, s->buffer + s->from + s->have, want, &got, p);
        if (rc != ZLLM_OK) return rc;
        s->have += got;
        s->ended = got < want;
    }
    return ZLLM_OK;
}

zllm_result zllm_input_peek(input_t *s, uint64_t size, const uint8_t **data, size_t *got, problem_t *p) {
    static const uint8_t none[1];
    if (size > SIZE_MAX / 4) return NO_MEMORY(p);
    const zllm_result rc = fill(s, (size_t)size, p);
    *data = s->have > 0 ? s->buffer + s->from : none;
    *got = s->have < size ? s->have : (size_t)size;
    return rc;
}

zllm_result zllm_input_look(input_t *s, uint64_t distance, size_t size, const uint8_t **data, size_t *got, problem_t *p) {
    zllm_result rc;
    if (s->input.sequential || distance + size <= s->have) {
        rc = zllm_input_peek(s, distance + size, data, got, p);
        if (rc != ZLLM_OK) return rc;
        *got = *got > distance ? *got - (size_t)distance : 0;
        if (*got > 0) *data += distance;
        return ZLLM_OK;
    }
    if (s->side == NULL) s->side = zllm_heap_take(s->heap, MOST_LOOK);
    if (s->side == NULL) return NO_MEMORY(p);
    *data = s->side;
    return read_at(s, s->position + distance, s->side, size, got, p);
}

void zllm_input_seek(input_t *s, uint64_t position) {
    s->position = position;
    s->from = s->have = 0;
    s->ended = 0;
}

zllm_result zllm_input_skip(input_t *s, uint64_t size, uint64_t *got, problem_t *p) {
    uint64_t done = size < s->have ? size : s->have;
    s->from += (size_t)done;
    s->have -= (size_t)done;
    s->position += done;
    if (!s->input.sequential && done < size) {
        const uint64_t left = s->position < s->input.size ? s->input.size - s->position : 0;
        const uint64_t more = size - done < left ? size - done : left;
        zllm_input_seek(s, s->position + more);
        done += more;
    }
    while (s->input.sequential && done < size && !s->ended) {
        const zllm_result rc = fill(s, size - done < STEP ? (size_t)(size - done) : STEP, p);
        const uint64_t part = size - done < s->have ? size - done : s->have;
        if (rc != ZLLM_OK) return rc;
        s->from += (size_t)part;
        s->have -= (size_t)part;
        s->position += part;
        done += part;
    }
    if (s->have == 0) s->from = 0;
    if (got != NULL) *got = done;
    return ZLLM_OK;
}

zllm_result zllm_input_at(input_t *s, uint64_t offset, void *data, size_t size, size_t *got, problem_t *p) {
    return read_at(s, offset, data, size, got, p);
}
