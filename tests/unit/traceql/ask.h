/* SPDX-License-Identifier: Apache-2.0 */
/* One query, parsed and printed; what the tests of traceql share. */
#ifndef TESTS_TRACEQL_ASK_H
#define TESTS_TRACEQL_ASK_H

#include "../../support/test.h"

#include <string.h>

#include "fermata/traceql.h"

struct ask {
    struct fm_arena arena;
    struct traceql_query *query;
    struct fm_why why;
    struct fm_buf text; /* printed, with a zero behind it */
    int rc;
};

static inline void ask_init(struct ask *ask)
{
    *ask = (struct ask){.why = {""}};
    fm_arena_init(&ask->arena, FM_MIB(64));
    fm_buf_init(&ask->text, FM_MIB(16));
}

static inline void ask_fini(struct ask *ask)
{
    fm_buf_fini(&ask->text);
    fm_arena_fini(&ask->arena);
}

static inline const char *ask_print(struct ask *ask)
{
    fm_buf_reset(&ask->text);
    traceql_print(ask->query, &ask->text);
    fm_buf_put_u8(&ask->text, 0);
    assert_false(ask->text.failed);
    return (const char *)ask->text.ptr;
}

/* rc of the parse, else of the check; the text is of an exact-size copy. */
static inline int ask_parse(struct ask *ask, struct fm_slice text)
{
    uint8_t *copy = test_exact_copy(text);
    ask->rc = traceql_parse(fm_slice(copy, text.len), &ask->arena, &ask->query, &ask->why);
    free(copy);
    if (!ask->rc)
        (void)ask_print(ask);
    return ask->rc ? ask->rc : (ask->rc = traceql_check(ask->query, &ask->why));
}

/* The printed form must parse to itself. */
static inline void ask_assert_fixed(struct ask *ask)
{
    struct ask again;
    ask_init(&again);
    if (traceql_parse(fm_slice(ask->text.ptr, ask->text.len - 1), &again.arena, &again.query,
                      &again.why))
        fail_msg("%s: %s", (const char *)ask->text.ptr, again.why.text);
    assert_string_equal(ask_print(&again), (const char *)ask->text.ptr);
    ask_fini(&again);
}

static inline void assert_prints(const char *text, const char *expected)
{
    struct ask ask;
    ask_init(&ask);
    (void)ask_parse(&ask, fm_slice_text(text));
    if (!ask.text.len)
        fail_msg("%s: %s", text, ask.why.text);
    if (strcmp((const char *)ask.text.ptr, expected) != 0)
        fail_msg("%s\n printed %s\n expected %s", text, (const char *)ask.text.ptr, expected);
    ask_assert_fixed(&ask);
    ask_fini(&ask);
}

static inline void assert_refused(const char *text, const char *expected)
{
    struct ask ask;
    ask_init(&ask);
    if (ask_parse(&ask, fm_slice_text(text)) != FM_EMALFORMED)
        fail_msg("%s: accepted", text);
    if (strcmp(ask.why.text, expected) != 0)
        fail_msg("%s\n said %s\n expected %s", text, ask.why.text, expected);
    ask_fini(&ask);
}

#endif
