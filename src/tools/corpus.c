/* SPDX-License-Identifier: Apache-2.0 */
/* Traces are made up whole; their spans wait in a heap until they end, then go to the batch of
 * their service instance. */
#include "corpus.h"

#include "corpus_words.h"

#include "fermata/hash.h"
#include "fermata/pb.h"
#include "fermata/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TRACE_SPAN_MAX 200
#define SPAN_BYTES_MAX FM_KIB(64)
#define ZIPF_MAX       4000

enum { KIND_INTERNAL = 1, KIND_SERVER, KIND_CLIENT, KIND_PRODUCER, KIND_CONSUMER };

/* A span that has not ended yet, encoded. */
struct pending {
    uint32_t instance, scope, len;
    uint8_t bytes[];
};

/* Its place in the heap. */
struct waiting {
    uint64_t end_ns, order;  /* order breaks ties */
    struct pending *pending; /* owned */
};

/* A span of the trace being made up. */
struct planned {
    uint64_t id, parent, link; /* 0: none */
    uint64_t start_ns, duration_ns;
    uint32_t service, instance, kind, route;
    bool database, failed;
};

struct batch {
    struct fm_buf scopes[CORPUS_SCOPES]; /* ScopeSpans contents, spans only */
    uint32_t span_count;
};

struct corpus {
    struct corpus_options options;
    uint64_t random;
    uint64_t clock_ns; /* start of the next trace */
    uint64_t trace_count, span_count, order;
    struct waiting *heap; /* by end_ns */
    size_t heap_count, heap_cap;
    struct batch batches[CORPUS_INSTANCES];
    struct planned plan[TRACE_SPAN_MAX + 2];
    uint32_t plan_count;
    struct trace_id trace;
    struct fm_buf span;
    uint32_t drained;
    double zipf_tails[ZIPF_MAX]; /* by count - 1; 0: not computed yet */
};

/* ---- chance ---- */

static uint32_t corpus_below(struct corpus *corpus, uint32_t limit)
{
    return (uint32_t)((fm_random_next(&corpus->random) >> 32) * limit >> 32);
}

static double corpus_unit(struct corpus *corpus)
{
    return (double)(fm_random_next(&corpus->random) >> 11) * 0x1p-53;
}

static bool corpus_chance(struct corpus *corpus, double probability)
{
    return corpus_unit(corpus) < probability;
}

static double corpus_normal(struct corpus *corpus)
{
    double u = 1.0 - corpus_unit(corpus), v = corpus_unit(corpus);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* Zipf with exponent 1.1, by inverting the integral of x^-1.1. */
static uint32_t corpus_zipf(struct corpus *corpus, uint32_t count)
{
    FM_ASSERT(count && count <= ZIPF_MAX);
    if (corpus->zipf_tails[count - 1] == 0)
        corpus->zipf_tails[count - 1] = 1 - pow((double)count + 1, -0.1);
    double root = 1 - corpus_unit(corpus) * corpus->zipf_tails[count - 1];
    double square = root * root, fourth = square * square;
    return FM_MIN((uint32_t)(1 / (fourth * fourth * square)) - 1, count - 1);
}

struct trace_id corpus_trace_id(const struct corpus *corpus, uint64_t n)
{
    struct trace_id id;
    uint64_t state = corpus->options.seed ^ (n + 1) * UINT64_C(0xd6e8feb86659fd93);
    fm_store_be64(id.bytes, fm_random_next(&state));
    fm_store_be64(id.bytes + 8, fm_random_next(&state));
    return id;
}

uint64_t corpus_trace_count(const struct corpus *corpus)
{
    return corpus->trace_count;
}

uint64_t corpus_span_count(const struct corpus *corpus)
{
    return corpus->span_count;
}

/* ---- writing ---- */

#define ATTRIBUTE 9 /* of Span */

/* A length below 16384. */
static uint8_t *put_length(uint8_t *at, size_t len)
{
    if (len >= 0x80)
        *at++ = (uint8_t)(len | 0x80);
    *at++ = (uint8_t)(len >= 0x80 ? len >> 7 : len);
    return at;
}

/* Text being put together; snprintf would take longer than all the rest. */
struct text {
    uint32_t len;
    char bytes[1020];
};

static void text_add(struct text *text, const char *words)
{
    size_t len = strlen(words);
    FM_ASSERT(len <= sizeof text->bytes - text->len);
    memcpy(text->bytes + text->len, words, len);
    text->len += (uint32_t)len;
}

/* With zeros in front up to that many digits. */
static void text_number(struct text *text, uint64_t number, uint32_t base, uint32_t digits)
{
    char reverse[64];
    uint32_t count = 0;
    for (; number || count < digits; number /= base)
        reverse[count++] = "0123456789abcdef"[number % base];
    FM_ASSERT(count <= sizeof text->bytes - text->len);
    while (count)
        text->bytes[text->len++] = reverse[--count];
}

/* Attributes are written in one go: their lengths are known beforehand.  KeyValue { key = 1,
 * value = 2 }; returns where the value's content goes. */
static uint8_t *put_pair(struct fm_buf *buf, uint32_t field, const char *key, size_t key_len,
                         size_t value_len)
{
    size_t value_head = 1 + pb_varint_size(value_len);
    size_t pair_len = 2 + key_len + value_head + value_len;
    FM_ASSERT(key_len < 128 && pair_len < 1 << 14);
    uint8_t *at = fm_buf_room(buf, 3 + pair_len);
    if (!at)
        return NULL;
    *at++ = (uint8_t)(field << 3 | PB_BYTES);
    at = put_length(at, pair_len);
    *at++ = 1 << 3 | PB_BYTES;
    *at++ = (uint8_t)key_len;
    memcpy(at, key, key_len);
    at += key_len;
    *at++ = 2 << 3 | PB_BYTES;
    at = put_length(at, value_len);
    buf->len = (size_t)(at - buf->ptr) + value_len;
    return at;
}

static void put_string(struct fm_buf *buf, uint32_t field, const char *key, size_t key_len,
                       const char *value, size_t len)
{
    uint8_t *at = put_pair(buf, field, key, key_len, 1 + pb_varint_size(len) + len);
    if (!at)
        return;
    *at++ = 1 << 3 | PB_BYTES;
    memcpy(put_length(at, len), value, len);
}

static void put_varint(struct fm_buf *buf, uint32_t field, const char *key, size_t key_len,
                       uint8_t kind, uint64_t number)
{
    uint8_t *at = put_pair(buf, field, key, key_len, 1 + pb_varint_size(number));
    if (!at)
        return;
    *at++ = (uint8_t)(kind << 3 | PB_VARINT);
    for (; number >= 0x80; number >>= 7)
        *at++ = (uint8_t)(number | 0x80);
    *at = (uint8_t)number;
}

static inline void put_text(struct fm_buf *buf, uint32_t field, const char *key, const char *text)
{
    put_string(buf, field, key, strlen(key), text, strlen(text));
}

static inline void put_built(struct fm_buf *buf, const char *key, const struct text *text)
{
    put_string(buf, ATTRIBUTE, key, strlen(key), text->bytes, text->len);
}

static inline void put_int(struct fm_buf *buf, uint32_t field, const char *key, uint64_t number)
{
    put_varint(buf, field, key, strlen(key), 3, number);
}

static inline void put_bool(struct fm_buf *buf, uint32_t field, const char *key, bool truth)
{
    put_varint(buf, field, key, strlen(key), 2, truth);
}

static void put_double(struct fm_buf *buf, uint32_t field, const char *key, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    uint8_t *at = put_pair(buf, field, key, strlen(key), 1 + sizeof bits);
    if (!at)
        return;
    *at++ = 4 << 3 | PB_FIXED64;
    fm_store_le64(at, bits);
}

/* "user-01234" */
static void put_numbered(struct fm_buf *buf, const char *key, const char *prefix, uint32_t number,
                         uint32_t digits)
{
    struct text text = {.len = 0};
    text_add(&text, prefix);
    text_number(&text, number, 10, digits);
    put_built(buf, key, &text);
}

static void put_joined(struct fm_buf *buf, const char *key, const char *a, const char *b)
{
    struct text text = {.len = 0};
    text_add(&text, a);
    text_add(&text, b);
    put_built(buf, key, &text);
}

static const struct corpus_route *route_of(const struct planned *span)
{
    return &corpus_routes[span->route];
}

static uint32_t status_of(struct corpus *corpus, const struct planned *span)
{
    if (span->failed)
        return corpus_chance(corpus, 0.55) ? 500 + corpus_below(corpus, 5) : 404;
    return corpus_chance(corpus, 0.08) ? 201 + corpus_below(corpus, 4) : 200;
}

static void put_server(struct corpus *corpus, const struct planned *span)
{
    struct fm_buf *buf = &corpus->span;
    const struct corpus_route *route = route_of(span);
    put_text(buf, ATTRIBUTE, "http.request.method", route->method);
    put_text(buf, ATTRIBUTE, "http.route", route->route);
    put_numbered(buf, "url.path", route->prefix, corpus_below(corpus, 200000), 6);
    put_text(buf, ATTRIBUTE, "url.scheme", "http");
    put_joined(buf, "server.address", corpus_services[span->service].name, ".shop.svc");
    put_int(buf, ATTRIBUTE, "server.port", 8080);
    put_text(buf, ATTRIBUTE, "network.protocol.version", "1.1");
    put_int(buf, ATTRIBUTE, "http.response.status_code", status_of(corpus, span));
    put_int(buf, ATTRIBUTE, "http.response.body.size", 128 + corpus_below(corpus, 20000));
    uint32_t client = corpus_below(corpus, 20000);
    struct text address = {.len = 0};
    text_add(&address, "10.0.");
    text_number(&address, client >> 8, 10, 1);
    text_add(&address, ".");
    text_number(&address, client & 255, 10, 1);
    put_built(buf, "client.address", &address);
    put_text(buf, ATTRIBUTE, "user_agent.original",
             corpus_user_agents[corpus_zipf(corpus, CORPUS_USER_AGENTS)]);
    if (corpus_chance(corpus, 0.7))
        put_numbered(buf, "app.user.id", "user-", corpus_below(corpus, 50000), 5);
}

static void put_client(struct corpus *corpus, const struct planned *span)
{
    struct fm_buf *buf = &corpus->span;
    const struct corpus_route *route = route_of(span);
    put_text(buf, ATTRIBUTE, "http.request.method", route->method);
    put_text(buf, ATTRIBUTE, "url.template", route->route);
    put_joined(buf, "server.address", corpus_services[route->service].name, ".shop.svc");
    put_int(buf, ATTRIBUTE, "server.port", 8080);
    put_numbered(buf, "network.peer.address", "10.96.0.", 10 + route->service, 1);
    put_int(buf, ATTRIBUTE, "network.peer.port", 8080);
    put_int(buf, ATTRIBUTE, "http.response.status_code", status_of(corpus, span));
    put_int(buf, ATTRIBUTE, "http.response.body.size", 128 + corpus_below(corpus, 20000));
    if (corpus_chance(corpus, 0.1))
        put_int(buf, ATTRIBUTE, "http.request.resend_count", 1 + corpus_below(corpus, 3));
}

static void put_database(struct corpus *corpus, const struct planned *span)
{
    struct fm_buf *buf = &corpus->span;
    const struct corpus_query *query = &corpus_queries[span->route];
    put_text(buf, ATTRIBUTE, "db.system.name", query->system);
    put_text(buf, ATTRIBUTE, "db.namespace", query->space);
    put_text(buf, ATTRIBUTE, "db.collection.name", query->table);
    put_text(buf, ATTRIBUTE, "db.operation.name", query->operation);
    put_text(buf, ATTRIBUTE, "db.query.text", query->text);
    put_joined(buf, "server.address", query->system, "-0.data.svc");
    put_int(buf, ATTRIBUTE, "server.port", query->port);
    put_text(buf, ATTRIBUTE, "network.transport", "tcp");
    put_numbered(buf, "network.peer.address", "10.97.3.", 1 + corpus_below(corpus, 4), 1);
    put_int(buf, ATTRIBUTE, "db.response.returned_rows", corpus_zipf(corpus, 500));
}

static void put_internal(struct corpus *corpus, const struct planned *span)
{
    struct fm_buf *buf = &corpus->span;
    const struct corpus_function *function = &corpus_functions[span->route];
    uint32_t worker = corpus_below(corpus, 64);
    put_text(buf, ATTRIBUTE, "code.function.name", function->name);
    put_text(buf, ATTRIBUTE, "code.file.path", function->file);
    put_int(buf, ATTRIBUTE, "code.line.number", function->line);
    put_int(buf, ATTRIBUTE, "thread.id", 17 + worker);
    put_text(buf, ATTRIBUTE, "thread.name", "worker");
    put_bool(buf, ATTRIBUTE, "app.cache.hit", corpus_chance(corpus, 0.7));
    put_int(buf, ATTRIBUTE, "app.items.count", corpus_zipf(corpus, 100));
    if (corpus_chance(corpus, 0.8))
        put_double(buf, ATTRIBUTE, "app.order.amount", (double)corpus_below(corpus, 100000) / 100);
    if (corpus_chance(corpus, 0.4)) {
        struct text product = {.len = 0};
        text_number(&product, corpus_zipf(corpus, 4000) * 2654435761u, 16, 8);
        put_built(buf, "app.product.id", &product);
    }
}

static void put_uuid(struct corpus *corpus, const char *key)
{
    uint64_t high = fm_random_next(&corpus->random), low = fm_random_next(&corpus->random);
    struct text text = {.len = 0};
    text_number(&text, high >> 32, 16, 8);
    text_add(&text, "-");
    text_number(&text, high >> 16 & 0xffff, 16, 4);
    text_add(&text, "-");
    text_number(&text, 0x4000 | (high & 0xfff), 16, 4);
    text_add(&text, "-");
    text_number(&text, 0x8000 | (low >> 48 & 0x3fff), 16, 4);
    text_add(&text, "-");
    text_number(&text, low & 0xffffffffffff, 16, 12);
    put_built(&corpus->span, key, &text);
}

static void put_message(struct corpus *corpus, const struct planned *span)
{
    struct fm_buf *buf = &corpus->span;
    static const char *const topics[] = {"orders", "payments", "shipments", "emails", "audit"};
    bool sends = span->kind == KIND_PRODUCER;
    put_text(buf, ATTRIBUTE, "messaging.system", "kafka");
    put_text(buf, ATTRIBUTE, "messaging.client.id", corpus_services[span->service].name);
    if (!sends)
        put_text(buf, ATTRIBUTE, "messaging.consumer.group.name",
                 corpus_services[span->service].name);
    put_text(buf, ATTRIBUTE, "messaging.destination.name", topics[span->route % 5]);
    put_text(buf, ATTRIBUTE, "messaging.operation.type", sends ? "send" : "process");
    put_text(buf, ATTRIBUTE, "server.address", "kafka-0.kafka.data.svc");
    put_uuid(corpus, "messaging.message.id");
    put_int(buf, ATTRIBUTE, "messaging.message.body.size", 200 + corpus_below(corpus, 3000));
    put_numbered(buf, "messaging.destination.partition.id", "", corpus_below(corpus, 12), 1);
    put_int(buf, ATTRIBUTE, "messaging.kafka.offset", 1000000 + corpus->trace_count);
}

static void put_exception(struct corpus *corpus, const struct planned *span)
{
    struct fm_buf *buf = &corpus->span;
    uint32_t variant = corpus_zipf(corpus, 32);
    struct text trace = {.len = 0};
    for (uint32_t i = 0; i < 5 + variant % 6; i++) {
        const struct corpus_function *function =
            &corpus_functions[(variant * 7 + i * 3) % CORPUS_FUNCTIONS];
        text_add(&trace, "\tat ");
        text_add(&trace, function->name);
        text_add(&trace, "(");
        text_add(&trace, function->file);
        text_add(&trace, ":");
        text_number(&trace, function->line + i, 10, 1);
        text_add(&trace, ")\n");
    }
    size_t event = pb_begin(buf, 11);
    pb_put_fixed64(buf, 1, span->start_ns + span->duration_ns - span->duration_ns / 16);
    pb_put_text(buf, 2, "exception");
    put_text(buf, 3, "exception.type", corpus_exceptions[variant % CORPUS_EXCEPTIONS]);
    put_text(buf, 3, "exception.message", corpus_messages[variant % CORPUS_MESSAGES]);
    put_string(buf, 3, "exception.stacktrace", strlen("exception.stacktrace"), trace.bytes,
               trace.len);
    put_bool(buf, 3, "exception.escaped", false);
    pb_end(buf, event);
}

static void put_events(struct corpus *corpus, const struct planned *span)
{
    static const char *const names[] = {"cache.miss", "message.sent", "message.received",
                                        "retry.scheduled", "lock.acquired"};
    if (span->failed)
        put_exception(corpus, span);
    if (!corpus_chance(corpus, 0.1))
        return;
    size_t event = pb_begin(&corpus->span, 11);
    pb_put_fixed64(&corpus->span, 1,
                   span->start_ns + (uint64_t)(corpus_unit(corpus) * (double)span->duration_ns));
    pb_put_text(&corpus->span, 2, names[corpus_zipf(corpus, FM_COUNT(names))]);
    put_int(&corpus->span, 3, "message.id", 1 + corpus_below(corpus, 50));
    put_text(&corpus->span, 3, "thread.name", "worker");
    pb_end(&corpus->span, event);
}

static void put_name(struct fm_buf *buf, const struct planned *span)
{
    const struct corpus_route *route = route_of(span);
    const struct corpus_query *query = &corpus_queries[span->route % CORPUS_QUERIES];
    const char *first, *second = NULL;
    if (span->database)
        first = query->operation, second = query->table;
    else if (span->kind == KIND_SERVER)
        first = route->method, second = route->route;
    else if (span->kind == KIND_CLIENT)
        first = route->method;
    else if (span->kind == KIND_INTERNAL)
        first = corpus_functions[span->route].name;
    else
        first = span->kind == KIND_PRODUCER ? "send" : "process", second = "orders";
    struct text name = {.len = 0};
    text_add(&name, first);
    if (second) {
        text_add(&name, " ");
        text_add(&name, second);
    }
    pb_put_bytes(buf, 5, fm_slice(name.bytes, name.len));
}

static void put_id(struct fm_buf *buf, uint32_t field, uint64_t id)
{
    uint8_t bytes[8];
    fm_store_le64(bytes, id);
    pb_put_bytes(buf, field, fm_slice(bytes, sizeof bytes));
}

static void put_span(struct corpus *corpus, const struct planned *span)
{
    struct fm_buf *buf = &corpus->span;
    fm_buf_reset(buf);
    pb_put_bytes(buf, 1, fm_slice(corpus->trace.bytes, sizeof corpus->trace.bytes));
    put_id(buf, 2, span->id);
    if (span->parent)
        put_id(buf, 4, span->parent);
    put_name(buf, span);
    pb_put_u64(buf, 6, span->kind);
    pb_put_fixed64(buf, 7, span->start_ns);
    pb_put_fixed64(buf, 8, span->start_ns + span->duration_ns);
    if (span->database)
        put_database(corpus, span);
    else if (span->kind == KIND_SERVER)
        put_server(corpus, span);
    else if (span->kind == KIND_CLIENT)
        put_client(corpus, span);
    else if (span->kind == KIND_INTERNAL)
        put_internal(corpus, span);
    else
        put_message(corpus, span);
    put_events(corpus, span);
    if (span->link) {
        size_t link = pb_begin(buf, 13);
        pb_put_bytes(buf, 1, fm_slice(corpus->trace.bytes, sizeof corpus->trace.bytes));
        put_id(buf, 2, span->link);
        put_text(buf, 4, "messaging.operation.type", "send");
        pb_end(buf, link);
    }
    if (span->failed) {
        size_t status = pb_begin(buf, 15);
        pb_put_text(buf, 2, "request failed");
        pb_put_u64(buf, 3, 2);
        pb_end(buf, status);
    }
}

/* ---- making up a trace ---- */

static struct planned *plan_add(struct corpus *corpus, const struct planned *parent,
                                uint32_t service, uint32_t kind)
{
    struct planned *span = &corpus->plan[corpus->plan_count++];
    *span = (struct planned){
        .id = fm_random_next(&corpus->random) | 1,
        .parent = parent ? parent->id : 0,
        .service = service,
        .kind = kind,
    };
    span->instance = corpus_services[service].instance_first +
                     corpus_below(corpus, corpus_services[service].instance_count);
    if (parent && parent->service == service)
        span->instance = parent->instance;
    span->failed = corpus_chance(corpus, 0.03);
    if (!parent)
        return span;
    double from = corpus_unit(corpus) * 0.6, share = (0.9 - from) * corpus_unit(corpus);
    span->start_ns = parent->start_ns + (uint64_t)(from * (double)parent->duration_ns);
    span->duration_ns = 1000 + (uint64_t)(share * (double)parent->duration_ns);
    return span;
}

static uint32_t plan_route(struct corpus *corpus, uint32_t service)
{
    return service * CORPUS_ROUTES_EACH + corpus_zipf(corpus, CORPUS_ROUTES_EACH);
}

static void plan_child(struct corpus *corpus, const struct planned *parent, uint32_t room)
{
    double draw = corpus_unit(corpus) * (room < 2 ? 0.49 : 0.722);
    if (draw < 0.304) {
        struct planned *span = plan_add(corpus, parent, parent->service, KIND_CLIENT);
        span->database = true;
        span->route = (parent->service * 6 + corpus_zipf(corpus, 24)) % CORPUS_QUERIES;
    } else if (draw < 0.49) {
        struct planned *span = plan_add(corpus, parent, parent->service, KIND_INTERNAL);
        span->route = (parent->service * 11 + corpus_zipf(corpus, 20)) % CORPUS_FUNCTIONS;
    } else {
        const struct corpus_service *caller = &corpus_services[parent->service];
        uint32_t target = caller->calls[corpus_below(corpus, FM_COUNT(caller->calls))];
        bool message = draw > 0.6927;
        struct planned *near =
            plan_add(corpus, parent, parent->service, message ? KIND_PRODUCER : KIND_CLIENT);
        near->route = plan_route(corpus, target);
        struct planned *far = plan_add(corpus, near, target, message ? KIND_CONSUMER : KIND_SERVER);
        far->route = near->route;
        far->link = message ? near->id : 0;
    }
}

static int corpus_push(struct corpus *corpus, const struct planned *span)
{
    static const uint8_t scopes[] = {0, 0, 1, 2, 3, 3};
    put_span(corpus, span);
    if (corpus->span.failed)
        return FM_ENOMEM;
    if (corpus->heap_count == corpus->heap_cap) {
        size_t cap = FM_MAX(corpus->heap_cap * 2, (size_t)1024);
        void *heap = realloc(corpus->heap, cap * sizeof *corpus->heap);
        if (!heap)
            return FM_ENOMEM;
        corpus->heap = heap;
        corpus->heap_cap = cap;
    }
    struct pending *pending = malloc(sizeof *pending + corpus->span.len);
    if (!pending)
        return FM_ENOMEM;
    *pending = (struct pending){
        .instance = span->instance,
        .scope = span->database ? 4 : scopes[span->kind],
        .len = (uint32_t)corpus->span.len,
    };
    memcpy(pending->bytes, corpus->span.ptr, corpus->span.len);
    struct waiting last = {span->start_ns + span->duration_ns, corpus->order++, pending};
    size_t at = corpus->heap_count++;
    while (at) {
        size_t up = (at - 1) / 2;
        if (corpus->heap[up].end_ns <= last.end_ns)
            break;
        corpus->heap[at] = corpus->heap[up];
        at = up;
    }
    corpus->heap[at] = last;
    return FM_OK;
}

static bool waiting_before(const struct waiting *a, const struct waiting *b)
{
    return a->end_ns != b->end_ns ? a->end_ns < b->end_ns : a->order < b->order;
}

static struct pending *corpus_pop(struct corpus *corpus)
{
    struct pending *first = corpus->heap[0].pending;
    struct waiting last = corpus->heap[--corpus->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= corpus->heap_count)
            break;
        if (child + 1 < corpus->heap_count &&
            waiting_before(&corpus->heap[child + 1], &corpus->heap[child]))
            child++;
        if (!waiting_before(&corpus->heap[child], &last))
            break;
        corpus->heap[at] = corpus->heap[child];
        at = child;
    }
    corpus->heap[at] = last;
    return first;
}

static int corpus_begin_trace(struct corpus *corpus)
{
    double size = exp(2.4849066497880004 + corpus_normal(corpus)); /* ln 12 */
    uint32_t span_count = (uint32_t)FM_MIN(FM_MAX(size + 0.5, 1.0), (double)TRACE_SPAN_MAX);
    corpus->trace = corpus_trace_id(corpus, corpus->trace_count++);
    corpus->plan_count = 0;
    struct planned *root = plan_add(corpus, NULL, corpus_below(corpus, 3), KIND_SERVER);
    root->route = plan_route(corpus, root->service);
    root->start_ns = corpus->clock_ns;
    root->duration_ns = (uint64_t)(8e7 * exp(1.15 * corpus_normal(corpus))) + 100000;
    while (corpus->plan_count < span_count) {
        const struct planned *parent = &corpus->plan[corpus_below(corpus, corpus->plan_count)];
        if (parent->kind == KIND_SERVER || parent->kind == KIND_CONSUMER ||
            (parent->kind == KIND_INTERNAL && corpus_chance(corpus, 0.3)))
            plan_child(corpus, parent, span_count - corpus->plan_count);
    }
    double mean_ns = 1e9 / corpus->options.spans_per_s * corpus->plan_count;
    corpus->clock_ns += (uint64_t)(mean_ns * (0.5 + corpus_unit(corpus)));
    for (uint32_t i = 0; i < corpus->plan_count; i++) {
        int rc = corpus_push(corpus, &corpus->plan[i]);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

/* ---- requests ---- */

static void put_resource(struct fm_buf *buf, uint32_t instance)
{
    uint32_t service = 0;
    while (service + 1 < CORPUS_SERVICES && corpus_services[service + 1].instance_first <= instance)
        service++;
    const char *name = corpus_services[service].name;
    char text[128];
    size_t resource = pb_begin(buf, 1);
    put_text(buf, 1, "service.name", name);
    put_text(buf, 1, "service.namespace", "shop");
    (void)snprintf(text, sizeof text, "2.%u.%u", service % 7, service % 3);
    put_text(buf, 1, "service.version", text);
    (void)snprintf(text, sizeof text, "%s-7d9f8b6c5d-%05x", name, instance * 2654435u & 0xfffff);
    put_text(buf, 1, "service.instance.id", text);
    put_text(buf, 1, "k8s.pod.name", text);
    put_text(buf, 1, "k8s.namespace.name", "shop");
    put_text(buf, 1, "k8s.cluster.name", "prod-eu-1");
    (void)snprintf(text, sizeof text, "node-%02u", instance % 12);
    put_text(buf, 1, "host.name", text);
    put_text(buf, 1, "telemetry.sdk.language", corpus_services[service].language);
    put_text(buf, 1, "telemetry.sdk.version", "1.42.0");
    pb_end(buf, resource);
}

static void corpus_flush(struct corpus *corpus, uint32_t instance, struct fm_buf *otlp)
{
    struct batch *batch = &corpus->batches[instance];
    size_t request = pb_begin(otlp, 1);
    put_resource(otlp, instance);
    for (size_t i = 0; i < CORPUS_SCOPES; i++) {
        if (!batch->scopes[i].len)
            continue;
        size_t spans = pb_begin(otlp, 2);
        size_t scope = pb_begin(otlp, 1);
        pb_put_text(otlp, 1, corpus_scopes[i]);
        pb_put_text(otlp, 2, "0.61.0");
        pb_end(otlp, scope);
        fm_buf_put_slice(otlp, fm_buf_slice(&batch->scopes[i]));
        pb_end(otlp, spans);
        fm_buf_reset(&batch->scopes[i]);
    }
    pb_end(otlp, request);
    corpus->span_count += batch->span_count;
    batch->span_count = 0;
}

/* The oldest span goes to its batch; says whether that is full. */
static bool corpus_end_span(struct corpus *corpus, uint32_t *ret_instance)
{
    struct pending *pending = corpus_pop(corpus);
    struct batch *batch = &corpus->batches[pending->instance];
    pb_put_bytes(&batch->scopes[pending->scope], 2, fm_slice(pending->bytes, pending->len));
    *ret_instance = pending->instance;
    free(pending);
    return ++batch->span_count >= corpus->options.spans_per_request;
}

int corpus_next(struct corpus *corpus, uint64_t now_ns, struct fm_buf *otlp)
{
    uint32_t instance;
    corpus->clock_ns = FM_MAX(corpus->clock_ns, now_ns);
    for (;;) {
        while (!corpus->heap_count || corpus->heap[0].end_ns > corpus->clock_ns) {
            int rc = corpus_begin_trace(corpus);
            if (rc < 0)
                return rc;
        }
        if (corpus_end_span(corpus, &instance))
            break;
    }
    corpus_flush(corpus, instance, otlp);
    return otlp->failed ? FM_ENOMEM : FM_OK;
}

int corpus_drain(struct corpus *corpus, struct fm_buf *otlp)
{
    uint32_t instance;
    while (corpus->heap_count)
        if (corpus_end_span(corpus, &instance)) {
            corpus_flush(corpus, instance, otlp);
            return otlp->failed ? FM_ENOMEM : FM_OK;
        }
    while (corpus->drained < CORPUS_INSTANCES && !corpus->batches[corpus->drained].span_count)
        corpus->drained++;
    if (corpus->drained == CORPUS_INSTANCES)
        return FM_END;
    corpus_flush(corpus, corpus->drained, otlp);
    return otlp->failed ? FM_ENOMEM : FM_OK;
}

int corpus_new(struct corpus **ret_corpus, const struct corpus_options *options)
{
    FM_AUTO(corpus) corpus = calloc(1, sizeof *corpus);
    if (!corpus)
        return FM_ENOMEM;
    corpus->options = *options;
    corpus->options.spans_per_request = FM_MAX(options->spans_per_request, 1u);
    if (!(corpus->options.spans_per_s > 0))
        corpus->options.spans_per_s = 5000;
    corpus->random = options->seed;
    fm_buf_init(&corpus->span, SPAN_BYTES_MAX);
    for (size_t i = 0; i < CORPUS_INSTANCES; i++)
        for (size_t j = 0; j < CORPUS_SCOPES; j++)
            fm_buf_init(&corpus->batches[i].scopes[j], FM_MIB(64));
    *ret_corpus = fm_take(corpus);
    return FM_OK;
}

struct corpus *corpus_free(struct corpus *corpus)
{
    if (!corpus)
        return NULL;
    for (size_t i = 0; i < corpus->heap_count; i++)
        free(corpus->heap[i].pending);
    free(corpus->heap);
    for (size_t i = 0; i < CORPUS_INSTANCES; i++)
        for (size_t j = 0; j < CORPUS_SCOPES; j++)
            fm_buf_fini(&corpus->batches[i].scopes[j]);
    fm_buf_fini(&corpus->span);
    free(corpus);
    return NULL;
}
