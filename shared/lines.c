/* SPDX-License-Identifier: Apache-2.0
 * Line cutter. A line that lies whole in what was fed is handed on where it is; only an unfinished one is copied, into
 * the one buffer that was allocated at the start.
 * Failure policy: any bytes in any pieces are fine; a line over the bound is told once and skipped. */
#include "shared/lines.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct lines {
    void (*on_line)(void *ctx, const char *line, size_t len);
    void (*on_too_long)(void *ctx);
    void *ctx;
    size_t max;
    size_t held;   /* bytes of an unfinished line in buf; <= max */
    bool skipping; /* inside a line that was too long; held is 0 */
    char buf[];
};

struct lines *lines_new(size_t max, void (*on_line)(void *ctx, const char *line, size_t len),
                        void (*on_too_long)(void *ctx), void *ctx)
{
    struct lines *l = calloc(1, sizeof *l + max);
    if (!l)
        return NULL;
    l->on_line = on_line;
    l->on_too_long = on_too_long;
    l->ctx = ctx;
    l->max = max;
    return l;
}

void lines_free(struct lines *l)
{
    free(l);
}

/* Adds n bytes to the unfinished line, or gives the line up. */
static void hold(struct lines *l, const char *bytes, size_t n)
{
    if (l->skipping || n == 0)
        return;
    if (n > l->max - l->held) {
        l->skipping = true;
        l->held = 0;
        l->on_too_long(l->ctx);
        return;
    }
    memcpy(l->buf + l->held, bytes, n);
    l->held += n;
}

void lines_feed(struct lines *l, const char *bytes, size_t n)
{
    while (n > 0) {
        const char *newline = memchr(bytes, '\n', n);
        if (!newline) {
            hold(l, bytes, n);
            return;
        }
        size_t len = (size_t)(newline - bytes);
        if (l->held == 0 && !l->skipping && len <= l->max) {
            l->on_line(l->ctx, bytes, len);
        } else {
            hold(l, bytes, len);
            size_t whole = l->held;
            l->held = 0;
            if (!l->skipping)
                l->on_line(l->ctx, l->buf, whole);
            l->skipping = false;
        }
        bytes += len + 1;
        n -= len + 1;
    }
}

void lines_end(struct lines *l)
{
    size_t whole = l->held;
    l->held = 0;
    l->skipping = false;
    if (whole > 0)
        l->on_line(l->ctx, l->buf, whole);
}
