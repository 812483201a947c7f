/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP bytes as a sorted list of texts, one per span, so that two requests can be compared whatever
 * their grouping and order.  What the format does not keep (flags, schema_url) is left out; what
 * it changes by rule (clamped times, zero parents) is changed here as well. */
#ifndef TESTS_BLOCK_NORMAL_H
#define TESTS_BLOCK_NORMAL_H

#include "../../support/test.h"

#include "fermata/pb.h"

struct normal {
    char **lines; /* owned, each owned */
    size_t count, cap;
};

static void normal_value(struct fm_buf *out, struct fm_slice value);

static void normal_pair(struct fm_buf *out, struct fm_slice pair)
{
    struct pb_field field;
    struct fm_slice key = FM_SLICE(""), value = FM_SLICE("");
    while (pb_next(&pair, &field) == FM_OK) {
        if (field.number == 1)
            key = field.bytes;
        if (field.number == 2)
            value = field.bytes;
    }
    fm_utf8_repair(out, key);
    fm_buf_puts(out, "=");
    normal_value(out, value);
}

static int normal_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void normal_add(struct normal *normal, struct fm_buf *line)
{
    if (normal->count == normal->cap) {
        normal->cap = normal->cap ? normal->cap * 2 : 16;
        normal->lines = realloc(normal->lines, normal->cap * sizeof *normal->lines);
    }
    fm_buf_put_u8(line, 0);
    normal->lines[normal->count++] = (char *)fm_take(line->ptr);
}

static void normal_sort(struct normal *normal)
{
    if (normal->count)
        qsort(normal->lines, normal->count, sizeof *normal->lines, normal_compare);
}

static void normal_fini(struct normal *normal)
{
    for (size_t i = 0; i < normal->count; i++)
        free(normal->lines[i]);
    free(normal->lines);
    *normal = (struct normal){0};
}

/* Field number of message, sorted, between brackets. */
static void normal_list(struct fm_buf *out, struct fm_slice message, uint32_t number)
{
    struct normal parts = {0};
    struct pb_field field;
    while (pb_next(&message, &field) == FM_OK) {
        if (field.number != number || field.type != PB_BYTES)
            continue;
        struct fm_buf line;
        fm_buf_init(&line, FM_MIB(64));
        normal_pair(&line, field.bytes);
        /* Tempo's column for the name of the service cannot tell empty from absent. */
        if (fm_slice_equal_text(fm_buf_slice(&line), "service.name=s''"))
            fm_buf_fini(&line);
        else
            normal_add(&parts, &line);
    }
    normal_sort(&parts);
    fm_buf_puts(out, "{");
    for (size_t i = 0; i < parts.count; i++) {
        fm_buf_puts(out, parts.lines[i]);
        fm_buf_puts(out, ";");
    }
    fm_buf_puts(out, "}");
    normal_fini(&parts);
}

static void normal_value(struct fm_buf *out, struct fm_slice value)
{
    struct pb_field field, last = {0};
    while (pb_next(&value, &field) == FM_OK)
        if (field.number <= 7)
            last = field;
    struct fm_slice list = last.bytes;
    switch (last.number) {
    case 1:
        fm_buf_puts(out, "s'");
        fm_utf8_repair(out, last.bytes);
        fm_buf_puts(out, "'");
        break;
    case 2:
        fm_buf_printf(out, "b%d", last.value != 0);
        break;
    case 3:
        fm_buf_printf(out, "i%lld", (long long)last.value);
        break;
    case 4:
        fm_buf_printf(out, "d%016llx", (unsigned long long)last.value);
        break;
    case 5:
        fm_buf_puts(out, "[");
        while (pb_next(&list, &field) == FM_OK) {
            normal_value(out, field.bytes);
            fm_buf_puts(out, ",");
        }
        fm_buf_puts(out, "]");
        break;
    case 6:
        normal_list(out, list, 1);
        break;
    case 7:
        fm_buf_puts(out, "x");
        for (size_t i = 0; i < last.bytes.len; i++)
            fm_buf_printf(out, "%02x", last.bytes.ptr[i]);
        break;
    default:
        fm_buf_puts(out, "null");
        break;
    }
}

static void normal_hex(struct fm_buf *out, struct fm_slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        fm_buf_printf(out, "%02x", bytes.ptr[i]);
    fm_buf_puts(out, "|");
}

/* An event (start_ns: of its span) or a link, by its fields in order of their numbers. */
static void normal_piece(struct fm_buf *out, struct fm_slice piece, bool is_event,
                         uint64_t start_ns)
{
    struct pb_field field;
    struct fm_slice rest = piece, texts[4] = {FM_SLICE(""), FM_SLICE(""), FM_SLICE(""), {0}};
    uint64_t time_ns = 0, dropped = 0;
    while (pb_next(&rest, &field) == FM_OK) {
        if (field.number == 1 && field.type == PB_FIXED64)
            time_ns = field.value;
        else if (field.type == PB_BYTES && field.number <= 3)
            texts[field.number - 1] = field.bytes;
        else if (field.type == PB_VARINT)
            dropped = (uint32_t)field.value;
    }
    if (is_event) {
        fm_buf_printf(out, "event %llu ", (unsigned long long)FM_MAX(time_ns, start_ns));
        fm_utf8_repair(out, texts[1]);
    } else {
        fm_buf_puts(out, "link ");
        normal_hex(out, texts[0]);
        normal_hex(out, texts[1]);
        fm_utf8_repair(out, texts[2]);
    }
    fm_buf_printf(out, " %llu", (unsigned long long)dropped);
    normal_list(out, piece, is_event ? 3 : 4);
}

static void normal_pieces(struct fm_buf *out, struct fm_slice span, uint32_t number,
                          uint64_t start_ns)
{
    struct pb_field field;
    while (pb_next(&span, &field) == FM_OK)
        if (field.number == number)
            normal_piece(out, field.bytes, number == 11, start_ns);
}

static void normal_span(struct fm_buf *out, struct fm_slice span)
{
    static const uint8_t zeros[8];
    struct pb_field field;
    struct fm_slice rest = span, texts[6] = {{0}}, status = FM_SLICE("");
    uint64_t numbers[15] = {0};
    while (pb_next(&rest, &field) == FM_OK) {
        if (field.type == PB_BYTES && field.number <= 5)
            texts[field.number] = field.bytes;
        else if (field.number < 15 && field.type != PB_BYTES)
            numbers[field.number] = field.value;
        else if (field.number == 15)
            status = field.bytes;
    }
    normal_hex(out, texts[1]);
    normal_hex(out, texts[2]);
    if (texts[4].len && memcmp(texts[4].ptr, zeros, 8) != 0)
        normal_hex(out, texts[4]);
    fm_buf_puts(out, "|");
    fm_utf8_repair(out, texts[3]);
    fm_buf_puts(out, "|");
    fm_utf8_repair(out, texts[5]);
    fm_buf_printf(out, "|k%d|%llu|%llu|d%u,%u,%u|", (int)numbers[6], (unsigned long long)numbers[7],
                  (unsigned long long)FM_MAX(numbers[7], numbers[8]), (unsigned)numbers[10],
                  (unsigned)numbers[12], (unsigned)numbers[14]);
    uint64_t code = 0;
    struct fm_slice message = FM_SLICE("");
    while (pb_next(&status, &field) == FM_OK) {
        if (field.number == 2)
            message = field.bytes;
        if (field.number == 3)
            code = field.value;
    }
    fm_buf_printf(out, "status %d ", (int)code);
    fm_utf8_repair(out, message);
    normal_list(out, span, 9);
    normal_pieces(out, span, 11, numbers[7]);
    normal_pieces(out, span, 13, 0);
}

static void normal_scope_spans(struct normal *normal, struct fm_slice scope_spans,
                               struct fm_slice resource)
{
    struct pb_field field;
    struct fm_slice rest = scope_spans, scope = FM_SLICE("");
    struct fm_buf head;
    fm_buf_init(&head, FM_MIB(64));
    while (pb_next(&rest, &field) == FM_OK)
        if (field.number == 1)
            scope = field.bytes;
    fm_buf_puts(&head, "R");
    normal_list(&head, resource, 1);
    uint64_t dropped[2] = {0};
    struct fm_slice name = FM_SLICE(""), version = FM_SLICE("");
    while (pb_next(&resource, &field) == FM_OK)
        if (field.number == 2)
            dropped[0] = field.value;
    fm_buf_puts(&head, "S");
    normal_list(&head, scope, 3);
    while (pb_next(&scope, &field) == FM_OK) {
        if (field.number == 1)
            name = field.bytes;
        else if (field.number == 2)
            version = field.bytes;
        else if (field.number == 4)
            dropped[1] = field.value;
    }
    fm_utf8_repair(&head, name);
    fm_buf_puts(&head, "~");
    fm_utf8_repair(&head, version);
    fm_buf_printf(&head, "~%u~%u", (unsigned)dropped[0], (unsigned)dropped[1]);
    while (pb_next(&scope_spans, &field) == FM_OK) {
        if (field.number != 2)
            continue;
        struct fm_buf line;
        fm_buf_init(&line, FM_MIB(64));
        normal_span(&line, field.bytes);
        fm_buf_put_slice(&line, fm_buf_slice(&head));
        assert_false(line.failed);
        normal_add(normal, &line);
    }
    fm_buf_fini(&head);
}

/* Appends the spans of the request to normal. */
static void normal_request(struct normal *normal, struct fm_slice otlp)
{
    struct pb_field outer, field;
    while (pb_next(&otlp, &outer) == FM_OK) {
        struct fm_slice rest = outer.bytes, resource = FM_SLICE("");
        while (pb_next(&rest, &field) == FM_OK)
            if (field.number == 1)
                resource = field.bytes;
        rest = outer.bytes;
        while (pb_next(&rest, &field) == FM_OK)
            if (field.number == 2)
                normal_scope_spans(normal, field.bytes, resource);
    }
    assert_int_equal(otlp.len, 0);
}

static void normal_assert_equal(struct normal *got, struct normal *wanted)
{
    normal_sort(got);
    normal_sort(wanted);
    for (size_t i = 0; i < got->count && i < wanted->count; i++)
        assert_string_equal(got->lines[i], wanted->lines[i]);
    assert_int_equal(got->count, wanted->count);
}

#endif
