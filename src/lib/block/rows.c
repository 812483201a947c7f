/* SPDX-License-Identifier: Apache-2.0 */
/* Reading rows; add.c writes them. */
#include "rows.h"

void row_read(const uint8_t *ptr, uint64_t base_ns, struct row *ret_row)
{
    uint64_t number;
    ptr = row_get(ptr, &number);
    unsigned flags = ptr[0], kinds = ptr[1];
    ret_row->flags = (uint8_t)flags;
    ret_row->kind = kinds & 15;
    ret_row->status = kinds >> 4;
    ret_row->id = ptr + 2;
    ptr += 10;
    ret_row->parent = flags & ROW_PARENT ? ptr : NULL;
    ptr += flags & ROW_PARENT ? 8 : 0;
    ptr = row_get_u32(ptr, &ret_row->trace);
    ptr = row_get_u32(ptr, &ret_row->group);
    ptr = row_get(ptr, &number);
    ret_row->start_ns = base_ns + (uint64_t)row_unzigzag(number);
    ptr = row_get(ptr, &ret_row->duration_ns);
    ptr = row_get_u32(ptr, &ret_row->name);
    ret_row->state = ret_row->message = 0;
    if (flags & ROW_STATE)
        ptr = row_get_u32(ptr, &ret_row->state);
    if (flags & ROW_MESSAGE)
        ptr = row_get_u32(ptr, &ret_row->message);
    ret_row->dropped_attributes = ret_row->dropped_events = ret_row->dropped_links = 0;
    if (flags & ROW_DROPPED) {
        ptr = row_get_u32(ptr, &ret_row->dropped_attributes);
        ptr = row_get_u32(ptr, &ret_row->dropped_events);
        ptr = row_get_u32(ptr, &ret_row->dropped_links);
    }
    if (flags & ROW_ODD) {
        ptr = row_get(ptr, &number);
        ret_row->kind = row_unzigzag(number);
        ptr = row_get(ptr, &number);
        ret_row->status = row_unzigzag(number);
    }
    ptr = row_get_u32(ptr, &ret_row->shape);
    ret_row->tail = NULL;
    if (flags & (ROW_EVENTS | ROW_LINKS)) {
        ptr = row_get(ptr, &number);
        ret_row->tail = ptr + number;
    }
    ret_row->values = ptr;
}
