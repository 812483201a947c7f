/* SPDX-License-Identifier: Apache-2.0 */
/* From settings to rules. */
#include <stdlib.h>

#include "internal.h"

#include "fermata/units.h"

#define TEXTS_MAX FM_MIB(4) /* of all rules */

/* text: what was written there, or NULL. */
static int compile_fail(struct process_fault *fault, const char *key, const char *accepted,
                        const char *what, const char *text)
{
    fault->key = key;
    fault->accepted = accepted;
    if (text)
        return fm_fail(&fault->why, FM_ECONFIG, "%s: \"%.100s\"", what, text);
    return fm_fail(&fault->why, FM_ECONFIG, "%s", what);
}

bool process_next_line(struct fm_slice *rest, uint8_t separator, struct fm_slice *ret_line)
{
    while (rest->len) {
        const uint8_t *end = memchr(rest->ptr, separator, rest->len);
        size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
        struct fm_slice line = fm_slice(rest->ptr, len);
        *rest = fm_slice(rest->ptr + len + (end != NULL), rest->len - len - (end != NULL));
        while (line.len && line.ptr[0] == ' ')
            line = fm_slice(line.ptr + 1, line.len - 1);
        while (line.len && line.ptr[line.len - 1] == ' ')
            line.len--;
        if (line.len) {
            *ret_line = line;
            return true;
        }
    }
    return false;
}

int process_add_regex(struct process *process, struct regex *regex, uint32_t *ret_matcher)
{
    if (process->regex_count == process->regex_cap) {
        uint32_t cap = FM_MAX(process->regex_cap * 2, 8u);
        const struct regex **grown = realloc(process->regexes, cap * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        process->regexes = grown;
        process->regex_cap = cap;
    }
    *ret_matcher = process->regex_count;
    process->regexes[process->regex_count++] = regex;
    return FM_OK;
}

struct process_lookup process_compile_lookup(struct process *process, struct fm_slice key)
{
    struct process_lookup lookup = {.key = key, .index = process->lookup_count++};

    if (key.len > 9 && memcmp(key.ptr, "resource.", 9) == 0) {
        lookup.of_resource = true;
        lookup.key = fm_slice(key.ptr + 9, key.len - 9);
    }
    return lookup;
}

static struct fm_slice compile_text(struct process *process, const char *text)
{
    return fm_slice_dup(&process->arena, fm_slice_text(text ? text : ""));
}

static bool compile_has(const char *text)
{
    return text && *text;
}

/* ---- attributes ---- */

/* value of type as the content of an AnyValue. */
static int compile_value(struct process *process, const struct process_attributes *from,
                         struct process_compiled *rule, struct process_fault *fault)
{
    struct fm_slice text = compile_text(process, from->value), digits = text;
    struct fm_buf value;
    uint64_t whole = 0;
    double number;

    if (from->type == PROCESS_STRING) {
        rule->value = process_value_string(&process->arena, text);
        return FM_OK;
    }
    fm_buf_init(&value, 16);
    bool is_negative = text.len && text.ptr[0] == '-', good = false;
    if (is_negative)
        digits = fm_slice(text.ptr + 1, text.len - 1);
    if (from->type == PROCESS_INT) {
        good = fm_u64_parse(digits, &whole) == FM_OK && whole <= (uint64_t)INT64_MAX;
        pb_put_u64(&value, 3, is_negative ? (uint64_t)0 - whole : whole);
    } else if (from->type == PROCESS_DOUBLE) {
        good = process_parse_double(text, &number);
        if (good)
            memcpy(&whole, &number, sizeof whole);
        pb_put_fixed64(&value, 4, whole);
    } else {
        bool is_true = fm_slice_equal_text(text, "true");
        good = is_true || fm_slice_equal_text(text, "false");
        pb_put_u64(&value, 2, is_true);
    }
    bool failed = value.failed;
    rule->value = fm_slice_dup(&process->arena, fm_buf_slice(&value));
    fm_buf_fini(&value);
    if (failed)
        return FM_ENOMEM;
    return good ? FM_OK
                : compile_fail(fault, "value", "a value of its type: 200, -1.5, true",
                               "not of the type", from->value);
}

static int compile_source(struct process *process, const struct process_attributes *from,
                          struct process_compiled *rule, struct process_fault *fault)
{
    if (compile_has(from->from_attribute)) {
        if (compile_has(from->value))
            return compile_fail(fault, "value", "take away one of value and the other",
                                "it has a value and takes one from elsewhere", NULL);
        rule->from = fm_arena_alloc(&process->arena, sizeof *rule->from);
        if (!rule->from)
            return FM_ENOMEM;
        *rule->from = process_compile_lookup(process, compile_text(process, from->from_attribute));
        return FM_OK;
    }
    rule->inert = !from->value;
    return from->value ? compile_value(process, from, rule, fault) : FM_OK;
}

/* What says nothing of a resource or a scope may not be asked of them. */
static int compile_check_place(const struct process_match *match, enum process_place on,
                               struct process_fault *fault)
{
    const struct {
        const char *key, *text;
    } rows[] = {{"match_name", match->name},
                {"match_kind", match->kind},
                {"match_status", match->status},
                {"match_duration", match->duration}};

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if ((on == PROCESS_ON_RESOURCE || on == PROCESS_ON_SCOPE) && compile_has(rows[i].text))
            return compile_fail(fault, rows[i].key, "match_service and match_attribute",
                                "a resource or a scope belongs to many spans", NULL);
    }
    return FM_OK;
}

static int compile_attributes(struct process *process, const struct process_rule *from,
                              struct process_compiled *rule, struct process_fault *fault)
{
    const struct process_attributes *a = &from->attributes;
    bool takes_value = a->action <= PROCESS_UPSERT;

    rule->action = a->action;
    rule->on = a->on;
    rule->key = compile_text(process, a->key);
    rule->new_key = compile_text(process, a->new_key);
    if (!compile_has(a->key))
        return compile_fail(fault, "key", "key = the attribute's name", "it has no key", NULL);
    bool has_star = strpbrk(a->key, "*?") != NULL;
    rule->key_is_glob = has_star && (a->action == PROCESS_DELETE || a->action == PROCESS_HASH);
    if (has_star && !rule->key_is_glob)
        return compile_fail(fault, "key", "one name; patterns are for delete and hash", "a pattern",
                            a->key);
    if (a->action == PROCESS_MOVE && !compile_has(a->new_key))
        return compile_fail(fault, "new_key", "new_key = the name it shall have",
                            "action = rename needs new_key", NULL);
    if (a->action != PROCESS_MOVE && compile_has(a->new_key))
        return compile_fail(fault, "new_key", "take it away, or write action = rename",
                            "new_key is for action = rename", NULL);
    if (!takes_value && (compile_has(a->value) || compile_has(a->from_attribute)))
        return compile_fail(fault, compile_has(a->value) ? "value" : "from_attribute",
                            "take it away", "this action takes no value", NULL);
    int rc = compile_check_place(&from->match, a->on, fault);
    if (rc == FM_OK && takes_value)
        rc = compile_source(process, a, rule, fault);
    return rc;
}

/* ---- redaction ---- */

static int compile_words(struct process *process, const char *text, struct fm_slice **ret_words,
                         uint32_t *ret_count)
{
    struct fm_slice all = compile_text(process, text), rest = all, word;
    uint32_t count = 0;

    while (process_next_line(&rest, ' ', &word))
        count++;
    *ret_words = fm_arena_alloc(&process->arena, FM_MAX(count, 1u) * sizeof **ret_words);
    if (!*ret_words)
        return FM_ENOMEM;
    for (rest = all, count = 0; process_next_line(&rest, ' ', &word); count++)
        (*ret_words)[count] = word;
    *ret_count = count;
    return FM_OK;
}

static int compile_presets(const char *text, uint32_t *ret_presets, struct process_fault *fault)
{
    static const struct {
        const char *word;
        enum process_preset preset;
    } rows[] = {{"email", PRESET_EMAIL},
                {"card", PRESET_CARD},
                {"address", PRESET_ADDRESS},
                {"token", PRESET_TOKEN}};
    struct fm_slice rest = fm_slice_text(text ? text : ""), word;
    char shown[64];

    while (process_next_line(&rest, ' ', &word)) {
        size_t i = 0;
        while (i < FM_COUNT(rows) && !fm_slice_equal_text(word, rows[i].word))
            i++;
        if (i == FM_COUNT(rows)) {
            size_t len = FM_MIN(word.len, sizeof shown - 1);
            memcpy(shown, word.ptr, len);
            shown[len] = '\0';
            return compile_fail(fault, "presets", "email, card, address, token", "no preset",
                                shown);
        }
        *ret_presets |= rows[i].preset;
    }
    return FM_OK;
}

/* The pattern may stand anywhere in a text; a matcher wants all of it. */
static int compile_pattern(struct process *process, struct fm_slice line,
                           struct process_pattern *pattern, struct process_fault *fault)
{
    struct regex *regex;
    struct fm_buf text;

    fm_buf_init(&text, line.len + 16);
    fm_buf_puts(&text, ".*(?:");
    fm_buf_put_slice(&text, line);
    fm_buf_puts(&text, ").*");
    int rc = text.failed
                 ? FM_ENOMEM
                 : regex_new(&regex, fm_buf_slice(&text), &regex_limits_default, &fault->why);
    fm_buf_fini(&text);
    if (rc == FM_EMALFORMED || rc == FM_ELIMIT) {
        fault->accepted = "a regular expression of RE2 a line";
        return FM_ECONFIG;
    }
    if (rc < 0)
        return rc;
    pattern->regex = regex;
    return process_add_regex(process, regex, &pattern->matcher);
}

static int compile_patterns(struct process *process, const char *text,
                            struct process_compiled *rule, struct process_fault *fault)
{
    struct fm_slice all = fm_slice_text(text ? text : ""), rest = all, line;
    uint32_t count = 0;
    int rc = FM_OK;

    fault->key = "patterns";
    while (process_next_line(&rest, '\n', &line))
        count++;
    rule->patterns = fm_arena_zalloc(&process->arena, FM_MAX(count, 1u) * sizeof *rule->patterns);
    if (!rule->patterns)
        return FM_ENOMEM;
    rule->pattern_count = count;
    rest = all;
    for (uint32_t i = 0; rc == FM_OK && process_next_line(&rest, '\n', &line); i++)
        rc = compile_pattern(process, line, &rule->patterns[i], fault);
    return rc;
}

static int compile_redaction(struct process *process, const struct process_rule *from,
                             struct process_compiled *rule, struct process_fault *fault)
{
    const struct process_redaction *r = &from->redaction;

    rule->mode = r->mode;
    rule->names = r->names;
    rule->mask = compile_text(process, r->mask);
    rule->mask_value = process_value_string(&process->arena, rule->mask);
    if (rule->mask.len > 64)
        return compile_fail(fault, "mask", "at most 64 bytes", "the mask is too long", NULL);
    int rc = compile_words(process, r->keys, &rule->globs, &rule->glob_count);
    if (rc == FM_OK)
        rc = compile_words(process, r->ignored_keys, &rule->ignored, &rule->ignored_count);
    if (rc == FM_OK)
        rc = compile_presets(r->presets, &rule->presets, fault);
    if (rc == FM_OK)
        rc = compile_patterns(process, r->patterns, rule, fault);
    if (rc == FM_OK && !rule->glob_count && !rule->presets && !rule->pattern_count)
        return compile_fail(fault, "keys", "set keys, presets or patterns",
                            "it says nothing of what to redact", NULL);
    return rc;
}

/* ---- rename, resource ---- */

static int compile_piece(struct process *process, struct fm_slice keys, struct process_piece *piece)
{
    struct fm_slice rest = keys, key;
    uint32_t count = 0;

    while (process_next_line(&rest, '|', &key))
        count++;
    if (!count)
        return FM_ECONFIG;
    piece->lookups = fm_arena_alloc(&process->arena, count * sizeof *piece->lookups);
    if (!piece->lookups)
        return FM_ENOMEM;
    for (rest = keys; process_next_line(&rest, '|', &key);)
        piece->lookups[piece->lookup_count++] = process_compile_lookup(process, key);
    return FM_OK;
}

static int compile_rename(struct process *process, const struct process_rule *from,
                          struct process_compiled *rule, struct process_fault *fault)
{
    struct fm_slice rest = compile_text(process, from->rename.template);
    uint32_t count = 1, keys = 0;

    for (size_t i = 0; i < rest.len; i++)
        count += 2 * (rest.ptr[i] == '{');
    rule->pieces = fm_arena_zalloc(&process->arena, count * sizeof *rule->pieces);
    if (!rule->pieces)
        return FM_ENOMEM;
    while (rest.len) {
        struct process_piece *piece = &rule->pieces[rule->piece_count++];
        const uint8_t *end = memchr(rest.ptr, rest.ptr[0] == '{' ? '}' : '{', rest.len);
        bool is_keys = rest.ptr[0] == '{';
        size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
        int rc = FM_OK;
        if (is_keys)
            rc = end ? compile_piece(process, fm_slice(rest.ptr + 1, len - 1), piece) : FM_ECONFIG;
        else
            piece->text = fm_slice(rest.ptr, len);
        if (rc == FM_ECONFIG)
            return compile_fail(fault, "template", "{KEY}, {KEY|KEY} and text between them",
                                "a key's braces are empty or not closed", NULL);
        if (rc < 0)
            return rc;
        keys += is_keys;
        len += is_keys;
        rest = fm_slice(rest.ptr + len, rest.len - len);
    }
    if (!keys)
        return compile_fail(fault, "template", "{http.request.method} {http.route}",
                            "it takes nothing from the span", NULL);
    return FM_OK;
}

static int compile_resource(struct process *process, const struct process_rule *from,
                            struct process_compiled *rule)
{
    const struct process_resource *r = &from->resource;

    rule->on = PROCESS_ON_RESOURCE;
    rule->new_attrs =
        fm_arena_alloc(&process->arena, FM_MAX(r->pair_count, (size_t)1) * sizeof *rule->new_attrs);
    if (!rule->new_attrs)
        return FM_ENOMEM;
    for (size_t i = 0; i < r->pair_count; i++) {
        struct process_new_attr *attr = &rule->new_attrs[rule->new_attr_count++];
        attr->key = fm_slice_dup(&process->arena, r->pairs[i].key);
        attr->value = process_value_string(&process->arena, r->pairs[i].value);
    }
    return FM_OK;
}

/* ---- the whole ---- */

static int compile_rule(struct process *process, const struct process_rule *from,
                        struct process_compiled *rule, struct process_fault *fault)
{
    static const struct process_match none;
    bool matches = from->kind != PROCESS_REDACTION && from->kind != PROCESS_RESOURCE;

    rule->kind = from->kind;
    rule->name = (const char *)fm_arena_dup(&process->arena, from->name, strlen(from->name) + 1);
    int rc = process_compile_match(process, matches ? &from->match : &none, rule, fault);
    if (rc < 0)
        return rc;
    fault->key = NULL;
    switch (from->kind) {
    case PROCESS_ATTRIBUTES:
        return compile_attributes(process, from, rule, fault);
    case PROCESS_FILTER:
        rule->keep = from->filter.keep;
        if (!rule->condition_count)
            return compile_fail(fault, "action", "set match_service or another match_ key",
                                rule->keep ? "a filter without conditions keeps everything"
                                           : "a filter without conditions drops everything",
                                NULL);
        return FM_OK;
    case PROCESS_REDACTION:
        return compile_redaction(process, from, rule, fault);
    case PROCESS_RENAME:
        return compile_rename(process, from, rule, fault);
    case PROCESS_RESOURCE:
        break;
    }
    return compile_resource(process, from, rule);
}

int process_new(struct process **ret_process, const struct process_rule *rules, size_t rule_count,
                struct process_fault *fault)
{
    FM_AUTO(process) process = calloc(1, sizeof *process);
    int rc = FM_OK;

    *fault = (struct process_fault){0};
    if (!process)
        return FM_ENOMEM;
    fm_arena_init(&process->arena, TEXTS_MAX);
    if (rule_count > PROCESS_RULES_MAX)
        return fm_fail(&fault->why, FM_ECONFIG, "more than %u processors", PROCESS_RULES_MAX);
    process->rules =
        fm_arena_zalloc(&process->arena, FM_MAX(rule_count, (size_t)1) * sizeof *process->rules);
    if (!process->rules)
        return FM_ENOMEM;
    for (size_t i = 0; rc == FM_OK && i < rule_count; i++) {
        fault->rule = i;
        process->rule_count++;
        rc = compile_rule(process, &rules[i], &process->rules[i], fault);
    }
    if (rc < 0)
        return rc;
    if (fm_arena_failed(&process->arena))
        return FM_ENOMEM;
    *ret_process = fm_take(process);
    return FM_OK;
}

static void compile_free_regexes(struct process_compiled *rule)
{
    for (uint32_t i = 0; rule->conditions && i < rule->condition_count; i++)
        regex_free(rule->conditions[i].regex);
    for (uint32_t i = 0; rule->patterns && i < rule->pattern_count; i++)
        regex_free(rule->patterns[i].regex);
}

struct process *process_free(struct process *process)
{
    if (!process)
        return NULL;
    for (size_t i = 0; i < process->rule_count; i++)
        compile_free_regexes(&process->rules[i]);
    fm_arena_fini(&process->arena);
    free(process->regexes);
    free(process);
    return NULL;
}

size_t process_rule_count(const struct process *process)
{
    return process->rule_count;
}

const char *process_rule_name(const struct process *process, size_t rule)
{
    return process->rules[rule].name;
}
