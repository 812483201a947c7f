/* SPDX-License-Identifier: Apache-2.0 */
/* recall - traces that stayed on the nodes are asked for through the bucket: no node is reachable,
 * but every node looks there.  docs/formats/recall.md.
 *
 *   recall/latest              name of the newest request: what nodes look at
 *   recall/requests/ID         what is wanted
 *   recall/answers/ID/NODE     what a node did about it
 *
 * All below the bucket's control space.  A node that finds a new name works off the requests that
 * it has not answered: it looks for the traces in its blocks and its log and uploads those that the
 * bucket does not have, as blocks of the recall lane.  What it did is asked of the bucket, so that
 * a restart goes on or does the same again, which makes the same blocks.
 */
#ifndef FERMATA_RECALL_H
#define FERMATA_RECALL_H

#include "fermata/platform.h"
#include "fermata/replicate.h"
#include "fermata/store.h"

#define RECALL_ID_MAX     63u    /* A-Z a-z 0-9 _ - ; ids sort by time */
#define RECALL_QUERY_MAX  4096u  /* bytes */
#define RECALL_TRACES_MAX 10000u /* ids in a request, and traces that a query may find */
#define RECALL_BYTES_MAX  FM_MIB(2)

/* ---- the objects; pure ---- */

struct recall_request {
    char id[RECALL_ID_MAX + 1];
    char tenant[TENANT_LEN_MAX + 1];
    uint64_t expires_unix_ns; /* nodes that come later leave it alone */
    /* A query with a range, or ids. */
    char *query; /* owned, or NULL */
    uint64_t start_ns, end_ns;
    uint32_t limit;       /* traces of each node */
    struct trace_id *ids; /* owned */
    uint32_t id_count;
};
/* FM_EMALFORMED with why: what is wrong in it. */
FM_MUST int recall_request_parse(struct fm_slice json, struct recall_request **ret_request,
                                 struct fm_why *why);
void recall_request_render(const struct recall_request *request, struct fm_buf *buf);
struct recall_request *recall_request_free(struct recall_request *request);
FM_DEFINE_AUTO(recall_request)
bool recall_id_is_valid(struct fm_slice id);

enum recall_state { RECALL_SEARCHING, RECALL_UPLOADING, RECALL_DONE, RECALL_FAILED };
struct recall_answer {
    char node[33]; /* hex */
    char host[64];
    enum recall_state state;
    uint64_t found_traces;                 /* that are on the node */
    uint64_t traces, spans, bytes, blocks; /* of what is uploaded, or was */
    bool is_partial;                       /* a limit cut it off */
    uint64_t unix_ns;
    char why[256]; /* with FAILED */
};
FM_MUST int recall_answer_parse(struct fm_slice json, struct recall_answer *ret_answer);
void recall_answer_render(const struct recall_answer *answer, struct fm_buf *buf);
const char *recall_state_name(enum recall_state state);

/* ---- a node's side ---- */

struct recall;
struct recall_options {
    uint8_t node[16];
    const char *host;
    uint64_t poll_ns;
    uint32_t traces_max; /* of one request */
    uint64_t bytes_max;  /* OTLP of one request */
    uint64_t memory_max; /* of a query */
};
/* Takes the bucket, a handle of its own. */
FM_MUST int recall_new(struct recall **ret_recall, struct platform *platform, struct store *store,
                       struct bucket *bucket, const struct recall_options *options);
/* done is called last; before the store is closed. */
void recall_close(struct recall *recall, void (*done)(void *self), void *self);
void recall_put_metrics(const struct recall *recall, struct fm_buf *out);

#endif
