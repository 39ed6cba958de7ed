/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl restart` and `shardcapctl drain`: one request each, and, if asked for, waiting until it is done. */
#ifndef CTL_RESTART_H
#define CTL_RESTART_H

#include "dispatcher/ctl/args.h"
#include "dispatcher/ctl/jsontext.h"

extern const struct command restart_command;
extern const struct command drain_command;

/* True if, by two answers to `status`, all processes that `word` means (N, shard[N], hub, dispatcher, all) have been
 * replaced since `before`, and shardcap is fine again. */
bool restart_is_done(struct jsontext before, struct jsontext after, const char *word);

#endif
