/* SPDX-License-Identifier: Apache-2.0
 * What children say. */
#ifndef SUPERVISOR_MESSAGES_H
#define SUPERVISOR_MESSAGES_H

/* ctx: struct child. Takes a bounded number of messages from its socket and acts on them. At the end of the socket
 * nothing more is read. */
void messages_take(void *ctx);

#endif
