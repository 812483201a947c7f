/* SPDX-License-Identifier: Apache-2.0 */
/* What emit sends instead of OTLP, read back by the daemon's own decoders: OTLP -> Jaeger or Zipkin
 * -> OTLP is the same but for what those formats cannot carry.
 *
 * Both sides are printed as text, span by span in the order of their ids, with the losses applied
 * to the original. */
#include "../../support/test.h"

#include <unistd.h>

#include "../../../src/tools/corpus.h"
#include "../../../src/tools/emit.h"
#include "../../../src/tools/jaeger_encode.h"
#include "../../../src/tools/otlp_view.h"
#include "../../../src/tools/zipkin_encode.h"
#include "fermata/decode.h"
#include "fermata/jaeger.h"
#include "fermata/pb.h"
#include "fermata/zipkin.h"

#define SPANS_MAX 4096

struct losses {
    bool microseconds;   /* of start, duration, events */
    bool types;          /* values become text; else only those that Jaeger has no type for */
    bool resource;       /* attributes of the resource and of the span are one set */
    bool link_details;   /* attributes, trace state; and opentracing.ref_type is added */
    bool dropped_counts; /* of events and links */
    bool span_dropped_counts;
    bool flags; /* all of them; else all but the lowest bit */
};

/* ---- spans as text ---- */

struct line {
    struct fm_buf text;
};
struct lines {
    struct line *items;
    size_t count;
};

static int line_compare(const void *a, const void *b)
{
    const struct line *left = a, *right = b;
    return fm_slice_compare(fm_buf_slice(&left->text), fm_buf_slice(&right->text));
}

static struct fm_buf *lines_add(struct lines *lines)
{
    if (!lines->items)
        lines->items = calloc(SPANS_MAX, sizeof *lines->items);
    assert_true(lines->items && lines->count < SPANS_MAX);
    struct fm_buf *text = &lines->items[lines->count++].text;
    fm_buf_init(text, FM_MIB(1));
    return text;
}

/* Sorted and joined; the lines are gone. */
static void lines_take(struct lines *lines, struct fm_buf *target)
{
    if (lines->count)
        qsort(lines->items, lines->count, sizeof *lines->items, line_compare);
    for (size_t i = 0; i < lines->count; i++) {
        fm_buf_put_slice(target, fm_buf_slice(&lines->items[i].text));
        fm_buf_puts(target, "\n");
        fm_buf_fini(&lines->items[i].text);
    }
    free(lines->items);
    *lines = (struct lines){0};
}

static void describe_value(const struct otlp_value *value, bool types_are_lost, struct fm_buf *text)
{
    bool as_text = types_are_lost || value->kind == OTLP_VALUE_NONE ||
                   value->kind == OTLP_VALUE_ARRAY || value->kind == OTLP_VALUE_MAP;
    fm_buf_printf(text, "%d:", as_text ? OTLP_VALUE_STRING : (int)value->kind);
    otlp_value_put_text(value, text);
}

static void describe_attributes(struct fm_slice message, uint32_t number, bool types_are_lost,
                                struct lines *lines)
{
    struct otlp_attribute attribute;
    while (otlp_attribute_next(&message, number, &attribute)) {
        struct fm_buf *text = lines_add(lines);
        fm_buf_puts(text, "    ");
        fm_buf_put_slice(text, attribute.key);
        fm_buf_puts(text, " = ");
        describe_value(&attribute.value, types_are_lost, text);
    }
}

static void put_hex(struct fm_buf *text, struct fm_slice bytes)
{
    char hex[64];
    assert_true(bytes.len <= 16);
    fm_hex_encode(hex, bytes);
    fm_buf_put(text, hex, 2 * bytes.len);
}

static void describe_events(const struct otlp_span *span, const struct losses *losses,
                            struct fm_buf *text)
{
    struct fm_slice rest = span->bytes;
    struct otlp_event event;
    while (otlp_event_next(&rest, &event)) {
        struct lines lines = {0};
        uint64_t ns = losses->microseconds ? event.time_ns / 1000 * 1000 : event.time_ns;
        fm_buf_printf(text, "  event %llu %.*s %llu\n", (unsigned long long)ns, (int)event.name.len,
                      (const char *)event.name.ptr,
                      losses->dropped_counts ? 0 : (unsigned long long)event.dropped_attributes);
        describe_attributes(event.bytes, OTLP_EVENT_ATTRIBUTES, false, &lines);
        lines_take(&lines, text);
    }
}

static void describe_links(const struct otlp_span *span, const struct losses *losses,
                           bool is_original, struct fm_buf *text)
{
    struct fm_slice rest = span->bytes;
    struct otlp_link link;
    while (otlp_link_next(&rest, &link)) {
        struct lines lines = {0};
        fm_buf_puts(text, "  link ");
        put_hex(text, link.trace_id);
        fm_buf_puts(text, " ");
        put_hex(text, link.span_id);
        if (losses->link_details && is_original) {
            fm_buf_puts(text, "\n    opentracing.ref_type = 1:follows_from\n");
            continue;
        }
        if (!losses->link_details)
            fm_buf_printf(text, " %.*s %llu", (int)link.trace_state.len,
                          (const char *)link.trace_state.ptr,
                          (unsigned long long)link.dropped_attributes);
        fm_buf_puts(text, "\n");
        describe_attributes(link.bytes, OTLP_LINK_ATTRIBUTES, false, &lines);
        lines_take(&lines, text);
    }
}

struct describer {
    struct fm_slice resource;
    const struct losses *losses;
    bool is_original;
    struct lines spans;
};

static void describe_head(const struct describer *describer, const struct otlp_span *span,
                          struct fm_buf *text)
{
    const struct losses *losses = describer->losses;
    uint64_t start_ns = span->start_ns, duration_ns = otlp_span_duration_ns(span);

    if (losses->microseconds) {
        start_ns -= start_ns % 1000;
        duration_ns -= duration_ns % 1000;
    }
    put_hex(text, span->trace_id);
    fm_buf_puts(text, " ");
    put_hex(text, span->span_id);
    fm_buf_puts(text, " parent ");
    put_hex(text, span->parent_id);
    fm_buf_printf(text, " kind %u start %llu lasts %llu name %.*s\n", span->kind,
                  (unsigned long long)start_ns, (unsigned long long)duration_ns,
                  (int)span->name.len, (const char *)span->name.ptr);
    fm_buf_printf(text, "  scope %.*s %.*s state %.*s flags %u status %u %.*s\n",
                  (int)span->scope_name.len, (const char *)span->scope_name.ptr,
                  (int)span->scope_version.len, (const char *)span->scope_version.ptr,
                  (int)span->trace_state.len, (const char *)span->trace_state.ptr,
                  losses->flags ? 0 : span->flags & 1, span->status_code,
                  (int)span->status_message.len, (const char *)span->status_message.ptr);
    if (!losses->span_dropped_counts)
        fm_buf_printf(
            text, "  dropped %llu %llu %llu\n", (unsigned long long)span->dropped_attributes,
            (unsigned long long)span->dropped_events, (unsigned long long)span->dropped_links);
}

static int describe_span(void *self, const struct otlp_span *span)
{
    struct describer *describer = self;
    const struct losses *losses = describer->losses;
    struct fm_buf *text = lines_add(&describer->spans);
    struct lines lines = {0};

    describe_head(describer, span, text);
    describe_attributes(describer->resource, OTLP_RESOURCE_ATTRIBUTES, losses->types, &lines);
    if (!losses->resource)
        lines_take(&lines, text);
    describe_attributes(span->bytes, OTLP_SPAN_ATTRIBUTES, losses->types, &lines);
    lines_take(&lines, text);
    describe_events(span, losses, text);
    describe_links(span, losses, describer->is_original, text);
    return FM_OK;
}

static struct fm_buf describe(struct fm_slice otlp, const struct losses *losses, bool is_original)
{
    struct describer describer = {.losses = losses, .is_original = is_original};
    struct fm_slice resource_spans;
    struct fm_buf text;

    while (otlp_next(&otlp, OTLP_RESOURCE_SPANS, &resource_spans)) {
        describer.resource = otlp_child(resource_spans, 1);
        assert_ok(otlp_each_span(resource_spans, describe_span, &describer));
    }
    fm_buf_init(&text, FM_MIB(64));
    lines_take(&describer.spans, &text);
    fm_buf_put_u8(&text, 0);
    assert_false(text.failed);
    return text;
}

static void assert_same(struct fm_slice original, struct fm_slice result,
                        const struct losses *losses)
{
    struct fm_buf wanted = describe(original, losses, true), got = describe(result, losses, false);
    size_t same = 0, most = FM_MIN(wanted.len, got.len);

    while (same < most && wanted.ptr[same] == got.ptr[same])
        same++;
    if (wanted.len != got.len || same < most) {
        size_t from = same > 600 ? same - 600 : 0;
        print_error("wanted: ...%.900s\n", (const char *)wanted.ptr + from);
        print_error("got: ...%.900s\n", (const char *)got.ptr + from);
        fail_msg("differ at byte %zu", same);
    }
    fm_buf_fini(&wanted);
    fm_buf_fini(&got);
}

/* ---- what is translated ---- */

static void put_value_text(struct fm_buf *otlp, uint32_t number, const char *key, const char *text)
{
    size_t pair = pb_begin(otlp, number);
    pb_put_text(otlp, 1, key);
    size_t any = pb_begin(otlp, 2);
    pb_put_text(otlp, 1, text);
    pb_end(otlp, any);
    pb_end(otlp, pair);
}

static void put_value_number(struct fm_buf *otlp, uint32_t number, const char *key, uint32_t type,
                             uint64_t value)
{
    size_t pair = pb_begin(otlp, number);
    pb_put_text(otlp, 1, key);
    size_t any = pb_begin(otlp, 2);
    if (type == 4)
        pb_put_fixed64(otlp, type, value);
    else
        pb_put_u64(otlp, type, value);
    pb_end(otlp, any);
    pb_end(otlp, pair);
}

static void put_value_array(struct fm_buf *otlp, uint32_t number, const char *key)
{
    size_t pair = pb_begin(otlp, number);
    pb_put_text(otlp, 1, key);
    size_t any = pb_begin(otlp, 2), array = pb_begin(otlp, 5);
    size_t item = pb_begin(otlp, 1);
    pb_put_text(otlp, 1, "x\"y");
    pb_end(otlp, item);
    item = pb_begin(otlp, 1);
    pb_put_u64(otlp, 3, 7);
    pb_end(otlp, item);
    pb_end(otlp, array);
    pb_end(otlp, any);
    pb_end(otlp, pair);
}

static void put_rich_lists(struct fm_buf *otlp, const uint8_t *trace_id)
{
    size_t event = pb_begin(otlp, 11);
    pb_put_fixed64(otlp, 1, UINT64_C(1700000000000500123));
    pb_put_text(otlp, 2, "exception");
    put_value_text(otlp, 3, "exception.message", "a \"quoted\" | text");
    put_value_number(otlp, 3, "n", 3, 12);
    put_value_number(otlp, 3, "b", 2, 1);
    pb_put_u64(otlp, 4, 2);
    pb_end(otlp, event);
    event = pb_begin(otlp, 11);
    pb_put_fixed64(otlp, 1, UINT64_C(1700000000000600000));
    pb_put_text(otlp, 2, "plain");
    pb_end(otlp, event);
    size_t link = pb_begin(otlp, 13);
    pb_put_bytes(otlp, 1, fm_slice(trace_id, 16));
    pb_put_bytes(otlp, 2, fm_slice("\x01\x02\x03\x04\x05\x06\x07\x08", 8));
    pb_put_text(otlp, 3, "k=v");
    put_value_text(otlp, 4, "why", "because");
    pb_put_u64(otlp, 5, 3);
    pb_end(otlp, link);
    pb_put_u64(otlp, 10, 1);
    pb_put_u64(otlp, 12, 2);
    pb_put_u64(otlp, 14, 3);
}

/* One span per kind and status, with everything that may be attached to it. */
static void put_rich_span(struct fm_buf *otlp, unsigned kind, unsigned status)
{
    static const uint8_t trace_id[16] = {0x5b, 0x8e, 0xff, 0xf7, 0x98, 3,    0x81, 3,
                                         0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c};
    uint8_t span_id[8] = {0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, (uint8_t)kind, (uint8_t)status};
    uint64_t half;
    const double number = 0.5;

    memcpy(&half, &number, sizeof half);
    size_t span = pb_begin(otlp, 2);
    pb_put_bytes(otlp, 1, fm_slice(trace_id, 16));
    pb_put_bytes(otlp, 2, fm_slice(span_id, 8));
    pb_put_text(otlp, 3, "vendor=1");
    pb_put_bytes(otlp, 4, fm_slice("\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", 8));
    pb_put_text(otlp, 5, "GET /Path");
    if (kind)
        pb_put_u64(otlp, 6, kind);
    pb_put_fixed64(otlp, 7, UINT64_C(1700000000000000123));
    pb_put_fixed64(otlp, 8, UINT64_C(1700000000001500456));
    put_value_text(otlp, 9, "http.method", "GET");
    put_value_number(otlp, 9, "http.status_code", 3, 500);
    put_value_number(otlp, 9, "negative", 3, (uint64_t)-3);
    put_value_number(otlp, 9, "yes", 2, 1);
    put_value_number(otlp, 9, "no", 2, 0);
    put_value_number(otlp, 9, "half", 4, half);
    put_value_text(otlp, 9, "empty", "");
    put_value_text(otlp, 9, "peer.service", "Billing");
    put_value_array(otlp, 9, "list");
    put_rich_lists(otlp, trace_id);
    if (status) {
        size_t mark = pb_begin(otlp, 15);
        if (status == OTLP_STATUS_ERROR)
            pb_put_text(otlp, 2, "it went wrong");
        pb_put_u64(otlp, 3, status);
        pb_end(otlp, mark);
    }
    pb_put_fixed32(otlp, 16, 0x301);
    pb_end(otlp, span);
}

static struct fm_buf make_rich(void)
{
    struct fm_buf otlp;
    fm_buf_init(&otlp, FM_MIB(1));
    size_t resource_spans = pb_begin(&otlp, 1);
    size_t resource = pb_begin(&otlp, 1);
    put_value_text(&otlp, 1, "service.name", "Checkout");
    put_value_text(&otlp, 1, "k8s.pod.name", "checkout-7d9f8b6c5d-12345");
    put_value_number(&otlp, 1, "process.pid", 3, 4711);
    put_value_text(&otlp, 1, "team.colour", "red");
    pb_end(&otlp, resource);
    for (unsigned scope = 0; scope < 2; scope++) {
        size_t scope_spans = pb_begin(&otlp, 2), mark = pb_begin(&otlp, 1);
        pb_put_text(&otlp, 1, scope ? "second" : "first");
        pb_put_text(&otlp, 2, "1.2.3");
        pb_end(&otlp, mark);
        for (unsigned kind = scope * 3; kind < scope * 3 + 3; kind++) {
            for (unsigned status = 0; status < 3; status++)
                put_rich_span(&otlp, kind, status);
        }
        pb_end(&otlp, scope_spans);
    }
    pb_end(&otlp, resource_spans);
    assert_false(otlp.failed);
    return otlp;
}

static struct fm_buf make_corpus(unsigned requests)
{
    const struct corpus_options options = {.seed = 7, .spans_per_request = 100};
    struct corpus *corpus;
    struct fm_buf otlp;

    fm_buf_init(&otlp, FM_MIB(16));
    assert_ok(corpus_new(&corpus, &options));
    for (unsigned i = 0; i < requests; i++)
        assert_ok(corpus_next(corpus, UINT64_C(1700000000000000000), &otlp));
    corpus_free(corpus);
    return otlp;
}

/* ---- Jaeger ---- */

static const struct losses thrift_losses = {
    .microseconds = true, .link_details = true, .dropped_counts = true};
static const struct losses jaeger_pb_losses = {.link_details = true, .dropped_counts = true};

static void check_datagrams(struct fm_slice otlp, enum thrift_encoding encoding, size_t bytes_max,
                            size_t count_min)
{
    struct fm_buf packets, result;
    struct fm_arena scratch;
    struct jaeger_client_stats stats;
    struct fm_why why;
    size_t count = 0;

    fm_arena_init(&scratch, FM_MIB(16));
    fm_buf_init(&packets, FM_MIB(16));
    fm_buf_init(&result, FM_MIB(16));
    assert_ok(jaeger_put_datagrams(otlp, encoding, bytes_max, &packets));
    for (size_t at = 0; at < packets.len; count++) {
        uint32_t len = fm_load_le32(packets.ptr + at), spans = fm_load_le32(packets.ptr + at + 4);
        assert_true(spans && (len <= bytes_max || spans == 1));
        at += JAEGER_DATAGRAM_HEAD_BYTES;
        assert_ok(jaeger_datagram_decode(fm_slice(packets.ptr + at, len), &scratch, &result, &stats,
                                         &why));
        at += len;
    }
    assert_true(count >= count_min);
    assert_same(otlp, fm_buf_slice(&result), &thrift_losses);
    fm_buf_fini(&result);
    fm_buf_fini(&packets);
    fm_arena_fini(&scratch);
}

static void test_jaeger_datagrams(void **state)
{
    (void)state;
    struct fm_buf rich = make_rich(), corpus = make_corpus(3);
    for (int encoding = THRIFT_COMPACT; encoding <= THRIFT_BINARY_PROTOCOL; encoding++) {
        check_datagrams(fm_buf_slice(&rich), (enum thrift_encoding)encoding, 65000, 1);
        check_datagrams(fm_buf_slice(&rich), (enum thrift_encoding)encoding, 512, 18);
        check_datagrams(fm_buf_slice(&corpus), (enum thrift_encoding)encoding, 8192, 15);
        check_datagrams(fm_buf_slice(&corpus), (enum thrift_encoding)encoding, 65000, 3);
    }
    fm_buf_fini(&rich);
    fm_buf_fini(&corpus);
}

/* A span that no agent would read is not sent; two resources do not fit one batch. */
static void test_jaeger_limits(void **state)
{
    (void)state;
    struct fm_buf otlp, target, two = make_corpus(2);
    char *text = calloc(1, 70001);

    assert_non_null(text);
    memset(text, 'x', 70000);
    fm_buf_init(&otlp, FM_MIB(1));
    fm_buf_init(&target, FM_MIB(1));
    size_t resource_spans = pb_begin(&otlp, 1), scope_spans = pb_begin(&otlp, 2);
    size_t span = pb_begin(&otlp, 2);
    put_value_text(&otlp, 9, "long", text);
    pb_end(&otlp, span);
    pb_end(&otlp, scope_spans);
    pb_end(&otlp, resource_spans);
    assert_int_equal(jaeger_put_datagrams(fm_buf_slice(&otlp), THRIFT_COMPACT, 8192, &target),
                     FM_ELIMIT);
    fm_buf_reset(&target);
    assert_int_equal(jaeger_put_thrift(fm_buf_slice(&two), THRIFT_BINARY_PROTOCOL, &target),
                     FM_EUNSUPPORTED);
    fm_buf_fini(&otlp);
    fm_buf_fini(&target);
    fm_buf_fini(&two);
    free(text);
}

static void check_jaeger(struct fm_slice otlp, bool is_pb)
{
    struct fm_buf body, result;
    struct fm_arena scratch;
    struct fm_why why;

    fm_arena_init(&scratch, FM_MIB(16));
    fm_buf_init(&body, FM_MIB(16));
    fm_buf_init(&result, FM_MIB(16));
    if (is_pb) {
        assert_ok(jaeger_put_pb(otlp, &body));
        assert_ok(jaeger_pb_decode(fm_buf_slice(&body), &scratch, &result, &why));
    } else {
        assert_ok(jaeger_put_thrift(otlp, THRIFT_BINARY_PROTOCOL, &body));
        assert_ok(jaeger_thrift_decode(fm_buf_slice(&body), THRIFT_BINARY_PROTOCOL, &scratch,
                                       &result, &why));
    }
    assert_same(otlp, fm_buf_slice(&result), is_pb ? &jaeger_pb_losses : &thrift_losses);
    fm_buf_fini(&result);
    fm_buf_fini(&body);
    fm_arena_fini(&scratch);
}

static void test_jaeger_bodies(void **state)
{
    (void)state;
    struct fm_buf rich = make_rich(), one = make_corpus(1), three = make_corpus(3);
    check_jaeger(fm_buf_slice(&rich), false);
    check_jaeger(fm_buf_slice(&one), false);
    check_jaeger(fm_buf_slice(&rich), true);
    check_jaeger(fm_buf_slice(&three), true);
    fm_buf_fini(&rich);
    fm_buf_fini(&one);
    fm_buf_fini(&three);
}

/* ---- Zipkin ---- */

static const struct losses zipkin_losses = {.microseconds = true,
                                            .types = true,
                                            .resource = true,
                                            .span_dropped_counts = true,
                                            .flags = true};

enum zipkin_form { FORM_JSON, FORM_PB, FORM_V1_JSON, FORM_V1_THRIFT, FORM_COUNT };

static int zipkin_put(enum zipkin_form form, struct fm_slice otlp, struct fm_buf *body)
{
    switch (form) {
    case FORM_JSON:
        return zipkin_put_json(otlp, body);
    case FORM_PB:
        return zipkin_put_pb(otlp, body);
    case FORM_V1_JSON:
        return zipkin_put_v1_json(otlp, body);
    default:
        return zipkin_put_v1_thrift(otlp, body);
    }
}

static int zipkin_take(enum zipkin_form form, struct fm_slice body, struct fm_arena *scratch,
                       struct fm_buf *result, struct fm_why *why)
{
    switch (form) {
    case FORM_JSON:
    case FORM_V1_JSON:
        return zipkin_json_decode(body, scratch, result, why);
    case FORM_PB:
        return zipkin_pb_decode(body, scratch, result, why);
    default:
        return zipkin_thrift_decode(body, THRIFT_BINARY_PROTOCOL, scratch, result, why);
    }
}

static void check_zipkin(enum zipkin_form form, struct fm_slice otlp)
{
    struct fm_buf body, result;
    struct fm_arena scratch;
    struct fm_why why = {""};

    fm_arena_init(&scratch, FM_MIB(64));
    fm_buf_init(&body, FM_MIB(16));
    fm_buf_init(&result, FM_MIB(16));
    assert_ok(zipkin_put(form, otlp, &body));
    if (zipkin_take(form, fm_buf_slice(&body), &scratch, &result, &why) != FM_OK)
        fail_msg("form %d: %s", (int)form, why.text);
    assert_same(otlp, fm_buf_slice(&result), &zipkin_losses);
    fm_buf_fini(&result);
    fm_buf_fini(&body);
    fm_arena_fini(&scratch);
}

static void test_zipkin(void **state)
{
    (void)state;
    struct fm_buf rich = make_rich(), corpus = make_corpus(3);
    for (int form = 0; form < FORM_COUNT; form++) {
        check_zipkin((enum zipkin_form)form, fm_buf_slice(&rich));
        check_zipkin((enum zipkin_form)form, fm_buf_slice(&corpus));
    }
    fm_buf_fini(&rich);
    fm_buf_fini(&corpus);
}

/* ---- where requests come from ---- */

static void check_batch(const struct emit_protocol *protocol, const struct emit_batch *batch)
{
    struct fm_buf wanted;
    fm_buf_init(&wanted, FM_MIB(16));
    if (protocol->translate)
        assert_ok(protocol->translate(batch->otlp, 8192, &wanted));
    else
        fm_buf_put_slice(&wanted, batch->otlp);
    assert_true(fm_slice_equal(batch->body, fm_buf_slice(&wanted)));
    if (protocol->transport == EMIT_GRPC) {
        assert_int_equal(batch->framed.len, batch->body.len + 5);
        assert_int_equal(batch->framed.ptr[0], 0);
        assert_int_equal(fm_load_be32(batch->framed.ptr + 1), batch->body.len);
        assert_ptr_equal(batch->framed.ptr + 5, batch->body.ptr);
    }
    fm_buf_fini(&wanted);
}

/* Made up as they are wanted, beforehand, and from a file: the same requests in every protocol. */
static void check_source(struct emit_plan *plan, uint64_t spans_wanted)
{
    struct emit_source *source;
    struct emit_batch batch;
    struct fm_why why;
    uint64_t spans = 0;
    int rc;

    assert_ok(emit_source_new(&source, plan, &why));
    emit_batch_init(&batch);
    while ((rc = emit_source_next(source, &batch)) == FM_OK) {
        check_batch(plan->protocol, &batch);
        spans += batch.span_count;
    }
    assert_int_equal(rc, FM_END);
    assert_int_equal(spans, spans_wanted);
    emit_batch_fini(&batch);
    emit_source_free(source);
}

static void test_sources(void **state)
{
    (void)state;
    char path[] = "/tmp/test_emit_forms.XXXXXX";
    struct fm_why why;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    (void)close(fd);
    for (size_t i = 0; i < emit_protocol_count; i++) {
        struct emit_plan plan = {.protocol = &emit_protocols[i],
                                 .total = 250,
                                 .batch_spans = 100,
                                 .seed = 3,
                                 .packet_bytes = 8192,
                                 .start_ns = UINT64_C(1700000000000000000)};
        check_source(&plan, 300);
        plan.prepare = true;
        check_source(&plan, 300);
        struct emit_source *source;
        plan.write_corpus_file = path;
        assert_ok(emit_source_new(&source, &plan, &why));
        assert_ok(emit_source_write(source, path, &why));
        emit_source_free(source);
        plan.write_corpus_file = NULL;
        plan.corpus_file = path;
        check_source(&plan, 300);
        plan.total = 150;
        check_source(&plan, 200);
        plan.total = 1000; /* begins again at the end of the file */
        check_source(&plan, 1000);
    }
    (void)unlink(path);
}

/* Every allocation may fail; the answer is "out of memory", and what was appended may be cut. */
static void test_memory_runs_out(void **state)
{
    (void)state;
    struct fm_buf rich = make_rich();
    for (size_t i = 0; i < emit_protocol_count; i++) {
        const struct emit_protocol *protocol = &emit_protocols[i];
        for (uint64_t nth = 1; protocol->translate; nth++) {
            struct fm_buf body;
            fm_buf_init(&body, FM_MIB(16));
            test_alloc_fail_at(nth);
            int rc = protocol->translate(fm_buf_slice(&rich), 8192, &body);
            bool failed = test_alloc_failed();
            test_alloc_disarm();
            fm_buf_fini(&body);
            assert_int_equal(rc, failed ? FM_ENOMEM : FM_OK);
            if (!failed)
                break;
        }
    }
    fm_buf_fini(&rich);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jaeger_datagrams), cmocka_unit_test(test_jaeger_limits),
        cmocka_unit_test(test_jaeger_bodies),    cmocka_unit_test(test_zipkin),
        cmocka_unit_test(test_sources),          cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
