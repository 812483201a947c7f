/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of traceql share. */
#ifndef TRACEQL_INTERNAL_H
#define TRACEQL_INTERNAL_H

#include "fermata/traceql.h"

#include "lexer.h"

/* Parentheses may nest deeper than the tree, for a printed tree has some of its own. */
#define PARSE_NESTING_MAX (2 * TRACEQL_DEPTH_MAX + 64)

/* ---- parse ---- */

/* The first failure sticks in lexer.rc; everything returns NULL or nothing from there on. */
struct parse {
    struct lexer lexer;
    struct fm_arena *arena;
    unsigned nesting; /* of calls */
    bool lenient;
};
void *parse_alloc(struct parse *parse, size_t size);
bool parse_is(const struct parse *parse, enum lexer_kind kind);
bool parse_take(struct parse *parse, enum lexer_kind kind);
/* Takes kind or fails, naming expected ("a or b"; "": nothing; NULL: kind's own name). */
bool parse_expect(struct parse *parse, enum lexer_kind kind, const char *expected);
/* "syntax error: unexpected T, expecting U". */
void parse_refuse(struct parse *parse, const char *expected);
bool parse_failed(const struct parse *parse);
bool parse_enter(struct parse *parse);
void parse_leave(struct parse *parse);
void parse_too_deep(struct parse *parse);

/* expression.c */
struct traceql_expression *parse_expression(struct parse *parse);
bool parse_field(struct parse *parse, struct traceql_field *field);
bool parse_literal(struct parse *parse, struct traceql_value *value);
/* field {"," field} ")"; the parenthesis is open. */
void parse_fields(struct parse *parse, struct traceql_field **ret_fields, uint32_t *ret_count);
enum traceql_op parse_comparison(enum lexer_kind kind); /* TRACEQL_ADD: it is none */
int parse_level(enum lexer_kind kind);                  /* 0: no binary operator */

/* stage.c; filter may be called where a brace is next. */
void parse_pipeline(struct parse *parse, struct traceql_query *query);
struct traceql_stage *parse_filter(struct parse *parse);
/* metrics.c */
bool parse_is_metrics(enum lexer_kind kind);
void parse_metrics(struct parse *parse, struct traceql_query *query);
void parse_hints(struct parse *parse, struct traceql_query *query);
bool parse_expect_integer(struct parse *parse, int64_t *ret_value);

/* ---- fold: operations on literals ---- */

bool fold_unary(enum traceql_op op, struct traceql_value *value);
bool fold_binary(enum traceql_op op, const struct traceql_value *left,
                 const struct traceql_value *right, struct traceql_value *ret_value);

/* ---- types ---- */

enum traceql_type type_of(const struct traceql_expression *expression);
bool type_is_number(enum traceql_type type);
bool type_matches(enum traceql_type left, enum traceql_type right);
bool type_allows(enum traceql_op op, enum traceql_type type);

/* ---- print ---- */

/* Chains of && and || are as long as the text allows: nothing may recurse along them.  Appends
 * pointers to the nodes of a chain, its top first, so its left end is in the last. */
bool print_is_chain(const struct traceql_expression *expression);
size_t print_chain(const struct traceql_expression *top, struct fm_buf *nodes);
const struct traceql_expression *print_chain_at(const struct fm_buf *nodes, size_t index);

struct print {
    struct fm_buf *out;
    bool wrapped; /* chains with all their parentheses, as error texts have them */
};
void print_expression(const struct print *print, const struct traceql_expression *expression);
void print_stage(const struct print *print, const struct traceql_stage *stage);
void print_scalar(const struct print *print, const struct traceql_scalar *scalar);
const char *print_op(enum traceql_op op, enum traceql_relation relation);

#endif
