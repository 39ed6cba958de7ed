/* SPDX-License-Identifier: Apache-2.0
 * Cuts a byte stream into lines of bounded length. A line above the bound is reported once and skipped up to its
 * newline; memory never grows by what a peer claims. */
#ifndef SHARED_LINES_H
#define SHARED_LINES_H

#include <stddef.h>

struct lines;

/* NULL when memory is short. on_line: a whole line without its newline, valid during the call. on_too_long: one
 * line was over max (told as soon as it is). Neither may free the object. */
struct lines *lines_new(size_t max, void (*on_line)(void *ctx, const char *line, size_t len),
                        void (*on_too_long)(void *ctx), void *ctx);
void lines_free(struct lines *l); /* NULL is fine */

/* Consumes n bytes of the stream. */
void lines_feed(struct lines *l, const char *bytes, size_t n);

/* The stream has ended: a last line without newline is delivered. The object may be fed again. */
void lines_end(struct lines *l);

#endif
