/* SPDX-License-Identifier: Apache-2.0 */
/* What Azure, Google and their token endpoints answer: kind and verb, flags, status, one line of
 * header values, then the body; the body as a service account's key file as well. */
#include <stddef.h>
#include <stdint.h>

#include "fermata/cloud.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_on_name(void *self, struct fm_slice name)
{
    uint64_t *sum = self;
    for (size_t i = 0; i < name.len; i++)
        *sum += name.ptr[i];
    return FM_OK;
}

static bool fuzz_is_header(struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 127)
            return false;
    return true;
}

static void fuzz_answer(enum cloud_kind kind, const uint8_t head[4],
                        const struct s3_response_view *view)
{
    const uint8_t md5[16] = {0}, crc32c[4] = {0};
    const struct cloud_call call = {
        .verb = (enum cloud_verb)(head[0] % (CLOUD_PROGRESS + 1)),
        .create_only = head[1] & 1,
        .md5 = md5,
        .crc32c = crc32c,
    };
    struct cloud_answer answer;
    cloud_answer_read(kind, &call, view, &answer);
    FM_ASSERT((unsigned)answer.outcome <= S3_REFUSED);
    FM_ASSERT(memchr(answer.code, '\0', sizeof answer.code));
    FM_ASSERT(memchr(answer.message, '\0', sizeof answer.message));
    FM_ASSERT(memchr(answer.session, '\0', sizeof answer.session));
    /* It goes back into a request line. */
    FM_ASSERT(!answer.session[0] || answer.session[0] == '/');
    FM_ASSERT(fuzz_is_header(fm_slice_text(answer.session)));
}

static void fuzz_token(const struct s3_response_view *view)
{
    struct fm_arena arena;
    struct cloud_token token;
    struct cloud_account account;
    fm_arena_init(&arena, FM_KIB(64));
    cloud_token_read(view, &arena, &token);
    FM_ASSERT((token.outcome == S3_DONE) == (token.token.len > 0));
    FM_ASSERT(fuzz_is_header(token.token));
    if (cloud_account_read(view->body, &arena, &account, NULL) == FM_OK) {
        FM_ASSERT(account.key_pem.ptr[account.key_pem.len] == '\0');
        cloud_account_wipe(&account);
    }
    fm_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 5)
        return 0;
    const uint8_t *end = memchr(data + 4, '\n', size - 4);
    size_t line_len = end ? (size_t)(end - data - 4) : 0;
    size_t body_at = end ? 4 + line_len + 1 : 4;
    struct fm_slice line = fm_slice(data + 4, line_len);
    const struct s3_header headers[] = {
        {"date", line},        {"retry-after", line}, {"content-length", line},
        {"content-md5", line}, {"location", line},    {"x-ms-error-code", line},
        {"range", line},       {"x-goog-hash", line},
    };
    const struct s3_response_view view = {
        .status = (data[2] << 8 | data[3]) % 600,
        .request_sent_whole = data[1] & 2,
        .headers = headers,
        .header_count = data[1] & 4 ? FM_COUNT(headers) : 0,
        .body = fm_slice(data + body_at, size - body_at),
    };
    uint64_t sum = 0;
    struct fm_buf page;
    fm_buf_init(&page, FM_KIB(4));
    for (int kind = CLOUD_AZURE; kind <= CLOUD_GCS; kind++) {
        fuzz_answer((enum cloud_kind)kind, data, &view);
        (void)!cloud_list_read((enum cloud_kind)kind, view.body, fuzz_on_name, &sum, &page);
    }
    (void)!cloud_blocks_read(view.body, fuzz_on_name, &sum);
    fm_buf_fini(&page);
    uint32_t number;
    (void)!cloud_block_id_parse(line, &number);
    fuzz_token(&view);
    return 0;
}
