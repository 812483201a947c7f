/* SPDX-License-Identifier: Apache-2.0 */
/* segment - large answers in several messages, none of them without what all need. */
#include "../../support/test.h"

#include "../../../src/daemon/api/segment.h"
#include "fermata/http.h"
#include "fermata/pb.h"

#define ENTRIES 1000u

static struct fm_buf answer_of(unsigned entries)
{
    struct fm_buf message;
    fm_buf_init(&message, FM_MIB(1));
    for (unsigned i = 0; i < entries; i++) {
        size_t mark = pb_begin(&message, 1);
        pb_put_u64(&message, 1, i);
        pb_end(&message, mark);
    }
    pb_put_text(&message, 2, "metrics");
    pb_put_u64(&message, 3, 1);
    return message;
}

/* Counts entries in order; every message must have the rest. */
static unsigned check_message(struct fm_slice message, unsigned first)
{
    struct pb_field field, inner;
    unsigned count = 0, others = 0;

    while (pb_next(&message, &field) == FM_OK) {
        if (field.number != 1) {
            others++;
            continue;
        }
        assert_ok(pb_next(&field.bytes, &inner));
        assert_int_equal(inner.value, first + count);
        count++;
    }
    assert_int_equal(others, 2);
    return count;
}

static unsigned check_segments(unsigned entries, size_t bytes_max)
{
    struct fm_buf message = answer_of(entries), out;
    struct grpc_message part;
    unsigned total = 0, parts = 0;

    fm_buf_init(&out, FM_MIB(4));
    segment_put(fm_buf_slice(&message), bytes_max, &out);
    assert_false(out.failed);
    struct fm_slice rest = fm_buf_slice(&out);
    while (grpc_message_next(&rest, FM_MIB(4), &part) == FM_OK) {
        assert_true(entries < 2 || part.bytes.len <= FM_MAX(bytes_max, (size_t)16));
        total += check_message(part.bytes, total);
        parts++;
    }
    assert_int_equal(rest.len, 0);
    assert_int_equal(total, entries);
    fm_buf_fini(&message);
    fm_buf_fini(&out);
    return parts;
}

static void test_small_stays_one(void **state)
{
    (void)state;
    assert_int_equal(check_segments(0, 100), 1);
    assert_int_equal(check_segments(1, 100), 1);
    assert_int_equal(check_segments(ENTRIES, FM_MIB(1)), 1);
}

static void test_large_is_split(void **state)
{
    (void)state;
    assert_true(check_segments(ENTRIES, 1000) > 4);
    assert_int_equal(check_segments(ENTRIES, 1), ENTRIES);
    assert_int_equal(check_segments(0, 1), 1);
}

static void test_no_room_is_said(void **state)
{
    struct fm_buf message = answer_of(ENTRIES), out;
    (void)state;
    fm_buf_init(&out, 512);
    segment_put(fm_buf_slice(&message), 100, &out);
    assert_true(out.failed);
    fm_buf_fini(&out);
    fm_buf_fini(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_stays_one),
        cmocka_unit_test(test_large_is_split),
        cmocka_unit_test(test_no_room_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
