/* SPDX-License-Identifier: Apache-2.0
 * Bounded reading of foreign bytes. The error is sticky: after a read past the end every later read gives 0
 * and `failed` stays true, so a parser checks once per header and never computes an address on trust. */
#ifndef SHARED_CURSOR_H
#define SHARED_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
    const uint8_t *base;
    size_t len; /* bytes at base that may be read */
    size_t off; /* next byte; off <= len always */
    bool failed;
};

static inline struct cursor cursor_over(const void *bytes, size_t len)
{
    return (struct cursor){.base = bytes, .len = len};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return c->failed ? 0 : c->len - c->off;
}

/* The next n bytes, consumed; NULL (and failed) if fewer are left. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
    if (n > cursor_left(c)) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->base + c->off;
    c->off += n;
    return p;
}

static inline void cursor_skip(struct cursor *c, size_t n)
{
    (void)cursor_take(c, n);
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 1);
    return p ? p[0] : 0;
}

static inline uint16_t cursor_be16(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 2);
    return (uint16_t)(p ? (unsigned)p[0] << 8 | p[1] : 0u);
}

static inline uint32_t cursor_be32(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 4);
    return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

/* The largest n bytes from now on are readable; used to cut to a length that a header claims. */
static inline void cursor_limit(struct cursor *c, size_t n)
{
    if (n < cursor_left(c))
        c->len = c->off + n;
}

#endif
