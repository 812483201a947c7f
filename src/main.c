/* SPDX-License-Identifier: Apache-2.0 */
/* fermata - the one binary: the daemon and the verbs a person needs. */
#include <stdio.h>
#include <string.h>

#include "fermata/tools.h"
#include "serve.h"
#include "serve_recall.h"

static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} verbs[] = {
    {"serve", serve_main, "run the daemon in the foreground"},
    {"check", tool_check, "check the configuration"},
    {"config", tool_config, "print the configuration: --defaults, --effective"},
    {"status", tool_status, "ask a running daemon how it is"},
    {"why", tool_why, "what became of a trace: why TRACE_ID"},
    {"query", tool_query, "query search|trace|tags|values|metrics"},
    {"emit", tool_emit, "send realistic traces and measure the answers"},
    {"block", tool_block, "block inspect|verify|dump DIR"},
    {"wal", tool_wal, "wal inspect DIR|FILE"},
    {"recall", serve_recall_main, "ask all nodes of a bucket for traces that stayed there"},
};

static void print_help(FILE *out)
{
    fputs("fermata " FERMATA_VERSION ": trace collector and store of one node\n\n"
          "usage: fermata VERB [OPTIONS]\n\n",
          out);
    for (size_t i = 0; i < FM_COUNT(verbs); i++)
        fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].help);
    fputs("\nEach verb explains itself: fermata VERB --help\n", out);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_WRONG_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        puts("fermata " FERMATA_VERSION);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < FM_COUNT(verbs); i++) {
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "fermata: unknown verb \"%s\"; see fermata --help\n", argv[1]);
    return EXIT_WRONG_USAGE;
}
