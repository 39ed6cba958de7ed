/* SPDX-License-Identifier: Apache-2.0
 * Commands of ctl.sock that are for the supervisor. The hub brings them, and takes the answer back. */
#ifndef SUPERVISOR_COMMANDS_H
#define SUPERVISOR_COMMANDS_H

#include <stdbool.h>

#include "dispatcher/supervisor/family.h"

/* Does what the line says, or refuses it, and writes the answer, "ok ..." or "error ...":
 *   restart N | hub | dispatcher   that process leaves everything as it is, and a successor goes on
 *   restart all                    the same with all shards and the hub, one at a time, by the programs on disk; the
 *                                  supervisor, and the dispatcher, whose absence costs packets, only if theirs changed
 *   drain N                        that shard publishes all its flows first; they go on in second files
 *   drain                          the family ends, as by SIGTERM
 * "ok" means that it has begun; `restarting` of the supervisor's page counts down to 0. number: of the question. false:
 * the answer is not known yet, and goes to the hub by itself. */
bool commands_run(struct family *f, const char *line, int64_t number, char answer[PROTO_TEXT]);

#endif
