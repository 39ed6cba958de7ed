/* SPDX-License-Identifier: Apache-2.0
 * A growing piece of text. Failure policy: the sticky flag; what was added before it stays readable. */
#include "dispatcher/hub/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(struct text *t, size_t extra)
{
    if (t->failed || extra > TEXT_MAX || t->len > TEXT_MAX - extra) {
        t->failed = true;
        return false;
    }
    if (t->len + extra <= t->cap)
        return true;
    size_t cap = t->cap ? t->cap * 2 : 4096;
    while (cap < t->len + extra)
        cap *= 2;
    char *grown = realloc(t->data, cap);
    if (!grown) {
        t->failed = true;
        return false;
    }
    t->data = grown;
    t->cap = cap;
    return true;
}

void text_add(struct text *t, const void *bytes, size_t len)
{
    if (len == 0 || !make_room(t, len))
        return;
    memcpy(t->data + t->len, bytes, len);
    t->len += len;
}

void text_printf(struct text *t, const char *fmt, ...)
{
    char line[1024]; /* longer ones are foreign text, which goes through text_add */
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof line)
        t->failed = true;
    else
        text_add(t, line, (size_t)n);
}

void text_clear(struct text *t)
{
    t->len = 0;
    t->failed = false;
}

void text_free(struct text *t)
{
    free(t->data);
    *t = (struct text){0};
}

void text_chomp(struct text *t)
{
    if (t->len > 0 && t->data[t->len - 1] == '\n')
        t->len--;
}
