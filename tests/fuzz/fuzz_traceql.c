/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a query, as half a query, and as a field.  What parses is printed, and that must
 * parse to the same text, whatever the check says about it. */
#include "fermata/traceql.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_print_again(const struct traceql_query *query, struct fm_arena *arena)
{
    struct traceql_query *again;
    struct fm_buf first, second;
    struct fm_why why;

    fm_buf_init(&first, FM_MIB(4));
    fm_buf_init(&second, FM_MIB(4));
    traceql_print(query, &first);
    FM_ASSERT(!first.failed);
    int rc = traceql_parse(fm_buf_slice(&first), arena, &again, &why);
    FM_ASSERT(rc == FM_OK || (rc == FM_ELIMIT && first.len > TRACEQL_TEXT_MAX));
    if (rc == FM_OK) {
        traceql_print(again, &second);
        FM_ASSERT(fm_slice_equal(fm_buf_slice(&first), fm_buf_slice(&second)));
        int checked = traceql_check(query, &why);
        FM_ASSERT(checked == traceql_check(again, &why));
    }
    fm_buf_fini(&first);
    fm_buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct traceql_query *query;
    struct traceql_field field;
    struct fm_arena arena;
    struct fm_why why;
    struct fm_slice text = fm_slice(data, size);

    fm_arena_init(&arena, FM_MIB(64));
    if (traceql_parse(text, &arena, &query, &why) == FM_OK)
        fuzz_print_again(query, &arena);
    int rc = traceql_parse_lenient(text, &arena, &query);
    FM_ASSERT(rc == FM_OK && traceql_check(query, NULL) == FM_OK);
    fuzz_print_again(query, &arena);
    if (traceql_parse_field(text, &arena, &field, &why) == FM_OK) {
        struct fm_buf name;
        fm_buf_init(&name, FM_MIB(1));
        traceql_print_field(&field, &name);
        FM_ASSERT(traceql_parse_field(fm_buf_slice(&name), &arena, &field, &why) == FM_OK);
        fm_buf_fini(&name);
    }
    fm_arena_fini(&arena);
    return 0;
}
