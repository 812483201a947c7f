/* SPDX-License-Identifier: Apache-2.0 */
/* trace - the inside of struct trace, shared by assembly (trace.c) and rendering (render.c). */
#ifndef FERMATA_MODEL_TRACE_H
#define FERMATA_MODEL_TRACE_H

#include "fermata/model.h"
#include "fermata/pb.h"

#define TRACE_BUCKETS 1024
#define TRACE_NONE    UINT32_MAX

/* A resource with its schema_url, or a scope of one resource with its own.  Equal ones are one. */
struct trace_group {
    struct fm_slice content; /* the Resource or InstrumentationScope message */
    struct fm_slice schema_url;
    struct fm_slice service; /* resources: service.name */
    bool present;            /* the message was there, perhaps empty */
    uint32_t parent;         /* scopes: index of the resource */
    uint32_t bucket_next;    /* next with the same hash bucket */
    uint64_t hash;
    /* Set by trace_finish, in order of the first span: */
    uint32_t first, last; /* scopes: spans; resources: scopes */
    uint32_t next;        /* scopes: the next one of the same resource; resources: the next */
};

struct trace_groups {
    struct trace_group *items; /* owned */
    uint32_t count, cap;
    uint32_t buckets[TRACE_BUCKETS];
};

struct trace {
    struct trace_id id;
    struct fm_arena arena;
    size_t bytes_max;
    size_t table_bytes; /* of spans, resources and scopes, which are not in the arena */
    struct trace_groups resources, scopes;
    struct trace_span *spans; /* owned */
    uint32_t *span_next;      /* owned; next span of the same scope, after trace_finish */
    uint32_t span_count, span_cap;
    uint32_t resource_first; /* after trace_finish */
    bool partial;
};

#endif
