/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of answer share: values and stats in both forms. */
#ifndef ANSWER_INTERNAL_H
#define ANSWER_INTERNAL_H

#include "fermata/answer.h"
#include "fermata/json.h"
#include "fermata/pb.h"

/* ---- JSON ---- */

void answer_json_value(struct json_writer *writer, const struct traceql_value *value);
/* One element of a list of KeyValue. */
void answer_json_attribute(struct json_writer *writer, struct fm_slice name,
                           const struct traceql_value *value);
/* "key": "17", or nothing for 0: how proto3's mapping says a 64-bit number. */
void answer_json_u64(struct json_writer *writer, const char *key, uint64_t value);
void answer_json_u32(struct json_writer *writer, const char *key, uint32_t value);
/* The "metrics" member of everything but names and values. */
void answer_json_stats(struct json_writer *writer, const struct answer_stats *stats);

/* ---- protobuf ---- */

/* Proto3 strings are UTF-8: what is not is repaired. */
void answer_pb_string(struct fm_buf *out, uint32_t number, struct fm_slice text);
/* A field that 0 leaves out. */
void answer_pb_u64(struct fm_buf *out, uint32_t number, uint64_t value);
void answer_pb_double(struct fm_buf *out, uint32_t number, double value);
void answer_pb_attribute(struct fm_buf *out, uint32_t number, struct fm_slice name,
                         const struct traceql_value *value);
void answer_pb_stats(struct fm_buf *out, uint32_t number, const struct answer_stats *stats);

#endif
