/* SPDX-License-Identifier: Apache-2.0
 * Cuts a stream into lines, in memory that outlives the process: bytes go from the socket straight there, so what a hub
 * had read and not yet handed on when it was killed, half a line or many lines, its successor hands on. A line that was
 * handed on in the moment of death may be handed on again; none is left out.
 * Failure policy: any bytes in any pieces are fine; a line over the bound is told once and skipped; memory that does
 * not check is begun anew. */
#ifndef HUB_HALFLINE_H
#define HUB_HALFLINE_H

#include <stddef.h>
#include <sys/types.h>

#include "shared/flowevent.h"

#define HALFLINE_LINE FLOWEVENT_LINE_MAX        /* without its newline; a longer one is too long */
#define HALFLINE_READ 65536                     /* at most so much is read at a time */
#define HALFLINE_BYTES (64 + 4 * HALFLINE_LINE) /* of memory */

struct halfline;

/* Takes over the memory (HALFLINE_BYTES long, aligned to 8; all zero at the very first). Nothing is handed on yet.
 * on_line: without the newline, valid during the call. on_too_long: a line over the bound, told as soon as it is.
 * NULL: no memory of our own. */
struct halfline *halfline_open(void *memory, void (*on_line)(void *ctx, const char *line, size_t len),
                               void (*on_too_long)(void *ctx), void *ctx);
void halfline_close(struct halfline *h); /* NULL is fine; what is held stays for a successor */

/* Reads once, as read(2) does and with its result, and hands on the lines that are whole. */
ssize_t halfline_read(struct halfline *h, int fd);

/* Hands on what a predecessor left: call it once, before the first read from its connection. */
void halfline_resume(struct halfline *h);

/* The stream has ended: a last line without newline is handed on, and another stream may begin. */
void halfline_end(struct halfline *h);

/* Forgets what is held: it belongs to a stream that nobody can go on with. */
void halfline_reset(struct halfline *h);

#endif
