/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl show`: what one file tells of its connection. */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include "dispatcher/ctl/args.h"

extern const struct command show_command;

#endif
