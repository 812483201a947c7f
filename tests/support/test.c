/* SPDX-License-Identifier: Apache-2.0 */
/* The shared habits of tests: golden files, prefixes, bit flips, failing allocations. */
#include "test.h"

struct fm_buf test_read_file(const char *path)
{
    char full[512];
    (void)snprintf(full, sizeof full, "tests/%s", path);
    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(256));
    FILE *file = fopen(full, "rb");
    if (!file)
        fail_msg("cannot open %s", full);
    for (;;) {
        uint8_t *room = fm_buf_room(&buf, 65536);
        size_t got = fread(room, 1, 65536, file);
        buf.len += got;
        if (got == 0)
            break;
    }
    fclose(file);
    return buf;
}

struct fm_buf test_hex(const char *hex)
{
    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(1));
    char pair[2];
    size_t have = 0;
    for (; *hex; hex++) {
        if (*hex == ' ' || *hex == '\n')
            continue;
        pair[have++] = *hex;
        if (have == 2) {
            uint8_t byte = 0;
            assert_ok(fm_hex_decode(&byte, 1, fm_slice(pair, 2)));
            fm_buf_put_u8(&buf, byte);
            have = 0;
        }
    }
    assert_int_equal(have, 0);
    return buf;
}

uint8_t *test_exact_copy(struct fm_slice slice)
{
    uint8_t *copy = malloc(slice.len ? slice.len : 1);
    assert_non_null(copy);
    if (slice.len)
        memcpy(copy, slice.ptr, slice.len);
    return copy;
}

void test_each_prefix(struct fm_slice input, void (*body)(void *self, struct fm_slice), void *self)
{
    for (size_t len = 0; len < input.len; len++) {
        uint8_t *copy = test_exact_copy(fm_slice(input.ptr, len));
        body(self, fm_slice(copy, len));
        free(copy);
    }
}

void test_each_bit_flip(struct fm_slice input, void (*body)(void *self, struct fm_slice),
                        void *self)
{
    uint8_t *copy = test_exact_copy(input);
    for (size_t bit = 0; bit < input.len * 8; bit++) {
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        body(self, fm_slice(copy, input.len));
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(copy);
}

/* Every unit test is linked with --wrap for the three, so that a test can make the Nth call of
 * our own code fail. */
static uint64_t alloc_countdown;
static bool alloc_hit;

void test_alloc_fail_at(uint64_t nth)
{
    alloc_countdown = nth;
    alloc_hit = false;
}

bool test_alloc_failed(void)
{
    return alloc_hit;
}

void test_alloc_disarm(void)
{
    alloc_countdown = 0;
}

static bool alloc_must_fail(void)
{
    if (alloc_countdown == 0 || --alloc_countdown != 0)
        return false;
    alloc_hit = true;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

void *__wrap_malloc(size_t size)
{
    return alloc_must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return alloc_must_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    return alloc_must_fail() ? NULL : __real_realloc(ptr, size);
}
