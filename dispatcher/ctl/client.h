/* SPDX-License-Identifier: Apache-2.0
 * One question to a running shardcap and its answer. */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include <stddef.h>

#include "shared/bus.h"
#include "shared/err.h"

#define CLIENT_WAIT_MS 5000
#define CLIENT_ERROR 512

struct client;

/* Where shardcap's sockets are: given (-rundir) if not NULL, else SHARDCAP_RUNDIR, else the default of who calls
 * (root: /run/shardcap; $XDG_RUNTIME_DIR/shardcap; /tmp/shardcap-UID), or /run/shardcap if only that one has a
 * ctl.sock. Returns SC_OK or SC_ETOOLONG. */
int client_rundir(const char *given, char out[BUS_PATH]) SC_MUST_CHECK;

/* given: as of client_rundir. NULL with a text for people in error if nobody can be there. */
struct client *client_open(const char *given, char error[CLIENT_ERROR]);
void client_close(struct client *c); /* NULL is fine */

/* Sends a request and waits for its answer, at most CLIENT_WAIT_MS. SC_OK: *answer_r of *len_r is to be freed by
 * bus_free. Else a text for people in error. */
int client_ask(struct client *c, const void *request, size_t len, void **answer_r, size_t *len_r,
               char error[CLIENT_ERROR]) SC_MUST_CHECK;

/* The same, waiting at most ms. */
int client_ask_within(struct client *c, const void *request, size_t len, int ms, void **answer_r, size_t *len_r,
                      char error[CLIENT_ERROR]) SC_MUST_CHECK;

#endif
