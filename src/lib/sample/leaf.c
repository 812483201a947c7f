/* SPDX-License-Identifier: Apache-2.0 */
/* Policies about spans, said in TraceQL. */
#include "internal.h"

#include "fermata/eval.h"
#include "fermata/traceql.h"

#define LEAF_TREE_BYTES FM_MIB(4)
#define LEAF_BYTES_MAX  FM_MIB(64)

/* What stands between quotes, of a name or a string. */
static void leaf_put_escaped(struct fm_buf *out, struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            fm_buf_put_u8(out, '\\');
        fm_buf_put_u8(out, text.ptr[i]);
    }
}

static void leaf_put_field(struct fm_buf *out, bool is_resource, const char *key)
{
    fm_buf_puts(out, is_resource ? "resource.\"" : "span.\"");
    leaf_put_escaped(out, fm_slice_text(key));
    fm_buf_put_u8(out, '"');
}

static int leaf_put_status(const struct sample_rule *from, struct fm_buf *out,
                           struct sample_fault *fault)
{
    static const char *const words[] = {"ok", "error", "unset"};
    struct fm_slice rest = fm_slice_text(from->status_codes ? from->status_codes : ""), word;
    bool is_first = true;

    while (sample_next_piece(&rest, ' ', &word)) {
        size_t i = 0;
        while (i < FM_COUNT(words) && !fm_slice_equal_nocase(word, words[i]))
            i++;
        if (i == FM_COUNT(words))
            return sample_fail(fault, "status_codes", "error, ok, unset", "no such status",
                               from->status_codes);
        fm_buf_printf(out, "%sstatus = %s", is_first ? "" : " || ", words[i]);
        is_first = false;
    }
    if (is_first)
        return sample_fail(fault, "status_codes", "error, ok, unset", "it names no status", NULL);
    return FM_OK;
}

static int leaf_put_strings(const struct sample_rule *from, struct fm_buf *out,
                            struct sample_fault *fault)
{
    const char *before = "";

    for (int is_resource = 0; is_resource < 2; is_resource++) {
        struct fm_slice rest = fm_slice_text(from->values ? from->values : ""), value;
        while (sample_next_piece(&rest, '\n', &value)) {
            fm_buf_puts(out, before);
            before = " || ";
            leaf_put_field(out, is_resource, from->key);
            fm_buf_puts(out, from->regex ? " =~ \"" : " = \"");
            /* a pattern may stand anywhere in the text, where TraceQL wants all of it */
            fm_buf_puts(out, from->regex ? ".*(?:" : "");
            leaf_put_escaped(out, value);
            fm_buf_puts(out, from->regex ? ").*\"" : "\"");
        }
    }
    if (!*before)
        return sample_fail(fault, "values", "values, one a line", "it has no values", NULL);
    return FM_OK;
}

static bool leaf_is_number(const char *text)
{
    size_t at = *text == '-', digits = strspn(text + at, "0123456789");

    if (!digits)
        return false;
    at += digits;
    if (text[at] == '.') {
        digits = strspn(text + at + 1, "0123456789");
        at += digits ? digits + 1 : 0;
    }
    return !text[at];
}

static int leaf_put_numbers(const struct sample_rule *from, struct fm_buf *out,
                            struct sample_fault *fault)
{
    const char *low = from->min_value && *from->min_value ? from->min_value : NULL;
    const char *high = from->max_value && *from->max_value ? from->max_value : NULL;

    if (low && !leaf_is_number(low))
        return sample_fail(fault, "min_value", "400, -1.5", "not a number", low);
    if (high && !leaf_is_number(high))
        return sample_fail(fault, "max_value", "400, -1.5", "not a number", high);
    if (!low && !high)
        return sample_fail(fault, "min_value", "set min_value, max_value or both",
                           "it has no limits", NULL);
    for (int is_resource = 0; is_resource < 2; is_resource++) {
        fm_buf_puts(out, is_resource ? " || (" : "(");
        if (low) {
            leaf_put_field(out, is_resource, from->key);
            fm_buf_printf(out, " >= %s%s", low, high ? " && " : "");
        }
        if (high) {
            leaf_put_field(out, is_resource, from->key);
            fm_buf_printf(out, " <= %s", high);
        }
        fm_buf_puts(out, ")");
    }
    return FM_OK;
}

static int leaf_put_boolean(const struct sample_rule *from, struct fm_buf *out,
                            struct sample_fault *fault)
{
    const char *value = from->values ? from->values : "";

    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return sample_fail(fault, "values", "true or false", "not a boolean", value);
    leaf_put_field(out, false, from->key);
    fm_buf_printf(out, " = %s || ", value);
    leaf_put_field(out, true, from->key);
    fm_buf_printf(out, " = %s", value);
    return FM_OK;
}

static const char *leaf_key(enum sample_kind kind)
{
    return kind == SAMPLE_TRACEQL             ? "query"
           : kind == SAMPLE_NUMERIC_ATTRIBUTE ? "key"
           : kind == SAMPLE_STATUS_CODE       ? "status_codes"
                                              : "values";
}

static int leaf_put(const struct sample_rule *from, struct fm_buf *out, struct sample_fault *fault)
{
    if (from->kind == SAMPLE_TRACEQL) {
        if (!from->query || !*from->query)
            return sample_fail(fault, "query", "{ duration > 2s && span.http.status_code >= 500 }",
                               "it has no query", NULL);
        fm_buf_puts(out, from->query);
        return FM_OK;
    }
    if (from->kind != SAMPLE_STATUS_CODE && (!from->key || !*from->key))
        return sample_fail(fault, "key", "key = the attribute's name", "it has no key", NULL);
    fm_buf_puts(out, "{ ");
    int rc = from->kind == SAMPLE_STATUS_CODE         ? leaf_put_status(from, out, fault)
             : from->kind == SAMPLE_STRING_ATTRIBUTE  ? leaf_put_strings(from, out, fault)
             : from->kind == SAMPLE_NUMERIC_ATTRIBUTE ? leaf_put_numbers(from, out, fault)
                                                      : leaf_put_boolean(from, out, fault);
    fm_buf_puts(out, " }");
    return rc;
}

/* Whether text is a question that can be asked. */
static int leaf_check(struct fm_slice text, const char *key, bool *ret_is_local,
                      struct sample_fault *fault)
{
    struct traceql_query *query;
    struct eval_plan *plan;
    struct fm_arena arena;

    fm_arena_init(&arena, LEAF_TREE_BYTES);
    int rc = traceql_parse(text, &arena, &query, &fault->why);
    if (rc == FM_OK)
        rc = traceql_check(query, &fault->why);
    if (rc == FM_OK && query->metrics != TRACEQL_NO_METRICS)
        rc = fm_fail(&fault->why, FM_EMALFORMED, "a query of metrics chooses no traces");
    if (rc == FM_OK)
        rc = eval_plan_new(&plan, query, &fault->why);
    if (rc == FM_OK) {
        *ret_is_local = eval_is_local(query);
        eval_plan_free(plan);
    }
    fm_arena_fini(&arena);
    fault->key = key;
    return rc == FM_OK || rc == FM_ENOMEM ? rc : FM_ECONFIG;
}

int sample_compile_leaf(struct sample_rules *rules, const struct sample_rule *from,
                        uint32_t *ret_leaf, struct sample_fault *fault)
{
    struct fm_buf text;
    bool is_local = false;
    uint32_t leaf = 0;

    fm_buf_init(&text, LEAF_BYTES_MAX); /* one that is too long is for the parser to refuse */
    int rc = leaf_put(from, &text, fault);
    if (rc == FM_OK && text.failed)
        rc = FM_ENOMEM;
    struct fm_slice slice = fm_buf_slice(&text);
    while (rc == FM_OK && leaf < rules->leaf_count &&
           !fm_slice_equal(rules->leaves[leaf].text, slice))
        leaf++;
    if (rc == FM_OK && leaf == rules->leaf_count) {
        if (leaf == SAMPLE_LEAVES_MAX)
            rc = sample_fail(fault, "type", "join some of them in one traceql policy",
                             "more than 64 different questions about spans", NULL);
        if (rc == FM_OK)
            rc = leaf_check(slice, leaf_key(from->kind), &is_local, fault);
        if (rc == FM_OK)
            rules->leaves[rules->leaf_count++] =
                (struct sample_leaf){fm_slice_dup(&rules->arena, slice), is_local};
    }
    fm_buf_fini(&text);
    if (rc < 0)
        return rc;
    *ret_leaf = leaf;
    return FM_OK;
}
