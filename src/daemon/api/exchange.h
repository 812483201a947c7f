/* SPDX-License-Identifier: Apache-2.0 */
/* A question on its way through the query engine and its answer on its way back.  Part of api. */
#ifndef FERMATA_API_EXCHANGE_H
#define FERMATA_API_EXCHANGE_H

#include "api.h"
#include "question.h"

enum exchange_format { EXCHANGE_JSON, EXCHANGE_PROTOBUF, EXCHANGE_LLM };

struct exchange { /* owned by itself: from exchange_new until its done has answered, then
                     exchange_free */
    struct api *api;
    struct net_request *request;
    struct question question;
    enum exchange_format format;
    bool is_rpc;        /* gRPC: the answer is framed */
    bool begun;         /* gRPC: the head is out */
    struct fm_buf sent; /* gRPC: ids of traces that parts brought, sorted; the render's */
};
/* NULL: no memory.  Takes the request: on_gone cancels. */
struct exchange *exchange_new(struct api *api, struct net_request *request,
                              enum question_form form);
struct exchange *exchange_free(struct exchange *exchange);
/* tenant and question are complete. */
void exchange_start(struct exchange *exchange);
/* What an rc of the engine is for a client. */
struct exchange_status {
    int http, grpc;
    const char *text; /* if the engine gave none */
};
struct exchange_status exchange_status_of(int rc);

/* What to say about it, in Tempo's words. */
const char *exchange_text_of(struct query_ask *query, int rc);

/* What Accept asks for, by substrings as Tempo does. */
enum exchange_format exchange_format_of(const struct net_request_view *view);

/* gRPC, rpc.c. */
void rpc_on_part(struct query_ask *query, struct fm_buf *part);
void rpc_on_done(struct query_ask *query, int rc);

#endif
