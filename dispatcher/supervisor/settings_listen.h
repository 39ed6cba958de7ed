/* SPDX-License-Identifier: Apache-2.0
 * The listening sockets: of the metrics address, and of -events.serve. */
#ifndef SUPERVISOR_SETTINGS_LISTEN_H
#define SUPERVISOR_SETTINGS_LISTEN_H

#include <stddef.h>

#include "dispatcher/supervisor/settings.h"

/* A non-blocking, close-on-exec listening socket; "" as host is dual stack. Writes its URL. -1 with a line in error. */
int settings_listen(const char *address, char *url, size_t url_cap, char *error);

/* The same at the path c->serve, 0660 and of the user of the hub. A leftover that nobody listens at is replaced. */
int settings_serve(const struct config *c, char *error);

#endif
