/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP/JSON to protobuf, in one pass and without a tree.
 *
 * A table per message says which key becomes which field; keys match in lowerCamelCase and in
 * snake_case.  Fields are appended in the order in which they come, which protobuf allows, and
 * lengths are put in behind (pb_begin, pb_end).  Judging ids and limits is otlp_pb_check's task:
 * an id that is not hex becomes one zero byte, which no check lets pass.  A number out of range or
 * an unknown enum name leaves its field out; a value of the wrong kind refuses the document. */
#include "fermata/json.h"

#include "fermata/decode.h"
#include "fermata/pb.h"

enum otlp_json_kind {
    OTLP_JSON_MESSAGE, /* an object, or an array of objects */
    OTLP_JSON_STRING,  /* a string, or an array of strings */
    OTLP_JSON_ID,
    OTLP_JSON_BASE64,
    OTLP_JSON_U32,
    OTLP_JSON_FIXED32,
    OTLP_JSON_FIXED64,
    OTLP_JSON_INT64,
    OTLP_JSON_DOUBLE,
    OTLP_JSON_BOOL,
    OTLP_JSON_SPAN_KIND,
    OTLP_JSON_STATUS_CODE,
};

struct otlp_json_table;

struct otlp_json_field {
    struct fm_slice key; /* lowerCamelCase */
    uint16_t number;
    uint8_t kind;
    const struct otlp_json_table *inner; /* of OTLP_JSON_MESSAGE */
};

struct otlp_json_table {
    const struct otlp_json_field *fields;
    size_t count;
};

#define TABLE(name)                                                                                \
    {                                                                                              \
        name##_fields, FM_COUNT(name##_fields)                                                     \
    }
#define K(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

/* AnyValue is recursive: declared before, defined below. */
static const struct otlp_json_table otlp_json_any_value;

static const struct otlp_json_field otlp_json_key_value_fields[] = {
    {K("key"), 1, OTLP_JSON_STRING, NULL},
    {K("value"), 2, OTLP_JSON_MESSAGE, &otlp_json_any_value},
};
static const struct otlp_json_table otlp_json_key_value = TABLE(otlp_json_key_value);

static const struct otlp_json_field otlp_json_array_value_fields[] = {
    {K("values"), 1, OTLP_JSON_MESSAGE, &otlp_json_any_value},
};
static const struct otlp_json_table otlp_json_array_value = TABLE(otlp_json_array_value);

static const struct otlp_json_field otlp_json_kvlist_value_fields[] = {
    {K("values"), 1, OTLP_JSON_MESSAGE, &otlp_json_key_value},
};
static const struct otlp_json_table otlp_json_kvlist_value = TABLE(otlp_json_kvlist_value);

static const struct otlp_json_field otlp_json_any_value_fields[] = {
    {K("stringValue"), 1, OTLP_JSON_STRING, NULL},
    {K("intValue"), 3, OTLP_JSON_INT64, NULL},
    {K("boolValue"), 2, OTLP_JSON_BOOL, NULL},
    {K("doubleValue"), 4, OTLP_JSON_DOUBLE, NULL},
    {K("arrayValue"), 5, OTLP_JSON_MESSAGE, &otlp_json_array_value},
    {K("kvlistValue"), 6, OTLP_JSON_MESSAGE, &otlp_json_kvlist_value},
    {K("bytesValue"), 7, OTLP_JSON_BASE64, NULL},
};
static const struct otlp_json_table otlp_json_any_value = TABLE(otlp_json_any_value);

static const struct otlp_json_field otlp_json_event_fields[] = {
    {K("timeUnixNano"), 1, OTLP_JSON_FIXED64, NULL},
    {K("name"), 2, OTLP_JSON_STRING, NULL},
    {K("attributes"), 3, OTLP_JSON_MESSAGE, &otlp_json_key_value},
    {K("droppedAttributesCount"), 4, OTLP_JSON_U32, NULL},
};
static const struct otlp_json_table otlp_json_event = TABLE(otlp_json_event);

static const struct otlp_json_field otlp_json_link_fields[] = {
    {K("traceId"), 1, OTLP_JSON_ID, NULL},
    {K("spanId"), 2, OTLP_JSON_ID, NULL},
    {K("traceState"), 3, OTLP_JSON_STRING, NULL},
    {K("attributes"), 4, OTLP_JSON_MESSAGE, &otlp_json_key_value},
    {K("droppedAttributesCount"), 5, OTLP_JSON_U32, NULL},
    {K("flags"), 6, OTLP_JSON_FIXED32, NULL},
};
static const struct otlp_json_table otlp_json_link = TABLE(otlp_json_link);

static const struct otlp_json_field otlp_json_status_fields[] = {
    {K("message"), 2, OTLP_JSON_STRING, NULL},
    {K("code"), 3, OTLP_JSON_STATUS_CODE, NULL},
};
static const struct otlp_json_table otlp_json_status = TABLE(otlp_json_status);

static const struct otlp_json_field otlp_json_span_fields[] = {
    {K("traceId"), 1, OTLP_JSON_ID, NULL},
    {K("spanId"), 2, OTLP_JSON_ID, NULL},
    {K("traceState"), 3, OTLP_JSON_STRING, NULL},
    {K("parentSpanId"), 4, OTLP_JSON_ID, NULL},
    {K("flags"), 16, OTLP_JSON_FIXED32, NULL},
    {K("name"), 5, OTLP_JSON_STRING, NULL},
    {K("kind"), 6, OTLP_JSON_SPAN_KIND, NULL},
    {K("startTimeUnixNano"), 7, OTLP_JSON_FIXED64, NULL},
    {K("endTimeUnixNano"), 8, OTLP_JSON_FIXED64, NULL},
    {K("attributes"), 9, OTLP_JSON_MESSAGE, &otlp_json_key_value},
    {K("droppedAttributesCount"), 10, OTLP_JSON_U32, NULL},
    {K("events"), 11, OTLP_JSON_MESSAGE, &otlp_json_event},
    {K("droppedEventsCount"), 12, OTLP_JSON_U32, NULL},
    {K("links"), 13, OTLP_JSON_MESSAGE, &otlp_json_link},
    {K("droppedLinksCount"), 14, OTLP_JSON_U32, NULL},
    {K("status"), 15, OTLP_JSON_MESSAGE, &otlp_json_status},
};
static const struct otlp_json_table otlp_json_span = TABLE(otlp_json_span);

static const struct otlp_json_field otlp_json_scope_fields[] = {
    {K("name"), 1, OTLP_JSON_STRING, NULL},
    {K("version"), 2, OTLP_JSON_STRING, NULL},
    {K("attributes"), 3, OTLP_JSON_MESSAGE, &otlp_json_key_value},
    {K("droppedAttributesCount"), 4, OTLP_JSON_U32, NULL},
};
static const struct otlp_json_table otlp_json_scope = TABLE(otlp_json_scope);

static const struct otlp_json_field otlp_json_scope_spans_fields[] = {
    {K("scope"), 1, OTLP_JSON_MESSAGE, &otlp_json_scope},
    {K("spans"), 2, OTLP_JSON_MESSAGE, &otlp_json_span},
    {K("schemaUrl"), 3, OTLP_JSON_STRING, NULL},
    {K("instrumentationLibrary"), 1, OTLP_JSON_MESSAGE, &otlp_json_scope}, /* before proto 0.15 */
};
static const struct otlp_json_table otlp_json_scope_spans = TABLE(otlp_json_scope_spans);

static const struct otlp_json_field otlp_json_entity_ref_fields[] = {
    {K("schemaUrl"), 1, OTLP_JSON_STRING, NULL},
    {K("type"), 2, OTLP_JSON_STRING, NULL},
    {K("idKeys"), 3, OTLP_JSON_STRING, NULL},
    {K("descriptionKeys"), 4, OTLP_JSON_STRING, NULL},
};
static const struct otlp_json_table otlp_json_entity_ref = TABLE(otlp_json_entity_ref);

static const struct otlp_json_field otlp_json_resource_fields[] = {
    {K("attributes"), 1, OTLP_JSON_MESSAGE, &otlp_json_key_value},
    {K("droppedAttributesCount"), 2, OTLP_JSON_U32, NULL},
    {K("entityRefs"), 3, OTLP_JSON_MESSAGE, &otlp_json_entity_ref},
};
static const struct otlp_json_table otlp_json_resource = TABLE(otlp_json_resource);

/* Older spellings go to the field that protobuf kept for them; the check prefers scope_spans. */
static const struct otlp_json_field otlp_json_resource_spans_fields[] = {
    {K("resource"), 1, OTLP_JSON_MESSAGE, &otlp_json_resource},
    {K("scopeSpans"), 2, OTLP_JSON_MESSAGE, &otlp_json_scope_spans},
    {K("schemaUrl"), 3, OTLP_JSON_STRING, NULL},
    {K("instrumentationLibrarySpans"), 1000, OTLP_JSON_MESSAGE, &otlp_json_scope_spans},
    {K("deprecatedScopeSpans"), 1000, OTLP_JSON_MESSAGE, &otlp_json_scope_spans},
};
static const struct otlp_json_table otlp_json_resource_spans = TABLE(otlp_json_resource_spans);

static const struct otlp_json_field otlp_json_request_fields[] = {
    {K("resourceSpans"), 1, OTLP_JSON_MESSAGE, &otlp_json_resource_spans},
};
static const struct otlp_json_table otlp_json_request = TABLE(otlp_json_request);

#undef K
#undef TABLE

struct otlp_json {
    struct json_reader reader;
    struct fm_arena scratch; /* emptied with every member: texts are used at once */
    struct fm_buf *target;   /* borrowed */
    const char *error;
};

static int otlp_json_fail(struct otlp_json *json, const char *error)
{
    json->error = error;
    return FM_EMALFORMED;
}

/* FM_END does not occur inside of a value. */
static int otlp_json_next(struct otlp_json *json, struct json_token *token)
{
    return json_next(&json->reader, token);
}

/* key equals camel, or is its snake_case form. */
static bool otlp_json_key_is(struct fm_slice key, struct fm_slice camel)
{
    size_t at = 0;

    if (key.len == camel.len)
        return memcmp(key.ptr, camel.ptr, key.len) == 0;
    if (key.len < camel.len)
        return false;
    for (size_t i = 0; i < camel.len; i++, at++) {
        uint8_t c = camel.ptr[i];
        if (c >= 'A' && c <= 'Z') {
            if (at == key.len || key.ptr[at++] != '_')
                return false;
            c |= 0x20;
        }
        if (at == key.len || key.ptr[at] != c)
            return false;
    }
    return at == key.len;
}

/* Looks from *next on, where the one behind the last one found stands: most come in order. */
static const struct otlp_json_field *otlp_json_find(const struct otlp_json_table *table,
                                                    struct fm_slice key, size_t *next)
{
    for (size_t i = 0, at = *next; i < table->count; i++, at++) {
        at = at < table->count ? at : 0;
        if (otlp_json_key_is(key, table->fields[at].key)) {
            *next = at + 1;
            return &table->fields[at];
        }
    }
    return NULL;
}

static int otlp_json_put_id(struct otlp_json *json, uint32_t number, struct fm_slice text)
{
    uint8_t bytes[16] = {0};
    size_t len = text.len / 2;

    if (len > sizeof bytes || fm_hex_decode(bytes, len, text) < 0) {
        bytes[0] = 0;
        len = 1;
    }
    pb_put_bytes(json->target, number, fm_slice(bytes, len));
    return FM_OK;
}

static int otlp_json_put_base64(struct otlp_json *json, uint32_t number, struct fm_slice text)
{
    size_t len, mark = pb_begin(json->target, number);
    uint8_t *room = fm_buf_room(json->target, text.len);

    if (!room)
        return FM_ENOMEM;
    if (fm_base64_decode(room, &len, text) < 0)
        return otlp_json_fail(json, "bytes that are not base64");
    json->target->len += len;
    pb_end(json->target, mark);
    return FM_OK;
}

static const char *const otlp_json_kinds[] = {
    "SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",      "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER",
};
static const char *const otlp_json_codes[] = {
    "STATUS_CODE_UNSET",
    "STATUS_CODE_OK",
    "STATUS_CODE_ERROR",
};

static void otlp_json_put_enum(struct otlp_json *json, uint32_t number,
                               const struct json_token *token, const char *const *names,
                               size_t count)
{
    int64_t value;

    for (size_t i = 0; token->kind == JSON_STRING && i < count; i++) {
        if (fm_slice_equal_text(token->text, names[i])) {
            pb_put_u64(json->target, number, i);
            return;
        }
    }
    if (json_i64(token, &value) == FM_OK && value >= INT32_MIN && value <= INT32_MAX)
        pb_put_u64(json->target, number, (uint64_t)value);
}

/* A number, or a string that holds one; left out if it does not fit. */
static void otlp_json_put_number(struct otlp_json *json, const struct otlp_json_field *field,
                                 const struct json_token *token)
{
    struct fm_buf *target = json->target;
    uint64_t unsigned_value;
    int64_t signed_value;
    double real;

    switch ((enum otlp_json_kind)field->kind) {
    case OTLP_JSON_FIXED64:
        if (json_u64(token, &unsigned_value) == FM_OK)
            pb_put_fixed64(target, field->number, unsigned_value);
        break;
    case OTLP_JSON_U32:
        if (json_u64(token, &unsigned_value) == FM_OK && unsigned_value <= UINT32_MAX)
            pb_put_u64(target, field->number, unsigned_value);
        break;
    case OTLP_JSON_FIXED32:
        if (json_u64(token, &unsigned_value) == FM_OK && unsigned_value <= UINT32_MAX)
            pb_put_fixed32(target, field->number, (uint32_t)unsigned_value);
        break;
    case OTLP_JSON_INT64:
        if (json_i64(token, &signed_value) == FM_OK)
            pb_put_u64(target, field->number, (uint64_t)signed_value);
        break;
    case OTLP_JSON_DOUBLE:
        if (json_double(token, &real) == FM_OK) {
            memcpy(&unsigned_value, &real, sizeof real);
            pb_put_fixed64(target, field->number, unsigned_value);
        }
        break;
    case OTLP_JSON_SPAN_KIND:
        otlp_json_put_enum(json, field->number, token, otlp_json_kinds, FM_COUNT(otlp_json_kinds));
        break;
    default:
        otlp_json_put_enum(json, field->number, token, otlp_json_codes, FM_COUNT(otlp_json_codes));
        break;
    }
}

static int otlp_json_put_scalar(struct otlp_json *json, const struct otlp_json_field *field,
                                const struct json_token *token)
{
    switch ((enum otlp_json_kind)field->kind) {
    case OTLP_JSON_STRING:
    case OTLP_JSON_ID:
    case OTLP_JSON_BASE64:
        if (token->kind != JSON_STRING)
            return otlp_json_fail(json, "expected a string");
        if (field->kind == OTLP_JSON_ID)
            return otlp_json_put_id(json, field->number, token->text);
        if (field->kind == OTLP_JSON_BASE64)
            return otlp_json_put_base64(json, field->number, token->text);
        pb_put_bytes(json->target, field->number, token->text);
        return FM_OK;
    case OTLP_JSON_BOOL:
        if (token->kind != JSON_TRUE && token->kind != JSON_FALSE)
            return otlp_json_fail(json, "expected true or false");
        pb_put_u64(json->target, field->number, token->kind == JSON_TRUE);
        return FM_OK;
    default:
        if (token->kind != JSON_NUMBER && token->kind != JSON_STRING)
            return otlp_json_fail(json, "expected a number");
        otlp_json_put_number(json, field, token);
        return FM_OK;
    }
}

/* The members of an object whose beginning was read.  Recursion ends with the reader's depth. */
static int otlp_json_members(struct otlp_json *json, const struct otlp_json_table *table);

/* One value of a field, not null and not an array. */
static int otlp_json_put(struct otlp_json *json, const struct otlp_json_field *field,
                         const struct json_token *token)
{
    if (field->kind != OTLP_JSON_MESSAGE)
        return otlp_json_put_scalar(json, field, token);
    if (token->kind != JSON_OBJECT_BEGIN)
        return otlp_json_fail(json, "expected an object");
    size_t mark = pb_begin(json->target, field->number);
    int rc = otlp_json_members(json, field->inner);
    pb_end(json->target, mark);
    return rc;
}

/* A field's value with its first token read: null, one value, or for messages and strings an array
 * of them.  (Which fields are repeated is not told apart: the check merges what came twice.) */
static int otlp_json_put_all(struct otlp_json *json, const struct otlp_json_field *field,
                             struct json_token *token)
{
    int rc = FM_OK;

    if (token->kind == JSON_NULL)
        return FM_OK;
    if (token->kind != JSON_ARRAY_BEGIN ||
        (field->kind != OTLP_JSON_MESSAGE && field->kind != OTLP_JSON_STRING))
        return otlp_json_put(json, field, token);
    while (rc == FM_OK) {
        rc = otlp_json_next(json, token);
        if (rc != FM_OK || token->kind == JSON_ARRAY_END)
            return rc;
        if (token->kind != JSON_NULL)
            rc = otlp_json_put(json, field, token);
    }
    return rc;
}

static int otlp_json_members(struct otlp_json *json, const struct otlp_json_table *table)
{
    struct json_token token;
    size_t next = 0;
    int rc;

    while ((rc = otlp_json_next(json, &token)) == FM_OK && token.kind != JSON_OBJECT_END) {
        const struct otlp_json_field *field = otlp_json_find(table, token.text, &next);
        if (json->scratch.chunk)
            fm_arena_reset(&json->scratch);
        rc = otlp_json_next(json, &token);
        if (rc == FM_OK)
            rc = field ? otlp_json_put_all(json, field, &token) : json_skip(&json->reader, &token);
        if (rc != FM_OK)
            break;
    }
    return rc;
}

static int otlp_json_document(struct otlp_json *json)
{
    struct json_token token;
    int rc = otlp_json_next(json, &token);

    if (rc != FM_OK)
        return rc;
    if (token.kind != JSON_OBJECT_BEGIN)
        return otlp_json_fail(json, "expected an object");
    rc = otlp_json_members(json, &otlp_json_request);
    if (rc != FM_OK)
        return rc;
    rc = otlp_json_next(json, &token);
    return rc == FM_END ? FM_OK : rc;
}

int otlp_json_decode(struct fm_slice document, struct fm_buf *target, struct fm_why *why)
{
    struct otlp_json json = {.target = target};

    fm_arena_init(&json.scratch, 4 * document.len + FM_KIB(8));
    json_reader_init(&json.reader, document, &json.scratch);
    int rc = otlp_json_document(&json);
    fm_arena_fini(&json.scratch);
    if (rc == FM_OK && target->failed)
        rc = FM_ENOMEM;
    if (rc == FM_EMALFORMED || rc == FM_ELIMIT) {
        const char *error = json.error ? json.error : json.reader.error;
        return fm_fail(why, FM_EMALFORMED, "%s at byte %zu", error, json.reader.position);
    }
    return rc < 0 ? fm_fail(why, rc, "%s", fm_rc_text(rc)) : rc;
}
