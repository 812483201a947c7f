/* SPDX-License-Identifier: Apache-2.0 */
/* value - OTLP AnyValue to the JSON text that Tempo keeps for what its columns cannot hold (maps,
 * bytes, mixed and nested arrays, nothing at all), and back. */
#ifndef BLOCK_VALUE_H
#define BLOCK_VALUE_H

#include "fermata/base.h"

/* Fields of AnyValue. */
enum value_kind {
    VALUE_NONE = 0,
    VALUE_STRING = 1,
    VALUE_BOOL = 2,
    VALUE_INT = 3,
    VALUE_DOUBLE = 4,
    VALUE_ARRAY = 5,
    VALUE_KVLIST = 6,
    VALUE_BYTES = 7,
};
/* The last member of the oneof that is set; VALUE_NONE if there is none. */
struct value {
    enum value_kind kind;
    uint64_t number;       /* BOOL, INT (two's complement), DOUBLE (its bits) */
    struct fm_slice bytes; /* STRING, BYTES; ARRAY, KVLIST: the message's content */
};
FM_MUST int value_read(struct fm_slice any_value, struct value *ret_value);

/* Values nested deeper than this become empty: the JSON reader ends at 64 levels, and a map costs
 * four of them. */
#define VALUE_DEPTH_MAX 15
FM_MUST int value_put_json(struct fm_slice any_value, struct fm_buf *json);
/* Appends the content of the AnyValue message.  FM_EMALFORMED: not such a text. */
FM_MUST int value_from_json(struct fm_slice json, struct fm_buf *any_value);

#endif
