/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl inject`: FlowEvent lines from a file, standard input or the flows of a capture file to ctl.sock, answers
 * to standard output. */
#ifndef CTL_INJECT_H
#define CTL_INJECT_H

#include "dispatcher/ctl/args.h"

extern const struct command inject_command;

#endif
