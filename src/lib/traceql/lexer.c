/* SPDX-License-Identifier: Apache-2.0 */
/* Characters to tokens.  Words, numbers and strings follow the rules of Go's literals, which is
 * what people who write queries have learned; numbers and escapes are in literal.c. */
#include "lexer.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const lexer_names[] = {
#define X(name, text) text,
    LEXER_TOKENS(X)
#undef X
};

const char *lexer_kind_name(enum lexer_kind kind)
{
    return lexer_names[kind];
}

/* The sign, scope or word that text is; LEXER_KIND_COUNT: none. */
static enum lexer_kind lexer_find(struct fm_slice text)
{
    for (unsigned kind = LEXER_COMMA; kind < LEXER_KIND_COUNT; kind++) {
        if (fm_slice_equal_text(text, lexer_names[kind]))
            return (enum lexer_kind)kind;
    }
    return LEXER_KIND_COUNT;
}

int lexer_fail(struct lexer *lexer, const char *format, ...)
{
    struct fm_why text;
    va_list arguments;

    if (lexer->rc || lexer->lenient)
        return lexer->rc;
    va_start(arguments, format);
    (void)vsnprintf(text.text, sizeof text.text, format, arguments);
    va_end(arguments);
    uint32_t line = lexer->token.line, column = lexer->token.column;
    if (!line && !column)
        lexer->rc = fm_fail(&lexer->why, FM_EMALFORMED, "parse error : %s", text.text);
    else
        lexer->rc = fm_fail(&lexer->why, FM_EMALFORMED, "parse error at line %u, col %u: %s", line,
                            column, text.text);
    return lexer->rc;
}

/* ---- characters ---- */

int32_t lexer_decode(struct fm_slice text, size_t *ret_len)
{
    static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text.ptr[0];
    size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    int32_t ch = len == 1 ? first : first & (0x7f >> len);

    *ret_len = 1;
    if (!len || first > 0xf4 || len > text.len)
        return -1;
    for (size_t i = 1; i < len; i++) {
        if ((text.ptr[i] & 0xc0) != 0x80)
            return -1;
        ch = ch << 6 | (text.ptr[i] & 0x3f);
    }
    if (ch < least[len] || ch > 0x10ffff || (ch >= 0xd800 && ch < 0xe000))
        return -1;
    *ret_len = len;
    return ch;
}

size_t lexer_encode(int32_t ch, uint8_t target[4])
{
    if (ch < 0x80) {
        target[0] = (uint8_t)ch;
        return 1;
    }
    size_t len = ch < 0x800 ? 2 : ch < 0x10000 ? 3 : 4;
    for (size_t i = len; --i; ch >>= 6)
        target[i] = (uint8_t)(0x80 | (ch & 0x3f));
    target[0] = (uint8_t)((0xf00 >> len & 0xff) | ch);
    return len;
}

/* The code points that Go calls spaces. */
static bool lexer_is_space(int32_t ch)
{
    return (ch >= 9 && ch <= 13) || ch == ' ' || ch == 0x85 || ch == 0xa0 || ch == 0x1680 ||
           (ch >= 0x2000 && ch <= 0x200a) || ch == 0x2028 || ch == 0x2029 || ch == 0x202f ||
           ch == 0x205f || ch == 0x3000;
}

bool lexer_is_name_character(int32_t ch)
{
    return ch >= 0 && !lexer_is_space(ch) && !(ch < 0x80 && ch && strchr("{}()=~!<>&|^,", ch));
}

/* Every character that is no sign of ASCII and no space counts as a letter. */
static bool lexer_is_word(int32_t ch, bool first)
{
    return ch == '_' || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
           (ch >= 0x80 && !lexer_is_space(ch)) || (!first && ch >= '0' && ch <= '9');
}

static bool lexer_is_digit(int32_t ch)
{
    return ch >= '0' && ch <= '9';
}

/* Passes ch and looks at the next. */
static void lexer_pass(struct lexer *lexer)
{
    size_t len;
    struct fm_slice rest = fm_slice(lexer->text.ptr + lexer->next, lexer->text.len - lexer->next);

    if (lexer->ch == '\n') {
        lexer->line++;
        lexer->column = 0;
    }
    lexer->ch_at = lexer->next;
    if (!rest.len) {
        lexer->column += lexer->ch >= 0 && lexer->read_any;
        lexer->ch = -1;
        return;
    }
    lexer->read_any = true;
    lexer->column++;
    lexer->ch = lexer_decode(rest, &len);
    lexer->next += len;
    if (lexer->ch < 0) {
        (void)lexer_fail(lexer, "invalid UTF-8 encoding");
        lexer->ch = 0xfffd;
    }
    if (!lexer->ch)
        (void)lexer_fail(lexer, "invalid character NUL");
}

void lexer_init(struct lexer *lexer, struct fm_slice text, struct fm_arena *arena)
{
    *lexer = (struct lexer){.text = text, .arena = arena, .line = 1};
    lexer_pass(lexer);
    if (lexer->ch == 0xfeff)
        lexer_pass(lexer);
}

/* ---- names of attributes ---- */

static struct fm_slice lexer_rest(const struct lexer *lexer)
{
    return fm_slice(lexer->text.ptr + lexer->ch_at, lexer->text.len - lexer->ch_at);
}

/* parent.span.x and parent.resource.x. */
static bool lexer_take_second_scope(struct lexer *lexer)
{
    static const enum lexer_kind kinds[] = {LEXER_SPAN_DOT, LEXER_RESOURCE_DOT};
    struct fm_slice rest = lexer_rest(lexer);

    for (size_t i = 0; lexer->scope == LEXER_PARENT_DOT && i < FM_COUNT(kinds); i++) {
        size_t len = strlen(lexer_names[kinds[i]]);
        if (rest.len < len || memcmp(rest.ptr, lexer_names[kinds[i]], len) != 0)
            continue;
        while (len--)
            lexer_pass(lexer);
        lexer->scope = lexer->token.kind = kinds[i];
        return true;
    }
    return false;
}

static size_t lexer_take_quoted(struct lexer *lexer, uint8_t *target)
{
    size_t len = 0;

    lexer_pass(lexer);
    while (lexer->ch >= 0 && lexer->ch != '"') {
        if (lexer->ch == '\\') {
            lexer_pass(lexer);
            if (lexer->ch != '\\' && lexer->ch != '"')
                (void)lexer_fail(lexer, "invalid escape sequence");
            if (lexer->rc || lexer->ch < 0)
                break;
        }
        len += lexer_encode(lexer->ch, target + len);
        lexer_pass(lexer);
    }
    if (lexer->ch < 0)
        (void)lexer_fail(lexer, "unexpected EOF, expecting \"");
    else
        lexer_pass(lexer);
    return len;
}

/* Where the name ends; a replaced byte may have become three. */
static size_t lexer_name_max(const struct lexer *lexer)
{
    struct lexer ahead = *lexer;
    bool quoted = false;

    ahead.lenient = true;
    while (ahead.ch >= 0 && (quoted || lexer_is_name_character(ahead.ch))) {
        quoted ^= ahead.ch == '"';
        if (ahead.ch == '\\' && quoted)
            lexer_pass(&ahead);
        if (ahead.ch >= 0)
            lexer_pass(&ahead);
    }
    return 3 * (ahead.ch_at - lexer->ch_at);
}

static void lexer_take_name(struct lexer *lexer)
{
    size_t len = 0, max = lexer_name_max(lexer);
    uint8_t *target = fm_arena_alloc(lexer->arena, max);

    if (!target) {
        lexer->rc = FM_ENOMEM;
        return;
    }
    while (!lexer->rc && lexer_is_name_character(lexer->ch)) {
        if (lexer->ch == '"') {
            len += lexer_take_quoted(lexer, target + len);
            continue;
        }
        len += lexer_encode(lexer->ch, target + len);
        lexer_pass(lexer);
    }
    FM_ASSERT(len <= max);
    lexer->token.kind = LEXER_IDENTIFIER;
    lexer->token.text = fm_slice(target, len);
}

static void lexer_next_of_attribute(struct lexer *lexer)
{
    if (!lexer_is_name_character(lexer->ch)) {
        lexer->in_attribute = false;
        lexer->token.kind = LEXER_END_ATTRIBUTE;
        return;
    }
    lexer->token.line = 0;
    if (!lexer_take_second_scope(lexer))
        lexer_take_name(lexer);
}

/* ---- numbers ---- */

static void lexer_digits(struct lexer *lexer, int base, int32_t *invalid, bool *any, bool *parted)
{
    for (;; lexer_pass(lexer)) {
        int32_t ch = lexer->ch;
        bool digit = lexer_is_digit(ch) ||
                     (base == 16 && ((ch >= 'a' && ch <= 'f') || (ch >= 'A' && ch <= 'F')));
        if (ch == '_')
            *parted = true;
        else if (!digit)
            return;
        else
            *any = true;
        if (digit && base < 10 && ch >= '0' + base && !*invalid)
            *invalid = ch;
    }
}

static const char *lexer_base_name(int32_t prefix)
{
    return prefix == 'x'                    ? "hexadecimal literal"
           : prefix == 'b'                  ? "binary literal"
           : prefix == 'o' || prefix == '0' ? "octal literal"
                                            : "decimal literal";
}

static bool lexer_take_exponent(struct lexer *lexer, int32_t prefix)
{
    bool any = false, parted = false;
    int32_t e = lexer->ch | 0x20, none = 1;

    if (lexer->ch < 0 || (e != 'e' && e != 'p'))
        return false;
    if (e == 'e' && prefix && prefix != '0')
        (void)lexer_fail(lexer, "'%c' exponent requires decimal mantissa", (char)lexer->ch);
    if (e == 'p' && prefix != 'x')
        (void)lexer_fail(lexer, "'%c' exponent requires hexadecimal mantissa", (char)lexer->ch);
    lexer_pass(lexer);
    if (lexer->ch == '+' || lexer->ch == '-')
        lexer_pass(lexer);
    lexer_digits(lexer, 10, &none, &any, &parted);
    if (!any)
        (void)lexer_fail(lexer, "exponent has no digits");
    return true;
}

/* An underscore must stand between digits; behind a prefix too. */
static bool lexer_is_parted_well(struct fm_slice text)
{
    bool hex = text.len > 1 && text.ptr[0] == '0' && (text.ptr[1] | 0x20) == 'x', digit = false;
    size_t i = 0;

    if (text.len > 1 && text.ptr[0] == '0' && strchr("xob", text.ptr[1] | 0x20)) {
        digit = true;
        i = 2;
    }
    for (uint8_t last = 0; i < text.len; last = text.ptr[i++]) {
        uint8_t ch = text.ptr[i];
        if (ch == '_' && !digit)
            return false;
        bool now = lexer_is_digit(ch) || (hex && (ch | 0x20) >= 'a' && (ch | 0x20) <= 'f');
        if (last == '_' && !now)
            return false;
        digit = now;
    }
    return text.ptr[text.len - 1] != '_';
}

/* Passes a number; true: it is an integer.  seen_dot: the dot before it was passed. */
static bool lexer_take_number(struct lexer *lexer, bool seen_dot)
{
    int base = 10;
    int32_t prefix = 0, invalid = 0;
    bool any = false, parted = false, integer = !seen_dot;

    if (!seen_dot && lexer->ch == '0') {
        lexer_pass(lexer);
        int32_t letter = lexer->ch < 0 ? 0 : lexer->ch | 0x20;
        prefix = letter == 'x' || letter == 'o' || letter == 'b' ? letter : '0';
        base = prefix == 'x' ? 16 : prefix == 'b' ? 2 : 8;
        any = prefix == '0';
        if (!any)
            lexer_pass(lexer);
    }
    if (!seen_dot) {
        lexer_digits(lexer, base, &invalid, &any, &parted);
        if (lexer->ch == '.') {
            lexer_pass(lexer);
            seen_dot = true;
        }
    }
    if (seen_dot) {
        integer = false;
        if (prefix == 'o' || prefix == 'b')
            (void)lexer_fail(lexer, "invalid radix point in %s", lexer_base_name(prefix));
        lexer_digits(lexer, base, &invalid, &any, &parted);
    }
    if (!any)
        (void)lexer_fail(lexer, "%s has no digits", lexer_base_name(prefix));
    if (lexer_take_exponent(lexer, prefix))
        integer = false;
    else if (prefix == 'x' && !integer)
        (void)lexer_fail(lexer, "hexadecimal mantissa requires a 'p' exponent");
    if (integer && invalid)
        (void)lexer_fail(lexer, "invalid digit '%c' in %s", (char)invalid, lexer_base_name(prefix));
    if (parted && !lexer_is_parted_well(fm_slice(lexer->text.ptr + lexer->token.begin,
                                                 lexer->ch_at - lexer->token.begin)))
        (void)lexer_fail(lexer, "'_' must separate successive digits");
    return integer;
}

/* A number with letters glued to it is a duration if these make one; else they are left. */
static bool lexer_take_duration(struct lexer *lexer)
{
    struct lexer ahead = *lexer;

    ahead.lenient = true;
    while (lexer_is_digit(ahead.ch) || ahead.ch == '.' || ahead.ch == 0xb5 ||
           (ahead.ch > 0 && ahead.ch < 0x80 && strchr("nsumhdwy", ahead.ch)))
        lexer_pass(&ahead);
    struct fm_slice text =
        fm_slice(lexer->text.ptr + lexer->token.begin, ahead.ch_at - lexer->token.begin);
    if (ahead.ch_at == lexer->ch_at || !duration_parse(text, &lexer->token.integer))
        return false;
    while (lexer->ch_at < ahead.ch_at)
        lexer_pass(lexer);
    lexer->token.kind = LEXER_DURATION;
    lexer->token.line = 0;
    return true;
}

static void lexer_set_integer(struct lexer *lexer, struct fm_slice text)
{
    const char *problem = NULL;
    uint64_t sum = 0;

    for (size_t i = 0; i < text.len && !problem; i++) {
        if (!lexer_is_digit(text.ptr[i]))
            problem = "invalid syntax";
        else if (__builtin_mul_overflow(sum, 10, &sum) ||
                 __builtin_add_overflow(sum, (uint64_t)(text.ptr[i] - '0'), &sum) ||
                 sum > INT64_MAX)
            problem = "value out of range";
    }
    /* An odd digit is found before a sum too large. */
    for (size_t i = 0; i < text.len && problem; i++) {
        if (!lexer_is_digit(text.ptr[i]))
            problem = "invalid syntax";
    }
    if (problem)
        (void)lexer_fail(lexer, "strconv.Atoi: parsing \"%.*s\": %s",
                         (int)FM_MIN(text.len, (size_t)80), (const char *)text.ptr, problem);
    lexer->token.kind = LEXER_INTEGER;
    lexer->token.integer = (int64_t)sum;
}

static void lexer_set_float(struct lexer *lexer, struct fm_slice text)
{
    char *copy = fm_arena_alloc(lexer->arena, text.len + 1), *end;
    size_t len = 0;

    if (!copy) {
        lexer->rc = FM_ENOMEM;
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '_')
            copy[len++] = (char)text.ptr[i];
    }
    copy[len] = 0;
    lexer->token.kind = LEXER_FLOAT;
    lexer->token.number = strtod(copy, &end);
    const char *problem = *end                            ? "invalid syntax"
                          : lexer->token.number > DBL_MAX ? "value out of range"
                                                          : NULL;
    if (problem)
        (void)lexer_fail(lexer, "strconv.ParseFloat: parsing \"%.*s\": %s",
                         (int)FM_MIN(text.len, (size_t)80), (const char *)text.ptr, problem);
}

static void lexer_next_number(struct lexer *lexer, bool seen_dot)
{
    bool integer = lexer_take_number(lexer, seen_dot);
    struct fm_slice text =
        fm_slice(lexer->text.ptr + lexer->token.begin, lexer->ch_at - lexer->token.begin);

    if (lexer_take_duration(lexer))
        return;
    if (integer)
        lexer_set_integer(lexer, text);
    else
        lexer_set_float(lexer, text);
}

/* ---- strings ---- */

static void lexer_escape_digits(struct lexer *lexer, int base, int count)
{
    for (; count; count--, lexer_pass(lexer)) {
        int32_t ch = lexer->ch, letter = ch < 0 ? 0 : ch | 0x20;
        int digit = lexer_is_digit(ch)               ? ch - '0'
                    : letter >= 'a' && letter <= 'f' ? letter - 87
                                                     : 99;
        if (digit >= base) {
            (void)lexer_fail(lexer, "invalid char escape");
            return;
        }
    }
}

static void lexer_take_escape(struct lexer *lexer, int32_t quote)
{
    lexer_pass(lexer);
    int32_t ch = lexer->ch;
    int count = ch == 'x' ? 2 : ch == 'u' ? 4 : ch == 'U' ? 8 : 0;

    if (ch >= '0' && ch <= '7') {
        lexer_escape_digits(lexer, 8, 3);
        return;
    }
    if (!count && ch != quote && !(ch > 0 && ch < 0x80 && strchr("abfnrtv\\", ch))) {
        (void)lexer_fail(lexer, "invalid char escape");
        return;
    }
    lexer_pass(lexer);
    lexer_escape_digits(lexer, 16, count);
}

/* From the quote to behind its twin; the number of characters. */
static size_t lexer_take_quotes(struct lexer *lexer, int32_t quote)
{
    size_t count = 0;

    lexer_pass(lexer);
    for (; lexer->ch != quote; count++) {
        if (lexer->ch < 0 || (lexer->ch == '\n' && quote != '`')) {
            (void)lexer_fail(lexer, "literal not terminated");
            return count;
        }
        if (lexer->ch == '\\' && quote != '`')
            lexer_take_escape(lexer, quote);
        else
            lexer_pass(lexer);
    }
    return count;
}

static void lexer_next_string(struct lexer *lexer)
{
    int32_t quote = lexer->ch;

    (void)lexer_take_quotes(lexer, quote);
    bool closed = lexer->ch == quote;
    if (closed)
        lexer_pass(lexer);
    if (lexer->rc)
        return;
    struct fm_slice text =
        fm_slice(lexer->text.ptr + lexer->token.begin, lexer->ch_at - lexer->token.begin);
    lexer->token.kind = LEXER_STRING;
    lexer->token.text = fm_slice("", 0);
    if (closed && !literal_unquote(text, lexer->arena, &lexer->token.text)) {
        if (fm_arena_failed(lexer->arena))
            lexer->rc = FM_ENOMEM;
        else
            (void)lexer_fail(lexer, "invalid syntax");
    }
}

/* ---- the rest ---- */

static void lexer_skip_comment(struct lexer *lexer, bool to_line_end)
{
    int32_t last = 0;

    lexer_pass(lexer);
    while (to_line_end && lexer->ch >= 0 && lexer->ch != '\n')
        lexer_pass(lexer);
    while (!to_line_end) {
        if (lexer->ch < 0) {
            (void)lexer_fail(lexer, "comment not terminated");
            return;
        }
        bool closed = last == '*' && lexer->ch == '/';
        last = lexer->ch;
        lexer_pass(lexer);
        if (closed)
            return;
    }
}

static void lexer_place(struct lexer *lexer)
{
    while (lexer->ch == ' ' || lexer->ch == '\t' || lexer->ch == '\n' || lexer->ch == '\r')
        lexer_pass(lexer);
    lexer->token.line = lexer->line;
    lexer->token.column = lexer->column;
    if (lexer->ch < 0 && !lexer->read_any)
        lexer->token.line = 0;
    lexer->token.begin = lexer->ch_at;
}

/* Words, and signs that grow while they are still known. */
static void lexer_next_word(struct lexer *lexer)
{
    size_t begin = lexer->token.begin;
    bool word = lexer->ch_at == begin && lexer_is_word(lexer->ch, true);

    if (lexer->ch == '\'') {
        if (lexer_take_quotes(lexer, '\'') != 1)
            (void)lexer_fail(lexer, "invalid char literal");
        if (lexer->ch >= 0)
            lexer_pass(lexer);
    } else if (lexer->ch_at == begin) {
        lexer_pass(lexer);
    }
    while (word && lexer_is_word(lexer->ch, false))
        lexer_pass(lexer);
    struct fm_slice text = fm_slice(lexer->text.ptr + begin, lexer->ch_at - begin);
    enum lexer_kind kind = LEXER_KIND_COUNT, longer;
    while (lexer->ch > 0 && lexer->ch < 0x80 &&
           (longer = lexer_find(fm_slice(text.ptr, text.len + 1))) != LEXER_KIND_COUNT) {
        kind = longer;
        text.len++;
        lexer->token.line = 0;
        lexer_pass(lexer);
    }
    if (kind == LEXER_KIND_COUNT)
        kind = lexer_find(text);
    lexer->token.kind = kind == LEXER_KIND_COUNT ? LEXER_IDENTIFIER : kind;
    lexer->token.text = text;
    lexer->in_attribute =
        kind == LEXER_DOT || (kind >= LEXER_PARENT_DOT && kind <= LEXER_SCOPE_DOT);
    if (lexer->in_attribute)
        lexer->scope = kind;
}

static void lexer_scan(struct lexer *lexer)
{
    for (;;) {
        lexer_place(lexer);
        if (lexer->ch != '/')
            break;
        struct fm_slice rest = lexer_rest(lexer);
        if (rest.len < 2 || (rest.ptr[1] != '/' && rest.ptr[1] != '*'))
            break;
        lexer_pass(lexer);
        lexer_skip_comment(lexer, lexer->ch == '/');
    }
    if (lexer->ch < 0) {
        lexer->token.kind = LEXER_END;
        return;
    }
    if (lexer->ch == '"' || lexer->ch == '`') {
        lexer_next_string(lexer);
        return;
    }
    bool dot = lexer->ch == '.';
    if (dot)
        lexer_pass(lexer);
    if (lexer_is_digit(lexer->ch))
        lexer_next_number(lexer, dot);
    else
        lexer_next_word(lexer);
}

void lexer_next(struct lexer *lexer)
{
    if (lexer->in_attribute)
        lexer_next_of_attribute(lexer);
    else
        lexer_scan(lexer);
    lexer->token.end = lexer->ch_at;
}
