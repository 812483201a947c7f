/* SPDX-License-Identifier: Apache-2.0 */
/* ingest - the receivers' common part: what they share and what is counted. */
#include "ingest.h"

#include <stdio.h>
#include <stdlib.h>

int ingest_new(struct ingest **ret_ingest, struct platform *platform, struct store *store,
               const struct ingest_options *options)
{
    struct ingest *ingest = calloc(1, sizeof *ingest);
    if (!ingest)
        return FM_ENOMEM;
    ingest->platform = platform;
    ingest->store = store;
    ingest->options = *options;
    fm_list_init(&ingest->idle);
    int rc = datagrams_new(&ingest->datagrams, ingest);
    if (rc == FM_OK)
        rc = strategies_new(&ingest->strategies, ingest);
    if (rc == FM_OK && (options->head.threshold || options->head.spans_per_second_max))
        rc = head_stage_new(&ingest->head, &options->head);
    if (rc == FM_OK && options->process)
        rc = processing_new(&ingest->processing, options->process);
    if (rc < 0) {
        ingest_free(ingest);
        return rc;
    }
    *ret_ingest = ingest;
    return FM_OK;
}

struct ingest *ingest_free(struct ingest *ingest)
{
    if (!ingest)
        return NULL;
    while (!fm_list_empty(&ingest->idle)) {
        struct intake *intake = FM_CONTAINER(ingest->idle.next, struct intake, link);
        fm_list_remove(&intake->link);
        decode_facts_fini(&intake->facts);
        free(intake->tallies);
        free(intake);
    }
    ingest->datagrams = datagrams_free(ingest->datagrams);
    ingest->strategies = strategies_free(ingest->strategies);
    ingest->head = head_stage_free(ingest->head);
    processing_unref(ingest, fm_take(ingest->processing));
    free(ingest);
    return NULL;
}

void ingest_stop(struct ingest *ingest)
{
    datagrams_close(ingest->datagrams);
    strategies_stop(ingest->strategies);
}

void ingest_reload(struct ingest *ingest)
{
    strategies_reload(ingest->strategies);
}

void ingest_attach_udp(struct ingest *ingest, enum ingest_receiver receiver, struct net_udp *udp)
{
    datagrams_attach(ingest->datagrams, receiver, udp);
}

/* ---- counters ---- */

uint64_t ingest_accepted_spans(const struct ingest *ingest, enum ingest_receiver receiver)
{
    return metric_get(&ingest->counters[receiver].accepted_spans);
}

uint64_t ingest_refused_spans(const struct ingest *ingest, enum ingest_receiver receiver)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < INGEST_REASON_COUNT; i++)
        sum += metric_get(&ingest->counters[receiver].refused_spans[i]);
    return sum;
}

static const char *const receiver_names[INGEST_RECEIVER_COUNT] = {
#define X(name, text) [INGEST_##name] = text,
    INGEST_RECEIVERS(X)
#undef X
};
static const char *const reason_names[INGEST_REASON_COUNT] = {
#define X(name, text) text,
    INGEST_REASONS(X)
#undef X
};
static const char *const outcome_names[INGEST_OUTCOME_COUNT] = {
#define X(name, text) text,
    INGEST_OUTCOMES(X)
#undef X
};

const char *ingest_receiver_text(enum ingest_receiver receiver)
{
    return receiver_names[receiver];
}

static void put_labelled(struct fm_buf *out, const char *name, size_t receiver, const char *label,
                         const char *value, const metric *count)
{
    char labels[96];
    (void)snprintf(labels, sizeof labels, "receiver=\"%s\",%s=\"%s\"", receiver_names[receiver],
                   label, value);
    metric_line(out, name, labels, metric_get(count));
}

static void put_simple(struct fm_buf *out, const char *name, size_t receiver, const metric *count)
{
    char labels[48];
    (void)snprintf(labels, sizeof labels, "receiver=\"%s\"", receiver_names[receiver]);
    metric_line(out, name, labels, metric_get(count));
}

static bool receiver_has_requests(size_t receiver)
{
    return receiver != INGEST_JAEGER_COMPACT && receiver != INGEST_JAEGER_BINARY;
}

static void put_ack_seconds(const struct ingest *ingest, struct fm_buf *out)
{
    metric_histogram_put(out, "fermata_receiver_otlp_grpc_ack_seconds",
                         "From the request's head to its durable acknowledgement, gRPC.",
                         &ingest->counters[INGEST_OTLP_GRPC].ack_seconds);
    metric_histogram_put(out, "fermata_receiver_otlp_http_ack_seconds",
                         "From the request's head to its durable acknowledgement, HTTP.",
                         &ingest->counters[INGEST_OTLP_HTTP].ack_seconds);
}

void ingest_put_dropped(const struct ingest *ingest, struct fm_buf *out)
{
    if (ingest->head)
        head_stage_put_dropped(ingest->head, out);
    if (ingest->processing)
        processing_put_dropped(ingest->processing, out);
}

void ingest_put_metrics(const struct ingest *ingest, struct fm_buf *out)
{
    const char *name = "fermata_receiver_accepted_spans_total";
    metric_family(out, name, "counter", "Spans acknowledged (datagrams: stored), by receiver.");
    for (size_t r = 0; r < INGEST_RECEIVER_COUNT; r++)
        put_simple(out, name, r, &ingest->counters[r].accepted_spans);

    name = "fermata_receiver_refused_spans_total";
    metric_family(out, name, "counter", "Spans refused, by receiver and reason.");
    for (size_t r = 0; r < INGEST_RECEIVER_COUNT; r++) {
        for (size_t i = 0; i < INGEST_REASON_COUNT; i++)
            put_labelled(out, name, r, "reason", reason_names[i],
                         &ingest->counters[r].refused_spans[i]);
    }
    name = "fermata_receiver_requests_total";
    metric_family(out, name, "counter", "Export requests, by receiver and outcome.");
    for (size_t r = 0; r < INGEST_RECEIVER_COUNT; r++) {
        for (size_t i = 0; i < INGEST_OUTCOME_COUNT && receiver_has_requests(r); i++)
            put_labelled(out, name, r, "outcome", outcome_names[i],
                         &ingest->counters[r].requests[i]);
    }
    name = "fermata_receiver_mended_values_total";
    metric_family(out, name, "counter", "Values cut, emptied or dropped in accepted spans.");
    for (size_t r = 0; r < INGEST_RECEIVER_COUNT; r++)
        put_simple(out, name, r, &ingest->counters[r].mended_values);

    name = "fermata_receiver_body_bytes_total";
    metric_family(out, name, "counter", "Request bodies and datagrams as received.");
    for (size_t r = 0; r < INGEST_RECEIVER_COUNT; r++)
        put_simple(out, name, r, &ingest->counters[r].body_bytes);

    put_ack_seconds(ingest, out);
    datagrams_put_metrics(ingest->datagrams, out);
    strategies_put_metrics(ingest->strategies, out);
    if (ingest->head)
        head_stage_put_metrics(ingest->head, out);
    if (ingest->processing)
        processing_put_metrics(ingest->processing, out);
}
