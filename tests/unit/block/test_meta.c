/* SPDX-License-Identifier: Apache-2.0 */
/* meta.json and block ids: as Tempo writes them, as we do, and what is refused. */
#include "files.h"

static struct block_meta parse_ok(const char *json)
{
    struct block_meta meta;
    struct fm_why why = {{0}};
    static struct block_dedicated room[BLOCK_DEDICATED_MAX];
    if (block_meta_parse_all(fm_slice_text(json), &meta, room, &why) != FM_OK)
        fail_msg("%s: %s", json, why.text);
    return meta;
}

static void test_ids(void **state)
{
    (void)state;
    static const char text[] = "335e8659-a15d-4fd1-bf2e-d4888bd72b96";
    struct block_id id;
    char back[37];
    assert_ok(block_id_parse(FM_SLICE("335E8659-A15D-4FD1-BF2E-D4888BD72B96"), &id));
    block_id_print(&id, back);
    assert_string_equal(back, text);
    assert_int_equal(id.bytes[0], 0x33);
    assert_int_equal(id.bytes[15], 0x96);
    static const char *const bad[] = {
        "", "335e8659a15d4fd1bf2ed4888bd72b96", "335e8659-a15d-4fd1-bf2e-d4888bd72b9",
        "335e8659-a15d-4fd1-bf2e-d4888bd72b9g", "335e8659_a15d-4fd1-bf2e-d4888bd72b96"};
    for (size_t i = 0; i < FM_COUNT(bad); i++)
        assert_int_equal(block_id_parse(fm_slice_text(bad[i]), &id), FM_EMALFORMED);
}

static void test_tempos_own(void **state)
{
    (void)state;
    struct block_files files;
    files_read(&files, GOLDEN_V5);
    assert_int_equal(files.meta.version, BLOCK_V5);
    assert_int_equal(files.meta.trace_count, 30);
    assert_int_equal(files.meta.size_bytes, files.data.len);
    assert_int_equal(files.meta.footer_bytes, 13255);
    assert_int_equal(files.meta.dedicated_count, 14);
    assert_string_equal(files.meta.dedicated[0].name, "k8s.cluster.name");
    assert_int_equal(files.meta.dedicated[0].scope, 1);
    assert_int_equal(files.meta.dedicated[5].type, 1);
    assert_int_equal(files.meta.replication_factor, 1);
    assert_int_equal(files.meta.start_ns, UINT64_C(1795220417000000000));
    files_fini(&files);
}

#define HEAD                                                                                       \
    "{\"format\":\"vParquet4\",\"blockID\":\"335e8659-a15d-4fd1-bf2e-d4888bd72b96\",\"tenantID\":" \
    "\"single-tenant\",\"startTime\":\"2026-11-21T00:12:50Z\",\"endTime\":"                        \
    "\"2026-11-21T00:13:09Z\""

static void test_render_is_parsed_back(void **state)
{
    (void)state;
    static const char json[] =
        HEAD ",\"totalObjects\":30,\"size\":45311,\"compactionLevel\":2,\"indexPageSize\":0,"
             "\"totalRecords\":1,\"bloomShards\":3,\"footerSize\":19396,\"dedicatedColumns\":"
             "[{\"n\":\"http.request.method\"},{\"s\":\"resource\",\"n\":\"x\",\"t\":\"int\"}],"
             "\"replicationFactor\":1}";
    struct block_meta meta = parse_ok(json);
    struct fm_buf text;
    fm_buf_init(&text, 4096);
    block_meta_render(&meta, &text);
    fm_buf_put_u8(&text, 0);
    assert_string_equal((char *)text.ptr, json);
    fm_buf_fini(&text);
    /* Fractions are rounded outwards, and the range is never empty. */
    meta.start_ns += 5;
    meta.end_ns = meta.start_ns + 1;
    fm_buf_init(&text, 4096);
    block_meta_render(&meta, &text);
    fm_buf_put_u8(&text, 0);
    assert_non_null(strstr((char *)text.ptr, "\"startTime\":\"2026-11-21T00:12:50Z\",\"endTime\":"
                                             "\"2026-11-21T00:12:51Z\""));
    fm_buf_fini(&text);
}

/* Who does not ask for the columns learns that there are some, and cannot open the block. */
static void test_columns_that_were_not_asked_for(void **state)
{
    struct block_files files;
    struct fm_why why = {{0}};
    struct block *block = NULL;
    (void)state;
    files_read(&files, GOLDEN_V5);
    struct fm_buf json = test_read_file(GOLDEN_V5 "/meta.json");
    struct block_meta meta;
    assert_ok(block_meta_parse(fm_buf_slice(&json), &meta, &why));
    assert_int_equal(meta.dedicated_count, 14);
    assert_null(meta.dedicated);
    struct fm_source data = fm_source_memory(&files.data_slice);
    assert_int_equal(block_open(&block, data, &meta, &why), FM_EUNSUPPORTED);
    assert_ok(block_open(&block, data, &files.meta, &why));
    memset(files.dedicated, 0x55, sizeof files.dedicated); /* the block has names of its own */
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    assert_ok(block_meta_parse_all(fm_buf_slice(&json), &meta, files.dedicated, &why));
    block_meta_render(&meta, &text);
    fm_buf_put_u8(&text, 0);
    assert_non_null(strstr((char *)text.ptr, "k8s.cluster.name"));
    fm_buf_fini(&text);
    fm_buf_fini(&json);
    block_free(block);
    files_fini(&files);
}

static void test_lenient_as_tempo(void **state)
{
    (void)state;
    struct block_meta meta = parse_ok(HEAD ",\"unknown\":{\"a\":[1,{}]},\"TOTALOBJECTS\":7}");
    assert_int_equal(meta.trace_count, 7);
    assert_int_equal(meta.bloom_shard_count, 10); /* what 0 stands for */
    meta = parse_ok(HEAD ",\"dedicatedColumns\":null}");
    assert_int_equal(meta.dedicated_count, 0);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *word;
    } rows[] = {
        {"", "meta.json"},
        {"[]", "meta.json"},
        {HEAD, "meta.json"},
        {HEAD "}x", "meta.json"},
        {"{\"format\":\"vParquet4\"}", "missing"},
        {"{\"format\":\"vParquet2\"}", "vParquet2"},
        {HEAD ",\"size\":-1}", "size"},
        {HEAD ",\"size\":\"1\"}", "size"},
        {HEAD ",\"bloomShards\":4294967296}", "bloomshards"},
        {HEAD ",\"bloomShards\":1001}", "shards"},
        {HEAD ",\"blockID\":7}", "blockid"},
        {HEAD ",\"tenantID\":\"../x\"}", "tenant"},
        {HEAD ",\"tenantID\":\"a\\u0000b\"}", "tenantid"},
        {HEAD ",\"endTime\":\"2020-11-21T00:13:09Z\"}", "endTime"},
        {HEAD ",\"endTime\":\"yesterday\"}", "endtime"},
        {HEAD ",\"dedicatedColumns\":[{\"s\":\"planet\",\"n\":\"a\"}]}", "dedicatedcolumns"},
        {HEAD ",\"dedicatedColumns\":[{}]}", "dedicatedcolumns"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct block_meta meta;
        struct fm_why why = {{0}};
        assert_true(block_meta_parse(fm_slice_text(rows[i].json), &meta, &why) < 0);
        if (!strstr(why.text, rows[i].word))
            fail_msg("%s: %s", rows[i].json, why.text);
    }
}

static void parse_cut(void *self, struct fm_slice json)
{
    struct block_meta meta;
    (void)self;
    assert_true(block_meta_parse(json, &meta, NULL) < 0);
}

static void parse_any(void *self, struct fm_slice json)
{
    struct block_meta meta;
    (void)self;
    (void)!block_meta_parse(json, &meta, NULL);
}

static void test_prefixes_and_flips(void **state)
{
    (void)state;
    struct fm_buf json = test_read_file(GOLDEN_V5 "/meta.json");
    while (json.len && json.ptr[json.len - 1] != '}')
        json.len--;
    test_each_prefix(fm_buf_slice(&json), parse_cut, NULL);
    test_each_bit_flip(fm_buf_slice(&json), parse_any, NULL);
    fm_buf_fini(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_tempos_own),
        cmocka_unit_test(test_render_is_parsed_back),
        cmocka_unit_test(test_columns_that_were_not_asked_for),
        cmocka_unit_test(test_lenient_as_tempo),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_prefixes_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
