/* SPDX-License-Identifier: Apache-2.0 */
/* A request in the making. */
#include "internal.h"

#include "fermata/bytes.h"

#define MAKER_TARGET_MAX FM_KIB(8)

void cloud_percent_encode(struct fm_buf *buf, struct fm_slice text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-_.~", c)) || (c == '/' && keep_slash);
        if (plain) {
            fm_buf_put_u8(buf, c);
        } else {
            char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
            fm_buf_put(buf, escape, sizeof escape);
        }
    }
}

void cloud_maker_init(struct cloud_maker *maker, struct s3_request *request, struct fm_arena *arena,
                      const char *method, const struct cloud_url *url)
{
    *request = (struct s3_request){.method = method, .host = cloud_url_host(url, arena)};
    *maker = (struct cloud_maker){.request = request, .arena = arena};
    fm_buf_init(&maker->target, MAKER_TARGET_MAX);
    fm_buf_puts(&maker->target, url->path);
}

void cloud_maker_header(struct cloud_maker *maker, const char *name, struct fm_slice value)
{
    struct s3_request *request = maker->request;
    FM_ASSERT(request->header_count < S3_HEADER_MAX);
    request->headers[request->header_count++] =
        (struct s3_header){name, fm_slice_dup(maker->arena, value)};
}

void cloud_maker_header_text(struct cloud_maker *maker, const char *name, const char *value)
{
    cloud_maker_header(maker, name, fm_slice_text(value));
}

void cloud_maker_header_base64(struct cloud_maker *maker, const char *name, struct fm_slice bytes)
{
    struct fm_buf text;
    fm_buf_init(&text, 256);
    fm_base64_encode(&text, bytes);
    if (text.failed)
        maker->arena->failed = true;
    else
        cloud_maker_header(maker, name, fm_buf_slice(&text));
    fm_buf_fini(&text);
}

int cloud_maker_bearer(struct cloud_maker *maker, struct fm_slice token)
{
    static const struct fm_slice scheme = {(const uint8_t *)"Bearer ", 7};
    for (size_t i = 0; i < token.len; i++)
        if (token.ptr[i] <= ' ' || token.ptr[i] >= 127)
            return FM_ECONFIG;
    if (token.len == 0 || token.len > CLOUD_TOKEN_MAX)
        return FM_ECONFIG;
    uint8_t *text = fm_arena_alloc(maker->arena, scheme.len + token.len);
    if (!text)
        return FM_ENOMEM;
    memcpy(text, scheme.ptr, scheme.len);
    memcpy(text + scheme.len, token.ptr, token.len);
    struct s3_request *request = maker->request;
    FM_ASSERT(request->header_count < S3_HEADER_MAX);
    request->headers[request->header_count++] =
        (struct s3_header){"authorization", fm_slice(text, scheme.len + token.len)};
    return FM_OK;
}

void cloud_maker_query(struct cloud_maker *maker, const char *name, struct fm_slice value)
{
    fm_buf_put_u8(&maker->target, maker->has_query ? '&' : '?');
    fm_buf_puts(&maker->target, name);
    fm_buf_put_u8(&maker->target, '=');
    cloud_percent_encode(&maker->target, value, false);
    maker->has_query = true;
}

int cloud_maker_end(struct cloud_maker *maker)
{
    bool failed = maker->target.failed;
    if (!failed)
        maker->request->target = fm_slice_dup(maker->arena, fm_buf_slice(&maker->target));
    fm_buf_fini(&maker->target);
    if (failed)
        return FM_ELIMIT;
    return fm_arena_failed(maker->arena) ? FM_ENOMEM : FM_OK;
}
