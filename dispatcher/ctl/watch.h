/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl watch`: what events.sock says, for people or as JSON. */
#ifndef CTL_WATCH_H
#define CTL_WATCH_H

#include "dispatcher/ctl/args.h"

extern const struct command watch_command;

#endif
