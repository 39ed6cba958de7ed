/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl status`: the hub's JSON as a table for people. */
#ifndef CTL_STATUS_H
#define CTL_STATUS_H

#include <stddef.h>
#include <stdio.h>

#include "dispatcher/ctl/client.h"

/* Prints the table of a status answer. Returns 0; 1 if shardcap is degraded (not ready, or a process is down); 1 with
 * a line in error if the answer cannot be read. */
int status_print(const char *json, size_t len, FILE *out, char error[CLIENT_ERROR]);

/* The command. Returns the exit status. */
int status_command(const char *rundir);

#endif
