/* SPDX-License-Identifier: Apache-2.0 */
/* process - what is done to spans between their check and the log: attributes, filters, redaction,
 * names, facts of the resource.  Rules are documented in docs/OPERATIONS.md.
 *
 * The rules are compiled once and shared by all threads; each thread brings a state of its own.  A
 * request is walked once.  What no rule changes is copied as it stands, and a request in which
 * nothing changes is not copied at all.
 */
#ifndef FERMATA_PROCESS_H
#define FERMATA_PROCESS_H

#include "fermata/base.h"

#define PROCESS_RULES_MAX 256u

enum process_kind {
    PROCESS_ATTRIBUTES,
    PROCESS_FILTER,
    PROCESS_REDACTION,
    PROCESS_RENAME,
    PROCESS_RESOURCE,
};

/* Conditions, one a line, all of which must hold; NULL or "": none.  "OP VALUE" or "VALUE" with
 * = != =~ !~ (kind and status: = !=; duration: > < >= <=); attribute: "KEY" or "KEY OP VALUE". */
struct process_match {
    const char *service, *name, *kind, *status, *duration, *attribute;
};

enum process_action { /* the order of the words in [processor.attributes.NAME] */
                      PROCESS_INSERT,
                      PROCESS_UPDATE,
                      PROCESS_UPSERT,
                      PROCESS_DELETE,
                      PROCESS_HASH,
                      PROCESS_MOVE, /* rename */
};
enum process_place {
    PROCESS_ON_SPAN,
    PROCESS_ON_RESOURCE,
    PROCESS_ON_SCOPE,
    PROCESS_ON_EVENT,
    PROCESS_ON_LINK
};
enum process_type { PROCESS_STRING, PROCESS_INT, PROCESS_DOUBLE, PROCESS_BOOL };
enum process_mode { PROCESS_MASK, PROCESS_MODE_HASH, PROCESS_MODE_DELETE };

struct process_attributes {
    enum process_action action;
    enum process_place on;
    enum process_type type;
    const char *key, *new_key;  /* of delete and hash: key may be a pattern with * and ? */
    const char *value;          /* NULL: none */
    const char *from_attribute; /* instead of value; "": none */
};
struct process_filter {
    bool keep; /* what matches, and nothing else */
};
struct process_redaction {
    const char *keys, *ignored_keys, *presets; /* words with blanks between them */
    const char *patterns;                      /* a regular expression a line */
    enum process_mode mode;
    const char *mask;
    bool names; /* also names of spans and events, and status messages */
};
struct process_rename {
    const char *template; /* "{KEY|KEY} text {KEY}" */
};
struct process_pair {
    struct fm_slice key, value;
};
struct process_resource { /* inserted, never overwritten */
    const struct process_pair *pairs;
    size_t pair_count;
};

struct process_rule {
    enum process_kind kind;
    const char *name;           /* "attributes.NAME"; for counters */
    struct process_match match; /* attributes, filter, rename */
    union {
        struct process_attributes attributes;
        struct process_filter filter;
        struct process_redaction redaction;
        struct process_rename rename;
        struct process_resource resource;
    };
};

/* What is wrong with which setting of which rule. */
struct process_fault {
    size_t rule;
    const char *key;      /* "match_name" */
    struct fm_why why;    /* what is wrong */
    const char *accepted; /* what would be right; may be NULL */
};

/* Compiled rules: immutable, shared by any number of threads. */
struct process;
/* Copies what it needs.  FM_ECONFIG fills fault; FM_ENOMEM. */
FM_MUST int process_new(struct process **ret_process, const struct process_rule *rules,
                        size_t rule_count, struct process_fault *fault);
struct process *process_free(struct process *process);
FM_DEFINE_AUTO(process)
size_t process_rule_count(const struct process *process);
const char *process_rule_name(const struct process *process, size_t rule);

/* Of the last run, by rule. */
struct process_tally {
    uint64_t changed;  /* spans, resources and scopes that the rule changed */
    uint64_t dropped;  /* spans */
    uint64_t redacted; /* values and names */
};

/* Scratch of one thread; knows one process. */
struct process_state;
FM_MUST int process_state_new(struct process_state **ret_state, const struct process *process);
struct process_state *process_state_free(struct process_state *state);
FM_DEFINE_AUTO(process_state)
/* Runs the rules in their order over canonical OTLP: bytes that otlp_pb_check found nothing to
 * mend in.  FM_NONE: nothing changed, target is as it was; FM_OK: target got what is left, which
 * may be no span at all and may hold values longer than a limit.  FM_ELIMIT: target has no room, or
 * one span needs too much memory; FM_EMALFORMED; FM_ENOMEM. */
FM_MUST int process_run(struct process_state *state, struct fm_slice request,
                        struct fm_buf *target);
const struct process_tally *process_tallies(const struct process_state *state);

#endif
