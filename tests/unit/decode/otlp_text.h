/* SPDX-License-Identifier: Apache-2.0 */
/* Canonical OTLP as text, for tests that say what they expect in one line:
 *
 *   resource{service.name="svc"} scope{lib 1} span{102..:fe parent=5 op kind=2 1+2 error="msg" ...}
 *
 * Times are start and length in nanoseconds; what is absent is not written. */
#ifndef TESTS_DECODE_OTLP_TEXT_H
#define TESTS_DECODE_OTLP_TEXT_H

#include "../../support/test.h"

#include "fermata/pb.h"

static inline struct pb_field otlp_text_next(struct fm_slice *rest)
{
    struct pb_field field = {0};
    int rc = pb_next(rest, &field);
    assert_true(rc == FM_OK || rc == FM_END);
    return field; /* number 0: the end */
}

static inline void otlp_text_hex(struct fm_buf *text, struct fm_slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        fm_buf_printf(text, "%02x", bytes.ptr[i]);
}

static inline void otlp_text_value(struct fm_buf *text, struct fm_slice value)
{
    struct pb_field field = otlp_text_next(&value);
    double number;
    switch (field.number) {
    case 1:
        fm_buf_printf(text, "\"%.*s\"", (int)field.bytes.len, (const char *)field.bytes.ptr);
        break;
    case 2:
        fm_buf_puts(text, field.value ? "true" : "false");
        break;
    case 3:
        fm_buf_printf(text, "%lld", (long long)field.value);
        break;
    case 4:
        memcpy(&number, &field.value, sizeof number);
        fm_buf_printf(text, "%gf", number);
        break;
    case 7:
        fm_buf_puts(text, "0x");
        otlp_text_hex(text, field.bytes);
        break;
    default:
        fm_buf_puts(text, "?");
    }
    assert_int_equal(value.len, 0);
}

static inline void otlp_text_attribute(struct fm_buf *text, struct fm_slice attribute)
{
    struct pb_field field;
    while ((field = otlp_text_next(&attribute)).number) {
        if (field.number == 1)
            fm_buf_printf(text, " %.*s", (int)field.bytes.len, (const char *)field.bytes.ptr);
        fm_buf_puts(text, field.number == 2 ? "=" : "");
        if (field.number == 2)
            otlp_text_value(text, field.bytes);
    }
}

static inline void otlp_text_event(struct fm_buf *text, struct fm_slice event)
{
    struct pb_field field;
    fm_buf_puts(text, " event{");
    while ((field = otlp_text_next(&event)).number) {
        if (field.number == 1)
            fm_buf_printf(text, "%llu", (unsigned long long)field.value);
        else if (field.number == 2)
            fm_buf_printf(text, " %.*s", (int)field.bytes.len, (const char *)field.bytes.ptr);
        else if (field.number == 3)
            otlp_text_attribute(text, field.bytes);
        else if (field.number == 4)
            fm_buf_printf(text, " dropped=%llu", (unsigned long long)field.value);
    }
    fm_buf_puts(text, "}");
}

static inline void otlp_text_link(struct fm_buf *text, struct fm_slice link)
{
    struct pb_field field;
    fm_buf_puts(text, " link{");
    while ((field = otlp_text_next(&link)).number) {
        if (field.number == 2)
            fm_buf_puts(text, ":");
        if (field.number <= 2)
            otlp_text_hex(text, field.bytes);
        else if (field.number == 3)
            fm_buf_printf(text, " state=%.*s", (int)field.bytes.len,
                          (const char *)field.bytes.ptr);
        else if (field.number == 4)
            otlp_text_attribute(text, field.bytes);
        else if (field.number == 5)
            fm_buf_printf(text, " dropped=%llu", (unsigned long long)field.value);
    }
    fm_buf_puts(text, "}");
}

static inline void otlp_text_status(struct fm_buf *text, struct fm_slice status)
{
    static const char *const names[] = {"unset", "ok", "error"};
    struct pb_field field;
    struct fm_slice message = {0};
    uint64_t code = 0;
    while ((field = otlp_text_next(&status)).number) {
        if (field.number == 2)
            message = field.bytes;
        else if (field.number == 3)
            code = field.value;
    }
    assert_true(code < FM_COUNT(names));
    fm_buf_printf(text, " %s", names[code]);
    if (message.len)
        fm_buf_printf(text, "=\"%.*s\"", (int)message.len, (const char *)message.ptr);
}

static inline void otlp_text_span(struct fm_buf *text, struct fm_slice span)
{
    struct pb_field field;
    uint64_t start = 0;
    fm_buf_puts(text, " span{");
    while ((field = otlp_text_next(&span)).number) {
        static const char *const names[] = {[6] = "kind",
                                            [10] = "dropped_attributes",
                                            [12] = "dropped_events",
                                            [14] = "dropped_links",
                                            [16] = "flags"};
        static const char *const before[] = {
            [1] = "", [2] = ":", [3] = " state=", [4] = " parent="};
        if (field.number < FM_COUNT(before))
            fm_buf_puts(text, before[field.number]);
        if (field.number == 3 || field.number == 5)
            fm_buf_printf(text, "%s%.*s", field.number == 5 ? " " : "", (int)field.bytes.len,
                          (const char *)field.bytes.ptr);
        else if (field.number < FM_COUNT(before))
            otlp_text_hex(text, field.bytes);
        else if (field.number == 7)
            start = field.value;
        else if (field.number == 8)
            fm_buf_printf(text, " %llu+%lld", (unsigned long long)start,
                          (long long)(field.value - start));
        else if (field.number == 9)
            otlp_text_attribute(text, field.bytes);
        else if (field.number == 11)
            otlp_text_event(text, field.bytes);
        else if (field.number == 13)
            otlp_text_link(text, field.bytes);
        else if (field.number == 15)
            otlp_text_status(text, field.bytes);
        else
            fm_buf_printf(text, " %s=%llu", names[field.number], (unsigned long long)field.value);
    }
    fm_buf_puts(text, "}");
}

static inline void otlp_text_scope_spans(struct fm_buf *text, struct fm_slice scope_spans)
{
    struct pb_field field, inner;
    while ((field = otlp_text_next(&scope_spans)).number) {
        if (field.number == 2)
            otlp_text_span(text, field.bytes);
        if (field.number != 1)
            continue;
        fm_buf_puts(text, " scope{");
        while ((inner = otlp_text_next(&field.bytes)).number)
            fm_buf_printf(text, "%s%.*s", inner.number == 2 ? " " : "", (int)inner.bytes.len,
                          (const char *)inner.bytes.ptr);
        fm_buf_puts(text, "}");
    }
}

/* Owned by the caller, ends with NUL. */
static inline struct fm_buf otlp_text(struct fm_slice request)
{
    struct fm_buf text;
    struct pb_field field, inner, attribute;
    fm_buf_init(&text, FM_MIB(1));
    while ((field = otlp_text_next(&request)).number) {
        fm_buf_puts(&text, text.len ? " resource{" : "resource{");
        struct fm_slice scopes = field.bytes;
        while ((inner = otlp_text_next(&field.bytes)).number)
            while (inner.number == 1 && (attribute = otlp_text_next(&inner.bytes)).number)
                otlp_text_attribute(&text, attribute.bytes);
        fm_buf_puts(&text, "}");
        while ((inner = otlp_text_next(&scopes)).number)
            if (inner.number == 2) {
                fm_buf_puts(&text, " scopes");
                otlp_text_scope_spans(&text, inner.bytes);
            }
    }
    fm_buf_put_u8(&text, 0);
    return text;
}

#endif
