/* SPDX-License-Identifier: Apache-2.0
 * The hub's nanomsg sockets below -rundir: one PUB per shard and replay.sock in bus/, which only shards may open, and
 * ctl.sock, inject.sock and events.sock (PUB) for people. Open them only after the process has been confined. A peer
 * can make nanomsg abort the process; that is why the hub is one of its own. */
#ifndef HUB_PORTS_H
#define HUB_PORTS_H

#include <stdbool.h>
#include <stddef.h>

#include "dispatcher/hub/text.h"
#include "shared/bus.h"
#include "shared/evloop.h"

struct ports;

/* Where a message came in. */
enum ports_door { PORTS_CTL, PORTS_INJECT, PORTS_REPLAY, PORTS_DOORS };

/* Takes one message; answer is to be filled, and is NULL for inject.sock. false: it is not known yet and comes by
 * ports_answer_later; until then nothing more is read at that door. */
typedef bool ports_handler(void *ctx, enum ports_door door, const void *request, size_t len, struct text *answer);

/* Binds everything; makes the directory bus/ if it is not there. NULL on failure with a text in error. */
struct ports *ports_new(struct evloop *loop, const char *rundir, unsigned shards, ports_handler *handler, void *ctx,
                        char error[BUS_ERROR]);
void ports_free(struct ports *p); /* NULL is fine */

/* The answer that a handler at that door left open. Nothing happens if none is. */
void ports_answer_later(struct ports *p, enum ports_door door, const char *line);

/* Sends a page to the shard's subscribers. Never blocks; what cannot be sent is lost, and logged. */
void ports_send(struct ports *p, unsigned shard, const void *bytes, size_t len);

/* How many are connected to events.sock; sends one message to all of them. Never blocks. */
unsigned ports_watchers(const struct ports *p);
void ports_tell_watchers(struct ports *p, const void *bytes, size_t len);

#endif
