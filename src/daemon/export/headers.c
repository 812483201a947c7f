/* SPDX-License-Identifier: Apache-2.0 */
/* headers - what a headers_file says: lines of "Name: value". */
#include "internal.h"

static bool header_is_token(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static struct fm_slice header_trim(struct fm_slice text)
{
    while (text.len && (*text.ptr == ' ' || *text.ptr == '\t'))
        text = fm_slice(text.ptr + 1, text.len - 1);
    while (text.len && strchr(" \t\r", text.ptr[text.len - 1]))
        text.len--;
    return text;
}

/* Those that the exchange itself is made of. */
static bool header_is_ours(struct fm_slice name)
{
    static const char *const names[] = {"host",
                                        "content-length",
                                        "content-type",
                                        "connection",
                                        "content-encoding",
                                        "transfer-encoding",
                                        "grpc-encoding",
                                        "te",
                                        "upgrade"};
    for (size_t i = 0; i < FM_COUNT(names); i++) {
        if (fm_slice_equal_text(name, names[i]))
            return true;
    }
    return false;
}

static bool header_parse(uint8_t *line, size_t len, struct http_header *ret_header)
{
    uint8_t *colon = memchr(line, ':', len);
    if (!colon || colon == line)
        return false;
    struct http_header header = {
        .name = fm_slice(line, (size_t)(colon - line)),
        .value = header_trim(fm_slice(colon + 1, len - (size_t)(colon - line) - 1)),
    };
    for (uint8_t *at = line; at < colon; at++) {
        *at = (uint8_t)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
        if (!header_is_token(*at))
            return false;
    }
    for (size_t i = 0; i < header.value.len; i++) {
        if ((header.value.ptr[i] < ' ' && header.value.ptr[i] != '\t') ||
            header.value.ptr[i] == 0x7f)
            return false;
    }
    *ret_header = header;
    return header.value.len && !header_is_ours(header.name);
}

int upstream_headers_parse(uint8_t *text, size_t len,
                           struct http_header headers[UPSTREAM_HEADERS_MAX], size_t *ret_count,
                           struct fm_why *why)
{
    size_t count = 0, number = 0;
    while (len) {
        uint8_t *end = memchr(text, '\n', len);
        size_t line_len = end ? (size_t)(end - text) : len;
        struct fm_slice line = header_trim(fm_slice(text, line_len));
        number++;
        if (line.len && line.ptr[0] != '#') {
            uint8_t *at = text + (line.ptr - text);
            if (count == UPSTREAM_HEADERS_MAX)
                return fm_fail(why, FM_ECONFIG, "more than %d headers", UPSTREAM_HEADERS_MAX);
            if (!header_parse(at, line.len, &headers[count++])) /* its text may be a secret */
                return fm_fail(why, FM_ECONFIG,
                               "line %zu is not \"Name: value\" of a header that "
                               "may be set",
                               number);
        }
        size_t used = line_len + (end != NULL);
        text += used;
        len -= used;
    }
    *ret_count = count;
    return FM_OK;
}
