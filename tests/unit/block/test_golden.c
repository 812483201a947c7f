/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks written by others: what Tempo answered by id, we answer; what is malformed, we refuse. */
#include "files.h"

#include "fermata/json.h"

/* ---- JSON in a form that can be compared: members sorted, lists without order sorted ---- */

static void canonical_value(struct json_reader *reader, const struct json_token *first,
                            bool ordered, struct fm_buf *out);

static int canonical_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void canonical_list(struct json_reader *reader, enum json_kind end, bool ordered,
                           struct fm_buf *out)
{
    char *parts[512];
    size_t count = 0;
    struct json_token token;
    for (;;) {
        assert_ok(json_next(reader, &token));
        if (token.kind == end)
            break;
        struct fm_buf part;
        fm_buf_init(&part, FM_MIB(8));
        bool values_ordered = true;
        if (end == JSON_OBJECT_END) {
            fm_buf_put_slice(&part, token.text);
            fm_buf_puts(&part, ":");
            values_ordered = fm_slice_equal_text(token.text, "values");
            assert_ok(json_next(reader, &token));
        }
        canonical_value(reader, &token, values_ordered, &part);
        fm_buf_put_u8(&part, 0);
        assert_true(count < FM_COUNT(parts));
        parts[count++] = (char *)part.ptr;
    }
    if (!ordered && count)
        qsort(parts, count, sizeof *parts, canonical_compare);
    for (size_t i = 0; i < count; i++) {
        fm_buf_puts(out, parts[i]);
        fm_buf_puts(out, ",");
        free(parts[i]);
    }
}

static void canonical_value(struct json_reader *reader, const struct json_token *first,
                            bool ordered, struct fm_buf *out)
{
    double number;
    switch (first->kind) {
    case JSON_OBJECT_BEGIN:
        fm_buf_puts(out, "{");
        canonical_list(reader, JSON_OBJECT_END, false, out);
        fm_buf_puts(out, "}");
        break;
    case JSON_ARRAY_BEGIN:
        fm_buf_puts(out, "[");
        canonical_list(reader, JSON_ARRAY_END, ordered, out);
        fm_buf_puts(out, "]");
        break;
    case JSON_NUMBER:
        assert_ok(json_double(first, &number));
        fm_buf_printf(out, "%.17g", number);
        break;
    case JSON_STRING:
        fm_buf_puts(out, "\"");
        fm_buf_put_slice(out, first->text);
        fm_buf_puts(out, "\"");
        break;
    case JSON_TRUE:
        fm_buf_puts(out, "true");
        break;
    case JSON_FALSE:
        fm_buf_puts(out, "false");
        break;
    default:
        fm_buf_puts(out, "null");
        break;
    }
}

static char *canonical_json(struct fm_slice json)
{
    struct fm_arena scratch;
    struct json_reader reader;
    struct json_token token;
    struct fm_buf out;
    fm_arena_init(&scratch, FM_MIB(64));
    fm_buf_init(&out, FM_MIB(64));
    json_reader_init(&reader, json, &scratch);
    assert_ok(json_next(&reader, &token));
    canonical_value(&reader, &token, true, &out);
    fm_buf_put_u8(&out, 0);
    fm_arena_fini(&scratch);
    return (char *)out.ptr;
}

/* ---- by id ---- */

static char *trace_json(const struct block *block, const struct trace_id *id)
{
    struct fm_buf otlp, json;
    struct fm_why why = {{0}};
    FM_AUTO(trace) trace = NULL;
    fm_buf_init(&otlp, FM_MIB(8));
    fm_buf_init(&json, FM_MIB(8));
    uint64_t inspected = 0;
    if (block_find_trace(block, id, &otlp, &inspected, &why) != FM_OK)
        fail_msg("not found: %s", why.text);
    assert_true(inspected > 0);
    assert_ok(trace_new(&trace, id, FM_MIB(8)));
    assert_ok(trace_add(trace, fm_buf_slice(&otlp)));
    assert_ok(trace_finish(trace));
    trace_render(trace, TRACE_V2_JSON, 0, &json);
    char *text = canonical_json(fm_buf_slice(&json));
    fm_buf_fini(&json);
    fm_buf_fini(&otlp);
    return text;
}

/* Cuts "metrics:{...}," off, which is about the query and not about the trace. */
static void drop_metrics(char *text)
{
    char *found = strstr(text, "{metrics:{");
    if (!found)
        return;
    char *end = strchr(found + 10, '}');
    assert_non_null(end);
    memmove(found + 1, end + 2, strlen(end + 2) + 1);
}

/* Calls visit for every member of golden.json's "traces". */
static size_t
each_golden(void (*visit)(void *self, const struct trace_id *id, struct fm_slice json), void *self)
{
    struct fm_buf golden = test_read_file("golden/blocks/golden.json");
    struct fm_arena scratch;
    struct json_reader reader;
    struct json_token token;
    size_t count = 0;
    fm_arena_init(&scratch, FM_MIB(64));
    json_reader_init(&reader, fm_buf_slice(&golden), &scratch);
    assert_ok(json_next(&reader, &token));
    while (json_next(&reader, &token) == FM_OK && token.kind == JSON_KEY) {
        bool wanted = fm_slice_equal_text(token.text, "traces");
        assert_ok(json_next(&reader, &token));
        if (!wanted) {
            assert_ok(json_skip(&reader, &token));
            continue;
        }
        while (json_next(&reader, &token) == FM_OK && token.kind == JSON_KEY) {
            struct trace_id id;
            assert_ok(trace_id_parse(token.text, &id, NULL));
            assert_ok(json_next(&reader, &token));
            size_t start = reader.position - 1;
            assert_ok(json_skip(&reader, &token));
            visit(self, &id, fm_slice(golden.ptr + start, reader.position - start));
            count++;
        }
    }
    fm_arena_fini(&scratch);
    fm_buf_fini(&golden);
    return count;
}

static void compare_trace(void *self, const struct trace_id *id, struct fm_slice json)
{
    char *wanted = canonical_json(json);
    char *got = trace_json(self, id);
    drop_metrics(got);
    assert_string_equal(got, wanted);
    free(wanted);
    free(got);
}

static void test_traces_by_id_are_tempos(void **state)
{
    (void)state;
    struct block_files files;
    struct fm_why why = {{0}};
    FM_AUTO(block) block = NULL;
    files_read(&files, GOLDEN_V4);
    if (block_open(&block, files_source(&files), &files.meta, &why) != FM_OK)
        fail_msg("%s", why.text);
    assert_int_equal(each_golden(compare_trace, block), 30);
    size_t before = block_memory(block);
    block_prepare(block, FM_MIB(16));
    assert_true(block_memory(block) > before);
    assert_int_equal(each_golden(compare_trace, block), 30);
    files_fini(&files);
}

struct tally {
    size_t traces, bytes;
};

static int count_trace(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct tally *tally = self;
    (void)id;
    tally->traces++;
    tally->bytes += otlp.len;
    return FM_OK;
}

static void test_all_versions_read(void **state)
{
    (void)state;
    static const char *const folders[] = {GOLDEN_V4, GOLDEN_V4_MINIMAL, GOLDEN_V5,
                                          GOLDEN_V5_MINIMAL};
    for (size_t i = 0; i < FM_COUNT(folders); i++) {
        struct block_files files;
        struct fm_why why = {{0}};
        FM_AUTO(block) block = NULL;
        struct tally tally = {0};
        files_read(&files, folders[i]);
        if (block_open(&block, files_source(&files), &files.meta, &why) != FM_OK ||
            block_each_trace(block, count_trace, &tally, &why) != FM_OK)
            fail_msg("%s: %s", folders[i], why.text);
        assert_int_equal(tally.traces, files.meta.trace_count);
        assert_true(tally.bytes > 10000);
        struct block_census census;
        if (block_verify(files_source(&files), &files.meta, files.shards, &census, &why) != FM_OK)
            fail_msg("%s: %s", folders[i], why.text);
        assert_int_equal(census.trace_count, 30);
        files_fini(&files);
    }
}

static void test_malformed_is_refused(void **state)
{
    (void)state;
    struct block_files files;
    struct fm_why why = {{0}};
    struct block_census census;
    files_read(&files, GOLDEN_MALFORMED);
    int rc = block_verify(files_source(&files), &files.meta, files.shards, &census, &why);
    assert_true(rc < 0);
    assert_true(strlen(why.text) > 10);
    files_fini(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traces_by_id_are_tempos),
        cmocka_unit_test(test_all_versions_read),
        cmocka_unit_test(test_malformed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
