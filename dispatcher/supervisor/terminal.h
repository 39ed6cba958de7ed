/* SPDX-License-Identifier: Apache-2.0
 * What a person at a terminal sees: one status line redrawn in place, the path of each finished file, and a hint when
 * nothing comes. */
#ifndef SUPERVISOR_TERMINAL_H
#define SUPERVISOR_TERMINAL_H

#include <stddef.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/config.h"
#include "shared/counters.h"

struct terminal;

/* fd is where messages go (stderr); not a terminal: no status line. Cannot return NULL. url may be "". */
struct terminal *terminal_new(int fd, const struct config *config, const char *url);
/* When the run began, if that was in a program before this one. */
void terminal_began(struct terminal *t, struct mono start);
/* Wipes the status line. NULL is fine. */
void terminal_free(struct terminal *t);

/* Once a second. memory: bytes of the family. */
void terminal_tick(struct terminal *t, const struct totals *totals, uint64_t memory, struct mono now);

/* A file below datadir is whole: prints its path on standard output. */
void terminal_saved(struct terminal *t, const char *path);

/* Names of the captured interfaces, blank-separated. */
void terminal_watching(struct terminal *t, const char *names);

/* `0:12 flows 14 (3 unnamed) files 9 packets 5,120 lost 0 mem 12 MB http://127.0.0.1:9990`. Returns out. */
const char *terminal_line(char *out, size_t cap, const struct totals *totals, uint64_t memory, int64_t seconds,
                          const char *url);

#endif
