/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl inject`: FlowEvent lines from a file or standard input to ctl.sock, answers to standard output. */
#ifndef CTL_INJECT_H
#define CTL_INJECT_H

#include <stdbool.h>
#include <stddef.h>

struct inject;

/* send takes one request, prints its answer and returns false if the input need not be read on. */
struct inject *inject_new(bool (*send)(void *ctx, const char *request, size_t len), void *ctx); /* NULL: no memory */
void inject_free(struct inject *i);                                                             /* NULL is fine */

/* Takes n bytes of input. Whole lines go out at once, so that a person who types gets answers; empty lines are
 * skipped; an over-long line is counted and said. Returns false if send did. */
bool inject_feed(struct inject *i, const char *bytes, size_t n);
bool inject_end(struct inject *i); /* a last line without newline goes out, too */

unsigned long inject_too_long(const struct inject *i);

/* The number of answer lines that do not begin with "ok". */
unsigned long inject_refusals(const char *answer, size_t len);

/* The command; file NULL or "-" is standard input. Returns the exit status: 1 if one event was refused. */
int inject_command(const char *rundir, const char *file);

#endif
