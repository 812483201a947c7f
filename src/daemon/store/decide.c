/* SPDX-License-Identifier: Apache-2.0 */
/* decide - which traces of a block leave: a file `decision` in its directory.
 *
 * DEC-1  The file is replaced whole and synced before anybody sees the verdict: what a decision let
 *        happen is decided the same way after a crash.
 * DEC-2  A file that is damaged, or of another block, counts as none: the block is decided again.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define DECISION_MAGIC        UINT64_C(0x3144494345444d46) /* "FMDECID1" */
#define DECISION_HEADER_BYTES 96u
#define DECISION_CHECK_BYTES  4u
#define DECISION_BYTES_MAX    FM_MIB(64)
#define DECISION_ROWS_MAX     (UINT64_C(1) << 28)
#define DECISION_GROUP_BYTES  24u

/* ---- decisions ---- */

static size_t decision_row_bytes(uint64_t row_count)
{
    return (size_t)((row_count + 7) / 8);
}

int store_decision_new(struct store_decision **ret_decision, uint64_t row_count)
{
    if (row_count > DECISION_ROWS_MAX)
        return FM_ELIMIT;
    FM_AUTO(store_decision) decision = calloc(1, sizeof *decision);
    if (!decision)
        return FM_ENOMEM;
    size_t bytes = FM_MAX(decision_row_bytes(row_count), 1u);
    decision->kept = calloc(bytes, 1);
    decision->ahead = calloc(bytes, 1);
    if (!decision->kept || !decision->ahead)
        return FM_ENOMEM;
    decision->facts.verdict = STORE_PART;
    decision->row_count = row_count;
    *ret_decision = fm_take(decision);
    return FM_OK;
}

struct store_decision *store_decision_free(struct store_decision *decision)
{
    if (!decision)
        return NULL;
    free(decision->kept);
    free(decision->ahead);
    free(decision->policy_of);
    free(decision->groups);
    free(decision);
    return NULL;
}

int store_decision_add_group(struct store_decision *decision, const uint8_t name[16],
                             uint64_t spans)
{
    struct store_ahead_group *grown;
    for (uint32_t i = decision->group_count; i-- > 0;) {
        if (memcmp(decision->groups[i].name, name, sizeof decision->groups[i].name) != 0)
            continue;
        decision->groups[i].spans += spans;
        return FM_OK;
    }
    if (decision->group_count == STORE_AHEAD_GROUPS_MAX)
        return FM_OK;
    grown = realloc(decision->groups, (decision->group_count + 1) * sizeof *grown);
    if (!grown)
        return FM_ENOMEM;
    decision->groups = grown;
    memcpy(grown[decision->group_count].name, name, sizeof grown->name);
    grown[decision->group_count++].spans = spans;
    return FM_OK;
}

static enum store_verdict decision_verdict(const struct store_decision *decision)
{
    const struct store_decided *facts = &decision->facts;
    if (!facts->kept_traces)
        return STORE_NOTHING;
    return facts->kept_traces == decision->row_count && !facts->ahead_traces ? STORE_WHOLE
                                                                             : STORE_PART;
}

void store_decision_conclude(struct store_decision *decision)
{
    decision->facts.verdict = decision_verdict(decision);
    if (decision->facts.verdict == STORE_PART)
        return;
    free(fm_take(decision->kept));
    free(fm_take(decision->ahead));
}

/* ---- the file ---- */

static void put_u64(struct fm_buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    fm_store_le64(bytes, value);
    fm_buf_put(buf, bytes, sizeof bytes);
}

void store_decision_render(const struct store_decision *decision, struct fm_buf *buf)
{
    const struct store_decided *facts = &decision->facts;
    const uint64_t header[DECISION_HEADER_BYTES / 8] = {
        DECISION_MAGIC,         (uint64_t)facts->verdict, decision->row_count,
        decision->span_count,   facts->kept_traces,       facts->kept_spans,
        facts->ahead_traces,    facts->ahead_spans,       facts->unix_ns,
        decision->policy_count, decision->group_count,    decision->policy_of != NULL,
    };
    size_t begin = buf->len, row_bytes = decision_row_bytes(decision->row_count);
    uint8_t check[DECISION_CHECK_BYTES];
    for (size_t i = 0; i < FM_COUNT(header); i++)
        put_u64(buf, header[i]);
    for (uint32_t i = 0; i < decision->policy_count; i++) {
        const struct store_policy_count *policy = &decision->policies[i];
        size_t len = strlen(policy->name);
        fm_buf_put_u8(buf, (uint8_t)len);
        fm_buf_put(buf, policy->name, len);
        put_u64(buf, policy->kept_traces);
        put_u64(buf, policy->kept_spans);
        put_u64(buf, policy->dropped_traces);
        put_u64(buf, policy->dropped_spans);
    }
    if (facts->verdict == STORE_PART) {
        fm_buf_put(buf, decision->kept, row_bytes);
        fm_buf_put(buf, decision->ahead, row_bytes);
    }
    for (uint32_t i = 0; i < decision->group_count; i++) {
        fm_buf_put(buf, decision->groups[i].name, sizeof decision->groups[i].name);
        put_u64(buf, decision->groups[i].spans);
    }
    if (decision->policy_of)
        fm_buf_put(buf, decision->policy_of, decision->row_count);
    if (buf->failed)
        return;
    fm_store_le32(check, fm_crc32c(0, fm_slice(buf->ptr + begin, buf->len - begin)));
    fm_buf_put(buf, check, sizeof check);
}

static int file_malformed(struct fm_why *why)
{
    return fm_fail(why, FM_ECORRUPT, "the decision is damaged");
}

/* len bytes off the front; NULL: there are fewer. */
static const uint8_t *file_take(struct fm_slice *rest, size_t len)
{
    const uint8_t *at = rest->ptr;
    if (rest->len < len)
        return NULL;
    rest->ptr += len;
    rest->len -= len;
    return at;
}

static int file_take_policy(struct fm_slice *rest, struct store_policy_count *policy)
{
    const uint8_t *len = file_take(rest, 1);
    const uint8_t *name = len && *len <= STORE_POLICY_NAME_MAX ? file_take(rest, *len) : NULL;
    const uint8_t *counts = name ? file_take(rest, 32) : NULL;
    if (!counts || memchr(name, 0, *len))
        return FM_ECORRUPT;
    memcpy(policy->name, name, *len);
    policy->name[*len] = '\0';
    policy->kept_traces = fm_load_le64(counts);
    policy->kept_spans = fm_load_le64(counts + 8);
    policy->dropped_traces = fm_load_le64(counts + 16);
    policy->dropped_spans = fm_load_le64(counts + 24);
    return FM_OK;
}

static uint64_t rows_count(const uint8_t *bits, size_t bytes)
{
    uint64_t count = 0;
    for (size_t i = 0; i < bytes; i++)
        count += (uint64_t)__builtin_popcount(bits[i]);
    return count;
}

/* The rows say what the counts say: a reader may rely on either. */
static int file_take_rows(struct fm_slice *rest, struct store_decision *decision)
{
    const struct store_decided *facts = &decision->facts;
    size_t bytes = decision_row_bytes(decision->row_count);
    const uint8_t *kept = file_take(rest, bytes), *ahead = file_take(rest, bytes);
    unsigned spare = (unsigned)(bytes * 8 - decision->row_count);
    if (!kept || !ahead || !bytes || (spare && kept[bytes - 1] >> (8 - spare)))
        return FM_ECORRUPT;
    for (size_t i = 0; i < bytes; i++) {
        if (ahead[i] & ~kept[i])
            return FM_ECORRUPT;
    }
    memcpy(decision->kept, kept, bytes);
    memcpy(decision->ahead, ahead, bytes);
    return rows_count(kept, bytes) == facts->kept_traces &&
                   rows_count(ahead, bytes) == facts->ahead_traces
               ? FM_OK
               : FM_ECORRUPT;
}

/* What groups took is of what went ahead; each is there once. */
static int file_take_groups(struct fm_slice *rest, struct store_decision *decision, uint64_t count)
{
    uint64_t spans = 0;
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *group = file_take(rest, DECISION_GROUP_BYTES);
        if (!group || fm_load_le64(group + 16) > decision->facts.ahead_spans - spans)
            return FM_ECORRUPT;
        spans += fm_load_le64(group + 16);
        int rc = store_decision_add_group(decision, group, fm_load_le64(group + 16));
        if (rc < 0)
            return rc;
    }
    return decision->group_count == count ? FM_OK : FM_ECORRUPT;
}

static int file_take_policy_of(struct fm_slice *rest, struct store_decision *decision)
{
    const uint8_t *policy_of = file_take(rest, decision->row_count);
    if (!policy_of)
        return FM_ECORRUPT;
    for (uint64_t row = 0; row < decision->row_count; row++) {
        if (policy_of[row] >= decision->policy_count && policy_of[row] != STORE_POLICY_BEYOND)
            return FM_ECORRUPT;
    }
    decision->policy_of = malloc(decision->row_count + 1);
    if (!decision->policy_of)
        return FM_ENOMEM;
    memcpy(decision->policy_of, policy_of, decision->row_count);
    return FM_OK;
}

static int file_take_all(struct fm_slice *rest, const uint8_t *header,
                         struct store_decision *decision)
{
    struct store_decided *facts = &decision->facts;
    uint64_t verdict = fm_load_le64(header + 8), policies = fm_load_le64(header + 72);
    decision->span_count = fm_load_le64(header + 24);
    facts->kept_traces = fm_load_le64(header + 32);
    facts->kept_spans = fm_load_le64(header + 40);
    facts->ahead_traces = fm_load_le64(header + 48);
    facts->ahead_spans = fm_load_le64(header + 56);
    facts->unix_ns = fm_load_le64(header + 64);
    uint64_t groups = fm_load_le64(header + 80), has_policy_of = fm_load_le64(header + 88);
    if (groups > STORE_AHEAD_GROUPS_MAX || has_policy_of > 1 || policies > STORE_POLICIES_MAX ||
        facts->kept_traces > decision->row_count || facts->kept_spans > decision->span_count ||
        facts->ahead_traces > facts->kept_traces || facts->ahead_spans > facts->kept_spans ||
        verdict != decision_verdict(decision))
        return FM_ECORRUPT;
    int rc = FM_OK;
    for (; rc == FM_OK && decision->policy_count < policies; decision->policy_count++)
        rc = file_take_policy(rest, &decision->policies[decision->policy_count]);
    if (rc == FM_OK && verdict == STORE_PART)
        rc = file_take_rows(rest, decision);
    if (rc == FM_OK)
        rc = file_take_groups(rest, decision, groups);
    if (rc == FM_OK && has_policy_of)
        rc = file_take_policy_of(rest, decision);
    store_decision_conclude(decision);
    return rc == FM_OK && rest->len ? FM_ECORRUPT : rc;
}

int store_decision_parse(struct fm_slice file, struct store_decision **ret_decision,
                         struct fm_why *why)
{
    FM_AUTO(store_decision) decision = NULL;
    if (file.len < DECISION_HEADER_BYTES + DECISION_CHECK_BYTES)
        return file_malformed(why);
    struct fm_slice rest = fm_slice(file.ptr, file.len - DECISION_CHECK_BYTES);
    if (fm_crc32c(0, rest) != fm_load_le32(file.ptr + rest.len))
        return file_malformed(why);
    const uint8_t *header = file_take(&rest, DECISION_HEADER_BYTES);
    uint64_t row_count = fm_load_le64(header + 16);
    /* Rows of which the file says nothing cost no memory worth a word: one bit each, bounded. */
    if (fm_load_le64(header) != DECISION_MAGIC || row_count > DECISION_ROWS_MAX)
        return file_malformed(why);
    int rc = store_decision_new(&decision, row_count);
    if (rc < 0)
        return fm_fail(why, rc, "no memory for a decision");
    rc = file_take_all(&rest, header, decision);
    if (rc < 0)
        return rc == FM_ENOMEM ? fm_fail(why, rc, "no memory for a decision") : file_malformed(why);
    *ret_decision = fm_take(decision);
    return FM_OK;
}

/* ---- reading ---- */

static void decision_path(const struct store_block *block, char path[STORE_PATH_BYTES])
{
    int len = snprintf(path, STORE_PATH_BYTES, "%s/decision", block->path);
    FM_ASSERT(len > 0 && (size_t)len < STORE_PATH_BYTES);
}

int store_block_read_decision(struct platform *platform, const struct store_block *block,
                              struct store_decision **ret_decision, struct fm_why *why)
{
    FM_AUTO(store_decision) decision = NULL;
    struct fm_buf file;
    char path[STORE_PATH_BYTES];
    decision_path(block, path);
    fm_buf_init(&file, DECISION_BYTES_MAX);
    int rc = pf_read_file(platform, path, &file, why);
    if (rc == FM_OK)
        rc = store_decision_parse(fm_buf_slice(&file), &decision, why);
    fm_buf_fini(&file);
    if (rc < 0)
        return rc;
    if (decision->row_count != block->meta.trace_count || decision->span_count != block->span_count)
        return fm_fail(why, FM_ECORRUPT, "the decision is of another block");
    *ret_decision = fm_take(decision);
    return FM_OK;
}

/* DEC-2. */
void decide_load(struct store *store, struct block_entry *entry)
{
    FM_AUTO(store_decision) decision = NULL;
    struct fm_why why = {""};
    int rc = FM_EIO;
    for (unsigned attempt = 0; rc == FM_EIO && attempt < STORE_READ_ATTEMPTS; attempt++)
        rc = store_block_read_decision(store->platform, &entry->block, &decision, &why);
    if (rc == FM_OK) {
        entry->decided = decision->facts;
        rc = outbox_take_ahead(&entry->ahead, &entry->ahead_count, decision);
        if (rc < 0) /* they count as uploaded */
            log_warn("block.undecided", "path=%s why=\"no memory for what went ahead\"",
                     entry->block.path);
    } else if (rc != FM_ENOTFOUND) {
        log_warn("block.undecided", "path=%s why=\"%s\" it is decided again", entry->block.path,
                 why.text);
    }
}

const struct store_decided *store_block_decided(const struct store_block *block)
{
    return &block_entry_of(block)->decided;
}

bool store_block_is_settled(const struct store_block *block)
{
    return block_entry_is_settled(block_entry_of(block));
}

/* ---- deciding ---- */

struct decide { /* a call of store_block_decide */
    struct pf_job job;
    struct fm_link link; /* store->decides */
    struct store *store;
    struct block_entry *entry; /* holds a reference */
    struct store_decided facts;
    struct block_ahead *ahead; /* owned; the entry's, when it is done */
    uint32_t ahead_count;
    struct fm_buf file;
    void (*done)(void *self, int rc);
    void *self;
    int rc;
    struct fm_why why;
};

static struct decide *decide_free(struct decide *decide)
{
    fm_list_remove(&decide->link);
    fm_buf_fini(&decide->file);
    free(decide->ahead);
    free(decide);
    return NULL;
}

/* DEC-1. */
static void decide_work(struct pf_job *job)
{
    struct decide *decide = FM_CONTAINER(job, struct decide, job);
    char path[STORE_PATH_BYTES];
    decision_path(&decide->entry->block, path);
    decide->rc = decide->file.failed ? fm_fail(&decide->why, FM_ENOMEM, "no memory for a decision")
                                     : pf_replace_file(decide->store->platform, path,
                                                       fm_buf_slice(&decide->file), &decide->why);
}

static void decide_on_done(struct pf_job *job)
{
    struct decide *decide = FM_CONTAINER(job, struct decide, job);
    struct store *store = decide->store;
    struct block_entry *entry = decide->entry;
    void (*done)(void *self, int rc) = decide->done;
    void *self = decide->self;
    int rc = decide->rc;
    if (rc == FM_OK) {
        entry->decided = decide->facts;
        entry->ahead_count = decide->ahead_count;
        entry->ahead = fm_take(decide->ahead);
        outbox_find_ahead(store, entry);
        entry->disk_bytes += decide->file.len;
    } else {
        log_warn("block.undecided", "path=%s why=\"%s\"", entry->block.path, decide->why.text);
    }
    decide_free(decide);
    done(self, rc);
    block_entry_unref(entry);
    if (rc == FM_OK)
        cursors_wake(store);
    store_finish_close(store);
}

void store_block_decide(struct store *store, struct store_block *block,
                        const struct store_decision *decision, void (*done)(void *self, int rc),
                        void *self)
{
    struct decide *decide = calloc(1, sizeof *decide);
    FM_ASSERT(decide); /* a few bytes, and no other way to answer */
    decide->job =
        (struct pf_job){.work = decide_work, .done = decide_on_done, .lane = PF_LANE_DISK};
    decide->store = store;
    decide->entry = block_entry_of(block);
    decide->facts = decision->facts;
    decide->done = done;
    decide->self = self;
    block_entry_ref(decide->entry);
    fm_buf_init(&decide->file, DECISION_BYTES_MAX);
    store_decision_render(decision, &decide->file);
    decide->rc = outbox_take_ahead(&decide->ahead, &decide->ahead_count, decision);
    if (decide->rc < 0)
        decide->file.failed = true;
    fm_list_append(&store->decides, &decide->link);
    pf_job_submit(store->platform, &decide->job);
}

void decides_abandon(struct store *store)
{
    while (!fm_list_empty(&store->decides))
        decide_free(FM_CONTAINER(store->decides.next, struct decide, link));
}
