/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where our results become HTTP and gRPC statuses, and the reason phrases.
 *
 * Clients drop data on most statuses; whatever may pass by itself is therefore 503, UNAVAILABLE. */
#include "fermata/http.h"

static const struct {
    int rc;
    struct http_status status;
} status_rows[] = {
    {FM_OK, {200, GRPC_OK, false}},
    {FM_ENOMEM, {503, GRPC_UNAVAILABLE, true}},
    {FM_EIO, {503, GRPC_UNAVAILABLE, true}},
    {FM_ENOSPACE, {503, GRPC_UNAVAILABLE, true}},
    {FM_ETIMEOUT, {503, GRPC_UNAVAILABLE, true}},
    {FM_EUNAVAILABLE, {503, GRPC_UNAVAILABLE, true}},
    {FM_ECLOSED, {503, GRPC_UNAVAILABLE, true}},
    {FM_EMALFORMED, {400, GRPC_INVALID_ARGUMENT, false}},
    {FM_ELIMIT, {413, GRPC_RESOURCE_EXHAUSTED, false}},
    {FM_ECORRUPT, {500, GRPC_INTERNAL, false}},
    {FM_EUNSUPPORTED, {415, GRPC_UNIMPLEMENTED, false}},
    {FM_EEXISTS, {409, GRPC_INVALID_ARGUMENT, false}},
    {FM_ENOTFOUND, {404, GRPC_NOT_FOUND, false}},
    {FM_EDENIED, {403, GRPC_PERMISSION_DENIED, false}},
    {FM_ECONFIG, {400, GRPC_INVALID_ARGUMENT, false}},
    {FM_EUSAGE, {400, GRPC_INVALID_ARGUMENT, false}},
    {FM_ECANCELLED, {503, GRPC_CANCELLED, false}},
};

struct http_status http_status_of(int rc)
{
    for (size_t i = 0; i < FM_COUNT(status_rows); i++) {
        if (status_rows[i].rc == rc)
            return status_rows[i].status;
    }
    return (struct http_status){503, GRPC_UNAVAILABLE, true};
}

static const struct {
    int status;
    const char *reason;
} reason_rows[] = {
    {100, "Continue"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < FM_COUNT(reason_rows); i++) {
        if (reason_rows[i].status == status)
            return reason_rows[i].reason;
    }
    return "Unknown";
}
