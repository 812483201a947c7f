/* SPDX-License-Identifier: Apache-2.0 */
/* http_client - one request, waiting for its answer: for verbs that ask a running daemon. */
#ifndef TOOLS_HTTP_CLIENT_H
#define TOOLS_HTTP_CLIENT_H

#include "fermata/http.h"

struct http_answer {
    int status;
    struct fm_buf body; /* owned */
};
void http_answer_fini(struct http_answer *answer);

/* GET url + target (which begins with '/').  FM_OK: an answer, of any status.  FM_EUSAGE: no such
 * url.  FM_EUNAVAILABLE and others: no answer; why says why. */
FM_MUST int http_client_get(const char *url, const char *target, const struct http_header *headers,
                            size_t header_count, struct http_answer *ret_answer,
                            struct fm_why *why);

#endif
