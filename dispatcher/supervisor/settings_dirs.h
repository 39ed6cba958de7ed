/* SPDX-License-Identifier: Apache-2.0
 * Directories: datadir and staging, rundir and its lock. */
#ifndef SUPERVISOR_SETTINGS_DIRS_H
#define SUPERVISOR_SETTINGS_DIRS_H

#include "dispatcher/supervisor/settings.h"

/* Creates datadir where it is missing (0775, given to the user), makes config->datadir absolute, finds the staging
 * directory and opens both. SC_OK or SC_ESYS with a line in error. */
int dirs_open_data(struct config *config, struct settings_fds *fds, char *error);

/* Creates and locks rundir; with temp a fresh one below /tmp. SC_OK or SC_ESYS / SC_EEXIST (another instance) with a
 * line. */
int dirs_open_run(struct config *config, bool temp, struct settings_fds *fds, char *error);

/* Creates nothing: SC_EEXIST with a line if another instance runs in config->rundir now, else SC_OK. */
int dirs_check_free(const struct config *config, char *error);

/* Removes attach.sock, so that a shard that comes later finds nobody at once. */
void dirs_remove_attach(const struct config *config);
void dirs_remove_temp(const struct config *config);

#endif
