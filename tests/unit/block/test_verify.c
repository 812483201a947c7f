/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of damage is noticed: blocks are copied column by column with one thing changed. */
#include "files.h"
#include "random.h"

#include "../../../src/lib/block/schema.h"

enum change {
    CHANGE_NONE,
    CHANGE_SKIP,     /* the entry is left out */
    CHANGE_REP_LESS, /* its repetition level is one less */
    CHANGE_NULL,     /* its value is dropped */
    CHANGE_NUMBER,   /* its value is another number */
    CHANGE_BYTES,    /* its value is bytes */
    CHANGE_PLAIN,    /* the whole column is written without a dictionary */
};

struct damage {
    unsigned leaf;
    enum change change;
    uint8_t rep_min;     /* of the entry changed: the first with at least this level and a value */
    const char *bytes;   /* CHANGE_BYTES */
    const char *noticed; /* part of the message */
};

static bool damage_hits(const struct damage *damage, unsigned leaf, unsigned rep, bool set,
                        uint32_t seen)
{
    return damage->leaf == leaf && damage->change != CHANGE_PLAIN &&
           damage->change != CHANGE_NONE && rep >= damage->rep_min && set && seen == 0;
}

struct copy {
    const struct damage *damage;
    const struct pq_leaf *leaf;
    unsigned number;
    struct pq_chunk *chunk;
    const struct fm_slice *dictionary;
    bool indexed; /* the copy has a dictionary as well */
    uint32_t hits;
};

static void copy_value(struct copy *copy, const struct pq_page *page, unsigned rep, uint32_t value,
                       bool hit)
{
    bool other = hit && copy->damage->change == CHANGE_NUMBER;
    switch (copy->leaf->type) {
    case PQ_BOOLEAN:
        pq_put_bool(copy->chunk, rep, page->boolean[value] ^ other);
        return;
    case PQ_INT32:
        pq_put_i32(copy->chunk, rep, page->i32[value] + other);
        return;
    case PQ_INT64:
        pq_put_i64(copy->chunk, rep, page->i64[value] + other);
        return;
    case PQ_DOUBLE:
        pq_put_double(copy->chunk, rep, page->f64[value]);
        return;
    default:
        break;
    }
    struct fm_slice bytes =
        page->indexes ? copy->dictionary[page->indexes[value]] : page->bytes[value];
    if (hit && copy->damage->change == CHANGE_BYTES)
        bytes = fm_slice_text(copy->damage->bytes);
    if (!copy->indexed)
        pq_put_bytes(copy->chunk, rep, bytes);
    else if (hit)
        pq_put_index(copy->chunk, rep, pq_dictionary_add(copy->chunk, bytes));
    else
        pq_put_index(copy->chunk, rep, page->indexes[value]);
}

static void copy_page(struct copy *copy, const struct pq_page *page)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < page->entry_count; i++) {
        unsigned rep = page->rep ? page->rep[i] : 0, def = page->def ? page->def[i] : 0;
        bool set = def == copy->leaf->def_max;
        bool hit = damage_hits(copy->damage, copy->number, rep, set, copy->hits);
        copy->hits += hit;
        enum change change = hit ? copy->damage->change : CHANGE_NONE;
        if (change == CHANGE_REP_LESS)
            rep--;
        if (change == CHANGE_NULL)
            pq_put_null(copy->chunk, rep, def - 1);
        else if (change != CHANGE_SKIP && set)
            copy_value(copy, page, rep, value, hit);
        else if (change != CHANGE_SKIP)
            pq_put_null(copy->chunk, rep, def);
        value += set;
    }
    pq_chunk_cut(copy->chunk, page->row_count);
}

static void copy_column(const struct pq_file *file, unsigned number, const struct damage *damage,
                        struct pq_writer *writer)
{
    struct copy copy = {.damage = damage, .leaf = pq_file_leaf(file, number), .number = number};
    FM_AUTO(pq_column) column = NULL;
    FM_AUTO(pq_chunk) chunk = NULL;
    struct pq_page page;
    uint32_t count = 0;
    assert_ok(pq_column_open(&column, file, 0, number, NULL));
    bool has_dictionary = pq_column_dictionary(column, &copy.dictionary, &count, NULL) == FM_OK;
    copy.indexed = has_dictionary && !(damage->leaf == number && damage->change == CHANGE_PLAIN);
    struct pq_choice choice = {.encoding = copy.indexed ? PQ_RLE_DICTIONARY : PQ_PLAIN,
                               .codec = CODEC_NONE};
    assert_ok(pq_chunk_new(&chunk, (enum pq_type)copy.leaf->type, copy.leaf->rep_max,
                           copy.leaf->def_max, &choice, 1));
    copy.chunk = chunk;
    for (uint32_t i = 0; copy.indexed && i < count; i++)
        (void)pq_dictionary_add(chunk, copy.dictionary[i]);
    while (pq_column_next(column, &page, NULL) == FM_OK)
        copy_page(&copy, &page);
    assert_true(copy.hits == (damage->leaf == number && damage->change != CHANGE_PLAIN &&
                              damage->change != CHANGE_NONE));
    assert_ok(pq_writer_append(writer, chunk));
}

static void copy_block(struct block_files *from, struct block_files *to,
                       const struct damage *damage)
{
    FM_AUTO(pq_file) file = NULL;
    FM_AUTO(pq_writer) writer = NULL;
    struct pq_writer_options options = {
        .schema = schema_v4_nodes, .node_count = schema_v4_node_count, .created_by = "test"};
    *to = (struct block_files){.meta = from->meta};
    fm_buf_init(&to->data, FM_MIB(64));
    fm_buf_init(&to->blooms, FM_MIB(1));
    fm_buf_put_slice(&to->blooms, fm_buf_slice(&from->blooms));
    assert_ok(pq_file_open(&file, files_source(from), 0, &pq_limits_default, NULL));
    assert_ok(pq_writer_new(&writer, &options, fm_sink_buf(&to->data)));
    assert_ok(pq_row_group_begin(writer));
    for (unsigned leaf = 0; leaf < LEAF_COUNT; leaf++)
        copy_column(file, leaf, damage, writer);
    assert_ok(pq_row_group_end(writer, pq_file_row_count(file)));
    assert_ok(pq_writer_finish(writer, &to->meta.size_bytes, &to->meta.footer_bytes));
    files_share(to);
}

static int verify_files(struct block_files *files, struct fm_why *why)
{
    struct block_census census;
    return block_verify(files_source(files), &files->meta, files->shards, &census, why);
}

static void build_random(struct block_files *files)
{
    struct random_spans random = {.state = 11, .trace_count = 12};
    struct fm_buf requests[12];
    struct block_options options = block_options_default;
    options.page_span_target = 24;
    for (size_t i = 0; i < FM_COUNT(requests); i++) {
        fm_buf_init(&requests[i], FM_MIB(8));
        random_request(&random, &requests[i]);
    }
    files_build(files, requests, FM_COUNT(requests), &options);
    for (size_t i = 0; i < FM_COUNT(requests); i++)
        fm_buf_fini(&requests[i]);
}

static const struct damage damages[] = {
    {LEAF_TRACE_ID, CHANGE_BYTES, 0, "\xff sixteen bytes!", "TraceID"},
    {LEAF_TRACE_ID, CHANGE_BYTES, 0, "short", "16 bytes"},
    {LEAF_TRACE_ID_TEXT, CHANGE_BYTES, 0, "abc", "text is not that of the id"},
    {LEAF_TRACE_START, CHANGE_NUMBER, 0, NULL, "times"},
    {LEAF_TRACE_END, CHANGE_NUMBER, 0, NULL, "times"},
    {LEAF_TRACE_DURATION, CHANGE_NUMBER, 0, NULL, "times"},
    {LEAF_STATS_SERVICE, CHANGE_BYTES, 0, "nobody", "service stats"},
    {LEAF_STATS_SPANS, CHANGE_NUMBER, 0, NULL, "service stats"},
    {LEAF_STATS_ERRORS, CHANGE_NUMBER, 0, NULL, "service stats"},
    {LEAF_RESOURCE_SERVICE, CHANGE_BYTES, 0, "nobody", "service stats"},
    {LEAF_RESOURCE_SERVICE, CHANGE_SKIP, 1, NULL, ""},
    {LEAF_RESOURCE_DROPPED, CHANGE_SKIP, 1, NULL, "number of entries"},
    {LEAF_SCOPE_VERSION, CHANGE_REP_LESS, 2, NULL, "levels differ"},
    {LEAF_SPAN_ID, CHANGE_BYTES, 0, "7 bytes", "8 bytes"},
    {LEAF_SPAN_LEFT, CHANGE_NUMBER, 0, NULL, "nested set"},
    {LEAF_SPAN_RIGHT, CHANGE_NUMBER, 0, NULL, "nested set"},
    {LEAF_SPAN_PARENT_LEFT, CHANGE_NUMBER, 0, NULL, "nested set"},
    {LEAF_SPAN_STATUS, CHANGE_SKIP, 3, NULL, ""},
    {LEAF_SPAN_NAME, CHANGE_BYTES, 0, "\xff\xfe", "UTF-8"},
    {LEAF_SPAN_MESSAGE, CHANGE_BYTES, 0, "\xff\xfe", "UTF-8"},
    {LEAF_SPAN_STATE, CHANGE_REP_LESS, 3, NULL, "levels differ"},
    {LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_KEY, CHANGE_PLAIN, 0, NULL, "dictionary"},
    {LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_KEY, CHANGE_SKIP, 4, NULL, "number of entries"},
    {LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_IS_ARRAY, CHANGE_REP_LESS, 4, NULL, "levels differ"},
    {LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_STRING, CHANGE_SKIP, 4, NULL, ""},
    {LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_INT, CHANGE_REP_LESS, 4, NULL, "levels differ"},
    {LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_UNSUPPORTED, CHANGE_SKIP, 4, NULL, "number of entries"},
    {LEAF_EVENT_NAME, CHANGE_SKIP, 4, NULL, "number of entries"},
    {LEAF_EVENT_ATTRIBUTES + ATTRIBUTE_STRING, CHANGE_REP_LESS, 5, NULL, "levels differ"},
    {LEAF_LINK_SPAN, CHANGE_SKIP, 4, NULL, "number of entries"},
    {LEAF_HTTP_METHOD, CHANGE_SKIP, 3, NULL, "number of entries"},
    {LEAF_HTTP_STATUS, CHANGE_REP_LESS, 3, NULL, "levels differ"},
};

static void test_column_damage(void **state)
{
    (void)state;
    struct block_files files, copy;
    struct fm_why why = {{0}};
    const struct damage nothing = {.change = CHANGE_NONE};
    build_random(&files);
    copy_block(&files, &copy, &nothing);
    if (verify_files(&copy, &why) != FM_OK)
        fail_msg("a faithful copy: %s", why.text);
    files_fini(&copy);
    for (size_t i = 0; i < FM_COUNT(damages); i++) {
        copy_block(&files, &copy, &damages[i]);
        why.text[0] = '\0';
        int rc = verify_files(&copy, &why);
        if (rc >= 0 || !strstr(why.text, damages[i].noticed))
            fail_msg("damage %zu: rc %d, %s", i, rc, why.text);
        files_fini(&copy);
    }
    files_fini(&files);
}

static void test_meta_damage(void **state)
{
    (void)state;
    struct block_files files;
    build_random(&files);
    for (unsigned i = 0; i < 7; i++) {
        struct fm_why why = {{0}};
        struct block_meta meta = files.meta;
        struct block_census census;
        switch (i) {
        case 0:
            meta.size_bytes++;
            break;
        case 1:
            meta.trace_count--;
            break;
        case 2:
            meta.row_group_count = 0;
            break;
        case 3:
            meta.footer_bytes += 4;
            break;
        case 4:
            meta.start_ns = meta.end_ns - UINT64_C(1000000000);
            break;
        case 5:
            meta.end_ns = meta.start_ns;
            break;
        default:
            meta.bloom_shard_count = 0;
            break;
        }
        assert_true(block_verify(files_source(&files), &meta, files.shards, &census, &why) < 0);
        assert_true(why.text[0]);
    }
    files_fini(&files);
}

static void test_bloom_damage(void **state)
{
    (void)state;
    struct block_files files;
    struct fm_why why = {{0}};
    build_random(&files);
    memset(files.blooms.ptr + 24, 0, files.blooms.len - 24);
    assert_int_equal(verify_files(&files, &why), FM_ECORRUPT);
    assert_non_null(strstr(why.text, "bloom-0"));
    files.shards[0].len--;
    assert_int_equal(verify_files(&files, &why), FM_ECORRUPT);
    files_fini(&files);
}

static int count_bytes(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    uint32_t *crc = self;
    (void)id;
    *crc = fm_crc32c(*crc, otlp);
    return FM_OK;
}

/* A flipped bit is noticed, or it changes nothing that is read. */
static void test_bit_flips(void **state)
{
    (void)state;
    struct block_files files;
    build_random(&files);
    uint32_t good = 0, unnoticed = 0, tried = 0;
    FM_AUTO(block) block = NULL;
    assert_ok(block_open(&block, files_source(&files), &files.meta, NULL));
    assert_ok(block_each_trace(block, count_bytes, &good, NULL));
    for (size_t bit = 0; bit < files.data.len * 8; bit += 997) {
        struct fm_why why = {{0}};
        FM_AUTO(block) damaged = NULL;
        files.data.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        tried++;
        if (verify_files(&files, &why) == FM_OK) {
            uint32_t crc = 0;
            unnoticed++;
            assert_ok(block_open(&damaged, files_source(&files), &files.meta, NULL));
            assert_ok(block_each_trace(damaged, count_bytes, &crc, NULL));
            assert_int_equal(crc, good);
        }
        files.data.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(unnoticed * 5 < tried);
    files_fini(&files);
}

static void test_truncation(void **state)
{
    (void)state;
    struct block_files files;
    build_random(&files);
    for (size_t len = 0; len < files.data.len; len += 1 + files.data.len / 300) {
        struct fm_why why = {{0}};
        struct block_census census;
        struct block_meta meta = files.meta;
        uint8_t *copy = test_exact_copy(fm_slice(files.data.ptr, len));
        struct fm_slice cut = fm_slice(copy, len);
        meta.size_bytes = len;
        assert_true(block_verify(fm_source_memory(&cut), &meta, files.shards, &census, &why) < 0);
        free(copy);
    }
    files_fini(&files);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    struct block_files files;
    build_random(&files);
    int rc = FM_ENOMEM;
    for (uint64_t nth = 1; rc != FM_OK && nth < 20000; nth += 1 + nth / 60) {
        struct fm_why why = {{0}};
        test_alloc_fail_at(nth);
        rc = verify_files(&files, &why);
        bool reached = test_alloc_failed();
        test_alloc_disarm();
        if (!reached)
            assert_int_equal(rc, FM_OK);
        else if (rc < 0)
            assert_int_equal(rc, FM_ENOMEM);
        else
            rc = FM_ENOMEM; /* a spare allocation failed: go on */
    }
    assert_int_equal(rc, FM_OK);
    files_fini(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_column_damage), cmocka_unit_test(test_meta_damage),
        cmocka_unit_test(test_bloom_damage),  cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_truncation),    cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
