/* SPDX-License-Identifier: Apache-2.0
 * Directories: datadir and staging, and what making them for another user takes. */
#ifndef SUPERVISOR_SETTINGS_DIRS_H
#define SUPERVISOR_SETTINGS_DIRS_H

#include <sys/stat.h>

#include "dispatcher/supervisor/settings.h"

/* Creates datadir where it is missing (0775, given to the user), makes config->datadir absolute, finds the staging
 * directory and opens both. SC_OK or SC_ESYS with a line in error. */
int dirs_open_data(struct config *config, struct settings_fds *fds, char *error);

/* If datadir or staging, as open in fds, was removed: makes it again where it stood, and puts it under the same fd
 * numbers. *again_r: that was so, and who holds the old ones needs the new ones. SC_OK or SC_ESYS with a line in error.
 */
int dirs_open_again(const struct config *config, const struct settings_fds *fds, bool *again_r, char *error);

/* Writes "WHAT PATH: errno's text; REMEDY" into error. Returns SC_ESYS. */
int dirs_failed(char *error, const char *what, const char *path, const char *remedy);

/* Gives what fd (O_PATH will do) stands for to the user. 0, or -1 with errno. */
int dirs_give_away(const struct config *config, int fd);

/* Sees to it that path is a directory; one that is made here belongs to the user. 0, or -1 with errno. */
int dirs_make(const struct config *config, const char *path, mode_t mode, bool *made_r);

/* Runs what with the rights of hub and shards, in a process of its own, because they are taken on for good: nobody else
 * knows for sure. Returns what it returns, 0 or an errno; EPERM if we cannot become that user. */
int dirs_as_user(const struct config *config, int (*what)(const void *ctx), const void *ctx);

#endif
