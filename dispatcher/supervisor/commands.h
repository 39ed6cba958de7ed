/* SPDX-License-Identifier: Apache-2.0
 * Commands of ctl.sock that are for the supervisor. The hub brings them, and takes the answer back. */
#ifndef SUPERVISOR_COMMANDS_H
#define SUPERVISOR_COMMANDS_H

#include "dispatcher/supervisor/family.h"

/* Does what the line says, or refuses it, and writes the answer, "ok ..." or "error ...":
 *   restart N | hub | dispatcher   that process leaves everything as it is, and a successor goes on
 *   restart all                    the same with all shards and the hub, one at a time; the dispatcher, whose absence
 *                                  costs packets, only by its name
 *   drain N                        that shard publishes all its flows first; they go on in second files
 *   drain                          the family ends, as by SIGTERM
 * "ok" means that it has begun; `restarting` of the supervisor's page counts down to 0. */
void commands_run(struct family *f, const char *line, char answer[PROTO_TEXT]);

#endif
