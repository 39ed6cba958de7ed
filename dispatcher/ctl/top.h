/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl top`: the running shardcap in a terminal, again and again. */
#ifndef CTL_TOP_H
#define CTL_TOP_H

#include "dispatcher/ctl/args.h"

extern const struct command top_command;

#endif
