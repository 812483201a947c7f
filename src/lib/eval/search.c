/* SPDX-License-Identifier: Apache-2.0 */
/* Search: the newest traces of any number of sources.
 *
 * A heap with the oldest kept trace on top.  A frame's survivors first compete by their starts
 * alone; only those that are still in when the frame is through have their details gathered, from
 * vectors that are loaded for just these traces.  Of equal starts the smaller id is the newer one,
 * so that an answer does not depend on the order of sources. */
#include "internal.h"

#include <stdlib.h>

struct search_entry {
    struct trace_id id;
    uint64_t start_ns;
    struct eval_trace *trace; /* owned; NULL: of the present frame, details to come */
    size_t bytes;
    uint32_t frame_trace; /* while trace is NULL */
    uint32_t heap_at;
    uint32_t next; /* in its bucket, or in the list of free entries */
};
struct eval_search {
    const struct eval_plan *plan; /* borrowed */
    struct eval_limits limits;
    struct eval_search_options options;
    struct found_fields fields;
    struct search_entry *entries; /* owned; cap */
    uint32_t *heap;               /* owned; entries, the oldest first */
    uint32_t *buckets;            /* owned; bucket_count, a power of two */
    uint32_t count, cap, bucket_count, free_entry;
    size_t bytes;                      /* of details */
    uint8_t *entered;                  /* of the present frame's traces, in the run's arena */
    uint64_t floor_ns;                 /* of others; 0: none */
    struct eval_candidate *candidates; /* owned */
    size_t candidate_count, candidate_cap;
    struct eval_trace *traces; /* owned; for the caller */
};
enum search_entered { SEARCH_OUT, SEARCH_IN, SEARCH_JOINS };

int eval_search_new(struct eval_search **ret_search, struct eval_plan *plan,
                    const struct eval_limits *limits, const struct eval_search_options *options)
{
    FM_AUTO(eval_search) search = calloc(1, sizeof *search);
    if (!search)
        return FM_ENOMEM;
    search->plan = plan;
    search->limits = *limits;
    search->limits.by_span = false;
    search->options = *options;
    search->free_entry = EVAL_NONE;
    int rc = found_want(plan, &search->fields);
    if (rc)
        return rc;
    *ret_search = fm_take(search);
    return FM_OK;
}

struct eval_search *eval_search_free(struct eval_search *search)
{
    if (!search)
        return NULL;
    for (uint32_t i = 0; i < search->count; i++)
        free(search->entries[search->heap[i]].trace);
    free(search->entries);
    free(search->heap);
    free(search->buckets);
    free(search->traces);
    free(search->candidates);
    free(search);
    return NULL;
}

/* ---- heap ---- */

static bool search_is_older(const struct search_entry *a, const struct search_entry *b)
{
    if (a->start_ns != b->start_ns)
        return a->start_ns < b->start_ns;
    return memcmp(&a->id, &b->id, sizeof a->id) > 0;
}

static void search_set(struct eval_search *search, uint32_t at, uint32_t entry)
{
    search->heap[at] = entry;
    search->entries[entry].heap_at = at;
}

static bool search_wrong(const struct eval_search *search, uint32_t parent, uint32_t child)
{
    return search_is_older(&search->entries[search->heap[child]],
                           &search->entries[search->heap[parent]]);
}

static void search_swap(struct eval_search *search, uint32_t a, uint32_t b)
{
    uint32_t entry = search->heap[a];
    search_set(search, a, search->heap[b]);
    search_set(search, b, entry);
}

static void search_up(struct eval_search *search, uint32_t at)
{
    for (; at && search_wrong(search, (at - 1) / 2, at); at = (at - 1) / 2)
        search_swap(search, at, (at - 1) / 2);
}

static void search_down(struct eval_search *search, uint32_t at)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < search->count && search_wrong(search, child, child + 1))
            child++;
        if (child >= search->count || !search_wrong(search, at, child))
            return;
        search_swap(search, at, child);
        at = child;
    }
}

/* ---- entries ---- */

static uint32_t *search_bucket(const struct eval_search *search, const struct trace_id *id)
{
    uint64_t key = trace_id_key(id->bytes) * UINT64_C(0x9e3779b97f4a7c15);
    return &search->buckets[(key >> 32) & (search->bucket_count - 1)];
}

static struct search_entry *search_find(const struct eval_search *search, const struct trace_id *id)
{
    if (!search->count)
        return NULL;
    for (uint32_t i = *search_bucket(search, id); i != EVAL_NONE; i = search->entries[i].next)
        if (trace_id_equal(&search->entries[i].id, id))
            return &search->entries[i];
    return NULL;
}

static void search_link(struct eval_search *search, uint32_t index)
{
    uint32_t *bucket = search_bucket(search, &search->entries[index].id);
    search->entries[index].next = *bucket;
    *bucket = index;
}

static int search_grow(struct eval_search *search)
{
    uint32_t cap = FM_MAX(search->cap * 2, 32u);
    size_t bytes = cap * (sizeof *search->entries + 3 * sizeof(uint32_t));
    if (bytes > search->limits.memory_max)
        return FM_ELIMIT;
    struct search_entry *entries = realloc(search->entries, cap * sizeof *entries);
    if (!entries)
        return FM_ENOMEM;
    search->entries = entries;
    uint32_t *heap = realloc(search->heap, cap * sizeof *heap);
    if (!heap)
        return FM_ENOMEM;
    search->heap = heap;
    uint32_t *buckets = malloc(2 * (size_t)cap * sizeof *buckets);
    if (!buckets)
        return FM_ENOMEM;
    free(search->buckets);
    search->buckets = buckets;
    search->bucket_count = 2 * cap;
    memset(buckets, 0xff, 2 * (size_t)cap * sizeof *buckets);
    for (uint32_t i = 0; i < search->count; i++)
        search_link(search, search->heap[i]);
    for (uint32_t i = cap; i > search->cap; i--) {
        entries[i - 1].next = search->free_entry;
        search->free_entry = i - 1;
    }
    search->cap = cap;
    return FM_OK;
}

static void search_remove(struct eval_search *search, struct search_entry *entry)
{
    uint32_t index = (uint32_t)(entry - search->entries), at = entry->heap_at;
    uint32_t *link = search_bucket(search, &entry->id);
    while (*link != index)
        link = &search->entries[*link].next;
    *link = entry->next;
    if (!entry->trace && search->entered)
        search->entered[entry->frame_trace] = SEARCH_OUT;
    free(entry->trace);
    entry->trace = NULL;
    search->bytes -= entry->bytes;
    entry->next = search->free_entry;
    search->free_entry = index;
    search_swap(search, at, search->count - 1);
    search->count--;
    if (at < search->count) {
        search_down(search, at);
        search_up(search, at);
    }
}

/* FM_NONE: it is too old.  Makes room by taking the oldest out. */
static int search_enter(struct eval_search *search, const struct trace_id *id, uint64_t start_ns,
                        struct search_entry **ret_entry)
{
    struct search_entry fresh = {.id = *id, .start_ns = start_ns};
    if (!search->options.limit)
        return FM_NONE;
    if (search->count == search->options.limit) {
        struct search_entry *oldest = &search->entries[search->heap[0]];
        if (!search_is_older(oldest, &fresh))
            return FM_NONE;
        search_remove(search, oldest);
    }
    int rc = search->free_entry == EVAL_NONE ? search_grow(search) : FM_OK;
    if (rc)
        return rc;
    uint32_t index = search->free_entry;
    struct search_entry *entry = &search->entries[index];
    search->free_entry = entry->next;
    *entry = fresh;
    search_link(search, index);
    search_set(search, search->count, index);
    search_up(search, search->count++);
    *ret_entry = entry;
    return FM_OK;
}

/* The details of an entry become a copy of trace. */
static int search_keep(struct eval_search *search, struct search_entry *entry,
                       const struct eval_trace *trace)
{
    struct eval_trace *copy;
    size_t bytes;
    int rc = found_copy(trace, &copy, &bytes);
    if (rc)
        return rc;
    if (search->bytes - entry->bytes + bytes > search->limits.memory_max) {
        free(copy);
        return FM_ELIMIT;
    }
    search->bytes += bytes - entry->bytes;
    free(entry->trace);
    entry->trace = copy;
    entry->bytes = bytes;
    entry->start_ns = trace->start_ns;
    search_down(search, entry->heap_at);
    search_up(search, entry->heap_at);
    return FM_OK;
}

static int search_join(struct eval_search *search, struct search_entry *entry,
                       const struct eval_trace *trace)
{
    struct fm_arena arena;
    struct eval_trace joined;
    fm_arena_init(&arena, search->limits.memory_max);
    int rc = found_join(entry->trace, trace, &arena, &joined);
    if (!rc)
        rc = search_keep(search, entry, &joined);
    fm_arena_fini(&arena);
    return rc;
}

/* ---- candidates ---- */

static int search_add_candidate(struct eval_search *search, const struct eval_candidate *candidate)
{
    if (search->candidate_count == search->candidate_cap) {
        size_t cap = FM_MAX(search->candidate_cap * 2, (size_t)64);
        if (cap * sizeof *candidate > search->limits.memory_max)
            return FM_ELIMIT;
        struct eval_candidate *grown = realloc(search->candidates, cap * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        search->candidates = grown;
        search->candidate_cap = cap;
    }
    search->candidates[search->candidate_count++] = *candidate;
    return FM_OK;
}

/* What cannot enter any more need not be put together. */
static void search_prune(struct eval_search *search)
{
    uint64_t floor_ns = eval_search_floor_ns(search);
    size_t kept = 0;
    for (size_t i = 0; floor_ns && i < search->candidate_count; i++) {
        if (search->candidates[i].start_ns >= floor_ns)
            search->candidates[kept++] = search->candidates[i];
    }
    search->candidate_count = floor_ns ? kept : search->candidate_count;
}

const struct eval_candidate *eval_search_candidates(const struct eval_search *search,
                                                    size_t *ret_count)
{
    *ret_count = search->candidate_count;
    return search->candidates;
}

/* ---- sources ---- */

/* Who of the frame's survivors gets in, for now by start only. */
static int search_compete(struct eval_search *search, struct eval_run *run,
                          const struct frame *frame, const uint8_t *mask, struct fm_why *why)
{
    const struct frame_vector *vector;
    const int64_t *starts;
    int rc = eval_run_vector(run, search->fields.trace_start, &vector, why);
    if (!rc)
        rc = run_integers(run, vector, &starts);
    if (rc)
        return rc;
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++) {
        uint32_t first = frame->trace_spans[t], count = frame->trace_spans[t + 1] - first;
        struct search_entry *entry;
        if (!memchr(mask + first, 1, count))
            continue;
        if (run->partial && run->partial[t]) {
            rc = search_add_candidate(
                search, &(struct eval_candidate){frame->trace_ids[t], (uint64_t)starts[t]});
            if (rc)
                return rc;
            continue;
        }
        entry = search_find(search, &frame->trace_ids[t]);
        if (entry) {
            search->entered[t] = entry->trace ? SEARCH_JOINS : search->entered[t];
            continue;
        }
        rc = search_enter(search, &frame->trace_ids[t], (uint64_t)starts[t], &entry);
        if (rc == FM_NONE)
            continue;
        if (rc)
            return rc;
        entry->frame_trace = t;
        search->entered[t] = SEARCH_IN;
    }
    return FM_OK;
}

static int search_gather_one(struct eval_search *search, struct eval_run *run,
                             const struct eval_set *sets, uint32_t set_count)
{
    struct eval_trace trace;
    uint32_t t = sets[0].trace;
    struct search_entry *entry = search_find(search, &run->frame.trace_ids[t]);
    if (!entry) /* was to be joined, and has been pushed out since */
        return FM_OK;
    int rc = found_trace(run, &search->fields, t, sets, set_count, search->options.spss, &trace);
    if (rc)
        return rc;
    return entry->trace ? search_join(search, entry, &trace) : search_keep(search, entry, &trace);
}

static int search_gather(struct eval_search *search, struct eval_run *run,
                         const struct frame *frame, struct fm_why *why)
{
    const struct eval_set *sets;
    uint32_t count, any = 0;
    uint8_t *wanted = run_alloc(run, frame->count[FRAME_TRACE], 1);
    if (!wanted)
        return run->rc;
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++)
        any |= wanted[t] = search->entered[t] != SEARCH_OUT;
    if (!any)
        return FM_OK;
    int rc = eval_run_sets(run, &sets, &count, why);
    if (!rc)
        rc = found_load(run, &search->fields, wanted, why);
    for (uint32_t s = 0, next; s < count && !rc; s = next) {
        next = s + 1;
        while (next < count && sets[next].trace == sets[s].trace)
            next++;
        if (wanted[sets[s].trace])
            rc = search_gather_one(search, run, sets + s, next - s);
    }
    return rc;
}

/* Entries of a frame that failed have no details and cannot stay. */
static void search_drop_pending(struct eval_search *search)
{
    for (uint32_t i = search->count; i-- > 0;)
        if (!search->entries[search->heap[i]].trace) {
            search_remove(search, &search->entries[search->heap[i]]);
            i = search->count; /* the heap has moved */
        }
}

static int search_frame(struct eval_search *search, struct eval_run *run, const struct frame *frame,
                        const uint8_t *mask, struct fm_why *why)
{
    uint32_t traces = frame->count[FRAME_TRACE];
    search->entered = run_alloc(run, traces, 1);
    if (!search->entered)
        return run->rc;
    memset(search->entered, SEARCH_OUT, traces);
    int rc = search_compete(search, run, frame, mask, why);
    if (!rc)
        rc = search_gather(search, run, frame, why);
    if (rc)
        search_drop_pending(search);
    search->entered = NULL;
    run->floor_ns = eval_search_floor_ns(search);
    return rc;
}

static bool search_keeps(void *self, const struct trace_id *id)
{
    return search_find(self, id) != NULL;
}

int eval_search_add(struct eval_search *search, struct frame_source *source, struct fm_why *why)
{
    FM_AUTO(eval_run) run = NULL;
    const struct frame *frame;
    const uint8_t *mask;
    free(fm_take(search->traces));
    int rc = eval_run_new(&run, search->plan, source, &search->limits);
    if (rc)
        return rc;
    run->keeps = search_keeps;
    run->keeps_self = search;
    run->floor_ns = eval_search_floor_ns(search);
    if (!search->count && !search->limits.only_partial) /* there is nothing to join */
        run->gate.newest_count = search->options.limit;
    while ((rc = eval_run_next(run, &frame, &mask, why)) == FM_OK) {
        rc = search_frame(search, run, frame, mask, why);
        if (rc == FM_ELIMIT)
            return fm_fail(why, rc, "the search needs more memory than it may use");
        if (rc)
            return rc;
    }
    search_prune(search);
    return rc == FM_END ? FM_OK : rc;
}

uint64_t eval_search_floor_ns(const struct eval_search *search)
{
    if (!search->count || search->count < search->options.limit)
        return search->floor_ns;
    return FM_MAX(search->floor_ns, search->entries[search->heap[0]].start_ns);
}

void eval_search_raise_floor(struct eval_search *search, uint64_t floor_ns)
{
    search->floor_ns = FM_MAX(search->floor_ns, floor_ns);
    search_prune(search);
}

int eval_search_merge(struct eval_search *search, const struct eval_search *other)
{
    free(fm_take(search->traces));
    for (uint32_t i = 0; i < other->count; i++) {
        const struct eval_trace *trace = other->entries[other->heap[i]].trace;
        struct search_entry *entry = search_find(search, &trace->id);
        int rc = FM_OK;
        if (entry) {
            rc = search_join(search, entry, trace);
        } else {
            rc = search_enter(search, &trace->id, trace->start_ns, &entry);
            if (rc == FM_NONE)
                continue;
            if (!rc)
                rc = search_keep(search, entry, trace);
        }
        if (rc) {
            search_drop_pending(search);
            return rc;
        }
    }
    for (size_t i = 0; i < other->candidate_count; i++) {
        int rc = search_add_candidate(search, &other->candidates[i]);
        if (rc)
            return rc;
    }
    search_prune(search);
    return FM_OK;
}

static int search_order(const void *a, const void *b)
{
    const struct eval_trace *x = a, *y = b;
    if (x->start_ns != y->start_ns)
        return x->start_ns > y->start_ns ? -1 : 1;
    return memcmp(&x->id, &y->id, sizeof x->id);
}

const struct eval_trace *eval_search_traces(struct eval_search *search, uint32_t *ret_count)
{
    free(fm_take(search->traces));
    *ret_count = 0;
    search->traces = malloc((search->count + 1) * sizeof *search->traces);
    if (!search->traces)
        return NULL;
    for (uint32_t i = 0; i < search->count; i++)
        search->traces[i] = *search->entries[search->heap[i]].trace;
    qsort(search->traces, search->count, sizeof *search->traces, search_order);
    *ret_count = search->count;
    return search->traces;
}
