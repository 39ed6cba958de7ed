/* SPDX-License-Identifier: Apache-2.0
 * rundir: its lock, and the sockets below it. */
#ifndef SUPERVISOR_SETTINGS_RUN_H
#define SUPERVISOR_SETTINGS_RUN_H

#include "dispatcher/supervisor/settings.h"

/* Creates and locks rundir; with temp a fresh one below /tmp. SC_OK or SC_ESYS / SC_EEXIST (another instance) with a
 * line. */
int rundir_open(struct config *config, bool temp, struct settings_fds *fds, char *error);

/* Creates nothing: SC_EEXIST with a line if another instance runs in config->rundir now, else SC_OK. */
int rundir_check_free(const struct config *config, char *error);

/* Removes attach.sock, so that a shard that comes later finds nobody at once. */
void rundir_remove_attach(const struct config *config);
void rundir_remove_temp(const struct config *config);

#endif
