/* SPDX-License-Identifier: Apache-2.0 */
/* base - the vocabulary every other file speaks: results, slices, arenas, buffers, byte sources.
 *
 * Results: 0 done; negative = failure, forwarded untouched; positive = an outcome that the direct
 * caller handles and never forwards.  Outputs named ret_x are written only on FM_OK (or on the
 * positive outcome documented at the prototype).
 */
#ifndef FERMATA_BASE_H
#define FERMATA_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* name, retryable (trying the same thing again later can help), text */
#define FM_ERRORS(X)                                                                               \
    X(NOMEM, true, "out of memory")                                                                \
    X(IO, true, "input/output error")                                                              \
    X(NOSPACE, true, "no space left")                                                              \
    X(TIMEOUT, true, "deadline exceeded")                                                          \
    X(UNAVAILABLE, true, "temporarily unavailable")                                                \
    X(CLOSED, true, "connection or object is closed")                                              \
    X(MALFORMED, false, "input violates its format")                                               \
    X(LIMIT, false, "input exceeds a configured limit")                                            \
    X(CORRUPT, false, "stored data fails its check")                                               \
    X(UNSUPPORTED, false, "not supported")                                                         \
    X(EXISTS, false, "already exists")                                                             \
    X(NOTFOUND, false, "not found")                                                                \
    X(DENIED, false, "permission denied")                                                          \
    X(CONFIG, false, "bad configuration")                                                          \
    X(USAGE, false, "wrong usage")                                                                 \
    X(CANCELLED, false, "cancelled")

enum fm_error_index {
#define X(name, retryable, text) FM_INDEX_##name,
    FM_ERRORS(X)
#undef X
};

enum fm_rc {
    FM_OK = 0,
    FM_MORE = 1, /* everything given was consumed; feed again */
    FM_END = 2,  /* regular end of a sequence */
    FM_NONE = 3, /* looked for and not there */
#define X(name, retryable, text) FM_E##name = -1 - FM_INDEX_##name,
    FM_ERRORS(X)
#undef X
};

const char *fm_rc_text(int rc);
bool fm_rc_retryable(int rc);

#define FM_MUST                         __attribute__((warn_unused_result))
#define FM_PRINTF(format_index, first)  __attribute__((format(printf, format_index, first)))
#define FM_LIKELY(x)                    __builtin_expect(!!(x), 1)
#define FM_UNLIKELY(x)                  __builtin_expect(!!(x), 0)
#define FM_COUNT(array)                 (sizeof(array) / sizeof((array)[0]))
#define FM_CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define FM_MIN(a, b)                    ((a) < (b) ? (a) : (b))
#define FM_MAX(a, b)                    ((a) > (b) ? (a) : (b))
#define FM_KIB(n)                       ((size_t)(n) << 10)
#define FM_MIB(n)                       ((size_t)(n) << 20)

/* Invariants of our own code; on in production.  Never for input. */
#define FM_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (FM_UNLIKELY(!(condition)))                                                             \
            fm_panic(#condition, __FILE__, __LINE__);                                              \
    } while (0)
_Noreturn void fm_panic(const char *condition, const char *file, int line);

/* Moves a pointer out and nulls the source: the only way to give away ownership. */
#define fm_take(lvalue)                                                                            \
    ({                                                                                             \
        __typeof__(lvalue) taken_ = (lvalue);                                                      \
        (lvalue) = NULL;                                                                           \
        taken_;                                                                                    \
    })

/* FM_AUTO(x) p = NULL; frees p by x_free() at the end of the scope. */
#define FM_AUTO(type) __attribute__((cleanup(type##_freep))) struct type *
#define FM_DEFINE_AUTO(type)                                                                       \
    static inline void type##_freep(struct type **owner)                                           \
    {                                                                                              \
        *owner = type##_free(*owner);                                                              \
    }

/* Why something failed, for a human.  Filled only on failure; a NULL why is allowed everywhere. */
struct fm_why {
    char text[320];
};
/* Sets the text and returns rc; a failure is one line: return fm_fail(why, FM_EX, "..."). */
int fm_fail(struct fm_why *why, int rc, const char *format, ...) FM_PRINTF(3, 4);
/* Prefixes the text with "format: " on the way up and returns rc. */
int fm_wrap(struct fm_why *why, int rc, const char *format, ...) FM_PRINTF(3, 4);

/* Borrowed bytes.  By value; never owns. */
struct fm_slice {
    const uint8_t *ptr;
    size_t len;
};
#define FM_SLICE(literal) ((struct fm_slice){(const uint8_t *)(literal), sizeof(literal) - 1})
static inline struct fm_slice fm_slice(const void *ptr, size_t len)
{
    return (struct fm_slice){ptr, len};
}
struct fm_slice fm_slice_text(const char *text);
bool fm_slice_equal(struct fm_slice a, struct fm_slice b);
bool fm_slice_equal_text(struct fm_slice a, const char *text);
bool fm_slice_equal_nocase(struct fm_slice a, const char *lower); /* ASCII; lower is lower case */
int fm_slice_compare(struct fm_slice a, struct fm_slice b);       /* bytewise, then by length */

/* Bump allocator: bytes that die together live together.  Allocation past the limit or without
 * memory returns NULL and the arena stays failed; check fm_arena_failed() once, or each pointer.
 * Memory is 16-byte aligned and not zeroed (fm_arena_zalloc is). */
struct fm_arena_chunk;
struct fm_arena {
    struct fm_arena_chunk *chunk; /* owned, newest first */
    size_t used_bytes;            /* sum of chunk sizes */
    size_t bytes_max;
    bool failed;
};
void fm_arena_init(struct fm_arena *arena, size_t bytes_max);
void fm_arena_fini(struct fm_arena *arena);
void fm_arena_reset(struct fm_arena *arena); /* empty; keeps one chunk */
void *fm_arena_alloc(struct fm_arena *arena, size_t size);
void *fm_arena_zalloc(struct fm_arena *arena, size_t size);
void *fm_arena_dup(struct fm_arena *arena, const void *ptr, size_t len);
struct fm_slice fm_slice_dup(struct fm_arena *arena, struct fm_slice slice);
static inline bool fm_arena_failed(const struct fm_arena *arena)
{
    return arena->failed;
}

/* Growable bytes, owned, with a limit and a sticky error: put freely, check failed once. */
struct fm_buf {
    uint8_t *ptr; /* owned */
    size_t len;
    size_t cap;
    size_t bytes_max;
    bool failed;
};
void fm_buf_init(struct fm_buf *buf, size_t bytes_max);
void fm_buf_fini(struct fm_buf *buf);
void fm_buf_reset(struct fm_buf *buf); /* len = 0, keeps memory, clears failed */
/* Room for len more bytes behind ptr + buf->len, or NULL: failed. */
uint8_t *fm_buf_room(struct fm_buf *buf, size_t len);
void fm_buf_put(struct fm_buf *buf, const void *ptr, size_t len);
void fm_buf_put_slice(struct fm_buf *buf, struct fm_slice slice);
void fm_buf_puts(struct fm_buf *buf, const char *text);
void fm_buf_put_u8(struct fm_buf *buf, uint8_t value);
void fm_buf_put_zeros(struct fm_buf *buf, size_t len);
void fm_buf_printf(struct fm_buf *buf, const char *format, ...) FM_PRINTF(2, 3);
void fm_buf_consume(struct fm_buf *buf, size_t len); /* drops the first len bytes (memmove) */
static inline struct fm_slice fm_buf_slice(const struct fm_buf *buf)
{
    return (struct fm_slice){buf->ptr, buf->len};
}

/* Random access bytes: a file, memory, a range request.  read_at fills all of len or fails. */
struct fm_source {
    int (*read_at)(void *self, uint64_t offset, void *target, size_t len);
    void *self;
    uint64_t size;
};
struct fm_source fm_source_memory(const struct fm_slice *slice); /* borrows *slice */

/* Append-only bytes.  All of slice is taken or the sink fails. */
struct fm_sink {
    int (*write)(void *self, struct fm_slice slice);
    void *self;
};
struct fm_sink fm_sink_buf(struct fm_buf *buf); /* borrows */

#endif
