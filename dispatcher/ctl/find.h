/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl find`: files of a tree by address, port and time. */
#ifndef CTL_FIND_H
#define CTL_FIND_H

#include "dispatcher/ctl/args.h"

extern const struct command find_command;

#endif
