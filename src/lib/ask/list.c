/* SPDX-License-Identifier: Apache-2.0 */
/* list - the names or values of a block as one piece of memory, to be kept and asked instead of the
 * block.  What a block says without a filter depends on nothing but the block and the key: neither
 * on the window (blocks answer whole) nor on the limit (it is put to what is found in all).
 *
 * One after the other: its type, then eight bytes, or a length and a text. */
#include <stdlib.h>

#include "fermata/bytes.h"
#include "internal.h"

struct ask_list {
    size_t len;
    uint32_t counts[ASK_SCOPES]; /* of values, set by set */
    uint8_t bytes[];
};

int ask_list_key(const struct ask *ask, struct fm_buf *key)
{
    const struct traceql_field *field = &ask->field;
    if (ask->has_filter)
        return FM_NONE;
    switch (ask->kind) {
    case ASK_TAG_NAMES:
        fm_buf_put_u8(key, (uint8_t)ask->kind);
        fm_buf_put_u8(key, ask->scopes);
        break;
    case ASK_TAG_VALUES:
        fm_buf_put_u8(key, (uint8_t)ask->kind);
        fm_buf_put_u8(key, (uint8_t)field->scope);
        fm_buf_put_u8(key, (uint8_t)field->intrinsic);
        fm_buf_put_slice(key, field->name);
        break;
    case ASK_SEARCH:
    case ASK_METRICS:
        return FM_NONE;
    }
    return key->failed ? FM_ENOMEM : FM_OK;
}

size_t ask_list_bytes(const struct ask_list *list)
{
    return sizeof *list + list->len;
}

static size_t list_value_bytes(const struct traceql_value *value)
{
    return 1 + (value->type == TRACEQL_STRING ? sizeof(uint32_t) + value->text.len
                                              : sizeof value->integer);
}

static uint8_t *list_put(uint8_t *at, const struct traceql_value *value)
{
    int64_t number = value->type == TRACEQL_BOOL ? value->flag : value->integer;
    uint32_t len = (uint32_t)value->text.len;
    *at++ = (uint8_t)value->type;
    if (value->type != TRACEQL_STRING) {
        memcpy(at, &number, sizeof number); /* of a float its bits */
        return at + sizeof number;
    }
    memcpy(at, &len, sizeof len);
    at += sizeof len;
    if (len)
        memcpy(at, value->text.ptr, len);
    return at + len;
}

static const uint8_t *list_get(const uint8_t *at, struct traceql_value *ret_value)
{
    int64_t number;
    uint32_t len;
    *ret_value = (struct traceql_value){.type = (enum traceql_type) * at++};
    if (ret_value->type != TRACEQL_STRING) {
        memcpy(&number, at, sizeof number);
        if (ret_value->type == TRACEQL_BOOL)
            ret_value->flag = number != 0;
        else
            ret_value->integer = number;
        return at + sizeof number;
    }
    memcpy(&len, at, sizeof len);
    at += sizeof len;
    ret_value->text = fm_slice(at, len);
    return at + len;
}

int ask_list_new(struct ask_list **ret_list, const struct ask_set sets[ASK_SCOPES])
{
    size_t len = 0;
    for (unsigned i = 0; i < ASK_SCOPES; i++) {
        for (uint32_t at = 0; at < sets[i].count; at++)
            len += list_value_bytes(&sets[i].values[at]);
    }
    struct ask_list *list = malloc(sizeof *list + len);
    if (!list)
        return FM_ENOMEM;
    uint8_t *end = list->bytes;
    list->len = len;
    for (unsigned i = 0; i < ASK_SCOPES; i++) {
        list->counts[i] = sets[i].count;
        for (uint32_t at = 0; at < sets[i].count; at++)
            end = list_put(end, &sets[i].values[at]);
    }
    *ret_list = list;
    return FM_OK;
}

int ask_list_add(const struct ask_list *list, struct ask_set sets[ASK_SCOPES])
{
    const uint8_t *next = list->bytes;
    for (unsigned i = 0; i < ASK_SCOPES; i++) {
        for (uint32_t at = 0; at < list->counts[i]; at++) {
            struct traceql_value value;
            next = list_get(next, &value);
            int rc = sets[i].is_full ? FM_NONE : ask_set_add(&sets[i], &value);
            if (rc < 0)
                return rc;
        }
    }
    return FM_OK;
}
