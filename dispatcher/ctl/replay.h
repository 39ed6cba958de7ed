/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl replay`: UUID events of a record, injected again at the pace they came. */
#ifndef CTL_REPLAY_H
#define CTL_REPLAY_H

#include "dispatcher/ctl/args.h"

extern const struct command replay_command;

#endif
