/* SPDX-License-Identifier: Apache-2.0 */
/* What is found out about a datagram while it is translated is what the check of the translation
 * would find: over the corpus of the fuzzers, and over a batch that has one of everything that a
 * check refuses or mends. */
#include "../../support/test.h"

#include <dirent.h>

#include "../../support/jaeger_facts.h"
#include "jaeger_sample.h"

/* Every file as a datagram and as a bare batch in either encoding; how many files. */
static size_t facts_of_corpus(const char *name)
{
    char path[512];
    size_t count = 0;
    (void)snprintf(path, sizeof path, "tests/corpus/%s", name);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "corpus/%s/%s", name, entry->d_name);
        struct fm_buf input = test_read_file(path);
        uint8_t *exact = test_exact_copy(fm_buf_slice(&input));
        struct fm_slice slice = fm_slice(exact, input.len);
        if (!jaeger_facts_agree(slice) || !jaeger_facts_agree_in_call(slice, THRIFT_COMPACT) ||
            !jaeger_facts_agree_in_call(slice, THRIFT_BINARY_PROTOCOL))
            fail_msg("%s", path);
        free(exact);
        fm_buf_fini(&input);
        count++;
    }
    closedir(directory);
    return count;
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(facts_of_corpus("jaeger_compact") > 100);
    assert_true(facts_of_corpus("jaeger_binary") > 100);
}

static char facts_long[3001]; /* above every limit */

static const struct sample_span facts_spans[] = {
    {.high = 1,
     .low = 2,
     .span_id = 3,
     .name = "plain",
     .start_us = 20,
     .duration_us = 5,
     .tags = {SAMPLE_TAGS(TAG_TEXT("component", "http"), TAG_LONG("n", -5), TAG_BOOL("b", true),
                          TAG_DOUBLE("d", 1.5), TAG_BYTES("raw", "12"))}},
    {.high = 1, .low = 2, .span_id = 4, .parent_id = 3, .start_us = 10, .duration_us = INT64_MAX},
    {.high = 0,
     .low = 0,
     .span_id = 5,
     .name = "no trace",
     .start_us = 1,
     .tags = {SAMPLE_TAGS(TAG_TEXT("long", facts_long))}},
    {.high = 1, .low = 7, .span_id = 0, .name = "no id", .start_us = 1},
    {.high = 1,
     .low = 7,
     .span_id = 8,
     .name = "long value",
     .tags = {SAMPLE_TAGS(TAG_TEXT("value", facts_long))}},
    {.high = 1,
     .low = 7,
     .span_id = 9,
     .name = "long key",
     .tags = {SAMPLE_TAGS(TAG_TEXT(facts_long, "x"), TAG_TEXT("k", "v"))}},
    {.high = 1,
     .low = 7,
     .span_id = 10,
     .name = "long bytes, repeats",
     .tags = {SAMPLE_TAGS(TAG_BYTES("bytes", facts_long), TAG_TEXT("a", "1"), TAG_TEXT("a", "2"),
                          TAG_TEXT("b", "1"), TAG_TEXT("a", "3"))}},
    {.high = 1,
     .low = 7,
     .span_id = 11,
     .name = "logs",
     .logs = {SAMPLE_LOGS({5, {SAMPLE_TAGS(TAG_TEXT("event", facts_long), TAG_LONG("n", 1))}},
                          {6,
                           {SAMPLE_TAGS(TAG_TEXT("text", facts_long), TAG_LONG("n", 1),
                                        TAG_LONG("m", 1), TAG_LONG("o", 1))}})}},
    {.high = 1,
     .low = 7,
     .span_id = 12,
     .name = "links",
     .references = {SAMPLE_REFERENCES({1, 4, 5, 6}, {1, 0, 0, 6}, {0, 1, 7, 11})}},
    {.high = 2,
     .low = 7,
     .span_id = 13,
     .name = "scope",
     .tags = {SAMPLE_TAGS(TAG_TEXT("otel.scope.name", "a"), TAG_TEXT("error", facts_long))}},
    {.high = 2,
     .low = 8,
     .span_id = 14,
     .name = "another scope",
     .tags = {SAMPLE_TAGS(TAG_TEXT("otel.scope.name", facts_long))}},
    {.high = 1, .low = 2, .span_id = 15, .name = "first scope"},
    {0}, /* blank */
};

static const struct sample_tags facts_processes[] = {
    {SAMPLE_TAGS(TAG_TEXT("hostname", "h"), TAG_TEXT("ip", "::1"))},
    {SAMPLE_TAGS(TAG_TEXT("hostname", facts_long))},
    {SAMPLE_TAGS(TAG_TEXT("jaeger.version", "Go-2.30"), TAG_TEXT("service.name", "t"))},
    {SAMPLE_TAGS(TAG_TEXT("jaeger.version", facts_long))},
    {NULL, 0},
};

static void facts_of_batch(const struct sample_batch *batch)
{
    for (int encoding = THRIFT_COMPACT; encoding <= THRIFT_BINARY_PROTOCOL; encoding++) {
        struct fm_buf input;
        fm_buf_init(&input, FM_MIB(1));
        sample_thrift(&input, (enum thrift_encoding)encoding, batch);
        assert_false(input.failed);
        assert_true(jaeger_facts_agree_in_call(fm_buf_slice(&input), encoding));
        fm_buf_fini(&input);
    }
}

/* Each span alone, each with the one before it, and all of them. */
static void test_everything(void **state)
{
    (void)state;
    memset(facts_long, 'x', sizeof facts_long - 1);
    for (size_t process = 0; process < FM_COUNT(facts_processes); process++) {
        struct sample_batch batch = {.service = process % 2 ? facts_long : "s",
                                     .tags = facts_processes[process]};
        for (size_t i = 0; i < FM_COUNT(facts_spans); i++) {
            batch.spans.items = &facts_spans[i];
            batch.spans.count = 1;
            facts_of_batch(&batch);
            batch.spans.items -= i != 0;
            batch.spans.count += i != 0;
            facts_of_batch(&batch);
        }
        batch.spans.items = facts_spans;
        batch.spans.count = FM_COUNT(facts_spans);
        facts_of_batch(&batch);
    }
}

/* Texts of every length around those that are read and copied in another way. */
static void test_lengths(void **state)
{
    (void)state;
    char key[301], text[2101];
    for (size_t len = 0; len < 300; len++) {
        struct sample_span span = {.high = 1, .low = 2, .span_id = 3, .name = "n"};
        memset(key, 'k', len);
        memset(text, 't', 7 * len);
        key[len] = text[7 * len] = 0;
        const struct sample_tag tags[] = {TAG_TEXT("a", key), TAG_TEXT(key, "b"),
                                          TAG_TEXT("c", text), TAG_LONG(key, INT64_MIN),
                                          TAG_LONG("e", (int64_t)(UINT64_C(1) << len % 64))};
        span.tags.items = tags;
        span.tags.count = FM_COUNT(tags);
        const struct sample_batch batch = {.service = "s", .spans = {&span, 1}};
        facts_of_batch(&batch);
    }
}

/* Memory for the keys of traces is missing: nothing is appended. */
static void test_no_memory(void **state)
{
    (void)state;
    struct fm_buf input;
    const struct sample_batch batch = {.service = "s", .spans = {facts_spans, 1}};
    fm_buf_init(&input, FM_MIB(1));
    fm_buf_put_slice(&input, FM_SLICE("\x82\x81\x00\x09"
                                      "emitBatch\x1c"));
    sample_thrift(&input, THRIFT_COMPACT, &batch);
    fm_buf_put_u8(&input, 0);
    bool is_done = false;
    for (uint64_t nth = 1; !is_done; nth++) {
        struct jaeger_client_stats stats = {.sequence = 77};
        struct decode_facts facts;
        struct fm_arena scratch;
        struct fm_buf target;
        decode_facts_init(&facts);
        fm_arena_init(&scratch, FM_MIB(1));
        fm_buf_init(&target, FM_MIB(1));
        test_alloc_fail_at(nth);
        int rc = jaeger_datagram_check(fm_buf_slice(&input), &decode_limits_default, &scratch,
                                       &target, &facts, &stats, NULL);
        is_done = !test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, is_done ? FM_OK : FM_ENOMEM);
        assert_true((target.len != 0) == is_done && (stats.sequence != 77) == is_done);
        assert_false(target.failed);
        fm_buf_fini(&target);
        fm_arena_fini(&scratch);
        decode_facts_fini(&facts);
    }
    fm_buf_fini(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
