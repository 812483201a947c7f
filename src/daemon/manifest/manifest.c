/* SPDX-License-Identifier: Apache-2.0 */
/* manifest - puts the hours whose numbers have changed, oldest first.
 *
 *   IDLE --> PUTTING --> PUTTING ... --> IDLE (all are there, or one failed)
 *
 * Suspended in IDLE (resumed by the timer) and PUTTING (by manifest_on_put).  What was put is
 * remembered in memory alone: after a start every hour is put once more, which changes nothing.
 */
#include "fermata/manifest.h"

#include <stdlib.h>

#include "fermata/hash.h"
#include "fermata/store_ledger.h"
#include "fermata/telemetry.h"

#define MANIFEST_BYTES_MAX    FM_MIB(8)
#define MANIFEST_RETRY_MAX_NS LEDGER_HOUR_NS

enum manifest_state { MANIFEST_IDLE, MANIFEST_PUTTING };

static const struct fm_sm_rule manifest_rules[] = {
    [MANIFEST_IDLE] = {"idle", FM_TO(MANIFEST_PUTTING)},
    [MANIFEST_PUTTING] = {"putting", FM_TO(MANIFEST_IDLE)},
};

struct manifest_hour {
    uint32_t hour;
    uint64_t now;   /* hash of its numbers, in this round */
    uint64_t known; /* to the bucket; 0: nothing */
};

struct manifest {
    struct fm_sm sm;
    struct platform *platform;
    const struct store *store;
    struct bucket *bucket; /* owned */
    struct manifest_options options;
    struct pf_timer timer;
    struct bucket_request request;
    struct fm_buf text; /* of the request */
    struct fm_slice text_slice;
    char key[MANIFEST_KEY_BYTES];
    struct ledger ledger;        /* of this round */
    struct manifest_hour *hours; /* owned; by hour */
    size_t count, capacity;
    size_t putting;    /* index of the one under way */
    uint32_t failures; /* in a row */
    bool is_closing;
    void (*closed)(void *self);
    void *closed_self;
    metric put_total, failed_total;
};

static void manifest_put_next(struct manifest *manifest);

static uint32_t manifest_now_hour(const struct manifest *manifest)
{
    return (uint32_t)(pf_wall_ns(manifest->platform) / LEDGER_HOUR_NS);
}

/* ---- what has changed ---- */

static int manifest_hour_of(struct manifest *manifest, uint32_t hour,
                            struct manifest_hour **ret_hour)
{
    size_t at = manifest->count;
    while (at && manifest->hours[at - 1].hour > hour)
        at--;
    if (at && manifest->hours[at - 1].hour == hour) {
        *ret_hour = &manifest->hours[at - 1];
        return FM_OK;
    }
    if (manifest->count == manifest->capacity) {
        size_t capacity = manifest->capacity ? manifest->capacity * 2 : 64;
        struct manifest_hour *grown = realloc(manifest->hours, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        manifest->hours = grown;
        manifest->capacity = capacity;
    }
    memmove(&manifest->hours[at + 1], &manifest->hours[at],
            (manifest->count - at) * sizeof *manifest->hours);
    manifest->hours[at] = (struct manifest_hour){.hour = hour};
    manifest->count++;
    *ret_hour = &manifest->hours[at];
    return FM_OK;
}

static uint64_t manifest_mix(uint64_t hash, struct fm_slice bytes)
{
    return fm_hash64(bytes, hash);
}

/* Hashes of all hours, tenant by tenant.  FM_ENOMEM: some are left for the next round. */
static int manifest_look(struct manifest *manifest)
{
    const struct ledger *ledger = &manifest->ledger;
    uint32_t now_hour = manifest_now_hour(manifest);
    for (size_t i = 0; i < manifest->count; i++)
        manifest->hours[i].now = 0;
    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_tenant *tenant = ledger->tenants[i];
        for (size_t k = 0; k < tenant->count; k++) {
            const struct ledger_row *row = &tenant->rows[k];
            struct manifest_hour *hour;
            if (!row->hour)
                continue;
            int rc = manifest_hour_of(manifest, row->hour, &hour);
            if (rc < 0)
                return rc;
            if (!hour->now)
                hour->now = row->hour < now_hour ? 2 : 1;
            hour->now = manifest_mix(hour->now, fm_slice_text(tenant->name));
            hour->now = manifest_mix(hour->now, fm_slice(row->spans, sizeof row->spans)) | 1;
        }
    }
    /* Hours that were joined with older ones are told apart no more; their objects stay. */
    size_t kept = 0;
    for (size_t i = 0; i < manifest->count; i++) {
        if (manifest->hours[i].now)
            manifest->hours[kept++] = manifest->hours[i];
    }
    manifest->count = kept;
    return FM_OK;
}

/* ---- rounds ---- */

static void manifest_finish(struct manifest *manifest)
{
    void (*closed)(void *self) = manifest->closed;
    void *self = manifest->closed_self;
    pf_timer_stop(manifest->platform, &manifest->timer);
    manifest->bucket->ops->free(manifest->bucket);
    fm_buf_fini(&manifest->text);
    ledger_fini(&manifest->ledger);
    free(manifest->hours);
    free(manifest);
    closed(self);
}

static void manifest_sleep(struct manifest *manifest)
{
    uint32_t shift = FM_MIN(manifest->failures, 20u);
    uint64_t delay_ns = manifest->options.interval_ns;
    if (shift)
        delay_ns = FM_MIN(delay_ns << shift, FM_MAX(MANIFEST_RETRY_MAX_NS, delay_ns));
    ledger_fini(&manifest->ledger);
    pf_timer_start(manifest->platform, &manifest->timer, manifest->is_closing ? 0 : delay_ns);
}

static void manifest_on_timer(struct pf_timer *timer)
{
    struct manifest *manifest = FM_CONTAINER(timer, struct manifest, timer);
    if (manifest->is_closing) {
        manifest_finish(manifest);
        return;
    }
    if (store_ledger_read(manifest->store, &manifest->ledger) < 0 || manifest_look(manifest) < 0) {
        manifest_sleep(manifest);
        return;
    }
    fm_sm_move(&manifest->sm, MANIFEST_PUTTING);
    manifest->putting = 0;
    manifest_put_next(manifest);
}

static void manifest_on_put(struct bucket_request *request)
{
    struct manifest *manifest = request->self;
    struct manifest_hour *hour = &manifest->hours[manifest->putting];
    fm_buf_fini(&request->body);
    if (request->outcome == S3_DONE) {
        metric_add(&manifest->put_total, 1);
        manifest->failures = 0;
        hour->known = hour->now;
        manifest_put_next(manifest);
        return;
    }
    if (!manifest->is_closing) {
        metric_add(&manifest->failed_total, 1);
        if (manifest->failures++ == 0)
            log_warn("manifest.not_put", "key=%s outcome=%s why=\"%s\" tried again later",
                     manifest->key, s3_outcome_text(request->outcome), request->why.text);
    }
    fm_sm_move(&manifest->sm, MANIFEST_IDLE);
    manifest_sleep(manifest);
}

static void manifest_put_next(struct manifest *manifest)
{
    uint32_t now_hour = manifest_now_hour(manifest);
    while (manifest->putting < manifest->count &&
           manifest->hours[manifest->putting].now == manifest->hours[manifest->putting].known)
        manifest->putting++;
    fm_buf_fini(&manifest->text);
    fm_buf_init(&manifest->text, MANIFEST_BYTES_MAX);
    if (manifest->putting < manifest->count && !manifest->is_closing) {
        uint32_t hour = manifest->hours[manifest->putting].hour;
        manifest_key(manifest->options.node, hour, manifest->key);
        manifest_render(&manifest->ledger, manifest->options.node, hour, hour < now_hour,
                        &manifest->text);
    }
    if (!manifest->text.len || manifest->text.failed) {
        fm_sm_move(&manifest->sm, MANIFEST_IDLE);
        manifest_sleep(manifest);
        return;
    }
    manifest->text_slice = fm_buf_slice(&manifest->text);
    manifest->request = (struct bucket_request){
        .key = manifest->key,
        .is_control = true,
        .source = fm_source_memory(&manifest->text_slice),
        .done = manifest_on_put,
        .self = manifest,
    };
    manifest->bucket->ops->put(manifest->bucket, &manifest->request);
}

/* ---- life ---- */

int manifest_new(struct manifest **ret_manifest, struct platform *platform,
                 const struct store *store, struct bucket *bucket,
                 const struct manifest_options *options)
{
    struct manifest *manifest = calloc(1, sizeof *manifest);
    if (!manifest)
        return FM_ENOMEM;
    manifest->sm = (struct fm_sm){manifest_rules, MANIFEST_IDLE};
    manifest->platform = platform;
    manifest->store = store;
    manifest->bucket = bucket;
    manifest->options = *options;
    manifest->timer.fire = manifest_on_timer;
    ledger_init(&manifest->ledger);
    fm_buf_init(&manifest->text, MANIFEST_BYTES_MAX);
    pf_timer_start(platform, &manifest->timer, options->interval_ns);
    *ret_manifest = manifest;
    return FM_OK;
}

void manifest_close(struct manifest *manifest, void (*done)(void *self), void *self)
{
    FM_ASSERT(!manifest->is_closing);
    manifest->is_closing = true;
    manifest->closed = done;
    manifest->closed_self = self;
    if (manifest->sm.state == MANIFEST_PUTTING) {
        manifest->bucket->ops->cancel(manifest->bucket, &manifest->request);
        return;
    }
    pf_timer_stop(manifest->platform, &manifest->timer);
    pf_timer_start(manifest->platform, &manifest->timer, 0);
}

void manifest_put_metrics(const struct manifest *manifest, struct fm_buf *out)
{
    metric_counter(out, "fermata_manifest_put_total", "Manifests written to the bucket.",
                   &manifest->put_total);
    metric_counter(out, "fermata_manifest_failures_total",
                   "Manifests that were not, at a first attempt.", &manifest->failed_total);
}
