/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl lookup`: the UUID of a live flow, from the kernel. */
#ifndef CTL_LOOKUP_H
#define CTL_LOOKUP_H

#include "dispatcher/ctl/args.h"

extern const struct command lookup_command;

#endif
