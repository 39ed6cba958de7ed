/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl cat`: several files as one capture in the order of time. */
#ifndef CTL_CAT_H
#define CTL_CAT_H

#include "dispatcher/ctl/args.h"

extern const struct command cat_command;

#endif
