/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever the reader accepts, the writer can write, and both read alike the second time. */
#include "fermata/json.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_write(struct json_writer *writer, const struct json_token *token)
{
    double number;

    switch (token->kind) {
    case JSON_OBJECT_BEGIN:
        json_object_begin(writer);
        break;
    case JSON_OBJECT_END:
        json_object_end(writer);
        break;
    case JSON_ARRAY_BEGIN:
        json_array_begin(writer);
        break;
    case JSON_ARRAY_END:
        json_array_end(writer);
        break;
    case JSON_NUMBER:
        if (json_double(token, &number) == FM_OK)
            json_number(writer, number);
        else
            json_null(writer);
        break;
    case JSON_KEY: /* a key may hold NUL, which json_key cannot write */
        json_string(writer, token->text);
        fm_buf_put_u8(writer->buf, ':');
        writer->after_key = true;
        break;
    case JSON_STRING:
        json_string(writer, token->text);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        json_bool(writer, token->kind == JSON_TRUE);
        break;
    case JSON_NULL:
        json_null(writer);
        break;
    }
}

static int fuzz_copy(struct fm_slice document, struct fm_buf *buf)
{
    struct fm_arena scratch;
    struct json_reader reader;
    struct json_writer writer;
    struct json_token token;
    int rc;

    fm_arena_init(&scratch, FM_MIB(64));
    json_reader_init(&reader, document, &scratch);
    json_writer_init(&writer, buf);
    while ((rc = json_next(&reader, &token)) == FM_OK) {
        uint64_t natural;
        int64_t integer;
        FM_ASSERT(json_u64(&token, &natural) <= FM_OK && json_i64(&token, &integer) <= FM_OK);
        fuzz_write(&writer, &token);
    }
    FM_ASSERT(rc == FM_END || rc == FM_EMALFORMED || rc == FM_ELIMIT);
    FM_ASSERT(rc == FM_END || reader.error);
    fm_arena_fini(&scratch);
    return rc;
}

static int fuzz_skip(struct fm_slice document)
{
    struct json_reader reader;
    struct json_token token = {.kind = JSON_NULL};
    struct fm_arena scratch;

    fm_arena_init(&scratch, FM_MIB(64));
    json_reader_init(&reader, document, &scratch);
    int rc = json_next(&reader, &token);
    if (rc == FM_OK)
        rc = json_skip(&reader, &token);
    if (rc == FM_OK)
        rc = json_next(&reader, &token);
    fm_arena_fini(&scratch);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_buf first, second;

    fm_buf_init(&first, FM_MIB(64));
    fm_buf_init(&second, FM_MIB(64));
    int rc = fuzz_copy(fm_slice(data, size), &first);
    FM_ASSERT(fuzz_skip(fm_slice(data, size)) == rc);
    if (rc == FM_END) {
        FM_ASSERT(fuzz_copy(fm_buf_slice(&first), &second) == FM_END);
        FM_ASSERT(fm_slice_equal(fm_buf_slice(&first), fm_buf_slice(&second)));
    }
    fm_buf_fini(&first);
    fm_buf_fini(&second);
    return 0;
}
