/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP's messages as tables (trace/v1/trace.proto, common/v1/common.proto), printed as JSON.
 *
 * Members of a repeated field need not lie side by side on the wire, so each field is one pass over
 * its message.  That is fast enough for people; the daemon has its own writer.
 */
#include "otlp_json.h"

#include "fermata/json.h"
#include "fermata/pb.h"

/* Messages within messages; with their arrays they stay below the writer's limit. */
#define OTLP_JSON_DEPTH_MAX 80

enum otlp_kind {
    OTLP_TEXT,
    OTLP_HEX,
    OTLP_BASE64,
    OTLP_U64_TEXT,
    OTLP_I64_TEXT,
    OTLP_U32,
    OTLP_BOOL,
    OTLP_DOUBLE,
    OTLP_MESSAGE,
};
struct otlp_field {
    uint32_t number;
    const char *name;
    enum otlp_kind kind;
    bool repeated;
    const struct otlp_field *message; /* its table, ended by number 0 */
};

static const struct otlp_field otlp_any_value[];
static const struct otlp_field otlp_key_value[] = {
    {1, "key", OTLP_TEXT, false, NULL},
    {2, "value", OTLP_MESSAGE, false, otlp_any_value},
    {0},
};
static const struct otlp_field otlp_array_value[] = {
    {1, "values", OTLP_MESSAGE, true, otlp_any_value},
    {0},
};
static const struct otlp_field otlp_key_value_list[] = {
    {1, "values", OTLP_MESSAGE, true, otlp_key_value},
    {0},
};
static const struct otlp_field otlp_any_value[] = {
    {1, "stringValue", OTLP_TEXT, false, NULL},
    {2, "boolValue", OTLP_BOOL, false, NULL},
    {3, "intValue", OTLP_I64_TEXT, false, NULL},
    {4, "doubleValue", OTLP_DOUBLE, false, NULL},
    {5, "arrayValue", OTLP_MESSAGE, false, otlp_array_value},
    {6, "kvlistValue", OTLP_MESSAGE, false, otlp_key_value_list},
    {7, "bytesValue", OTLP_BASE64, false, NULL},
    {0},
};
static const struct otlp_field otlp_event[] = {
    {1, "timeUnixNano", OTLP_U64_TEXT, false, NULL},
    {2, "name", OTLP_TEXT, false, NULL},
    {3, "attributes", OTLP_MESSAGE, true, otlp_key_value},
    {4, "droppedAttributesCount", OTLP_U32, false, NULL},
    {0},
};
static const struct otlp_field otlp_link[] = {
    {1, "traceId", OTLP_HEX, false, NULL},
    {2, "spanId", OTLP_HEX, false, NULL},
    {3, "traceState", OTLP_TEXT, false, NULL},
    {4, "attributes", OTLP_MESSAGE, true, otlp_key_value},
    {5, "droppedAttributesCount", OTLP_U32, false, NULL},
    {6, "flags", OTLP_U32, false, NULL},
    {0},
};
static const struct otlp_field otlp_status[] = {
    {2, "message", OTLP_TEXT, false, NULL},
    {3, "code", OTLP_U32, false, NULL},
    {0},
};
static const struct otlp_field otlp_span[] = {
    {1, "traceId", OTLP_HEX, false, NULL},
    {2, "spanId", OTLP_HEX, false, NULL},
    {3, "traceState", OTLP_TEXT, false, NULL},
    {4, "parentSpanId", OTLP_HEX, false, NULL},
    {16, "flags", OTLP_U32, false, NULL},
    {5, "name", OTLP_TEXT, false, NULL},
    {6, "kind", OTLP_U32, false, NULL},
    {7, "startTimeUnixNano", OTLP_U64_TEXT, false, NULL},
    {8, "endTimeUnixNano", OTLP_U64_TEXT, false, NULL},
    {9, "attributes", OTLP_MESSAGE, true, otlp_key_value},
    {10, "droppedAttributesCount", OTLP_U32, false, NULL},
    {11, "events", OTLP_MESSAGE, true, otlp_event},
    {12, "droppedEventsCount", OTLP_U32, false, NULL},
    {13, "links", OTLP_MESSAGE, true, otlp_link},
    {14, "droppedLinksCount", OTLP_U32, false, NULL},
    {15, "status", OTLP_MESSAGE, false, otlp_status},
    {0},
};
static const struct otlp_field otlp_scope[] = {
    {1, "name", OTLP_TEXT, false, NULL},
    {2, "version", OTLP_TEXT, false, NULL},
    {3, "attributes", OTLP_MESSAGE, true, otlp_key_value},
    {4, "droppedAttributesCount", OTLP_U32, false, NULL},
    {0},
};
static const struct otlp_field otlp_scope_spans[] = {
    {1, "scope", OTLP_MESSAGE, false, otlp_scope},
    {2, "spans", OTLP_MESSAGE, true, otlp_span},
    {3, "schemaUrl", OTLP_TEXT, false, NULL},
    {0},
};
static const struct otlp_field otlp_resource[] = {
    {1, "attributes", OTLP_MESSAGE, true, otlp_key_value},
    {2, "droppedAttributesCount", OTLP_U32, false, NULL},
    {0},
};
static const struct otlp_field otlp_resource_spans[] = {
    {1, "resource", OTLP_MESSAGE, false, otlp_resource},
    {2, "scopeSpans", OTLP_MESSAGE, true, otlp_scope_spans},
    {3, "schemaUrl", OTLP_TEXT, false, NULL},
    {0},
};
static const struct otlp_field otlp_request[] = {
    {1, "resourceSpans", OTLP_MESSAGE, true, otlp_resource_spans},
    {0},
};

static int otlp_put_message(struct json_writer *writer, const struct otlp_field *table,
                            struct fm_slice bytes, unsigned depth);

static bool otlp_is_on_wire(const struct otlp_field *field, const struct pb_field *found)
{
    if (found->number != field->number)
        return false;
    switch (field->kind) {
    case OTLP_TEXT:
    case OTLP_HEX:
    case OTLP_BASE64:
    case OTLP_MESSAGE:
        return found->type == PB_BYTES;
    case OTLP_DOUBLE:
        return found->type == PB_FIXED64;
    default:
        return found->type == PB_VARINT || found->type == PB_FIXED64 || found->type == PB_FIXED32;
    }
}

static int otlp_put_value(struct json_writer *writer, const struct otlp_field *field,
                          const struct pb_field *found, unsigned depth)
{
    double number;

    switch (field->kind) {
    case OTLP_TEXT:
        json_string(writer, found->bytes);
        break;
    case OTLP_HEX:
        json_hex(writer, found->bytes);
        break;
    case OTLP_BASE64:
        json_base64(writer, found->bytes);
        break;
    case OTLP_U64_TEXT:
        json_uint_text(writer, found->value);
        break;
    case OTLP_I64_TEXT:
        json_int_text(writer, (int64_t)found->value);
        break;
    case OTLP_U32:
        json_uint(writer, (uint32_t)found->value);
        break;
    case OTLP_BOOL:
        json_bool(writer, found->value != 0);
        break;
    case OTLP_DOUBLE:
        memcpy(&number, &found->value, sizeof number);
        json_number(writer, number);
        break;
    case OTLP_MESSAGE:
        return otlp_put_message(writer, field->message, found->bytes, depth + 1);
    }
    return FM_OK;
}

static int otlp_put_repeated(struct json_writer *writer, const struct otlp_field *field,
                             struct fm_slice rest, unsigned depth)
{
    struct pb_field found;
    bool any = false;
    int rc;

    while ((rc = pb_next(&rest, &found)) == FM_OK) {
        if (!otlp_is_on_wire(field, &found))
            continue;
        if (!any) {
            json_key(writer, field->name);
            json_array_begin(writer);
            any = true;
        }
        rc = otlp_put_value(writer, field, &found, depth);
        if (rc < 0)
            return rc;
    }
    if (any)
        json_array_end(writer);
    return rc == FM_END ? FM_OK : rc;
}

static int otlp_put_single(struct json_writer *writer, const struct otlp_field *field,
                           struct fm_slice rest, unsigned depth)
{
    struct pb_field found, last;
    bool any = false;
    int rc;

    while ((rc = pb_next(&rest, &found)) == FM_OK) {
        if (otlp_is_on_wire(field, &found)) {
            last = found;
            any = true;
        }
    }
    if (rc != FM_END)
        return rc;
    if (!any)
        return FM_OK;
    json_key(writer, field->name);
    return otlp_put_value(writer, field, &last, depth);
}

static int otlp_put_message(struct json_writer *writer, const struct otlp_field *table,
                            struct fm_slice bytes, unsigned depth)
{
    if (depth > OTLP_JSON_DEPTH_MAX)
        return FM_ELIMIT;
    json_object_begin(writer);
    for (; table->number; table++) {
        int rc = table->repeated ? otlp_put_repeated(writer, table, bytes, depth)
                                 : otlp_put_single(writer, table, bytes, depth);
        if (rc < 0)
            return rc;
    }
    json_object_end(writer);
    return FM_OK;
}

int otlp_json_put(struct fm_slice otlp, struct fm_buf *json)
{
    struct json_writer writer;

    json_writer_init(&writer, json);
    int rc = otlp_put_message(&writer, otlp_request, otlp, 0);
    if (rc < 0)
        return rc;
    return json->failed ? FM_ENOMEM : FM_OK;
}
