/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for tests of processors, and what is in them as one line of text. */
#ifndef TESTS_PROCESS_OTLP_H
#define TESTS_PROCESS_OTLP_H

#include "fermata/pb.h"
#include "fermata/process.h"

static inline void otlp_string(struct fm_buf *buf, uint32_t number, const char *key,
                               const char *value)
{
    size_t mark = pb_begin(buf, number);
    pb_put_text(buf, 1, key);
    size_t inner = pb_begin(buf, 2);
    pb_put_text(buf, 1, value);
    pb_end(buf, inner);
    pb_end(buf, mark);
}

static inline void otlp_int(struct fm_buf *buf, uint32_t number, const char *key, int64_t value)
{
    size_t mark = pb_begin(buf, number);
    pb_put_text(buf, 1, key);
    size_t inner = pb_begin(buf, 2);
    pb_put_u64(buf, 3, (uint64_t)value);
    pb_end(buf, inner);
    pb_end(buf, mark);
}

struct otlp_span {
    const char *name;
    uint32_t kind, status;
    uint64_t duration_ns;
    const char *method, *route, *secret; /* NULL: none */
    int64_t code;                        /* 0: none */
    const char *event, *message;
};

static inline void otlp_put_span(struct fm_buf *buf, const struct otlp_span *span)
{
    size_t mark = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, FM_SLICE("0123456789abcdef"));
    pb_put_bytes(buf, 2, FM_SLICE("01234567"));
    pb_put_text(buf, 5, span->name);
    pb_put_u64(buf, 6, span->kind);
    pb_put_fixed64(buf, 7, 1000);
    pb_put_fixed64(buf, 8, 1000 + span->duration_ns);
    if (span->method)
        otlp_string(buf, 9, "http.request.method", span->method);
    if (span->route)
        otlp_string(buf, 9, "http.route", span->route);
    if (span->secret)
        otlp_string(buf, 9, "password", span->secret);
    if (span->code)
        otlp_int(buf, 9, "http.response.status_code", span->code);
    if (span->event) {
        size_t event = pb_begin(buf, 11);
        pb_put_fixed64(buf, 1, 1001);
        pb_put_text(buf, 2, "exception");
        otlp_string(buf, 3, "exception.message", span->event);
        pb_end(buf, event);
        event = pb_begin(buf, 13);
        pb_put_bytes(buf, 1, FM_SLICE("0123456789abcdef"));
        pb_put_bytes(buf, 2, FM_SLICE("76543210"));
        otlp_string(buf, 4, "why", span->event);
        pb_end(buf, event);
    }
    if (span->status || span->message) {
        size_t status = pb_begin(buf, 15);
        if (span->message)
            pb_put_text(buf, 2, span->message);
        pb_put_u64(buf, 3, span->status);
        pb_end(buf, status);
    }
    pb_end(buf, mark);
}

static inline void otlp_put_resource(struct fm_buf *buf, const char *service,
                                     const struct otlp_span *spans, size_t count)
{
    size_t mark = pb_begin(buf, 1), inner;
    if (service) {
        inner = pb_begin(buf, 1);
        otlp_string(buf, 1, "service.name", service);
        otlp_string(buf, 1, "site", "north");
        pb_end(buf, inner);
    }
    inner = pb_begin(buf, 2);
    if (service) {
        size_t scope = pb_begin(buf, 1);
        pb_put_text(buf, 1, "lib");
        otlp_string(buf, 3, "owner", "ann@example.org");
        pb_end(buf, scope);
    }
    for (size_t i = 0; i < count; i++)
        otlp_put_span(buf, &spans[i]);
    pb_end(buf, inner);
    pb_put_text(buf, 3, "schema");
    pb_end(buf, mark);
}

/* ---- as text ---- */

static inline void otlp_show_value(struct fm_slice value, struct fm_buf *out)
{
    struct pb_field field;
    while (pb_next(&value, &field) == FM_OK) {
        if (field.number == 1)
            fm_buf_put_slice(out, field.bytes);
        else if (field.number == 2)
            fm_buf_puts(out, field.value ? "true" : "false");
        else if (field.number == 3)
            fm_buf_printf(out, "%lld", (long long)field.value);
        else if (field.number == 4) {
            double number;
            memcpy(&number, &field.value, sizeof number);
            fm_buf_printf(out, "%g", number);
        } else if (field.number == 5 || field.number == 6) {
            struct pb_field element;
            fm_buf_puts(out, "[");
            while (pb_next(&field.bytes, &element) == FM_OK) {
                if (field.number == 5)
                    otlp_show_value(element.bytes, out);
                struct pb_field part;
                while (field.number == 6 && pb_next(&element.bytes, &part) == FM_OK) {
                    if (part.number == 1)
                        fm_buf_put_slice(out, part.bytes);
                    fm_buf_puts(out, part.number == 1 ? ":" : "");
                    if (part.number == 2)
                        otlp_show_value(part.bytes, out);
                }
                fm_buf_puts(out, ";");
            }
            fm_buf_puts(out, "]");
        }
    }
}

static inline void otlp_show_attributes(struct fm_slice message, uint32_t number,
                                        struct fm_buf *out)
{
    struct pb_field field, part;
    fm_buf_puts(out, "{");
    while (pb_next(&message, &field) == FM_OK) {
        if (field.number != number || field.type != PB_BYTES)
            continue;
        while (pb_next(&field.bytes, &part) == FM_OK) {
            if (part.number == 1) {
                fm_buf_put_slice(out, part.bytes);
                fm_buf_puts(out, "=");
            } else {
                otlp_show_value(part.bytes, out);
            }
        }
        fm_buf_puts(out, ",");
    }
    fm_buf_puts(out, "}");
}

static inline void otlp_show_span(struct fm_slice span, struct fm_buf *out)
{
    struct fm_slice rest = span, name = {0};
    struct pb_field field, part;
    while (pb_next(&rest, &field) == FM_OK) {
        if (field.number == 5)
            name = field.bytes;
    }
    fm_buf_puts(out, " <");
    fm_buf_put_slice(out, name);
    otlp_show_attributes(span, 9, out);
    while (pb_next(&span, &field) == FM_OK) {
        if (field.number == 11 || field.number == 13)
            otlp_show_attributes(field.bytes, field.number == 11 ? 3 : 4, out);
        while (field.number == 15 && pb_next(&field.bytes, &part) == FM_OK) {
            if (part.number == 2)
                fm_buf_put_slice(out, part.bytes);
            else
                fm_buf_printf(out, "!%u", (unsigned)part.value);
        }
    }
    fm_buf_puts(out, ">");
}

/* "R{...} S{...} <name{...}>" */
static inline void otlp_show(struct fm_slice request, struct fm_buf *out)
{
    struct pb_field rs, ss, span;
    fm_buf_reset(out);
    while (pb_next(&request, &rs) == FM_OK) {
        while (pb_next(&rs.bytes, &ss) == FM_OK) {
            if (ss.number == 1) {
                fm_buf_puts(out, "R");
                otlp_show_attributes(ss.bytes, 1, out);
            }
            while (ss.number == 2 && pb_next(&ss.bytes, &span) == FM_OK) {
                if (span.number == 1) {
                    fm_buf_puts(out, " S");
                    otlp_show_attributes(span.bytes, 3, out);
                } else if (span.number == 2) {
                    otlp_show_span(span.bytes, out);
                }
            }
        }
        fm_buf_puts(out, "\n");
    }
    fm_buf_put_u8(out, 0);
}

#endif
