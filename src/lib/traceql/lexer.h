/* SPDX-License-Identifier: Apache-2.0 */
/* lexer - text to tokens, one ahead of the parser.  Private to traceql.
 *
 * There are two modes: behind a scope (".", "span.", ...) nearly every character is part of the
 * attribute's name, and a token without text marks its end.  Positions are those that users know
 * from Tempo: the line is 0 where the token was put together from several scans. */
#ifndef TRACEQL_LEXER_H
#define TRACEQL_LEXER_H

#include "fermata/base.h"

/* clang-format off */
#define LEXER_TOKENS(X)                                                                            \
    X(END, "$end") X(IDENTIFIER, "IDENTIFIER") X(STRING, "STRING") X(INTEGER, "INTEGER")           \
    X(FLOAT, "FLOAT") X(DURATION, "DURATION") X(END_ATTRIBUTE, "END_ATTRIBUTE")                    \
    /* made of signs */                                                                            \
    X(COMMA, ",") X(DOT, ".") X(OPEN_BRACE, "{") X(CLOSE_BRACE, "}") X(OPEN, "(") X(CLOSE, ")")    \
    X(EQ, "=") X(NE, "!=") X(MATCH, "=~") X(NOT_MATCH, "!~") X(GT, ">") X(GE, ">=") X(LT, "<")     \
    X(LE, "<=") X(PLUS, "+") X(MINUS, "-") X(DIV, "/") X(MOD, "%") X(MUL, "*") X(POW, "^")         \
    X(AND, "&&") X(OR, "||") X(NOT, "!") X(PIPE, "|") X(DESCENDANT, ">>") X(ANCESTOR, "<<")        \
    X(SIBLING, "~") X(NOT_CHILD, "!>") X(NOT_PARENT, "!<") X(NOT_DESCENDANT, "!>>")                \
    X(NOT_ANCESTOR, "!<<") X(UNION_SIBLING, "&~") X(UNION_CHILD, "&>") X(UNION_PARENT, "&<")       \
    X(UNION_DESCENDANT, "&>>") X(UNION_ANCESTOR, "&<<")                                            \
    /* scopes */                                                                                   \
    X(PARENT_DOT, "parent.") X(RESOURCE_DOT, "resource.") X(SPAN_DOT, "span.")                     \
    X(EVENT_DOT, "event.") X(LINK_DOT, "link.") X(SCOPE_DOT, "instrumentation.")                   \
    X(TRACE_COLON, "trace:") X(SPAN_COLON, "span:") X(EVENT_COLON, "event:")                       \
    X(LINK_COLON, "link:") X(SCOPE_COLON, "instrumentation:")                                      \
    /* words */                                                                                    \
    X(TRUE, "true") X(FALSE, "false") X(NIL, "nil") X(OK, "ok") X(ERROR, "error")                  \
    X(UNSET, "unset") X(UNSPECIFIED, "unspecified") X(INTERNAL, "internal") X(SERVER, "server")    \
    X(CLIENT, "client") X(PRODUCER, "producer") X(CONSUMER, "consumer")                            \
    X(SPAN_DURATION, "duration") X(CHILD_COUNT, "childCount") X(NAME, "name")                      \
    X(STATUS, "status") X(STATUS_MESSAGE, "statusMessage") X(KIND, "kind")                         \
    X(ROOT_NAME, "rootName") X(ROOT_SERVICE_NAME, "rootServiceName")                               \
    X(ROOT_SERVICE, "rootService") X(TRACE_DURATION, "traceDuration")                              \
    X(NESTED_LEFT, "nestedSetLeft") X(NESTED_RIGHT, "nestedSetRight")                              \
    X(NESTED_PARENT, "nestedSetParent") X(ID, "id") X(TRACE_ID, "traceID") X(SPAN_ID, "spanID")    \
    X(PARENT_ID, "parentID") X(TIME_SINCE_START, "timeSinceStart") X(VERSION, "version")           \
    X(PARENT, "parent") X(COUNT, "count") X(AVG, "avg") X(MAX, "max") X(MIN, "min")                \
    X(SUM, "sum") X(BY, "by") X(COALESCE, "coalesce") X(SELECT, "select") X(RATE, "rate")          \
    X(COUNT_OVER_TIME, "count_over_time") X(MIN_OVER_TIME, "min_over_time")                        \
    X(MAX_OVER_TIME, "max_over_time") X(AVG_OVER_TIME, "avg_over_time")                            \
    X(SUM_OVER_TIME, "sum_over_time") X(QUANTILE_OVER_TIME, "quantile_over_time")                  \
    X(HISTOGRAM_OVER_TIME, "histogram_over_time") X(COMPARE, "compare") X(TOPK, "topk")            \
    X(BOTTOMK, "bottomk") X(WITH, "with")
/* clang-format on */

enum lexer_kind {
#define X(name, text) LEXER_##name,
    LEXER_TOKENS(X)
#undef X
        LEXER_KIND_COUNT,
};

struct lexer_token {
    enum lexer_kind kind;
    uint32_t line, column;
    struct fm_slice text; /* STRING and names: decoded, in the arena; words: of the input */
    int64_t integer;      /* INTEGER, DURATION in ns */
    double number;        /* FLOAT */
    size_t begin, end;    /* bytes of the input */
};

struct lexer {
    struct fm_slice text;
    struct fm_arena *arena;
    size_t next;        /* behind ch */
    size_t ch_at;       /* first byte of ch */
    int32_t ch;         /* looked at, not taken; -1 at the end */
    uint32_t line;      /* of ch; column too */
    uint32_t column;    /* 0: ch follows a line feed that was read but not passed */
    uint32_t last_line; /* length of the line before, for a position at its end */
    bool read_any;      /* a character came before the end */
    bool in_attribute;
    enum lexer_kind scope; /* that opened the attribute */
    bool lenient;          /* errors are passed over where something can follow */
    struct lexer_token token;
    int rc;
    struct fm_why why;
};

void lexer_init(struct lexer *lexer, struct fm_slice text, struct fm_arena *arena);
/* The next token into lexer->token.  A failure is kept in rc, with the reason in why. */
void lexer_next(struct lexer *lexer);
const char *lexer_kind_name(enum lexer_kind kind);
/* "parse error at line L, col C: ...", once: the first failure stays. */
int lexer_fail(struct lexer *lexer, const char *format, ...) FM_PRINTF(2, 3);

/* Characters that end a bare name; -1 too. */
bool lexer_is_name_character(int32_t ch);
/* Code point at the front of text, its length in bytes; -1 if it is not UTF-8 (length 1). */
int32_t lexer_decode(struct fm_slice text, size_t *ret_len);
size_t lexer_encode(int32_t ch, uint8_t target[4]);

/* "1h30m", "2d", "1.5s", "100us": false if it is none (or out of range). */
bool duration_parse(struct fm_slice text, int64_t *ret_ns);
/* The decoded text of a quoted literal, quotes included in text; false: the escapes say nonsense.
 */
bool literal_unquote(struct fm_slice text, struct fm_arena *arena, struct fm_slice *ret_text);

#endif
