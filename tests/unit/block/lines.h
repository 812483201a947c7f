/* SPDX-License-Identifier: Apache-2.0 */
/* What a source of frames says, span by span, as a sorted list of texts: two sources of the same
 * spans say the same, whatever their frames, tables and order. */
#ifndef TESTS_BLOCK_LINES_H
#define TESTS_BLOCK_LINES_H

#include "../../support/test.h"

#include "fermata/frame.h"

#define LINES_FIELDS_MAX 160

struct lines {
    char **texts; /* owned, each owned */
    size_t count, cap;
};

__attribute__((unused)) static void lines_add(struct lines *lines, struct fm_slice text)
{
    if (lines->count == lines->cap) {
        lines->cap = lines->cap ? lines->cap * 2 : 64;
        lines->texts = realloc(lines->texts, lines->cap * sizeof *lines->texts);
        assert_non_null(lines->texts);
    }
    char *copy = malloc(text.len + 1);
    assert_non_null(copy);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    lines->texts[lines->count++] = copy;
}

static int lines_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

__attribute__((unused)) static void lines_sort(struct lines *lines)
{
    if (lines->count)
        qsort(lines->texts, lines->count, sizeof *lines->texts, lines_compare);
}

__attribute__((unused)) static void lines_unique(struct lines *lines)
{
    size_t kept = 0;
    lines_sort(lines);
    for (size_t i = 0; i < lines->count; i++) {
        if (kept && strcmp(lines->texts[kept - 1], lines->texts[i]) == 0)
            free(lines->texts[i]);
        else
            lines->texts[kept++] = lines->texts[i];
    }
    lines->count = kept;
}

__attribute__((unused)) static void lines_fini(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->texts[i]);
    free(lines->texts);
    *lines = (struct lines){0};
}

__attribute__((unused)) static void lines_assert_equal(const struct lines *got,
                                                       const struct lines *wanted)
{
    for (size_t i = 0; i < got->count && i < wanted->count; i++)
        assert_string_equal(got->texts[i], wanted->texts[i]);
    assert_int_equal(got->count, wanted->count);
}

/* lines are sorted */
__attribute__((unused)) static void lines_assert_has(const struct lines *lines, char *text)
{
    if (!bsearch(&text, lines->texts, lines->count, sizeof text, lines_compare))
        fail_msg("missing: %s", text);
}

/* ---- fields ---- */

struct lines_fields {
    struct traceql_field fields[LINES_FIELDS_MAX];
    uint32_t count;
    char names[LINES_FIELDS_MAX][64];
};

static const enum traceql_scope lines_scopes[] = {TRACEQL_SPAN, TRACEQL_RESOURCE, TRACEQL_EVENT,
                                                  TRACEQL_LINK, TRACEQL_INSTRUMENTATION};

__attribute__((unused)) static void lines_want(struct lines_fields *fields,
                                               enum traceql_scope scope, struct fm_slice name)
{
    struct traceql_field field = {.intrinsic = TRACEQL_ATTRIBUTE, .scope = scope, .name = name};
    for (uint32_t i = 0; i < fields->count; i++)
        if (frame_field_equal(&fields->fields[i], &field))
            return;
    assert_true(fields->count < LINES_FIELDS_MAX && name.len < 64);
    if (name.len)
        memcpy(fields->names[fields->count], name.ptr, name.len);
    field.name = fm_slice(fields->names[fields->count], name.len);
    fields->fields[fields->count++] = field;
}

/* What depends on the order of a trace's spans: which root is the last, numbers of the tree. */
static bool lines_is_ordered(enum traceql_intrinsic intrinsic)
{
    return intrinsic == TRACEQL_ROOT_NAME || intrinsic == TRACEQL_ROOT_SERVICE ||
           intrinsic == TRACEQL_NESTED_LEFT || intrinsic == TRACEQL_NESTED_RIGHT ||
           intrinsic == TRACEQL_NESTED_PARENT;
}

/* What every source has: all but the count of children, which a block does not store. */
__attribute__((unused)) static void lines_want_intrinsics(struct lines_fields *fields,
                                                          bool with_ordered)
{
    for (unsigned i = TRACEQL_ATTRIBUTE + 1; i <= TRACEQL_TRACE_START; i++) {
        struct traceql_field field = {.intrinsic = (enum traceql_intrinsic)i};
        if (i != TRACEQL_CHILD_COUNT && (with_ordered || !lines_is_ordered(field.intrinsic)))
            fields->fields[fields->count++] = field;
    }
}

/* ---- values ---- */

__attribute__((unused)) static void lines_put_value(struct fm_buf *out,
                                                    const struct traceql_value *value)
{
    uint64_t bits;
    switch (value->type) {
    case TRACEQL_NIL:
        fm_buf_puts(out, "nil");
        break;
    case TRACEQL_FLOAT:
        memcpy(&bits, &value->number, sizeof bits);
        fm_buf_printf(out, "d%016llx", (unsigned long long)bits);
        break;
    case TRACEQL_STRING:
        fm_buf_puts(out, "'");
        fm_buf_put_slice(out, value->text);
        fm_buf_puts(out, "'");
        break;
    case TRACEQL_BOOL:
        fm_buf_printf(out, "b%d", value->flag);
        break;
    case TRACEQL_ARRAY:
        assert_true(value->element_count > 1);
        fm_buf_puts(out, "[");
        for (uint32_t i = 0; i < value->element_count; i++) {
            assert_int_not_equal(value->elements[i].type, TRACEQL_ARRAY);
            lines_put_value(out, &value->elements[i]);
            fm_buf_puts(out, ",");
        }
        fm_buf_puts(out, "]");
        break;
    default:
        fm_buf_printf(out, "%u:%lld", (unsigned)value->type, (long long)value->integer);
        break;
    }
}

struct lines_reader {
    struct frame_source *source;
    const struct lines_fields *fields;
    struct frame frame;
    struct frame_vector vectors[LINES_FIELDS_MAX];
    struct fm_buf line;
};

/* What the fields of a domain are of one of its entries. */
static void lines_put_entry(struct lines_reader *reader, enum frame_domain domain, uint32_t entry)
{
    struct fm_buf *line = &reader->line;
    fm_buf_printf(line, "%u{", (unsigned)domain);
    for (uint32_t i = 0; i < reader->fields->count; i++) {
        const struct traceql_field *field = &reader->fields->fields[i];
        const struct frame_vector *vector = &reader->vectors[i];
        struct traceql_value value = {.type = TRACEQL_NIL};
        if (frame_field_domain(field) != domain)
            continue;
        assert_int_equal(vector->domain, domain);
        assert_int_equal(vector->count, reader->frame.count[domain]);
        assert_true(entry < vector->count);
        if (vector->shape == FRAME_INTEGERS)
            value =
                (struct traceql_value){.type = vector->type, .integer = vector->integers[entry]};
        if (vector->shape == FRAME_CODES) {
            assert_true(vector->codes[entry] < vector->values->count);
            assert_true(vector->values->serial != 0);
            value = vector->values->values[vector->codes[entry]];
        }
        if (field->intrinsic == TRACEQL_ATTRIBUTE && value.type == TRACEQL_NIL)
            continue;
        fm_buf_printf(line, "%u.", (unsigned)field->intrinsic);
        fm_buf_put_slice(line, field->name);
        fm_buf_puts(line, "=");
        lines_put_value(line, &value);
        fm_buf_puts(line, ";");
    }
    fm_buf_puts(line, "}");
}

static void lines_put_pieces(struct lines_reader *reader, enum frame_domain domain,
                             const uint32_t *offsets, uint32_t span)
{
    for (uint32_t i = offsets ? offsets[span] : 0; offsets && i < offsets[span + 1]; i++)
        lines_put_entry(reader, domain, i);
}

/* Every span of the frame's wanted traces as a line. */
static void lines_put_frame(struct lines_reader *reader, const uint8_t *wanted, struct lines *lines)
{
    const struct frame *frame = &reader->frame;
    assert_true(frame->count[FRAME_SPAN] > 0);
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++) {
        for (uint32_t i = frame->trace_spans[t]; i < frame->trace_spans[t + 1]; i++) {
            char id[33];
            if (wanted && !wanted[t])
                continue;
            fm_buf_reset(&reader->line);
            trace_id_print(&frame->trace_ids[t], id);
            fm_buf_puts(&reader->line, id);
            lines_put_entry(reader, FRAME_SPAN, i);
            lines_put_entry(reader, FRAME_TRACE, t);
            lines_put_entry(reader, FRAME_RESOURCE, frame->span_resources[i]);
            lines_put_entry(reader, FRAME_SCOPE, frame->span_scopes[i]);
            lines_put_pieces(reader, FRAME_EVENT, frame->span_events, i);
            lines_put_pieces(reader, FRAME_LINK, frame->span_links, i);
            assert_false(reader->line.failed);
            lines_add(lines, fm_buf_slice(&reader->line));
        }
    }
    assert_int_equal(frame->trace_spans[frame->count[FRAME_TRACE]], frame->count[FRAME_SPAN]);
}

/* Reads source to its end.  With a seed, only some traces are asked for, these first, then all. */
__attribute__((unused)) static int lines_read(struct frame_source *source,
                                              const struct lines_fields *fields, uint64_t seed,
                                              struct lines *lines, struct fm_why *why)
{
    struct lines_reader *reader = calloc(1, sizeof *reader);
    struct lines some = {0};
    int rc;
    assert_non_null(reader);
    reader->source = source;
    reader->fields = fields;
    fm_buf_init(&reader->line, FM_MIB(64));
    while ((rc = frame_next(source, &reader->frame, why)) == FM_OK) {
        uint8_t *wanted = calloc(reader->frame.count[FRAME_TRACE], 1);
        assert_non_null(wanted);
        for (uint32_t i = 0; i < reader->frame.count[FRAME_TRACE]; i++)
            wanted[i] = fm_random_next(&seed) & 1;
        for (uint32_t i = 0; i < fields->count && seed && rc == FM_OK; i++)
            rc = frame_vector(source, i, wanted, &reader->vectors[i], why);
        if (rc == FM_OK && seed)
            lines_put_frame(reader, wanted, &some);
        for (uint32_t i = 0; i < fields->count && rc == FM_OK; i++)
            rc = frame_vector(source, i, NULL, &reader->vectors[i], why);
        if (rc == FM_OK)
            lines_put_frame(reader, NULL, lines);
        free(wanted);
        if (rc != FM_OK)
            break;
    }
    fm_buf_fini(&reader->line);
    free(reader);
    lines_unique(&some);
    lines_sort(lines);
    for (size_t i = 0; i < some.count && rc == FM_END; i++)
        lines_assert_has(lines, some.texts[i]);
    lines_fini(&some);
    return rc;
}

#endif
