/* SPDX-License-Identifier: Apache-2.0
 * Shards that somebody else starts (-shards.external): they come to attach.sock below -rundir, say which slot they
 * want, and get the same message as a child of our own. Who may attach: root, our user, the user of the shards. The end
 * of its socket is the end of such a shard, whether or not its process can be seen from here. */
#ifndef SUPERVISOR_EXTERNAL_H
#define SUPERVISOR_EXTERNAL_H

#include "dispatcher/supervisor/family.h"

/* Makes the slots of all shards external and listens; the socket is settings_fds.attach. SC_OK or SC_ENOMEM. */
int external_listen(struct family *f) SC_MUST_CHECK;

/* Call it with every tick: who has connected and says nothing is cut after a few seconds. */
void external_tick(struct family *f, struct mono now);

/* May a shard of that layout have the slot? 0: yes; else the exit status that it is told, with a line in text
 * (PROTO_TEXT bytes). Makes no system call. */
int external_verdict(const struct family *f, uint32_t slot, const char *layout, char *text);

#endif
