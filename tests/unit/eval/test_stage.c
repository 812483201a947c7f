/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

/* The reference trace: A root server; B client, error; C server, error; D, E below C.  A second
 * trace of one span, and an orphan with a child. */
static const struct table_row rows[] = {
    {"0af7651916cd43dd8448eb211c80319c", "A000000000000000", "", "front", "GET /cart", 2, 1, 1000,
     250, "span.n=5", "", ""},
    {"0af7651916cd43dd8448eb211c80319c", "B000000000000000", "A000000000000000", "front",
     "call cart", 3, 2, 1020, 180, "span.n=1.5", "", ""},
    {"0af7651916cd43dd8448eb211c80319c", "C000000000000000", "B000000000000000", "cart",
     "POST /add", 2, 2, 1030, 160, "span.n='text'", "", ""},
    {"0af7651916cd43dd8448eb211c80319c", "D000000000000000", "C000000000000000", "cart", "query", 3,
     0, 1040, 110, "span.n=-2", "", ""},
    {"0af7651916cd43dd8448eb211c80319c", "E000000000000000", "C000000000000000", "cart", "render",
     1, 0, 1160, 10, "", "", ""},
    {"1234567890abcdef", "t000000000000000", "", "batch", "tick", 0, 0, 9000, 1, "", "", ""},
    {"3", "o000000000000000", "9999999999999999", "batch", "orphan", 5, 0, 500, 2, "", "", ""},
    {"3", "p000000000000000", "o000000000000000", "batch", "poor", 1, 0, 501, 1, "", "", ""},
};

static void expect_all(const struct ask_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ask_expect(rows, FM_COUNT(rows), cases[i].query, cases[i].expected);
}

static void test_structure_of_the_reference_trace(void **state)
{
    static const struct ask_case cases[] = {
        {"{status=error} >> {kind=client}", "D"},
        {"{kind=client} > {}", "C"},
        {"{name=\"render\"} << {}", "A,B,C"},
        {"{name=\"render\"} ~ {}", "D"},
        {"{name=\"render\"} !~ {}", "A,B,C,E t o,p"},
        {"{name=\"call cart\"} &> {}", "B,C"},
        {"{status=error} && {kind=internal}", "B,C,E"},
        {"{status=error} || {kind=internal}", "B,C,E p"},
        {"{name=\"tick\"} || {kind=server}", "A,C t"},
        {"{name=\"tick\"} && {kind=server}", ""},
        {"{} > {}", "B,C,D,E"},
        {"{} >> {}", "B,C,D,E"},
        {"{} < {}", "A,B,C"},
        {"{} << {}", "A,B,C"},
        {"{} ~ {}", "D,E"},
        {"{} !> {}", "A t o,p"},
        {"{} !>> {}", "A t o,p"},
        {"{} !< {}", "D,E t o,p"},
        {"{} !<< {}", "D,E t o,p"},
        {"{status=error} !>> {status=error}", "B"},
        {"{status=error} !<< {status=error}", "C"},
        {"{name=\"nobody\"} !>> {kind=client}", "B,D"},
        {"{name=\"nobody\"} >> {kind=client}", ""},
        {"{kind=client} !> {name=\"nobody\"}", ""},
        {"{nestedSetParent<0} &>> {status=error}", "A,B,C"},
        {"{name=\"query\"} &~ {}", "D,E"},
        {"{name=\"query\"} &< {}", "C,D"},
        {"{name=\"query\"} &<< {status=error}", "B,C,D"},
        {"{name=\"nobody\"} &>> {}", ""},
        {"{kind=server} >> {kind=client} >> {}", "C,D,E"},
        {"{kind=server} && {kind=client} >> {name=\"render\"}", "A,C,E"},
    };
    (void)state;
    expect_all(cases, FM_COUNT(cases));
}

static void test_groups_and_scalars(void **state)
{
    static const struct ask_case cases[] = {
        {"{} | by(kind) | count() > 1", "[by(kind)=2;count()=2]A,C [by(kind)=3;count()=2]B,D"},
        {"{status=error} | count() > 1", "[count()=2]B,C"},
        {"{} | count() = 1", "[count()=1]t"},
        {"{} | by(resource.service.name)",
         "[by(resource.service.name)=front]A,B [by(resource.service.name)=cart]C,D,E "
         "[by(resource.service.name)=batch]t [by(resource.service.name)=batch]o,p"},
        {"{} | by(resource.service.name) | by(status) | count() > 1",
         "[by(resource.service.name)=cart;by(status)=0;count()=2]D,E "
         "[by(resource.service.name)=batch;by(status)=0;count()=2]o,p"},
        {"{} | by(kind) | count() > 1 | coalesce()", "A,B,C,D"},
        {"{} | by(kind) | coalesce() | count() > 4", "[count()=5]A,B,C,D,E"},
        {"{kind=client} | by(span.n) | count() = 1", "[by(span.n)=1.5;count()=1]B "
                                                     "[by(span.n)=-2;count()=1]D"},
        {"{kind!=client} | by(span.nothing)", "[by(span.nothing)=nil]A,C,E [by(span.nothing)=nil]t "
                                              "[by(span.nothing)=nil]o,p"},
        {"{} | by(nestedSetLeft % 2) | count() > 2", "[by(nestedSetLeft % 2)=0;count()=3]B,D,E"},
        {"{} | by(rootName) | count() > 2", "[by(rootName)=GET /cart;count()=5]A,B,C,D,E"},
        {"{status=error} | avg(duration) > 100ms | count() > 1",
         "[avg(duration)=170ms;count()=2]B,C"},
        {"{} | max(duration) >= 250ms", "[max(duration)=250ms]A,B,C,D,E"},
        {"{} | min(duration) = 1000000", "[min(duration)=1ms]t [min(duration)=1ms]o,p"},
        {"{} | sum(duration) > 700ms", "[sum(duration)=710ms]A,B,C,D,E"},
        {"{} | sum(span.n) > 4", "[sum(span.n)=4.5]A,B,C,D,E"},
        {"{} | max(span.n) = 5", "[max(span.n)=5]A,B,C,D,E"},
        {"{} | min(span.n) < 0", "[min(span.n)=-2]A,B,C,D,E"},
        {"{} | avg(span.n) = 1.5", "[avg(span.n)=1.5]A,B,C,D,E"},
        {"{kind=server} | avg(span.n) = 5.0", "[avg(span.n)=5]A,C"},
        {"{name=\"render\"} | max(span.n) > 0", ""},
        {"{} | max(duration * 2) > 400ms | select(name)", "[max(duration * 2)=500ms]A,B,C,D,E"},
        {"{} | by(kind) | {status=error} | count() = 1", "[by(kind)=2;count()=1]C "
                                                         "[by(kind)=3;count()=1]B"},
        {"{} | by(resource.service.name) | {} > {}",
         "[by(resource.service.name)=front]B [by(resource.service.name)=cart]D,E"},
        {"{} | by(resource.service.name) | {kind=client} && {kind=server}",
         "[by(resource.service.name)=front]A,B [by(resource.service.name)=cart]C,D"},
        {"({kind=server} | count() > 1) && ({status=error} | count() > 1)", "A,B,C"},
        {"({kind=server} | count() > 5) || ({status=error} | count() > 1)", "B,C"},
        {"({} | by(kind)) && ({status=error})", "A,B,C,D,E"},
        {"({} | by(kind) | coalesce()) >> ({status=error})", "B,C"},
    };
    (void)state;
    expect_all(cases, FM_COUNT(cases));
}

static void test_relations_between_several_sets_fail(void **state)
{
    static const char *const queries[] = {"({} | by(kind)) >> ({})", "({}) ~ ({} | by(name))",
                                          "({} | by(kind)) !> ({})"};
    struct fm_buf text;
    (void)state;
    fm_buf_init(&text, 1024);
    for (size_t i = 0; i < FM_COUNT(queries); i++) {
        struct ask ask;
        assert_ok(ask_plan(&ask, queries[i]));
        ask_open(&ask, rows, FM_COUNT(rows), 1);
        assert_int_equal(ask_run(&ask, &ask_limits, &text), FM_EMALFORMED);
        assert_string_equal(ask.why.text,
                            "spanset operators are not supported for multiple spansets per trace. "
                            "consider using coalesce()");
        ask_end(&ask);
    }
    fm_buf_fini(&text);
}

/* ---- relations of random trees, against the definition ---- */

#define TREE_SPANS 60
static char tree_ids[TREE_SPANS + 1][17];
static struct table_row tree[TREE_SPANS];

static bool is_ancestor(uint32_t a, uint32_t b)
{
    for (uint32_t steps = 0; steps < TREE_SPANS && *tree[b].parent; steps++) {
        uint32_t parent = 0;
        while (parent < TREE_SPANS && strcmp(tree[parent].id, tree[b].parent) != 0)
            parent++;
        if (parent == TREE_SPANS)
            return false;
        if (parent == a)
            return true;
        b = parent;
    }
    return false;
}

static bool is_connected(uint32_t b)
{
    if (!*tree[b].parent)
        return true;
    for (uint32_t a = 0; a < TREE_SPANS; a++)
        if (!*tree[a].parent && is_ancestor(a, b))
            return true;
    return false;
}

static bool relates(int op, uint32_t a, uint32_t b)
{
    if (a == b || !is_connected(a) || !is_connected(b))
        return false;
    switch (op) {
    case 0:
        return strcmp(tree[b].parent, tree[a].id) == 0;
    case 1:
        return is_ancestor(a, b);
    case 2:
        return strcmp(tree[a].parent, tree[b].id) == 0;
    case 3:
        return is_ancestor(b, a);
    default:
        return *tree[a].parent && strcmp(tree[a].parent, tree[b].parent) == 0;
    }
}

static void tree_expect(int op, int form, bool (*in_a)(uint32_t), bool (*in_b)(uint32_t),
                        char *expected)
{
    char *at = expected;
    for (uint32_t i = 0; i < TREE_SPANS; i++) {
        bool as_b = false, as_a = false;
        for (uint32_t k = 0; k < TREE_SPANS; k++) {
            as_b |= in_b(i) && in_a(k) && relates(op, k, i);
            as_a |= in_a(i) && in_b(k) && relates(op, i, k);
        }
        bool shown = form == 0 ? as_b : form == 1 ? in_b(i) && !as_b : as_a || as_b;
        if (shown) {
            *at = at == expected ? '#' : ',';
            at++;
            *at++ = tree[i].id[0];
        }
    }
    *at = 0;
}

static bool is_client(uint32_t i)
{
    return tree[i].kind == 3;
}
static bool is_error(uint32_t i)
{
    return tree[i].status == 2;
}

static void test_relations_hold_by_definition(void **state)
{
    static const char *const ops[] = {">", ">>", "<", "<<", "~"};
    static const char *const forms[] = {"", "!", "&"};
    uint64_t seed = 7;
    (void)state;
    for (uint32_t round = 0; round < 12; round++) {
        for (uint32_t i = 0; i < TREE_SPANS; i++) {
            uint64_t random = fm_random_next(&seed);
            snprintf(tree_ids[i], sizeof tree_ids[i], "%c%015x", 'A' + (int)(i % 57), i + 1);
            tree[i] = (struct table_row){.trace = "7",
                                         .id = tree_ids[i],
                                         .service = "s",
                                         .name = "n",
                                         .attributes = "",
                                         .duration_ms = 1};
            tree[i].kind = random % 3 == 0 ? 3 : 1;
            tree[i].status = (random >> 8) % 3 == 0 ? 2 : 0;
            tree[i].parent = !i || (random >> 16) % 29 == 0 ? ""
                             : (random >> 24) % 31 == 0     ? "eeeeeeeeeeeeeeee"
                                                            : tree_ids[(random >> 32) % i];
        }
        for (int op = 0; op < 5; op++) {
            for (int form = 0; form < 3; form++) {
                char query[64], expected[4 * TREE_SPANS + 2];
                snprintf(query, sizeof query, "{kind=client} %s%s {status=error}", forms[form],
                         ops[op]);
                tree_expect(op, form, is_client, is_error, expected);
                ask_expect(tree, TREE_SPANS, query, expected + (*expected != 0));
            }
        }
    }
}

static void test_every_allocation_may_fail(void **state)
{
    static const char query[] = "({status=error} &>> {} | by(name) | by(kind) | coalesce()) ~ "
                                "({} | avg(duration) > 1ms)";
    struct fm_buf text;
    (void)state;
    fm_buf_init(&text, FM_MIB(1));
    fm_buf_room(&text, 4096);
    for (uint64_t n = 1;; n++) {
        struct ask ask;
        assert_ok(ask_plan(&ask, query));
        ask_open(&ask, rows, FM_COUNT(rows), 2);
        test_alloc_fail_at(n);
        int rc = ask_run(&ask, &ask_limits, &text);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        assert_true(rc == FM_OK || (failed && rc == FM_ENOMEM));
        ask_end(&ask);
        if (!failed)
            break;
    }
    fm_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure_of_the_reference_trace),
        cmocka_unit_test(test_groups_and_scalars),
        cmocka_unit_test(test_relations_between_several_sets_fail),
        cmocka_unit_test(test_relations_hold_by_definition),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
