/* SPDX-License-Identifier: Apache-2.0 */
/* Growable bytes with a limit and a sticky error; sources and sinks over memory. */
#include "fermata/base.h"

#include <stdio.h>
#include <stdlib.h>

#define BUF_CAP_MIN 256u

void fm_buf_init(struct fm_buf *buf, size_t bytes_max)
{
    *buf = (struct fm_buf){.bytes_max = bytes_max};
}

void fm_buf_fini(struct fm_buf *buf)
{
    free(fm_take(buf->ptr));
    buf->len = buf->cap = 0;
}

void fm_buf_reset(struct fm_buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

uint8_t *fm_buf_room(struct fm_buf *buf, size_t len)
{
    if (FM_LIKELY(!buf->failed && buf->cap - buf->len >= len))
        return buf->ptr ? buf->ptr + buf->len : (uint8_t *)"";
    if (buf->failed || len > buf->bytes_max || buf->len > buf->bytes_max - len) {
        buf->failed = true;
        return NULL;
    }
    size_t needed = buf->len + len;
    size_t cap = FM_MAX(FM_MAX(buf->cap + buf->cap / 2, needed), BUF_CAP_MIN);
    cap = FM_MIN(cap, FM_MAX(buf->bytes_max, needed));
    uint8_t *ptr = realloc(buf->ptr, cap);
    if (!ptr) {
        buf->failed = true;
        return NULL;
    }
    buf->ptr = ptr;
    buf->cap = cap;
    return ptr + buf->len;
}

void fm_buf_put(struct fm_buf *buf, const void *source, size_t len)
{
    uint8_t *target = fm_buf_room(buf, len);
    if (target && len) {
        memcpy(target, source, len);
        buf->len += len;
    }
}

void fm_buf_put_slice(struct fm_buf *buf, struct fm_slice slice)
{
    fm_buf_put(buf, slice.ptr, slice.len);
}

void fm_buf_puts(struct fm_buf *buf, const char *text)
{
    fm_buf_put(buf, text, strlen(text));
}

void fm_buf_put_u8(struct fm_buf *buf, uint8_t value)
{
    fm_buf_put(buf, &value, 1);
}

void fm_buf_put_zeros(struct fm_buf *buf, size_t len)
{
    uint8_t *target = fm_buf_room(buf, len);
    if (target && len) {
        memset(target, 0, len);
        buf->len += len;
    }
}

void fm_buf_printf(struct fm_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    uint8_t *target = len < 0 ? NULL : fm_buf_room(buf, (size_t)len + 1);
    if (target) {
        (void)vsnprintf((char *)target, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    } else {
        buf->failed = true;
    }
    va_end(again);
}

void fm_buf_consume(struct fm_buf *buf, size_t len)
{
    FM_ASSERT(len <= buf->len);
    buf->len -= len;
    if (buf->len && len)
        memmove(buf->ptr, buf->ptr + len, buf->len);
}

static int source_memory_read_at(void *self, uint64_t offset, void *target, size_t len)
{
    const struct fm_slice *slice = self;
    if (offset > slice->len || len > slice->len - offset)
        return FM_ECORRUPT;
    if (len)
        memcpy(target, slice->ptr + offset, len);
    return FM_OK;
}

struct fm_source fm_source_memory(const struct fm_slice *slice)
{
    return (struct fm_source){source_memory_read_at, (void *)(uintptr_t)slice, slice->len};
}

static int sink_buf_write(void *self, struct fm_slice slice)
{
    struct fm_buf *buf = self;
    fm_buf_put_slice(buf, slice);
    return buf->failed ? FM_ENOMEM : FM_OK;
}

struct fm_sink fm_sink_buf(struct fm_buf *buf)
{
    return (struct fm_sink){sink_buf_write, buf};
}
