/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP cut between spans: what is kept, what is left out, what no cut may break. */
#include "../../support/test.h"

#include "../../../src/daemon/export/internal.h"
#include "fermata/pb.h"

static void put_spans(struct fm_buf *buf, uint8_t first, uint8_t count)
{
    for (uint8_t i = 0; i < count; i++) {
        uint8_t id[16] = {7, first}, span_id[8] = {first, i};
        size_t span = pb_begin(buf, 2);
        pb_put_bytes(buf, 1, fm_slice(id, sizeof id));
        pb_put_bytes(buf, 2, fm_slice(span_id, sizeof span_id));
        pb_put_text(buf, 5, "name");
        pb_end(buf, span);
    }
}

/* Resource 1: scope of 3 spans, scope of 2, schema; resource 2: one scope of 4. */
static struct fm_buf sample(void)
{
    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(1));
    size_t resource_spans = pb_begin(&buf, 1);
    pb_put_text(&buf, 1, "resource-1");
    for (uint8_t i = 0; i < 2; i++) {
        size_t scope = pb_begin(&buf, 2);
        pb_put_text(&buf, 1, i ? "scope-b" : "scope-a");
        put_spans(&buf, (uint8_t)(i + 1), (uint8_t)(3 - i));
        pb_put_text(&buf, 3, "schema of scope");
        pb_end(&buf, scope);
    }
    pb_put_text(&buf, 3, "schema of resource");
    pb_end(&buf, resource_spans);
    resource_spans = pb_begin(&buf, 1);
    pb_put_text(&buf, 1, "resource-2");
    size_t scope = pb_begin(&buf, 2);
    put_spans(&buf, 9, 4);
    pb_end(&buf, scope);
    pb_end(&buf, resource_spans);
    assert_false(buf.failed);
    return buf;
}

struct range {
    uint64_t first, end, seen;
};

static bool range_keeps(void *self, const struct slice_span *span)
{
    struct range *range = self;
    assert_int_equal(span->index, range->seen++);
    assert_int_equal(span->trace_id.len, 16);
    assert_int_equal(span->trace_id.ptr[0], 7);
    return span->index >= range->first && span->index < range->end;
}

static struct fm_buf slice(const struct fm_buf *otlp, uint64_t first, uint64_t end)
{
    struct range range = {first, end, 0};
    struct fm_buf target;
    fm_buf_init(&target, FM_MIB(1));
    assert_ok(slice_otlp(fm_buf_slice(otlp), range_keeps, &range, &target));
    assert_int_equal(range.seen, 9);
    return target;
}

static bool has_text(const struct fm_buf *buf, const char *text)
{
    return buf->len && memmem(buf->ptr, buf->len, text, strlen(text));
}

static void test_all_is_the_same(void **state)
{
    struct fm_buf otlp = sample(), target = slice(&otlp, 0, 9);
    (void)state;
    assert_true(fm_slice_equal(fm_buf_slice(&otlp), fm_buf_slice(&target)));
    fm_buf_fini(&target);
    fm_buf_fini(&otlp);
}

static void test_ranges(void **state)
{
    struct fm_buf otlp = sample();
    (void)state;
    for (uint64_t first = 0; first < 9; first++) {
        for (uint64_t end = first + 1; end <= 9; end++) {
            struct fm_buf target = slice(&otlp, first, end), again;
            struct range count = {0, UINT64_MAX, 0};
            assert_int_equal(has_text(&target, "resource-1"), first < 5);
            assert_int_equal(has_text(&target, "schema of resource"), first < 5);
            assert_int_equal(has_text(&target, "scope-a"), first < 3);
            assert_int_equal(has_text(&target, "scope-b"), first < 5 && end > 3);
            assert_int_equal(has_text(&target, "resource-2"), end > 5);
            fm_buf_init(&again, FM_MIB(1));
            assert_ok(slice_otlp(fm_buf_slice(&target), range_keeps, &count, &again));
            assert_int_equal(count.seen, end - first);
            fm_buf_fini(&again);
            fm_buf_fini(&target);
        }
    }
    struct fm_buf nothing = slice(&otlp, 9, 9);
    assert_int_equal(nothing.len, 0);
    fm_buf_fini(&nothing);
    fm_buf_fini(&otlp);
}

static bool keeps_all(void *self, const struct slice_span *span)
{
    (void)self;
    (void)span;
    return true;
}

static void body_any(void *self, struct fm_slice input)
{
    struct fm_buf target;
    (void)self;
    fm_buf_init(&target, FM_MIB(1));
    int rc = slice_otlp(input, keeps_all, NULL, &target);
    assert_true(rc == FM_OK || rc == FM_EMALFORMED);
    fm_buf_fini(&target);
}

static void test_hostile(void **state)
{
    struct fm_buf otlp = sample();
    (void)state;
    test_each_prefix(fm_buf_slice(&otlp), body_any, NULL);
    test_each_bit_flip(fm_buf_slice(&otlp), body_any, NULL);
    fm_buf_fini(&otlp);
}

/* ---- shares ---- */

static void test_owners(void **state)
{
    unsigned counts[4] = {0};
    (void)state;
    for (uint32_t i = 0; i < 4000; i++) {
        uint8_t id[16] = {0};
        fm_store_be32(id + 12, i);
        struct fm_slice trace_id = fm_slice(id, sizeof id);
        uint32_t owner = share_owner(trace_id, 0xf);
        counts[owner]++;
        for (uint32_t gone = 0; gone < 4; gone++) { /* only what the one that is gone had moves */
            uint32_t other = share_owner(trace_id, 0xfu & ~(1u << gone));
            assert_int_not_equal(other, gone);
            if (owner != gone)
                assert_int_equal(other, owner);
        }
    }
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(counts[i], 800, 1200);
}

static void batch_fill(struct batch *batch)
{
    struct fm_buf otlp = sample();
    batch_init(batch);
    batch_reset(batch);
    fm_buf_put_slice(&batch->otlp, fm_buf_slice(&otlp));
    batch->span_count = 9;
    batch->share_count = 1;
    batch->shares[0].rule_count = 0;
    fm_buf_fini(&otlp);
}

static uint64_t body_spans(struct fm_slice body)
{
    struct range count = {0, UINT64_MAX, 0};
    struct fm_buf target;
    fm_buf_init(&target, FM_MIB(1));
    assert_ok(slice_otlp(body, range_keeps, &count, &target));
    fm_buf_fini(&target);
    return count.seen;
}

static void test_whole_batch_is_not_copied(void **state)
{
    struct batch batch;
    struct encoding encoding = {.protocol = EXPORT_HTTP, .codec = CODEC_NONE, .batch = &batch};
    (void)state;
    batch_fill(&batch);
    encoding_init(&encoding);
    batch.part_max = 9;
    encoding_work(&encoding.job);
    assert_ok(encoding.rc);
    assert_ptr_equal(encoding.body.ptr, batch.otlp.ptr + EXPORT_GRPC_PREFIX);
    assert_int_equal(encoding.span_count, 9);
    assert_true(encoding.is_last);
    encoding.protocol = EXPORT_GRPC;
    encoding_work(&encoding.job);
    assert_ptr_equal(encoding.body.ptr, batch.otlp.ptr);
    assert_int_equal(encoding.body.ptr[0], 0);
    assert_int_equal(fm_load_be32(encoding.body.ptr + 1), encoding.body.len - EXPORT_GRPC_PREFIX);
    encoding_fini(&encoding);
    batch_fini(&batch);
}

static void test_parts_and_shares(void **state)
{
    struct batch batch;
    struct encoding encoding = {.protocol = EXPORT_GRPC, .codec = CODEC_GZIP, .batch = &batch};
    uint64_t total = 0;
    (void)state;
    batch_fill(&batch);
    encoding_init(&encoding);
    for (uint32_t owner = 0; owner < 2; owner++) {
        batch.shares[0] = (struct share){.rules = {{3, owner}}, .rule_count = 1};
        batch.part_first = 0;
        batch.part_max = 2;
        do {
            struct fm_buf plain;
            encoding_work(&encoding.job);
            assert_ok(encoding.rc);
            assert_true(encoding.span_count <= 2);
            if (!encoding.span_count)
                break;
            assert_int_equal(encoding.body.ptr[0], 1);
            fm_buf_init(&plain, FM_MIB(1));
            assert_ok(codec_inflate(
                CODEC_GZIP, fm_slice(encoding.body.ptr + 5, encoding.body.len - 5), &plain));
            assert_int_equal(body_spans(fm_buf_slice(&plain)), encoding.span_count);
            fm_buf_fini(&plain);
            total += encoding.span_count;
            batch.part_first += encoding.span_count;
        } while (!encoding.is_last);
        assert_true(encoding.is_last);
    }
    assert_int_equal(total, 9);
    encoding_fini(&encoding);
    batch_fini(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_the_same),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_owners),
        cmocka_unit_test(test_whole_batch_is_not_copied),
        cmocka_unit_test(test_parts_and_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
