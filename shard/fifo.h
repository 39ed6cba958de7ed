/* SPDX-License-Identifier: Apache-2.0
 * A growing FIFO of elements of one size. Zeroed but for `size` it is empty. Failure policy: without memory an element
 * is not in, and the caller is told. */
#ifndef SHARD_FIFO_H
#define SHARD_FIFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fifo {
    uint8_t *bytes;
    size_t size; /* of one element */
    uint32_t head, count, cap;
};

/* Element i, 0 = the oldest; i < count. */
void *fifo_at(const struct fifo *f, uint32_t i);
/* Copies the element in as the newest. False: no memory. */
bool fifo_put(struct fifo *f, const void *element);
/* Forgets the oldest; there is one. */
void fifo_drop(struct fifo *f);
void fifo_free(struct fifo *f);

#endif
