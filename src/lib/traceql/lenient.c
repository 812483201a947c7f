/* SPDX-License-Identifier: Apache-2.0 */
/* Half-typed queries.  Between braces, each operand of && and || is tried alone; those that do not
 * parse, or do not pass the check, demand nothing, and so does a field without a comparison: it is
 * what stands there before the operator is typed.  x && nothing is x, x || nothing is nothing. What
 * is left open is closed; connectors without an operand go. */
#include "internal.h"

struct lenient_piece {
    enum lexer_kind kind;
    size_t begin, end;
};

struct lenient {
    struct fm_slice text;
    const struct lenient_piece *pieces;
    size_t count;
    struct fm_arena *arena;
    struct fm_buf out;
    unsigned depth;
    int rc; /* FM_ENOMEM */
};

/* ---- what a tree demands ---- */

static struct traceql_expression *lenient_prune(struct traceql_expression *top)
{
    struct traceql_expression *kept = NULL;
    struct fm_buf nodes;

    if (!top || top->kind == TRACEQL_FIELD)
        return NULL;
    if (!print_is_chain(top))
        return top;
    fm_buf_init(&nodes, SIZE_MAX / 2);
    size_t count = print_chain(top, &nodes);
    for (size_t i = count; i-- > 0;) {
        struct traceql_expression *node;
        memcpy(&node, nodes.ptr + i * sizeof node, sizeof node);
        if (i + 1 == count)
            kept = lenient_prune(node->left);
        struct traceql_expression *right = lenient_prune(node->right);
        if (kept && right) {
            node->left = kept;
            node->right = right;
            kept = node;
        } else if (node->op == TRACEQL_OR) {
            kept = NULL;
        } else if (right) {
            kept = right;
        }
    }
    fm_buf_fini(&nodes);
    return count ? kept : top;
}

static void lenient_prune_stages(struct traceql_stage *stage)
{
    for (; stage; stage = stage->next) {
        if (stage->kind == TRACEQL_FILTER) {
            stage->expression = lenient_prune(stage->expression);
        } else if (stage->kind == TRACEQL_OPERATION) {
            lenient_prune_stages(stage->left);
            lenient_prune_stages(stage->right);
        } else if (stage->kind == TRACEQL_PIPELINE) {
            lenient_prune_stages(stage->first);
        }
    }
}

/* FM_NONE: not a query that can be run. */
static int lenient_try(struct fm_slice text, struct fm_arena *arena,
                       struct traceql_query **ret_query)
{
    struct traceql_query *query;
    int rc = traceql_parse(text, arena, &query, NULL);

    if (rc == FM_OK) {
        lenient_prune_stages(query->first);
        rc = traceql_check(query, NULL);
    }
    if (rc < 0)
        return rc == FM_ENOMEM ? rc : FM_NONE;
    *ret_query = query;
    return FM_OK;
}

/* ---- what can be saved of a text ---- */

static struct fm_slice lenient_text(const struct lenient *lenient, size_t begin, size_t end)
{
    size_t from = lenient->pieces[begin].begin;

    return fm_slice(lenient->text.ptr + from, lenient->pieces[end - 1].end - from);
}

static bool lenient_is_sound(struct lenient *lenient, size_t begin, size_t end)
{
    struct traceql_query *query;
    struct fm_buf text;

    fm_buf_init(&text, TRACEQL_TEXT_MAX + 2);
    fm_buf_puts(&text, "{");
    fm_buf_put_slice(&text, lenient_text(lenient, begin, end));
    fm_buf_puts(&text, "\n}"); /* a line comment may be the end */
    int rc = text.failed ? FM_ENOMEM : lenient_try(fm_buf_slice(&text), lenient->arena, &query);
    fm_buf_fini(&text);
    if (rc == FM_ENOMEM)
        lenient->rc = rc;
    /* A lone field is as good as nothing. */
    return rc == FM_OK && query->first->expression;
}

/* Behind the operand at begin: a connector or a closing parenthesis at this level. */
static size_t lenient_operand_end(const struct lenient *lenient, size_t begin, size_t end)
{
    size_t depth = 0;

    for (; begin < end; begin++) {
        enum lexer_kind kind = lenient->pieces[begin].kind;
        if (kind == LEXER_OPEN)
            depth++;
        else if (kind == LEXER_CLOSE && depth)
            depth--;
        else if (!depth && (kind == LEXER_AND || kind == LEXER_OR || kind == LEXER_CLOSE))
            break;
    }
    return begin;
}

static void lenient_save_chain(struct lenient *lenient, size_t begin, size_t end);

/* Appends what is sound of one operand; nothing if nothing is. */
static void lenient_save_operand(struct lenient *lenient, size_t begin, size_t end)
{
    size_t rewind = lenient->out.len;

    if (lenient_is_sound(lenient, begin, end)) {
        fm_buf_put_slice(&lenient->out, lenient_text(lenient, begin, end));
        fm_buf_puts(&lenient->out, "\n"); /* a line comment may be the end */
        return;
    }
    if (lenient->pieces[begin].kind != LEXER_OPEN)
        return;
    bool closed = lenient->pieces[end - 1].kind == LEXER_CLOSE;
    fm_buf_puts(&lenient->out, "(");
    lenient_save_chain(lenient, begin + 1, end - closed);
    if (lenient->out.len == rewind + 1)
        lenient->out.len = rewind;
    else
        fm_buf_puts(&lenient->out, ")");
}

static void lenient_save_chain(struct lenient *lenient, size_t begin, size_t end)
{
    size_t chain = lenient->out.len;
    enum lexer_kind connector = LEXER_AND;
    bool any = false; /* an operand came */

    if (lenient->depth >= TRACEQL_DEPTH_MAX)
        return;
    lenient->depth++;
    while (begin < end && !lenient->rc) {
        size_t stop = lenient_operand_end(lenient, begin, end);
        size_t rewind = lenient->out.len;
        if (stop > begin) {
            bool both = rewind > chain;
            if (both)
                fm_buf_puts(&lenient->out, connector == LEXER_OR ? " || " : " && ");
            size_t empty = lenient->out.len;
            lenient_save_operand(lenient, begin, stop);
            both &= lenient->out.len > empty;
            if (lenient->out.len == empty)
                lenient->out.len = rewind;
            if (any && connector == LEXER_OR && !both)
                lenient->out.len = chain;
            any = true;
        }
        if (stop < end)
            connector = lenient->pieces[stop].kind;
        begin = stop + 1;
    }
    lenient->depth--;
}

static void lenient_save(struct lenient *lenient)
{
    size_t last = 0, i = 0, kept = 0;

    while (i < lenient->count && lenient->pieces[i].kind != LEXER_PIPE && !lenient->rc) {
        size_t begin = i;
        if (lenient->pieces[i].kind != LEXER_OPEN_BRACE) {
            fm_buf_put_slice(&lenient->out, lenient_text(lenient, i, i + 1));
            fm_buf_puts(&lenient->out, " ");
            i++;
            continue;
        }
        while (i < lenient->count && lenient->pieces[i].kind != LEXER_CLOSE_BRACE)
            i++;
        fm_buf_puts(&lenient->out, "{ ");
        lenient_save_chain(lenient, begin + 1, i);
        fm_buf_puts(&lenient->out, " } ");
        last = lenient->out.len;
        i += i < lenient->count;
        for (kept = i; kept < lenient->count && lenient->pieces[kept].kind == LEXER_CLOSE; kept++)
            last += 2; /* the parentheses that close behind the brace, as they will be written */
    }
    /* An operator with nothing behind it goes. */
    lenient->out.len = FM_MIN(last, lenient->out.len);
}

static int lenient_split(struct lenient *lenient)
{
    struct lexer lexer;
    struct lenient_piece *pieces =
        fm_arena_alloc(lenient->arena, (lenient->text.len + 1) * sizeof *pieces);

    if (!pieces)
        return FM_ENOMEM;
    lexer_init(&lexer, lenient->text, lenient->arena);
    lexer.rc = 0;
    lexer.lenient = true;
    for (;;) {
        bool glued = lexer.in_attribute; /* to the scope before it */
        lexer_next(&lexer);
        if (lexer.rc)
            return lexer.rc;
        if (lexer.token.kind == LEXER_END)
            break;
        if (glued && lenient->count)
            pieces[lenient->count - 1].end = lexer.token.end;
        else
            pieces[lenient->count++] = (struct lenient_piece){
                .kind = lexer.token.kind, .begin = lexer.token.begin, .end = lexer.token.end};
    }
    lenient->pieces = pieces;
    return FM_OK;
}

static int lenient_rescue(struct fm_slice text, struct fm_arena *arena,
                          struct traceql_query **ret_query)
{
    struct lenient lenient = {.text = text, .arena = arena};
    int rc = lenient_split(&lenient);

    if (rc < 0)
        return rc;
    fm_buf_init(&lenient.out, 4 * TRACEQL_TEXT_MAX);
    lenient_save(&lenient);
    rc = lenient.rc;
    if (!rc && lenient.out.failed)
        rc = FM_ENOMEM;
    if (!rc)
        rc = lenient_try(fm_buf_slice(&lenient.out), arena, ret_query);
    fm_buf_fini(&lenient.out);
    return rc;
}

int traceql_parse_lenient(struct fm_slice text, struct fm_arena *arena,
                          struct traceql_query **ret_query)
{
    int rc = lenient_try(text, arena, ret_query);

    if (rc == FM_NONE && text.len <= TRACEQL_TEXT_MAX)
        rc = lenient_rescue(text, arena, ret_query);
    return rc == FM_NONE ? traceql_parse(FM_SLICE("{}"), arena, ret_query, NULL) : rc;
}
