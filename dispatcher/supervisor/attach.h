/* SPDX-License-Identifier: Apache-2.0
 * Who gets which fds: the list for each kind of child, and its way over the attach socket. */
#ifndef SUPERVISOR_ATTACH_H
#define SUPERVISOR_ATTACH_H

#include "dispatcher/supervisor/memory.h"
#include "dispatcher/supervisor/settings.h"
#include "shared/proto.h"

#define ATTACH_MAX ((3 + DISPATCHERS_MAX) * SHARDS_MAX + SAVEFILES_MAX + 16)

struct attach_list {
    size_t count;
    struct proto_fd fds[ATTACH_MAX];
};

/* Adds one; fd -1 is passed over. */
void attach_add(struct attach_list *l, enum proto_role role, unsigned index, int fd);

void attach_dispatcher(struct attach_list *l, const struct memory *m, const struct settings_fds *fds,
                       const struct config *config);
void attach_hub(struct attach_list *l, const struct memory *m, const struct settings_fds *fds);
void attach_shard(struct attach_list *l, const struct memory *m, const struct settings_fds *fds, unsigned shard);

/* Sends the list and PROTO_ATTACHED. SC_OK or an error of proto_send; the child is then of no use. */
int attach_send(int sock, uint32_t slot, uint32_t generation, const struct attach_list *l) SC_MUST_CHECK;

#endif
