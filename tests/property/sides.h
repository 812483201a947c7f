/* SPDX-License-Identifier: Apache-2.0 */
/* sides - the same spans in all the places where a query may find them. */
#ifndef TESTS_PROPERTY_SIDES_H
#define TESTS_PROPERTY_SIDES_H

#include "model.h"

struct sides;
/* Borrows model.  seed: how the spans are split. */
struct sides *sides_new(const struct model *model, uint64_t seed);
struct sides *sides_free(struct sides *sides);
/* Whether a side says something else than the oracle; tells it if report is not NULL. */
bool sides_differ(struct sides *sides, const struct traceql_query *query, uint64_t *survivors,
                  uint64_t *errors, struct fm_buf *report);

#endif
