/* SPDX-License-Identifier: Apache-2.0 */
/* query - what the files of the verb share: who asks what of whom. */
#ifndef TOOLS_QUERY_H
#define TOOLS_QUERY_H

#include "fermata/ask.h"
#include "fermata/bucket_read.h"
#include "http_client.h"
#include "options.h"

#define QUERY_ANSWER_MAX FM_MIB(256)

struct query_request {
    const struct options *options;
    const char *url, *data_dir, *bucket; /* one of them is asked; bucket: dir:PATH or s3://NAME */
    const char *config_file;             /* with [upload.s3]; NULL: none */
    const char *tenant;                  /* NULL: not given */
    const char *text, *filter;           /* TraceQL, a field or an id; "" if not given */
    const char *start_text, *end_text, *scope;
    uint64_t start_ns, end_ns; /* 0: not given */
    uint64_t limit, spss, step_ns;
    bool json, instant, follow;
    bool is_quiet;        /* about daemons and buckets that do not answer */
    uint64_t interval_ns; /* between the looks of follow */
    struct trace_id id;
};

/* query.c: a GET of the daemon.  EXIT_DONE: *answer is a 200 and the caller's; else the exit, and
 * what is wrong was said. */
int query_get(const struct query_request *request, const char *target, const char *accept,
              struct http_answer *answer);
/* The exit for a failure, which is said. */
int query_fail(const struct query_request *request, int rc, const char *text);

/* query_ask.c */
int query_ask(const struct query_request *request, enum ask_kind kind);
/* The answer in the API's JSON.  EXIT_DONE, else the exit, and what is wrong was said.  reader: of
 * the bucket, if it is S3. */
int query_ask_json(const struct query_request *request, enum ask_kind kind,
                   struct bucket_reader *reader, struct fm_buf *json);

/* query_follow.c */
int query_follow(const struct query_request *request);

/* query_bucket.c */
static inline bool query_is_s3(const struct query_request *request)
{
    return request->bucket && strncmp(request->bucket, "s3:", 3) == 0;
}
/* By the request, the configuration and the usual environment.  *ret_reader NULL: not S3. */
FM_MUST int query_bucket_open(const struct query_request *request,
                              struct bucket_reader **ret_reader, struct fm_why *why);

/* query_files.c: blocks of a bucket, or blocks and log of a node, asked in this thread */
struct query_file;
struct query_files {
    const struct query_request *request;
    struct bucket_reader *reader; /* borrowed; NULL: files */
    struct bucket_list *list;     /* owned; of reader */
    struct bucket_budget budget;
    char folder[1024];        /* being listed */
    char wal_folder[1024];    /* "": a bucket */
    struct query_file *files; /* owned; newest first */
    size_t count, capacity;
    uint64_t damaged_count;
    struct fm_why damage; /* of the last one */
    struct answer_stats stats;
};
/* FM_ENOTFOUND: no such bucket or node.  reader: NULL, or of the bucket that is asked. */
FM_MUST int query_files_open(struct query_files *files, const struct query_request *request,
                             struct bucket_reader *reader, struct fm_why *why);
void query_files_close(struct query_files *files);
/* From the oldest block to the newest; 0, 0: there are none. */
void query_files_range(const struct query_files *files, uint64_t *ret_start_ns,
                       uint64_t *ret_end_ns);
FM_MUST int query_files_ask(struct query_files *files, const struct ask *ask,
                            struct ask_part **ret_part, struct fm_why *why);
FM_MUST int query_files_find(struct query_files *files, const struct trace_id *id,
                             struct trace *trace, struct fm_why *why);
void query_files_complain(const struct query_files *files); /* on stderr, if there is damage */

/* query_view.c: answers in JSON as a person likes to read them.  FM_EMALFORMED: no such answer. */
FM_MUST int query_view(enum ask_kind kind, struct fm_slice json, struct fm_buf *out);
FM_MUST int query_view_trace(struct fm_slice json, struct fm_buf *out); /* one line of a search */

#endif
