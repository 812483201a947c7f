/* SPDX-License-Identifier: Apache-2.0 */
/* Figures are quoted of the corpus, so what it consists of is held to what it claims to be: a
 * million spans in 51,371 traces, 481 bytes of protobuf and 10 attributes a span, 131,763 events,
 * 28,151 links, 3 % errors; by batches of 512 it shrinks to 63.8 bytes with zstd -3 and 93.7 with
 * LZ4.  An easier corpus would flatter every figure. */
#include "../../support/test.h"

#include <string.h>

#include "../../../src/tools/corpus.h"
#include "../../../src/tools/corpus_words.h"

#include "fermata/codec.h"
#include "fermata/pb.h"

#define SPANS      200000
#define START_NS   UINT64_C(1795219972000000000)
#define KINDS      6
#define SEEN_SLOTS (1u << 20) /* of a table of distinct texts: a power of two */

/* Everything counted over all spans of a corpus. */
struct census {
    uint64_t requests, bytes, spans, attributes, events, links, errors, failed_requests, databases;
    uint64_t slow_gets, kinds[KINDS], texts;
    uint64_t *seen; /* hashes of texts, 0: free */
};

static struct corpus *corpus_of(uint64_t seed, uint32_t spans_per_request)
{
    const struct corpus_options options = {seed, spans_per_request, 100000};
    struct corpus *corpus = NULL;
    assert_ok(corpus_new(&corpus, &options));
    return corpus;
}

static void census_text(struct census *census, struct fm_slice text)
{
    uint64_t hash = fm_hash64(text, 0) | 1;
    size_t at = hash >> 1 & (SEEN_SLOTS - 1);
    while (census->seen[at] && census->seen[at] != hash)
        at = (at + 1) & (SEEN_SLOTS - 1);
    census->texts += !census->seen[at];
    census->seen[at] = hash;
    assert_true(census->texts < SEEN_SLOTS / 2);
}

static void census_attribute(struct census *census, struct fm_slice pair)
{
    struct pb_field field, content;
    bool is_status = false;
    census->attributes++;
    while (pb_next(&pair, &field) == FM_OK) {
        if (field.number == 1) {
            is_status = fm_slice_equal(field.bytes, FM_SLICE("http.response.status_code"));
            census->databases += fm_slice_equal(field.bytes, FM_SLICE("db.system.name"));
            continue;
        }
        assert_ok(pb_next(&field.bytes, &content));
        if (content.number == 1)
            census_text(census, content.bytes);
        census->failed_requests += is_status && content.value >= 500;
    }
}

static void census_attributes_of(struct census *census, struct fm_slice message, uint32_t number)
{
    struct pb_field field;
    while (pb_next(&message, &field) == FM_OK)
        if (field.number == number)
            census_attribute(census, field.bytes);
}

static void census_span(struct census *census, struct fm_slice span)
{
    struct pb_field field;
    uint64_t start_ns = 0, end_ns = 0;
    bool is_get = false;
    census->spans++;
    census_attributes_of(census, span, 9);
    while (pb_next(&span, &field) == FM_OK) {
        if (field.number == 5)
            is_get = field.bytes.len >= 3 && !memcmp(field.bytes.ptr, "GET", 3);
        else if (field.number == 6)
            census->kinds[field.value % KINDS]++;
        else if (field.number == 7)
            start_ns = field.value;
        else if (field.number == 8)
            end_ns = field.value;
        else if (field.number == 11)
            census->events++, census_attributes_of(census, field.bytes, 3);
        else if (field.number == 13)
            census->links++, census_attributes_of(census, field.bytes, 4);
        else if (field.number == 15)
            census->errors++;
    }
    assert_true(start_ns >= START_NS && end_ns > start_ns);
    census->slow_gets += is_get && end_ns - start_ns > UINT64_C(1000000000);
}

/* resource_spans, scope_spans, spans. */
static void census_walk(struct census *census, struct fm_slice message, unsigned level)
{
    static const uint32_t path[] = {1, 2, 2};
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&message, &field)) == FM_OK)
        if (field.number == path[level] && field.type == PB_BYTES) {
            if (level == 2)
                census_span(census, field.bytes);
            else
                census_walk(census, field.bytes, level + 1);
        }
    assert_int_equal(rc, FM_END);
}

/* Within percent of what is expected in a million spans. */
static void assert_about(const char *what, double found, double expected, double percent)
{
    if (found < expected * (1 - percent / 100) || found > expected * (1 + percent / 100))
        fail_msg("%s: %.2f, expected %.2f within %.0f %%", what, found, expected, percent);
}

static void test_it_is_what_it_claims(void **state)
{
    (void)state;
    FM_AUTO(corpus) corpus = corpus_of(42, 512);
    struct census census = {.seen = calloc(SEEN_SLOTS, sizeof *census.seen)};
    struct fm_buf otlp;
    int rc = FM_OK;
    assert_non_null(census.seen);
    fm_buf_init(&otlp, FM_MIB(16));
    while (rc == FM_OK) {
        fm_buf_reset(&otlp);
        rc = corpus_span_count(corpus) < SPANS ? corpus_next(corpus, START_NS, &otlp)
                                               : corpus_drain(corpus, &otlp);
        census.requests += rc == FM_OK;
        census.bytes += otlp.len;
        census_walk(&census, fm_buf_slice(&otlp), 0);
    }
    assert_int_equal(rc, FM_END);
    assert_int_equal(census.spans, corpus_span_count(corpus));

    double spans = (double)census.spans, million = 1e6 / spans;
    assert_about("bytes a span", (double)census.bytes / spans, 481.4, 1);
    assert_about("attributes a span", (double)census.attributes / spans, 10.04, 1);
    assert_about("traces", (double)corpus_trace_count(corpus) * million, 51371, 3);
    assert_about("events", (double)census.events * million, 131763, 3);
    assert_about("links", (double)census.links * million, 28151, 5);
    assert_about("errors", (double)census.errors * million, 30000, 4);
    assert_about("status of 500 and more", (double)census.failed_requests * million, 7206, 8);
    assert_about("GET over a second", (double)census.slow_gets * million, 535, 40);
    assert_about("database spans", (double)census.databases / spans * 100, 31, 3);
    assert_about("internal spans", (double)census.kinds[1] / spans * 100, 19, 3);
    assert_about("distinct texts", (double)census.texts / spans * 100, 51, 5);
    assert_true(census.requests >= census.spans / 512 &&
                census.requests <= census.spans / 512 + CORPUS_INSTANCES);
    free(census.seen);
    fm_buf_fini(&otlp);
}

/* Bytes a span of every eighth batch, pressed alone. */
static double pressed(enum codec codec, int level)
{
    FM_AUTO(corpus) corpus = corpus_of(42, 512);
    FM_AUTO(codec_encoder) encoder = NULL;
    struct fm_buf otlp, target;
    size_t bytes = 0, spans = 0, len;
    assert_ok(codec_encoder_new(&encoder, codec, level));
    fm_buf_init(&otlp, FM_MIB(16));
    fm_buf_init(&target, FM_MIB(16));
    while (corpus_span_count(corpus) < SPANS) {
        fm_buf_reset(&otlp);
        fm_buf_reset(&target);
        assert_ok(corpus_next(corpus, START_NS, &otlp));
        if (corpus_span_count(corpus) / 512 % 8)
            continue;
        assert_ok(codec_encode(encoder, fm_buf_slice(&otlp), &target, &len));
        bytes += len;
        spans += 512;
    }
    fm_buf_fini(&otlp);
    fm_buf_fini(&target);
    return (double)bytes / (double)spans;
}

static void test_it_is_as_hard_to_press(void **state)
{
    (void)state;
    assert_about("zstd -1", pressed(CODEC_ZSTD, 1), 65.8, 2);
    assert_about("zstd -3", pressed(CODEC_ZSTD, 3), 63.8, 2);
    assert_about("LZ4", pressed(CODEC_LZ4, 1), 93.7, 3);
}

static void first_request(uint64_t seed, struct fm_buf *ret_otlp)
{
    FM_AUTO(corpus) corpus = corpus_of(seed, 64);
    fm_buf_init(ret_otlp, FM_MIB(16));
    assert_ok(corpus_next(corpus, START_NS, ret_otlp));
    assert_int_equal(corpus_span_count(corpus), 64);
}

static void test_same_seed_same_bytes(void **state)
{
    (void)state;
    struct fm_buf a, b, c;
    first_request(7, &a);
    first_request(7, &b);
    first_request(8, &c);
    assert_true(fm_slice_equal(fm_buf_slice(&a), fm_buf_slice(&b)));
    assert_false(fm_slice_equal(fm_buf_slice(&a), fm_buf_slice(&c)));
    fm_buf_fini(&a);
    fm_buf_fini(&b);
    fm_buf_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_what_it_claims),
        cmocka_unit_test(test_it_is_as_hard_to_press),
        cmocka_unit_test(test_same_seed_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
