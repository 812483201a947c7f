/* SPDX-License-Identifier: Apache-2.0 */
/* Headers, request targets, query parameters and media types.
 *
 * A path is decoded exactly once, here; whoever routes compares decoded bytes and never decodes
 * again.  Empty segments are kept ("//v1/traces" is not "/v1/traces"): routing decides. */
#include "fermata/http.h"

const struct http_limits http_limits_default = {
    .header_bytes_max = FM_KIB(16),
    .header_count_max = 100,
    .target_bytes_max = FM_KIB(8),
    .body_bytes_max = FM_MIB(16),
    .stream_count_max = 100,
    .window_bytes = FM_MIB(1),
    .connection_window_bytes = FM_MIB(4),
};

int http_header_find(const struct http_header *headers, size_t count, const char *name,
                     struct fm_slice *ret_value)
{
    for (size_t i = 0; i < count; i++) {
        if (fm_slice_equal_text(headers[i].name, name)) {
            *ret_value = headers[i].value;
            return FM_OK;
        }
    }
    return FM_NONE;
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Percent-decodes into the arena; '+' is a blank where plus_is_blank. */
static int percent_decode(struct fm_slice raw, bool plus_is_blank, struct fm_arena *arena,
                          struct fm_slice *ret_text)
{
    uint8_t *target = fm_arena_alloc(arena, raw.len + 1);
    size_t len = 0;

    if (!target)
        return FM_ENOMEM;
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t byte = raw.ptr[i];
        if (byte == '%') {
            if (raw.len - i < 3)
                return FM_EMALFORMED;
            int high = hex_digit(raw.ptr[i + 1]), low = hex_digit(raw.ptr[i + 2]);
            if (high < 0 || low < 0)
                return FM_EMALFORMED;
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (byte == '+' && plus_is_blank) {
            byte = ' ';
        }
        target[len++] = byte;
    }
    target[len] = 0; /* for a debugger; the slice does not count it */
    *ret_text = fm_slice(target, len);
    return FM_OK;
}

/* "a/../b" names something else than it seems to; nobody who means well sends it. */
static bool path_is_safe(struct fm_slice path)
{
    if (!path.len || path.ptr[0] != '/' || memchr(path.ptr, 0, path.len))
        return false;
    for (size_t i = 0; i + 2 < path.len; i++) {
        if (path.ptr[i] != '/' || path.ptr[i + 1] != '.' || path.ptr[i + 2] != '.')
            continue;
        if (i + 3 == path.len || path.ptr[i + 3] == '/')
            return false;
    }
    return true;
}

/* Clients behind a configured proxy send "http://host/path?query": cut the front off. */
static struct fm_slice target_skip_authority(struct fm_slice raw)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < FM_COUNT(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (raw.len < len || !fm_slice_equal_nocase(fm_slice(raw.ptr, len), schemes[i]))
            continue;
        while (len < raw.len && raw.ptr[len] != '/' && raw.ptr[len] != '?')
            len++;
        return fm_slice(raw.ptr + len, raw.len - len);
    }
    return raw;
}

int http_target_parse(struct fm_slice raw, struct fm_arena *arena, struct http_target *ret_target)
{
    struct fm_slice rest = target_skip_authority(raw);
    struct http_target target = {.query = FM_SLICE("")};
    bool absolute = rest.ptr != raw.ptr;

    if (!rest.len && !absolute)
        return FM_EMALFORMED;
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.ptr[i] <= ' ' || rest.ptr[i] == 0x7f || rest.ptr[i] == '#')
            return FM_EMALFORMED;
    }
    const uint8_t *mark = rest.len ? memchr(rest.ptr, '?', rest.len) : NULL;
    size_t path_len = mark ? (size_t)(mark - rest.ptr) : rest.len;
    if (mark)
        target.query = fm_slice(mark + 1, rest.len - path_len - 1);
    struct fm_slice path = fm_slice(rest.ptr, path_len);
    if (!path.len && absolute)
        path = FM_SLICE("/");
    int rc = percent_decode(path, false, arena, &target.path);
    if (rc < 0)
        return rc;
    if (!path_is_safe(target.path))
        return FM_EMALFORMED;

    *ret_target = target;
    return FM_OK;
}

int http_query_find(struct fm_slice query, const char *name, struct fm_arena *arena,
                    struct fm_slice *ret_value)
{
    while (query.len) {
        const uint8_t *end = memchr(query.ptr, '&', query.len);
        size_t pair_len = end ? (size_t)(end - query.ptr) : query.len;
        struct fm_slice pair = fm_slice(query.ptr, pair_len);
        size_t skip = FM_MIN(pair_len + 1, query.len);
        query = fm_slice(query.ptr + skip, query.len - skip);
        if (!pair.len)
            continue;

        const uint8_t *equals = memchr(pair.ptr, '=', pair.len);
        size_t key_len = equals ? (size_t)(equals - pair.ptr) : pair.len;
        struct fm_slice key = fm_slice(pair.ptr, key_len), value = FM_SLICE("");
        if (memchr(key.ptr, '%', key.len) || (key.len && memchr(key.ptr, '+', key.len))) {
            int rc = percent_decode(key, true, arena, &key);
            if (rc < 0)
                return rc;
        }
        if (!fm_slice_equal_text(key, name))
            continue;
        if (equals)
            value = fm_slice(equals + 1, pair.len - key_len - 1);
        return percent_decode(value, true, arena, ret_value);
    }
    return FM_NONE;
}

bool http_media_type_is(struct fm_slice content_type, const char *lower)
{
    const uint8_t *end = content_type.len ? memchr(content_type.ptr, ';', content_type.len) : NULL;
    size_t len = end ? (size_t)(end - content_type.ptr) : content_type.len;
    size_t start = 0;
    while (start < len && (content_type.ptr[start] == ' ' || content_type.ptr[start] == '\t'))
        start++;
    while (len > start && (content_type.ptr[len - 1] == ' ' || content_type.ptr[len - 1] == '\t'))
        len--;
    return fm_slice_equal_nocase(fm_slice(content_type.ptr + start, len - start), lower);
}
