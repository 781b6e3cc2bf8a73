/* The tar stream. */
#include "archive/archive.h"

#define STEP ((size_t)64 << 10)

/* How much of a record the stream has: all of it, unless a later generation changed the archive. */
static zllm_result begin_record(zllm_archive *a, const record_t *r) {
    const int continued = a->reading == 0 && a->section.facts.flags & SECTION_CONTINUED;
    const uint64_t start = section_start(&a->section) + r->at, front = (uint64_t)r->headers_size + r->data_size;
    zllm_member member;
    a->front_left = front;
    a->zeros_left = r->zeros;
    zllm_archive_hash_begin(a, r, !continued);
    if (!a->leaving_out) return ZLLM_OK;
    if (!continued) a->hidden = 0;
    if (r->headers_size > 0) {
        const zllm_result rc = zllm_members_read(&a->members, a->section.map.blocks + r->headers_at, r->headers_size, start,
                                                 &member, &a->problem);
        if (rc != ZLLM_OK) return rc;
        a->hidden = zllm_deletions_hide(&a->deletions, a->section.base, start, member.name, member.name_size);
        a->hidden_zeros = member.size > INT64_MAX - BLOCK ? 0 : padded(member.size) - member.size;
    }
    uint64_t zeros = r->zeros, from = start + front;
    if (a->hidden) {
        const uint64_t gone = archive_goes_on(a, a->reading) ? 0 : lesser(a->hidden_zeros, zeros);
        a->front_left = 0;
        a->hashing = 0;
        zeros -= gone;
        from += gone;
    }
    for (size_t i = 0; i < a->n_generations; i++) {
        const generation_t *g = &a->generations[i];
        if (g->zeros_at < from + zeros && from + zeros <= g->stream_end) zeros = g->zeros_at > from ? g->zeros_at - from : 0;
    }
    a->zeros_left = zeros;
    return ZLLM_OK;
}

/* Bytes of the record a->reading from a->offset on, of one kind; *got is 0 at its end. */
static zllm_result stream_record(zllm_archive *a, uint8_t *out, size_t size, size_t *got) {
    const record_t *r = &a->section.map.records[a->reading];
    zllm_result rc = a->offset == 0 ? begin_record(a, r) : ZLLM_OK;
    const uint64_t data_end = a->front_left, end = data_end + a->zeros_left;
    const uint64_t headers = data_end > 0 ? r->headers_size : 0;
    const uint64_t stop = a->offset < headers ? headers : a->offset < data_end ? data_end : end;
    const size_t part = size < stop - a->offset ? size : (size_t)(stop - a->offset);
    if (part == 0 || rc != ZLLM_OK) return rc;
    if (a->offset < headers) memcpy(out, a->section.map.blocks + r->headers_at + a->offset, part);
    else if (a->offset < data_end) {
        rc = zllm_section_read(&a->section, &a->decoder, a->reading, a->offset - headers, out, part, a->hashing,
                               &a->problem);
        if (rc == ZLLM_OK && a->hashing) zllm_sha256_add(&a->hash, out, part);
        if (rc == ZLLM_OK && a->offset + part == data_end) rc = zllm_archive_hash_end(a, r);
    } else memset(out, 0, part);
    if (rc != ZLLM_OK) return rc;
    a->offset += part;
    *got = part;
    return ZLLM_OK;
}

zllm_result zllm_archive_stream(zllm_archive *a, uint8_t *out, size_t size, size_t *got) {
    *got = 0;
    while (*got < size) {
        size_t part = 0;
        if (a->started && a->reading < a->section.map.n_records) {
            const zllm_result rc = stream_record(a, out + *got, size - *got, &part);
            if (rc != ZLLM_OK) return rc;
            *got += part;
            if (part > 0) continue;
            a->reading++;
            a->offset = 0;
            continue;
        }
        const uint64_t end = a->started ? section_end(&a->section) : 0;
        const size_t next = a->started ? a->current + 1 : 0;
        if (a->input.input.sequential ? a->ended : next >= a->n_index) break;
        const zllm_result rc = zllm_archive_advance(a);
        if (rc == ZLLM_END) break;
        if (rc != ZLLM_OK) return rc;
        if (section_start(&a->section) != end) return DAMAGED(&a->problem, "a section of the archive is lost");
    }
    if (*got == 0 && size > 0 && zllm_archive_at_end(a) != ZLLM_END) return a->told.result;
    return ZLLM_OK;
}

/* Where the zeros begin that end a generation which others follow. */
static zllm_result find_zeros(zllm_archive *a, generation_t *g) {
    uint64_t start = g->stream_end;
    while (start > g->stream_start) {
        size_t number = 0;
        while (number < a->n_index && a->index[number].end < start) number++;
        if (number == a->n_index || a->index[number].end != start) break;
        const zllm_result rc = zllm_archive_go(a, number);
        if (rc != ZLLM_OK && rc != ZLLM_END) return rc;
        if (rc == ZLLM_END || a->current != number || section_end(&a->section) != start) break;
        if (a->section.map.n_records == 0) break;
        const record_t *last = &a->section.map.records[a->section.map.n_records - 1];
        start -= last->zeros;
        if (last->headers_size > 0 || last->data_size > 0 || a->section.map.n_records > 1) break;
    }
    g->zeros_at = lesser(g->stream_start + padded(start - g->stream_start), g->stream_end);
    return ZLLM_OK;
}

/* Prepare for the stream of an archive that was changed. */
static zllm_result leave_out(zllm_archive *a) {
    const generation_t *behind = NULL; /* that has some of the stream */
    a->leaving_out = a->hidden = 0;
    for (size_t i = 0; i < a->n_generations; i++) a->leaving_out |= a->generations[i].number > 0;
    for (size_t i = a->n_generations; a->leaving_out && i-- > 0;) {
        generation_t *g = &a->generations[i];
        if (g->stream_start == g->stream_end) continue;
        if (behind != NULL && g->base == behind->base) {
            const zllm_result rc = find_zeros(a, g);
            if (rc != ZLLM_OK) return rc;
        }
        behind = g;
    }
    return zllm_archive_restart(a);
}

zllm_result zllm_archive_tar(zllm_archive *a, zllm_write write, void *context) {
    zllm_result rc = zllm_archive_restart(a);
    if (rc == ZLLM_OK) rc = leave_out(a);
    if (rc != ZLLM_OK) return rc;
    uint8_t *buffer = zllm_heap_take(a->heap, STEP);
    if (buffer == NULL) return NO_MEMORY(&a->problem);
    const int before = a->decoder.everything;
    a->decoder.everything = 1;
    a->reading = 0;
    a->offset = 0;
    for (;;) {
        size_t got;
        rc = zllm_archive_stream(a, buffer, STEP, &got);
        if (got > 0 && write(context, buffer, got) != 0)
            rc = zllm_problem(&a->problem, ZLLM_E_OUTPUT, "the tar stream cannot be written");
        if (rc != ZLLM_OK || got == 0) break;
    }
    a->decoder.everything = before;
    a->leaving_out = 0;
    zllm_heap_free(a->heap, buffer);
    return rc;
}
