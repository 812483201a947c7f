/* SPDX-License-Identifier: Apache-2.0 */
/* process, private: compiled rules, and the view of one message that rules work on.
 *
 * A view is a list of attributes that point into the request.  Rules mark attributes and add some;
 * only a message that was marked is encoded anew, from its own bytes and the marks.
 */
#ifndef PROCESS_INTERNAL_H
#define PROCESS_INTERNAL_H

#include "fermata/bytes.h"
#include "fermata/pb.h"
#include "fermata/process.h"
#include "fermata/regex.h"

#define PROCESS_DEPTH_MAX    64      /* of values, as the decoder leaves them */
#define PROCESS_ATTRS_MAX    262144u /* of a span with its events and links */
#define PROCESS_HOLDERS_MAX  65536u  /* events and links of a span */
#define PROCESS_SCRATCH_MAX  FM_MIB(32)
#define PROCESS_IDLE_ATTRS   4096u /* more room than that is given back after a run */
#define PROCESS_NAME_LEN_MAX 4096u /* of a name that was put together */

/* ---- messages and views ---- */

/* Where a message with attributes keeps them, and its text. */
struct process_shape {
    uint32_t attributes, text; /* field numbers; text 0: none */
};
extern const struct process_shape process_resource_shape, process_scope_shape, process_span_shape,
    process_event_shape, process_link_shape;

enum process_mark { PROCESS_KEPT, PROCESS_CHANGED, PROCESS_GONE };
struct process_attr {
    struct fm_slice key, value; /* value: the content of AnyValue; ptr NULL: has none */
    enum process_mark mark;
    struct process_attr *next; /* of those added */
};

/* One message with attributes. */
struct process_holder {
    const struct process_shape *shape;
    struct fm_slice content;
    uint32_t first, count;      /* in state->attrs, in the order of the message */
    struct process_attr *added; /* newest last */
    struct fm_slice text;       /* name of a span or event */
    bool text_changed, changed;
};

struct process_span {
    struct process_holder own;
    uint64_t kind, status, start_ns, end_ns;
    struct fm_slice status_raw, message; /* content of Status, and its message */
    bool message_changed;
    uint32_t nested_first, nested_count; /* events and links, in state->holders, in order */
    bool nested_changed;
};

/* ---- rules ---- */

enum process_op {
    OP_EQUAL,
    OP_UNEQUAL,
    OP_LIKE,
    OP_UNLIKE,
    OP_MORE,
    OP_LESS,
    OP_MORE_EQUAL,
    OP_LESS_EQUAL,
    OP_EXISTS
};
enum process_subject { ON_SERVICE, ON_NAME, ON_KIND, ON_STATUS, ON_DURATION, ON_ATTRIBUTE };
struct process_condition {
    enum process_subject subject;
    enum process_op op;
    bool of_resource; /* the key is the resource's only */
    bool has_number;
    struct fm_slice key, text;
    double number;
    uint64_t whole;      /* kind, status, duration in ns */
    struct regex *regex; /* owned */
    uint32_t matcher;    /* in state->matchers */
    uint32_t index;      /* in state->known */
};

/* An attribute that a rule reads: the span's, else the resource's. */
struct process_lookup {
    struct fm_slice key;
    bool of_resource;
    uint32_t index; /* in state->borrowed */
};

struct process_pattern { /* a regular expression that is looked for inside of a text */
    struct regex *regex;
    uint32_t matcher;
};

/* A piece of a template: text, or the first of some attributes. */
struct process_piece {
    struct fm_slice text;
    struct process_lookup *lookups;
    uint32_t lookup_count;
};

struct process_new_attr {
    struct fm_slice key, value;
};

struct process_compiled {
    enum process_kind kind;
    const char *name;
    struct process_condition *conditions;
    uint32_t condition_count;
    /* attributes; resource: new_attrs */
    enum process_action action;
    enum process_place on;
    bool key_is_glob, inert; /* inert: its value is not there */
    struct fm_slice key, new_key, value;
    struct process_lookup *from; /* NULL: value */
    struct process_new_attr *new_attrs;
    uint32_t new_attr_count;
    /* filter */
    bool keep;
    /* redaction */
    struct fm_slice *globs, *ignored;
    uint32_t glob_count, ignored_count, presets;
    struct process_pattern *patterns;
    uint32_t pattern_count;
    enum process_mode mode;
    struct fm_slice mask, mask_value;
    bool names;
    /* rename */
    struct process_piece *pieces;
    uint32_t piece_count;
};

struct process {
    struct fm_arena arena; /* owns all but the regexes */
    struct process_compiled *rules;
    size_t rule_count;
    const struct regex **regexes; /* by matcher; owned by their conditions and patterns */
    uint32_t regex_count, regex_cap, condition_count, lookup_count;
};

/* ---- presets of redaction ---- */

enum process_preset { PRESET_EMAIL = 1, PRESET_CARD = 2, PRESET_ADDRESS = 4, PRESET_TOKEN = 8 };
struct process_found {
    size_t start, len; /* len 0: nothing */
};
/* The next match of one preset at or behind from; linear in the text over all calls. */
struct process_found process_find_email(struct fm_slice text, size_t from);
struct process_found process_find_card(struct fm_slice text, size_t from);
struct process_found process_find_address(struct fm_slice text, size_t from);
struct process_found process_find_token(struct fm_slice text, size_t from);

/* ---- one thread's state ---- */

/* An envelope around what is being looked at; it is in target only once something changed. */
struct process_level {
    struct pb_field field;
    bool is_open;
    size_t start, mark; /* in target */
};

struct process_state {
    const struct process *process;
    struct regex_matcher **matchers; /* owned */
    bool *known;                     /* by condition: the answer by the resource alone */
    bool *possible;                  /* by rule: something of this resource may match */
    struct fm_slice *borrowed;       /* by lookup: the resource's value; ptr NULL: none */
    uint32_t *active;                /* rules that spans of this resource meet */
    uint32_t active_count;
    bool needs_nested, needs_scope;
    struct process_attr *attrs; /* of resource, scope, span and its events, in this order */
    uint32_t attr_count, attr_cap;
    struct process_holder *holders; /* events and links of the span */
    uint32_t holder_count, holder_cap;
    struct fm_arena resource_arena, span_arena;
    struct fm_arena *arena;        /* the one in use */
    struct fm_buf scratch, nested; /* nested: a value with values in it */
    struct process_tally *tallies;
    int rc; /* what went wrong other than malformed input */

    /* The result, begun at the first change. */
    struct fm_buf *target;
    size_t request_len;
    const uint8_t *copied; /* the request up to here is in target, or left out */
    bool changed;
    struct process_level levels[2]; /* ResourceSpans, ScopeSpans */
    uint32_t depth;
};

/* view.c */
int process_view(struct process_state *state, const struct process_shape *shape,
                 struct fm_slice content, struct process_holder *ret_holder);
int process_view_span(struct process_state *state, struct fm_slice content,
                      struct process_span *ret_span);
/* The next attribute with the key behind previous (NULL: the first). */
struct process_attr *process_attr_find(const struct process_state *state,
                                       const struct process_holder *holder, struct fm_slice key,
                                       const struct process_attr *previous);
/* Every attribute that is there: start with NULL. */
struct process_attr *process_attr_next(const struct process_state *state,
                                       const struct process_holder *holder,
                                       const struct process_attr *previous);
void process_attr_set(struct process_holder *holder, struct process_attr *attr,
                      struct fm_slice value);
void process_attr_remove(struct process_holder *holder, struct process_attr *attr);
bool process_attr_add(struct process_state *state, struct process_holder *holder,
                      struct fm_slice key, struct fm_slice value);

/* write.c */
void process_put_holder(const struct process_state *state, const struct process_holder *holder,
                        struct fm_buf *out);
void process_put_span(const struct process_state *state, const struct process_span *span,
                      struct fm_buf *out);

/* value.c */
/* The member of AnyValue's oneof; number 0: none. */
struct pb_field process_value_member(struct fm_slice value);
/* Text of a string, number or bool; false: none of these. room: at least 32 bytes. */
bool process_value_text(struct fm_slice value, char room[32], struct fm_slice *ret_text);
bool process_value_number(struct fm_slice value, double *ret_number);
/* AnyValue contents in the arena; ptr NULL: no memory. */
struct fm_slice process_value_string(struct fm_arena *arena, struct fm_slice text);
struct fm_slice process_value_hash(struct fm_arena *arena, struct fm_slice value);
void process_hash_text(struct fm_slice bytes, char text[64]);
bool process_parse_double(struct fm_slice text, double *ret_number);

/* match.c */
int process_compile_match(struct process *process, const struct process_match *match,
                          struct process_compiled *rule, struct process_fault *fault);
/* By the resource alone: fills known; false: no span of it can match. */
bool process_match_resource(struct process_state *state, const struct process_compiled *rule,
                            const struct process_holder *resource);
/* After that: a resource rule is done; a scope's by its own attributes; a span's. */
bool process_match_scope(struct process_state *state, const struct process_compiled *rule,
                         const struct process_holder *scope);
bool process_match_span(struct process_state *state, const struct process_compiled *rule,
                        const struct process_span *span);
bool process_glob(struct fm_slice pattern, struct fm_slice text);
void process_lookup_resource(struct process_state *state, const struct process_lookup *lookup,
                             const struct process_holder *resource);
/* ptr NULL: not there. holder: of the span or scope, may be NULL. */
struct fm_slice process_lookup_value(const struct process_state *state,
                                     const struct process_lookup *lookup,
                                     const struct process_holder *holder);

/* compile.c */
int process_add_regex(struct process *process, struct regex *regex, uint32_t *ret_matcher);
struct process_lookup process_compile_lookup(struct process *process, struct fm_slice key);
/* Goes through "a\nb": the next line that is not empty, trimmed; false: none left. */
bool process_next_line(struct fm_slice *rest, uint8_t separator, struct fm_slice *ret_line);

/* The rules themselves: each returns whether it changed anything. */
bool process_apply_attributes(struct process_state *state, const struct process_compiled *rule,
                              struct process_holder *holder);
bool process_apply_resource(struct process_state *state, const struct process_compiled *rule,
                            struct process_holder *holder);
bool process_apply_rename(struct process_state *state, const struct process_compiled *rule,
                          struct process_span *span);
bool process_redact_holder(struct process_state *state, const struct process_compiled *rule,
                           struct process_holder *holder, struct process_tally *tally);
bool process_redact_text(struct process_state *state, const struct process_compiled *rule,
                         struct fm_slice *text, struct process_tally *tally);

#endif
