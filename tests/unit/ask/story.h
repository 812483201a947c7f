/* SPDX-License-Identifier: Apache-2.0 */
/* story - traces written by hand as text, and their canonical OTLP.  tests/golden/ask/README.md
 * says how they are written.  A text that is wrong fails the test. */
#ifndef TESTS_UNIT_ASK_STORY_H
#define TESTS_UNIT_ASK_STORY_H

#include "../../support/test.h"

#include <math.h>

#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/units.h"

#define STORY_BASE_NS   (UINT64_C(1795219920) * FM_NS_PER_S)
#define STORY_SPANS     512u
#define STORY_TRACES    80u
#define STORY_WORD_MAX  4200u
#define STORY_NAMED_MAX 24u

struct story_named { /* a resource or a scope */
    char name[24];
    struct fm_buf otlp; /* the fields of its message */
};
struct story_trace {
    char name[24];
    struct trace_id id;
};
struct story_span {
    uint32_t trace, resource, scope;
    uint8_t id[8];
    struct fm_buf otlp; /* the fields of a Span */
};
struct story {
    struct fm_buf text;
    const char *at; /* what is not yet read */
    struct story_named resources[STORY_NAMED_MAX], scopes[STORY_NAMED_MAX];
    uint32_t resource_count, scope_count;
    struct story_trace traces[STORY_TRACES];
    uint32_t trace_count;
    struct story_span spans[STORY_SPANS];
    uint32_t span_count;
    uint64_t span_start_ns; /* of the last one, for its events */
};

/* ---- words ---- */

/* The next word of the line, with its quotes and brackets; false at the line's end. */
static inline bool story_word(struct story *story, char word[STORY_WORD_MAX])
{
    bool quoted = false;
    size_t len = 0, depth = 0;
    while (*story->at == ' ')
        story->at++;
    for (; *story->at && *story->at != '\n'; story->at++) {
        char c = *story->at;
        if (c == ' ' && !quoted && !depth)
            break;
        if (c == '"' && (!len || word[len - 1] != '\\'))
            quoted = !quoted;
        depth += !quoted && c == '[';
        depth -= !quoted && c == ']';
        assert_true(len + 1 < STORY_WORD_MAX);
        word[len++] = c;
    }
    word[len] = 0;
    return len != 0;
}

static inline void story_need(struct story *story, char word[STORY_WORD_MAX])
{
    if (!story_word(story, word))
        fail_msg("a line that is too short, before: %.80s", story->at);
}

/* What stands between quotes, or a word without any; "\n", "\t" and "\"" are escapes, and "\*1000"
 * is the character before it a thousand times. */
static inline void story_put_text(struct fm_buf *buf, const char *word, size_t len)
{
    if (len < 2 || word[0] != '"') {
        fm_buf_put(buf, word, len);
        return;
    }
    for (size_t i = 1; i + 1 < len; i++) {
        char c = word[i];
        if (c != '\\') {
            fm_buf_put_u8(buf, (uint8_t)c);
            continue;
        }
        c = word[++i];
        if (c == '*') {
            char *end;
            for (unsigned long times = strtoul(word + i + 1, &end, 10); times > 1; times--)
                fm_buf_put_u8(buf, (uint8_t)word[i - 2]);
            i = (size_t)(end - word) - 1;
        } else {
            fm_buf_put_u8(buf, (uint8_t)(c == 'n' ? '\n' : c == 't' ? '\t' : c));
        }
    }
}

/* "1.5s", "20ms", "7ns"; "-" in front: before. */
static inline int64_t story_duration(const char *word)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    char *unit;
    double number = strtod(word, &unit);
    for (size_t i = 0; i < FM_COUNT(units); i++)
        if (strcmp(unit, units[i].unit) == 0)
            return llround(number * units[i].ns);
    if (strcmp(word, "0") != 0)
        fail_msg("no duration: %s", word);
    return 0;
}

/* "@" and nanoseconds, or a duration since the story's begin. */
static inline uint64_t story_time(const char *word)
{
    return word[0] == '@' ? strtoull(word + 1, NULL, 10)
                          : STORY_BASE_NS + (uint64_t)story_duration(word);
}

static inline uint32_t story_index(const char *word, const char *words)
{
    const char *found = strstr(words, word);
    assert_true(found && word[0]);
    uint32_t index = 0;
    for (; words < found; words++)
        index += *words == ' ';
    return index;
}

static inline void story_hex(const char *word, uint8_t *bytes, size_t len)
{
    char digits[33];
    assert_true(strlen(word) <= 2 * len);
    memset(digits, '0', 2 * len);
    memcpy(digits + 2 * len - strlen(word), word, strlen(word));
    assert_ok(fm_hex_decode(bytes, len, fm_slice(digits, 2 * len)));
}

/* ---- values ---- */

static inline void story_put_value(struct fm_buf *buf, const char *word, size_t len);

static inline void story_put_array(struct fm_buf *buf, const char *word, size_t len)
{
    size_t mark = pb_begin(buf, 5), from = 1, depth = 0;
    bool quoted = false;
    for (size_t i = 1; i < len; i++) {
        quoted ^= word[i] == '"' && word[i - 1] != '\\';
        if (!depth && !quoted && (word[i] == ',' || i + 1 == len)) {
            while (word[from] == ' ')
                from++;
            if (i > from) {
                size_t element = pb_begin(buf, 1);
                story_put_value(buf, word + from, i - from);
                pb_end(buf, element);
            }
            from = i + 1;
        }
        depth += !quoted && word[i] == '[';
        depth -= !quoted && word[i] == ']' && depth;
    }
    pb_end(buf, mark);
}

/* A number, or a word. */
static inline void story_put_bare(struct fm_buf *buf, const char *text)
{
    char *end;
    long long integer = strtoll(text, &end, 10);
    uint64_t bits;
    if (!*end) {
        pb_put_u64(buf, 3, (uint64_t)integer);
        return;
    }
    double number = strtod(text, &end);
    memcpy(&bits, &number, sizeof bits);
    if (!*end)
        pb_put_fixed64(buf, 4, bits);
    else
        pb_put_text(buf, 1, text);
}

/* The fields of an AnyValue. */
static inline void story_put_value(struct fm_buf *buf, const char *word, size_t len)
{
    char text[STORY_WORD_MAX];
    struct fm_buf string;
    memcpy(text, word, len);
    text[len] = 0;
    if (text[0] == '"') {
        fm_buf_init(&string, FM_MIB(1));
        story_put_text(&string, text, len);
        pb_put_bytes(buf, 1, fm_buf_slice(&string));
        fm_buf_fini(&string);
    } else if (text[0] == '[') {
        story_put_array(buf, text, len);
    } else if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        pb_put_u64(buf, 2, text[0] == 't');
    } else if (strcmp(text, "map") == 0) {
        pb_end(buf, pb_begin(buf, 6));
    } else if (strcmp(text, "bytes") == 0) {
        pb_put_bytes(buf, 7, FM_SLICE("\x01\xff"));
    } else if (strcmp(text, "none") != 0) {
        story_put_bare(buf, text);
    }
}

/* The rest of the line: name=value ... */
static inline void story_put_attributes(struct story *story, struct fm_buf *buf, uint32_t field)
{
    char word[STORY_WORD_MAX];
    struct fm_buf key;
    while (story_word(story, word)) {
        char *equal = word[0] == '"' ? strchr(strchr(word + 1, '"'), '=') : strchr(word, '=');
        if (!equal)
            fail_msg("no attribute: %s", word);
        fm_buf_init(&key, FM_KIB(8));
        story_put_text(&key, word, (size_t)(equal - word));
        size_t pair = pb_begin(buf, field);
        pb_put_bytes(buf, 1, fm_buf_slice(&key));
        size_t value = pb_begin(buf, 2);
        story_put_value(buf, equal + 1, strlen(equal + 1));
        pb_end(buf, value);
        pb_end(buf, pair);
        fm_buf_fini(&key);
    }
}

/* ---- lines ---- */

static inline void story_put_word(struct story *story, struct fm_buf *buf, uint32_t field)
{
    char word[STORY_WORD_MAX];
    struct fm_buf text;
    story_need(story, word);
    fm_buf_init(&text, FM_KIB(64));
    story_put_text(&text, word, strlen(word));
    if (text.len)
        pb_put_bytes(buf, field, fm_buf_slice(&text));
    fm_buf_fini(&text);
}

static inline void story_read_named(struct story *story, struct story_named *named, bool is_scope)
{
    char word[STORY_WORD_MAX];
    story_need(story, word);
    (void)snprintf(named->name, sizeof named->name, "%.20s", word);
    fm_buf_init(&named->otlp, FM_MIB(1));
    if (is_scope) {
        story_put_word(story, &named->otlp, 1);
        story_put_word(story, &named->otlp, 2);
    }
    story_put_attributes(story, &named->otlp, is_scope ? 3 : 1);
}

static inline uint32_t story_find(const struct story_named *named, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(named[i].name, name) == 0)
            return i;
    fail_msg("not known: %s", name);
    return 0;
}

/* ID PARENT KIND STATUS START DURATION RESOURCE SCOPE NAME MESSAGE ATTRIBUTES */
static inline void story_read_span(struct story *story)
{
    char word[STORY_WORD_MAX];
    uint8_t parent[8];
    assert_true(story->span_count < STORY_SPANS && story->trace_count);
    struct story_span *span = &story->spans[story->span_count++];
    struct fm_buf *buf = &span->otlp, status;
    fm_buf_init(buf, FM_MIB(1));
    fm_buf_init(&status, FM_KIB(64));
    span->trace = story->trace_count - 1;
    pb_put_bytes(buf, 1, fm_slice(story->traces[span->trace].id.bytes, 16));
    story_need(story, word);
    story_hex(word, span->id, 8);
    pb_put_bytes(buf, 2, fm_slice(span->id, 8));
    story_need(story, word);
    if (strcmp(word, "-") != 0) {
        story_hex(word, parent, 8);
        pb_put_bytes(buf, 4, fm_slice(parent, 8));
    }
    story_need(story, word);
    pb_put_u64(buf, 6, story_index(word, "unspecified internal server client producer consumer"));
    story_need(story, word);
    uint32_t code = story_index(word, "unset ok error");
    story_need(story, word);
    story->span_start_ns = story_time(word);
    pb_put_fixed64(buf, 7, story->span_start_ns);
    story_need(story, word);
    pb_put_fixed64(buf, 8, story->span_start_ns + (uint64_t)story_duration(word));
    story_need(story, word);
    span->resource = story_find(story->resources, story->resource_count, word);
    story_need(story, word);
    span->scope = story_find(story->scopes, story->scope_count, word);
    story_put_word(story, buf, 5);
    story_put_word(story, &status, 2);
    pb_put_u64(&status, 3, code);
    pb_put_bytes(buf, 15, fm_buf_slice(&status));
    fm_buf_fini(&status);
    story_put_attributes(story, buf, 9);
}

/* OFFSET NAME ATTRIBUTES, of the span before; "link" TRACE SPAN ATTRIBUTES. */
static inline void story_read_part(struct story *story, bool is_link)
{
    char word[STORY_WORD_MAX];
    uint8_t id[16];
    assert_true(story->span_count);
    struct fm_buf *buf = &story->spans[story->span_count - 1].otlp;
    size_t mark = pb_begin(buf, is_link ? 13 : 11);
    story_need(story, word);
    if (is_link) {
        story_hex(word, id, 16);
        pb_put_bytes(buf, 1, fm_slice(id, 16));
        story_need(story, word);
        story_hex(word, id, 8);
        pb_put_bytes(buf, 2, fm_slice(id, 8));
    } else {
        pb_put_fixed64(buf, 1, story->span_start_ns + (uint64_t)story_duration(word));
        story_put_word(story, buf, 2);
    }
    story_put_attributes(story, buf, is_link ? 4 : 3);
    pb_end(buf, mark);
}

static inline void story_read_line(struct story *story)
{
    char word[STORY_WORD_MAX];
    if (!story_word(story, word) || word[0] == '#') {
        /* nothing */
    } else if (strcmp(word, "resource") == 0) {
        assert_true(story->resource_count < STORY_NAMED_MAX);
        story_read_named(story, &story->resources[story->resource_count++], false);
    } else if (strcmp(word, "scope") == 0) {
        assert_true(story->scope_count < STORY_NAMED_MAX);
        story_read_named(story, &story->scopes[story->scope_count++], true);
    } else if (strcmp(word, "trace") == 0) {
        assert_true(story->trace_count < STORY_TRACES);
        struct story_trace *trace = &story->traces[story->trace_count++];
        story_need(story, word);
        (void)snprintf(trace->name, sizeof trace->name, "%.20s", word);
        story_need(story, word);
        story_hex(word, trace->id.bytes, 16);
    } else if (strcmp(word, "span") == 0) {
        story_read_span(story);
    } else if (strcmp(word, "event") == 0 || strcmp(word, "link") == 0) {
        story_read_part(story, word[0] == 'l');
    } else {
        fail_msg("what is %s?", word);
    }
    while (*story->at && *story->at != '\n')
        story->at++;
    story->at += *story->at == '\n';
}

/* path: below tests/.  Owned by the caller. */
static inline struct story *story_read(const char *path)
{
    struct story *story = calloc(1, sizeof *story);
    assert_non_null(story);
    story->text = test_read_file(path);
    fm_buf_put_u8(&story->text, 0);
    story->at = (const char *)story->text.ptr;
    while (*story->at)
        story_read_line(story);
    return story;
}

static inline void story_free(struct story *story)
{
    for (uint32_t i = 0; i < story->resource_count; i++)
        fm_buf_fini(&story->resources[i].otlp);
    for (uint32_t i = 0; i < story->scope_count; i++)
        fm_buf_fini(&story->scopes[i].otlp);
    for (uint32_t i = 0; i < story->span_count; i++)
        fm_buf_fini(&story->spans[i].otlp);
    fm_buf_fini(&story->text);
    free(story);
}

/* One span as a request of its own. */
static inline void story_put_otlp(const struct story *story, uint32_t at, struct fm_buf *buf)
{
    const struct story_span *span = &story->spans[at];
    size_t resource_spans = pb_begin(buf, 1);
    pb_put_bytes(buf, 1, fm_buf_slice(&story->resources[span->resource].otlp));
    size_t scope_spans = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_buf_slice(&story->scopes[span->scope].otlp));
    pb_put_bytes(buf, 2, fm_buf_slice(&span->otlp));
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
}

static inline const char *story_name(const struct story *story, const struct trace_id *id)
{
    for (uint32_t i = 0; i < story->trace_count; i++)
        if (trace_id_equal(&story->traces[i].id, id))
            return story->traces[i].name;
    return "?";
}

#endif
