/* SPDX-License-Identifier: Apache-2.0 */
/* From the text of a pattern to its tree.
 *
 * The syntax is RE2's as Go's regexp reads it, with its words for what is wrong.  The dot matches
 * line feeds unless (?-s) says otherwise.  Whether a repetition is greedy is read and forgotten:
 * the whole text has to match, and then it makes no difference.
 */
#include "fermata/bytes.h"
#include "tree.h"

#define PARSE_REPEAT_MAX 1000u

enum { FLAG_FOLD = 1, FLAG_LINES = 2, FLAG_DOT_ALL = 4 };

struct parse {
    struct fm_slice pattern;
    size_t at;
    struct fm_arena *arena;
    struct fm_why *why;
    uint32_t depth, depth_max;
    unsigned flags;
};

static int parse_fail(struct parse *parse, const char *what, size_t from, size_t to)
{
    struct fm_slice part = fm_slice(parse->pattern.ptr + from, to - from);
    return fm_fail(parse->why, FM_EMALFORMED, "%s: `%.*s`", what, (int)part.len,
                   (const char *)part.ptr);
}

static bool parse_more(const struct parse *parse)
{
    return parse->at < parse->pattern.len;
}

static int parse_peek(const struct parse *parse, size_t ahead)
{
    return parse->at + ahead < parse->pattern.len ? parse->pattern.ptr[parse->at + ahead] : -1;
}

static bool parse_take(struct parse *parse, const char *text)
{
    size_t len = strlen(text);
    if (parse->pattern.len - parse->at < len ||
        memcmp(parse->pattern.ptr + parse->at, text, len) != 0)
        return false;
    parse->at += len;
    return true;
}

/* The pattern is valid UTF-8 (tree_parse checked it). */
static uint32_t parse_code(struct parse *parse)
{
    const uint8_t *ptr = parse->pattern.ptr + parse->at;
    unsigned len = *ptr < 0x80 ? 1 : *ptr < 0xe0 ? 2 : *ptr < 0xf0 ? 3 : 4;
    uint32_t code = len == 1 ? *ptr : *ptr & (0x7fu >> len);
    for (unsigned i = 1; i < len; i++)
        code = code << 6 | (ptr[i] & 0x3f);
    parse->at += len;
    return code;
}

static struct node *node_new(struct parse *parse, enum node_kind kind)
{
    struct node *node = fm_arena_zalloc(parse->arena, sizeof *node);
    if (node)
        node->kind = kind;
    return node;
}

static void node_append(struct node *parent, struct node *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

static struct node *node_code(struct parse *parse, uint32_t code)
{
    struct node *node = node_new(parse, NODE_SET);
    if (!node)
        return NULL;
    set_add(&node->set, parse->arena, code, code);
    if (parse->flags & FLAG_FOLD) {
        for (uint32_t other = unicode_next_fold(code); other != code;
             other = unicode_next_fold(other))
            set_add(&node->set, parse->arena, other, other);
        set_tidy(&node->set);
    }
    return node;
}

/* ---- escapes ---- */

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_hex(struct parse *parse, size_t from, uint32_t *ret_code)
{
    uint32_t code = 0;
    unsigned digits = 0;
    bool is_braced = parse_take(parse, "{");
    for (; hex_value(parse_peek(parse, 0)) >= 0 && (is_braced || digits < 2); digits++) {
        code = code * 16 + (uint32_t)hex_value(parse_peek(parse, 0));
        parse->at++;
        if (code > UNICODE_MAX)
            return parse_fail(parse, "invalid escape sequence", from, parse->at);
    }
    if (digits == 0 || (!is_braced && digits < 2) || (is_braced && !parse_take(parse, "}")))
        return parse_fail(parse, "invalid escape sequence", from,
                          FM_MIN(parse->at + 1, parse->pattern.len));
    *ret_code = code;
    return FM_OK;
}

/* An escape that stands for one code point; at is behind the backslash. */
static int parse_escape(struct parse *parse, uint32_t *ret_code)
{
    static const char plain[] = "afnrtv", meant[] = "\a\f\n\r\t\v";
    size_t from = parse->at - 1;
    if (!parse_more(parse))
        return parse_fail(parse, "trailing backslash at end of expression", from, parse->at);
    int c = parse_peek(parse, 0);
    if (c >= '0' && c <= '7') {
        int next = parse_peek(parse, 1);
        if (c == '0' || (next >= '0' && next <= '7')) { /* else a back-reference */
            uint32_t code = 0;
            for (unsigned i = 0;
                 i < 3 && parse_peek(parse, 0) >= '0' && parse_peek(parse, 0) <= '7'; i++)
                code = code * 8 + (uint32_t)(parse->pattern.ptr[parse->at++] - '0');
            *ret_code = code;
            return FM_OK;
        }
    } else if (c == 'x') {
        parse->at++;
        return parse_hex(parse, from, ret_code);
    } else if (c < 0x80 && strchr(plain, c)) {
        *ret_code = (uint32_t)meant[strchr(plain, c) - plain];
        parse->at++;
        return FM_OK;
    } else if (c < 0x80 && (c < '0' || c > '9') && ((c | 0x20) < 'a' || (c | 0x20) > 'z')) {
        *ret_code = (uint32_t)c; /* punctuation stands for itself */
        parse->at++;
        return FM_OK;
    }
    (void)parse_code(parse);
    return parse_fail(parse, "invalid escape sequence", from, parse->at);
}

/* \d \pL \p{Greek} and their opposites into set; FM_NONE: something else is escaped here. */
static int parse_class_escape(struct parse *parse, struct set *set)
{
    struct set found = {0};
    size_t from = parse->at - 1;
    int c = parse_peek(parse, 0);
    if (c < 0 || c >= 0x80 || !strchr("dDsSwWpP", c) || c == 0)
        return FM_NONE;
    parse->at++;
    bool is_negated = c < 'a';
    char letter = (char)(c | 0x20);
    if (letter != 'p') {
        set_add_perl(&found, parse->arena, letter);
        if (parse->flags & FLAG_FOLD)
            set_fold(&found, parse->arena);
    } else {
        struct fm_slice name;
        if (!parse_more(parse))
            return parse_fail(parse, "invalid character class range", from, parse->at);
        if (parse_take(parse, "{")) {
            const uint8_t *begin = parse->pattern.ptr + parse->at;
            const uint8_t *end = memchr(begin, '}', parse->pattern.len - parse->at);
            if (!end)
                return parse_fail(parse, "invalid character class range", from, parse->pattern.len);
            name = fm_slice(begin, (size_t)(end - begin));
            parse->at += name.len + 1;
        } else {
            size_t begin = parse->at;
            (void)parse_code(parse);
            name = fm_slice(parse->pattern.ptr + begin, parse->at - begin);
        }
        if (name.len && name.ptr[0] == '^') {
            is_negated = !is_negated;
            name = fm_slice(name.ptr + 1, name.len - 1);
        }
        if (set_add_property(&found, parse->arena, name) != FM_OK)
            return parse_fail(parse, "invalid character class range", from, parse->at);
        if (parse->flags & FLAG_FOLD)
            set_fold(&found, parse->arena);
    }
    set_tidy(&found);
    if (is_negated)
        set_negate(&found, parse->arena);
    set_add_set(set, parse->arena, &found);
    return FM_OK;
}

/* ---- [...] ---- */

/* [:alpha:], [:^alpha:]; FM_NONE: it only looked like one. */
static int parse_posix(struct parse *parse, struct set *set)
{
    struct set found = {0};
    size_t from = parse->at, end = from + 2;
    if (parse_peek(parse, 0) != '[' || parse_peek(parse, 1) != ':')
        return FM_NONE;
    while (end + 1 < parse->pattern.len &&
           !(parse->pattern.ptr[end] == ':' && parse->pattern.ptr[end + 1] == ']'))
        end++;
    if (end + 1 >= parse->pattern.len)
        return FM_NONE;
    bool is_negated = parse->pattern.ptr[from + 2] == '^';
    size_t begin = from + 2 + is_negated;
    parse->at = end + 2;
    if (set_add_posix(&found, parse->arena, fm_slice(parse->pattern.ptr + begin, end - begin)) !=
        FM_OK)
        return parse_fail(parse, "invalid character class range", from, parse->at);
    if (parse->flags & FLAG_FOLD)
        set_fold(&found, parse->arena);
    set_tidy(&found);
    if (is_negated)
        set_negate(&found, parse->arena);
    set_add_set(set, parse->arena, &found);
    return FM_OK;
}

static int parse_set_code(struct parse *parse, uint32_t *ret_code)
{
    if (parse_take(parse, "\\"))
        return parse_escape(parse, ret_code);
    *ret_code = parse_code(parse);
    return FM_OK;
}

/* A code point, or two with a hyphen between. */
static int parse_set_range(struct parse *parse, struct set *set)
{
    uint32_t low, high;
    size_t from = parse->at;
    int rc = parse_set_code(parse, &low);
    if (rc < 0)
        return rc;
    high = low;
    if (parse_peek(parse, 0) == '-' && parse_peek(parse, 1) >= 0 && parse_peek(parse, 1) != ']') {
        parse->at++;
        rc = parse_set_code(parse, &high);
        if (rc < 0)
            return rc;
        if (high < low)
            return parse_fail(parse, "invalid character class range", from, parse->at);
    }
    struct set found = {0};
    set_add(&found, parse->arena, low, high);
    if (parse->flags & FLAG_FOLD)
        set_fold(&found, parse->arena);
    set_add_set(set, parse->arena, &found);
    return FM_OK;
}

static int parse_set(struct parse *parse, struct node **ret_node)
{
    size_t from = parse->at++;
    bool is_negated = parse_take(parse, "^"), is_first = true;
    struct node *node = node_new(parse, NODE_SET);
    if (!node)
        return FM_ENOMEM;
    for (; is_first || parse_peek(parse, 0) != ']'; is_first = false) {
        if (!parse_more(parse))
            return parse_fail(parse, "missing closing ]", from, parse->pattern.len);
        int rc = parse_posix(parse, &node->set);
        if (rc == FM_NONE && parse_peek(parse, 0) == '\\') {
            parse->at++;
            rc = parse_class_escape(parse, &node->set);
            if (rc == FM_NONE)
                parse->at--;
        }
        if (rc == FM_NONE)
            rc = parse_set_range(parse, &node->set);
        if (rc < 0)
            return rc;
    }
    parse->at++;
    set_tidy(&node->set);
    if (is_negated)
        set_negate(&node->set, parse->arena);
    *ret_node = node;
    return FM_OK;
}

/* ---- groups ---- */

static int parse_alternatives(struct parse *parse, struct node **ret_node);

/* (?P<name> or (?<name>: at is behind the angle bracket. */
static int parse_name(struct parse *parse, size_t from)
{
    size_t begin = parse->at;
    while (parse_more(parse) && parse_peek(parse, 0) != '>') {
        int c = parse_peek(parse, 0);
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!is_letter && c != '_' && (c < '0' || c > '9'))
            return parse_fail(parse, "invalid named capture", from, parse->pattern.len);
        parse->at++;
    }
    if (parse->at == begin || !parse_take(parse, ">"))
        return parse_fail(parse, "invalid named capture", from, parse->pattern.len);
    return FM_OK;
}

/* Flags behind "(?"; *ret_closed: "(?i)", which holds until the group around it ends. */
static int parse_flags(struct parse *parse, size_t from, bool *ret_closed)
{
    unsigned flags = parse->flags;
    bool is_off = false, has_any = false;
    for (; parse_more(parse); parse->at++) {
        int c = parse_peek(parse, 0);
        unsigned bit = c == 'i' ? FLAG_FOLD : c == 'm' ? FLAG_LINES : c == 's' ? FLAG_DOT_ALL : 0;
        if (c == '-' && !is_off) {
            is_off = true;
            has_any = false;
            continue;
        }
        if (c == ':' || c == ')') {
            if (is_off && !has_any)
                break;
            parse->at++;
            parse->flags = flags;
            *ret_closed = c == ')';
            return FM_OK;
        }
        if (!bit && c != 'U')
            break;
        has_any = true;
        flags = is_off ? flags & ~bit : flags | bit;
    }
    return parse_fail(parse, "invalid or unsupported Perl syntax", from,
                      FM_MIN(parse->at + 1, parse->pattern.len));
}

/* FM_NONE: it only set flags. */
static int parse_group(struct parse *parse, struct node **ret_node)
{
    size_t from = parse->at++;
    unsigned flags = parse->flags;
    int rc = FM_OK;
    if (parse_take(parse, "?P<") || (parse_peek(parse, 1) == '<' && parse_peek(parse, 2) != '=' &&
                                     parse_peek(parse, 2) != '!' && parse_take(parse, "?<")))
        rc = parse_name(parse, from);
    else if (parse_take(parse, "?")) {
        bool is_closed = false;
        rc = parse_flags(parse, from, &is_closed);
        if (rc == FM_OK && is_closed)
            return FM_NONE;
    }
    if (rc < 0)
        return rc;
    if (++parse->depth > parse->depth_max)
        return fm_fail(parse->why, FM_ELIMIT, "expression nests too deeply");
    rc = parse_alternatives(parse, ret_node);
    if (rc < 0)
        return rc;
    parse->depth--;
    parse->flags = flags;
    if (!parse_take(parse, ")"))
        return parse_fail(parse, "missing closing )", 0, parse->pattern.len);
    return FM_OK;
}

/* ---- atoms, repetitions, sequences ---- */

static int parse_assert(struct parse *parse, enum node_assertion assertion, struct node **ret_node)
{
    struct node *node = node_new(parse, NODE_ASSERT);
    if (!node)
        return FM_ENOMEM;
    node->assertion = assertion;
    *ret_node = node;
    return FM_OK;
}

/* What stands between \Q and \E, character by character: an operator behind takes the last. */
static int parse_quoted(struct parse *parse, struct node *sequence)
{
    while (parse_more(parse) && !parse_take(parse, "\\E")) {
        struct node *code = node_code(parse, parse_code(parse));
        if (!code)
            return FM_ENOMEM;
        node_append(sequence, code);
    }
    return FM_OK;
}

static int parse_backslash(struct parse *parse, struct node **ret_node)
{
    static const struct {
        char letter;
        enum node_assertion assertion;
    } asserts[] = {{'A', ASSERT_BEGIN_TEXT},
                   {'z', ASSERT_END_TEXT},
                   {'b', ASSERT_WORD_BOUNDARY},
                   {'B', ASSERT_NO_WORD_BOUNDARY}};
    uint32_t code;
    parse->at++;
    for (size_t i = 0; i < FM_COUNT(asserts); i++) {
        if (parse_peek(parse, 0) != asserts[i].letter)
            continue;
        parse->at++;
        return parse_assert(parse, asserts[i].assertion, ret_node);
    }
    struct node *node = node_new(parse, NODE_SET);
    if (!node)
        return FM_ENOMEM;
    int rc = parse_class_escape(parse, &node->set);
    if (rc == FM_NONE) {
        rc = parse_escape(parse, &code);
        if (rc == FM_OK)
            node = node_code(parse, code);
    }
    if (rc < 0)
        return rc;
    if (!node)
        return FM_ENOMEM;
    set_tidy(&node->set);
    *ret_node = node;
    return FM_OK;
}

static int parse_atom(struct parse *parse, struct node **ret_node)
{
    bool has_lines = parse->flags & FLAG_LINES;
    switch (parse_peek(parse, 0)) {
    case '(':
        return parse_group(parse, ret_node);
    case '[':
        return parse_set(parse, ret_node);
    case '\\':
        return parse_backslash(parse, ret_node);
    case '^':
        parse->at++;
        return parse_assert(parse, has_lines ? ASSERT_BEGIN_LINE : ASSERT_BEGIN_TEXT, ret_node);
    case '$':
        parse->at++;
        return parse_assert(parse, has_lines ? ASSERT_END_LINE : ASSERT_END_TEXT, ret_node);
    case '*':
    case '+':
    case '?':
        return parse_fail(parse, "missing argument to repetition operator", parse->at,
                          parse->at + 1);
    case '.': {
        struct node *node = node_new(parse, NODE_SET);
        if (!node)
            return FM_ENOMEM;
        parse->at++;
        set_add(&node->set, parse->arena, 0, UNICODE_MAX);
        if (!(parse->flags & FLAG_DOT_ALL)) {
            node->set.count = 0;
            set_add(&node->set, parse->arena, 0, '\n' - 1);
            set_add(&node->set, parse->arena, '\n' + 1, UNICODE_MAX);
        }
        *ret_node = node;
        return FM_OK;
    }
    default:
        *ret_node = node_code(parse, parse_code(parse));
        return *ret_node ? FM_OK : FM_ENOMEM;
    }
}

/* Decimal digits; UINT32_MAX - 1 for anything absurd; false without a digit. */
static bool parse_number(struct parse *parse, uint32_t *ret_value)
{
    uint32_t value = 0;
    size_t begin = parse->at;
    for (; parse_peek(parse, 0) >= '0' && parse_peek(parse, 0) <= '9'; parse->at++)
        value = FM_MIN(value * 10 + (uint32_t)(parse_peek(parse, 0) - '0'), 100000u);
    *ret_value = value;
    return parse->at > begin && (parse->pattern.ptr[begin] != '0' || parse->at == begin + 1);
}

/* {n} {n,} {n,m}; false: a brace that means itself. */
static bool parse_counts(struct parse *parse, uint32_t *ret_min, uint32_t *ret_max)
{
    size_t from = parse->at++;
    bool is_good = parse_number(parse, ret_min);
    *ret_max = *ret_min;
    if (is_good && parse_take(parse, ",") && !(parse_peek(parse, 0) == '}'))
        is_good = parse_number(parse, ret_max);
    else if (is_good && parse->pattern.ptr[parse->at - 1] == ',')
        *ret_max = NODE_NO_MAX;
    if (is_good && parse_take(parse, "}"))
        return true;
    parse->at = from;
    return false;
}

/* The operator at hand; FM_NONE: there is none. */
static int parse_operator(struct parse *parse, uint32_t *ret_min, uint32_t *ret_max)
{
    size_t from = parse->at;
    int c = parse_peek(parse, 0);
    *ret_min = c == '+';
    *ret_max = c == '?' ? 1 : NODE_NO_MAX;
    if (c == '{') {
        if (!parse_counts(parse, ret_min, ret_max))
            return FM_NONE;
        bool is_bad =
            *ret_min > PARSE_REPEAT_MAX ||
            (*ret_max != NODE_NO_MAX && (*ret_max > PARSE_REPEAT_MAX || *ret_max < *ret_min));
        if (is_bad)
            return parse_fail(parse, "invalid repeat count", from, parse->at);
    } else if (c == '*' || c == '+' || c == '?') {
        parse->at++;
    } else {
        return FM_NONE;
    }
    (void)parse_take(parse, "?"); /* lazy or not: see the head of this file */
    return FM_OK;
}

/* The operator at hand, if any, takes the sequence's last node. */
static int parse_repetition(struct parse *parse, struct node *sequence)
{
    uint32_t min, max;
    size_t from = parse->at;
    int rc = parse_operator(parse, &min, &max);
    if (rc != FM_OK)
        return rc;
    struct node *last = sequence->last, *child = node_new(parse, NODE_EMPTY);
    if (!last)
        return parse_fail(parse, "missing argument to repetition operator", from, parse->at);
    if (!child)
        return FM_ENOMEM;
    *child = *last;
    *last =
        (struct node){.kind = NODE_REPEAT, .min = min, .max = max, .first = child, .last = child};
    rc = parse_operator(parse, &min, &max);
    if (rc == FM_OK)
        return parse_fail(parse, "invalid nested repetition operator", from, parse->at);
    return rc;
}

static int parse_sequence(struct parse *parse, struct node **ret_node)
{
    struct node *sequence = node_new(parse, NODE_CAT);
    if (!sequence)
        return FM_ENOMEM;
    while (parse_more(parse) && parse_peek(parse, 0) != '|' && parse_peek(parse, 0) != ')') {
        struct node *node;
        bool is_quoted = parse_take(parse, "\\Q");
        int rc = is_quoted ? parse_quoted(parse, sequence) : parse_atom(parse, &node);
        if (rc == FM_OK && !is_quoted)
            node_append(sequence, node);
        if (rc >= 0)
            rc = parse_repetition(parse, sequence);
        if (rc < 0)
            return rc;
    }
    *ret_node = sequence;
    return FM_OK;
}

static int parse_alternatives(struct parse *parse, struct node **ret_node)
{
    struct node *all = node_new(parse, NODE_ALT);
    if (!all)
        return FM_ENOMEM;
    do {
        struct node *sequence;
        int rc = parse_sequence(parse, &sequence);
        if (rc < 0)
            return rc;
        node_append(all, sequence);
    } while (parse_take(parse, "|"));
    *ret_node = all->first == all->last ? all->first : all;
    return FM_OK;
}

int tree_parse(struct fm_slice pattern, const struct regex_limits *limits, struct fm_arena *arena,
               struct node **ret_node, struct fm_why *why)
{
    struct parse parse = {.pattern = pattern,
                          .arena = arena,
                          .why = why,
                          .depth_max = limits->depth_max,
                          .flags = FLAG_DOT_ALL};
    struct node *node;
    if (pattern.len > limits->pattern_bytes_max)
        return fm_fail(why, FM_ELIMIT, "expression is longer than %u bytes",
                       limits->pattern_bytes_max);
    if (fm_utf8_valid_len(pattern) != pattern.len)
        return fm_fail(why, FM_EMALFORMED, "invalid UTF-8");
    int rc = parse_alternatives(&parse, &node);
    if (rc == FM_OK && parse_more(&parse))
        rc = parse_fail(&parse, "unexpected )", 0, pattern.len);
    if (rc == FM_OK && fm_arena_failed(arena))
        rc = FM_ENOMEM;
    if (rc < 0)
        return rc;
    *ret_node = node;
    return FM_OK;
}
