/* SPDX-License-Identifier: Apache-2.0 */
/* What a client wants to know, out of the parameters of a URL or out of a protobuf request: one
 * struct query_ask, or the refusal in Tempo's words.  Part of api; no loop, no clock. */
#ifndef FERMATA_API_QUESTION_H
#define FERMATA_API_QUESTION_H

#include "fermata/query_ask.h"

enum question_form {
    QUESTION_SEARCH,
    QUESTION_TAGS,
    QUESTION_TAGS_V2,
    QUESTION_VALUES,
    QUESTION_VALUES_V2,
    QUESTION_RANGE,
    QUESTION_INSTANT,
};
#define QUESTION_FORMS         7
#define QUESTION_LIMIT_MAX     262144u
#define QUESTION_SPSS_MAX      100u
#define QUESTION_LIMIT_DEFAULT 20u
#define QUESTION_SPSS_DEFAULT  3u
#define QUESTION_EXEMPLARS_MAX 100u

struct question {
    enum question_form form;
    bool with_sets;        /* SEARCH: asked in TraceQL, not by tags */
    struct fm_arena arena; /* the texts of ask */
    struct query_ask ask;  /* kind, text, field, scope, times, limits; the rest is the caller's */
};
void question_init(struct question *question, enum question_form form);
void question_fini(struct question *question);

/* query: the raw query string; name: of VALUES, decoded.  FM_EMALFORMED: a refusal for the user;
 * FM_ENOMEM. */
FM_MUST int question_read_url(struct question *question, struct fm_slice query,
                              struct fm_slice name, uint64_t now_unix_ns, struct fm_why *why);
/* message: tempopb's SearchRequest, SearchTagsRequest and so on.  FM_EMALFORMED also if it is none
 * of these. */
FM_MUST int question_read_pb(struct question *question, struct fm_slice message,
                             uint64_t now_unix_ns, struct fm_why *why);

/* ---- what both readers check in the same way ---- */

/* FM_EMALFORMED: `please provide a valid tagName: ...` */
FM_MUST int question_set_name(struct question *question, struct fm_slice name, struct fm_why *why);
FM_MUST int question_set_scope(struct question *question, struct fm_slice scope,
                               struct fm_why *why);
FM_MUST int question_set_search(struct question *question, uint64_t limit, uint64_t spss,
                                struct fm_why *why);
/* Seconds of searches, names and values; 0, 0: everything. */
FM_MUST int question_set_seconds(struct question *question, uint64_t start_s, uint64_t end_s,
                                 struct fm_why *why);
/* has_step false: one is chosen.  How long a window may be and how short a step, the engine says.
 */
FM_MUST int question_set_range(struct question *question, uint64_t start_ns, uint64_t end_ns,
                               bool has_step, int64_t step_ns, struct fm_why *why);
/* Tags and durations collected in TraceQL; an empty one asks for everything. */
FM_MUST int question_set_text(struct question *question, const struct fm_buf *text,
                              struct fm_why *why);

#endif
