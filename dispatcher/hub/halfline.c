/* SPDX-License-Identifier: Apache-2.0
 * See halfline.h. The state is one word, so it changes as a whole: {start, end} of what is not yet handed on, and two
 * flags. Before a read, everything behind `end` that it may fill is zero and READING is set; a process killed inside or
 * right behind the call never says how much came, and its successor finds the end by the last byte that is not zero
 * (the kernel takes bytes off the socket only once they are copied). Lines of JSON hold no zeros; of bytes that do, at
 * most such a tail is lost. */
#include "dispatcher/hub/halfline.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x53434c494e453031)
#define ROOM ((size_t)4 * HALFLINE_LINE)

#define READING (UINT64_C(1) << 62)
#define SKIPPING (UINT64_C(1) << 61) /* inside a line that was too long */

struct held {
    uint64_t magic;
    _Atomic uint64_t word; /* single writer: this process */
    uint8_t zero[48];
    char bytes[ROOM];
};
_Static_assert(sizeof(struct held) == HALFLINE_BYTES, "the memory that others set aside");

struct halfline {
    struct held *held;
    void (*on_line)(void *ctx, const char *line, size_t len);
    void (*on_too_long)(void *ctx);
    void *ctx;
    size_t start, end;
    bool skipping;
    size_t clean; /* [end, clean) is known to be zero */
};

/* The reader is a later process, so only the compiler has to keep the order. */
static void commit(struct halfline *h, bool reading)
{
    uint64_t word = (uint64_t)h->start << 30 | h->end | (reading ? READING : 0) | (h->skipping ? SKIPPING : 0);
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&h->held->word, word, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

static void begin_anew(struct halfline *h)
{
    h->start = h->end = h->clean = 0;
    h->skipping = false;
    commit(h, false);
    h->held->magic = MAGIC;
}

struct halfline *halfline_open(void *memory, void (*on_line)(void *ctx, const char *line, size_t len),
                               void (*on_too_long)(void *ctx), void *ctx)
{
    struct halfline *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->held = memory;
    h->on_line = on_line;
    h->on_too_long = on_too_long;
    h->ctx = ctx;
    uint64_t word = atomic_load_explicit(&h->held->word, memory_order_relaxed);
    h->start = word >> 30 & 0x3fffffff;
    h->end = word & 0x3fffffff;
    h->skipping = word & SKIPPING;
    if (h->held->magic != MAGIC || h->start > h->end || h->end > ROOM) {
        begin_anew(h);
        return h;
    }
    if (word & READING) {
        size_t last = h->end + HALFLINE_READ < ROOM ? h->end + HALFLINE_READ : ROOM;
        while (last > h->end && h->held->bytes[last - 1] == '\0')
            last--;
        h->end = last;
        commit(h, false);
    }
    h->clean = h->end; /* what lies behind may be anything */
    return h;
}

void halfline_close(struct halfline *h)
{
    free(h);
}

/* Takes n bytes, and one for the newline, off the front. */
static void advance(struct halfline *h, size_t n, bool skipping)
{
    h->start += n;
    h->skipping = skipping;
    commit(h, false);
}

static void hand_on(struct halfline *h)
{
    const char *bytes = h->held->bytes;
    while (h->start < h->end) {
        const char *at = bytes + h->start, *newline = memchr(at, '\n', h->end - h->start);
        size_t len = newline ? (size_t)(newline - at) : h->end - h->start;
        if (!newline && len <= HALFLINE_LINE && !h->skipping)
            return;
        if (!h->skipping && len > HALFLINE_LINE)
            h->on_too_long(h->ctx);
        else if (!h->skipping)
            h->on_line(h->ctx, at, len);
        advance(h, newline ? len + 1 : len, !newline);
    }
}

/* Makes room for a read behind `end`. What is held is at most a line, and moves only where the two places do not
 * overlap, so that the old one is whole until the word has changed. */
static void make_room(struct halfline *h)
{
    char *bytes = h->held->bytes;
    size_t rest = h->end - h->start;
    if (h->start > 0 && (rest == 0 || (h->start >= rest && ROOM - h->end < HALFLINE_READ))) {
        size_t used = h->end;
        memcpy(bytes, bytes + h->start, rest);
        h->start = 0;
        h->end = rest;
        commit(h, false);
        memset(bytes + rest, 0, used - rest);
    }
    size_t need = h->end + HALFLINE_READ < ROOM ? h->end + HALFLINE_READ : ROOM;
    if (h->clean < need) {
        memset(bytes + h->clean, 0, need - h->clean);
        h->clean = need;
    }
}

ssize_t halfline_read(struct halfline *h, int fd)
{
    make_room(h);
    size_t room = ROOM - h->end < HALFLINE_READ ? ROOM - h->end : HALFLINE_READ;
    commit(h, true);
    ssize_t n = read(fd, h->held->bytes + h->end, room);
    h->end += n > 0 ? (size_t)n : 0;
    commit(h, false);
    if (n > 0)
        hand_on(h);
    return n;
}

void halfline_resume(struct halfline *h)
{
    hand_on(h);
}

void halfline_end(struct halfline *h)
{
    hand_on(h);
    if (h->start < h->end && !h->skipping)
        h->on_line(h->ctx, h->held->bytes + h->start, h->end - h->start);
    halfline_reset(h);
}

void halfline_reset(struct halfline *h)
{
    size_t used = h->end;
    h->start = h->end = 0;
    h->skipping = false;
    commit(h, false);
    memset(h->held->bytes, 0, used);
}
