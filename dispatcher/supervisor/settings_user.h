/* SPDX-License-Identifier: Apache-2.0
 * Whose hub, shards and files are. */
#ifndef SUPERVISOR_SETTINGS_USER_H
#define SUPERVISOR_SETTINGS_USER_H

#include "shared/config.h"
#include "shared/err.h"
#include "shared/flags.h"

/* Completes uid, gid and user_switch of a parsed configuration: -user, else sudo's caller, else the owner of -datadir,
 * else shardcap, else nobody; who is not root stays who they are. What may surprise is logged. SC_OK; else a line in
 * error (FLAGS_ERROR bytes) and the exit status. */
int settings_user(struct config *config, const struct flags_request *request, char *error,
                  int *exit_status_r) SC_MUST_CHECK;

#endif
