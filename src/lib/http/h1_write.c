/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 heads to bytes.  Values come from handlers and may hold a peer's text, so line ends and
 * other controls become blanks: a value can never start a header of its own. */
#include "fermata/h1.h"

const struct fm_slice h1_continue = {(const uint8_t *)"HTTP/1.1 100 Continue\r\n\r\n", 25};

static void put_text(struct fm_buf *buf, struct fm_slice text)
{
    size_t start = buf->len;
    fm_buf_put_slice(buf, text);
    if (buf->failed)
        return;
    for (size_t i = start; i < buf->len; i++) {
        if ((buf->ptr[i] < 0x20 && buf->ptr[i] != '\t') || buf->ptr[i] == 0x7f)
            buf->ptr[i] = ' ';
    }
}

static void put_headers(struct fm_buf *buf, const struct http_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put_text(buf, headers[i].name);
        fm_buf_put(buf, ": ", 2);
        put_text(buf, headers[i].value);
        fm_buf_put(buf, "\r\n", 2);
    }
}

void h1_put_response(struct fm_buf *buf, int status, const struct http_header *headers,
                     size_t count, uint64_t content_length, bool keep_alive)
{
    fm_buf_printf(buf, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
    put_headers(buf, headers, count);
    if (status >= 200 && status != 204)
        fm_buf_printf(buf, "content-length: %llu\r\n", (unsigned long long)content_length);
    if (!keep_alive)
        fm_buf_puts(buf, "connection: close\r\n");
    fm_buf_put(buf, "\r\n", 2);
}

void h1_put_request(struct fm_buf *buf, const char *method, struct fm_slice target,
                    struct fm_slice host, const struct http_header *headers, size_t count,
                    uint64_t content_length)
{
    bool has_body = content_length || strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0;

    fm_buf_puts(buf, method);
    fm_buf_put_u8(buf, ' ');
    put_text(buf, target);
    fm_buf_puts(buf, " HTTP/1.1\r\nhost: ");
    put_text(buf, host);
    fm_buf_put(buf, "\r\n", 2);
    put_headers(buf, headers, count);
    if (has_body)
        fm_buf_printf(buf, "content-length: %llu\r\n", (unsigned long long)content_length);
    fm_buf_put(buf, "\r\n", 2);
}
