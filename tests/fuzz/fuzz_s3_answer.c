/* SPDX-License-Identifier: Apache-2.0 */
/* An object store's answer: verb, flags, status, one line of header values, then the body. */
#include <stddef.h>
#include <stdint.h>

#include "fermata/s3.h"

static int fuzz_on_object(void *self, const struct s3_listed *object)
{
    uint64_t *sum = self;
    for (size_t i = 0; i < object->key.len; i++)
        *sum += object->key.ptr[i];
    for (size_t i = 0; i < object->etag.len; i++)
        *sum += object->etag.ptr[i];
    *sum += object->size;
    return FM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_on_part(void *self, const struct s3_part *part)
{
    uint64_t *sum = self;
    FM_ASSERT(part->number >= 1 && part->number <= S3_PART_NUMBER_MAX);
    FM_ASSERT(memchr(part->etag, '\0', sizeof part->etag));
    *sum += part->size;
    return FM_OK;
}

static int fuzz_on_upload(void *self, struct fm_slice key, struct fm_slice upload_id)
{
    uint64_t *sum = self;
    *sum += key.len + upload_id.len;
    return FM_OK;
}

static void fuzz_answer(const uint8_t head[4], struct fm_slice line, struct fm_slice body)
{
    const struct s3_header headers[] = {
        {"date", line},
        {"etag", line},
        {"retry-after", line},
        {"content-length", line},
        {"x-amz-bucket-region", line},
    };
    struct s3_call call = {
        .verb = (enum s3_verb)(head[0] % (S3_MULTIPART_LIST + 1)),
        .object.create_only = head[1] & 1,
    };
    struct s3_response_view view = {
        .status = head[2] << 8 | head[3],
        .request_sent_whole = head[1] & 2,
        .headers = headers,
        .header_count = head[1] & 4 ? FM_COUNT(headers) : 0,
        .body = body,
    };
    struct s3_answer answer;
    s3_answer_read(&call, &view, &answer);
    FM_ASSERT((unsigned)answer.outcome <= S3_REFUSED);
    FM_ASSERT(memchr(answer.code, '\0', sizeof answer.code));
    FM_ASSERT(memchr(answer.upload_id, '\0', sizeof answer.upload_id));
    struct s3_endpoint endpoint = {.region = "us-east-1", .host = "s3.us-east-1.amazonaws.com"};
    if (s3_endpoint_set_region(&endpoint, fm_slice_text(answer.region)) == FM_OK)
        FM_ASSERT(strstr(endpoint.host, ".amazonaws.com"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 5)
        return 0;
    const uint8_t *end = memchr(data + 4, '\n', size - 4);
    size_t line_len = end ? (size_t)(end - data - 4) : 0;
    size_t body_at = end ? 4 + line_len + 1 : 4;
    struct fm_slice body = fm_slice(data + body_at, size - body_at);
    fuzz_answer(data, fm_slice(data + 4, line_len), body);
    uint64_t sum = 0;
    char marker[16];
    if (s3_parts_read(body, fuzz_on_part, &sum, marker) == FM_OK)
        FM_ASSERT(memchr(marker, '\0', sizeof marker));
    (void)!s3_uploads_read(body, fuzz_on_upload, &sum);
    struct fm_buf token;
    fm_buf_init(&token, FM_KIB(4));
    (void)!s3_objects_read(body, fuzz_on_object, &sum, &token);
    fm_buf_fini(&token);
    return 0;
}
