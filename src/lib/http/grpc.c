/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC's own layer over HTTP/2: length-prefixed messages, grpc-message, grpc-timeout.
 * Source: "gRPC over HTTP2", the public protocol description. */
#include "fermata/http.h"

#include "fermata/bytes.h"

#define GRPC_PREFIX_BYTES 5u /* flag, then the length in four bytes, big-endian */

int grpc_message_next(struct fm_slice *body, size_t bytes_max, struct grpc_message *ret_message)
{
    if (!body->len)
        return FM_END;
    if (body->ptr[0] > 1)
        return FM_EMALFORMED;
    if (body->len < GRPC_PREFIX_BYTES)
        return FM_EMALFORMED;
    uint32_t len = fm_load_be32(body->ptr + 1);
    if (len > bytes_max)
        return FM_ELIMIT;
    if (len > body->len - GRPC_PREFIX_BYTES)
        return FM_EMALFORMED;

    *ret_message = (struct grpc_message){
        .compressed = body->ptr[0] == 1,
        .bytes = fm_slice(body->ptr + GRPC_PREFIX_BYTES, len),
    };
    size_t used = GRPC_PREFIX_BYTES + len;
    *body = fm_slice(body->ptr + used, body->len - used);
    return FM_OK;
}

void grpc_message_put(struct fm_buf *buf, struct fm_slice message)
{
    uint8_t prefix[GRPC_PREFIX_BYTES] = {0};
    fm_store_be32(prefix + 1, (uint32_t)message.len);
    if (message.len > UINT32_MAX)
        buf->failed = true;
    fm_buf_put(buf, prefix, sizeof prefix);
    fm_buf_put_slice(buf, message);
}

void grpc_percent_encode(struct fm_buf *buf, struct fm_slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte >= 0x20 && byte <= 0x7e && byte != '%') {
            fm_buf_put_u8(buf, byte);
            continue;
        }
        char escape[3] = {'%', digits[byte >> 4], digits[byte & 15]};
        fm_buf_put(buf, escape, sizeof escape);
    }
}

int grpc_timeout_parse(struct fm_slice text, uint64_t *ret_ns)
{
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {
        {'H', UINT64_C(3600000000000)}, {'M', UINT64_C(60000000000)}, {'S', UINT64_C(1000000000)},
        {'m', UINT64_C(1000000)},       {'u', UINT64_C(1000)},        {'n', UINT64_C(1)},
    };
    uint64_t number = 0;

    if (text.len < 2 || text.len > 9)
        return FM_EMALFORMED;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return FM_EMALFORMED;
        number = number * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    for (size_t i = 0; i < FM_COUNT(units); i++) {
        if (text.ptr[text.len - 1] != (uint8_t)units[i].unit)
            continue;
        bool fits = !__builtin_mul_overflow(number, units[i].ns, &number);
        *ret_ns = fits ? number : UINT64_MAX;
        return FM_OK;
    }
    return FM_EMALFORMED;
}
