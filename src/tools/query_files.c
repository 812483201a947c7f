/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to files: every block below a tenant's directory, and the log of a node, read by the
 * engine that the daemon has.  A block is open only while it is read. */
#include <stdio.h>
#include <stdlib.h>

#include "fermata/linux.h"
#include "fermata/units.h"
#include "fermata/wal.h"
#include "query.h"

#define FILES_META_MAX   FM_MIB(1)
#define FILES_MEMORY_MAX FM_MIB(512) /* of a part, and of rows */
#define FILES_IDS_MAX    FM_MIB(256)

struct query_file { /* a block, or the log */
    bool is_log;
    char path[1100];
    struct block_meta meta;
    struct block_dedicated *dedicated; /* owned; meta's */
    uint64_t start_ns, end_ns;
    size_t listed; /* of files->list, if it is there */
    bool is_asked;
};

struct opened_file {
    struct pf_source file;
    struct bucket_opened remote;
    bool is_remote;
    struct block *block; /* owned */
};

static int opened_init(struct opened_file *opened, struct query_files *files,
                       const struct query_file *file, struct fm_why *why)
{
    char path[1200];
    struct fm_source data;

    opened->is_remote = files->list != NULL;
    if (opened->is_remote) {
        int failed = bucket_opened_init(&opened->remote, files->reader, files->list, file->listed,
                                        &files->budget, why);
        opened->block = failed < 0 ? NULL : opened->remote.block;
        return failed;
    }

    (void)snprintf(path, sizeof path, "%s/data.parquet", file->path);
    opened->block = NULL;
    int rc = pf_source_open(&opened->file, linux_platform(), path, &data, why);
    if (rc < 0)
        return rc;
    rc = block_open(&opened->block, data, &file->meta, why);
    if (rc < 0)
        pf_source_close(&opened->file);
    if (rc == FM_EMALFORMED)
        rc = FM_ECORRUPT; /* the block is to blame, not the question */
    return rc < 0 ? fm_wrap(why, rc, "%s", path) : rc;
}

static void opened_fini(struct opened_file *opened)
{
    if (opened->is_remote) {
        bucket_opened_fini(&opened->remote);
        return;
    }
    opened->block = block_free(opened->block);
    pf_source_close(&opened->file);
}

static bool rc_ends(int rc)
{
    return rc == FM_ENOMEM || rc == FM_ELIMIT || rc == FM_EMALFORMED || rc == FM_EDENIED ||
           rc == FM_EUNAVAILABLE;
}

/* Damage costs what it touched. */
static int files_absorb(struct query_files *files, int rc, const struct fm_why *why)
{
    if (rc >= 0 || rc_ends(rc))
        return rc < 0 ? rc : FM_OK;
    files->damaged_count++;
    files->damage = *why;
    return FM_OK;
}

void query_files_complain(const struct query_files *files)
{
    if (files->damaged_count)
        fprintf(stderr, "fermata query: %llu files could not be read; the last: %s\n",
                (unsigned long long)files->damaged_count, files->damage.text);
}

/* ---- listing ---- */

static struct query_file *files_add(struct query_files *files)
{
    if (files->count == files->capacity) {
        size_t capacity = files->capacity ? 2 * files->capacity : 16;
        struct query_file *grown = realloc(files->files, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        files->files = grown;
        files->capacity = capacity;
    }
    struct query_file *file = &files->files[files->count];
    memset(file, 0, sizeof *file);
    return file;
}

static int file_read_meta(struct query_file *file, struct fm_why *why)
{
    char path[1200];
    struct fm_buf json;

    (void)snprintf(path, sizeof path, "%s/meta.json", file->path);
    fm_buf_init(&json, FILES_META_MAX);
    int rc = pf_read_file(linux_platform(), path, &json, why);
    if (rc == FM_OK) {
        file->dedicated = calloc(BLOCK_DEDICATED_MAX, sizeof *file->dedicated);
        rc = file->dedicated ? block_meta_parse_all(fm_buf_slice(&json), &file->meta,
                                                    file->dedicated, why)
                             : fm_fail(why, FM_ENOMEM, "out of memory");
        if (rc < 0)
            rc = fm_wrap(why, rc == FM_ENOMEM ? rc : FM_ECORRUPT, "%s", path);
    }
    if (rc < 0)
        free(fm_take(file->dedicated));
    fm_buf_fini(&json);
    return rc;
}

static int files_on_entry(void *self, const char *name, bool is_directory)
{
    struct query_files *files = self;
    struct block_id id;
    struct fm_why why = {""};

    if (!is_directory || block_id_parse(fm_slice_text(name), &id) != FM_OK)
        return FM_OK;
    struct query_file *file = files_add(files);
    if (!file)
        return FM_ENOMEM;
    (void)snprintf(file->path, sizeof file->path, "%s/%s", files->folder, name);
    int rc = file_read_meta(file, &why);
    if (rc == FM_ENOTFOUND) /* compacted, or half deleted: no block any more */
        return FM_OK;
    if (rc < 0)
        return files_absorb(files, rc, &why);
    file->start_ns = file->meta.start_ns;
    file->end_ns = file->meta.end_ns;
    files->count++;
    return FM_OK;
}

static int file_compare(const void *a, const void *b)
{
    const struct query_file *left = a, *right = b;
    if (left->end_ns != right->end_ns)
        return left->end_ns > right->end_ns ? -1 : 1;
    return strcmp(left->path, right->path);
}

static int files_on_nothing(void *self, const char *name, bool is_directory)
{
    (void)self, (void)name, (void)is_directory;
    return FM_OK;
}

static int files_list(struct query_files *files, struct fm_why *why)
{
    struct platform *platform = linux_platform();
    int rc = platform->ops->list(platform, files->folder, files_on_entry, files, why);

    if (rc == FM_ENOTFOUND && files->wal_folder[0])
        rc = FM_OK; /* no block was cut yet */
    if (rc < 0 || !files->wal_folder[0])
        return rc;
    struct query_file *log = files_add(files);
    if (!log)
        return FM_ENOMEM;
    log->is_log = true;
    log->end_ns = UINT64_MAX; /* what is in it is known when it is read */
    (void)snprintf(log->path, sizeof log->path, "%s", files->wal_folder);
    files->count++;
    return FM_OK;
}

/* ---- listing a bucket ---- */

static int files_list_bucket(struct query_files *files, const char *tenant, struct fm_why *why)
{
    const struct query_request *request = files->request;
    uint64_t end_ns = request->end_ns ? request->end_ns : UINT64_MAX;
    char id[37];

    int rc = bucket_list_new(&files->list, files->reader, tenant, request->start_ns, end_ns,
                             &files->budget, why);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < files->list->count; i++) { /* newest first, as they shall be */
        const struct block_meta *meta = &files->list->blocks[i].meta;
        struct query_file *file = files_add(files);
        if (!file)
            return FM_ENOMEM;
        block_id_print(&meta->id, id);
        (void)snprintf(file->path, sizeof file->path, "%s/%s", tenant, id);
        file->listed = i;
        file->meta = *meta;
        file->start_ns = meta->start_ns;
        file->end_ns = meta->end_ns;
        files->count++;
    }
    files->damaged_count = files->list->damaged_count;
    if (files->damaged_count)
        (void)fm_fail(&files->damage, FM_EIO, "a meta.json of %s", tenant);
    if (files->list->left_out_count)
        fprintf(stderr,
                "fermata query: %llu blocks, the oldest, were left out; ask for less time\n",
                (unsigned long long)files->list->left_out_count);
    return FM_OK;
}

int query_files_open(struct query_files *files, const struct query_request *request,
                     struct bucket_reader *reader, struct fm_why *why)
{
    struct platform *platform = linux_platform();
    const char *tenant = request->tenant ? request->tenant : TENANT_DEFAULT;
    const char *parent = request->bucket ? request->bucket + 4 : request->data_dir; /* dir: */

    *files = (struct query_files){.request = request, .reader = reader};
    if (reader) {
        int failed = files_list_bucket(files, tenant, why);
        if (failed < 0)
            query_files_close(files);
        return failed;
    }
    int rc = platform->ops->list(platform, parent, files_on_nothing, NULL, why);
    if (rc < 0)
        return rc;
    (void)snprintf(files->folder, sizeof files->folder, "%s%s/%s", parent,
                   request->bucket ? "" : "/blocks", tenant);
    if (!request->bucket)
        (void)snprintf(files->wal_folder, sizeof files->wal_folder, "%s/wal", parent);
    rc = files_list(files, why);
    if (rc == FM_OK && files->count)
        qsort(files->files, files->count, sizeof *files->files, file_compare);
    if (rc < 0)
        query_files_close(files);
    return rc;
}

void query_files_close(struct query_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->files[i].dedicated);
    free(fm_take(files->files));
    files->list = bucket_list_free(files->list);
    files->count = files->capacity = 0;
}

void query_files_range(const struct query_files *files, uint64_t *ret_start_ns,
                       uint64_t *ret_end_ns)
{
    uint64_t start_ns = UINT64_MAX, end_ns = 0;

    for (size_t i = 0; i < files->count; i++) {
        if (files->files[i].is_log)
            continue;
        start_ns = FM_MIN(start_ns, files->files[i].start_ns);
        end_ns = FM_MAX(end_ns, files->files[i].end_ns);
    }
    *ret_start_ns = end_ns ? start_ns : 0;
    *ret_end_ns = end_ns;
}

/* ---- the log ---- */

struct log_reading {
    struct query_files *files;
    const char *folder;
    int (*visit)(void *self, struct fm_slice otlp);
    void *self;
    struct fm_buf payload;
};

static int log_on_record(void *self, const struct wal_segment *segment, uint64_t offset,
                         const struct wal_record *record)
{
    struct log_reading *reading = self;
    const char *tenant = reading->files->request->tenant;

    (void)segment, (void)offset;
    if (record->type != WAL_SPANS ||
        !fm_slice_equal_text(record->tenant, tenant ? tenant : TENANT_DEFAULT))
        return FM_OK;
    fm_buf_reset(&reading->payload);
    int rc = wal_record_payload(record, &reading->payload);
    return rc < 0 ? rc : reading->visit(reading->self, fm_buf_slice(&reading->payload));
}

static int log_on_hole(void *self, uint64_t offset, uint64_t len)
{
    struct log_reading *reading = self;
    struct fm_why why;

    return files_absorb(reading->files,
                        fm_fail(&why, FM_ECORRUPT, "%s: a hole of %llu bytes at %llu",
                                reading->folder, (unsigned long long)len,
                                (unsigned long long)offset),
                        &why);
}

static int log_on_segment(void *self, const char *name, bool is_directory)
{
    struct log_reading *reading = self;
    const struct wal_visitor visitor = {reading, log_on_record, log_on_hole};
    struct wal_replay_result result;
    struct pf_source file;
    struct fm_source source;
    struct fm_why why = {""};
    size_t len = strlen(name);
    char path[1200];

    if (is_directory || len < 4 || strcmp(name + len - 4, ".seg") != 0)
        return FM_OK;
    (void)snprintf(path, sizeof path, "%s/%s", reading->folder, name);
    int rc = pf_source_open(&file, linux_platform(), path, &source, &why);
    if (rc == FM_OK) {
        rc = wal_replay(source, &visitor, &result, &why);
        pf_source_close(&file);
    }
    return files_absorb(reading->files, rc, &why);
}

static int log_read(struct query_files *files, const struct query_file *log,
                    int (*visit)(void *self, struct fm_slice otlp), void *self, struct fm_why *why)
{
    struct platform *platform = linux_platform();
    struct log_reading reading = {
        .files = files, .folder = log->path, .visit = visit, .self = self};

    fm_buf_init(&reading.payload, WAL_PAYLOAD_MAX);
    int rc = platform->ops->list(platform, log->path, log_on_segment, &reading, why);
    fm_buf_fini(&reading.payload);
    return rc == FM_ENOTFOUND ? FM_OK : rc;
}

/* ---- traces that lie in several places ---- */

struct files_piece {
    struct trace_id id;
    uint32_t file;
};

struct joining {
    struct query_files *files;
    struct fm_buf pieces; /* struct files_piece; in the end only of traces in several places */
    size_t count;
    struct trace_id *split; /* owned; sorted */
    size_t split_count;
    struct trace_id *judged; /* owned; what split was while parts were judged */
    struct frame_rows *rows;
    bool keeps_split;  /* rows take the traces in several places, else the others */
    bool judges_parts; /* halves are judged first, and only what they leave open is joined */
    struct fm_why *why;
};

static int piece_compare(const void *a, const void *b)
{
    const struct files_piece *left = a, *right = b;
    int order = memcmp(&left->id, &right->id, sizeof left->id);
    return order ? order : left->file < right->file ? -1 : left->file > right->file;
}

static bool joining_note_trace(void *self, const struct trace_id *id)
{
    struct joining *joining = self;
    const struct files_piece piece = {*id, (uint32_t)joining->count};
    fm_buf_put(&joining->pieces, &piece, sizeof piece);
    return false;
}

static int joining_note_record(void *self, struct fm_slice otlp)
{
    struct joining *joining = self;
    int rc = frame_rows_add(joining->rows, otlp, joining_note_trace, joining, joining->why);
    return rc == FM_EMALFORMED ? FM_ECORRUPT : rc; /* the log is to blame, not the question */
}

static int joining_note_log(struct joining *joining, const struct query_file *log)
{
    FM_AUTO(frame_rows) rows = NULL;
    int rc = frame_rows_new(&rows, FILES_MEMORY_MAX);
    if (rc < 0)
        return rc;
    joining->rows = rows;
    return log_read(joining->files, log, joining_note_record, joining, joining->why);
}

static int joining_note_block(struct joining *joining, const struct query_file *file)
{
    struct opened_file opened;
    struct ask_ids *ids;

    int rc = opened_init(&opened, joining->files, file, joining->why);
    if (rc < 0)
        return rc;
    rc = ask_ids_of_block(opened.block, FILES_IDS_MAX, &ids, joining->why);
    opened_fini(&opened);
    if (rc < 0)
        return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
    for (size_t i = 0; i < ids->count; i++)
        (void)joining_note_trace(joining, &ids->ids[i]);
    free(ids);
    return FM_OK;
}

/* Leaves the pieces of traces that have two or more. */
static int joining_sift(struct joining *joining)
{
    struct files_piece *pieces = (void *)joining->pieces.ptr;
    size_t count = joining->pieces.len / sizeof *pieces, kept = 0, distinct = 0;

    if (joining->pieces.failed)
        return fm_fail(joining->why, FM_ELIMIT, "too many traces for one question");
    if (count)
        qsort(pieces, count, sizeof *pieces, piece_compare);
    for (size_t i = 0; i < count; i++) {
        if (!distinct || piece_compare(&pieces[distinct - 1], &pieces[i]) != 0)
            pieces[distinct++] = pieces[i];
    }
    joining->split = malloc((distinct + 1) * sizeof *joining->split);
    if (!joining->split)
        return FM_ENOMEM;
    for (size_t begin = 0, end; begin < distinct; begin = end) {
        for (end = begin + 1; end < distinct && trace_id_equal(&pieces[begin].id, &pieces[end].id);)
            end++;
        if (end - begin < 2)
            continue;
        joining->split[joining->split_count++] = pieces[begin].id;
        memmove(&pieces[kept], &pieces[begin], (end - begin) * sizeof *pieces);
        kept += end - begin;
    }
    joining->pieces.len = kept * sizeof *pieces;
    return FM_OK;
}

static int joining_find(struct joining *joining)
{
    struct query_files *files = joining->files;
    int rc = FM_OK;

    for (joining->count = 0; rc == FM_OK && joining->count < files->count; joining->count++) {
        const struct query_file *file = &files->files[joining->count];
        if (file->is_asked)
            rc = file->is_log ? joining_note_log(joining, file) : joining_note_block(joining, file);
        rc = files_absorb(files, rc, joining->why);
    }
    return rc < 0 ? rc : joining_sift(joining);
}

static bool joining_wants_trace(void *self, const struct trace_id *id)
{
    const struct joining *joining = self;
    if (joining->judges_parts && !joining->keeps_split)
        return true;
    return ask_ids_has(joining->split, joining->split_count, id) == joining->keeps_split;
}

static int joining_on_record(void *self, struct fm_slice otlp)
{
    struct joining *joining = self;
    int rc = frame_rows_add(joining->rows, otlp, joining_wants_trace, joining, joining->why);
    return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
}

/* Those of a log that lie nowhere else. */
static int files_ask_log(struct joining *joining, const struct query_file *log,
                         struct ask_part *part)
{
    FM_AUTO(frame_rows) rows = NULL;
    int rc = frame_rows_new(&rows, FILES_MEMORY_MAX);
    if (rc < 0)
        return rc;
    joining->rows = rows;
    joining->keeps_split = false;
    rc = log_read(joining->files, log, joining_on_record, joining, joining->why);
    if (rc == FM_OK)
        rc = frame_rows_finish(rows);
    return rc < 0 ? rc : ask_part_add_rows(part, rows, joining->why);
}

static int joining_read_block(struct joining *joining, uint32_t file)
{
    const struct files_piece *pieces = (const void *)joining->pieces.ptr;
    size_t count = joining->pieces.len / sizeof *pieces;
    struct opened_file opened;
    struct fm_buf otlp;

    int rc = opened_init(&opened, joining->files, &joining->files->files[file], joining->why);
    if (rc < 0)
        return rc;
    fm_buf_init(&otlp, QUERY_ANSWER_MAX);
    for (size_t i = 0; rc >= 0 && i < count; i++) {
        if (pieces[i].file != file ||
            !ask_ids_has(joining->split, joining->split_count, &pieces[i].id))
            continue;
        fm_buf_reset(&otlp);
        rc = block_find_trace(opened.block, &pieces[i].id, &otlp, NULL, joining->why);
        if (rc == FM_OK)
            rc = frame_rows_add(joining->rows, fm_buf_slice(&otlp), NULL, NULL, joining->why);
    }
    fm_buf_fini(&otlp);
    opened_fini(&opened);
    return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
}

/* Of the traces that lie in several places those that a part of says may matter. */
static void joining_keep_candidates(struct joining *joining, struct ask_part *part)
{
    size_t count, kept = 0;
    uint64_t floor_ns = ask_part_floor_ns(part);
    const struct eval_candidate *candidates = ask_part_candidates(part, &count);
    struct trace_id *ids = malloc((count + 1) * sizeof *ids);
    if (!ids)
        return; /* all are joined */
    for (size_t i = 0; i < count; i++) {
        if (candidates[i].start_ns >= floor_ns)
            ids[kept++] = candidates[i].id;
    }
    joining->judged = joining->split; /* part refers to them */
    joining->split = ids;
    joining->split_count = ask_ids_sort(ids, kept);
}

/* Those that lie in several places, joined. */
static int files_ask_joined(struct joining *joining, const struct ask *ask, struct ask_part *main)
{
    const struct ask_limits limits = {.memory_max = FILES_MEMORY_MAX};
    struct query_files *files = joining->files;
    FM_AUTO(frame_rows) rows = NULL;
    FM_AUTO(ask_part) part = NULL;

    if (!joining->split_count)
        return FM_OK;
    int rc = frame_rows_new(&rows, FILES_MEMORY_MAX);
    joining->rows = rows;
    joining->keeps_split = true;
    for (uint32_t i = 0; rc == FM_OK && i < files->count; i++) {
        const struct query_file *file = &files->files[i];
        if (file->is_asked)
            rc = file->is_log ? log_read(files, file, joining_on_record, joining, joining->why)
                              : joining_read_block(joining, i);
        rc = files_absorb(files, rc, joining->why);
    }
    if (rc == FM_OK)
        rc = frame_rows_finish(rows);
    if (rc == FM_OK)
        rc = ask_part_new(&part, ask, &limits, joining->why);
    if (rc == FM_OK)
        rc = ask_part_add_rows(part, rows, joining->why);
    return rc < 0 ? rc : ask_part_merge(main, part);
}

/* ---- asking ---- */

static int files_ask_block(struct query_files *files, const struct query_file *file,
                           struct ask_part *part, struct fm_why *why)
{
    struct opened_file opened;

    files->stats.block_count++;
    files->stats.block_bytes += file->meta.size_bytes;
    if (file->end_ns < ask_part_floor_ns(part))
        return FM_OK;
    int rc = opened_init(&opened, files, file, why);
    if (rc < 0)
        return rc;
    rc = ask_part_add_block(part, opened.block, why);
    opened_fini(&opened);
    return rc;
}

static int files_ask_each(struct joining *joining, const struct ask *ask,
                          struct ask_part **ret_part)
{
    struct ask_limits limits = {.memory_max = FILES_MEMORY_MAX};
    struct query_files *files = joining->files;
    FM_AUTO(ask_part) part = NULL;

    joining->judges_parts = ask_joins(ask);
    if (joining->judges_parts) {
        limits.partial = joining->split;
        limits.partial_count = joining->split_count;
    } else {
        limits.excluded = joining->split;
        limits.excluded_count = joining->split_count;
    }
    int rc = ask_part_new(&part, ask, &limits, joining->why);
    for (size_t i = 0; rc == FM_OK && i < files->count && !ask_part_is_full(part); i++) {
        const struct query_file *file = &files->files[i];
        if (!file->is_asked)
            continue;
        files->stats.job_count++;
        files->stats.jobs_done++;
        rc = file->is_log ? files_ask_log(joining, file, part)
                          : files_ask_block(files, file, part, joining->why);
        rc = files_absorb(files, rc, joining->why);
    }
    if (rc == FM_OK && joining->judges_parts)
        joining_keep_candidates(joining, part);
    if (rc == FM_OK)
        rc = files_ask_joined(joining, ask, part);
    if (rc < 0)
        return rc;
    *ret_part = fm_take(part);
    return FM_OK;
}

int query_files_ask(struct query_files *files, const struct ask *ask, struct ask_part **ret_part,
                    struct fm_why *why)
{
    struct joining joining = {.files = files, .why = why};
    uint64_t start_ns, end_ns;
    size_t asked_count = 0;
    bool has_log = false; /* which may still hold what blocks already do */
    int rc = FM_OK;

    ask_window(ask, &start_ns, &end_ns);
    for (size_t i = 0; i < files->count; i++) {
        struct query_file *file = &files->files[i];
        file->is_asked = file->start_ns <= end_ns && file->end_ns >= start_ns;
        asked_count += file->is_asked;
        has_log |= file->is_log && file->is_asked;
    }
    fm_buf_init(&joining.pieces, FM_MIB(1024));
    if (asked_count > 1 && (has_log || ask_joins(ask)))
        rc = joining_find(&joining);
    if (rc == FM_OK)
        rc = files_ask_each(&joining, ask, ret_part);
    free(joining.split);
    free(joining.judged);
    fm_buf_fini(&joining.pieces);
    return rc;
}

/* ---- one trace ---- */

static int find_on_record(void *self, struct fm_slice otlp)
{
    int rc = trace_add(self, otlp);
    return rc == FM_ELIMIT ? FM_OK : rc; /* the trace says itself that it is partial */
}

static int files_find_in_block(struct query_files *files, const struct query_file *file,
                               const struct trace_id *id, struct trace *trace, struct fm_buf *otlp,
                               struct fm_why *why)
{
    struct opened_file opened;
    uint64_t bytes = 0;
    bool maybe = true;
    int rc = FM_OK;

    if (files->list)
        rc = bucket_block_may_have(files->reader, files->list, file->listed, id, &files->budget,
                                   &maybe, why);
    if (rc == FM_OK && maybe)
        rc = opened_init(&opened, files, file, why);
    if (rc < 0 || !maybe)
        return rc;
    fm_buf_reset(otlp);
    rc = block_find_trace(opened.block, id, otlp, &bytes, why);
    files->stats.inspected_bytes += bytes;
    opened_fini(&opened);
    if (rc == FM_OK)
        rc = find_on_record(trace, fm_buf_slice(otlp));
    return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
}

int query_files_find(struct query_files *files, const struct trace_id *id, struct trace *trace,
                     struct fm_why *why)
{
    struct fm_buf otlp;
    int rc = FM_OK;

    fm_buf_init(&otlp, QUERY_ANSWER_MAX);
    if (files->list)
        bucket_list_warm_blooms(files->reader, files->list, id, &files->budget);
    for (size_t i = 0; rc == FM_OK && i < files->count; i++) {
        const struct query_file *file = &files->files[i];
        rc = file->is_log ? log_read(files, file, find_on_record, trace, why)
                          : files_find_in_block(files, file, id, trace, &otlp, why);
        rc = files_absorb(files, rc, why);
    }
    fm_buf_fini(&otlp);
    return rc;
}
