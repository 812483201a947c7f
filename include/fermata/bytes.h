/* SPDX-License-Identifier: Apache-2.0 */
/* bytes - fixed-width loads and stores, hex, base64, UTF-8, intrusive lists.  Part of base. */
#ifndef FERMATA_BYTES_H
#define FERMATA_BYTES_H

#include "fermata/base.h"

#define FM_DEFINE_LOAD_STORE(bits)                                                                 \
    static inline uint##bits##_t fm_load_le##bits(const void *ptr)                                 \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        memcpy(&value, ptr, sizeof value);                                                         \
        return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? value : __builtin_bswap##bits(value);   \
    }                                                                                              \
    static inline uint##bits##_t fm_load_be##bits(const void *ptr)                                 \
    {                                                                                              \
        return __builtin_bswap##bits(fm_load_le##bits(ptr));                                       \
    }                                                                                              \
    static inline void fm_store_le##bits(void *ptr, uint##bits##_t value)                          \
    {                                                                                              \
        if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)                                             \
            value = __builtin_bswap##bits(value);                                                  \
        memcpy(ptr, &value, sizeof value);                                                         \
    }                                                                                              \
    static inline void fm_store_be##bits(void *ptr, uint##bits##_t value)                          \
    {                                                                                              \
        fm_store_le##bits(ptr, __builtin_bswap##bits(value));                                      \
    }
FM_DEFINE_LOAD_STORE(16)
FM_DEFINE_LOAD_STORE(32)
FM_DEFINE_LOAD_STORE(64)

/* Lower-case hex; target gets 2*len bytes and no terminator. */
void fm_hex_encode(char *target, struct fm_slice bytes);
/* Either case.  FM_EMALFORMED unless text is exactly 2*len hex digits. */
FM_MUST int fm_hex_decode(uint8_t *target, size_t len, struct fm_slice text);

/* Standard alphabet with padding. */
void fm_base64_encode(struct fm_buf *buf, struct fm_slice bytes);
/* Standard or URL-safe alphabet, padded or not.  target must hold 3*len/4 bytes. */
FM_MUST int fm_base64_decode(uint8_t *target, size_t *ret_len, struct fm_slice text);

/* Length of the valid UTF-8 prefix (shortest form, no surrogates, up to U+10FFFF). */
size_t fm_utf8_valid_len(struct fm_slice text);
/* Appends text with every maximal invalid subsequence replaced by U+FFFD. */
void fm_utf8_repair(struct fm_buf *buf, struct fm_slice text);

/* Intrusive doubly linked list; a link not in a list points to itself.  Membership is state. */
struct fm_link {
    struct fm_link *next;
    struct fm_link *prev;
};
static inline void fm_list_init(struct fm_link *list)
{
    list->next = list->prev = list;
}
static inline bool fm_list_empty(const struct fm_link *list)
{
    return list->next == list;
}
static inline void fm_list_append(struct fm_link *list, struct fm_link *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}
static inline void fm_list_remove(struct fm_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    fm_list_init(link);
}

/* State machine table: name and the set of legal successors.  fm_sm_move asserts the transition. */
#define FM_TO(state) (UINT32_C(1) << (state))
struct fm_sm_rule {
    const char *name;
    uint32_t to;
};
struct fm_sm {
    const struct fm_sm_rule *rules;
    unsigned state;
};
static inline void fm_sm_move(struct fm_sm *sm, unsigned state)
{
    FM_ASSERT(sm->rules[sm->state].to & FM_TO(state));
    sm->state = state;
}

#endif
