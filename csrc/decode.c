/* Decoding frames (docs/arithmetic.md, section 8).
 *
 * A token is known only after the one before it, so the products of a step are filled by streams: those of a frame, or
 * of several frames where these are small. Threads that share a frame own some of its streams each; the model's work
 * they do at the same time, the mixing in turns. */
#include "job.h"

typedef struct part part_t;

/* What a lane decodes. */
typedef struct {
    part_t *part;
    uint32_t number, lane; /* the stream's in its frame; in the workspace */
    uint32_t row;          /* in the step */
    place_t place;
    distribution_buffer_t distribution;
} lane_job_t;

/* A thread's part of a job. */
struct part {
    zllm_job *j;
    uint32_t streams; /* that are not at their end */
};

typedef struct {
    heap_t *heap; /* the first job's */
    workspace_t *w;
    lane_job_t *lanes;  /* [capacity] */
    uint32_t *busy;     /* [capacity]: lanes at work, in the order of their jobs and streams; then the free ones */
    uint32_t *ids, *tokens;
    uint32_t count, capacity, rows, thread;
    workspace_t **team; /* of the team's threads: the first is w, the others have joined it */
    uint32_t step_rows;    /* rows of the step */
    distribution_buffer_t members; /* of a class */
    uint32_t row;                  /* of the lane whose turn it is */
    part_t *parts;
    size_t n, taken;
    const zllm_run *run;
} decode_t;

/* Wait for this thread's turn; 0 when the job has stopped. */
static int take_turn(const decode_t *s, zllm_job *j) {
    uint32_t turns = 0, turn;
    if (j->threads == 1) return !zllm_job_stopped(j, s->run);
    while ((turn = wait_value(&j->turn)) != s->thread) {
        if (zllm_job_stopped(j, s->run)) return 0;
        zllm_wait_while(&j->turn, turn, j->crowded, &turns);
    }
    return !zllm_job_stopped(j, s->run);
}

/* To the next thread that has streams left; one that has none gets no more turns. */
static void pass_turn(const decode_t *s, const part_t *p) {
    zllm_job *j = p->j;
    if (j->threads == 1) return;
    j->ended[s->thread] = p->streams == 0;
    for (uint32_t k = 1; k <= j->threads; k++) {
        const uint32_t next = (s->thread + k) % j->threads;
        if (j->ended[next]) continue;
        wait_set(&j->turn, next);
        return;
    }
}

/* Of the lane whose turn it is. */
static distribution_t within(void *context, uint32_t class_) {
    decode_t *s = context;
    const network_t *network = s->parts[0].j->m->network;
    lap(&s->w->laps, ZLLM_STAGE_MIXER);
    const int32_t *logits = s->w->family->within(s->w, s->row, class_);
    zllm_distribution_resize(&s->members, network->class_first[class_ + 1] - network->class_first[class_]);
    zllm_distribution_set(&s->members, network->kernel, logits);
    lap(&s->w->laps, ZLLM_STAGE_WEIGHTS);
    return distribution_view(&s->members);
}

/* A lane's turn will come soon. */
static void expect(const lane_job_t *l) { zllm_job_expect_decoding(l->part->j, l->number, &l->place); }

/* The lanes of part p, which stand at busy[from], have been computed: decode their tokens. Returns where they end;
 * lanes that go on are moved to busy[*kept], the others stay behind. */
static uint32_t decode_part(decode_t *s, uint32_t from, uint32_t *kept) {
    part_t *p = s->lanes[s->busy[from]].part;
    uint32_t i = from;
    expect(&s->lanes[s->busy[from]]);
    const int going = take_turn(s, p->j);
    lap(&s->w->laps, ZLLM_STAGE_WAIT);
    for (; i < s->count && s->lanes[s->busy[i]].part == p; i++) {
        const uint32_t lane = s->busy[i];
        lane_job_t *l = &s->lanes[lane];
        const outcome_t next = {distribution_view(&l->distribution), within, s};
        s->row = l->row;
        if (i + 1 < s->count) expect(&s->lanes[s->busy[i + 1]]);
        const int more = going ? zllm_job_decode_turn(p->j, l->number, &l->place, &next, s->run) : 0;
        if (more < 0) zllm_job_fail(p->j, ZLLM_E_DATA);
        if (more <= 0) {
            p->streams--;
            continue;
        }
        s->busy[i] = s->busy[*kept];
        s->busy[(*kept)++] = lane;
    }
    lap(&s->w->laps, ZLLM_STAGE_MIXER);
    if (going) pass_turn(s, p);
    return i;
}

/* Admit the streams of further jobs to free lanes, if those of a whole job fit: half a job makes no sense. */
static void admit(decode_t *s) {
    for (; s->taken < s->n; s->taken++) {
        part_t *p = &s->parts[s->taken];
        const uint32_t first = job_first(p->j, s->thread), end = job_first(p->j, s->thread + 1);
        if (s->count > 0 && s->count + (end - first) > s->rows) return;
        p->streams = end - first;
        for (uint32_t i = first; i < end; i++) {
            const uint32_t lane = s->busy[s->count++];
            lane_job_t *l = &s->lanes[lane];
            const distribution_buffer_t distribution = l->distribution;
            s->w->family->restart(s->w, lane);
            *l = (lane_job_t){.part = p, .number = i, .lane = lane, .place = job_place(p->j, i),
                              .distribution = distribution};
        }
    }
}

/* A thread's part of a step of s->step_rows rows, and of what follows from it. */
static void compute_part(void *context, uint32_t thread) {
    decode_t *s = context;
    workspace_t *w = s->team[thread];
    lap(&w->laps, ZLLM_STAGE_WAIT); /* for the leader, who was mixing */
    w->family->step(w, s->ids, s->tokens, s->step_rows);
    const uint32_t most = w->head_rows;
    for (uint32_t from = 0; from < s->step_rows; from += most) {
        const uint32_t n = s->step_rows - from < most ? s->step_rows - from : most;
        w->family->head(w, from, n);
        for (uint32_t i = thread; i < n; i += team_threads(s->run->team)) {
            lane_job_t *l = &s->lanes[s->ids[from + i]];
            if (!l->place.coded) continue;
            zllm_distribution_set(&l->distribution, l->part->j->m->kernel, w->family->logits(w, i));
        }
        lap(&w->laps, ZLLM_STAGE_WEIGHTS);
    }
}

static void run_all(decode_t *s, team_work_t *work) {
    if (s->run->team != NULL) zllm_team_run(s->run->team, work, s);
    else work(s, 0);
}

/* Compute the distribution of what follows in every busy lane. */
static void compute(decode_t *s) {
    for (uint32_t from = 0; from < s->count; from += s->rows) {
        s->step_rows = s->count - from < s->rows ? s->count - from : s->rows;
        for (uint32_t i = 0; i < s->step_rows; i++) {
            s->ids[i] = s->busy[from + i];
            s->tokens[i] = s->lanes[s->ids[i]].place.next;
            s->lanes[s->ids[i]].row = i;
        }
        run_all(s, compute_part);
    }
}

static void decode(decode_t *s) {
    for (admit(s); s->count > 0; admit(s)) {
        uint32_t kept = 0;
        compute(s);
        for (uint32_t i = 0; i < s->count;) i = decode_part(s, i, &kept);
        s->count = kept;
    }
}

/* Lanes for the largest job, or for a step full of small ones. */
static int decode_new(decode_t *s, zllm_job **jobs) {
    const zllm_model *m = jobs[0]->m;
    uint64_t all = 0;
    uint32_t largest = 1;
    s->parts = zllm_heap_zeroed(s->heap, s->n, sizeof *s->parts);
    if (s->parts == NULL) return 0;
    for (size_t k = 0; k < s->n; k++) {
        const uint32_t own = job_first(jobs[k], s->thread + 1) - job_first(jobs[k], s->thread);
        s->parts[k].j = jobs[k];
        if (own > largest) largest = own;
        all += own;
    }
    s->capacity = all < s->run->lanes ? (uint32_t)all : s->run->lanes;
    if (s->capacity < largest) s->capacity = largest;
    /* A walk asks for rows of the last step only: with classes, all lanes have to be in it. */
    s->rows = s->capacity < s->run->lanes || m->network->classes ? s->capacity : s->run->lanes;
    s->lanes = zllm_heap_zeroed(s->heap, s->capacity, sizeof *s->lanes);
    s->busy = zllm_heap_zeroed(s->heap, s->capacity, sizeof *s->busy);
    s->ids = zllm_heap_zeroed(s->heap, s->capacity, sizeof *s->ids);
    s->tokens = zllm_heap_zeroed(s->heap, s->capacity, sizeof *s->tokens);
    s->w = model_workspace(m, s->heap, s->capacity, s->rows, s->run->team, s->run->nanoseconds);
    if (!zllm_distribution_new(&s->members, s->heap, m->network->largest_class)) return 0;
    if (!s->lanes || !s->busy || !s->ids || !s->tokens || !s->w) return 0;
    for (uint32_t i = 0; i < s->capacity; i++) {
        s->busy[i] = i;
        if (!zllm_distribution_new(&s->lanes[i].distribution, s->heap, model_choices(m))) return 0;
    }
    return 1;
}

static void join(void *context, uint32_t thread) {
    decode_t *s = context;
    if (thread == 0) return;
    s->team[thread] = s->w->family->workspace_join(s->w, thread, s->run->team->runs[thread]->nanoseconds);
}

/* The team's workspaces, when all of it have come. */
static zllm_result gather(decode_t *s, zllm_job *j) {
    zllm_team *team = s->run->team;
    uint32_t turns = 0;
    s->team = zllm_heap_zeroed(s->heap, team_threads(team), sizeof(workspace_t *));
    if (s->team == NULL) return ZLLM_E_MEMORY;
    s->team[0] = s->w;
    if (team == NULL) return ZLLM_OK;
    for (uint32_t joined = wait_value(&team->joined); !zllm_team_whole(team); joined = wait_value(&team->joined)) {
        if (zllm_job_stopped(j, s->run)) return (zllm_result)atomic_load(&j->failure);
        zllm_wait_while(&team->joined, joined, team->crowded, &turns);
    }
    run_all(s, join);
    for (uint32_t k = 0; k < team->threads; k++)
        if (s->team[k] == NULL) return ZLLM_E_MEMORY;
    return ZLLM_OK;
}

void zllm_job_decode(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run) {
    decode_t s = {.heap = jobs[0]->heap, .run = run, .thread = thread, .n = n};
    const zllm_result rc = decode_new(&s, jobs) ? gather(&s, jobs[0]) : ZLLM_E_MEMORY;
    if (rc == ZLLM_OK) decode(&s);
    else for (size_t k = 0; k < n; k++) zllm_job_fail(jobs[k], rc);
    if (run->team != NULL) zllm_team_end(run->team);
    for (uint32_t k = 1; s.team != NULL && k < team_threads(run->team); k++) workspace_free(s.team[k]);
    for (uint32_t i = 0; s.lanes != NULL && i < s.capacity; i++) zllm_distribution_free(&s.lanes[i].distribution);
    workspace_free(s.w);
    zllm_distribution_free(&s.members);
    zllm_heap_free(s.heap, s.team);
    zllm_heap_free(s.heap, s.lanes);
    zllm_heap_free(s.heap, s.busy);
    zllm_heap_free(s.heap, s.ids);
    zllm_heap_free(s.heap, s.tokens);
    zllm_heap_free(s.heap, s.parts);
}
