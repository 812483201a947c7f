/* SPDX-License-Identifier: Apache-2.0 */
/* Requests encoded by protoc from OTLP's own schema (v1.11). */
#ifndef TESTS_DECODE_VECTORS_H
#define TESTS_DECODE_VECTORS_H

#include "../../support/test.h"

/* Hex to bytes; "(...)" is its content with the length in front: "0a(08 01)" is 0a 02 08 01. */
static inline struct fm_buf vector_bytes(const char *text)
{
    struct fm_buf stack[16];
    size_t depth = 0;

    fm_buf_init(&stack[0], FM_MIB(1));
    for (; *text; text++) {
        uint8_t byte;
        if (*text == ' ')
            continue;
        if (*text == '(') {
            fm_buf_init(&stack[++depth], FM_MIB(1));
        } else if (*text == ')') {
            struct fm_buf inner = stack[depth--];
            if (inner.len >= 128)
                fm_buf_put_u8(&stack[depth], (uint8_t)(inner.len | 0x80));
            fm_buf_put_u8(&stack[depth], (uint8_t)(inner.len >= 128 ? inner.len >> 7 : inner.len));
            fm_buf_put_slice(&stack[depth], fm_buf_slice(&inner));
            fm_buf_fini(&inner);
        } else {
            assert_ok(fm_hex_decode(&byte, 1, fm_slice(text, 2)));
            fm_buf_put_u8(&stack[depth], byte);
            text++;
        }
    }
    assert_int_equal(depth, 0);
    return stack[0];
}

/* service.name=svc; one span "op", SERVER, flags 0x101; 89 bytes. */
#define VECTOR_A1                                                                                  \
    "0a570a170a150a0c736572766963652e6e616d6512050a03737663123c123a0a105b8efff798038103"           \
    "d269b633813fc60c1208eee19b7ec3c1b1742a026f70300239004859e3faeb6f15410012f41efbeb6f"           \
    "15850101010000"

/* Every field in use; 336 bytes. */
#define VECTOR_A2                                                                                  \
    "0acd020a190a150a0c736572766963652e6e616d6512050a03737663100112ab020a130a036c696212"           \
    "01311a070a0161120210002002128f020a105b8efff798038103d269b633813fc60c1208eee19b7ec3"           \
    "c1b1741a03613d312208eee19b7ec3c1b1732a026f7030033901000000000000004102000000000000"           \
    "004a080a017312030a01764a070a0162120210014a100a0169120b18ffffffffffffffffff014a0e0a"           \
    "0164120921000000000000f83f4a050a016512004a090a017912043a0200ff4a0e0a017212092a070a"           \
    "030a01780a004a100a016b120b32090a070a016e1202180750035a1809010000000000000012026576"           \
    "1a070a016112021801200460056a310a105b8efff798038103d269b633813fc60d1208eee19b7ec3c1"           \
    "b1721a03623d3222070a016c12020a002806350103000070077a081204626f6f6d18028501010100001"          \
    "a0273321a027331"

#endif
