/* SPDX-License-Identifier: Apache-2.0 */
/* GET /status (text for people, ?format=json for `fermata status`), GET /metrics, POST /flush. */
#include "api.h"

#include <inttypes.h>
#include <stdlib.h>

#include "fermata/json.h"
#include "fermata/units.h"
#include "status_sampling.h"
#include "status_upload.h"
#include "ledger.h"

#define STATUS_MAX FM_MIB(1)

struct status_facts {
    struct store_status store;
    struct replicator_status upload;
    bool has_upload;
    uint64_t uptime_s;
    uint64_t accepted_spans, refused_spans;
};

static void status_gather(struct api *api, struct status_facts *facts)
{
    *facts = (struct status_facts){0};
    store_get_status(api->options.store, &facts->store);
    facts->has_upload = api->options.replicator != NULL;
    if (facts->has_upload)
        replicator_get_status(api->options.replicator, &facts->upload);
    facts->uptime_s = (pf_now_ns(api->platform) - api->start_ns) / FM_NS_PER_S;
    if (api->options.count_spans)
        api->options.count_spans(api->options.self, &facts->accepted_spans, &facts->refused_spans);
}

static void put_number(struct json_writer *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_uint(json, value);
}

static void status_put_store_json(const struct store_status *store, struct json_writer *json)
{
    json_key(json, "wal");
    json_object_begin(json);
    put_number(json, "bytes", store->wal_bytes);
    put_number(json, "segments", store->wal_segments);
    put_number(json, "replay_records", store->replay_records);
    put_number(json, "replay_holes", store->replay_holes);
    json_object_end(json);

    json_key(json, "head");
    json_object_begin(json);
    put_number(json, "spans", store->head_spans);
    put_number(json, "records", store->head_records);
    put_number(json, "memory_bytes", store->head_memory_bytes);
    json_object_end(json);

    json_key(json, "blocks");
    json_object_begin(json);
    put_number(json, "sealed", store->blocks_sealed);
    put_number(json, "uploaded", store->blocks_uploaded);
    put_number(json, "quarantined", store->blocks_quarantined);
    put_number(json, "bytes", store->blocks_bytes);
    put_number(json, "spans", store->block_spans);
    json_object_end(json);

    json_key(json, "storage");
    json_object_begin(json);
    put_number(json, "used_bytes", store->used_bytes);
    put_number(json, "quota_bytes", store->quota_bytes);
    put_number(json, "free_bytes", store->free_bytes);
    json_key(json, "read_only");
    json_bool(json, store->is_read_only);
    json_key(json, "problem");
    json_text(json, store->problem);
    json_object_end(json);
}

static void status_put_listeners_json(const struct api *api, struct json_writer *json)
{
    struct api_listener row;
    json_key(json, "receivers");
    json_array_begin(json);
    for (size_t i = 0; i < API_LISTENERS_MAX && api->options.listener_at; i++) {
        if (!api->options.listener_at(api->options.self, i, &row))
            continue;
        json_object_begin(json);
        json_key(json, "name");
        json_text(json, row.name);
        json_key(json, "endpoint");
        json_text(json, row.endpoint);
        if (row.has_spans) {
            put_number(json, "accepted_spans", row.accepted_spans);
            put_number(json, "refused_spans", row.refused_spans);
        }
        json_object_end(json);
    }
    json_array_end(json);
}

static void status_put_exporters_json(const struct api *api, struct json_writer *json)
{
    struct exporter_status row;
    json_key(json, "exporters");
    json_array_begin(json);
    for (size_t i = 0;
         api->options.exporter_at && api->options.exporter_at(api->options.self, i, &row); i++) {
        json_object_begin(json);
        json_key(json, "name");
        json_text(json, row.name);
        put_number(json, "sent_spans", row.sent_spans);
        put_number(json, "sent_bytes", row.sent_bytes);
        put_number(json, "dropped_spans", row.dropped_spans);
        put_number(json, "lag_spans", row.lag_spans);
        put_number(json, "lag_bytes", row.lag_bytes);
        put_number(json, "lag_s", row.lag_ns / FM_NS_PER_S);
        json_key(json, "problem");
        json_text(json, row.problem);
        json_object_end(json);
    }
    json_array_end(json);
}

static void status_put_json(const struct api *api, const struct status_facts *facts,
                            struct fm_buf *out)
{
    struct json_writer json;
    json_writer_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "schema");
    json_uint(&json, 1);
    json_key(&json, "version");
    json_text(&json, FERMATA_VERSION);
    put_number(&json, "uptime_s", facts->uptime_s);
    json_key(&json, "ready");
    json_bool(&json, api->ready);
    json_key(&json, "spans");
    json_object_begin(&json);
    put_number(&json, "accepted", facts->accepted_spans);
    put_number(&json, "refused", facts->refused_spans);
    json_object_end(&json);
    status_put_listeners_json(api, &json);
    status_put_store_json(&facts->store, &json);
    if (facts->has_upload) {
        json_key(&json, "upload");
        status_upload_put_json(&facts->upload, pf_wall_ns(api->platform), &json);
    }
    status_put_exporters_json(api, &json);
    status_put_sampling_json(api, &json);
    json_key(&json, "memory");
    json_object_begin(&json);
    put_number(&json, "rss_bytes", api->options.rss_bytes ? api->options.rss_bytes() : 0);
    json_object_end(&json);
    status_put_ledger_json(api, &json);
    json_object_end(&json);
    fm_buf_puts(out, "\n");
}

static void put_bytes(struct fm_buf *out, const char *label, uint64_t bytes)
{
    fm_buf_puts(out, label);
    fm_bytes_print_short(out, bytes);
}

static void status_put_listeners_text(const struct api *api, struct fm_buf *out)
{
    struct api_listener row;
    const char *label = "  listen  ";
    for (size_t i = 0; i < API_LISTENERS_MAX && api->options.listener_at; i++) {
        if (!api->options.listener_at(api->options.self, i, &row))
            continue;
        fm_buf_printf(out, "%s %-21s %s", label, row.name, row.endpoint);
        if (row.has_spans)
            fm_buf_printf(out, " %" PRIu64 " accepted, %" PRIu64 " refused", row.accepted_spans,
                          row.refused_spans);
        fm_buf_puts(out, "\n");
        label = "          ";
    }
}

static void status_put_exporters_text(const struct api *api, struct fm_buf *out)
{
    struct exporter_status row;
    for (size_t i = 0;
         api->options.exporter_at && api->options.exporter_at(api->options.self, i, &row); i++) {
        fm_buf_printf(out, "  export   %s: %" PRIu64 " spans sent, %" PRIu64 " waiting", row.name,
                      row.sent_spans, row.lag_spans);
        put_bytes(out, " (", row.lag_bytes);
        fm_buf_printf(out, "), %" PRIu64 " dropped\n", row.dropped_spans);
        if (row.problem[0])
            fm_buf_printf(out, "  problem  %s\n", row.problem);
    }
}

static void status_put_text(const struct api *api, const struct status_facts *facts,
                            struct fm_buf *out)
{
    const struct store_status *store = &facts->store;
    fm_buf_printf(out, "fermata %s, up %" PRIu64 " s, %s\n", FERMATA_VERSION, facts->uptime_s,
                  api->ready ? "ready" : "not ready");
    status_put_listeners_text(api, out);
    fm_buf_printf(out, "  spans    %" PRIu64 " accepted, %" PRIu64 " refused\n",
                  facts->accepted_spans, facts->refused_spans);
    fm_buf_printf(out, "  head     %" PRIu64 " spans in %" PRIu64 " records", store->head_spans,
                  store->head_records);
    put_bytes(out, ", log ", store->wal_bytes);
    fm_buf_printf(out, "\n  blocks   %" PRIu64 " (%" PRIu64 " uploaded), %" PRIu64 " spans",
                  store->blocks_sealed, store->blocks_uploaded, store->block_spans);
    put_bytes(out, ", ", store->blocks_bytes);
    put_bytes(out, "\n  storage  ", store->used_bytes);
    fm_buf_puts(out, " used");
    if (store->quota_bytes)
        put_bytes(out, " of ", store->quota_bytes);
    put_bytes(out, ", ", store->free_bytes);
    fm_buf_puts(out, " free on the file system\n");
    if (store->problem[0])
        fm_buf_printf(out, "  problem  %s\n", store->problem);
    status_put_ledger_text(api, out);
    status_put_sampling_text(api, out);
    status_put_exporters_text(api, out);
    if (!facts->has_upload) {
        fm_buf_puts(out, "  upload   off\n");
        return;
    }
    status_upload_put_text(&facts->upload, out);
}

void api_status(struct api *api, struct net_request *request, struct fm_slice wild)
{
    (void)wild;
    struct status_facts facts;
    struct fm_buf out;
    status_gather(api, &facts);
    fm_buf_init(&out, STATUS_MAX);
    bool is_json = fm_slice_equal_text(net_request_view(request)->query, "format=json");
    if (is_json)
        status_put_json(api, &facts, &out);
    else
        status_put_text(api, &facts, &out);
    api_answer(request, 200, is_json ? "application/json" : "text/plain; charset=utf-8",
               fm_buf_slice(&out));
    fm_buf_fini(&out);
}

static void api_put_metrics(const struct api *api, struct fm_buf *out)
{
    static const char *const names[QUESTION_FORMS] = {
        [QUESTION_SEARCH] = "question=\"search\"",
        [QUESTION_TAGS] = "question=\"tags\"",
        [QUESTION_TAGS_V2] = "question=\"tags_v2\"",
        [QUESTION_VALUES] = "question=\"values\"",
        [QUESTION_VALUES_V2] = "question=\"values_v2\"",
        [QUESTION_RANGE] = "question=\"query_range\"",
        [QUESTION_INSTANT] = "question=\"query\"",
    };
    metric_family(out, "fermata_api_questions_total", "counter",
                  "Searches, tags, values and metrics asked for, over HTTP and gRPC.");
    for (size_t i = 0; i < FM_COUNT(names); i++)
        metric_line(out, "fermata_api_questions_total", names[i],
                    metric_get(&api->questions_total[i]));
    metric_counter(out, "fermata_api_questions_wrong_total",
                   "Questions refused because of their parameters.", &api->questions_wrong_total);
    metric_counter(out, "fermata_api_clients_gone_total",
                   "Clients that left before the answer; their queries were cancelled.",
                   &api->clients_gone_total);
}

void api_metrics(struct api *api, struct net_request *request, struct fm_slice wild)
{
    (void)wild;
    struct fm_buf out;
    fm_buf_init(&out, STATUS_MAX);
    if (api->options.put_metrics)
        api->options.put_metrics(api->options.self, &out);
    store_put_metrics(api->options.store, &out);
    store_ledger_put_metrics(api->options.store, &out);
    query_put_metrics(api->options.query, &out);
    api_put_metrics(api, &out);
    if (api->options.replicator)
        replicator_put_metrics(api->options.replicator, &out);
    metric_gauge(&out, "fermata_ready", "1 while requests are accepted.", api->ready);
    api_answer(request, out.failed ? 500 : 200, "text/plain; version=0.0.4; charset=utf-8",
               fm_buf_slice(&out));
    fm_buf_fini(&out);
}

static void flush_done(void *self, int rc)
{
    struct net_request *request = self;
    if (rc == FM_OK)
        api_answer(request, 204, "text/plain; charset=utf-8", FM_SLICE(""));
    else
        api_answer_text(request, 503, fm_rc_text(rc));
}

void api_flush(struct api *api, struct net_request *request, struct fm_slice wild)
{
    (void)wild;
    /* For local peers, and not for pages in their browsers: those send Origin with every POST. */
    const struct net_request_view *view = net_request_view(request);
    struct fm_slice origin;
    if (!view->is_loopback ||
        http_header_find(view->headers, view->header_count, "origin", &origin) == FM_OK) {
        api_answer_text(request, 403, "flush is for local clients\n");
        return;
    }
    store_flush(api->options.store, flush_done, request);
}
