/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl status`: the table that the hub makes. */
#ifndef CTL_STATUS_H
#define CTL_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "dispatcher/ctl/args.h"
#include "dispatcher/ctl/client.h"
#include "dispatcher/ctl/jsontext.h"

/* Prints the table of an answer to `status table`. Returns 0; 1 if it says that shardcap is degraded; 1 with a line in
 * error (else empty) if it is no such answer. */
int status_print(const char *answer, size_t len, FILE *out, char error[CLIENT_ERROR]);

/* True if the JSON of `status` says that shardcap is ready, not stopping, and every process is up. */
bool status_fine(struct jsontext status);

extern const struct command status_command;

#endif
