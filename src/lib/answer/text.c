/* SPDX-License-Identifier: Apache-2.0 */
/* Values as text, to the letter of what Go prints: clients compare and parse these strings. */
#include "fermata/answer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"

#define ANSWER_NUMBER_SIZE 40

/* "<whole>.<fraction>" without zeros at the end of the fraction, which is digits long. */
static void text_put_decimal(struct fm_buf *out, uint64_t whole, uint64_t fraction, int digits)
{
    while (digits && fraction % 10 == 0) {
        fraction /= 10;
        digits--;
    }
    fm_buf_printf(out, "%llu", (unsigned long long)whole);
    if (digits)
        fm_buf_printf(out, ".%0*llu", digits, (unsigned long long)fraction);
}

static void text_put_duration(struct fm_buf *out, int64_t value)
{
    uint64_t ns = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint64_t seconds = ns / FM_NS_PER_S;

    if (value < 0)
        fm_buf_put_u8(out, '-');
    if (ns == 0) {
        fm_buf_puts(out, "0s");
    } else if (ns < FM_NS_PER_US) {
        fm_buf_printf(out, "%lluns", (unsigned long long)ns);
    } else if (ns < FM_NS_PER_MS) {
        text_put_decimal(out, ns / FM_NS_PER_US, ns % FM_NS_PER_US, 3);
        fm_buf_puts(out, "\xc2\xb5s"); /* micro sign, not the Greek letter */
    } else if (ns < FM_NS_PER_S) {
        text_put_decimal(out, ns / FM_NS_PER_MS, ns % FM_NS_PER_MS, 6);
        fm_buf_puts(out, "ms");
    } else {
        if (seconds >= 3600)
            fm_buf_printf(out, "%lluh", (unsigned long long)(seconds / 3600));
        if (seconds >= 60)
            fm_buf_printf(out, "%llum", (unsigned long long)(seconds / 60 % 60));
        text_put_decimal(out, seconds % 60, ns % FM_NS_PER_S, 9);
        fm_buf_puts(out, "s");
    }
}

/* Fewest digits that read back; an exponent below 1e-4 and from 1e6 on; never without a point or an
 * exponent, so that it cannot be taken for an integer. */
static void text_put_float(struct fm_buf *out, double value)
{
    char text[ANSWER_NUMBER_SIZE];
    int count = 0;

    if (isnan(value) || isinf(value)) {
        /* These have neither: the suffix is what follows from the rule. */
        fm_buf_puts(out, isnan(value) ? "NaN.0" : value < 0 ? "-Inf.0" : "+Inf.0");
        return;
    }
    for (int precision = 1; precision <= 17; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    const char *exponent_text = strchr(text, 'e');
    int exponent = (int)strtol(exponent_text + 1, NULL, 10);
    if (exponent < -4 || exponent >= 6) {
        fm_buf_puts(out, text);
        return;
    }
    for (const char *from = text; from < exponent_text; from++)
        count += *from >= '0' && *from <= '9';
    (void)snprintf(text, sizeof text, "%.*f", FM_MAX(count - 1 - exponent, 1), value);
    fm_buf_puts(out, text);
}

static const char *text_of_status(int64_t status)
{
    static const char *const names[] = {"unset", "ok", "error"};

    return status >= 0 && status < (int64_t)FM_COUNT(names) ? names[status] : NULL;
}

static const char *text_of_kind(int64_t kind)
{
    static const char *const names[] = {"unspecified", "internal", "server",
                                        "client",      "producer", "consumer"};

    return kind >= 0 && kind < (int64_t)FM_COUNT(names) ? names[kind] : NULL;
}

static void text_put_keyword(struct fm_buf *out, const char *name, const char *what, int64_t number)
{
    if (name)
        fm_buf_puts(out, name);
    else
        fm_buf_printf(out, "%s(%lld)", what, (long long)number);
}

static void text_put_scalar(const struct traceql_value *value, struct fm_buf *out)
{
    switch (value->type) {
    case TRACEQL_INT:
        fm_buf_printf(out, "%lld", (long long)value->integer);
        break;
    case TRACEQL_FLOAT:
        text_put_float(out, value->number);
        break;
    case TRACEQL_STRING:
        fm_buf_put_slice(out, value->text);
        break;
    case TRACEQL_BOOL:
        fm_buf_puts(out, value->flag ? "true" : "false");
        break;
    case TRACEQL_DURATION:
        text_put_duration(out, value->integer);
        break;
    case TRACEQL_STATUS:
        text_put_keyword(out, text_of_status(value->integer), "status", value->integer);
        break;
    case TRACEQL_KIND:
        text_put_keyword(out, text_of_kind(value->integer), "kind", value->integer);
        break;
    default:
        fm_buf_puts(out, "nil");
    }
}

void answer_put_text(const struct traceql_value *value, struct fm_buf *out)
{
    if (value->type != TRACEQL_ARRAY) {
        text_put_scalar(value, out);
        return;
    }
    fm_buf_put_u8(out, '[');
    for (uint32_t i = 0; i < value->element_count; i++) {
        const struct traceql_value *element = &value->elements[i];
        if (i)
            fm_buf_puts(out, ", ");
        if (element->type == TRACEQL_STRING)
            fm_buf_put_u8(out, '`');
        text_put_scalar(element, out);
        if (element->type == TRACEQL_STRING)
            fm_buf_put_u8(out, '`');
    }
    fm_buf_put_u8(out, ']');
}
