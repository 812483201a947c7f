/* SPDX-License-Identifier: Apache-2.0 */
/* Cut, flipped and contrived files: an error, never a crash, and never silence about a page. */
#include "model.h"

#include "../../../src/lib/parquet/file.h"

#include "fermata/parquet_put.h"

/* Opens and decodes everything; the first failure. */
static int hostile_read(struct fm_slice bytes, struct fm_why *why)
{
    const struct pq_limits limits = {
        .footer_bytes_max = FM_MIB(1), .page_bytes_max = FM_MIB(1), .leaf_count_max = 100};
    FM_AUTO(pq_file) file = NULL;
    FM_AUTO(pq_memo) memo = NULL;
    int rc = pq_file_open(&file, fm_source_memory(&bytes), 0, &limits, why);
    if (rc == FM_OK)
        rc = pq_memo_new(&memo);
    if (rc < 0)
        return rc;
    for (size_t g = 0; g < pq_file_row_group_count(file); g++) {
        for (size_t i = 0; i < pq_file_leaf_count(file); i++) {
            FM_AUTO(pq_column) column = NULL;
            struct pq_page page;
            rc = pq_column_open(&column, file, g, i, why);
            if (rc == FM_OK && i % 3)
                pq_column_share_memo(column, memo);
            if (rc == FM_OK)
                rc = pq_column_seek(column, 1, why);
            if (rc >= 0)
                rc = pq_column_seek(column, 0, why);
            rc = rc > 0 ? FM_OK : rc; /* no such row: then read from the start */
            while (rc == FM_OK)
                rc = pq_column_next(column, &page, why);
            if (rc < 0)
                return rc;
        }
    }
    return FM_OK;
}

static void hostile_refuse(void *self, struct fm_slice input)
{
    struct fm_why why = {""};
    (void)self;
    assert_true(hostile_read(input, &why) < 0);
    assert_true(why.text[0] != 0);
}

static void hostile_read_any(void *self, struct fm_slice input)
{
    (void)self;
    int rc = hostile_read(input, NULL); /* must not crash */
    assert_true(rc <= 0);
}

static struct fm_buf hostile_file(uint64_t seed)
{
    struct model model;
    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(4));
    model_init(&model, seed, 12);
    assert_ok(model_write(&model, &buf));
    model_fini(&model);
    assert_ok(hostile_read(fm_buf_slice(&buf), NULL));
    return buf;
}

static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct fm_buf buf = hostile_file(seed);
        test_each_prefix(fm_buf_slice(&buf), hostile_refuse, NULL);
        fm_buf_fini(&buf);
    }
}

static void test_no_bit_flip_crashes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct fm_buf buf = hostile_file(seed);
        test_each_bit_flip(fm_buf_slice(&buf), hostile_read_any, NULL);
        fm_buf_fini(&buf);
    }
}

/* Flips each bit of the body at [start, start + len): the checksum must notice. */
static void hostile_flip_body(struct fm_buf *buf, size_t start, size_t len)
{
    for (size_t bit = start * 8; bit < (start + len) * 8; bit++) {
        buf->ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct fm_why why = {""};
        assert_int_equal(hostile_read(fm_buf_slice(buf), &why), FM_ECORRUPT);
        assert_non_null(strstr(why.text, "checksum"));
        buf->ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_every_flip_in_a_body_is_noticed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct fm_buf buf = hostile_file(seed);
        struct pq_page_header header;
        size_t page_count = 0;
        /* Pages lie back to back from byte 4 until something is not a page header. */
        for (size_t at = 4; at < buf.len;) {
            if (pq_page_header_read(fm_slice(buf.ptr + at, buf.len - at), &header, NULL) < 0)
                break;
            assert_true(header.has_crc);
            hostile_flip_body(&buf, at + header.header_bytes, header.stored_bytes);
            at += header.header_bytes + header.stored_bytes;
            page_count++;
        }
        assert_true(page_count > 0);
        fm_buf_fini(&buf);
    }
}

/* One required or repeated INT32 column with one v1 page of the given body, no CRC. */
struct hostile_page {
    const char *body; /* hex */
    uint8_t encoding, rep_max;
    uint32_t entry_count, row_count;
    int rc;
    const char *says;
};

static void hostile_put_chunk(struct thrift_writer *thrift, const struct hostile_page *page,
                              size_t chunk_bytes)
{
    thrift_put_struct_begin(thrift);
    thrift_put_i64(thrift, 2, 4);
    thrift_put_struct_field(thrift, 3);
    thrift_put_i32(thrift, 1, PQ_INT32);
    thrift_put_list(thrift, 2, THRIFT_I32, 1);
    thrift_put_element_i32(thrift, page->encoding);
    thrift_put_list(thrift, 3, THRIFT_BINARY, 1);
    thrift_put_element_binary(thrift, FM_SLICE("c"));
    thrift_put_i32(thrift, 4, 0);
    thrift_put_i64(thrift, 5, page->entry_count);
    thrift_put_i64(thrift, 6, (int64_t)chunk_bytes);
    thrift_put_i64(thrift, 7, (int64_t)chunk_bytes);
    thrift_put_i64(thrift, 9, 4);
    thrift_put_struct_end(thrift);
    thrift_put_struct_end(thrift);
}

static void hostile_put_footer(struct fm_buf *buf, const struct hostile_page *page,
                               size_t chunk_bytes)
{
    struct thrift_writer thrift;
    size_t start = buf->len;
    uint8_t tail[8] = {0, 0, 0, 0, 'P', 'A', 'R', '1'};
    thrift_writer_init(&thrift, buf);
    thrift_put_struct_begin(&thrift);
    thrift_put_i32(&thrift, 1, 2);
    thrift_put_list(&thrift, 2, THRIFT_STRUCT, 2);
    thrift_put_struct_begin(&thrift);
    thrift_put_binary(&thrift, 4, FM_SLICE("root"));
    thrift_put_i32(&thrift, 5, 1);
    thrift_put_struct_end(&thrift);
    thrift_put_struct_begin(&thrift);
    thrift_put_i32(&thrift, 1, PQ_INT32);
    thrift_put_i32(&thrift, 3, page->rep_max ? PQ_REPEATED : PQ_REQUIRED);
    thrift_put_binary(&thrift, 4, FM_SLICE("c"));
    thrift_put_struct_end(&thrift);
    thrift_put_i64(&thrift, 3, page->row_count);
    thrift_put_list(&thrift, 4, THRIFT_STRUCT, 1);
    thrift_put_struct_begin(&thrift);
    thrift_put_list(&thrift, 1, THRIFT_STRUCT, 1);
    hostile_put_chunk(&thrift, page, chunk_bytes);
    thrift_put_i64(&thrift, 3, page->row_count);
    thrift_put_struct_end(&thrift);
    thrift_put_struct_end(&thrift);
    fm_store_le32(tail, (uint32_t)(buf->len - start));
    fm_buf_put(buf, tail, sizeof tail);
}

static struct fm_buf hostile_page_file(const struct hostile_page *page)
{
    struct fm_buf buf, body = test_hex(page->body);
    struct thrift_writer thrift;
    fm_buf_init(&buf, 4096);
    fm_buf_puts(&buf, "PAR1");
    thrift_writer_init(&thrift, &buf);
    thrift_put_struct_begin(&thrift);
    thrift_put_i32(&thrift, 1, PQ_PAGE_DATA);
    thrift_put_i32(&thrift, 2, (int32_t)body.len);
    thrift_put_i32(&thrift, 3, (int32_t)body.len);
    thrift_put_struct_field(&thrift, 5);
    thrift_put_i32(&thrift, 1, (int32_t)page->entry_count);
    thrift_put_i32(&thrift, 2, page->encoding);
    thrift_put_i32(&thrift, 3, PQ_RLE);
    thrift_put_i32(&thrift, 4, PQ_RLE);
    thrift_put_struct_end(&thrift);
    thrift_put_struct_end(&thrift);
    fm_buf_put_slice(&buf, fm_buf_slice(&body));
    hostile_put_footer(&buf, page, buf.len - 4);
    fm_buf_fini(&body);
    return buf;
}

static void test_contrived_pages(void **state)
{
    (void)state;
    static const struct hostile_page rows[] = {
        {"01000000", PQ_PLAIN, 0, 1, 1, FM_OK, ""},
        {"02000000 0200 02000000 0201 07000000", PQ_PLAIN, 1, 1, 1, FM_OK, ""},
        {"0100000000", PQ_PLAIN, 0, 1, 1, FM_EMALFORMED, "exactly 1 values"}, /* junk behind */
        {"010000", PQ_PLAIN, 0, 1, 1, FM_EMALFORMED, "exactly 1 values"},
        {"", PQ_PLAIN, 0, 0, 0, FM_EMALFORMED, "a page of 0 values"},
        {"07000000", PQ_PLAIN, 1, 1, 1, FM_EMALFORMED, "levels are cut"}, /* no levels */
        {"00000000 00000000 07000000", PQ_PLAIN, 1, 1, 1, FM_EMALFORMED, "levels missing"},
        {"02000000 0201 02000000 0201 07000000", PQ_PLAIN, 1, 1, 1, FM_EMALFORMED,
         "starts inside a row"},
        {"02000000 0200 02000000 0202 07000000", PQ_PLAIN, 1, 1, 1, FM_EMALFORMED,
         "definition levels"}, /* 2 does not fit into one bit */
        {"02000000 0400 02000000 0201 07000000", PQ_PLAIN, 1, 1, 1, FM_EMALFORMED,
         "repetition levels"}, /* a run of two for one entry */
        {"02000000 0200 02000000 0201 07000000", PQ_PLAIN, 1, 1, 2, FM_EMALFORMED,
         "end after row 1 of 2"},
        {"02000000 0400 02000000 0401 07000000 08000000", PQ_PLAIN, 1, 2, 1, FM_EMALFORMED,
         "more rows"},
        {"00 0200", PQ_RLE_DICTIONARY, 0, 1, 1, FM_EMALFORMED, "without a dictionary"},
        {"01000000", PQ_DELTA_LENGTH_BYTE_ARRAY, 0, 1, 1, FM_EUNSUPPORTED, "encoding 6"},
        {"8001 04 01 02", PQ_DELTA_BINARY_PACKED, 0, 1, 1, FM_OK, ""},
        {"8001 04 02 02", PQ_DELTA_BINARY_PACKED, 0, 1, 1, FM_EMALFORMED, "exactly 1 values"},
        {"8101 04 01 02", PQ_DELTA_BINARY_PACKED, 0, 1, 1, FM_EMALFORMED, "exactly 1 values"},
        {"8001 00 01 02", PQ_DELTA_BINARY_PACKED, 0, 1, 1, FM_EMALFORMED, "exactly 1 values"},
        {"8001 04 02 02 00 21000000 0000", PQ_DELTA_BINARY_PACKED, 0, 2, 2, FM_EMALFORMED,
         "exactly 2 values"}, /* 33 bits in a 32-bit column */
        {"8001 04 02 02 00 00000000", PQ_DELTA_BINARY_PACKED, 0, 2, 2, FM_OK, ""},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf buf = hostile_page_file(&rows[i]);
        uint8_t *exact = test_exact_copy(fm_buf_slice(&buf));
        struct fm_why why = {""};
        int rc = hostile_read(fm_slice(exact, buf.len), &why);
        if (rc != rows[i].rc || !strstr(why.text, rows[i].says))
            fail_msg("page %zu: %d %s", i, rc, why.text);
        free(exact);
        fm_buf_fini(&buf);
    }
}

/* Six bytes of runs announce a billion nulls: refused before memory is taken for them. */
static void test_unpacked_size_is_limited(void **state)
{
    (void)state;
    static const struct hostile_page page = {.body =
                                                 "06000000 8080 8080 0800 06000000 8080 8080 0800",
                                             .encoding = PQ_PLAIN,
                                             .rep_max = 1,
                                             .entry_count = 1u << 30,
                                             .row_count = 1u << 30};
    struct fm_buf buf = hostile_page_file(&page);
    struct fm_why why = {""};
    assert_int_equal(hostile_read(fm_buf_slice(&buf), &why), FM_ELIMIT);
    assert_non_null(strstr(why.text, "unpacks to"));
    fm_buf_fini(&buf);
}

static void test_wrong_tails(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "PAR1",
        "PAR1PAR1",
        "PAR1\x01\x00\x00\x00PAR1",
        "PAR1xxxxxxxx\xff\xff\xff\x7fPAR1",
        "PAR1\x00\x00\x00\x00\x00PARE",
    };
    static const size_t lens[] = {0, 4, 8, 12, 20, 13};
    for (size_t i = 0; i < FM_COUNT(texts); i++) {
        struct fm_why why = {""};
        assert_true(hostile_read(fm_slice(texts[i], lens[i]), &why) < 0);
        assert_true(why.text[0] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_no_bit_flip_crashes),
        cmocka_unit_test(test_every_flip_in_a_body_is_noticed),
        cmocka_unit_test(test_contrived_pages),
        cmocka_unit_test(test_unpacked_size_is_limited),
        cmocka_unit_test(test_wrong_tails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
