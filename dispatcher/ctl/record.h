/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl record`: what events.sock says, with times, into a file. */
#ifndef CTL_RECORD_H
#define CTL_RECORD_H

#include "dispatcher/ctl/args.h"

extern const struct command record_command;

#endif
