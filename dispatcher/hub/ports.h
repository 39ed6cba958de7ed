/* SPDX-License-Identifier: Apache-2.0
 * The hub's nanomsg sockets below -rundir: one PUB per shard, ctl.sock and inject.sock. Open them only after the
 * process has been confined. A peer can make nanomsg abort the process; that is why the hub is one of its own. */
#ifndef HUB_PORTS_H
#define HUB_PORTS_H

#include <stddef.h>

#include "dispatcher/hub/text.h"
#include "shared/bus.h"
#include "shared/evloop.h"

struct ports;

/* Takes one message from ctl.sock (answer is to be filled) or inject.sock (answer is NULL). */
typedef void ports_handler(void *ctx, const void *request, size_t len, struct text *answer);

/* Binds everything; makes the directory bus/ if it is not there. NULL on failure with a text in error. */
struct ports *ports_new(struct evloop *loop, const char *rundir, unsigned shards, ports_handler *handler, void *ctx,
                        char error[BUS_ERROR]);
void ports_free(struct ports *p); /* NULL is fine */

/* Sends a page to the shard's subscribers. Never blocks; what cannot be sent is lost, and logged. */
void ports_send(struct ports *p, unsigned shard, const void *bytes, size_t len);

#endif
