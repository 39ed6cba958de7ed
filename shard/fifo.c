/* SPDX-License-Identifier: Apache-2.0
 * A ring that doubles. Failure policy: see fifo.h. */
#include "shard/fifo.h"

#include <stdlib.h>
#include <string.h>

#define KEPT_CAP 4096u /* what a burst has made larger is given back once it is empty */

void *fifo_at(const struct fifo *f, uint32_t i)
{
    return f->bytes + (size_t)((f->head + i) & (f->cap - 1)) * f->size;
}

static bool grow(struct fifo *f)
{
    uint32_t cap = f->cap ? f->cap * 2 : 64;
    uint8_t *bytes = malloc(cap * f->size);
    if (!bytes)
        return false;
    for (uint32_t i = 0; i < f->count; i++)
        memcpy(bytes + i * f->size, fifo_at(f, i), f->size);
    free(f->bytes);
    f->bytes = bytes;
    f->cap = cap;
    f->head = 0;
    return true;
}

bool fifo_put(struct fifo *f, const void *element)
{
    if (f->count == f->cap && !grow(f))
        return false;
    memcpy(fifo_at(f, f->count), element, f->size);
    f->count++;
    return true;
}

void fifo_free(struct fifo *f)
{
    free(f->bytes);
    *f = (struct fifo){.size = f->size};
}

void fifo_drop(struct fifo *f)
{
    f->head = (f->head + 1) & (f->cap - 1);
    f->count--;
    if (f->count == 0 && f->cap > KEPT_CAP)
        fifo_free(f);
}
