/* SPDX-License-Identifier: Apache-2.0 */
/* http - what HTTP/1, HTTP/2 and gRPC share: headers, methods, targets, status codes, framing. */
#ifndef FERMATA_HTTP_H
#define FERMATA_HTTP_H

#include "fermata/base.h"

struct http_header {
    struct fm_slice name; /* lower case */
    struct fm_slice value;
};
struct http_limits {
    uint32_t header_bytes_max; /* whole head, decoded: 16 KiB */
    uint32_t header_count_max; /* 100 */
    uint32_t target_bytes_max; /* 8 KiB */
    size_t body_bytes_max;     /* as received, before decompression */
    uint32_t stream_count_max; /* HTTP/2, at once */
    uint32_t window_bytes;     /* HTTP/2, per stream */
    uint32_t connection_window_bytes;
};
extern const struct http_limits http_limits_default;

/* Value of the first header of that name, or FM_NONE. */
FM_MUST int http_header_find(const struct http_header *headers, size_t count, const char *name,
                             struct fm_slice *ret_value);

/* "path?query" (origin or absolute form) split; path is percent-decoded once into target_buf and
 * checked: starts with '/', no NUL, no "..".  FM_EMALFORMED. */
struct http_target {
    struct fm_slice path;  /* decoded, in the arena */
    struct fm_slice query; /* raw */
};
FM_MUST int http_target_parse(struct fm_slice raw, struct fm_arena *arena,
                              struct http_target *ret_target);
/* Decoded value of a query parameter ('+' is a blank); FM_NONE if absent. */
FM_MUST int http_query_find(struct fm_slice query, const char *name, struct fm_arena *arena,
                            struct fm_slice *ret_value);
/* Media type without parameters: "Application/JSON; charset=utf-8" is "application/json". */
bool http_media_type_is(struct fm_slice content_type, const char *lower);
const char *http_reason(int status);

/* gRPC codes (a subset of the public list) and the one table that maps results to statuses. */
enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
};
struct http_status {
    int http;
    int grpc;
    bool retry; /* answer carries Retry-After / RetryInfo */
};
struct http_status http_status_of(int rc);

/* gRPC length-prefixed messages in a whole request body.
 * FM_OK; FM_END: no bytes left; FM_EMALFORMED: flag above 1 or a cut message; FM_ELIMIT. */
struct grpc_message {
    bool compressed;
    struct fm_slice bytes;
};
FM_MUST int grpc_message_next(struct fm_slice *body, size_t bytes_max,
                              struct grpc_message *ret_message);
void grpc_message_put(struct fm_buf *buf, struct fm_slice message); /* uncompressed, with prefix */
void grpc_percent_encode(struct fm_buf *buf, struct fm_slice text); /* grpc-message */
/* "9973m": FM_EMALFORMED unless 1-8 digits and a unit. */
FM_MUST int grpc_timeout_parse(struct fm_slice text, uint64_t *ret_ns);

#endif
