/* SPDX-License-Identifier: Apache-2.0 */
/* serve - the daemon.
 *
 * Start: config, loop, store (replay), bucket and replicator, query, ingest, api, listeners, ready.
 * Stop, in reverse: not ready, listeners drain, replicator, store (log to disk), loop.
 * Nothing on the way down waits for the network: what is in the log is safe.
 */
#include "serve.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fermata/hash.h"
#include "fermata/linux.h"
#include "fermata/store_ledger.h"
#include "fermata/tools.h"
#include "fermata/units.h"
#include "fermata/uv.h"
#include "serve_bucket.h"
#include "serve_credentials.h"
#include "serve_detect.h"
#include "serve_export.h"
#include "serve_ledger.h"
#include "serve_listen.h"
#include "serve_recall.h"
#include "serve_sample.h"
#include "serve_uplink.h"
#include "serve_upload.h"

#define SERVE_KEYS_MAX       600u /* bytes of names in a line of the log */
#define SERVE_SETTINGS_MAX   64
#define SERVE_STATUS_NS      (10 * FM_NS_PER_S)
#define SERVE_HEAD_BYTES_MAX FM_MIB(16)
#define SERVE_OVERRIDES_NS   (10 * FM_NS_PER_S) /* how often the tenants' file is looked at */
#define SERVE_BURST_SECONDS  2                  /* of a tenant's rate, if the file says no other */
#define SERVE_DEFAULT_CONFIG "/etc/fermata/fermata.ini"

extern char **environ;

struct serve {
    const char *config_file; /* NULL: none */
    const char *settings[SERVE_SETTINGS_MAX];
    size_t setting_count;

    struct config *config; /* owned, as the objects below */
    struct platform *platform;
    struct store *store;
    struct replicator *replicator;
    struct sampler *sampler;   /* NULL: nothing leaves, or all of it */
    struct recall *recall;     /* NULL: off */
    struct manifest *manifest; /* NULL: off */
    struct exports *exports;
    struct query_engine *query;
    struct credentials *credentials; /* of the bucket; NULL: nothing is signed */
    struct bucket_reader *bucket;    /* that queries read; NULL: none */
    struct tenants *tenants;
    struct process *process; /* that it began with; NULL: no processors */
    struct process_facts facts;
    struct ingest *ingest;
    struct api *api;
    struct listeners listeners;
    struct net_budget budget;
    struct pf_timer watchdog_timer, status_timer, deadline_timer;
    bool stopping;
    int exit_code;
};

static int serve_fail(const char *what, int rc, const struct fm_why *why, int exit_code)
{
    log_error("serve.failed", "step=%s rc=\"%s\" why=\"%s\"", what, fm_rc_text(rc), why->text);
    return exit_code;
}

/* ---- options ---- */

static void serve_usage(FILE *out)
{
    fputs("usage: fermata serve [--config FILE] [--set section.key=value]...\n\n"
          "Runs the daemon in the foreground.  Without --config it reads " SERVE_DEFAULT_CONFIG
          "\nif that exists, else it runs on its defaults.\n\n"
          "  fermata serve --config /etc/fermata/fermata.ini\n"
          "  fermata serve --set fermata.data_dir=/tmp/fermata\n\n"
          "SIGTERM drains to disk and stops; SIGHUP re-reads log settings, certificates, users,\n"
          "tokens, tenants, sampling strategies, processors and exporters.\n",
          out);
}

/* FM_OK; FM_END: help was printed; FM_EUSAGE. */
static int serve_parse(struct serve *serve, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            serve_usage(stdout);
            return FM_END;
        }
        if ((strcmp(argv[i], "--config") == 0 || strcmp(argv[i], "-c") == 0) && has_value) {
            serve->config_file = argv[++i];
        } else if (strcmp(argv[i], "--set") == 0 && has_value &&
                   serve->setting_count < SERVE_SETTINGS_MAX) {
            serve->settings[serve->setting_count++] = argv[++i];
        } else {
            fprintf(stderr, "fermata serve: unknown or incomplete option \"%s\"\n", argv[i]);
            serve_usage(stderr);
            return FM_EUSAGE;
        }
    }
    if (!serve->config_file && access(SERVE_DEFAULT_CONFIG, F_OK) == 0)
        serve->config_file = SERVE_DEFAULT_CONFIG;
    return FM_OK;
}

static int serve_load_config(struct serve *serve, struct config **ret_config)
{
    struct fm_buf messages;
    fm_buf_init(&messages, FM_MIB(1));
    int rc = config_load(ret_config, serve->config_file, serve->settings, serve->setting_count,
                         (const char *const *)environ, &messages);
    if (messages.len)
        (void)fwrite(messages.ptr, 1, messages.len, stderr);
    fm_buf_fini(&messages);
    return rc;
}

static void serve_setup_log(struct serve *serve)
{
    static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO,
                                            LOG_LEVEL_DEBUG};
    log_setup(levels[serve->config->log_level], serve->config->log_format == 1, serve->platform);
}

/* ---- wiring ---- */

static void serve_node_id(const struct config *config, uint8_t node[16])
{
    char text[256];
    uint64_t hash[2];
    if (strcmp(config->node_id, "machine-id") == 0 && linux_machine_id(node) == FM_OK)
        return;
    if (strcmp(config->node_id, "machine-id") == 0 || strcmp(config->node_id, "hostname") == 0)
        linux_host_name(text, sizeof text);
    else
        (void)snprintf(text, sizeof text, "%s", config->node_id);
    fm_murmur3_128(fm_slice_text(text), hash);
    memcpy(node, hash, 16);
}

static int serve_open_store(struct serve *serve, struct fm_why *why)
{
    const struct config *config = serve->config;
    struct store_options options = {
        .data_dir = config->data_dir,
        .sync = (enum store_sync)config->wal_sync,
        .sync_interval_ns = config->wal_sync_interval,
        .segment_bytes = config->wal_segment_size,
        .compress = config->wal_compression == 0,
        .pending_bytes_max = config->wal_max_pending,
        .head_bytes_max = SERVE_HEAD_BYTES_MAX,
        .block = block_options_default,
        .block_age_ns = config->max_block_duration,
        .block_bytes = config->max_block_bytes,
        .free_bytes_min = config->storage_min_free,
        .free_inodes_min = config->storage_min_free_inodes,
        .retention_ns = config->retention_uploaded,
        .retention_sampled_out_ns = config->retention_sampled_out,
        .retention_unuploaded_ns = config->retention_unuploaded,
        .quarantine_bytes = config->storage_quarantine_quota,
        .quarantine_age_ns = config->storage_quarantine_max_age,
        .merge_bytes_max = config->storage_merge_below,
        .scrub_interval_ns = config->storage_scrub_interval,
        .scrub_bytes_per_s = config->storage_scrub_rate,
        .future_tolerance_ns = config->future_tolerance,
        .on_full = (enum store_on_full)config->storage_on_full,
    };
    options.block_align_ns = config->block_align == CONFIG_ALIGN_HOUR ? 3600 * FM_NS_PER_S : 0;
    serve_node_id(config, options.node);
    options.block.codec = config->block_compression == 0 ? CODEC_ZSTD : CODEC_SNAPPY;
    options.block.codec_level = (int8_t)config->block_compression_level;
    options.block.memory_max = config->block_memory_limit;
    int rc = config_quota(config, &options.quota_bytes, &options.quota_percent);
    if (rc == FM_OK)
        rc = pf_make_path(serve->platform, config->data_dir, why);
    if (rc < 0)
        return rc;
    return store_open(&serve->store, serve->platform, &options, why);
}

static int serve_open_replicator(struct serve *serve, struct fm_why *why)
{
    struct bucket *bucket;
    if (!serve->config->upload_enabled)
        return FM_OK;
    int rc = serve_bucket_make(&bucket, serve->platform, serve->config, serve->credentials, why);
    if (rc < 0)
        return rc;
    struct replicator_options options = {
        .concurrency_max = (uint32_t)serve->config->upload_concurrency,
        .retry_cap_ns = serve->config->upload_retry_max_interval,
        .backlog_percent = (uint32_t)serve->config->upload_backlog_share,
        .backlog_age_ns = serve->config->upload_backlog_age,
        .free_bytes_min = serve->config->storage_min_free,
    };
    rc = serve_uplink_make(&options.uplink, serve->platform, serve->config, why);
    if (rc < 0)
        return rc;
    rc = replicator_new(&serve->replicator, serve->platform, serve->store, bucket, &options);
    if (rc < 0)
        return fm_fail(why, rc, "replicator: %s", fm_rc_text(rc));
    return FM_OK;
}

/* Blocks go by way of the sampler, also while it has no policies: what was decided stands. */
static int serve_open_sampler(struct serve *serve, struct fm_why *why)
{
    struct store_observer next = {0};
    if (serve->replicator)
        next = (struct store_observer){.on_sealed = replicator_on_sealed,
                                       .on_dropped = replicator_on_dropped,
                                       .lane_of = replicator_lane_of,
                                       .self = serve->replicator};
    if (!serve->replicator && !serve->config->sampling_tail_enabled)
        return FM_OK;
    return serve_sampler_open(&serve->sampler, serve->platform, serve->store, serve->config, &next,
                              why);
}

static int serve_open_manifest(struct serve *serve, struct fm_why *why)
{
    uint8_t node[16];
    serve_node_id(serve->config, node);
    return serve_manifest_open(&serve->manifest, serve->platform, serve->store, serve->config,
                               serve->credentials, node, why);
}

static int serve_open_recall(struct serve *serve, struct fm_why *why)
{
    uint8_t node[16];
    serve_node_id(serve->config, node);
    return serve_recall_open(&serve->recall, serve->platform, serve->store, serve->config,
                             serve->credentials, node, why);
}

static void serve_put_metrics(void *self, struct fm_buf *out)
{
    struct serve *serve = self;
    ingest_put_metrics(serve->ingest, out);
    tenants_put_metrics(serve->tenants, out);
    listeners_put_metrics(&serve->listeners, out);
    exports_put_metrics(serve->exports, out);
    sampler_put_metrics(serve->sampler, out);
    recall_put_metrics(serve->recall, out);
    if (serve->manifest)
        manifest_put_metrics(serve->manifest, out);
    metric_family(out, "fermata_spans_dropped_total", "counter",
                  "Acknowledged spans that went no further, by stage and reason.");
    ingest_put_dropped(serve->ingest, out);
    exports_put_dropped(serve->exports, out);
    store_ledger_put_dropped(serve->store, out);
    store_put_dropped(serve->store, out);
    metric_gauge(out, "fermata_memory_budget_bytes", "Limit of bodies held for clients.",
                 serve->budget.bytes_max);
    metric_gauge(out, "fermata_memory_used_bytes", "Bodies held for clients.",
                 metric_get(&serve->budget.bytes_used));
    metric_counter(out, "fermata_memory_refusals_total", "Bodies refused by the budget.",
                   &serve->budget.refusals_total);
    metric_counter(out, "fermata_memory_share_refusals_total",
                   "Of these: one tenant had its share.", &serve->budget.share_refusals_total);
    metric_gauge(out, "fermata_memory_peak_bytes", "Most that was held at once.",
                 metric_get(&serve->budget.bytes_peak));
    metric_gauge(out, "process_resident_memory_bytes", "Resident memory.", linux_rss_bytes());
    metric_gauge(out, "process_open_fds", "Open file descriptors.", linux_open_files());
    metric_family(out, "process_cpu_seconds_total", "counter", "User and system time.");
    metric_line_double(out, "process_cpu_seconds_total", NULL, (double)linux_cpu_ns() / 1e9);
}

static void serve_count_spans(void *self, uint64_t *ret_accepted, uint64_t *ret_refused)
{
    struct serve *serve = self;
    *ret_accepted = *ret_refused = 0;
    for (unsigned i = 0; i < INGEST_RECEIVER_COUNT; i++) {
        *ret_accepted += ingest_accepted_spans(serve->ingest, i);
        *ret_refused += ingest_refused_spans(serve->ingest, i);
    }
}

static bool serve_listener_at(void *self, size_t index, struct api_listener *ret_row)
{
    struct serve *serve = self;
    return listeners_at(&serve->listeners, index, ret_row);
}

static bool serve_exporter_at(void *self, size_t index, struct exporter_status *ret_row)
{
    const struct serve *serve = self;
    return exports_status(serve->exports, index, ret_row);
}

static bool serve_sampling(void *self, struct api_sampling *ret_row)
{
    return serve_sampling_status(((struct serve *)self)->sampler, ret_row);
}

static bool serve_sampling_policy_at(void *self, size_t index, struct api_policy *ret_row)
{
    return serve_policy_at(((struct serve *)self)->sampler, index, ret_row);
}

static int serve_open_tenants(struct serve *serve, struct fm_why *why)
{
    const struct config *config = serve->config;
    struct tenants_options options = {
        .default_tenant = config->upload_tenant,
        .overrides_file = config->tenants_overrides_file,
        .rates = {.bytes_per_s = config->tenants_rate_bytes,
                  .bytes_burst = config->tenants_burst_bytes,
                  .spans_per_s = config->tenants_rate_spans,
                  .spans_burst = config->tenants_burst_spans},
        .active_max = (uint32_t)config->tenants_max_active,
        .reload_interval_ns = SERVE_OVERRIDES_NS,
    };
    if (!options.rates.bytes_burst)
        options.rates.bytes_burst = SERVE_BURST_SECONDS * options.rates.bytes_per_s;
    if (!options.rates.spans_burst)
        options.rates.spans_burst = SERVE_BURST_SECONDS * options.rates.spans_per_s;
    return tenants_new(&serve->tenants, serve->platform, &options, why);
}

static int serve_open_services(struct serve *serve)
{
    const struct config *config = serve->config;
    const struct query_options query = {
        .concurrency_max = (uint32_t)config->query_concurrency,
        .trace_bytes_max = config->max_bytes_per_trace,
        .thread_count = serve_query_threads(config),
        .waited_ns = linux_waited_ns,
        .timeout_ns = config->query_timeout,
        .memory_max = config->query_memory,
        .search_range_max_ns = config->query_search_range,
        .metrics_range_max_ns = config->query_metrics_range,
        .series_max = (uint32_t)config->query_series,
        .lists_bytes_max = config->query_tags_cache,
        .columns_bytes_max = config->query_columns_cache,
        .bucket = serve->bucket,
        .bucket_only = config->query_backend == CONFIG_BACKEND_BUCKET,
        .bucket_bytes_max = config->query_bucket_bytes,
    };
    struct ingest_options ingest = {
        .limits = decode_limits_default,
        .decompressed_bytes_max = config->max_decompressed_bytes,
        .decompression_ratio_max = (uint32_t)config->max_decompression_ratio,
        .retry_after_ms = (uint32_t)(config->retry_after / FM_NS_PER_MS),
        .budget = &serve->budget,
        .tenants = serve->tenants,
        .process = serve->process,
        .head = config_sample_head(serve->config),
        .cors_allowed_origins = config->cors_allowed_origins,
        .zipkin_cors_allowed_origins = config->zipkin_cors_allowed_origins,
        .sampling_strategies_file = config->sampling_strategies_file,
    };
    ingest.limits.span_count_max = (uint32_t)config->max_spans_per_request;
    ingest.limits.attribute_bytes_max = (uint32_t)config->max_attribute_bytes;
    int rc = query_engine_new(&serve->query, serve->platform, serve->store, &query);
    if (rc == FM_OK)
        rc = ingest_new(&serve->ingest, serve->platform, serve->store, &ingest);
    if (rc < 0)
        return rc;
    store_set_gone(serve->store, query_forget_block, serve->query); /* it outlives the store */
    const struct api_options api = {
        .prefix = config->http_api_prefix,
        .tenants = serve->tenants,
        .endpoint = config->query_endpoint,
        .store = serve->store,
        .data_dir = config->data_dir,
        .query = serve->query,
        .replicator = serve->replicator,
        .put_metrics = serve_put_metrics,
        .count_spans = serve_count_spans,
        .listener_at = serve_listener_at,
        .exporter_at = serve_exporter_at,
        .sampling = serve_sampling,
        .policy_at = serve_sampling_policy_at,
        .rss_bytes = linux_rss_bytes,
        .self = serve,
    };
    return api_new(&serve->api, serve->platform, &api);
}

static int serve_open_listeners(struct serve *serve, struct fm_why *why)
{
    const struct listeners_owner owner = {
        .config = serve->config,
        .platform = serve->platform,
        .ingest = serve->ingest,
        .api = serve->api,
        .budget = &serve->budget,
        .tenants = serve->tenants,
    };
    return listeners_open(&serve->listeners, &owner, why);
}

/* ---- stopping ---- */

static void serve_on_store_closed(void *self)
{
    struct serve *serve = self;
    serve->store = NULL;
    if (serve->credentials)
        credentials_stop(serve->credentials);
    pf_timer_stop(serve->platform, &serve->deadline_timer);
    uv_platform_stop(serve->platform);
}

static void serve_on_replicator_closed(void *self)
{
    struct serve *serve = self;
    serve->replicator = NULL;
    store_close(serve->store, serve_on_store_closed, serve);
}

static void serve_on_sampler_closed(void *self)
{
    struct serve *serve = self;
    const struct store_observer nobody = {0};
    serve->sampler = NULL;
    if (serve->store)
        store_set_observer(serve->store, &nobody);
    if (serve->replicator)
        replicator_close(serve->replicator, serve_on_replicator_closed, serve);
    else if (serve->store)
        serve_on_replicator_closed(serve);
    else
        serve_on_store_closed(serve);
}

static void serve_on_exports_closed(void *self)
{
    struct serve *serve = self;
    serve->exports = NULL;
    if (serve->sampler)
        sampler_close(serve->sampler, serve_on_sampler_closed, serve);
    else
        serve_on_sampler_closed(serve);
}

static void serve_on_recall_closed(void *self)
{
    struct serve *serve = self;
    serve->recall = NULL;
    if (serve->exports)
        exports_close(serve->exports, serve_on_exports_closed, serve);
    else
        serve_on_exports_closed(serve);
}

static void serve_on_manifest_closed(void *self)
{
    struct serve *serve = self;
    serve->manifest = NULL;
    if (serve->recall)
        recall_close(serve->recall, serve_on_recall_closed, serve);
    else
        serve_on_recall_closed(serve);
}

/* Nobody can reach us any more. */
static void serve_on_listeners_closed(void *self)
{
    struct serve *serve = self;
    if (serve->ingest)
        ingest_stop(serve->ingest);
    if (serve->tenants)
        tenants_stop(serve->tenants);
    if (serve->manifest)
        manifest_close(serve->manifest, serve_on_manifest_closed, serve);
    else
        serve_on_manifest_closed(serve);
}

static void serve_on_deadline(struct pf_timer *timer)
{
    struct serve *serve = FM_CONTAINER(timer, struct serve, deadline_timer);
    log_error("serve.deadline", "timeout_ms=%" PRIu64 " why=\"stopping took too long\"",
              serve->config->shutdown_timeout / FM_NS_PER_MS);
    _exit(EXIT_TEMPORARY); /* the log is the truth: what was acknowledged is on disk */
}

static void serve_stop(struct serve *serve)
{
    if (serve->stopping)
        return;
    serve->stopping = true;
    linux_notify("STOPPING=1\nSTATUS=draining to disk");
    log_info("serve.stopping", "data_dir=%s", serve->config->data_dir);
    pf_timer_stop(serve->platform, &serve->watchdog_timer);
    pf_timer_stop(serve->platform, &serve->status_timer);
    serve->deadline_timer.fire = serve_on_deadline;
    pf_timer_start(serve->platform, &serve->deadline_timer, serve->config->shutdown_timeout);
    if (serve->api)
        api_set_ready(serve->api, false);
    if (serve->query)
        query_engine_stop(serve->query);
    listeners_close(&serve->listeners, serve->config->shutdown_timeout / 2,
                    serve_on_listeners_closed, serve);
}

/* ---- signals and timers ---- */

static void serve_reload_process(struct serve *serve, const struct config *config)
{
    struct process *process;
    struct fm_why why = {""};
    int rc = config_process_new(&process, config, serve->facts.pairs, serve->facts.count, &why);
    if (rc == FM_OK)
        rc = ingest_set_process(serve->ingest, process);
    if (rc < 0)
        log_error("process.reload", "result=refused why=\"%s\"",
                  why.text[0] ? why.text : fm_rc_text(rc));
}

struct serve_change {
    const struct config *old, *config;
    struct fm_buf keys; /* that are not taken */
    unsigned count, left_out;
};

static void serve_on_change(void *self, const char *section, const char *key)
{
    struct serve_change *change = self;
    static const char exporter[] = "exporter.otlp.";
    bool is_exporter = strncmp(section, exporter, sizeof exporter - 1) == 0;
    bool is_taken =
        strncmp(section, "processor.", 10) == 0 ||
        (key && strcmp(section, "resource") == 0 && strcmp(key, "attributes") == 0) ||
        (key && is_exporter && serve_exports_may_change(change->old, change->config, section, key));
    if (is_taken)
        return;
    if (change->keys.len > SERVE_KEYS_MAX)
        change->left_out++;
    else
        fm_buf_printf(&change->keys, "%s%s%s%s", change->keys.len ? " " : "", section,
                      key ? "." : "", key ? key : "");
    change->count++;
}

/* One line, since a log has no room for a hundred. */
static void serve_log_changes(const struct config *old, const struct config *config)
{
    struct serve_change change = {.old = old, .config = config};
    fm_buf_init(&change.keys, FM_KIB(4));
    config_compare(old, config, serve_on_change, &change);
    if (change.count)
        log_warn("serve.reload",
                 "result=restart count=%u keys=\"%.*s%s\" why=\"they take effect "
                 "when the daemon starts\"",
                 change.count, (int)change.keys.len, (const char *)change.keys.ptr,
                 change.left_out ? " ..." : "");
    fm_buf_fini(&change.keys);
}

static void serve_reload(struct serve *serve)
{
    struct config *config;
    linux_notify("RELOADING=1");
    if (serve_load_config(serve, &config) < 0) {
        log_error("serve.reload", "result=refused why=\"the configuration has errors; the old one "
                                  "stays in use\"");
        linux_notify("READY=1");
        return;
    }
    serve->config->log_level = config->log_level;
    serve->config->log_format = config->log_format;
    serve_setup_log(serve);
    serve_reload_process(serve, config);
    serve_exports_reload(serve->exports, config);
    serve_log_changes(serve->config, config);
    (void)config_free(config);
    listeners_reload(&serve->listeners);
    tenants_reload(serve->tenants);
    ingest_reload(serve->ingest);
    log_info("serve.reload", "result=done");
    linux_notify("READY=1");
}

static void serve_on_signal(void *self, int number)
{
    struct serve *serve = self;
    if (number == SIGHUP && !serve->stopping)
        serve_reload(serve);
    else
        serve_stop(serve);
}

static void serve_on_watchdog(struct pf_timer *timer)
{
    struct serve *serve = FM_CONTAINER(timer, struct serve, watchdog_timer);
    linux_notify("WATCHDOG=1");
    pf_timer_start(serve->platform, timer, linux_watchdog_ns() / 2);
}

static void serve_on_status(struct pf_timer *timer)
{
    struct serve *serve = FM_CONTAINER(timer, struct serve, status_timer);
    struct store_status store;
    char text[512];
    store_get_status(serve->store, &store);
    (void)snprintf(text, sizeof text,
                   "STATUS=ready: %u listeners, %" PRIu64 " blocks, %" PRIu64 " not uploaded%s%s",
                   serve->listeners.open_count, store.blocks_sealed,
                   store.blocks_sealed - FM_MIN(store.blocks_sealed, store.blocks_uploaded),
                   store.problem[0] ? ", " : "", store.problem);
    linux_notify(text);
    pf_timer_start(serve->platform, timer, SERVE_STATUS_NS);
}

static int serve_start(struct serve *serve)
{
    struct fm_why why = {""};
    uint64_t begin_ns = pf_now_ns(serve->platform);
    int rc = serve_open_store(serve, &why);
    if (rc < 0)
        return serve_fail("store", rc, &why, rc == FM_EEXISTS ? EXIT_TEMPORARY : EXIT_IO);
    rc = serve_credentials_new(&serve->credentials, serve->platform, serve->config, &why);
    if (rc == FM_OK)
        rc = serve_open_replicator(serve, &why);
    if (rc < 0)
        return serve_fail("upload", rc, &why, EXIT_CONFIGURATION);
    rc = serve_open_sampler(serve, &why);
    if (rc < 0)
        return serve_fail("sampling", rc, &why, EXIT_CONFIGURATION);
    rc = serve_open_manifest(serve, &why);
    if (rc < 0)
        return serve_fail("manifests", rc, &why, EXIT_CONFIGURATION);
    rc = serve_open_recall(serve, &why);
    if (rc < 0)
        return serve_fail("recall", rc, &why, EXIT_CONFIGURATION);
    rc = serve_exports_open(&serve->exports, serve->platform, serve->store, serve->config, &why);
    if (rc < 0)
        return serve_fail("export", rc, &why, EXIT_CONFIGURATION);
    rc = serve_bucket_new(&serve->bucket, serve->platform, serve->config, serve->credentials, &why);
    if (rc < 0)
        return serve_fail("query", rc, &why, EXIT_CONFIGURATION);
    serve_detect(&serve->facts, serve->platform, serve->config);
    rc = config_process_new(&serve->process, serve->config, serve->facts.pairs, serve->facts.count,
                            &why);
    if (rc < 0)
        return serve_fail("processors", rc, &why, EXIT_CONFIGURATION);
    rc = serve_open_tenants(serve, &why);
    if (rc < 0)
        return serve_fail("tenants", rc, &why, EXIT_CONFIGURATION);
    rc = serve_open_services(serve);
    if (rc < 0)
        return serve_fail("services", rc, &why, EXIT_IO);
    rc = serve_open_listeners(serve, &why);
    if (rc < 0)
        return serve_fail("listeners", rc, &why,
                          rc == FM_EUNAVAILABLE ? EXIT_NO_SERVICE : EXIT_CONFIGURATION);
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < FM_COUNT(signals); i++) {
        rc = uv_platform_on_signal(serve->platform, signals[i], serve_on_signal, serve);
        if (rc < 0)
            return serve_fail("signals", rc, &why, EXIT_IO);
    }
    serve->watchdog_timer.fire = serve_on_watchdog;
    serve->status_timer.fire = serve_on_status;
    if (linux_watchdog_ns())
        pf_timer_start(serve->platform, &serve->watchdog_timer, linux_watchdog_ns() / 2);
    api_set_ready(serve->api, true);
    linux_notify("READY=1");
    serve_on_status(&serve->status_timer);
    log_info("serve.ready", "version=%s data_dir=%s start_ms=%" PRIu64, FERMATA_VERSION,
             serve->config->data_dir, (pf_now_ns(serve->platform) - begin_ns) / FM_NS_PER_MS);
    return EXIT_DONE;
}

int serve_main(int argc, char **argv)
{
    static struct serve serve; /* one per process; large */
    int rc = serve_parse(&serve, argc, argv);
    if (rc == FM_END)
        return EXIT_DONE;
    if (rc < 0)
        return EXIT_WRONG_USAGE;
    if (serve_load_config(&serve, &serve.config) < 0)
        return EXIT_CONFIGURATION;
    (void)signal(SIGPIPE, SIG_IGN);
    linux_tune_allocator();
    linux_harden();
    serve.budget.bytes_max = serve.config->memory_limit;
    if (uv_platform_new(&serve.platform, (unsigned)serve.config->worker_threads,
                        serve_query_threads(serve.config)) < 0) {
        fputs("fermata: cannot create the event loop\n", stderr);
        return EXIT_IO;
    }
    serve_setup_log(&serve);
    serve.exit_code = serve_start(&serve);
    if (serve.exit_code != EXIT_DONE)
        serve_stop(&serve);
    uv_platform_run(serve.platform);
    (void)api_free(serve.api);
    (void)ingest_free(serve.ingest);
    (void)process_free(serve.process);
    process_facts_fini(&serve.facts);
    (void)tenants_free(serve.tenants);
    (void)query_engine_free(serve.query);
    (void)bucket_reader_free(serve.bucket);
    (void)credentials_free(serve.credentials);
    log_setup(LOG_LEVEL_INFO, false, NULL);
    (void)uv_platform_free(serve.platform);
    serve.config = config_free(serve.config);
    return serve.exit_code;
}
