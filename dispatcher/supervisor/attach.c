/* SPDX-License-Identifier: Apache-2.0
 * See attach.h. Nobody gets more than its list: a shard never holds another shard's memory. */
#include "dispatcher/supervisor/attach.h"

#include <string.h>

#include "shared/log.h"

void attach_add(struct attach_list *l, enum proto_role role, unsigned index, int fd)
{
    if (fd < 0)
        return;
    if (l->count == ATTACH_MAX)
        log_panic("attach: too many fds");
    l->fds[l->count++] = (struct proto_fd){.role = (uint16_t)role, .index = (uint16_t)index, .fd = fd};
}

static void add_rings(struct attach_list *l, const struct memory *m, unsigned shard)
{
    attach_add(l, ROLE_RING, proto_ring_index(0, shard), m->ring[shard]);
    for (unsigned i = 0; i + 1 < m->dispatchers; i++)
        attach_add(l, ROLE_RING, proto_ring_index(i + 1, shard), m->more_ring[i][shard]);
}

void attach_dispatcher(struct attach_list *l, const struct memory *m, const struct settings_fds *fds,
                       const struct config *config)
{
    attach_add(l, ROLE_CONFIG, 0, m->config);
    attach_add(l, ROLE_DISPATCHER_PAGE, 0, m->dispatcher_fd);
    for (unsigned i = 0; i < m->shards; i++) {
        add_rings(l, m, i);
        attach_add(l, ROLE_SHARD_PAGE, i, m->shard_fd[i]);
        attach_add(l, ROLE_DOORBELL, i, m->doorbell_dispatcher[i]);
    }
    for (unsigned i = 0; i < config->savefile_count; i++)
        attach_add(l, ROLE_SAVEFILE, i, fds->savefiles[i]);
}

void attach_hub(struct attach_list *l, const struct memory *m, const struct settings_fds *fds)
{
    attach_add(l, ROLE_CONFIG, 0, m->config);
    attach_add(l, ROLE_DISPATCHER_PAGE, 0, m->dispatcher_fd);
    attach_add(l, ROLE_HUB_PAGE, 0, m->hub_fd);
    attach_add(l, ROLE_SUPERVISOR_PAGE, 0, m->supervisor_fd);
    for (unsigned i = 0; i < m->shards; i++) {
        attach_add(l, ROLE_SHARD_PAGE, i, m->shard_fd[i]);
        attach_add(l, ROLE_REPORTS, i, m->reports_hub[i]);
    }
    attach_add(l, ROLE_JOURNAL, 0, m->journal);
    attach_add(l, ROLE_HTTP, 0, fds->http);
    attach_add(l, ROLE_SERVE, 0, fds->serve);
}

void attach_shard(struct attach_list *l, const struct memory *m, const struct settings_fds *fds, unsigned shard)
{
    attach_add(l, ROLE_CONFIG, 0, m->config);
    add_rings(l, m, shard);
    attach_add(l, ROLE_SHARD_PAGE, shard, m->shard_fd[shard]);
    attach_add(l, ROLE_ARENA, shard, m->arena[shard]);
    attach_add(l, ROLE_DOORBELL, shard, m->doorbell_shard[shard]);
    attach_add(l, ROLE_REPORTS, shard, m->reports_shard[shard]);
    attach_add(l, ROLE_DATADIR, 0, fds->datadir);
    attach_add(l, ROLE_STAGINGDIR, 0, fds->stagingdir);
    attach_add(l, ROLE_EVENTS_FILE, 0, fds->events);
}

int attach_send(int sock, uint32_t slot, uint32_t generation, const struct attach_list *l)
{
    struct proto_msg msg;
    int fds[PROTO_FDS_PER_MSG];
    for (size_t off = 0; off < l->count; off += msg.fd_count) {
        memset(&msg, 0, sizeof(msg));
        msg.type = PROTO_FDS;
        msg.slot = slot;
        msg.generation = generation;
        size_t n = l->count - off < PROTO_FDS_PER_MSG ? l->count - off : PROTO_FDS_PER_MSG;
        for (size_t i = 0; i < n; i++) {
            msg.names[i] = (struct proto_fd_name){l->fds[off + i].role, l->fds[off + i].index};
            fds[i] = l->fds[off + i].fd;
        }
        msg.fd_count = (uint16_t)n;
        int err = proto_send(sock, &msg, fds);
        if (err)
            return err;
    }
    memset(&msg, 0, sizeof(msg));
    msg.type = PROTO_ATTACHED;
    msg.slot = slot;
    msg.generation = generation;
    msg.value = (int64_t)l->count;
    return proto_send(sock, &msg, NULL);
}
