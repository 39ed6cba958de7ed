/* SPDX-License-Identifier: Apache-2.0
 * What flags alone cannot know: users, directories, memory, sockets, files. First all checks that create nothing, then
 * the opening. Each failure is one line that names the flag or file and the remedy. */
#ifndef SUPERVISOR_SETTINGS_H
#define SUPERVISOR_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/config.h"
#include "shared/flags.h"

struct settings_fds {
    int datadir, stagingdir; /* directories; the lock on staging lasts as long as any copy of its fd */
    int http;                /* listening socket, or -1 */
    int serve;               /* that of -events.serve, or -1; its path is ours to remove */
    int events;              /* -uuid.events, seekable, or -1 */
    int lock;
    int attach; /* listens for shards of other supervisors, or -1 */
    int savefiles[SAVEFILES_MAX];
    char url[280]; /* http://ADDR:PORT, or "" */
    bool temp_rundir;
};

/* Completes a parsed configuration and checks it without creating anything: user, prefix, readable files, interfaces,
 * memory, socket paths, hash key. SC_OK; else a line in error (FLAGS_ERROR bytes) and the exit status. */
int settings_check(struct config *config, const struct flags_request *request, char *error, int *exit_status_r);

/* Creates and opens: rundir with its lock, datadir, staging, savefiles, the listening socket. As above. */
int settings_open(struct config *config, struct settings_fds *fds, char *error, int *exit_status_r);

/* Removes a temporary rundir; the fds go with the process. */
void settings_close(struct settings_fds *fds, const struct config *config);

/* Writes one line into error (FLAGS_ERROR bytes; a longer one is cut). */
void settings_error(char *error, const char *fmt, ...) SC_PRINTF(2, 3);

/* The same with the exit status to end with; returns SC_EINVAL. */
int settings_refuse(char *error, int *exit_status_r, int status, const char *fmt, ...) SC_PRINTF(4, 5);

/* Bytes of memory that we may use: the machine's, or less where a cgroup (v2 memory.max on the way up, v1
 * memory.limit_in_bytes) says so. root is "/" (or a tree made by a test). 0 if nothing can be read. */
uint64_t settings_memory(const char *root);

/* The line about a metrics address that is none; takes the address. */
#define SETTINGS_BAD_ADDRESS                                                                                           \
    "flag -prometheusx.listen-address: \"%s\" is not HOST:PORT; use for example :9990, 127.0.0.1:0 or [::1]:9990"

/* "HOST:PORT" in Go's form -> host ("" = any) and port. SC_OK or SC_EFORMAT. */
int settings_split_address(const char *address, char host[256], unsigned *port_r);

#endif
