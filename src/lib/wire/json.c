/* SPDX-License-Identifier: Apache-2.0 */
/* JSON reader: a state machine over the document with one bit of stack per level.
 *
 *   VALUE ──scalar──▶ AFTER ──,──▶ VALUE | KEY
 *     │ {  ▶ KEY_OR_END ──key:──▶ VALUE        } or ] ▶ AFTER one level up
 *     │ [  ▶ VALUE_OR_END
 *
 * Strings are sliced out of the document unless they hold an escape or invalid UTF-8. */
#include "fermata/json.h"

#include "fermata/bytes.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum json_state {
    JSON_STATE_VALUE,
    JSON_STATE_VALUE_OR_END,
    JSON_STATE_KEY,
    JSON_STATE_KEY_OR_END,
    JSON_STATE_AFTER,
};

void json_reader_init(struct json_reader *reader, struct fm_slice document,
                      struct fm_arena *scratch)
{
    *reader = (struct json_reader){
        .document = document,
        .scratch = scratch,
        .depth_max = JSON_DEPTH_MAX,
        .state = JSON_STATE_VALUE,
    };
    if (document.len >= 3 && memcmp(document.ptr, "\xef\xbb\xbf", 3) == 0)
        reader->position = 3;
}

static int json_fail(struct json_reader *reader, const char *error)
{
    reader->error = error;
    return FM_EMALFORMED;
}

static int json_peek_far(struct json_reader *reader)
{
    const uint8_t *ptr = reader->document.ptr;
    size_t i = reader->position, len = reader->document.len;

    while (i < len && (ptr[i] == ' ' || ptr[i] == '\n' || ptr[i] == '\r' || ptr[i] == '\t'))
        i++;
    reader->position = i;
    return i < len ? ptr[i] : -1;
}

/* Skips white space, of which there mostly is none; the next byte, or -1 at the end. */
static inline int json_peek(struct json_reader *reader)
{
    size_t i = reader->position;
    if (FM_LIKELY(i < reader->document.len && reader->document.ptr[i] > ' '))
        return reader->document.ptr[i];
    return json_peek_far(reader);
}

#define JSON_ONES  UINT64_C(0x0101010101010101)
#define JSON_HIGHS UINT64_C(0x8080808080808080)

/* High bit set in every byte that is zero, exact up to and including the first such byte. */
static uint64_t json_zero_bytes(uint64_t word)
{
    return (word - JSON_ONES) & ~word & JSON_HIGHS;
}

/* Index of the first byte from i on that ends a run of plain string text: quote, backslash, control
 * character.  Bytes >= 0x80 only set *high. */
static inline size_t json_plain_run(struct fm_slice text, size_t i, bool *high)
{
    uint64_t seen = 0;

#ifdef __SSE2__ /* every x86-64; strings are short, so that one step finds most ends */
    const __m128i quote = _mm_set1_epi8('"'), escape = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    for (; text.len - i >= 16; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(text.ptr + i));
        __m128i ends = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, escape));
        ends = _mm_or_si128(ends, _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
        unsigned stop = (unsigned)_mm_movemask_epi8(ends);
        unsigned highs = (unsigned)_mm_movemask_epi8(bytes);
        if (stop) {
            *high |= seen || (highs & (stop - 1) & ~stop);
            return i + (unsigned)__builtin_ctz(stop);
        }
        seen |= highs;
    }
#endif
    for (; text.len - i >= 8; i += 8) {
        uint64_t word = fm_load_le64(text.ptr + i);
        uint64_t stop = json_zero_bytes(word ^ JSON_ONES * '"') |
                        json_zero_bytes(word ^ JSON_ONES * '\\') |
                        ((word - JSON_ONES * 0x20) & ~word & JSON_HIGHS);
        if (stop) {
            size_t skip = (size_t)__builtin_ctzll(stop) / 8;
            seen |= word & ~(UINT64_MAX << (8 * skip)) & JSON_HIGHS;
            i += skip;
            break;
        }
        seen |= word & JSON_HIGHS;
    }
    for (; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte == '"' || byte == '\\' || byte < 0x20)
            break;
        seen |= byte & 0x80;
    }
    *high |= seen != 0;
    return i;
}

static int json_hex4(const uint8_t *ptr)
{
    uint8_t bytes[2];
    if (fm_hex_decode(bytes, 2, fm_slice(ptr, 4)) < 0)
        return -1;
    return bytes[0] << 8 | bytes[1];
}

static uint8_t *json_put_code_point(uint8_t *target, uint32_t code)
{
    if (code < 0x80) {
        *target++ = (uint8_t)code;
    } else if (code < 0x800) {
        *target++ = (uint8_t)(0xc0 | code >> 6);
        *target++ = (uint8_t)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *target++ = (uint8_t)(0xe0 | code >> 12);
        *target++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        *target++ = (uint8_t)(0x80 | (code & 0x3f));
    } else {
        *target++ = (uint8_t)(0xf0 | code >> 18);
        *target++ = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        *target++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        *target++ = (uint8_t)(0x80 | (code & 0x3f));
    }
    return target;
}

/* The hex digits after "\u" at text[*i], with a second escape if it completes a surrogate pair.
 * A lone surrogate becomes U+FFFD.  The digits were checked by json_string_end. */
static uint32_t json_unicode_escape(struct fm_slice text, size_t *i)
{
    uint32_t code = (uint32_t)json_hex4(text.ptr + *i);
    *i += 4;
    if (code < 0xd800 || code > 0xdfff)
        return code;
    if (code > 0xdbff || text.len - *i < 6 || text.ptr[*i] != '\\' || text.ptr[*i + 1] != 'u')
        return 0xfffd;
    uint32_t low = (uint32_t)json_hex4(text.ptr + *i + 2);
    if (low < 0xdc00 || low > 0xdfff)
        return 0xfffd;
    *i += 6;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

/* Unescaped copy of text in scratch; never longer than text. */
static int json_unescape(struct json_reader *reader, struct fm_slice *text)
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    uint8_t *target = fm_arena_alloc(reader->scratch, text->len), *start = target;

    if (!target)
        return FM_ENOMEM;
    for (size_t i = 0; i < text->len;) {
        const uint8_t *from = text->ptr + i;
        const uint8_t *stop = memchr(from, '\\', text->len - i);
        size_t plain = stop ? (size_t)(stop - from) : text->len - i;
        memcpy(target, from, plain);
        target += plain;
        i += plain;
        if (!stop)
            break;
        uint8_t letter = text->ptr[i + 1];
        i += 2;
        if (letter == 'u')
            target = json_put_code_point(target, json_unicode_escape(*text, &i));
        else
            *target++ = (uint8_t)bytes[strchr(letters, letter) - letters];
    }
    *text = fm_slice(start, (size_t)(target - start));
    return FM_OK;
}

/* Copy of text in scratch with U+FFFD for what is not UTF-8. */
static int json_repair(struct json_reader *reader, struct fm_slice *text)
{
    struct fm_buf repaired;

    fm_buf_init(&repaired, 3 * text->len);
    fm_utf8_repair(&repaired, *text);
    bool failed = repaired.failed;
    struct fm_slice copy = {0};
    if (!failed)
        copy = fm_slice_dup(reader->scratch, fm_buf_slice(&repaired));
    fm_buf_fini(&repaired);
    if (failed || fm_arena_failed(reader->scratch))
        return FM_ENOMEM;
    *text = copy;
    return FM_OK;
}

/* Finds the closing quote (reader->position stands behind the opening one) and checks escapes. */
static int json_string_end(struct json_reader *reader, bool *ret_escaped, bool *ret_high)
{
    struct fm_slice document = reader->document;
    size_t i = reader->position;
    bool escaped = false, high = false;

    for (;;) {
        i = json_plain_run(document, i, &high);
        reader->position = i;
        if (i == document.len)
            return json_fail(reader, "unterminated string");
        if (document.ptr[i] == '"')
            break;
        if (document.ptr[i] != '\\')
            return json_fail(reader, "control character in string");
        if (document.len - i < 2)
            return json_fail(reader, "unterminated string");
        uint8_t letter = document.ptr[i + 1];
        if (letter == 'u' && (document.len - i < 6 || json_hex4(document.ptr + i + 2) < 0))
            return json_fail(reader, "bad \\u escape");
        if (letter == 0 || !strchr("\"\\/bfnrtu", letter))
            return json_fail(reader, "unknown escape");
        i += letter == 'u' ? 6 : 2;
        escaped = true;
    }
    *ret_escaped = escaped;
    *ret_high = high;
    return FM_OK;
}

static inline int json_read_string(struct json_reader *reader, bool wanted,
                                   struct fm_slice *ret_text)
{
    size_t start = ++reader->position; /* behind the quote */
    bool escaped, high = false;
    size_t end = json_plain_run(reader->document, start, &high);
    if (FM_LIKELY(end < reader->document.len && reader->document.ptr[end] == '"' && !high)) {
        *ret_text = fm_slice(reader->document.ptr + start, end - start);
        reader->position = end + 1;
        return FM_OK;
    }
    int rc = json_string_end(reader, &escaped, &high);
    if (rc < 0)
        return rc;
    struct fm_slice text = fm_slice(reader->document.ptr + start, reader->position - start);
    reader->position++;
    if (wanted && escaped)
        rc = json_unescape(reader, &text);
    if (rc == FM_OK && wanted && high && fm_utf8_valid_len(text) < text.len)
        rc = json_repair(reader, &text);
    if (rc < 0)
        return rc;
    *ret_text = text;
    return FM_OK;
}

static size_t json_digits(struct fm_slice text, size_t i)
{
    while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9')
        i++;
    return i;
}

/* Where the number at the start of text ends; 0: not a number.  Leading zeros are for the caller
 * to refuse (JSON) or not (numbers in strings). */
static size_t json_number_len(struct fm_slice text)
{
    size_t start = text.len && text.ptr[0] == '-', i = json_digits(text, start);

    if (i == start)
        return 0;
    if (i < text.len && text.ptr[i] == '.') {
        start = ++i;
        i = json_digits(text, i);
        if (i == start)
            return 0;
    }
    if (i < text.len && (text.ptr[i] | 0x20) == 'e') {
        i++;
        i += i < text.len && (text.ptr[i] == '+' || text.ptr[i] == '-');
        start = i;
        i = json_digits(text, i);
        if (i == start)
            return 0;
    }
    return i;
}

static int json_read_number(struct json_reader *reader, struct fm_slice *ret_text)
{
    const uint8_t *start = reader->document.ptr + reader->position;
    struct fm_slice rest = fm_slice(start, reader->document.len - reader->position);
    size_t len = json_number_len(rest), sign = *start == '-';

    if (!len || (start[sign] == '0' && json_digits(rest, sign) > sign + 1))
        return json_fail(reader, "bad number");
    reader->position += len;
    *ret_text = fm_slice(start, len);
    return FM_OK;
}

static int json_read_word(struct json_reader *reader, struct json_token *token)
{
    static const struct {
        struct fm_slice text;
        enum json_kind kind;
    } words[] = {
        {FM_SLICE("true"), JSON_TRUE},
        {FM_SLICE("false"), JSON_FALSE},
        {FM_SLICE("null"), JSON_NULL},
    };
    const uint8_t *start = reader->document.ptr + reader->position;
    size_t left = reader->document.len - reader->position;

    for (size_t i = 0; i < FM_COUNT(words); i++) {
        size_t len = words[i].text.len;
        if (left >= len && memcmp(start, words[i].text.ptr, len) == 0) {
            reader->position += len;
            *token = (struct json_token){.kind = words[i].kind};
            return FM_OK;
        }
    }
    return json_fail(reader, "unexpected character");
}

static bool json_in_object(const struct json_reader *reader)
{
    return reader->depth && (reader->in_object >> (reader->depth - 1) & 1);
}

static int json_open(struct json_reader *reader, struct json_token *token, bool object)
{
    if (reader->depth >= FM_MIN(reader->depth_max, JSON_DEPTH_MAX)) {
        reader->error = "nested too deeply";
        return FM_ELIMIT;
    }
    uint64_t bit = UINT64_C(1) << reader->depth++;
    reader->in_object = object ? reader->in_object | bit : reader->in_object & ~bit;
    reader->state = object ? JSON_STATE_KEY_OR_END : JSON_STATE_VALUE_OR_END;
    reader->position++;
    *token = (struct json_token){.kind = object ? JSON_OBJECT_BEGIN : JSON_ARRAY_BEGIN};
    return FM_OK;
}

static int json_close(struct json_reader *reader, struct json_token *token)
{
    *token = (struct json_token){.kind = json_in_object(reader) ? JSON_OBJECT_END : JSON_ARRAY_END};
    reader->depth--;
    reader->state = JSON_STATE_AFTER;
    reader->position++;
    return FM_OK;
}

static int json_read_value(struct json_reader *reader, int byte, bool wanted,
                           struct json_token *token)
{
    if (byte == '{' || byte == '[')
        return json_open(reader, token, byte == '{');
    reader->state = JSON_STATE_AFTER;
    bool is_number = byte == '-' || (byte >= '0' && byte <= '9');
    if (byte != '"' && !is_number)
        return json_read_word(reader, token);
    int rc = is_number ? json_read_number(reader, &token->text)
                       : json_read_string(reader, wanted, &token->text);
    if (rc == FM_OK)
        token->kind = is_number ? JSON_NUMBER : JSON_STRING;
    return rc;
}

static int json_read_key(struct json_reader *reader, int byte, bool wanted,
                         struct json_token *token)
{
    if (byte != '"')
        return json_fail(reader, "expected a key");
    struct fm_slice text;
    int rc = json_read_string(reader, wanted, &text);
    if (rc < 0)
        return rc;
    if (json_peek(reader) != ':')
        return json_fail(reader, "expected ':'");
    reader->position++;
    reader->state = JSON_STATE_VALUE;
    *token = (struct json_token){JSON_KEY, text};
    return FM_OK;
}

/* wanted: unescape strings.  The token is written on success only. */
static inline int json_read(struct json_reader *reader, bool wanted, struct json_token *token)
{
    int byte = json_peek(reader);
    bool object = json_in_object(reader);

    if (reader->state == JSON_STATE_AFTER) {
        if (!reader->depth)
            return byte < 0 ? FM_END : json_fail(reader, "text behind the value");
        if (byte == (object ? '}' : ']'))
            return json_close(reader, token);
        if (byte != ',')
            return json_fail(reader, byte < 0 ? "unexpected end" : "expected ',' or the end");
        reader->position++;
        reader->state = object ? JSON_STATE_KEY : JSON_STATE_VALUE;
        byte = json_peek(reader);
    }
    if (byte < 0)
        return json_fail(reader, "unexpected end");
    if ((reader->state == JSON_STATE_KEY_OR_END && byte == '}') ||
        (reader->state == JSON_STATE_VALUE_OR_END && byte == ']'))
        return json_close(reader, token);
    if (reader->state == JSON_STATE_KEY || reader->state == JSON_STATE_KEY_OR_END)
        return json_read_key(reader, byte, wanted, token);
    return json_read_value(reader, byte, wanted, token);
}

static __attribute__((noinline)) int json_next_any(struct json_reader *reader,
                                                   struct json_token *ret_token)
{
    return json_read(reader, true, ret_token);
}

/* Bytes of the plain ASCII text before the quote that ends it; -1: longer than two steps, or not
 * plain, or too near to the end of the document. */
static inline int json_short_len(const uint8_t *text, const uint8_t *end)
{
    if (end - text <= 32)
        return -1;
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), escape = _mm_set1_epi8('\\');
    for (int i = 0; i < 32; i += 16) { /* by sign what is beyond ASCII is below a blank, too */
        __m128i bytes = _mm_loadu_si128((const __m128i *)(text + i));
        __m128i ends = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, escape));
        ends = _mm_or_si128(ends, _mm_cmplt_epi8(bytes, _mm_set1_epi8(' ')));
        unsigned stop = (unsigned)_mm_movemask_epi8(ends);
        if (stop) {
            i += __builtin_ctz(stop);
            return text[i] == '"' ? i : -1;
        }
    }
#else
    for (int i = 0; i < 32; i += 8) {
        uint64_t word = fm_load_le64(text + i);
        uint64_t stop = json_zero_bytes(word ^ JSON_ONES * '"') |
                        json_zero_bytes(word ^ JSON_ONES * '\\') |
                        ((word - JSON_ONES * 0x20) & ~word & JSON_HIGHS) | (word & JSON_HIGHS);
        if (stop) {
            i += __builtin_ctzll(stop) / 8;
            return text[i] == '"' ? i : -1;
        }
    }
#endif
    return -1;
}

/* Most tokens are a key behind a comma, and a short text behind it; the rest is as correct and
 * slower. */
int json_next(struct json_reader *reader, struct json_token *ret_token)
{
    const uint8_t *at = reader->document.ptr + reader->position;
    const uint8_t *end = reader->document.ptr + reader->document.len;
    if (end - at < 2)
        return json_next_any(reader, ret_token);
    bool is_value = reader->state == JSON_STATE_VALUE;
    if (*at == ',' && reader->state == JSON_STATE_AFTER && json_in_object(reader))
        at++;
    else if (!is_value && reader->state != JSON_STATE_KEY_OR_END)
        return json_next_any(reader, ret_token);
    int len = *at == '"' ? json_short_len(at + 1, end) : -1;
    if (len < 0 || (!is_value && at[len + 2] != ':'))
        return json_next_any(reader, ret_token);
    ret_token->kind = is_value ? JSON_STRING : JSON_KEY;
    ret_token->text = fm_slice(at + 1, (size_t)len);
    reader->state = is_value ? JSON_STATE_AFTER : JSON_STATE_VALUE;
    reader->position = (size_t)(at - reader->document.ptr) + (size_t)len + (is_value ? 2 : 3);
    return FM_OK;
}

int json_skip(struct json_reader *reader, const struct json_token *first)
{
    if (first->kind != JSON_OBJECT_BEGIN && first->kind != JSON_ARRAY_BEGIN)
        return FM_OK;
    uint32_t outside = reader->depth - 1;
    while (reader->depth > outside) {
        struct json_token token = {0};
        int rc = json_read(reader, false, &token);
        if (rc != FM_OK)
            return rc;
    }
    return FM_OK;
}
