/* SPDX-License-Identifier: Apache-2.0 */
/* tools - the verbs of the command line besides serve.  Each returns the process's exit code. */
#ifndef FERMATA_TOOLS_H
#define FERMATA_TOOLS_H

#include "fermata/base.h"

/* Exit codes, documented in docs/OPERATIONS.md. */
enum tool_exit {
    EXIT_DONE = 0,
    EXIT_NEGATIVE = 1, /* a negative answer: no match, degraded */
    EXIT_WRONG_USAGE = 2,
    EXIT_NOT_RUNNING = 3, /* no daemon answers */
    EXIT_NOT_FOUND = 4,   /* no such trace or block */
    EXIT_DAMAGED = 65,    /* data is damaged */
    EXIT_NO_SERVICE = 69, /* cannot bind, cannot reach */
    EXIT_IO = 74,
    EXIT_TEMPORARY = 75, /* try again later */
    EXIT_CONFIGURATION = 78,
};

/* argv[0] is the verb's name. */
int tool_check(int argc, char **argv);
int tool_config(int argc, char **argv);
int tool_status(int argc, char **argv);
int tool_why(int argc, char **argv); /* why TRACE_ID */
int tool_query(int argc, char **argv); /* query search|trace|tags|values|metrics */
int tool_emit(int argc, char **argv);
int tool_block(int argc, char **argv); /* block inspect|verify|dump DIR */
int tool_wal(int argc, char **argv);   /* wal inspect DIR|FILE */

/* Opens the bucket of a configuration, for verbs that write there; owner goes to close, after the
 * bucket was freed and while the platform is there. */
struct bucket;
struct config;
struct platform;
struct tool_buckets {
    int (*open)(struct bucket **ret_bucket, struct platform *platform, const struct config *config,
                void **ret_owner, struct fm_why *why);
    void (*close)(void *owner);
};
int tool_recall(int argc, char **argv, const struct tool_buckets *buckets);

#endif
