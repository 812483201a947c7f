/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of answer share: texts, values, and answers that Tempo 3.0.3 gave. */
#ifndef TESTS_UNIT_ANSWER_GOLDEN_H
#define TESTS_UNIT_ANSWER_GOLDEN_H

#include "fermata/answer.h"
#include "fermata/pb.h"
#include "../../support/test.h"

#define T(literal) FM_SLICE(literal)
#define TEXT(literal)                                                                              \
    {                                                                                              \
        .type = TRACEQL_STRING, .text = {(const uint8_t *)(literal), sizeof(literal) - 1 }         \
    }
#define INT(number)                                                                                \
    {                                                                                              \
        .type = TRACEQL_INT, .integer = (number)                                                   \
    }
#define SPAN_OF_TIME(ns)                                                                           \
    {                                                                                              \
        .type = TRACEQL_DURATION, .integer = (ns)                                                  \
    }

static inline void golden_equal(const char *file, struct fm_buf *answer)
{
    char path[128];
    (void)snprintf(path, sizeof path, "golden/answer/%s", file);
    struct fm_buf expected = test_read_file(path);

    assert_false(answer->failed);
    fm_buf_put_u8(&expected, 0);
    fm_buf_put_u8(answer, 0);
    assert_string_equal((const char *)answer->ptr, (const char *)expected.ptr);
    fm_buf_fini(&expected);
    fm_buf_reset(answer);
}

static inline void golden_text(struct fm_buf *answer, const char *expected)
{
    assert_false(answer->failed);
    fm_buf_put_u8(answer, 0);
    assert_string_equal((const char *)answer->ptr, expected);
    fm_buf_reset(answer);
}

/* The nth field of that number, which must be there. */
static inline struct pb_field golden_field(struct fm_slice message, uint32_t number, unsigned nth)
{
    struct pb_field field;

    while (pb_next(&message, &field) == FM_OK) {
        if (field.number == number && nth-- == 0)
            return field;
    }
    fail_msg("field %u is not there", number);
    return field;
}

static inline unsigned golden_count(struct fm_slice message, uint32_t number)
{
    struct pb_field field;
    unsigned count = 0;

    while (pb_next(&message, &field) == FM_OK)
        count += field.number == number;
    return count;
}

static inline void golden_string(struct fm_slice message, uint32_t number, const char *expected)
{
    struct pb_field field = golden_field(message, number, 0);

    assert_int_equal(field.type, PB_BYTES);
    assert_true(fm_slice_equal_text(field.bytes, expected));
}

static inline double golden_double(struct fm_slice message, uint32_t number)
{
    struct pb_field field = golden_field(message, number, 0);
    double value;

    assert_int_equal(field.type, PB_FIXED64);
    memcpy(&value, &field.value, sizeof value);
    return value;
}

#endif
