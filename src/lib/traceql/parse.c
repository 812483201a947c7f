/* SPDX-License-Identifier: Apache-2.0 */
/* Entry points of parsing, and what its files share: a recursive descent with one token ahead; the
 * precedence of operators is in the tables of expression.c and stage.c. */
#include "internal.h"

void *parse_alloc(struct parse *parse, size_t size)
{
    void *node = parse_failed(parse) ? NULL : fm_arena_zalloc(parse->arena, size);

    if (!node && !parse->lexer.rc)
        parse->lexer.rc = FM_ENOMEM;
    return node;
}

bool parse_failed(const struct parse *parse)
{
    return parse->lexer.rc != 0;
}

bool parse_is(const struct parse *parse, enum lexer_kind kind)
{
    return !parse->lexer.rc && parse->lexer.token.kind == kind;
}

bool parse_take(struct parse *parse, enum lexer_kind kind)
{
    if (!parse_is(parse, kind))
        return false;
    lexer_next(&parse->lexer);
    return true;
}

void parse_refuse(struct parse *parse, const char *expected)
{
    (void)lexer_fail(&parse->lexer, "syntax error: unexpected %s%s%s",
                     lexer_kind_name(parse->lexer.token.kind), expected ? ", expecting " : "",
                     expected ? expected : "");
}

bool parse_expect(struct parse *parse, enum lexer_kind kind, const char *expected)
{
    if (parse_is(parse, kind)) {
        lexer_next(&parse->lexer);
        return true;
    }
    parse_refuse(parse, !expected ? lexer_kind_name(kind) : *expected ? expected : NULL);
    return false;
}

void parse_too_deep(struct parse *parse)
{
    if (!parse->lexer.rc)
        parse->lexer.rc = fm_fail(&parse->lexer.why, FM_ELIMIT,
                                  "query is nested deeper than %d levels", TRACEQL_DEPTH_MAX);
}

bool parse_enter(struct parse *parse)
{
    if (parse->nesting++ >= PARSE_NESTING_MAX)
        parse_too_deep(parse);
    return !parse_failed(parse);
}

void parse_leave(struct parse *parse)
{
    parse->nesting--;
}

static int parse_begin(struct parse *parse, struct fm_slice text, struct fm_arena *arena,
                       struct fm_why *why)
{
    *parse = (struct parse){.arena = arena};
    if (text.len > TRACEQL_TEXT_MAX)
        return fm_fail(why, FM_ELIMIT, "query is longer than %zu bytes", TRACEQL_TEXT_MAX);
    lexer_init(&parse->lexer, text, arena);
    if (!parse_failed(parse))
        lexer_next(&parse->lexer);
    return FM_OK;
}

static int parse_finish(struct parse *parse, struct fm_why *why)
{
    int rc = parse->lexer.rc;

    if (!rc && fm_arena_failed(parse->arena))
        rc = FM_ENOMEM;
    if (rc == FM_ENOMEM)
        return fm_fail(why, rc, "%s", fm_rc_text(rc));
    return rc < 0 ? fm_fail(why, rc, "%s", parse->lexer.why.text) : FM_OK;
}

int traceql_parse(struct fm_slice text, struct fm_arena *arena, struct traceql_query **ret_query,
                  struct fm_why *why)
{
    struct parse parse;
    int rc = parse_begin(&parse, text, arena, why);

    if (rc < 0)
        return rc;
    struct traceql_query *query = parse_alloc(&parse, sizeof *query);
    if (query)
        parse_pipeline(&parse, query);
    while (parse_is(&parse, LEXER_WITH))
        parse_hints(&parse, query);
    if (!parse_failed(&parse) && !parse_is(&parse, LEXER_END))
        parse_refuse(&parse, "with");
    rc = parse_finish(&parse, why);
    if (rc < 0)
        return rc;
    *ret_query = query;
    return FM_OK;
}

/* The text stands between braces, so positions count one of them. */
int traceql_parse_field(struct fm_slice text, struct fm_arena *arena,
                        struct traceql_field *ret_field, struct fm_why *why)
{
    struct traceql_query *query;
    struct fm_buf braced;
    struct fm_why problem = {""};
    int shown = (int)FM_MIN(text.len, (size_t)120);

    fm_buf_init(&braced, TRACEQL_TEXT_MAX + 2);
    fm_buf_put_u8(&braced, '{');
    fm_buf_put_slice(&braced, text);
    fm_buf_put_u8(&braced, '}');
    int rc = text.len > TRACEQL_TEXT_MAX ? FM_ELIMIT : braced.failed ? FM_ENOMEM : FM_OK;
    if (rc < 0)
        (void)fm_fail(&problem, rc, "%s", fm_rc_text(rc));
    else
        rc = traceql_parse(fm_buf_slice(&braced), arena, &query, &problem);
    fm_buf_fini(&braced);
    if (rc < 0)
        return fm_fail(why, rc, "failed to parse identifier %.*s: %s", shown,
                       (const char *)text.ptr, problem.text);
    const struct traceql_stage *stage = query->first;
    if (stage->kind != TRACEQL_FILTER || stage->next || query->metrics || !stage->expression ||
        stage->expression->kind != TRACEQL_FIELD)
        return fm_fail(why, FM_EMALFORMED, "failed to parse identifier %.*s: not an attribute",
                       shown, (const char *)text.ptr);
    *ret_field = stage->expression->field;
    return FM_OK;
}
