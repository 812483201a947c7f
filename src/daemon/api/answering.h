/* SPDX-License-Identifier: Apache-2.0 */
/* A question on its way through the query engine and its answer on its way back.  Part of api. */
#ifndef FERMATA_API_ANSWERING_H
#define FERMATA_API_ANSWERING_H

#include "api.h"
#include "question.h"

enum answering_format { ANSWERING_JSON, ANSWERING_PROTOBUF, ANSWERING_LLM };

struct answering { /* owned by itself: from answering_new until its done has answered, then
                     answering_free */
    struct api *api;
    struct net_request *request;
    struct question question;
    enum answering_format format;
    bool is_rpc;        /* gRPC: the answer is framed */
    bool begun;         /* gRPC: the head is out */
    struct fm_buf sent; /* gRPC: ids of traces that parts brought, sorted; the render's */
};
/* NULL: no memory.  Takes the request: on_gone cancels. */
struct answering *answering_new(struct api *api, struct net_request *request,
                                enum question_form form);
struct answering *answering_free(struct answering *answering);
/* tenant and question are complete. */
void answering_start(struct answering *answering);
/* What an rc of the engine is for a client. */
struct answering_status {
    int http, grpc;
    const char *text; /* if the engine gave none */
};
struct answering_status answering_status_of(int rc);

/* What to say about it, in Tempo's words. */
const char *answering_text_of(struct query_ask *query, int rc);

/* What Accept asks for, by substrings as Tempo does. */
enum answering_format answering_format_of(const struct net_request_view *view);

/* gRPC, rpc.c. */
void rpc_on_part(struct query_ask *query, struct fm_buf *part);
void rpc_on_done(struct query_ask *query, int rc);

#endif
