/* SPDX-License-Identifier: Apache-2.0
 * The files that are read: savefiles and recorded events. */
#ifndef SUPERVISOR_SETTINGS_INPUTS_H
#define SUPERVISOR_SETTINGS_INPUTS_H

#include "dispatcher/supervisor/settings.h"
#include "shared/err.h"

/* Can all of them be read? Opens nothing that stays open. SC_OK; else a line in error (FLAGS_ERROR bytes) and the exit
 * status. */
int settings_check_inputs(const struct config *config, char *error, int *exit_status_r) SC_MUST_CHECK;

/* Opens them: savefiles and events of fds, which is the caller's. As above. */
int settings_open_inputs(const struct config *config, struct settings_fds *fds, char *error,
                         int *exit_status_r) SC_MUST_CHECK;

#endif
