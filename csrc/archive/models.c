#include "archive/models.h"

void zllm_models_free(models_t *m) {
    for (known_model_t *k = m->known; k != NULL;) {
        known_model_t *next = k->next;
        zllm_model_free(k->model);
        zllm_heap_free(m->heap, k->texts);
        zllm_heap_free(m->heap, k);
        k = next;
    }
    zllm_models_forget(m);
}

void zllm_models_cut(models_t *m, uint64_t end) {
    for (embedded_t **at = &m->embedded; *at != NULL;) {
        embedded_t *e = *at;
        if (e->place < end) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        zllm_heap_free(m->heap, e->copy);
        zllm_heap_free(m->heap, e);
        m->n--;
    }
}

void zllm_models_forget(models_t *m) { zllm_models_cut(m, 0); }

static zllm_result too_many(problem_t *p) {
    return zllm_problem(p, ZLLM_E_LIMIT, "the archive names more than %u models", MOST_KNOWN);
}

static int same_model(const known_model_t *k, const model_said_t *said) {
    return memcmp(k->ref.sha256, said->sha256, SHA256_SIZE) == 0 && k->ref.arithmetic == said->arithmetic &&
           memcmp(k->ref.known_answer, said->known_answer, ANSWER_SIZE) == 0 && k->ref.size == said->size &&
           strncmp(k->ref.name, (const char *)said->name, said->name_size) == 0;
}

zllm_result zllm_models_name(models_t *m, const model_said_t *said, known_model_t **out, problem_t *p) {
    for (known_model_t *k = m->known; k != NULL; k = k->next)
        if (same_model(k, said)) {
            *out = k;
            return ZLLM_OK;
        }
    if (m->n == MOST_KNOWN) return too_many(p);
    known_model_t *k = zllm_heap_zeroed(m->heap, 1, sizeof *k);
    char *texts = zllm_heap_zeroed(m->heap, (size_t)said->name_size + said->origin_size + 2, 1);
    if (k == NULL || texts == NULL) {
        zllm_heap_free(m->heap, k);
        zllm_heap_free(m->heap, texts);
        return NO_MEMORY(p);
    }
    memcpy(texts, said->name, said->name_size);
    memcpy(texts + said->name_size + 1, said->origin, said->origin_size);
    k->texts = texts;
    k->ref.name = texts;
    k->ref.origin = texts + said->name_size + 1;
    memcpy(k->ref.sha256, said->sha256, SHA256_SIZE);
    memcpy(k->ref.known_answer, said->known_answer, ANSWER_SIZE);
    k->ref.arithmetic = said->arithmetic > UINT32_MAX ? UINT32_MAX : (uint32_t)said->arithmetic;
    k->ref.size = said->size;
    k->ref.embedded = said->embedded;
    if (m->last == NULL) m->known = k;
    else m->last->next = k;
    m->last = *out = k;
    m->n++;
    return ZLLM_OK;
}

zllm_result zllm_models_embedded(models_t *m, const embedded_t *part, problem_t *p) {
    embedded_t **end = &m->embedded;
    if (m->n == MOST_KNOWN) return too_many(p);
    embedded_t *e = zllm_heap_zeroed(m->heap, 1, sizeof *e);
    if (e == NULL) return NO_MEMORY(p);
    m->n++;
    *e = *part;
    e->next = NULL;
    while (*end != NULL) end = &(*end)->next;
    *end = e;
    return ZLLM_OK;
}

/* The body of a model part and its checksum. `room` holds them if they had to be read. */
static zllm_result fetch(models_t *m, const embedded_t *e, uint8_t **room, const uint8_t **body, problem_t *p) {
    const size_t front = envelope_size(&e->envelope);
    const uint64_t size = e->envelope.length + CHECK_SIZE;
    size_t got;
    *room = NULL;
    if (e->copy != NULL) {
        *body = e->copy + front;
        return ZLLM_OK;
    }
    if (size > SIZE_MAX / 2 || (*room = zllm_heap_take(m->heap, (size_t)size)) == NULL) return NO_MEMORY(p);
    *body = *room;
    const zllm_result rc = zllm_input_at(m->input, e->place + front, *room, (size_t)size, &got, p);
    return rc == ZLLM_OK && got < size ? DAMAGED(p, "an embedded model is damaged: the archive ends inside it") : rc;
}

static zllm_result unpack(models_t *m, const embedded_t *e, const uint8_t *body, uint8_t *out, problem_t *p) {
    uint8_t front[MAX_ENVELOPE], hash[SHA256_SIZE];
    const size_t size = zllm_envelope_write(&e->envelope, e->seed, front);
    const model_part_t *said = &e->said;
    if (!zllm_part_holds(e->seed, front, size, body, (size_t)e->envelope.length + CHECK_SIZE))
        return DAMAGED(p, "an embedded model is damaged: its checksum does not match");
    if (said->codec == CODEC_ZSTD) {
        const zllm_result rc = zllm_unpack_zstd(m->heap, body + said->coded_at, (size_t)said->coded_size, out,
                                                (size_t)said->size, "an embedded model", p);
        if (rc != ZLLM_OK) return rc;
    } else {
        if (said->size != said->coded_size) return DAMAGED(p, "an embedded model is damaged: impossible size");
        memcpy(out, body + said->coded_at, (size_t)said->size);
    }
    zllm_sha256(out, (size_t)said->size, hash);
    if (memcmp(hash, said->sha256, SHA256_SIZE) != 0)
        return DAMAGED(p, "an embedded model is damaged: its SHA-256 does not match");
    return ZLLM_OK;
}

zllm_result zllm_models_unpack(models_t *m, const embedded_t *e, uint8_t **data, problem_t *p) {
    const uint8_t *body;
    uint8_t *room;
    *data = NULL;
    zllm_result rc = fetch(m, e, &room, &body, p);
    if (rc == ZLLM_OK) {
        *data = e->said.size > SIZE_MAX / 2 ? NULL : zllm_heap_take(m->heap, (size_t)e->said.size + 1);
        rc = *data == NULL ? NO_MEMORY(p) : unpack(m, e, body, *data, p);
    }
    zllm_heap_free(m->heap, room);
    if (rc == ZLLM_OK) return ZLLM_OK;
    zllm_heap_free(m->heap, *data);
    *data = NULL;
    return rc;
}

static zllm_result parse(models_t *m, known_model_t *k, const uint8_t *data, size_t size, problem_t *p) {
    uint8_t found[SHA256_SIZE];
    zllm_sha256(data, size, found);
    if (memcmp(found, k->ref.sha256, SHA256_SIZE) != 0)
        return zllm_problem(p, ZLLM_E_MISSING, "another model was given than '%s'", k->ref.name);
    zllm_result rc = zllm_model_parse(data, size, m->decoding.kernel, m->decoding.options, &k->model);
    if (rc != ZLLM_OK) return zllm_problem_of_coder(rc, "the model", p);
    k->start = zllm_model_start(k->model);
    rc = zllm_model_answer(k->model, found, m->decoding.options);
    if (rc != ZLLM_OK) rc = NO_MEMORY(p);
    else if (memcmp(found, k->ref.known_answer, ANSWER_SIZE) != 0)
        rc = zllm_problem(p, ZLLM_E_MISSING, "the model '%s' is here, but computes other numbers", k->ref.name);
    if (rc == ZLLM_OK) return ZLLM_OK;
    zllm_model_free(k->model);
    k->model = NULL;
    return rc;
}

static zllm_result missing(const known_model_t *k, problem_t *p) {
    char hex[2 * SHA256_SIZE + 1] = {0};
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        hex[2 * i] = "0123456789abcdef"[k->ref.sha256[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[k->ref.sha256[i] & 15];
    }
    return zllm_problem(p, ZLLM_E_MISSING, "the model '%s' (sha256 %s, %llu bytes) is not here", k->ref.name, hex,
                        (unsigned long long)k->ref.size);
}

static zllm_result load(models_t *m, known_model_t *k, problem_t *p) {
    zllm_result rc = ZLLM_E_MISSING;
    const uint8_t *given = NULL;
    size_t size = 0;
    if (k->ref.arithmetic != ZLLM_ARITHMETIC_VERSION)
        return zllm_problem(p, ZLLM_E_VERSION, "the archive was made with arithmetic version %u, this program has %u",
                            k->ref.arithmetic, (unsigned)ZLLM_ARITHMETIC_VERSION);
    for (const embedded_t *e = m->embedded; e != NULL && k->model == NULL; e = e->next) {
        uint8_t *data;
        if (memcmp(e->said.sha256, k->ref.sha256, SHA256_SIZE) != 0) continue;
        rc = zllm_models_unpack(m, e, &data, p);
        if (rc == ZLLM_OK) rc = parse(m, k, data, (size_t)e->said.size, p);
        zllm_heap_free(m->heap, data);
        if (rc == ZLLM_E_MEMORY || rc == ZLLM_E_INPUT) return rc;
    }
    if (k->model != NULL) return ZLLM_OK;
    if (m->find != NULL && m->find(m->context, &k->ref, &given, &size) == ZLLM_OK && given != NULL)
        return parse(m, k, given, size, p);
    return rc == ZLLM_E_MISSING ? missing(k, p) : rc;
}

zllm_result zllm_models_load(models_t *m, known_model_t *k, problem_t *p) {
    if (!k->tried) {
        const zllm_result rc = load(m, k, &k->problem);
        if (rc == ZLLM_E_MEMORY || rc == ZLLM_E_INPUT || rc == ZLLM_E_CANCELLED) {
            *p = k->problem;
            return rc;
        }
        k->tried = 1;
    }
    if (k->model != NULL) return ZLLM_OK;
    *p = k->problem;
    return p->result;
}
