/* SPDX-License-Identifier: Apache-2.0 */
/* why - finds a trace in the files of a node: blocks, filters of blocks that are gone, the log.
 *
 * A record counts as in the log if no block covers it.  While a daemon works on these files a block
 * may go from under us; that is then looked for among those that are gone.
 */
#include "why.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/block_traces.h"
#include "fermata/bytes.h"
#include "fermata/wal.h"
#include "gone.h"
#include "outbox.h"

#define WHY_TRACE_BYTES_MAX FM_MIB(64)
#define WHY_FILE_BYTES_MAX  FM_MIB(64)

struct why_search {
    struct story *story;
    struct platform *platform;
    char folder[STORE_PATH_BYTES];
    struct lsn_range *covered; /* owned */
    size_t covered_count, covered_capacity;
    const char *lane; /* of the group of the outbox that is looked at; NULL: none */
    struct fm_buf buf, otlp;
};

static struct story_place *why_place(struct story *story, enum story_kind kind)
{
    if (story->count == STORY_PLACES_MAX) {
        story->more++;
        return NULL;
    }
    struct story_place *place = &story->places[story->count++];
    *place = (struct story_place){.kind = kind};
    return place;
}

static bool why_join(char path[STORE_PATH_BYTES], const char *folder, const char *name)
{
    int len = snprintf(path, STORE_PATH_BYTES, "%s/%s", folder, name);
    return len > 0 && (size_t)len < STORE_PATH_BYTES;
}

static int why_read(struct why_search *search, const char *folder, const char *name)
{
    char path[STORE_PATH_BYTES];
    fm_buf_reset(&search->buf);
    return why_join(path, folder, name) ? pf_read_file(search->platform, path, &search->buf, NULL)
                                        : FM_ELIMIT;
}

/* How many spans of the trace the OTLP in search->otlp has. */
static int why_count(struct why_search *search, uint64_t *ret_spans)
{
    struct trace *trace;
    int rc = trace_new(&trace, &search->story->question->id, WHY_TRACE_BYTES_MAX);
    if (rc < 0)
        return rc;
    rc = trace_add(trace, fm_buf_slice(&search->otlp));
    if (rc == FM_OK || rc == FM_ELIMIT)
        rc = trace_finish(trace);
    *ret_spans = rc == FM_OK ? trace_span_count(trace) : 0;
    trace_free(trace);
    return rc;
}

static int why_cover(struct why_search *search, uint64_t first, uint64_t last)
{
    if (search->covered_count == search->covered_capacity) {
        size_t capacity = search->covered_capacity ? search->covered_capacity * 2 : 64;
        struct lsn_range *grown = realloc(search->covered, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        search->covered = grown;
        search->covered_capacity = capacity;
    }
    search->covered[search->covered_count++] = (struct lsn_range){first, last};
    return FM_OK;
}

static bool why_is_covered(const struct why_search *search, uint64_t lsn)
{
    for (size_t i = 0; i < search->covered_count; i++) {
        if (search->covered[i].first <= lsn && lsn <= search->covered[i].last)
            return true;
    }
    return false;
}

/* ---- blocks ---- */

static int why_bloom(struct why_search *search, const char *folder, const struct block_meta *meta,
                     bool *ret_maybe)
{
    char name[32];
    (void)snprintf(name, sizeof name, "bloom-%u",
                   bloom_shard(&search->story->question->id, meta->bloom_shard_count));
    int rc = why_read(search, folder, name);
    return rc < 0 ? rc
                  : bloom_test(fm_buf_slice(&search->buf), &search->story->question->id, ret_maybe);
}

/* The row of the trace; rows lie in the order of their ids. */
static int why_row(struct why_search *search, const struct block *block, uint64_t *ret_row)
{
    FM_AUTO(block_traces) traces = NULL;
    int rc = block_traces_new(&traces, block, 0);
    if (rc < 0)
        return rc;
    block_traces_want(traces, 0);
    for (uint64_t row = 0; rc == FM_OK; row++) {
        struct trace_id id;
        fm_buf_reset(&search->otlp);
        rc = block_traces_next(traces, &id, &search->otlp, NULL);
        if (rc == FM_OK && memcmp(&id, &search->story->question->id, sizeof id) == 0) {
            *ret_row = row;
            return FM_OK;
        }
    }
    return rc == FM_END ? FM_NONE : rc;
}

static void why_put_policies(const struct store_decision *decision, struct story_place *place)
{
    size_t at = 0;
    for (uint32_t i = 0; i < decision->policy_count && at < sizeof place->policies; i++) {
        const struct store_policy_count *policy = &decision->policies[i];
        int len = snprintf(place->policies + at, sizeof place->policies - at,
                           "%s%s kept %" PRIu64 ", dropped %" PRIu64, i ? "; " : "", policy->name,
                           policy->kept_traces, policy->dropped_traces);
        at += (size_t)FM_MAX(len, 0);
    }
}

static void why_decision(struct why_search *search, const struct block *block,
                         const struct store_block *facts, struct story_place *place)
{
    FM_AUTO(store_decision) decision = NULL;
    uint64_t row;
    bool has_row;
    if (store_block_read_decision(search->platform, facts, &decision, NULL) < 0)
        return;
    place->verdict = decision->facts.verdict;
    place->decided_unix_ns = decision->facts.unix_ns;
    place->is_kept = place->verdict == STORE_WHOLE;
    has_row = (place->verdict == STORE_PART || decision->policy_of) &&
              why_row(search, block, &row) == FM_OK && row < decision->row_count;
    if (has_row && place->verdict == STORE_PART) {
        place->is_kept = store_row_has(decision->kept, row);
        place->went_ahead = store_row_has(decision->ahead, row);
    }
    if (has_row && decision->policy_of && decision->policy_of[row] != STORE_POLICY_BEYOND)
        memcpy(place->policy, decision->policies[decision->policy_of[row]].name,
               sizeof place->policy);
    why_put_policies(decision, place);
}

static void why_uploaded(struct why_search *search, struct story_place *place)
{
    struct block_id id;
    uint64_t unix_ns;
    if (why_read(search, place->path, "uploaded") < 0)
        return;
    struct fm_slice text = fm_buf_slice(&search->buf);
    place->is_uploaded = true;
    while (marker_next(&text, &unix_ns, &id)) {
        if (!place->uploaded_unix_ns || unix_ns < place->uploaded_unix_ns)
            place->uploaded_unix_ns = unix_ns;
        place->uploaded_last_unix_ns = FM_MAX(place->uploaded_last_unix_ns, unix_ns);
        if (place->destination_count < STORY_DESTINATIONS_MAX)
            block_id_print(&id, place->destinations[place->destination_count]);
        place->destination_count++;
    }
}

static int why_open_block(struct why_search *search, const struct store_block *facts,
                          struct pf_source *file, struct block **ret_block)
{
    struct fm_source source;
    char path[STORE_PATH_BYTES];
    if (!why_join(path, facts->path, "data.parquet"))
        return FM_ELIMIT;
    int rc = pf_source_open(file, search->platform, path, &source, NULL);
    if (rc < 0)
        return rc;
    rc = block_open(ret_block, source, &facts->meta, NULL);
    if (rc < 0)
        pf_source_close(file);
    return rc;
}

static int why_in_block(struct why_search *search, const struct store_block *facts)
{
    struct pf_source file;
    struct block *block;
    uint64_t spans = 0;
    bool maybe = true;
    int rc = why_bloom(search, facts->path, &facts->meta, &maybe);
    if (rc < 0 || !maybe)
        return rc;
    rc = why_open_block(search, facts, &file, &block);
    if (rc < 0)
        return rc;
    fm_buf_reset(&search->otlp);
    rc = block_find_trace(block, &search->story->question->id, &search->otlp, NULL, NULL);
    if (rc == FM_OK)
        rc = why_count(search, &spans);
    enum story_kind kind = search->lane ? STORY_COPY : STORY_BLOCK;
    struct story_place *place = rc == FM_OK ? why_place(search->story, kind) : NULL;
    if (place) {
        (void)snprintf(place->lane, sizeof place->lane, "%s", search->lane ? search->lane : "");
        memcpy(place->path, facts->path, sizeof place->path);
        block_id_print(&facts->meta.id, place->block);
        place->spans = spans;
        place->first_unix_ns = facts->account.first_unix_ns;
        place->last_unix_ns = facts->account.last_unix_ns;
        place->receivers = facts->account.receivers;
        place->sealed_unix_ns = facts->sealed_unix_ns;
        if (!search->lane)
            why_decision(search, block, facts, place);
        why_uploaded(search, place);
    }
    block_free(block);
    pf_source_close(&file);
    return rc == FM_NONE ? FM_OK : rc;
}

/* FM_ENOTFOUND: without meta.json it is a tombstone. */
static int why_load_block(struct why_search *search, struct store_block *block)
{
    struct local_facts facts;
    int rc = why_read(search, block->path, "local.json");
    if (rc == FM_OK)
        rc = local_parse(fm_buf_slice(&search->buf), &facts, NULL);
    if (rc < 0)
        return rc;
    block->span_count = facts.span_count;
    block->sealed_unix_ns = facts.sealed_unix_ns;
    block->account = facts.account;
    if (!search->lane)
        rc = why_cover(search, facts.first_lsn, facts.last_lsn);
    if (rc == FM_OK)
        rc = why_read(search, block->path, "meta.json");
    return rc < 0 ? rc : block_meta_parse(fm_buf_slice(&search->buf), &block->meta, NULL);
}

static int why_on_block(void *self, const char *name, bool is_directory)
{
    struct why_search *search = self;
    struct block_id id;
    if (!is_directory || block_id_parse(fm_slice_text(name), &id) < 0)
        return FM_OK;
    struct store_block *block = calloc(1, sizeof *block);
    if (!block)
        return FM_ENOMEM;
    int len = snprintf(block->path, sizeof block->path, "%s/%s", search->folder, name);
    int rc =
        len > 0 && (size_t)len < sizeof block->path ? why_load_block(search, block) : FM_ELIMIT;
    if (rc == FM_OK) {
        search->story->blocks += !search->lane;
        rc = why_in_block(search, block);
    }
    free(block);
    search->story->damaged += rc < 0 && rc != FM_ENOTFOUND && rc != FM_ENOMEM;
    return rc == FM_ENOMEM ? rc : FM_OK;
}

/* ---- blocks that are made to leave ---- */

static int why_group_lane(struct why_search *search, const char *folder, const char **ret_lane)
{
    struct outbox_group *group = calloc(1, sizeof *group);
    uint32_t block_count;
    if (!group)
        return FM_ENOMEM;
    int rc = why_read(search, folder, "group.json");
    if (rc == FM_OK)
        rc = outbox_group_parse(fm_buf_slice(&search->buf), group, &block_count, NULL);
    if (rc == FM_OK)
        *ret_lane = store_lane_name(group->lane);
    free(group->sources);
    free(group);
    return rc;
}

static int why_on_group(void *self, const char *name, bool is_directory)
{
    struct why_search *search = self;
    char folder[STORE_PATH_BYTES], path[STORE_PATH_BYTES];
    if (!is_directory || name[0] == '.' || !why_join(path, search->folder, name))
        return FM_OK;
    memcpy(folder, search->folder, sizeof folder);
    int rc = why_group_lane(search, path, &search->lane);
    if (rc == FM_OK) {
        memcpy(search->folder, path, sizeof path);
        rc = search->platform->ops->list(search->platform, path, why_on_block, search, NULL);
        memcpy(search->folder, folder, sizeof folder);
    }
    search->lane = NULL;
    search->story->damaged += rc < 0 && rc != FM_ENOTFOUND && rc != FM_ENOMEM;
    return rc == FM_ENOMEM ? rc : FM_OK;
}

/* ---- blocks that are gone ---- */

static int why_on_gone(void *self, const char *name, bool is_directory)
{
    struct why_search *search = self;
    struct gone_name gone;
    bool maybe = false;
    if (is_directory || !gone_name_parse(name, &gone))
        return FM_OK;
    if (gone.shard == 0)
        search->story->gone_blocks++;
    if (gone.shard != bloom_shard(&search->story->question->id, gone.shard_count))
        return FM_OK;
    int rc = why_read(search, search->folder, name);
    if (rc == FM_OK)
        rc = bloom_test(fm_buf_slice(&search->buf), &search->story->question->id, &maybe);
    if (rc < 0) {
        search->story->damaged += rc != FM_ENOTFOUND;
        return FM_OK;
    }
    bool is_copy = strcmp(gone.end, store_lane_name(STORE_LANE_EXPRESS)) == 0 ||
                   strcmp(gone.end, store_lane_name(STORE_LANE_RECALL)) == 0;
    enum story_kind kind = is_copy ? STORY_COPY : STORY_GONE;
    struct story_place *place = maybe ? why_place(search->story, kind) : NULL;
    if (!place)
        return FM_OK;
    block_id_print(&gone.id, place->block);
    if (is_copy) { /* it goes when it has left */
        memcpy(place->lane, gone.end, sizeof place->lane);
        place->is_uploaded = true;
        place->uploaded_unix_ns = gone.unix_ns;
        return FM_OK;
    }
    place->gone_unix_ns = gone.unix_ns;
    place->first_unix_ns = gone.first_unix_ns;
    place->last_unix_ns = gone.last_unix_ns;
    place->receivers = gone.receivers;
    (void)snprintf(place->end, sizeof place->end, "%s", gone.end);
    return FM_OK;
}

/* ---- the log ---- */

static int why_on_record(void *self, const struct wal_segment *segment, uint64_t offset,
                         const struct wal_record *record)
{
    struct why_search *search = self;
    uint64_t spans = 0;
    (void)segment;
    (void)offset;
    if (record->type != WAL_SPANS ||
        !fm_slice_equal_text(record->tenant, search->story->question->tenant) ||
        why_is_covered(search, record->lsn))
        return FM_OK;
    fm_buf_reset(&search->otlp);
    int rc = wal_record_payload(record, &search->otlp);
    if (rc == FM_OK)
        rc = why_count(search, &spans);
    if (rc < 0)
        search->story->damaged++;
    struct story_place *place = spans ? why_place(search->story, STORY_LOG) : NULL;
    if (!place)
        return rc == FM_ENOMEM ? rc : FM_OK;
    memcpy(place->path, search->folder, FM_MIN(sizeof place->path - 1, strlen(search->folder) + 1));
    place->lsn = record->lsn;
    place->spans = spans;
    place->first_unix_ns = place->last_unix_ns = record->received_unix_ns;
    place->receivers = record->batch_id[WAL_BATCH_RECEIVERS];
    return FM_OK;
}

static int why_on_hole(void *self, uint64_t offset, uint64_t len)
{
    struct why_search *search = self;
    (void)offset;
    (void)len;
    search->story->damaged++;
    return FM_OK;
}

static int why_on_segment(void *self, const char *name, bool is_directory)
{
    struct why_search *search = self;
    const struct wal_visitor visitor = {search, why_on_record, why_on_hole};
    struct wal_replay_result result;
    struct pf_source file;
    struct fm_source source;
    size_t len = strlen(name);
    char path[STORE_PATH_BYTES], folder[STORE_PATH_BYTES];
    if (is_directory || len < 4 || strcmp(name + len - 4, ".seg") != 0 ||
        !why_join(path, search->folder, name))
        return FM_OK;
    int rc = pf_source_open(&file, search->platform, path, &source, NULL);
    if (rc == FM_OK) {
        memcpy(folder, search->folder, sizeof folder);
        memcpy(search->folder, path, sizeof path); /* where records are found */
        rc = wal_replay(source, &visitor, &result, NULL);
        memcpy(search->folder, folder, sizeof folder);
        pf_source_close(&file);
        search->story->segments++;
    }
    search->story->damaged += rc < 0 && rc != FM_ENOMEM && rc != FM_ENOTFOUND;
    return rc == FM_ENOMEM ? rc : FM_OK;
}

/* ---- all of it ---- */

static int why_folder(struct why_search *search, pf_list_visit *visit, const char *format,
                      const char *tenant)
{
    const char *data_dir = search->story->question->data_dir;
    int len = snprintf(search->folder, sizeof search->folder, "%s/%s%s", data_dir, format, tenant);
    if (len < 0 || (size_t)len >= sizeof search->folder)
        return FM_ELIMIT;
    int rc = search->platform->ops->list(search->platform, search->folder, visit, search, NULL);
    return rc == FM_ENOTFOUND ? FM_OK : rc;
}

/* What went ahead and has not left yet is pending. */
static void why_settle_ahead(struct story *story)
{
    const char *express = store_lane_name(STORE_LANE_EXPRESS);
    bool waits = false;
    for (size_t i = 0; i < story->count; i++) {
        const struct story_place *place = &story->places[i];
        waits |=
            place->kind == STORY_COPY && !place->is_uploaded && strcmp(place->lane, express) == 0;
    }
    for (size_t i = 0; i < story->count; i++)
        story->places[i].ahead_waits = waits && story->places[i].went_ahead;
}

static int why_on_nothing(void *self, const char *name, bool is_directory)
{
    (void)self;
    (void)name;
    (void)is_directory;
    return FM_OK;
}

int store_why_tell(const struct store_why *question, struct fm_buf *answer, struct fm_why *why)
{
    struct why_search search = {.platform = question->platform};
    int rc =
        search.platform->ops->list(search.platform, question->data_dir, why_on_nothing, NULL, why);
    if (rc < 0)
        return rc;
    search.story = calloc(1, sizeof *search.story);
    if (!search.story)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    search.story->question = question;
    fm_buf_init(&search.buf, WHY_FILE_BYTES_MAX);
    fm_buf_init(&search.otlp, WHY_TRACE_BYTES_MAX);
    rc = why_folder(&search, why_on_block, "blocks/", question->tenant);
    if (rc == FM_OK)
        rc = why_folder(&search, why_on_group, "outbox/", question->tenant);
    if (rc == FM_OK)
        rc = why_folder(&search, why_on_gone, "gone/", question->tenant);
    if (rc == FM_OK)
        rc = why_folder(&search, why_on_segment, "wal", "");
    why_settle_ahead(search.story);
    if (rc == FM_OK && question->json)
        story_put_json(search.story, answer);
    else if (rc == FM_OK)
        story_put_text(search.story, answer);
    if (rc == FM_OK)
        rc = search.story->count ? FM_OK : FM_NONE;
    fm_buf_fini(&search.buf);
    fm_buf_fini(&search.otlp);
    free(search.covered);
    free(search.story);
    return rc < 0 ? fm_fail(why, rc, "%s", fm_rc_text(rc)) : rc;
}
