/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling strategies: the file of Jaeger's collectors in, answers for its clients out.
 *
 *   {"default_strategy": STRATEGY,
 *    "service_strategies": [STRATEGY with "service", ...]}
 *   STRATEGY: {"type": "probabilistic" | "ratelimiting", "param": NUMBER,
 *              "operation_strategies": [{"operation", "type", "param"}, ...]}
 *
 * As there: a service without operations of its own has the default's, one with operations has the
 * default's for those it does not name; operations can only be probabilistic, others are left out;
 * of two with one name the last holds.  Without a default strategy everything is sampled.
 */
#include "fermata/sampling.h"

#include <stdlib.h>

#include "fermata/json.h"
#include "fermata/pb.h"

#define SAMPLING_MEMORY_MAX     FM_MIB(8) /* of a file of SAMPLING_FILE_BYTES_MAX */
#define SAMPLING_SERVICES_MAX   10000u
#define SAMPLING_OPERATIONS_MAX 1000u /* of one strategy */
#define SAMPLING_RATE_MAX       2147483647.0

enum sampling_type { SAMPLING_PROBABILISTIC, SAMPLING_RATE_LIMITING, SAMPLING_TYPE_NONE };

struct sampling_list { /* of strategies while they are read, then sorted by name */
    struct sampling_strategy **items;
    uint32_t count, capacity;
};
struct sampling_strategy {
    struct fm_slice name; /* of the service or the operation */
    enum sampling_type type;
    bool has_param;
    double param;
    uint32_t order; /* in the file */
    struct sampling_list operations;
};
struct sampling {
    struct fm_arena arena;
    struct sampling_strategy fallback;
    struct sampling_list services;
};

struct sampling_parser {
    struct json_reader reader;
    struct fm_arena *arena; /* borrowed from the sampling */
    struct fm_why *why;
};

/* ---- reading ---- */

static int parser_fail(struct sampling_parser *parser, int rc, const char *what)
{
    return fm_fail(parser->why, rc, "%s at byte %zu", what, parser->reader.position);
}

static int parser_next(struct sampling_parser *parser, struct json_token *ret_token)
{
    int rc = json_next(&parser->reader, ret_token);
    if (rc == FM_END)
        return parser_fail(parser, FM_EMALFORMED, "the file ends too early");
    if (rc == FM_EMALFORMED)
        return parser_fail(parser, rc, parser->reader.error);
    return rc < 0 ? parser_fail(parser, rc, fm_rc_text(rc)) : rc;
}

static int list_add(struct sampling_parser *parser, struct sampling_list *list, uint32_t max,
                    struct sampling_strategy **ret_item)
{
    if (list->count == max)
        return parser_fail(parser, FM_ELIMIT, "too many strategies");
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 8;
        struct sampling_strategy **grown =
            fm_arena_alloc(parser->arena, capacity * sizeof(struct sampling_strategy *));
        if (!grown)
            return parser_fail(parser, FM_ENOMEM, "no memory for the strategies");
        if (list->count)
            memcpy(grown, list->items, list->count * sizeof(struct sampling_strategy *));
        list->items = grown;
        list->capacity = capacity;
    }
    struct sampling_strategy *item = fm_arena_zalloc(parser->arena, sizeof *item);
    if (!item)
        return parser_fail(parser, FM_ENOMEM, "no memory for the strategies");
    item->type = SAMPLING_TYPE_NONE;
    item->order = list->count;
    list->items[list->count++] = item;
    *ret_item = item;
    return FM_OK;
}

static int strategy_compare(const void *left, const void *right)
{
    const struct sampling_strategy *a = *(struct sampling_strategy *const *)left;
    const struct sampling_strategy *b = *(struct sampling_strategy *const *)right;
    int order = fm_slice_compare(a->name, b->name);
    return order ? order : (a->order > b->order) - (a->order < b->order);
}

/* By name, the last of equal names only. */
static void list_sort(struct sampling_list *list)
{
    uint32_t kept = 0;
    if (list->count < 2)
        return;
    qsort(list->items, list->count, sizeof(struct sampling_strategy *), strategy_compare);
    for (uint32_t i = 0; i < list->count; i++) {
        bool is_last =
            i + 1 == list->count || !fm_slice_equal(list->items[i]->name, list->items[i + 1]->name);
        if (is_last)
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

static const struct sampling_strategy *list_find(const struct sampling_list *list,
                                                 struct fm_slice name)
{
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = fm_slice_compare(list->items[middle]->name, name);
        if (order == 0)
            return list->items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int parser_read_type(struct sampling_parser *parser, const struct json_token *token,
                            enum sampling_type *ret_type)
{
    if (token->kind == JSON_STRING && fm_slice_equal_text(token->text, "probabilistic"))
        *ret_type = SAMPLING_PROBABILISTIC;
    else if (token->kind == JSON_STRING && fm_slice_equal_text(token->text, "ratelimiting"))
        *ret_type = SAMPLING_RATE_LIMITING;
    else
        return parser_fail(parser, FM_EMALFORMED, "type is not probabilistic or ratelimiting");
    return FM_OK;
}

static int strategy_check(struct sampling_parser *parser, const struct sampling_strategy *strategy)
{
    bool is_rate = strategy->type == SAMPLING_RATE_LIMITING;
    if (strategy->type == SAMPLING_TYPE_NONE || !strategy->has_param)
        return parser_fail(parser, FM_EMALFORMED, "a strategy without type or param");
    if (!(strategy->param >= 0 && strategy->param <= (is_rate ? SAMPLING_RATE_MAX : 1.0)))
        return parser_fail(parser, FM_EMALFORMED, "param is out of its range");
    return FM_OK;
}

static int parser_read_list(struct sampling_parser *parser, const char *name_key, uint32_t max,
                            struct sampling_list *list);

static int parser_read_member(struct sampling_parser *parser, struct fm_slice key,
                              const char *name_key, struct sampling_strategy *strategy)
{
    struct json_token token;
    bool is_service = strcmp(name_key, "operation") != 0;
    if (is_service && fm_slice_equal_text(key, "operation_strategies"))
        return parser_read_list(parser, "operation", SAMPLING_OPERATIONS_MAX,
                                &strategy->operations);
    int rc = parser_next(parser, &token);
    if (rc < 0)
        return rc;
    if (fm_slice_equal_text(key, "type"))
        return parser_read_type(parser, &token, &strategy->type);
    if (fm_slice_equal_text(key, "param")) {
        strategy->has_param = true;
        if (token.kind != JSON_NUMBER || json_double(&token, &strategy->param) != FM_OK)
            return parser_fail(parser, FM_EMALFORMED, "param is not a number");
        return FM_OK;
    }
    if (fm_slice_equal_text(key, name_key)) {
        if (token.kind != JSON_STRING)
            return parser_fail(parser, FM_EMALFORMED, "a name is not a string");
        strategy->name = fm_slice_dup(parser->arena, token.text);
        return FM_OK;
    }
    rc = json_skip(&parser->reader, &token);
    return rc == FM_OK ? FM_OK : parser_fail(parser, FM_EMALFORMED, "a member cannot be read");
}

/* Behind the object's brace. */
static int parser_read_strategy(struct sampling_parser *parser, const char *name_key,
                                struct sampling_strategy *strategy)
{
    struct json_token token;
    for (;;) {
        int rc = parser_next(parser, &token);
        if (rc < 0)
            return rc;
        if (token.kind == JSON_OBJECT_END)
            return strategy_check(parser, strategy);
        rc = parser_read_member(parser, token.text, name_key, strategy);
        if (rc < 0)
            return rc;
    }
}

static int parser_read_list(struct sampling_parser *parser, const char *name_key, uint32_t max,
                            struct sampling_list *list)
{
    struct json_token token;
    struct sampling_strategy *item = NULL;
    int rc = parser_next(parser, &token);
    if (rc < 0)
        return rc;
    if (token.kind == JSON_NULL)
        return FM_OK;
    if (token.kind != JSON_ARRAY_BEGIN)
        return parser_fail(parser, FM_EMALFORMED, "strategies are not a list");
    while ((rc = parser_next(parser, &token)) == FM_OK && token.kind != JSON_ARRAY_END) {
        if (token.kind != JSON_OBJECT_BEGIN)
            return parser_fail(parser, FM_EMALFORMED, "a strategy is not an object");
        rc = list_add(parser, list, max, &item);
        if (rc == FM_OK)
            rc = parser_read_strategy(parser, name_key, item);
        if (rc < 0)
            return rc;
        if (item->type == SAMPLING_RATE_LIMITING && max == SAMPLING_OPERATIONS_MAX)
            list->count--; /* clients know only probabilities of operations */
    }
    if (rc == FM_OK)
        list_sort(list);
    return rc;
}

static int parser_read_default(struct sampling_parser *parser, struct sampling_strategy *fallback)
{
    struct json_token token;
    int rc = parser_next(parser, &token);
    if (rc < 0 || token.kind == JSON_NULL)
        return rc;
    if (token.kind != JSON_OBJECT_BEGIN)
        return parser_fail(parser, FM_EMALFORMED, "default_strategy is not an object");
    *fallback = (struct sampling_strategy){.type = SAMPLING_TYPE_NONE};
    return parser_read_strategy(parser, "service", fallback);
}

static int parser_read_file(struct sampling_parser *parser, struct sampling *sampling)
{
    struct json_token token;
    int rc = parser_next(parser, &token);
    if (rc == FM_OK && token.kind != JSON_OBJECT_BEGIN)
        return parser_fail(parser, FM_EMALFORMED, "the file is not an object");
    while (rc == FM_OK && (rc = parser_next(parser, &token)) == FM_OK) {
        if (token.kind == JSON_OBJECT_END)
            break;
        if (fm_slice_equal_text(token.text, "default_strategy")) {
            rc = parser_read_default(parser, &sampling->fallback);
        } else if (fm_slice_equal_text(token.text, "service_strategies")) {
            rc = parser_read_list(parser, "service", SAMPLING_SERVICES_MAX, &sampling->services);
        } else {
            rc = parser_next(parser, &token);
            if (rc == FM_OK && json_skip(&parser->reader, &token) != FM_OK)
                return parser_fail(parser, FM_EMALFORMED, "a member cannot be read");
        }
    }
    if (rc < 0)
        return rc;
    rc = json_next(&parser->reader, &token);
    return rc == FM_END ? FM_OK
                        : parser_fail(parser, FM_EMALFORMED, "something stands behind the object");
}

int sampling_new(struct sampling **ret_sampling, struct fm_slice json, struct fm_why *why)
{
    FM_AUTO(sampling) sampling = calloc(1, sizeof *sampling);
    if (!sampling)
        return fm_fail(why, FM_ENOMEM, "no memory for the strategies");
    fm_arena_init(&sampling->arena, SAMPLING_MEMORY_MAX);
    sampling->fallback =
        (struct sampling_strategy){.type = SAMPLING_PROBABILISTIC, .has_param = true, .param = 1.0};
    if (json.len > SAMPLING_FILE_BYTES_MAX)
        return fm_fail(why, FM_ELIMIT, "longer than %zu bytes", SAMPLING_FILE_BYTES_MAX);
    if (json.len) {
        struct sampling_parser parser = {.arena = &sampling->arena, .why = why};
        json_reader_init(&parser.reader, json, &sampling->arena);
        int rc = parser_read_file(&parser, sampling);
        if (rc == FM_OK && fm_arena_failed(&sampling->arena))
            rc = fm_fail(why, FM_ENOMEM, "no memory for the strategies");
        if (rc < 0)
            return rc;
    }
    *ret_sampling = fm_take(sampling);
    return FM_OK;
}

struct sampling *sampling_free(struct sampling *sampling)
{
    if (sampling)
        fm_arena_fini(&sampling->arena);
    free(sampling);
    return NULL;
}

size_t sampling_service_count(const struct sampling *sampling)
{
    return sampling->services.count;
}

/* ---- answering ---- */

/* What one service is told. */
struct sampling_answer {
    enum sampling_type type;
    double param;
    double operation_default;
    const struct sampling_list *own;   /* operations of the service */
    const struct sampling_list *other; /* the default's, for those it does not name; or NULL */
};

static struct sampling_answer sampling_find(const struct sampling *sampling,
                                            struct fm_slice service)
{
    const struct sampling_strategy *fallback = &sampling->fallback;
    const struct sampling_strategy *strategy = list_find(&sampling->services, service);
    struct sampling_answer answer = {.other = strategy ? &fallback->operations : NULL};
    if (!strategy)
        strategy = fallback;
    answer.type = strategy->type;
    answer.param = strategy->param;
    answer.own = &strategy->operations;
    answer.operation_default = strategy->type == SAMPLING_PROBABILISTIC   ? strategy->param
                               : fallback->type == SAMPLING_PROBABILISTIC ? fallback->param
                                                                          : 1.0;
    return answer;
}

/* The next operation of the answer; *at counts on from 0. */
static const struct sampling_strategy *answer_operation(const struct sampling_answer *answer,
                                                        uint32_t *at)
{
    if (*at < answer->own->count)
        return answer->own->items[(*at)++];
    while (answer->other && *at - answer->own->count < answer->other->count) {
        const struct sampling_strategy *operation =
            answer->other->items[(*at)++ - answer->own->count];
        if (!list_find(answer->own, operation->name))
            return operation;
    }
    return NULL;
}

static void put_rate_json(struct json_writer *json, double rate)
{
    json_key(json, "probabilisticSampling");
    json_object_begin(json);
    json_key(json, "samplingRate");
    json_number(json, rate);
    json_object_end(json);
}

static void put_operations_json(struct json_writer *json, const struct sampling_answer *answer)
{
    uint32_t at = 0;
    const struct sampling_strategy *operation = answer_operation(answer, &at);
    if (!operation)
        return;
    json_key(json, "operationSampling");
    json_object_begin(json);
    json_key(json, "defaultSamplingProbability");
    json_number(json, answer->operation_default);
    json_key(json, "defaultLowerBoundTracesPerSecond");
    json_int(json, 0);
    json_key(json, "perOperationStrategies");
    json_array_begin(json);
    for (; operation; operation = answer_operation(answer, &at)) {
        json_object_begin(json);
        json_key(json, "operation");
        json_string(json, operation->name);
        put_rate_json(json, operation->param);
        json_object_end(json);
    }
    json_array_end(json);
    json_key(json, "defaultUpperBoundTracesPerSecond");
    json_int(json, 0);
    json_object_end(json);
}

void sampling_put_json(const struct sampling *sampling, struct fm_slice service, bool enum_is_text,
                       struct fm_buf *target)
{
    struct sampling_answer answer = sampling_find(sampling, service);
    bool is_rate = answer.type == SAMPLING_RATE_LIMITING;
    struct json_writer json;
    json_writer_init(&json, target);
    json_object_begin(&json);
    json_key(&json, "strategyType");
    if (enum_is_text)
        json_text(&json, is_rate ? "RATE_LIMITING" : "PROBABILISTIC");
    else
        json_int(&json, is_rate);
    if (is_rate) {
        json_key(&json, "rateLimitingSampling");
        json_object_begin(&json);
        json_key(&json, "maxTracesPerSecond");
        json_int(&json, (int64_t)answer.param);
        json_object_end(&json);
    } else {
        put_rate_json(&json, answer.param);
    }
    put_operations_json(&json, &answer);
    json_object_end(&json);
}

static void put_double_pb(struct fm_buf *buf, uint32_t number, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (bits)
        pb_put_fixed64(buf, number, bits);
}

static void put_operations_pb(const struct sampling_answer *answer, struct fm_buf *target)
{
    uint32_t at = 0;
    const struct sampling_strategy *operation = answer_operation(answer, &at);
    if (!operation)
        return;
    size_t outer = pb_begin(target, 4);
    put_double_pb(target, 1, answer->operation_default);
    for (; operation; operation = answer_operation(answer, &at)) {
        size_t inner = pb_begin(target, 3);
        pb_put_bytes(target, 1, operation->name);
        size_t rate = pb_begin(target, 2);
        put_double_pb(target, 1, operation->param);
        pb_end(target, rate);
        pb_end(target, inner);
    }
    pb_end(target, outer);
}

void sampling_put_pb(const struct sampling *sampling, struct fm_slice service,
                     struct fm_buf *target)
{
    struct sampling_answer answer = sampling_find(sampling, service);
    if (answer.type == SAMPLING_RATE_LIMITING) {
        pb_put_u64(target, 1, 1);
        size_t mark = pb_begin(target, 3);
        if ((int64_t)answer.param)
            pb_put_u64(target, 1, (uint64_t)answer.param);
        pb_end(target, mark);
    } else {
        size_t mark = pb_begin(target, 2);
        put_double_pb(target, 1, answer.param);
        pb_end(target, mark);
    }
    put_operations_pb(&answer, target);
}

int sampling_read_request(struct fm_slice request, struct fm_slice *ret_service)
{
    struct fm_slice service = {0};
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&request, &field)) == FM_OK) {
        if (field.number == 1 && field.type == PB_BYTES)
            service = field.bytes;
    }
    if (rc != FM_END)
        return FM_EMALFORMED;
    *ret_service = service;
    return FM_OK;
}
