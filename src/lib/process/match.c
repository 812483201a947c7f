/* SPDX-License-Identifier: Apache-2.0 */
/* The match language: lines of SUBJECT OP VALUE, all of which must hold.
 *
 * What a resource alone can answer is answered once for all of its spans.  A key that is not there
 * is unequal to everything. */
#include "internal.h"

#include "fermata/units.h"

struct match_op {
    const char *text;
    enum process_op op;
};
static const struct match_op match_ops[] = {
    /* longer ones first */
    {"=~", OP_LIKE},       {"!=", OP_UNEQUAL}, {"!~", OP_UNLIKE}, {">=", OP_MORE_EQUAL},
    {"<=", OP_LESS_EQUAL}, {"=", OP_EQUAL},    {">", OP_MORE},    {"<", OP_LESS},
};
#define OP_BIT(op) (1u << (op))
#define OPS_TEXT   (OP_BIT(OP_EQUAL) | OP_BIT(OP_UNEQUAL) | OP_BIT(OP_LIKE) | OP_BIT(OP_UNLIKE))
#define OPS_WORD   (OP_BIT(OP_EQUAL) | OP_BIT(OP_UNEQUAL))
#define OPS_ORDER                                                                                  \
    (OP_BIT(OP_MORE) | OP_BIT(OP_LESS) | OP_BIT(OP_MORE_EQUAL) | OP_BIT(OP_LESS_EQUAL))

static bool match_is_negative(enum process_op op)
{
    return op == OP_UNEQUAL || op == OP_UNLIKE;
}

/* ---- compiling ---- */

static int match_fail(struct process_fault *fault, const char *accepted, const char *what,
                      struct fm_slice line)
{
    fault->accepted = accepted;
    return fm_fail(&fault->why, FM_ECONFIG, "%s: \"%.*s\"", what,
                   (int)FM_MIN(line.len, (size_t)120), (const char *)line.ptr);
}

/* The operator that the text begins with, blanks around it, is cut off; OP_EXISTS: none. */
static enum process_op match_take_op(struct fm_slice *text)
{
    while (text->len && text->ptr[0] == ' ')
        *text = fm_slice(text->ptr + 1, text->len - 1);
    for (size_t i = 0; i < FM_COUNT(match_ops); i++) {
        size_t len = strlen(match_ops[i].text);
        if (text->len < len || memcmp(text->ptr, match_ops[i].text, len) != 0)
            continue;
        *text = fm_slice(text->ptr + len, text->len - len);
        while (text->len && text->ptr[0] == ' ')
            *text = fm_slice(text->ptr + 1, text->len - 1);
        return match_ops[i].op;
    }
    return OP_EXISTS;
}

static int match_word(struct process_condition *condition, const char *const *words, size_t count,
                      uint64_t *ret_index)
{
    for (size_t i = 0; i < count; i++) {
        if (fm_slice_equal_nocase(condition->text, words[i]))
            return *ret_index = i, FM_OK;
    }
    return FM_ECONFIG;
}

static int match_compile_regex(struct process *process, struct process_condition *condition,
                               struct process_fault *fault)
{
    int rc = regex_new(&condition->regex, condition->text, &regex_limits_default, &fault->why);
    if (rc == FM_EMALFORMED || rc == FM_ELIMIT) {
        fault->accepted = "a regular expression of RE2; it must match the whole text";
        return FM_ECONFIG;
    }
    if (rc < 0)
        return rc;
    return process_add_regex(process, condition->regex, &condition->matcher);
}

/* "resource.KEY OP VALUE", the operator cut off later: key ends at a blank or an operator. */
static void match_take_key(struct process_condition *condition, struct fm_slice *text)
{
    size_t len = 0;

    while (len < text->len && text->ptr[len] != ' ' && text->ptr[len] != '=' &&
           text->ptr[len] != '!' && text->ptr[len] != '<' && text->ptr[len] != '>')
        len++;
    struct fm_slice key = fm_slice(text->ptr, len);
    *text = fm_slice(text->ptr + len, text->len - len);
    condition->of_resource = key.len > 9 && memcmp(key.ptr, "resource.", 9) == 0;
    condition->key = condition->of_resource ? fm_slice(key.ptr + 9, key.len - 9) : key;
}

static struct fm_slice match_unquote(struct fm_slice text)
{
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"')
        return fm_slice(text.ptr + 1, text.len - 2);
    return text;
}

/* The value of what is not a text: a word or a time. */
static int match_compile_whole(struct process_condition *condition, struct fm_slice line,
                               struct process_fault *fault)
{
    static const char *const kinds[] = {"unspecified", "internal", "server",
                                        "client",      "producer", "consumer"};
    static const char *const statuses[] = {"unset", "ok", "error"};

    switch (condition->subject) {
    case ON_KIND:
        if (match_word(condition, kinds, FM_COUNT(kinds), &condition->whole) < 0)
            return match_fail(fault, "unspecified, internal, server, client, producer, consumer",
                              "no kind of a span", line);
        return FM_OK;
    case ON_STATUS:
        if (match_word(condition, statuses, FM_COUNT(statuses), &condition->whole) < 0)
            return match_fail(fault, "unset, ok, error", "no status of a span", line);
        return FM_OK;
    case ON_DURATION:
        if (fm_duration_parse(condition->text, &condition->whole) < 0)
            return match_fail(fault, "an operator and a time with its unit: > 2s, <= 250ms",
                              "no duration", line);
        return FM_OK;
    case ON_SERVICE:
    case ON_NAME:
    case ON_ATTRIBUTE:
        break;
    }
    return FM_OK;
}

static int match_compile_line(struct process *process, enum process_subject subject,
                              struct fm_slice line, struct process_condition *ret_condition,
                              struct process_fault *fault)
{
    static const struct {
        unsigned ops;
        const char *accepted;
    } rules[] = {
        [ON_SERVICE] = {OPS_TEXT, "VALUE, or = != =~ !~ in front of it"},
        [ON_NAME] = {OPS_TEXT, "VALUE, or = != =~ !~ in front of it"},
        [ON_KIND] = {OPS_WORD, "a kind, or = != in front of it"},
        [ON_STATUS] = {OPS_WORD, "a status, or = != in front of it"},
        [ON_DURATION] = {OPS_ORDER, "an operator and a time with its unit: > 2s, <= 250ms"},
        [ON_ATTRIBUTE] = {OPS_TEXT | OPS_ORDER | OP_BIT(OP_EXISTS),
                          "KEY, or KEY OP VALUE with = != =~ !~ > < >= <="},
    };
    struct process_condition *condition = ret_condition;
    struct fm_slice rest = line;

    *condition = (struct process_condition){.subject = subject, .index = process->condition_count};
    if (subject == ON_ATTRIBUTE)
        match_take_key(condition, &rest);
    condition->op = match_take_op(&rest);
    condition->text = match_unquote(rest);
    if (subject != ON_ATTRIBUTE && condition->op == OP_EXISTS)
        condition->op = OP_EQUAL;
    bool is_cut = subject == ON_ATTRIBUTE &&
                  (!condition->key.len || (condition->op == OP_EXISTS && rest.len));
    if (is_cut || !(rules[subject].ops & OP_BIT(condition->op)))
        return match_fail(fault, rules[subject].accepted, "cannot be read", line);
    condition->has_number = process_parse_double(condition->text, &condition->number);
    if (subject == ON_ATTRIBUTE && (OPS_ORDER & OP_BIT(condition->op)) && !condition->has_number)
        return match_fail(fault, "a number behind > < >= <=", "no number", line);
    int rc = match_compile_whole(condition, line, fault);
    if (rc == FM_OK && (condition->op == OP_LIKE || condition->op == OP_UNLIKE))
        rc = match_compile_regex(process, condition, fault);
    process->condition_count += rc == FM_OK;
    return rc;
}

static uint32_t match_count_lines(const char *text)
{
    struct fm_slice rest = fm_slice_text(text ? text : ""), line;
    uint32_t count = 0;

    while (process_next_line(&rest, '\n', &line))
        count++;
    return count;
}

int process_compile_match(struct process *process, const struct process_match *match,
                          struct process_compiled *rule, struct process_fault *fault)
{
    const struct {
        enum process_subject subject;
        const char *key, *text;
    } rows[] = {
        {ON_SERVICE, "match_service", match->service},
        {ON_KIND, "match_kind", match->kind},
        {ON_STATUS, "match_status", match->status},
        {ON_DURATION, "match_duration", match->duration},
        {ON_NAME, "match_name", match->name},
        {ON_ATTRIBUTE, "match_attribute", match->attribute},
    };
    uint32_t count = 0;

    for (size_t i = 0; i < FM_COUNT(rows); i++)
        count += match_count_lines(rows[i].text);
    rule->conditions =
        fm_arena_zalloc(&process->arena, FM_MAX(count, 1u) * sizeof *rule->conditions);
    if (!rule->conditions)
        return FM_ENOMEM;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_slice rest = fm_slice_text(rows[i].text ? rows[i].text : ""), line;
        fault->key = rows[i].key;
        rest = fm_slice_dup(&process->arena, rest);
        while (process_next_line(&rest, '\n', &line)) {
            int rc = match_compile_line(process, rows[i].subject, line,
                                        &rule->conditions[rule->condition_count], fault);
            rule->condition_count += rule->conditions[rule->condition_count].regex || rc == FM_OK;
            if (rc < 0)
                return rc;
        }
    }
    return fm_arena_failed(&process->arena) ? FM_ENOMEM : FM_OK;
}

/* ---- asking ---- */

static bool match_order(enum process_op op, double have, double wanted)
{
    switch (op) {
    case OP_MORE:
        return have > wanted;
    case OP_LESS:
        return have < wanted;
    case OP_MORE_EQUAL:
        return have >= wanted;
    case OP_LESS_EQUAL:
        return have <= wanted;
    default:
        return have == wanted;
    }
}

static bool match_text(const struct process_state *state, const struct process_condition *condition,
                       struct fm_slice text)
{
    switch (condition->op) {
    case OP_EQUAL:
        return fm_slice_equal(text, condition->text);
    case OP_UNEQUAL:
        return !fm_slice_equal(text, condition->text);
    case OP_LIKE:
        return regex_match(state->matchers[condition->matcher], text);
    case OP_UNLIKE:
        return !regex_match(state->matchers[condition->matcher], text);
    default:
        return true;
    }
}

static bool match_value(const struct process_state *state,
                        const struct process_condition *condition, struct fm_slice value)
{
    char room[32];
    struct fm_slice text;
    double number;

    if (condition->op == OP_EXISTS)
        return true;
    if (OPS_ORDER & OP_BIT(condition->op))
        return process_value_number(value, &number) &&
               match_order(condition->op, number, condition->number);
    if (!process_value_text(value, room, &text))
        return match_is_negative(condition->op);
    bool is_number = text.ptr == (const uint8_t *)room;
    if (is_number && condition->has_number && (OPS_WORD & OP_BIT(condition->op)) &&
        process_value_number(value, &number))
        return (number == condition->number) == (condition->op == OP_EQUAL);
    return match_text(state, condition, text);
}

static bool match_holder(const struct process_state *state,
                         const struct process_condition *condition,
                         const struct process_holder *holder, bool when_absent)
{
    const struct process_attr *attr = process_attr_find(state, holder, condition->key, NULL);
    return attr ? match_value(state, condition, attr->value) : when_absent;
}

bool process_match_resource(struct process_state *state, const struct process_compiled *rule,
                            const struct process_holder *resource)
{
    for (uint32_t i = 0; i < rule->condition_count; i++) {
        const struct process_condition *condition = &rule->conditions[i];
        struct process_condition service;
        if (condition->subject != ON_SERVICE && condition->subject != ON_ATTRIBUTE)
            continue;
        bool is_service = condition->subject == ON_SERVICE;
        if (is_service) {
            service = *condition;
            service.key = FM_SLICE("service.name");
            condition = &service;
        }
        bool known = match_holder(state, condition, resource, match_is_negative(condition->op));
        state->known[condition->index] = known;
        if (!known && (is_service || condition->of_resource || rule->on == PROCESS_ON_RESOURCE))
            return false;
    }
    return true;
}

bool process_match_scope(struct process_state *state, const struct process_compiled *rule,
                         const struct process_holder *scope)
{
    for (uint32_t i = 0; i < rule->condition_count; i++) {
        const struct process_condition *condition = &rule->conditions[i];
        if (condition->subject == ON_ATTRIBUTE && !condition->of_resource &&
            !match_holder(state, condition, scope, state->known[condition->index]))
            return false;
    }
    return true;
}

bool process_match_span(struct process_state *state, const struct process_compiled *rule,
                        const struct process_span *span)
{
    for (uint32_t i = 0; i < rule->condition_count; i++) {
        const struct process_condition *condition = &rule->conditions[i];
        bool is_equal = condition->op == OP_EQUAL, holds = true;
        uint64_t duration_ns;
        switch (condition->subject) {
        case ON_SERVICE: /* answered by the resource */
            break;
        case ON_KIND:
            holds = (span->kind == condition->whole) == is_equal;
            break;
        case ON_STATUS:
            holds = (span->status == condition->whole) == is_equal;
            break;
        case ON_DURATION:
            duration_ns = span->end_ns > span->start_ns ? span->end_ns - span->start_ns : 0;
            holds = match_order(condition->op, (double)duration_ns, (double)condition->whole);
            break;
        case ON_NAME:
            holds = match_text(state, condition, span->own.text);
            break;
        case ON_ATTRIBUTE:
            holds = condition->of_resource ||
                    match_holder(state, condition, &span->own, state->known[condition->index]);
            break;
        }
        if (!holds)
            return false;
    }
    return true;
}

/* ---- attributes that rules read ---- */

void process_lookup_resource(struct process_state *state, const struct process_lookup *lookup,
                             const struct process_holder *resource)
{
    const struct process_attr *attr = process_attr_find(state, resource, lookup->key, NULL);
    state->borrowed[lookup->index] = attr ? attr->value : (struct fm_slice){0};
}

struct fm_slice process_lookup_value(const struct process_state *state,
                                     const struct process_lookup *lookup,
                                     const struct process_holder *holder)
{
    const struct process_attr *attr = NULL;

    if (holder && !lookup->of_resource)
        attr = process_attr_find(state, holder, lookup->key, NULL);
    return attr ? attr->value : state->borrowed[lookup->index];
}

/* ---- patterns with * and ? ---- */

/* Linear but for one star to go back to. */
bool process_glob(struct fm_slice pattern, struct fm_slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;

    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.len && (pattern.ptr[p] == '?' || pattern.ptr[p] == text.ptr[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
        bool waits = star != SIZE_MAX && p == star + 1 && p < pattern.len;
        if (waits && pattern.ptr[p] != '*' && pattern.ptr[p] != '?') { /* for this byte */
            const uint8_t *next =
                t < text.len ? memchr(text.ptr + t, pattern.ptr[p], text.len - t) : NULL;
            if (!next)
                return false;
            t = resume = (size_t)(next - text.ptr);
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}
