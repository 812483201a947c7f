/* SPDX-License-Identifier: Apache-2.0 */
/* Zipkin's JSON, versions 2 and 1, told apart span by span by their members.
 *
 * Lenient where a single value is odd (it is left out), strict where the document is no list of
 * spans. */
#include "fermata/bytes.h"
#include "fermata/json.h"
#include "fermata/zipkin.h"

#include "zipkin_batch.h"

#define ZIPKIN_NUMBER_MAX 64u /* bytes of a number's text */

struct zipkin_json {
    struct json_reader reader;
    struct zipkin_batch *batch;
    bool has_v1_member, has_v2_member;
};

/* ---- values ---- */

/* The first token of a value; what is neither text, number nor boolean is skipped and FM_NONE. */
static int read_scalar(struct zipkin_json *json, struct json_token *ret_token)
{
    int rc = json_next(&json->reader, ret_token);
    if (rc != FM_OK)
        return rc;
    if (ret_token->kind == JSON_NUMBER && ret_token->text.len > ZIPKIN_NUMBER_MAX) {
        json->reader.error = "a number of more than 64 characters";
        return FM_EMALFORMED;
    }
    if (ret_token->kind >= JSON_STRING && ret_token->kind <= JSON_FALSE)
        return FM_OK;
    rc = json_skip(&json->reader, ret_token);
    return rc < 0 ? rc : FM_NONE;
}

static struct fm_slice scalar_text(const struct json_token *token)
{
    if (token->kind == JSON_TRUE)
        return FM_SLICE("true");
    return token->kind == JSON_FALSE ? FM_SLICE("false") : token->text;
}

static int read_text(struct zipkin_json *json, struct fm_slice *text)
{
    struct json_token token;
    int rc = read_scalar(json, &token);
    if (rc == FM_OK)
        *text = scalar_text(&token);
    return rc < 0 ? rc : FM_OK;
}

/* A whole number, also as text; negative and odd ones are 0. */
static int read_number(struct zipkin_json *json, uint64_t *number)
{
    struct json_token token;
    int rc = read_scalar(json, &token);
    if (rc < 0)
        return rc;
    *number = 0;
    if (rc == FM_OK && (token.kind == JSON_NUMBER || token.kind == JSON_STRING) &&
        json_u64(&token, number) != FM_OK)
        *number = 0;
    return FM_OK;
}

static int read_bool(struct zipkin_json *json, bool *value)
{
    struct json_token token;
    int rc = read_scalar(json, &token);
    if (rc == FM_OK)
        *value = token.kind == JSON_TRUE || fm_slice_equal_text(token.text, "true");
    return rc < 0 ? rc : FM_OK;
}

/* 1 to 2 * len hex digits, padded with zeros in front; false: not that, or zero. */
static bool decode_id(struct fm_slice text, uint8_t *id, size_t len)
{
    char padded[32];
    uint8_t bits = 0;
    if (text.len == 0 || text.len > 2 * len)
        return false;
    if (text.len < 2 * len) {
        memset(padded, '0', sizeof padded);
        memcpy(padded + 2 * len - text.len, text.ptr, text.len);
        text = fm_slice(padded, 2 * len);
    }
    if (fm_hex_decode(id, len, text) < 0)
        return false;
    for (size_t i = 0; i < len; i++)
        bits |= id[i];
    return bits != 0;
}

static int read_id(struct zipkin_json *json, uint8_t *id, size_t len, bool *ret_good)
{
    struct json_token token;
    int rc = read_scalar(json, &token);
    *ret_good = rc == FM_OK && token.kind == JSON_STRING && decode_id(token.text, id, len);
    return rc < 0 ? rc : FM_OK;
}

/* ---- containers ---- */

/* Enters an object or array; another value is skipped and FM_NONE. */
static int enter(struct zipkin_json *json, enum json_kind begin)
{
    struct json_token token;
    int rc = json_next(&json->reader, &token);
    if (rc != FM_OK || token.kind == begin)
        return rc;
    rc = json_skip(&json->reader, &token);
    return rc < 0 ? rc : FM_NONE;
}

/* FM_OK and the next member's name; FM_END: the object is closed. */
static int next_key(struct zipkin_json *json, struct fm_slice *ret_key)
{
    struct json_token token;
    int rc = json_next(&json->reader, &token);
    if (rc != FM_OK)
        return rc;
    *ret_key = token.text;
    return token.kind == JSON_KEY ? FM_OK : FM_END;
}

/* By length first: the text is a literal. */
#define key_is(key, literal)                                                                       \
    ((key).len == sizeof(literal) - 1 && memcmp((key).ptr, literal, sizeof(literal) - 1) == 0)

static int skip_value(struct zipkin_json *json)
{
    struct json_token token;
    int rc = json_next(&json->reader, &token);
    return rc == FM_OK ? json_skip(&json->reader, &token) : rc;
}

static int read_endpoint(struct zipkin_json *json, struct zipkin_endpoint *endpoint)
{
    struct fm_slice key, text;
    uint64_t port;
    int rc = enter(json, JSON_OBJECT_BEGIN);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_OK;
    while ((rc = next_key(json, &key)) == FM_OK) {
        text = fm_slice(NULL, 0);
        if (key_is(key, "serviceName")) {
            rc = read_text(json, &endpoint->service);
        } else if (key_is(key, "ipv4") || key_is(key, "ipv6")) {
            rc = read_text(json, &text);
            if (text.len)
                zipkin_set_ip_text(endpoint, text, json->batch->scratch);
        } else if (key_is(key, "port")) {
            rc = read_number(json, &port);
            if (rc == FM_OK)
                zipkin_set_port(endpoint, port);
        } else {
            rc = skip_value(json);
        }
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

static int read_host(struct zipkin_json *json, const struct zipkin_endpoint **ret_host)
{
    struct zipkin_endpoint endpoint = {0};
    int rc = read_endpoint(json, &endpoint);
    json->has_v1_member = true;
    if (rc < 0 || zipkin_endpoint_is_empty(&endpoint))
        return rc;
    *ret_host = fm_arena_dup(json->batch->scratch, &endpoint, sizeof endpoint);
    return *ret_host ? FM_OK : FM_ENOMEM;
}

/* {timestamp, value, endpoint}; incomplete ones are left out. */
static int read_note(struct zipkin_json *json, const struct json_token *first)
{
    struct zipkin_note note = {0};
    struct fm_slice key;
    int rc = FM_OK;
    if (first->kind != JSON_OBJECT_BEGIN)
        return json_skip(&json->reader, first);
    while ((rc = next_key(json, &key)) == FM_OK) {
        if (key_is(key, "timestamp"))
            rc = read_number(json, &note.time_us);
        else if (key_is(key, "value"))
            rc = read_text(json, &note.value);
        else if (key_is(key, "endpoint"))
            rc = read_host(json, &note.host);
        else
            rc = skip_value(json);
        if (rc < 0)
            return rc;
    }
    if (rc != FM_END || !note.value.len || !note.time_us)
        return rc == FM_END ? FM_OK : rc;
    struct zipkin_note *place = zipkin_draft_note(json->batch);
    if (!place)
        return FM_ENOMEM;
    *place = note;
    return FM_OK;
}

/* The elements of the array just entered.  item is called with the first token of each and reads
 * the rest of it. */
static int read_items(struct zipkin_json *json,
                      int (*item)(struct zipkin_json *json, const struct json_token *first))
{
    for (;;) {
        struct json_token token;
        int rc = json_next(&json->reader, &token);
        if (rc != FM_OK || token.kind == JSON_ARRAY_END)
            return rc;
        rc = item(json, &token);
        if (rc < 0)
            return rc;
    }
}

static int read_list(struct zipkin_json *json,
                     int (*item)(struct zipkin_json *json, const struct json_token *first))
{
    int rc = enter(json, JSON_ARRAY_BEGIN);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_OK;
    return read_items(json, item);
}

static int read_tags(struct zipkin_json *json)
{
    struct fm_slice key;
    struct json_token token;
    int rc = enter(json, JSON_OBJECT_BEGIN);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_OK;
    while ((rc = next_key(json, &key)) == FM_OK) {
        rc = read_scalar(json, &token);
        if (rc < 0)
            return rc;
        if (rc == FM_NONE)
            continue;
        struct fm_slice text = scalar_text(&token);
        if (!key.len && !text.len)
            continue; /* says nothing */
        struct zipkin_tag *tag = zipkin_draft_tag(json->batch);
        if (!tag)
            return FM_ENOMEM;
        tag->key = key;
        tag->text = text;
    }
    return rc == FM_END ? FM_OK : rc;
}

/* ---- version 1 ---- */

/* What "type" or, without it, the literal says. */
static void tag_set_value(struct zipkin_tag *tag, const struct json_token *value,
                          struct fm_slice type)
{
    bool wants_int = fm_slice_equal_text(type, "I16") || fm_slice_equal_text(type, "I32") ||
                     fm_slice_equal_text(type, "I64");
    bool wants_double = fm_slice_equal_text(type, "DOUBLE");
    struct fm_slice text = scalar_text(value);
    if (value->kind == JSON_TRUE || value->kind == JSON_FALSE ||
        fm_slice_equal_text(type, "BOOL")) {
        tag->type = ZIPKIN_BOOL;
        tag->integer = fm_slice_equal_text(text, "true");
    } else if ((wants_int || (!type.len && value->kind == JSON_NUMBER)) &&
               json_i64(value, &tag->integer) == FM_OK) {
        tag->type = ZIPKIN_INT;
    } else if ((wants_double || value->kind == JSON_NUMBER) &&
               json_double(value, &tag->number) == FM_OK) {
        tag->type = ZIPKIN_DOUBLE;
    } else {
        tag->text = text;
    }
}

/* {key, value, type, endpoint} */
static int read_binary(struct zipkin_json *json, const struct json_token *first)
{
    struct zipkin_tag tag = {0};
    struct json_token value = {0};
    struct fm_slice key, type = {0};
    bool has_value = false;
    int rc = FM_OK;
    if (first->kind != JSON_OBJECT_BEGIN)
        return json_skip(&json->reader, first);
    while ((rc = next_key(json, &key)) == FM_OK) {
        if (key_is(key, "key")) {
            rc = read_text(json, &tag.key);
        } else if (key_is(key, "value")) {
            rc = read_scalar(json, &value);
            has_value = rc == FM_OK;
        } else if (key_is(key, "type")) {
            rc = read_text(json, &type);
        } else if (key_is(key, "endpoint")) {
            rc = read_host(json, &tag.host);
        } else {
            rc = skip_value(json);
        }
        if (rc < 0)
            return rc;
    }
    if (rc != FM_END || !tag.key.len || !has_value)
        return rc == FM_END ? FM_OK : rc;
    struct zipkin_tag *place = zipkin_draft_tag(json->batch);
    if (!place)
        return FM_ENOMEM;
    tag_set_value(&tag, &value, type);
    *place = tag;
    return FM_OK;
}

/* ---- spans ---- */

static int read_kind(struct zipkin_json *json, uint8_t *kind)
{
    static const struct {
        const char *text;
        uint8_t kind;
    } kinds[] = {{"client", ZIPKIN_CLIENT},
                 {"server", ZIPKIN_SERVER},
                 {"producer", ZIPKIN_PRODUCER},
                 {"consumer", ZIPKIN_CONSUMER}};
    struct fm_slice text = {0};
    int rc = read_text(json, &text);
    for (size_t i = 0; i < FM_COUNT(kinds) && rc == FM_OK; i++) {
        if (fm_slice_equal_nocase(text, kinds[i].text))
            *kind = kinds[i].kind;
    }
    return rc;
}

enum member {
    MEMBER_UNKNOWN,
    MEMBER_ID,
    MEMBER_KIND,
    MEMBER_NAME,
    MEMBER_TAGS,
    MEMBER_SHARED,
    MEMBER_TRACE_ID,
    MEMBER_PARENT_ID,
    MEMBER_DURATION,
    MEMBER_TIMESTAMP,
    MEMBER_ANNOTATIONS,
    MEMBER_LOCAL,
    MEMBER_REMOTE,
    MEMBER_BINARY,
};

static enum member member_of(struct fm_slice key)
{
    static const struct {
        struct fm_slice text;
        enum member member;
    } members[] = {
        {FM_SLICE("id"), MEMBER_ID},
        {FM_SLICE("kind"), MEMBER_KIND},
        {FM_SLICE("name"), MEMBER_NAME},
        {FM_SLICE("tags"), MEMBER_TAGS},
        {FM_SLICE("shared"), MEMBER_SHARED},
        {FM_SLICE("traceId"), MEMBER_TRACE_ID},
        {FM_SLICE("parentId"), MEMBER_PARENT_ID},
        {FM_SLICE("duration"), MEMBER_DURATION},
        {FM_SLICE("timestamp"), MEMBER_TIMESTAMP},
        {FM_SLICE("annotations"), MEMBER_ANNOTATIONS},
        {FM_SLICE("localEndpoint"), MEMBER_LOCAL},
        {FM_SLICE("remoteEndpoint"), MEMBER_REMOTE},
        {FM_SLICE("binaryAnnotations"), MEMBER_BINARY},
    };
    for (size_t i = 0; i < FM_COUNT(members); i++) {
        if (key.len == members[i].text.len && memcmp(key.ptr, members[i].text.ptr, key.len) == 0)
            return members[i].member;
    }
    return MEMBER_UNKNOWN;
}

static int read_member(struct zipkin_json *json, enum member member)
{
    struct zipkin_draft *draft = &json->batch->draft;
    struct zipkin_span *span = &draft->span;
    switch (member) {
    case MEMBER_ID:
        return read_id(json, span->id, 8, &draft->has_id);
    case MEMBER_TRACE_ID:
        return read_id(json, span->trace_id, 16, &draft->has_trace_id);
    case MEMBER_PARENT_ID:
        return read_id(json, span->parent_id, 8, &span->has_parent);
    case MEMBER_NAME:
        return read_text(json, &span->name);
    case MEMBER_DURATION:
        return read_number(json, &span->duration_us);
    case MEMBER_TIMESTAMP:
        return read_number(json, &span->timestamp_us);
    case MEMBER_ANNOTATIONS:
        return read_list(json, read_note);
    case MEMBER_BINARY:
        json->has_v1_member = true;
        return read_list(json, read_binary);
    case MEMBER_SHARED:
        return read_bool(json, &span->is_shared);
    case MEMBER_UNKNOWN:
        return skip_value(json);
    case MEMBER_KIND:
    case MEMBER_TAGS:
    case MEMBER_LOCAL:
    case MEMBER_REMOTE:
        break;
    }
    json->has_v2_member = true;
    if (member == MEMBER_KIND)
        return read_kind(json, &span->kind);
    if (member == MEMBER_TAGS)
        return read_tags(json);
    return read_endpoint(json, member == MEMBER_LOCAL ? &span->local : &span->remote);
}

/* Version 1 says so by its members, unless there are some of version 2, which would be lost; a bare
 * span with cs or sr and nothing of version 2 is one too. */
static bool span_is_v1(const struct zipkin_json *json)
{
    const struct zipkin_draft *draft = &json->batch->draft;
    if (json->has_v1_member || json->has_v2_member)
        return !json->has_v2_member;
    for (uint32_t i = 0; i < draft->note_count; i++) {
        if (zipkin_note_is_core(&draft->notes[i]))
            return true;
    }
    return false;
}

static int read_span(struct zipkin_json *json, const struct json_token *first)
{
    struct fm_slice key;
    int rc;
    if (first->kind == JSON_NULL)
        return FM_OK;
    if (first->kind != JSON_OBJECT_BEGIN) {
        json->reader.error = "expected a span";
        return FM_EMALFORMED;
    }
    zipkin_draft_reset(json->batch);
    json->has_v1_member = json->has_v2_member = false;
    while ((rc = next_key(json, &key)) == FM_OK) {
        rc = read_member(json, member_of(key));
        if (rc < 0)
            return rc;
    }
    if (rc != FM_END)
        return rc;
    json->batch->draft.is_v1 = span_is_v1(json);
    return zipkin_draft_finish(json->batch);
}

static int read_document(struct zipkin_json *json)
{
    struct json_token token;
    int rc = json_next(&json->reader, &token);
    if (rc != FM_OK)
        return rc;
    if (token.kind != JSON_ARRAY_BEGIN) {
        json->reader.error = "expected a list of spans";
        return FM_EMALFORMED;
    }
    rc = read_items(json, read_span);
    return rc == FM_OK ? json_next(&json->reader, &token) : rc;
}

int zipkin_json_decode(struct fm_slice text, struct fm_arena *scratch, struct fm_buf *target,
                       struct fm_why *why)
{
    struct zipkin_json json = {0};
    if (text.len == 0)
        return FM_OK;
    int rc = zipkin_batch_new(&json.batch, text.len, scratch, target, why);
    if (rc < 0)
        return rc;
    json_reader_init(&json.reader, text, scratch);
    rc = read_document(&json);
    if (rc == FM_OK) /* a second value: the reader does not let that happen */
        rc = FM_EMALFORMED;
    if (rc == FM_EMALFORMED || (rc == FM_ELIMIT && json.reader.depth >= json.reader.depth_max))
        rc = fm_fail(why, FM_EMALFORMED, "%s at byte %zu",
                     json.reader.error ? json.reader.error : "nested too deeply",
                     json.reader.position);
    return zipkin_batch_finish(json.batch, rc == FM_END ? FM_OK : rc, why);
}
