/* SPDX-License-Identifier: Apache-2.0
 * sd_notify(3): tells the service manager how we are. */
#ifndef SUPERVISOR_NOTIFY_H
#define SUPERVISOR_NOTIFY_H

#include <stdint.h>

/* Sends "READY=1" and the like to $NOTIFY_SOCKET; nothing if it is unset. Never blocks, cannot fail in ways that
 * matter. */
void notify_send(const char *state);

/* How often "WATCHDOG=1" is to be sent: half of WATCHDOG_USEC, if WATCHDOG_PID is unset or ours
 * (sd_watchdog_enabled(3)). 0 = never. */
int64_t notify_watchdog_ns(void);

#endif
