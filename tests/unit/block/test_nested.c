/* SPDX-License-Identifier: Apache-2.0 */
/* The nested set, by tables: chains, forests, orphans, cycles, shared ids. */
#include "../../support/test.h"

#include "../../../src/lib/block/nested.h"

enum { ROOT = 0, INTERNAL = 1, SERVER = 2, CLIENT = 3 };

struct span_row {
    uint64_t id, parent; /* parent 0: root */
    uint8_t kind;
    int32_t left, right, parent_left;
};

static bool number(struct nested *nested, const struct span_row *rows, uint32_t count)
{
    assert_ok(nested_reserve(nested, count));
    for (uint32_t i = 0; i < count; i++) {
        struct nested_span *span = &nested->spans[i];
        span->id = rows[i].id;
        span->parent = rows[i].parent;
        span->is_root = rows[i].parent == 0;
        span->kind = rows[i].kind;
        (void)nested_enter(nested, i);
    }
    return nested_number(nested);
}

static void check(const struct span_row *rows, uint32_t count, bool numbered)
{
    struct nested nested;
    nested_init(&nested);
    assert_int_equal(number(&nested, rows, count), numbered);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(nested.spans[i].left, rows[i].left);
        assert_int_equal(nested.spans[i].right, rows[i].right);
        assert_int_equal(nested.spans[i].parent_left, rows[i].parent_left);
    }
    nested_fini(&nested);
}

static void test_trees(void **state)
{
    (void)state;
    static const struct span_row one[] = {{1, 0, SERVER, 1, 2, -1}};
    check(one, 1, true);
    static const struct span_row chain[] = {
        {3, 2, INTERNAL, 3, 4, 2}, {1, 0, SERVER, 1, 6, -1}, {2, 1, CLIENT, 2, 5, 1}};
    check(chain, 3, true);
    /* Children stay in the order of the file; roots count on. */
    static const struct span_row forest[] = {{1, 0, SERVER, 1, 6, -1},
                                             {2, 1, CLIENT, 2, 3, 1},
                                             {3, 1, CLIENT, 4, 5, 1},
                                             {9, 0, SERVER, 7, 10, -1},
                                             {8, 9, CLIENT, 8, 9, 7}};
    check(forest, 5, true);
}

static void test_unreachable_spans_have_no_numbers(void **state)
{
    (void)state;
    static const struct span_row orphan[] = {
        {1, 0, SERVER, 1, 2, -1}, {2, 77, CLIENT, 0, 0, 0}, {3, 2, INTERNAL, 0, 0, 0}};
    check(orphan, 3, true);
    static const struct span_row cycle[] = {{1, 0, SERVER, 1, 2, -1},
                                            {2, 3, CLIENT, 0, 0, 0},
                                            {3, 2, CLIENT, 0, 0, 0},
                                            {4, 4, CLIENT, 0, 0, 0}};
    check(cycle, 4, true);
    static const struct span_row rootless[] = {{2, 1, CLIENT, 0, 0, 0}, {3, 2, CLIENT, 0, 0, 0}};
    check(rootless, 2, false);
}

static void test_shared_ids(void **state)
{
    (void)state;
    /* A client span and its server span with one id: the server hangs below the client, whose own
     * parent is the root; the child of the pair belongs to the server. */
    static const struct span_row pair[] = {{1, 0, SERVER, 1, 8, -1},
                                           {2, 1, CLIENT, 2, 3, 1},
                                           {2, 1, SERVER, 4, 7, 1},
                                           {3, 2, INTERNAL, 5, 6, 4}};
    check(pair, 4, true);
    static const struct span_row zipkin[] = {
        {2, 0, CLIENT, 1, 4, -1}, {2, 2, SERVER, 2, 3, 1}, {5, 0, SERVER, 5, 6, -1}};
    check(zipkin, 3, true);
    /* Two candidates and none of the wanted kind: no parent. */
    static const struct span_row neither[] = {
        {2, 0, INTERNAL, 1, 2, -1}, {2, 0, INTERNAL, 3, 4, -1}, {3, 2, INTERNAL, 0, 0, 0}};
    check(neither, 3, true);
    static const struct span_row thrice[] = {{1, 0, SERVER, 0, 0, 0},
                                             {2, 1, CLIENT, 0, 0, 0},
                                             {2, 1, CLIENT, 0, 0, 0},
                                             {2, 1, CLIENT, 0, 0, 0}};
    check(thrice, 4, false);
}

/* A chain as deep as a trace can be, and as many equal ids: neither a deep stack nor a square. */
static void test_large_shapes(void **state)
{
    (void)state;
    const uint32_t count = 200000;
    struct nested nested;
    nested_init(&nested);
    assert_ok(nested_reserve(&nested, count));
    for (uint32_t i = 0; i < count; i++) {
        nested.spans[i].id = i + 1;
        nested.spans[i].parent = i;
        nested.spans[i].is_root = i == 0;
        nested.spans[i].kind = SERVER;
        assert_int_equal(nested_enter(&nested, i), i);
    }
    assert_true(nested_number(&nested));
    assert_int_equal(nested.spans[count - 1].left, count);
    assert_int_equal(nested.spans[count - 1].right, count + 1);
    assert_int_equal(nested.spans[0].right, 2 * count);

    assert_ok(nested_reserve(&nested, count));
    for (uint32_t i = 0; i < count; i++) {
        nested.spans[i].id = 5;
        nested.spans[i].is_root = true;
        assert_int_equal(nested_enter(&nested, i), 0);
    }
    assert_false(nested_number(&nested));
    nested_fini(&nested);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_unreachable_spans_have_no_numbers),
        cmocka_unit_test(test_shared_ids),
        cmocka_unit_test(test_large_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
