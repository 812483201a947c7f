/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of cloud share. */
#ifndef FERMATA_CLOUD_INTERNAL_H
#define FERMATA_CLOUD_INTERNAL_H

#include "fermata/cloud.h"
#include "fermata/json.h"

/* Percent-encoding: A-Z a-z 0-9 - _ . ~ stay, a slash only where keep_slash. */
void cloud_percent_encode(struct fm_buf *buf, struct fm_slice text, bool keep_slash);
/* A host as it stands in Host and in URLs: with brackets, and a port that is not the scheme's. */
struct fm_slice cloud_url_host(const struct cloud_url *url, struct fm_arena *arena);

/* A request in the making; what has no room makes the arena fail or comes out of the end. */
struct cloud_maker {
    struct s3_request *request;
    struct fm_arena *arena;
    struct fm_buf target;
    bool has_query;
};
void cloud_maker_init(struct cloud_maker *maker, struct s3_request *request, struct fm_arena *arena,
                      const char *method, const struct cloud_url *url);
void cloud_maker_header(struct cloud_maker *maker, const char *name, struct fm_slice value);
void cloud_maker_header_text(struct cloud_maker *maker, const char *name, const char *value);
void cloud_maker_header_base64(struct cloud_maker *maker, const char *name, struct fm_slice bytes);
void cloud_maker_query(struct cloud_maker *maker, const char *name, struct fm_slice value);
FM_MUST int cloud_maker_end(struct cloud_maker *maker);
/* "Bearer TOKEN".  FM_ECONFIG: a token that cannot stand in a header. */
FM_MUST int cloud_maker_bearer(struct cloud_maker *maker, struct fm_slice token);

int cloud_azure_build(const struct cloud_place *place, const struct cloud_secret *secret,
                      const struct cloud_call *call, int64_t unix_s, struct fm_arena *arena,
                      struct s3_request *ret_request);
int cloud_gcs_build(const struct cloud_place *place, const struct cloud_secret *secret,
                    const struct cloud_call *call, struct fm_arena *arena,
                    struct s3_request *ret_request);

/* Text for people: printable ASCII, cut to fit. */
void cloud_copy_text(char *target, size_t size, struct fm_slice text);
/* The headers that every answer may have. */
void cloud_read_header(const struct s3_header *header, int64_t *date_unix_s,
                       uint32_t *retry_after_s);

/* The next member of the object that the reader is in: its key, and the first token of its value,
 * which json_skip passes over.  FM_END: the object's end. */
FM_MUST int cloud_json_member(struct json_reader *reader, struct fm_slice *ret_key,
                              struct json_token *ret_value);
/* The reader behind a document's opening brace. */
FM_MUST int cloud_json_open(struct json_reader *reader, struct fm_slice document,
                            struct fm_arena *scratch);

#endif
