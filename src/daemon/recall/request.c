/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked for, and what a node says to it, as JSON.  Pure: bytes of a bucket are hostile. */
#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/json.h"
#include "fermata/recall.h"

#define RECALL_SCRATCH_BYTES FM_KIB(64)

bool recall_id_is_valid(struct fm_slice id)
{
    if (id.len == 0 || id.len > RECALL_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        uint8_t c = id.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return true;
}

struct recall_request *recall_request_free(struct recall_request *request)
{
    if (!request)
        return NULL;
    free(request->query);
    free(request->ids);
    free(request);
    return NULL;
}

/* ---- reading ---- */

static int text_copy(const struct json_token *token, char *target, size_t size)
{
    if (token->kind != JSON_STRING || token->text.len >= size ||
        memchr(token->text.ptr, 0, token->text.len))
        return FM_EMALFORMED;
    memcpy(target, token->text.ptr, token->text.len);
    target[token->text.len] = '\0';
    return FM_OK;
}

static int request_parse_query(struct recall_request *request, const struct json_token *token)
{
    if (token->kind != JSON_STRING || token->text.len > RECALL_QUERY_MAX || request->query ||
        memchr(token->text.ptr, 0, token->text.len))
        return FM_EMALFORMED;
    request->query = strndup((const char *)token->text.ptr, token->text.len);
    return request->query ? FM_OK : FM_ENOMEM;
}

static int request_parse_ids(struct json_reader *reader, struct recall_request *request)
{
    struct json_token token;
    int rc = json_next(reader, &token);
    if (rc != FM_OK || token.kind != JSON_ARRAY_BEGIN || request->ids)
        return rc < 0 ? rc : FM_EMALFORMED;
    request->ids = calloc(RECALL_TRACES_MAX, sizeof *request->ids);
    if (!request->ids)
        return FM_ENOMEM;
    for (;;) {
        rc = json_next(reader, &token);
        if (rc != FM_OK)
            return rc < 0 ? rc : FM_EMALFORMED;
        if (token.kind == JSON_ARRAY_END)
            return FM_OK;
        if (token.kind != JSON_STRING || request->id_count == RECALL_TRACES_MAX)
            return FM_EMALFORMED;
        rc = trace_id_parse(token.text, &request->ids[request->id_count], NULL);
        if (rc < 0)
            return rc;
        request->id_count++;
    }
}

static int request_member(struct json_reader *reader, struct fm_slice key,
                          struct recall_request *request, uint64_t *ret_version)
{
    uint64_t limit;
    const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {
        {"version", ret_version},
        {"expiresUnixNano", &request->expires_unix_ns},
        {"startUnixNano", &request->start_ns},
        {"endUnixNano", &request->end_ns},
        {"limit", &limit},
    };
    struct json_token token;
    if (fm_slice_equal_text(key, "traceIds"))
        return request_parse_ids(reader, request);
    int rc = json_next(reader, &token);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    if (fm_slice_equal_text(key, "id"))
        return text_copy(&token, request->id, sizeof request->id);
    if (fm_slice_equal_text(key, "tenant"))
        return text_copy(&token, request->tenant, sizeof request->tenant);
    if (fm_slice_equal_text(key, "query"))
        return request_parse_query(request, &token);
    for (size_t i = 0; i < FM_COUNT(numbers); i++) {
        if (!fm_slice_equal_text(key, numbers[i].name))
            continue;
        rc = json_u64(&token, numbers[i].value);
        if (rc == FM_OK && numbers[i].value == &limit)
            request->limit = (uint32_t)FM_MIN(limit, RECALL_TRACES_MAX);
        return rc;
    }
    return json_skip(reader, &token);
}

typedef int recall_member(struct json_reader *reader, struct fm_slice key, void *self);

static int recall_read_object(struct fm_slice json, recall_member *member, void *self)
{
    struct fm_arena scratch;
    struct json_reader reader;
    struct json_token token;
    fm_arena_init(&scratch, RECALL_SCRATCH_BYTES);
    json_reader_init(&reader, json, &scratch);
    int rc = json_next(&reader, &token);
    if (rc == FM_OK && token.kind != JSON_OBJECT_BEGIN)
        rc = FM_EMALFORMED;
    while (rc == FM_OK) {
        rc = json_next(&reader, &token);
        if (rc == FM_OK && token.kind == JSON_OBJECT_END)
            break;
        if (rc == FM_OK)
            rc = member(&reader, token.text, self);
    }
    fm_arena_fini(&scratch);
    return rc == FM_END ? FM_EMALFORMED : rc;
}

struct request_reading {
    struct recall_request *request;
    uint64_t version;
};

static int request_on_member(struct json_reader *reader, struct fm_slice key, void *self)
{
    struct request_reading *reading = self;
    return request_member(reader, key, reading->request, &reading->version);
}

static int request_check(const struct recall_request *request, uint64_t version, struct fm_why *why)
{
    if (version != 1)
        return fm_fail(why, FM_EUNSUPPORTED, "version %llu of recall requests is not known",
                       (unsigned long long)version);
    if (!recall_id_is_valid(fm_slice_text(request->id)))
        return fm_fail(why, FM_EMALFORMED, "it has no id");
    if (!tenant_is_valid(fm_slice_text(request->tenant)))
        return fm_fail(why, FM_EMALFORMED, "it has no tenant");
    if (!request->query == !request->id_count)
        return fm_fail(why, FM_EMALFORMED, "it has to have trace ids or a query");
    if (request->query && request->start_ns >= request->end_ns)
        return fm_fail(why, FM_EMALFORMED, "its query has no range of time");
    return FM_OK;
}

int recall_request_parse(struct fm_slice json, struct recall_request **ret_request,
                         struct fm_why *why)
{
    struct request_reading reading = {.request = calloc(1, sizeof *reading.request)};
    if (!reading.request)
        return fm_fail(why, FM_ENOMEM, "no memory for a request");
    int rc = recall_read_object(json, request_on_member, &reading);
    if (rc < 0)
        rc = fm_fail(why, rc, "it is not the JSON of a request");
    else
        rc = request_check(reading.request, reading.version, why);
    if (rc < 0) {
        recall_request_free(reading.request);
        return rc;
    }
    *ret_request = reading.request;
    return FM_OK;
}

static const char *const state_names[] = {
    [RECALL_SEARCHING] = "searching",
    [RECALL_UPLOADING] = "uploading",
    [RECALL_DONE] = "done",
    [RECALL_FAILED] = "failed",
};

const char *recall_state_name(enum recall_state state)
{
    return state_names[state];
}

static int answer_on_member(struct json_reader *reader, struct fm_slice key, void *self)
{
    struct recall_answer *answer = self;
    const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {
        {"foundTraces", &answer->found_traces},
        {"traces", &answer->traces},
        {"spans", &answer->spans},
        {"bytes", &answer->bytes},
        {"blocks", &answer->blocks},
        {"unixNano", &answer->unix_ns},
    };
    struct json_token token;
    int rc = json_next(reader, &token);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    if (fm_slice_equal_text(key, "node"))
        return text_copy(&token, answer->node, sizeof answer->node);
    if (fm_slice_equal_text(key, "host"))
        return text_copy(&token, answer->host, sizeof answer->host);
    if (fm_slice_equal_text(key, "why"))
        return text_copy(&token, answer->why, sizeof answer->why);
    if (fm_slice_equal_text(key, "partial")) {
        answer->is_partial = token.kind == JSON_TRUE;
        return json_skip(reader, &token);
    }
    if (fm_slice_equal_text(key, "state")) {
        for (unsigned i = 0; i < FM_COUNT(state_names); i++) {
            if (token.kind == JSON_STRING && fm_slice_equal_text(token.text, state_names[i])) {
                answer->state = (enum recall_state)i;
                return FM_OK;
            }
        }
        return FM_EMALFORMED;
    }
    for (size_t i = 0; i < FM_COUNT(numbers); i++)
        if (fm_slice_equal_text(key, numbers[i].name))
            return json_u64(&token, numbers[i].value);
    return json_skip(reader, &token);
}

int recall_answer_parse(struct fm_slice json, struct recall_answer *ret_answer)
{
    struct recall_answer answer = {.state = RECALL_SEARCHING};
    int rc = recall_read_object(json, answer_on_member, &answer);
    if (rc == FM_OK && !answer.node[0])
        rc = FM_EMALFORMED;
    if (rc == FM_OK)
        *ret_answer = answer;
    return rc;
}

/* ---- writing ---- */

static void put_member(struct json_writer *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_uint(json, value);
}

void recall_request_render(const struct recall_request *request, struct fm_buf *buf)
{
    struct json_writer json;
    json_writer_init(&json, buf);
    json_object_begin(&json);
    put_member(&json, "version", 1);
    json_key(&json, "id");
    json_text(&json, request->id);
    json_key(&json, "tenant");
    json_text(&json, request->tenant);
    put_member(&json, "expiresUnixNano", request->expires_unix_ns);
    if (request->query) {
        json_key(&json, "query");
        json_text(&json, request->query);
        put_member(&json, "startUnixNano", request->start_ns);
        put_member(&json, "endUnixNano", request->end_ns);
        put_member(&json, "limit", request->limit);
    } else {
        json_key(&json, "traceIds");
        json_array_begin(&json);
        for (uint32_t i = 0; i < request->id_count; i++)
            json_hex(&json, fm_slice(request->ids[i].bytes, sizeof request->ids[i].bytes));
        json_array_end(&json);
    }
    json_object_end(&json);
    fm_buf_puts(buf, "\n");
}

void recall_answer_render(const struct recall_answer *answer, struct fm_buf *buf)
{
    struct json_writer json;
    json_writer_init(&json, buf);
    json_object_begin(&json);
    json_key(&json, "node");
    json_text(&json, answer->node);
    json_key(&json, "host");
    json_text(&json, answer->host);
    json_key(&json, "state");
    json_text(&json, state_names[answer->state]);
    put_member(&json, "foundTraces", answer->found_traces);
    put_member(&json, "traces", answer->traces);
    put_member(&json, "spans", answer->spans);
    put_member(&json, "bytes", answer->bytes);
    put_member(&json, "blocks", answer->blocks);
    json_key(&json, "partial");
    json_bool(&json, answer->is_partial);
    put_member(&json, "unixNano", answer->unix_ns);
    if (answer->why[0]) {
        json_key(&json, "why");
        json_text(&json, answer->why);
    }
    json_object_end(&json);
    fm_buf_puts(buf, "\n");
}
