/* SPDX-License-Identifier: Apache-2.0
 * A shard as a member of the family: what the supervisor hands over, mapped and checked, and the process confined.
 * Failure policy: what is missing or of another build is told in one line, and the process ends with that status. */
#ifndef SHARD_MEMBER_H
#define SHARD_MEMBER_H

#include <sys/types.h>

#include "shard/shard.h"
#include "shared/proto.h"

struct member {
    int sock; /* attach socket */
    struct proto_attachment self;
    const struct config *config;
    struct shard_deps deps; /* memory and fds filled in */
    int doorbell;
    char rundir[CONFIG_PATH]; /* of the sockets, as it is called here */
};

/* Becomes the holder of a slot of a supervisor that did not start us. EXIT_DONE with the attach socket, or the status
 * to exit with (logged). */
int member_claim(uint32_t slot, const char *rundir, const char *layout, int *sock_r);

/* Attaches, maps, confines. rundir: where the sockets are if not where the configuration says (another mount), else
 * NULL. EXIT_DONE, or the status to exit with (logged and told). parent: getppid() at the start. */
int member_join(struct member *m, int sock, const char *rundir, pid_t parent);

/* Logs the line, tells the supervisor, and returns status. */
int member_give_up(struct member *m, int status, const char *fmt, ...) SC_PRINTF(3, 4);

#endif
