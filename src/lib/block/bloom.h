/* SPDX-License-Identifier: Apache-2.0 */
/* bloom - building the objects that bloom_test reads. */
#ifndef BLOCK_BLOOM_H
#define BLOCK_BLOOM_H

#include "fermata/block.h"

struct bloom_shape {
    uint32_t shard_count;
    uint32_t hash_count;
    uint64_t bit_count; /* of one shard */
};
struct bloom_shape bloom_shape_for(uint64_t id_count, double false_positive);
size_t bloom_object_bytes(const struct bloom_shape *shape);
void bloom_object_init(const struct bloom_shape *shape, uint8_t *object);
void bloom_object_add(const struct bloom_shape *shape, uint8_t *object, const struct trace_id *id);

#endif
