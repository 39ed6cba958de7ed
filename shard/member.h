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
};

/* Attaches, maps, confines. EXIT_DONE, or the status to exit with (logged and told). parent: getppid() at the start. */
int member_join(struct member *m, int sock, pid_t parent);

/* Logs the line, tells the supervisor, and returns status. */
int member_give_up(struct member *m, int status, const char *fmt, ...) SC_PRINTF(3, 4);

#endif
