/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of JSON as values: integers are read exactly, without a detour over double. */
#include "fermata/json.h"

#include <math.h>
#include <stdlib.h>

#define JSON_DOUBLE_TEXT_MAX 1100 /* the longest exact double has 1075 digits */

/* A decimal number: digits of the integer and the fraction part, and where the point goes. */
struct json_decimal {
    bool negative;
    struct fm_slice whole;
    struct fm_slice fraction;
    int64_t exponent;
};

static size_t json_digit_run(struct fm_slice text, size_t i)
{
    while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9')
        i++;
    return i;
}

static int json_decimal_exponent(struct fm_slice text, int64_t *ret_exponent)
{
    size_t i = text.len && (text.ptr[0] == '-' || text.ptr[0] == '+');
    int64_t exponent = 0;

    if (i == text.len)
        return FM_EMALFORMED;
    for (size_t j = i; j < text.len; j++) {
        if (text.ptr[j] < '0' || text.ptr[j] > '9')
            return FM_EMALFORMED;
        /* Far beyond any document's length: more makes no difference. */
        if (exponent < INT64_C(1000000000000))
            exponent = exponent * 10 + (text.ptr[j] - '0');
    }
    *ret_exponent = i && text.ptr[0] == '-' ? -exponent : exponent;
    return FM_OK;
}

static int json_decimal_parse(struct fm_slice text, struct json_decimal *ret_decimal)
{
    struct json_decimal decimal = {.negative = text.len && text.ptr[0] == '-'};
    size_t start = decimal.negative, i = json_digit_run(text, start);

    if (i == start)
        return FM_EMALFORMED;
    decimal.whole = fm_slice(text.ptr + start, i - start);
    if (i < text.len && text.ptr[i] == '.') {
        start = ++i;
        i = json_digit_run(text, i);
        if (i == start)
            return FM_EMALFORMED;
        decimal.fraction = fm_slice(text.ptr + start, i - start);
    }
    if (i < text.len) {
        if ((text.ptr[i] | 0x20) != 'e')
            return FM_EMALFORMED;
        struct fm_slice rest = fm_slice(text.ptr + i + 1, text.len - i - 1);
        int rc = json_decimal_exponent(rest, &decimal.exponent);
        if (rc < 0)
            return rc;
    }
    *ret_decimal = decimal;
    return FM_OK;
}

/* The magnitude, if the number is integral and fits. */
static int json_decimal_integer(const struct json_decimal *decimal, uint64_t *ret_value)
{
    size_t count = decimal->whole.len + decimal->fraction.len;
    int64_t point = (int64_t)decimal->whole.len + decimal->exponent; /* digits before it */
    uint64_t value = 0;

    for (size_t i = 0; i < count; i++) {
        uint8_t digit = i < decimal->whole.len ? decimal->whole.ptr[i]
                                               : decimal->fraction.ptr[i - decimal->whole.len];
        digit -= '0';
        if ((int64_t)i >= point) {
            if (digit)
                return FM_EMALFORMED;
        } else if (__builtin_mul_overflow(value, 10u, &value) ||
                   __builtin_add_overflow(value, digit, &value)) {
            return FM_EMALFORMED;
        }
    }
    for (int64_t i = (int64_t)count; value && i < point; i++) {
        if (__builtin_mul_overflow(value, 10u, &value))
            return FM_EMALFORMED;
    }
    *ret_value = value;
    return FM_OK;
}

static int json_integer(const struct json_token *token, bool *ret_negative, uint64_t *ret_value)
{
    struct json_decimal decimal;

    if (token->kind != JSON_NUMBER && token->kind != JSON_STRING)
        return FM_EMALFORMED;
    int rc = json_decimal_parse(token->text, &decimal);
    if (rc < 0)
        return rc;
    *ret_negative = decimal.negative;
    return json_decimal_integer(&decimal, ret_value);
}

int json_u64(const struct json_token *token, uint64_t *ret_value)
{
    bool negative;
    uint64_t value;
    int rc = json_integer(token, &negative, &value);
    if (rc < 0)
        return rc;
    if (negative && value)
        return FM_EMALFORMED;
    *ret_value = value;
    return FM_OK;
}

int json_i64(const struct json_token *token, int64_t *ret_value)
{
    bool negative;
    uint64_t value;
    int rc = json_integer(token, &negative, &value);
    if (rc < 0)
        return rc;
    if (value > (uint64_t)INT64_MAX + negative)
        return FM_EMALFORMED;
    *ret_value = (int64_t)(negative ? 0 - value : value);
    return FM_OK;
}

int json_double(const struct json_token *token, double *ret_value)
{
    struct json_decimal decimal;
    char text[JSON_DOUBLE_TEXT_MAX + 1];

    if (token->kind != JSON_NUMBER && token->kind != JSON_STRING)
        return FM_EMALFORMED;
    if (token->kind == JSON_STRING && fm_slice_equal_text(token->text, "NaN"))
        return *ret_value = (double)NAN, FM_OK;
    if (token->kind == JSON_STRING && fm_slice_equal_text(token->text, "Infinity"))
        return *ret_value = (double)INFINITY, FM_OK;
    if (token->kind == JSON_STRING && fm_slice_equal_text(token->text, "-Infinity"))
        return *ret_value = (double)-INFINITY, FM_OK;
    if (token->text.len > JSON_DOUBLE_TEXT_MAX || json_decimal_parse(token->text, &decimal) < 0)
        return FM_EMALFORMED;
    memcpy(text, token->text.ptr, token->text.len);
    text[token->text.len] = 0;
    double value = strtod(text, NULL);
    if (isinf(value))
        return FM_EMALFORMED;
    *ret_value = value;
    return FM_OK;
}
