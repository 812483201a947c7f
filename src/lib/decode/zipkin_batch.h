/* SPDX-License-Identifier: Apache-2.0 */
/* zipkin_batch - spans of Zipkin on their way to OTLP; private to decode.
 *
 *   zipkin_json.c ---.                                             .--> zipkin_span.c: one span
 *   zipkin_pb.c -----+--> views: slices into the input or scratch -+
 *   zipkin_thrift.c -'    (version 1 by way of zipkin_v1.c)        '--> zipkin_batch.c: grouping
 *
 * A span without usable ids is not kept: it is counted, and a span with as much of them as there
 * was goes to target in its place, so that the check behind us refuses and counts it like any
 * other.
 */
#ifndef FERMATA_DECODE_ZIPKIN_BATCH_H
#define FERMATA_DECODE_ZIPKIN_BATCH_H

#include "fermata/base.h"

#define ZIPKIN_INPUT_MAX FM_MIB(128)
#define ZIPKIN_IP_TEXT   40u /* the longest address, without a terminator */

enum zipkin_kind { /* OTLP's numbers */
                   ZIPKIN_UNSPECIFIED,
                   ZIPKIN_INTERNAL,
                   ZIPKIN_SERVER,
                   ZIPKIN_CLIENT,
                   ZIPKIN_PRODUCER,
                   ZIPKIN_CONSUMER,
};
struct zipkin_endpoint {
    struct fm_slice service, ipv4, ipv6; /* canonical texts, empty if absent */
    uint32_t port;                       /* 0: absent */
};
enum zipkin_type { ZIPKIN_TEXT, ZIPKIN_BOOL, ZIPKIN_INT, ZIPKIN_DOUBLE };
struct zipkin_tag {
    struct fm_slice key;
    union {
        struct fm_slice text;
        int64_t integer; /* INT, BOOL */
        double number;
    };
    const struct zipkin_endpoint *host; /* version 1; NULL: none */
    uint8_t type;                       /* enum zipkin_type */
    uint8_t use;                        /* enum zipkin_key, as zipkin_span.c found out */
    uint8_t side;                       /* whose it is: version 1 makes several spans of one */
    bool is_hidden;                     /* a repeat, or said elsewhere */
};
struct zipkin_note { /* an annotation */
    uint64_t time_us;
    struct fm_slice value;
    const struct zipkin_endpoint *host; /* version 1; NULL: none */
    uint8_t side;                       /* as above */
};
#define ZIPKIN_NO_SIDE 0xffu /* of none: it became something else */
struct zipkin_span {
    struct zipkin_span *next; /* of the same scope */
    uint8_t trace_id[16], id[8], parent_id[8];
    bool has_parent, is_shared;
    bool has_known_tags; /* some tag means something */
    uint8_t kind;        /* enum zipkin_kind */
    uint8_t side;        /* of the draft's notes and tags those with this number are its own */
    struct fm_slice name;
    uint64_t timestamp_us, duration_us; /* 0: absent */
    struct zipkin_endpoint local, remote;
    struct zipkin_note *notes; /* borrowed from scratch, as all arrays here */
    struct zipkin_tag *tags;
    uint32_t note_count, tag_count;
};

/* Tags that mean something. */
enum zipkin_key {
    ZIPKIN_KEY_NONE,
    ZIPKIN_KEY_SPAN_KIND,
    ZIPKIN_KEY_STATUS_CODE,
    ZIPKIN_KEY_STATUS_DESCRIPTION,
    ZIPKIN_KEY_TRACESTATE,
    ZIPKIN_KEY_SCOPE_NAME,
    ZIPKIN_KEY_SCOPE_VERSION,
    ZIPKIN_KEY_LIBRARY_NAME,
    ZIPKIN_KEY_LIBRARY_VERSION,
    ZIPKIN_KEY_SERVICE_SOURCE,
    ZIPKIN_KEY_SERVICE_NAME,
    ZIPKIN_KEY_LINK,
    ZIPKIN_KEY_RESOURCE,  /* belongs to the resource */
    ZIPKIN_KEY_TEXT_LAST, /* the above only as text; below they may have any type */
    ZIPKIN_KEY_ERROR,
    ZIPKIN_KEY_PEER_SERVICE,
    ZIPKIN_KEY_PEER_IP,
    ZIPKIN_KEY_PEER_PORT,
    ZIPKIN_KEY_HOST_IP,
    ZIPKIN_KEY_HOST_PORT,
    ZIPKIN_KEY_COUNT,
};
#define ZIPKIN_KEY_SLOTS 512u

/* Growing arrays of the span that is being read; zipkin_batch_add copies what is in them. */
struct zipkin_draft {
    struct zipkin_span span;
    struct zipkin_note *notes;
    struct zipkin_tag *tags;
    uint32_t note_count, note_cap, tag_count, tag_cap;
    bool has_trace_id, has_id; /* and they are well-formed and not zero */
    bool is_v1;
};

struct zipkin_scope {
    struct zipkin_scope *next, *next_hash;
    struct zipkin_resource *resource;
    struct fm_slice name, version;
    struct zipkin_span *first, *last;
};
struct zipkin_resource {
    struct zipkin_resource *next, *next_hash;
    uint64_t hash;
    const struct zipkin_span *model; /* whose service and resource tags these are */
    struct fm_slice service_key;
    struct zipkin_scope *scopes, *scope_last;
};

struct zipkin_batch {
    struct fm_arena *scratch; /* borrowed */
    struct fm_buf *target;    /* borrowed */
    size_t start;             /* length of target when we came */
    struct zipkin_draft draft;
    size_t input_len;
    const struct zipkin_tag *known[ZIPKIN_KEY_COUNT]; /* of the span in hand; RESOURCE: any one */
    struct zipkin_resource *resources, *resource_last;
    struct zipkin_scope *scope; /* of the last span */
    uint32_t bucket_count;      /* a power of two; 0: there are no buckets yet */
    struct zipkin_resource **resource_buckets;
    struct zipkin_scope **scope_buckets;
    uint32_t bad_trace_count, bad_id_count; /* spans without usable ids */
    uint8_t key_slots[ZIPKIN_KEY_SLOTS];
};
/* zipkin_batch.c */
FM_MUST int zipkin_batch_new(struct zipkin_batch **ret_batch, size_t input_len,
                             struct fm_arena *scratch, struct fm_buf *target, struct fm_why *why);
void zipkin_draft_reset(struct zipkin_batch *batch);
/* NULL: scratch is full. */
struct zipkin_tag *zipkin_draft_tag(struct zipkin_batch *batch);
struct zipkin_note *zipkin_draft_note(struct zipkin_batch *batch);
/* Puts the draft among the batch's spans; version 1 goes through zipkin_v1_convert. */
FM_MUST int zipkin_draft_finish(struct zipkin_batch *batch);
/* Adds a span with the draft's notes and tags that are of its side. */
FM_MUST int zipkin_batch_add(struct zipkin_batch *batch, const struct zipkin_span *span);
/* Writes everything, or leaves target as it was: rc is what reading came to. */
FM_MUST int zipkin_batch_finish(struct zipkin_batch *batch, int rc, struct fm_why *why);

/* zipkin_key.c */
void zipkin_keys_init(struct zipkin_batch *batch);
enum zipkin_key zipkin_key_find(const struct zipkin_batch *batch, struct fm_slice key);

/* zipkin_v1.c: adds one span or several. */
FM_MUST int zipkin_v1_convert(struct zipkin_batch *batch);
bool zipkin_note_is_core(const struct zipkin_note *note);

/* zipkin_span.c */
/* Finds out what the tags are for and fills batch->known; before the span is grouped. */
void zipkin_span_sort_tags(struct zipkin_batch *batch, struct zipkin_span *span);
/* The key under which the resource has the service's name. */
struct fm_slice zipkin_span_service_key(const struct zipkin_batch *batch);
void zipkin_put_resource(struct zipkin_batch *batch, const struct zipkin_resource *resource);
void zipkin_put_span(struct zipkin_batch *batch, const struct zipkin_span *span);

/* zipkin_note.c */
void zipkin_put_event(struct zipkin_batch *batch, const struct zipkin_note *note);
/* FM_NONE: the value is no link. */
FM_MUST int zipkin_put_link(struct zipkin_batch *batch, struct fm_slice value);

/* zipkin_write.c: fields whose size is known before they are written. */
void zipkin_put_text(struct fm_buf *out, uint32_t number, struct fm_slice key,
                     struct fm_slice value);
void zipkin_put_int(struct fm_buf *out, uint32_t number, struct fm_slice key, int64_t value);
void zipkin_put_bool(struct fm_buf *out, uint32_t number, struct fm_slice key, bool value);
void zipkin_put_double(struct fm_buf *out, uint32_t number, struct fm_slice key, double value);
/* A span's ids, name, kind and times. */
void zipkin_put_span_head(struct fm_buf *out, const struct zipkin_span *span,
                          struct fm_slice trace_state);

/* zipkin_address.c: texts are borrowed, or live in scratch; an address that is none leaves the
 * endpoint as it is. */
void zipkin_set_ip_text(struct zipkin_endpoint *endpoint, struct fm_slice text,
                        struct fm_arena *scratch);
void zipkin_set_ip_bytes(struct zipkin_endpoint *endpoint, struct fm_slice bytes,
                         struct fm_arena *scratch); /* 4 or 16 of them */
static inline void zipkin_set_port(struct zipkin_endpoint *endpoint, uint64_t port)
{
    endpoint->port = port <= 65535 ? (uint32_t)port : 0;
}
static inline bool zipkin_endpoint_is_empty(const struct zipkin_endpoint *endpoint)
{
    return !endpoint->service.len && !endpoint->ipv4.len && !endpoint->ipv6.len && !endpoint->port;
}

#endif
