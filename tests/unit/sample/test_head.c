/* SPDX-License-Identifier: Apache-2.0 */
/* Probabilities, tracestates, and head sampling over requests. */
#include "../../support/test.h"

#include "fermata/pb.h"
#include "fermata/sample_head.h"
#include "fermata/units.h"

#define HALF (SAMPLE_THRESHOLD_NEVER / 2)

/* ---- probabilities ---- */

static void test_probabilities(void **state)
{
    (void)state;
    const struct {
        const char *text;
        uint64_t threshold;
    } good[] = {
        {"1", 0},
        {"1.0", 0},
        {"100%", 0},
        {"0", SAMPLE_THRESHOLD_NEVER},
        {"0%", SAMPLE_THRESHOLD_NEVER},
        {"0.5", HALF},
        {".5", HALF},
        {"50%", HALF},
        {"50.0%", HALF},
        {"0.25", UINT64_C(0xc0000000000000)},
        {"0.1", UINT64_C(0xe6666666666666)},
        {"0.000000000000001", UINT64_C(0xffffffffffffb8)},
    };
    for (size_t i = 0; i < FM_COUNT(good); i++) {
        uint64_t threshold;
        assert_ok(sample_probability_parse(fm_slice_text(good[i].text), &threshold));
        assert_int_equal(threshold, good[i].threshold);
    }
    static const char *const bad[] = {"",
                                      ".",
                                      "%",
                                      "-1",
                                      "1.1",
                                      "101%",
                                      "0.5 ",
                                      "1e-3",
                                      "0,5",
                                      "0.5.",
                                      "0x1",
                                      "50%%",
                                      "2",
                                      "0.00000000000000000000001",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        uint64_t threshold = 7;
        assert_int_equal(sample_probability_parse(fm_slice_text(bad[i]), &threshold),
                         FM_EMALFORMED);
        assert_int_equal(threshold, 7);
    }
}

/* ---- tracestate ---- */

static void test_tracestates(void **state)
{
    (void)state;
    const uint64_t r = UINT64_C(0xd29d6a7215ced0);
    const struct {
        const char *text;
        bool malformed, has_r, has_t;
        uint64_t threshold; /* read */
        const char *with_half;
    } rows[] = {
        {"", false, false, false, 0, "ot=th:8"},
        {"a=b,c=d", false, false, false, 0, "ot=th:8,a=b,c=d"},
        {"ot=th:0", false, false, true, 0, "ot=th:8"},
        {"ot=th:c", false, false, true, HALF + HALF / 2, "ot=th:8"},
        {"ot=th:00000000000001", false, false, true, 1, "ot=th:8"},
        {"ot=rv:d29d6a7215ced0", false, true, false, 0, "ot=rv:d29d6a7215ced0;th:8"},
        {"ot=th:8;rv:d29d6a7215ced0", false, true, true, HALF, "ot=rv:d29d6a7215ced0;th:8"},
        {"x=y, ot=p:8;th:8;q:r:s ,z=", false, false, true, HALF, "ot=th:8;p:8;q:r:s,x=y,z="},
        {"ot=th:", true, false, false, 0, "ot=th:8"},
        {"ot=", true, false, false, 0, "ot=th:8"},
        {"ot=th:8;", true, false, true, HALF, "ot=th:8"},
        {"ot=th:8;;a:b", true, false, true, HALF, "ot=th:8;a:b"},
        {"ot=th:G;x", true, false, false, 0, "ot=th:8"},
        {"ot=th:C", true, false, false, 0, "ot=th:8"},
        {"ot=th:123456789abcdef", true, false, false, 0, "ot=th:8"},
        {"ot=th:8;th:9", true, false, true, HALF, "ot=th:8"},
        {"ot=rv:1", true, false, false, 0, "ot=th:8"},
        {"ot=rv:d29d6a7215ced0;rv:d29d6a7215ced0", true, true, false, 0,
         "ot=rv:d29d6a7215ced0;th:8"},
        {"ot=th:8,ot=th:4", false, false, true, HALF, "ot=th:8"},
        {"oth=th:c,,\t,o=t", false, false, false, 0, "ot=th:8,oth=th:c,o=t"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_slice text = fm_slice_text(rows[i].text);
        struct sample_tracestate read = sample_tracestate_read(text);
        assert_int_equal(read.is_malformed, rows[i].malformed);
        assert_int_equal(read.has_randomness, rows[i].has_r);
        assert_int_equal(read.randomness, rows[i].has_r ? r : 0);
        assert_int_equal(read.has_threshold, rows[i].has_t);
        assert_int_equal(read.threshold, rows[i].threshold);
        struct fm_buf out;
        fm_buf_init(&out, 256);
        sample_tracestate_put(text, &read, HALF, &out);
        fm_buf_put_u8(&out, 0);
        assert_string_equal((char *)out.ptr, rows[i].with_half);
        fm_buf_fini(&out);
    }
}

static void test_a_tracestate_has_32_members(void **state)
{
    (void)state;
    struct fm_buf text, out;
    unsigned commas = 0;
    fm_buf_init(&text, 1024);
    fm_buf_init(&out, 1024);
    for (unsigned i = 0; i < 32; i++)
        fm_buf_printf(&text, "%sk%u=v", i ? "," : "", i);
    struct sample_tracestate read = sample_tracestate_read(fm_buf_slice(&text));
    sample_tracestate_put(fm_buf_slice(&text), &read, 1, &out);
    for (size_t i = 0; i < out.len; i++)
        commas += out.ptr[i] == ',';
    assert_int_equal(commas, 31);
    assert_memory_equal(out.ptr, "ot=th:00000000000001,k0=v", 25);
    fm_buf_fini(&text);
    fm_buf_fini(&out);
}

/* ---- requests ---- */

struct span { /* one of a request */
    uint64_t randomness;
    const char *state; /* NULL: none */
    bool state_first;  /* fields in disorder */
};

static void put_span(struct fm_buf *buf, const struct span *span)
{
    uint8_t id[16];
    memset(id, 0x77, sizeof id);
    for (unsigned i = 0; i < 7; i++)
        id[15 - i] = (uint8_t)(span->randomness >> 8 * i);
    size_t mark = pb_begin(buf, 2);
    if (span->state_first)
        pb_put_text(buf, 5, "name");
    if (span->state && span->state_first)
        pb_put_text(buf, 3, span->state);
    pb_put_bytes(buf, 1, fm_slice(id, sizeof id));
    pb_put_bytes(buf, 2, FM_SLICE("01234567"));
    if (span->state && !span->state_first)
        pb_put_text(buf, 3, span->state);
    if (!span->state_first)
        pb_put_text(buf, 5, "name");
    pb_put_fixed64(buf, 7, 1000);
    pb_put_fixed64(buf, 8, 2000);
    size_t inner = pb_begin(buf, 9);
    pb_put_text(buf, 1, "key");
    size_t value = pb_begin(buf, 2);
    pb_put_text(buf, 1,
                "a value that is longer than the others, so that lengths take two bytes: "
                "0123456789012345678901234567890123456789012345678901234567890123");
    pb_end(buf, value);
    pb_end(buf, inner);
    pb_end(buf, mark);
}

/* spans in resources of per_resource spans, in scopes of two. */
static void put_request(struct fm_buf *buf, const struct span *spans, size_t count,
                        size_t per_resource)
{
    for (size_t at = 0; at < count;) {
        size_t end = FM_MIN(at + per_resource, count);
        size_t resource = pb_begin(buf, 1);
        size_t inner = pb_begin(buf, 1);
        pb_end(buf, inner);
        while (at < end) {
            size_t scope = pb_begin(buf, 2);
            for (size_t i = 0; i < 2 && at < end; i++)
                put_span(buf, &spans[at++]);
            pb_put_text(buf, 3, "schema");
            pb_end(buf, scope);
        }
        pb_put_text(buf, 3, "schema");
        pb_end(buf, resource);
    }
}

static struct fm_buf request_new(const struct span *spans, size_t count, size_t per_resource)
{
    struct fm_buf request;
    fm_buf_init(&request, FM_MIB(8));
    put_request(&request, spans, count, per_resource);
    assert_false(request.failed);
    return request;
}

static int run(const struct sample_head_options *options, struct fm_slice request,
               struct fm_buf *target, struct sample_head_tally *tally)
{
    struct sample_head head;
    sample_head_init(&head, options);
    return sample_head_run(&head, options->threshold, request, target, tally);
}

static void test_the_result_is_what_was_kept(void **state)
{
    (void)state;
    const uint64_t low = 5, high = SAMPLE_THRESHOLD_NEVER - 1;
    const struct span from[] = {
        {low, NULL, false},  {high, NULL, false},      {low, "ot=rv:ffffffffffffff", false},
        {low, NULL, false},  {low, NULL, false},       {low, "a=b", false},
        {low, NULL, false},  {high, "ot=th:c", false}, {high, "ot=th:4;x:y,z=1", true},
        {high, NULL, false}, {high, "", false},
    };
    const struct span wanted[] = {
        {high, "ot=th:8", false},
        {low, "ot=rv:ffffffffffffff;th:8", false},
        {high, "ot=th:c", false},
        {high, "ot=th:8;x:y,z=1", true},
    };
    struct fm_buf request = request_new(from, 9, 4), expected, target;
    fm_buf_init(&target, FM_MIB(1));
    fm_buf_init(&expected, FM_MIB(1));
    const struct sample_head_options options = {.threshold = HALF};
    struct sample_head_tally tally;
    assert_int_equal(run(&options, fm_buf_slice(&request), &target, &tally), FM_OK);
    assert_int_equal(tally.dropped[SAMPLE_HEAD_PROBABILITY], 5);
    assert_int_equal(tally.marked, 3);
    /* scopes: {high}, {low+rv}; the second resource has one, {high c}; the third {high x:y} */
    size_t resource = pb_begin(&expected, 1);
    size_t inner = pb_begin(&expected, 1);
    pb_end(&expected, inner);
    for (size_t i = 0; i < 2; i++) {
        size_t scope = pb_begin(&expected, 2);
        put_span(&expected, &wanted[i]);
        pb_put_text(&expected, 3, "schema");
        pb_end(&expected, scope);
    }
    pb_put_text(&expected, 3, "schema");
    pb_end(&expected, resource);
    put_request(&expected, &wanted[2], 1, 4);
    put_request(&expected, &wanted[3], 1, 4);
    assert_int_equal(target.len, expected.len);
    assert_memory_equal(target.ptr, expected.ptr, expected.len);
    /* a second sampler with the same probability changes nothing */
    struct fm_buf again;
    fm_buf_init(&again, FM_MIB(1));
    assert_int_equal(run(&options, fm_buf_slice(&target), &again, &tally), FM_NONE);
    assert_int_equal(again.len, 0);
    fm_buf_fini(&again);
    fm_buf_fini(&request);

    /* without a tracestate it stands behind the ids; an empty one is replaced */
    request = request_new(&from[9], 2, 4);
    fm_buf_reset(&target);
    assert_int_equal(run(&options, fm_buf_slice(&request), &target, &tally), FM_OK);
    assert_int_equal(tally.marked, 2);
    const struct span marked[] = {{high, "ot=th:8", false}, {high, "ot=th:8", false}};
    fm_buf_reset(&expected);
    put_request(&expected, marked, 2, 4);
    assert_int_equal(target.len, expected.len);
    assert_memory_equal(target.ptr, expected.ptr, expected.len);
    fm_buf_fini(&request);
    fm_buf_fini(&expected);
    fm_buf_fini(&target);
}

static void test_all_or_nothing(void **state)
{
    (void)state;
    const struct span spans[] = {{1, NULL, false}, {HALF, "ot=th:8", false}, {7, "x=y", true}};
    struct fm_buf request = request_new(spans, FM_COUNT(spans), 2), target;
    struct sample_head_tally tally;
    fm_buf_init(&target, FM_MIB(1));
    assert_int_equal(
        run(&(struct sample_head_options){.threshold = 0}, fm_buf_slice(&request), &target, &tally),
        FM_NONE);
    assert_int_equal(target.len, 0);
    fm_buf_puts(&target, "before");
    assert_int_equal(run(&(struct sample_head_options){.threshold = SAMPLE_THRESHOLD_NEVER},
                         fm_buf_slice(&request), &target, &tally),
                     FM_OK);
    assert_int_equal(target.len, 6);
    assert_int_equal(tally.dropped[SAMPLE_HEAD_PROBABILITY], 3);
    fm_buf_fini(&request);
    fm_buf_fini(&target);
}

static void test_states_that_contradict_themselves(void **state)
{
    (void)state;
    const struct span spans[] = {
        {HALF + 1, "ot=th:c", false},                   /* R < its own T */
        {HALF + 1, "ot=th:zz", false},                  /* no threshold */
        {HALF + 1, "ot=rv:00000000000001;th:8", false}, /* R by rv: contradicts, dropped */
        {1, "ot=rv:abc", false},                        /* R by the id: dropped */
        {HALF + 1, "ot=th:8", false},
    };
    struct fm_buf request = request_new(spans, FM_COUNT(spans), 8), target;
    struct sample_head_options options = {.threshold = HALF};
    struct sample_head_tally tally;
    fm_buf_init(&target, FM_MIB(1));
    assert_int_equal(run(&options, fm_buf_slice(&request), &target, &tally), FM_OK);
    assert_int_equal(tally.dropped[SAMPLE_HEAD_PROBABILITY], 2);
    assert_int_equal(tally.dropped[SAMPLE_HEAD_TRACESTATE], 0);
    assert_int_equal(tally.marked, 2);
    options.fail_closed = true;
    fm_buf_reset(&target);
    assert_int_equal(run(&options, fm_buf_slice(&request), &target, &tally), FM_OK);
    assert_int_equal(tally.dropped[SAMPLE_HEAD_PROBABILITY], 0);
    assert_int_equal(tally.dropped[SAMPLE_HEAD_TRACESTATE], 4);
    assert_int_equal(tally.marked, 0);
    fm_buf_fini(&request);
    fm_buf_fini(&target);
}

/* What is kept at p is kept at every larger one; of a chain of samplers the strictest counts. */
static void test_probabilities_are_consistent(void **state)
{
    (void)state;
    enum { COUNT = 4000, STEPS = 5 };
    static const char *const texts[STEPS] = {"1%", "0.1", "0.25", "0.5", "0.9"};
    static const double shares[STEPS] = {0.01, 0.1, 0.25, 0.5, 0.9};
    struct fm_buf targets[STEPS], chain;
    struct span *spans = calloc(COUNT, sizeof *spans);
    struct sample_head_options options = {0};
    struct sample_head_tally tally;
    uint64_t seed = 11;
    assert_non_null(spans);
    for (unsigned i = 0; i < COUNT; i++)
        spans[i].randomness = fm_random_next(&seed) >> 8;
    struct fm_buf request = request_new(spans, COUNT, 100);
    for (unsigned i = 0; i < STEPS; i++) {
        fm_buf_init(&targets[i], FM_MIB(8));
        assert_ok(sample_probability_parse(fm_slice_text(texts[i]), &options.threshold));
        assert_ok(run(&options, fm_buf_slice(&request), &targets[i], &tally));
        double share = 1 - (double)tally.dropped[SAMPLE_HEAD_PROBABILITY] / COUNT;
        assert_true(share > shares[i] - 0.03 && share < shares[i] + 0.03);
    }
    for (unsigned strict = 0; strict < STEPS; strict++) {
        for (unsigned loose = strict + 1; loose < STEPS; loose++) {
            fm_buf_init(&chain, FM_MIB(8));
            assert_ok(sample_probability_parse(fm_slice_text(texts[strict]), &options.threshold));
            assert_ok(run(&options, fm_buf_slice(&targets[loose]), &chain, &tally));
            assert_int_equal(chain.len, targets[strict].len);
            assert_memory_equal(chain.ptr, targets[strict].ptr, chain.len);
            assert_ok(sample_probability_parse(fm_slice_text(texts[loose]), &options.threshold));
            fm_buf_reset(&chain);
            assert_int_equal(run(&options, fm_buf_slice(&targets[strict]), &chain, &tally),
                             FM_NONE);
            fm_buf_fini(&chain);
        }
    }
    for (unsigned i = 0; i < STEPS; i++)
        fm_buf_fini(&targets[i]);
    fm_buf_fini(&request);
    free(spans);
}

/* ---- the rate ---- */

static uint64_t kept_of(uint64_t span_count, uint64_t threshold)
{
    return (uint64_t)((double)span_count *
                      ((double)(SAMPLE_THRESHOLD_NEVER - threshold) / SAMPLE_THRESHOLD_NEVER));
}

static void test_rate(void **state)
{
    (void)state;
    struct sample_head head;
    sample_head_init(&head, &(struct sample_head_options){.spans_per_second_max = 1000});
    uint64_t second_ns = 1700000000 * FM_NS_PER_S;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(sample_head_threshold(&head, second_ns, 100), 0);
    assert_int_equal(sample_head_threshold(&head, second_ns, 1000), HALF);
    for (unsigned s = 1; s < 4; s++) { /* four times too many, steadily */
        uint64_t kept = 0;
        for (unsigned i = 0; i < 40; i++)
            kept += kept_of(100, sample_head_threshold(&head, second_ns + s * FM_NS_PER_S, 100));
        assert_true(s == 1 ? kept < 2000 : kept >= 900 && kept <= 1000);
    }
    /* and few again: after a second all come in */
    assert_true(sample_head_threshold(&head, second_ns + 4 * FM_NS_PER_S, 10) > HALF);
    assert_int_equal(sample_head_threshold(&head, second_ns + 5 * FM_NS_PER_S, 10), 0);
    assert_int_equal(sample_head_threshold(&head, second_ns + 9 * FM_NS_PER_S, 1000), 0);
    /* never laxer than the probability; reasons are told apart */
    head.options.threshold = HALF;
    assert_int_equal(sample_head_threshold(&head, second_ns + 20 * FM_NS_PER_S, 1), HALF);
    uint64_t strict = sample_head_threshold(&head, second_ns + 20 * FM_NS_PER_S, 9999);
    const struct span spans[] = {{1, NULL, false}, {HALF, NULL, false}, {strict, NULL, false}};
    struct fm_buf request = request_new(spans, 3, 3), target;
    struct sample_head_tally tally;
    fm_buf_init(&target, FM_MIB(1));
    assert_ok(sample_head_run(&head, strict, fm_buf_slice(&request), &target, &tally));
    assert_int_equal(tally.dropped[SAMPLE_HEAD_PROBABILITY], 1);
    assert_int_equal(tally.dropped[SAMPLE_HEAD_RATE], 1);
    fm_buf_fini(&request);
    fm_buf_fini(&target);
}

/* ---- hostile ---- */

static void run_hostile(void *self, struct fm_slice bytes)
{
    const struct sample_head_options options = {.threshold = HALF, .fail_closed = self != NULL};
    struct sample_head_tally tally;
    struct fm_buf target;
    fm_buf_init(&target, FM_MIB(1));
    int rc = run(&options, bytes, &target, &tally);
    assert_true(rc == FM_OK || rc == FM_NONE || rc == FM_EMALFORMED);
    fm_buf_fini(&target);
}

static void test_hostile_bytes(void **state)
{
    (void)state;
    const struct span spans[] = {{HALF, "ot=th:4;rv:ffffffffffffff,a=b", false},
                                 {1, NULL, false},
                                 {HALF, "a=b,ot=th:c", true}};
    struct fm_buf request = request_new(spans, FM_COUNT(spans), 2);
    test_each_prefix(fm_buf_slice(&request), run_hostile, NULL);
    test_each_bit_flip(fm_buf_slice(&request), run_hostile, NULL);
    test_each_bit_flip(fm_buf_slice(&request), run_hostile, &request);
    fm_buf_fini(&request);
}

static void test_too_little_room(void **state)
{
    (void)state;
    const struct span spans[] = {{HALF, "ot=th:4", false}, {1, NULL, false}, {HALF, "a=b", true}};
    struct fm_buf request = request_new(spans, FM_COUNT(spans), 2);
    const struct sample_head_options options = {.threshold = HALF};
    bool fits = false;
    for (size_t room = 1; !fits; room += 7) {
        struct sample_head_tally tally;
        struct fm_buf target;
        fm_buf_init(&target, room);
        int rc = run(&options, fm_buf_slice(&request), &target, &tally);
        fits = rc == FM_OK;
        assert_int_equal(rc, fits ? FM_OK : FM_ELIMIT);
        assert_true(fits || target.len == 0);
        assert_true(fits || room < request.len + FM_COUNT(spans) * SAMPLE_HEAD_GROWTH);
        fm_buf_fini(&target);
    }
    fm_buf_fini(&request);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    const struct span spans[] = {
        {HALF, "ot=th:4", false}, {1, NULL, false}, {HALF, NULL, false}, {HALF, "a=b", true}};
    struct fm_buf request = request_new(spans, FM_COUNT(spans), 2);
    const struct sample_head_options options = {.threshold = HALF};
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct sample_head_tally tally;
        struct fm_buf target;
        fm_buf_init(&target, FM_MIB(1));
        test_alloc_fail_at(nth);
        int rc = run(&options, fm_buf_slice(&request), &target, &tally);
        failed = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, failed ? FM_ELIMIT : FM_OK);
        assert_true(!failed || target.len == 0);
        fm_buf_fini(&target);
    }
    fm_buf_fini(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probabilities),
        cmocka_unit_test(test_tracestates),
        cmocka_unit_test(test_a_tracestate_has_32_members),
        cmocka_unit_test(test_the_result_is_what_was_kept),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_states_that_contradict_themselves),
        cmocka_unit_test(test_probabilities_are_consistent),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_too_little_room),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
