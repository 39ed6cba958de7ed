/* SPDX-License-Identifier: Apache-2.0
 * See memory.h. Failure policy: any failure is fatal for the start; nothing is undone, the process exits. */
#include "dispatcher/supervisor/memory.h"
#include "dispatcher/supervisor/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/flags.h"
#include "shared/shm.h"

#define REPORTS_BYTES (4 << 20)

/* Virtual size of an arena per byte of budget, and what its head needs on top (shard/arena.h). Sparse. */
#define ARENA_BYTES(budget) (2 * (budget) + (1u << 20))

static int failed(char *error, const char *what)
{
    settings_error(error, "cannot create shared memory for %s: %s", what, strerror(errno));
    return SC_ESYS;
}

/* Creates and maps a page that starts with {magic, layout}. NULL on failure. */
static void *new_page(const char *name, size_t bytes, uint32_t magic, int *fd_r)
{
    size_t mapped;
    *fd_r = shm_create(name, bytes);
    if (*fd_r < 0)
        return NULL;
    uint32_t *page = shm_map(*fd_r, true, &mapped);
    if (page) {
        page[0] = magic;
        page[1] = COUNTERS_LAYOUT;
    }
    return page;
}

/* Sealed against writing as well: whoever has the fd may open it anew through /proc, but nobody changes it. */
static int new_config(struct memory *m, const struct config *config)
{
    const char *p = (const char *)config;
    size_t left = sizeof(*config);
    m->config = memfd_create("config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (m->config < 0)
        return SC_ESYS;
    while (left > 0) {
        ssize_t n = write(m->config, p, left);
        if (n < 0 && errno != EINTR)
            return SC_ESYS;
        if (n > 0) {
            p += n;
            left -= (size_t)n;
        }
    }
    int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    return fcntl(m->config, F_ADD_SEALS, seals) == 0 ? SC_OK : SC_ESYS;
}

static int new_ring(int *fd_r, const struct ring_shared **head_r, uint64_t size)
{
    size_t mapped;
    *fd_r = shm_create("ring", ring_map_bytes(size));
    if (*fd_r < 0)
        return SC_ESYS;
    void *map = shm_map(*fd_r, true, &mapped);
    if (!map)
        return SC_ESYS;
    int err = ring_format(map, size, 1, 0);
    if (err)
        errno = EINVAL;
    *head_r = map;
    return err;
}

/* One from each dispatcher to the shard. */
static int new_rings(struct memory *m, unsigned shard, uint64_t size)
{
    int err = new_ring(&m->ring[shard], &m->ring_head[shard], size);
    for (unsigned i = 0; i + 1 < m->dispatchers && !err; i++)
        err = new_ring(&m->more_ring[i][shard], &m->more_ring_head[i][shard], size);
    return err;
}

/* Room for what a group commit publishes at once, where we may take it; the default holds some 150. */
static int new_reports(struct memory *m, unsigned shard, char *error)
{
    int pair[2], size = REPORTS_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return failed(error, "a socket for reports");
    if (setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
        (void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    m->reports_hub[shard] = pair[0];
    m->reports_shard[shard] = pair[1];
    return SC_OK;
}

static int new_shard(struct memory *m, unsigned shard, const struct config *config, char *error)
{
    int pair[2];
    if (new_rings(m, shard, config->ringsize) != SC_OK)
        return failed(error, "a ring");
    m->shard[shard] = new_page("shard", sizeof(struct shard_page), SHARD_PAGE_MAGIC, &m->shard_fd[shard]);
    if (!m->shard[shard])
        return failed(error, "the counters of a shard");
    m->arena[shard] = shm_create("arena", ARENA_BYTES(config->maxheap / config->shards));
    if (m->arena[shard] < 0)
        return failed(error, "an arena");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return failed(error, "a doorbell");
    m->doorbell_dispatcher[shard] = pair[0];
    m->doorbell_shard[shard] = pair[1];
    return new_reports(m, shard, error);
}

int memory_create(struct memory *m, const struct config *config, char *error)
{
    memset(m, 0, sizeof(*m));
    m->shards = config->shards;
    m->dispatchers = config_dispatchers(config);
    if (new_config(m, config) != SC_OK)
        return failed(error, "the configuration");
    m->dispatcher = new_page("dispatcher", sizeof(struct dispatcher_page), DISPATCHER_PAGE_MAGIC, &m->dispatcher_fd);
    m->hub = new_page("hub", sizeof(struct hub_page), HUB_PAGE_MAGIC, &m->hub_fd);
    m->supervisor = new_page("supervisor", sizeof(struct supervisor_page), SUPERVISOR_PAGE_MAGIC, &m->supervisor_fd);
    if (!m->dispatcher || !m->hub || !m->supervisor)
        return failed(error, "counters");
    m->journal = shm_create("journal", BUS_JOURNAL_BYTES);
    if (m->journal < 0)
        return failed(error, "the event journal");
    for (unsigned i = 0; i < m->shards; i++)
        if (new_shard(m, i, config, error) != SC_OK)
            return SC_ESYS;
    return SC_OK;
}

int memory_renew_arena(struct memory *m, unsigned shard, const struct config *config)
{
    int fd = shm_create("arena", ARENA_BYTES(config->maxheap / config->shards));
    if (fd < 0)
        return SC_ESYS;
    close(m->arena[shard]);
    m->arena[shard] = fd;
    return SC_OK;
}

int memory_map(struct memory *m)
{
    size_t bytes;
    m->dispatcher = shm_map(m->dispatcher_fd, true, &bytes);
    m->hub = shm_map(m->hub_fd, true, &bytes);
    m->supervisor = shm_map(m->supervisor_fd, true, &bytes);
    bool all = m->dispatcher && m->hub && m->supervisor;
    for (unsigned i = 0; i < m->shards; i++) {
        m->shard[i] = shm_map(m->shard_fd[i], true, &bytes);
        m->ring_head[i] = shm_map(m->ring[i], true, &bytes);
        all = all && m->shard[i] && m->ring_head[i];
        for (unsigned k = 0; k + 1 < m->dispatchers; k++) {
            m->more_ring_head[k][i] = shm_map(m->more_ring[k][i], true, &bytes);
            all = all && m->more_ring_head[k][i];
        }
    }
    return all ? SC_OK : SC_ESYS;
}
