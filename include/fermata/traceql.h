/* SPDX-License-Identifier: Apache-2.0 */
/* traceql - the query language of Grafana Tempo 3.0: text to tree, tree to text, and the checks
 * that say what is wrong in the words that users of Tempo know.  Pure; docs/traceql.md.
 *
 * The tree lives in the caller's arena and borrows nothing else.  parse -> print -> parse is a
 * fixed point.
 */
#ifndef FERMATA_TRACEQL_H
#define FERMATA_TRACEQL_H

#include "fermata/traceql_tree.h"

#define TRACEQL_TEXT_MAX  FM_KIB(128)
#define TRACEQL_DEPTH_MAX 256

/* FM_EMALFORMED: why holds "parse error at line L, col C: ..."; FM_ELIMIT: longer than
 * TRACEQL_TEXT_MAX or deeper than TRACEQL_DEPTH_MAX; FM_ENOMEM: the arena is full. */
FM_MUST int traceql_parse(struct fm_slice text, struct fm_arena *arena,
                          struct traceql_query **ret_query, struct fm_why *why);
/* The half-typed query of an autocompletion: what can be saved is kept, incomplete matchers go; an
 * empty filter if nothing can. */
FM_MUST int traceql_parse_lenient(struct fm_slice text, struct fm_arena *arena,
                                  struct traceql_query **ret_query);
/* One field, as in the URL of tag values and in by(): "resource.service.name", "span:kind".
 * FM_EMALFORMED: "failed to parse identifier TEXT: parse error at ...". */
FM_MUST int traceql_parse_field(struct fm_slice text, struct fm_arena *arena,
                                struct traceql_field *ret_field, struct fm_why *why);
/* Types, operands, arities, patterns: FM_EMALFORMED with Tempo's words. */
FM_MUST int traceql_check(const struct traceql_query *query, struct fm_why *why);

void traceql_print(const struct traceql_query *query, struct fm_buf *out);
void traceql_print_expression(const struct traceql_expression *expression, struct fm_buf *out);
void traceql_print_field(const struct traceql_field *field, struct fm_buf *out);
void traceql_print_value(const struct traceql_value *value, struct fm_buf *out);

#endif
