/* SPDX-License-Identifier: Apache-2.0
 * sd_notify(3): tells the service manager how we are. */
#ifndef SUPERVISOR_NOTIFY_H
#define SUPERVISOR_NOTIFY_H

/* Sends "READY=1" and the like to $NOTIFY_SOCKET; nothing if it is unset. Never blocks, cannot fail in ways that
 * matter. */
void notify_send(const char *state);

#endif
