/* SPDX-License-Identifier: Apache-2.0 */
/* The columns of a block that check each other: ids, times, nested set, service stats, blooms. */
#include "verify.h"

#include "fermata/bytes.h"

#include <stdlib.h>

#define STATUS_ERROR   2
#define STEP_NAMES_MAX FM_MIB(64)
#define STEP_FEW       16u /* services of a trace that are sorted without qsort */

static const uint8_t step_leaves[] = {
    LEAF_TRACE_ID,         LEAF_TRACE_ID_TEXT, LEAF_TRACE_START, LEAF_TRACE_END,
    LEAF_TRACE_DURATION,   LEAF_STATS_SERVICE, LEAF_STATS_SPANS, LEAF_STATS_ERRORS,
    LEAF_RESOURCE_SERVICE, LEAF_SPAN_ID,       LEAF_SPAN_PARENT, LEAF_SPAN_PARENT_LEFT,
    LEAF_SPAN_LEFT,        LEAF_SPAN_RIGHT,    LEAF_SPAN_KIND,   LEAF_SPAN_START,
    LEAF_SPAN_DURATION,    LEAF_SPAN_STATUS,
};

#define STEP_TRY(expression)                                                                       \
    do {                                                                                           \
        int try_rc = (expression);                                                                 \
        if (try_rc < 0)                                                                            \
            return try_rc;                                                                         \
    } while (0)

/* FM_OK: there is an entry; FM_END: the column is over. */
static inline int step_peek(struct verify *verify, unsigned leaf)
{
    struct verify_column *column = &verify->columns[leaf];
    if (FM_LIKELY(column->entry < column->page.entry_count))
        return FM_OK;
    return verify_page(verify, leaf);
}

/* Takes an entry that must have a value; its index in the page. */
static int step_take(struct verify *verify, unsigned leaf, uint32_t *ret_value)
{
    struct verify_column *column = &verify->columns[leaf];
    int rc = step_peek(verify, leaf);
    if (rc != FM_OK)
        return rc < 0 ? rc : verify_fail(verify, leaf, "ends before its siblings");
    if (column->page.def && column->page.def[column->entry] != verify->block->leaves[leaf].def_max)
        return verify_fail(verify, leaf, "a value is missing");
    column->entry++;
    *ret_value = column->value++;
    return FM_OK;
}

static int step_i64(struct verify *verify, unsigned leaf, int64_t *ret_value)
{
    uint32_t value;
    STEP_TRY(step_take(verify, leaf, &value));
    const struct pq_page *page = &verify->columns[leaf].page;
    bool wide = verify->block->leaves[leaf].type == PQ_INT64;
    *ret_value = wide ? page->i64[value] : page->i32[value];
    return FM_OK;
}

static int step_u64(struct verify *verify, unsigned leaf, uint64_t *ret_value)
{
    int64_t value;
    STEP_TRY(step_i64(verify, leaf, &value));
    *ret_value = (uint64_t)value;
    return FM_OK;
}

static int step_bytes(struct verify *verify, unsigned leaf, struct fm_slice *ret_bytes)
{
    uint32_t value;
    STEP_TRY(step_take(verify, leaf, &value));
    const struct verify_column *column = &verify->columns[leaf];
    *ret_bytes = column->page.indexes ? column->dictionary[column->page.indexes[value]]
                                      : column->page.bytes[value];
    return FM_OK;
}

/* ---- services ---- */

static int step_compare_service(const void *a, const void *b)
{
    const struct verify_service *x = a, *y = b;
    return fm_slice_compare(x->name, y->name);
}

static int services_add(struct verify *verify, struct verify_services *services,
                        struct fm_slice name, uint64_t span_count, uint64_t error_count)
{
    if (services->count == services->cap) {
        size_t cap = FM_MAX(services->cap * 2, (size_t)16);
        void *rows = realloc(services->rows, cap * sizeof *services->rows);
        if (!rows)
            return FM_ENOMEM;
        services->rows = rows;
        services->cap = cap;
    }
    /* A page without a dictionary takes its bytes away when the next one comes. */
    struct fm_slice kept = fm_slice_dup(&verify->names, name);
    if (fm_arena_failed(&verify->names))
        return FM_ENOMEM;
    services->rows[services->count++] = (struct verify_service){kept, span_count, error_count};
    return FM_OK;
}

static void services_sort_few(struct verify_service *rows, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct verify_service row = rows[i];
        size_t at = i;
        for (; at && step_compare_service(&row, &rows[at - 1]) < 0; at--)
            rows[at] = rows[at - 1];
        rows[at] = row;
    }
}

/* Sorted by name, one row a name. */
static void services_merge(struct verify_services *services)
{
    size_t kept = 0;
    if (services->count > STEP_FEW)
        qsort(services->rows, services->count, sizeof *services->rows, step_compare_service);
    else
        services_sort_few(services->rows, services->count);
    for (size_t i = 0; i < services->count; i++) {
        struct verify_service *row = &services->rows[i];
        if (kept && fm_slice_equal(services->rows[kept - 1].name, row->name)) {
            services->rows[kept - 1].span_count += row->span_count;
            services->rows[kept - 1].error_count += row->error_count;
        } else {
            services->rows[kept++] = *row;
        }
    }
    services->count = kept;
}

static int step_said_services(struct verify *verify)
{
    struct verify_column *names = &verify->columns[LEAF_STATS_SERVICE];
    for (unsigned i = 0;; i++) {
        int rc = step_peek(verify, LEAF_STATS_SERVICE);
        if (rc < 0)
            return rc;
        if (rc == FM_END || (names->page.rep[names->entry] == 0) != (i == 0))
            break;
        struct fm_slice name;
        int64_t span_count, error_count;
        STEP_TRY(step_bytes(verify, LEAF_STATS_SERVICE, &name));
        STEP_TRY(step_i64(verify, LEAF_STATS_SPANS, &span_count));
        STEP_TRY(step_i64(verify, LEAF_STATS_ERRORS, &error_count));
        STEP_TRY(
            services_add(verify, &verify->said, name, (uint64_t)span_count, (uint64_t)error_count));
    }
    return FM_OK;
}

static int step_compare_services(struct verify *verify)
{
    services_merge(&verify->said);
    services_merge(&verify->found);
    bool same = verify->said.count == verify->found.count;
    for (size_t i = 0; same && i < verify->said.count; i++) {
        const struct verify_service *a = &verify->said.rows[i], *b = &verify->found.rows[i];
        same = fm_slice_equal(a->name, b->name) && a->span_count == b->span_count &&
               a->error_count == b->error_count;
    }
    return same ? FM_OK
                : verify_fail(verify, LEAF_STATS_SERVICE, "service stats do not match the spans");
}

/* ---- spans ---- */

struct step_times {
    uint64_t start_ns, end_ns;
};

/* What the columns say of one span. */
struct step_fields {
    struct fm_slice id, parent;
    int64_t kind, status;
    uint64_t start_ns, duration_ns;
    int32_t numbers[3]; /* left, right, the parent's left */
};

static const uint8_t step_span_leaves[] = {
    LEAF_SPAN_ID,   LEAF_SPAN_PARENT, LEAF_SPAN_PARENT_LEFT, LEAF_SPAN_LEFT,   LEAF_SPAN_RIGHT,
    LEAF_SPAN_KIND, LEAF_SPAN_START,  LEAF_SPAN_DURATION,    LEAF_SPAN_STATUS,
};

/* How many spans ahead have all their values in the pages at hand, none of them null: there an
 * entry's place is its value's. */
static uint32_t step_dense(const struct verify *verify)
{
    uint32_t left = UINT32_MAX;
    for (size_t i = 0; i < FM_COUNT(step_span_leaves); i++) {
        const struct verify_column *column = &verify->columns[step_span_leaves[i]];
        bool is_dense = column->entry < column->page.entry_count && !column->page.indexes &&
                        column->page.value_count == column->page.entry_count;
        left = FM_MIN(left, is_dense ? column->page.entry_count - column->entry : 0);
    }
    return left;
}

/* The types are those of the schema: block_open has compared them. */
static void step_read_dense(struct verify *verify, struct step_fields *fields)
{
    struct verify_column *columns = verify->columns;
    fields->id = columns[LEAF_SPAN_ID].page.bytes[columns[LEAF_SPAN_ID].value];
    fields->parent = columns[LEAF_SPAN_PARENT].page.bytes[columns[LEAF_SPAN_PARENT].value];
    fields->kind = columns[LEAF_SPAN_KIND].page.i64[columns[LEAF_SPAN_KIND].value];
    fields->status = columns[LEAF_SPAN_STATUS].page.i64[columns[LEAF_SPAN_STATUS].value];
    fields->start_ns = (uint64_t)columns[LEAF_SPAN_START].page.i64[columns[LEAF_SPAN_START].value];
    fields->duration_ns =
        (uint64_t)columns[LEAF_SPAN_DURATION].page.i64[columns[LEAF_SPAN_DURATION].value];
    fields->numbers[0] = columns[LEAF_SPAN_LEFT].page.i32[columns[LEAF_SPAN_LEFT].value];
    fields->numbers[1] = columns[LEAF_SPAN_RIGHT].page.i32[columns[LEAF_SPAN_RIGHT].value];
    fields->numbers[2] =
        columns[LEAF_SPAN_PARENT_LEFT].page.i32[columns[LEAF_SPAN_PARENT_LEFT].value];
    for (size_t i = 0; i < FM_COUNT(step_span_leaves); i++) {
        columns[step_span_leaves[i]].entry++;
        columns[step_span_leaves[i]].value++;
    }
    verify->dense_left--;
}

static int step_read(struct verify *verify, struct step_fields *fields)
{
    int64_t numbers[3];
    if (verify->dense_left || (verify->dense_left = step_dense(verify)) > 0) {
        step_read_dense(verify, fields);
        return FM_OK;
    }
    STEP_TRY(step_bytes(verify, LEAF_SPAN_ID, &fields->id));
    STEP_TRY(step_bytes(verify, LEAF_SPAN_PARENT, &fields->parent));
    STEP_TRY(step_i64(verify, LEAF_SPAN_KIND, &fields->kind));
    STEP_TRY(step_i64(verify, LEAF_SPAN_STATUS, &fields->status));
    STEP_TRY(step_u64(verify, LEAF_SPAN_START, &fields->start_ns));
    STEP_TRY(step_u64(verify, LEAF_SPAN_DURATION, &fields->duration_ns));
    STEP_TRY(step_i64(verify, LEAF_SPAN_LEFT, &numbers[0]));
    STEP_TRY(step_i64(verify, LEAF_SPAN_RIGHT, &numbers[1]));
    STEP_TRY(step_i64(verify, LEAF_SPAN_PARENT_LEFT, &numbers[2]));
    for (unsigned i = 0; i < 3; i++)
        fields->numbers[i] = (int32_t)numbers[i];
    return FM_OK;
}

/* One span into the nested set; what the file says goes to out's right place for comparing. */
static int step_span(struct verify *verify, uint32_t index, struct step_times *times,
                     bool *ret_error, int32_t said[3])
{
    struct nested_span *span = &verify->nested.spans[index];
    struct step_fields fields;
    STEP_TRY(step_read(verify, &fields));
    struct fm_slice id = fields.id, parent = fields.parent;
    if (id.len != 8 || (parent.len != 8 && parent.len != 0))
        return verify_fail(verify, LEAF_SPAN_ID, "a span id has not 8 bytes");
    span->id = fm_load_le64(id.ptr);
    span->is_root = parent.len == 0;
    span->parent = parent.len ? fm_load_le64(parent.ptr) : 0;
    span->kind = (uint64_t)fields.kind < 255 ? (uint8_t)fields.kind : 255;
    memcpy(said, fields.numbers, sizeof fields.numbers);
    *ret_error = fields.status == STATUS_ERROR;

    uint64_t start_ns = fields.start_ns, end_ns = start_ns + fields.duration_ns;
    if (times->start_ns == 0 || (start_ns && start_ns < times->start_ns))
        times->start_ns = start_ns;
    times->end_ns = FM_MAX(times->end_ns, end_ns);
    verify->census->start_min_ns = FM_MIN(verify->census->start_min_ns, start_ns);
    verify->census->end_max_ns = FM_MAX(verify->census->end_max_ns, end_ns);
    if (start_ns >= BLOCK_TIME_MIN_NS)
        verify->census->range_start_ns = FM_MIN(verify->census->range_start_ns, start_ns);
    return FM_OK;
}

struct step_numbers {
    int32_t (*rows)[3]; /* owned */
    uint32_t cap;
};

/* Room for one more span, keeping what is there. */
static int step_grow(struct verify *verify, struct step_numbers *said, uint32_t count)
{
    struct nested *nested = &verify->nested;
    if (count < nested->span_cap && count < said->cap)
        return FM_OK;
    uint32_t cap = FM_MAX(count * 2, 256u);
    void *rows = realloc(said->rows, (size_t)cap * sizeof *said->rows);
    if (!rows)
        return FM_ENOMEM;
    said->rows = rows;
    said->cap = cap;
    /* The id table is sized and filled when the count is known. */
    return nested_reserve(nested, cap);
}

static int step_number(struct verify *verify, const struct step_numbers *said, uint32_t count)
{
    struct nested *nested = &verify->nested;
    STEP_TRY(nested_reserve(nested, count));
    for (uint32_t i = 0; i < count; i++)
        (void)nested_enter(nested, i);
    (void)nested_number(nested);
    for (uint32_t i = 0; i < count; i++) {
        const struct nested_span *span = &nested->spans[i];
        if (said->rows[i][0] != span->left || said->rows[i][1] != span->right ||
            said->rows[i][2] != span->parent_left)
            return verify_fail(verify, LEAF_SPAN_LEFT, "nested set does not match the tree");
    }
    return FM_OK;
}

/* The spans of one row; count them, their services and times. */
static int step_spans(struct verify *verify, struct step_numbers *said, struct step_times *times)
{
    struct verify_column *ids = &verify->columns[LEAF_SPAN_ID];
    struct verify_service *service = NULL;
    uint32_t count = 0;
    for (;; count++) {
        int rc = step_peek(verify, LEAF_SPAN_ID);
        if (rc < 0)
            return rc;
        unsigned rep = rc == FM_OK ? ids->page.rep[ids->entry] : 0;
        if (rc == FM_END || (rep == 0) != (count == 0))
            break;
        if (rep <= 1) {
            struct fm_slice name;
            STEP_TRY(step_bytes(verify, LEAF_RESOURCE_SERVICE, &name));
            STEP_TRY(services_add(verify, &verify->found, name, 0, 0));
            verify->census->attribute_count += name.len != 0;
            service = &verify->found.rows[verify->found.count - 1];
        }
        bool is_error = false;
        STEP_TRY(step_grow(verify, said, count));
        STEP_TRY(step_span(verify, count, times, &is_error, said->rows[count]));
        service->span_count++;
        service->error_count += is_error;
    }
    if (!count)
        return verify_fail(verify, LEAF_SPAN_ID, "a trace without spans");
    verify->census->span_count += count;
    return step_number(verify, said, count);
}

/* ---- traces ---- */

static int step_id(struct verify *verify)
{
    struct fm_slice id, text;
    STEP_TRY(step_bytes(verify, LEAF_TRACE_ID, &id));
    STEP_TRY(step_bytes(verify, LEAF_TRACE_ID_TEXT, &text));
    struct trace_id *last = &verify->last_id;
    if (id.len != sizeof last->bytes)
        return verify_fail(verify, LEAF_TRACE_ID, "an id has not 16 bytes");
    if (verify->has_last_id && memcmp(last->bytes, id.ptr, sizeof last->bytes) >= 0)
        return verify_fail(verify, LEAF_TRACE_ID, "ids do not ascend");
    memcpy(last->bytes, id.ptr, sizeof last->bytes);
    verify->has_last_id = true;

    char hex[32];
    size_t zeros = 0;
    fm_hex_encode(hex, id);
    while (zeros < sizeof hex && hex[zeros] == '0')
        zeros++;
    if (!fm_slice_equal(text, fm_slice(hex + zeros, sizeof hex - zeros)))
        return verify_fail(verify, LEAF_TRACE_ID_TEXT, "the text is not that of the id");
    bool maybe = false;
    uint32_t shard = bloom_shard(last, verify->block->meta.bloom_shard_count);
    if (bloom_test(verify->blooms[shard], last, &maybe) < 0)
        return fm_fail(verify->why, FM_ECORRUPT, "bloom-%u is malformed", shard);
    if (!maybe)
        return fm_fail(verify->why, FM_ECORRUPT, "bloom-%u does not hold trace %.32s", shard, hex);
    return FM_OK;
}

static int step_trace(struct verify *verify, struct step_numbers *said)
{
    struct step_times times = {0};
    uint64_t start_ns, end_ns, duration_ns;
    fm_arena_reset(&verify->names);
    verify->said.count = verify->found.count = 0;
    STEP_TRY(step_id(verify));
    STEP_TRY(step_u64(verify, LEAF_TRACE_START, &start_ns));
    STEP_TRY(step_u64(verify, LEAF_TRACE_END, &end_ns));
    STEP_TRY(step_u64(verify, LEAF_TRACE_DURATION, &duration_ns));
    STEP_TRY(step_said_services(verify));
    STEP_TRY(step_spans(verify, said, &times));
    STEP_TRY(step_compare_services(verify));
    if (start_ns != times.start_ns || end_ns != times.end_ns || duration_ns != end_ns - start_ns)
        return verify_fail(verify, LEAF_TRACE_START, "the trace's times are not its spans'");
    verify->census->trace_count++;
    return FM_OK;
}

static int step_run(struct verify *verify, struct step_numbers *said)
{
    for (size_t i = 0; i < FM_COUNT(step_leaves); i++)
        STEP_TRY(verify_open(verify, step_leaves[i]));
    verify->dense_left = 0;
    int rc;
    while ((rc = step_peek(verify, LEAF_TRACE_ID)) == FM_OK)
        STEP_TRY(step_trace(verify, said));
    if (rc < 0)
        return rc;
    /* Every other column must be over as well; that is when its totals are checked. */
    for (size_t i = 1; i < FM_COUNT(step_leaves); i++) {
        rc = step_peek(verify, step_leaves[i]);
        if (rc == FM_OK)
            return verify_fail(verify, step_leaves[i], "goes on behind the last trace");
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

int verify_in_step(struct verify *verify)
{
    struct step_numbers said = {0};
    if (!verify->has_names) {
        fm_arena_init(&verify->names, STEP_NAMES_MAX);
        verify->has_names = true;
    }
    int rc = step_run(verify, &said);
    free(said.rows);
    for (size_t i = 0; i < FM_COUNT(step_leaves); i++) {
        struct verify_column *column = &verify->columns[step_leaves[i]];
        column->column = pq_column_free(column->column);
    }
    return rc;
}

void verify_step_fini(struct verify *verify)
{
    free(fm_take(verify->said.rows));
    free(fm_take(verify->found.rows));
    if (verify->has_names)
        fm_arena_fini(&verify->names);
    verify->has_names = false;
}
