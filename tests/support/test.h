/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes: cmocka and the habits shared by all decoders. */
#ifndef TESTS_SUPPORT_TEST_H
#define TESTS_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "fermata/base.h"
#include "fermata/bytes.h"
#include "fermata/hash.h"

#define assert_ok(expression) assert_int_equal((expression), FM_OK)

/* The content of a file below tests/ (path relative to it), owned by the caller; fails the test if
 * it cannot be read.  Tests run from the top of the tree. */
struct fm_buf test_read_file(const char *path);
/* Lower-case hex, blanks ignored, to bytes. */
struct fm_buf test_hex(const char *hex);
/* A copy on the heap of exactly len bytes, so that AddressSanitizer sees one byte too many. */
uint8_t *test_exact_copy(struct fm_slice slice);

/* truncate: body is called with every proper prefix of input (exact-size copy).
 * bit-flip: with every single-bit change of input.  It asserts for itself. */
void test_each_prefix(struct fm_slice input, void (*body)(void *self, struct fm_slice), void *self);
void test_each_bit_flip(struct fm_slice input, void (*body)(void *self, struct fm_slice),
                        void *self);

/* fail-Nth: while armed, the nth call (1 = next) of malloc, calloc or realloc fails, once.
 * test_alloc_failed() says whether it was reached. */
void test_alloc_fail_at(uint64_t nth);
bool test_alloc_failed(void);
void test_alloc_disarm(void);

#endif
