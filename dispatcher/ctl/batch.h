/* SPDX-License-Identifier: Apache-2.0
 * Lines in, requests out: FlowEvent lines are put together to requests of ctl.sock. */
#ifndef CTL_BATCH_H
#define CTL_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch;

/* send takes one request and returns false if the input need not be read on. rate: at most so many lines a second, 0
 * for as fast as it goes; between them the caller waits inside batch_feed. NULL: no memory. */
struct batch *batch_new(bool (*send)(void *ctx, const char *request, size_t len), void *ctx, uint64_t rate);
void batch_free(struct batch *b); /* NULL is fine */

/* Takes n bytes of input. Whole lines go out at once, so that a person who types gets answers; empty lines are
 * skipped; an over-long line is counted and said. Returns false if send did. */
bool batch_feed(struct batch *b, const char *bytes, size_t n);
bool batch_end(struct batch *b); /* a last line without newline goes out, too */

unsigned long batch_too_long(const struct batch *b);

#endif
