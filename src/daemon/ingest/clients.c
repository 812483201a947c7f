/* SPDX-License-Identifier: Apache-2.0 */
/* clients - what Jaeger's clients say they lost before they could send.
 *
 * Clients count from their start; so the last counts of each are remembered and what was added is
 * counted here.  The table is bounded: 256 buckets of four, in each the one seen longest ago goes.
 */
#include "ingest.h"

#include <stdlib.h>

#define CLIENT_BUCKETS     256u
#define CLIENT_WAYS        4u
#define CLIENT_REORDER_MAX 64 /* a sequence further back than that is a client that began anew */
#define CLIENT_LOSS_MAX    UINT32_MAX /* at once; more is a lie or a bug of theirs */

struct client {
    uint64_t key, seen_ns; /* seen_ns 0: free */
    int64_t sequence;      /* -1: none */
    uint64_t lost[3];
};

#define CLIENT_LOSSES(X)                                                                           \
    X("queue_full", queue_dropped)                                                                 \
    X("too_large", too_large_dropped)                                                              \
    X("send_failed", failed)

struct clients {
    struct client table[CLIENT_BUCKETS][CLIENT_WAYS];
    metric lost[3];
};

int clients_new(struct clients **ret_clients)
{
    struct clients *clients = calloc(1, sizeof *clients);
    if (!clients)
        return FM_ENOMEM;
    *ret_clients = clients;
    return FM_OK;
}

struct clients *clients_free(struct clients *clients)
{
    free(clients);
    return NULL;
}

static struct client *clients_find(struct clients *clients, uint64_t key)
{
    uint64_t mixed = (key ^ (key >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
    struct client *bucket = clients->table[(mixed >> 56) % CLIENT_BUCKETS];
    struct client *oldest = &bucket[0];
    for (size_t i = 0; i < CLIENT_WAYS; i++) {
        if (bucket[i].seen_ns && bucket[i].key == key)
            return &bucket[i];
        if (bucket[i].seen_ns < oldest->seen_ns)
            oldest = &bucket[i];
    }
    *oldest = (struct client){.key = key, .sequence = -1};
    return oldest;
}

void clients_note(struct clients *clients, const struct jaeger_client_stats *stats, uint64_t now_ns)
{
    const uint64_t lost[3] = {
#define X(text, field) stats->field,
        CLIENT_LOSSES(X)
#undef X
    };
    if (!stats->is_present)
        return;
    struct client *client = clients_find(clients, stats->client_key);
    bool is_late = stats->sequence >= 0 && stats->sequence <= client->sequence &&
                   client->sequence - stats->sequence < CLIENT_REORDER_MAX;
    client->seen_ns = FM_MAX(now_ns, 1u);
    if (is_late)
        return;
    client->sequence = stats->sequence;
    for (size_t i = 0; i < FM_COUNT(lost); i++) {
        uint64_t more = lost[i] < client->lost[i] ? lost[i] : lost[i] - client->lost[i];
        metric_add(&clients->lost[i], FM_MIN(more, CLIENT_LOSS_MAX));
        client->lost[i] = lost[i];
    }
}

void clients_put_metrics(const struct clients *clients, struct fm_buf *out)
{
    static const char *const labels[] = {
#define X(text, field) "reason=\"" text "\"",
        CLIENT_LOSSES(X)
#undef X
    };
    const char *name = "fermata_jaeger_client_dropped_spans_total";
    metric_family(out, name, "counter", "Spans that clients lost before sending, as they say.");
    for (size_t i = 0; i < FM_COUNT(labels); i++)
        metric_line(out, name, labels[i], metric_get(&clients->lost[i]));
}
