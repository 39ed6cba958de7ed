/* SPDX-License-Identifier: Apache-2.0
 * Attach, map, confine. Nothing is unmapped or closed again: the process ends. Failure policy: see member.h. */
#include "shard/member.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shard/arena.h"
#include "shared/confine.h"
#include "shared/log.h"
#include "shared/sandbox.h"
#include "shared/shm.h"

int member_give_up(struct member *m, int status, const char *fmt, ...)
{
    char text[PROTO_TEXT];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    log_error("%s", text);
    (void)proto_tell(m->sock, &m->self, PROTO_FAILED, status, text);
    return status;
}

/* Maps and closes the fd: a process that can reopen it through /proc could map a read-only ring writable. */
static void *map_nth(struct member *m, enum proto_role role, unsigned index, bool writable, size_t *bytes_r)
{
    int fd = proto_take_fd(&m->self, role, index);
    if (fd < 0)
        return NULL;
    void *map = shm_map(fd, writable, bytes_r);
    (void)close(fd);
    return map;
}

static void *map_role(struct member *m, enum proto_role role, bool writable, size_t *bytes_r)
{
    return map_nth(m, role, m->self.slot, writable, bytes_r);
}

static int map_config(struct member *m)
{
    int fd = proto_take_fd(&m->self, ROLE_CONFIG, 0);
    int err = fd < 0 ? SC_ENOENT : config_map(fd, &m->config);
    if (fd >= 0)
        (void)close(fd);
    if (err)
        return member_give_up(m, err == SC_EVERSION ? EXIT_CONFIG : EXIT_FAILED, "cannot map the configuration: %s",
                              sc_strerror(err));
    log_init("shard", (int)m->self.slot, m->config->log_level, m->config->log_format);
    if (m->self.slot >= m->config->shards)
        return member_give_up(m, EXIT_CONFIG, "slot %u of %u shards", m->self.slot, m->config->shards);
    return EXIT_DONE;
}

static int map_memory(struct member *m)
{
    struct shard_deps *d = &m->deps;
    size_t page_bytes = 0;
    d->ring_map = map_role(m, ROLE_RING, false, &d->ring_bytes);
    if (!d->ring_map)
        return member_give_up(m, EXIT_FAILED, "cannot map the ring");
    for (unsigned i = 1; i < config_dispatchers(m->config); i++) {
        size_t bytes;
        d->more_ring_maps[i - 1] = map_nth(m, ROLE_RING, proto_ring_index(i, m->self.slot), false, &bytes);
        if (!d->more_ring_maps[i - 1] || bytes != d->ring_bytes)
            return member_give_up(m, EXIT_FAILED, "cannot map ring %u", i);
    }
    d->arena_map = map_role(m, ROLE_ARENA, true, &d->arena_bytes);
    if (!d->arena_map)
        return member_give_up(m, EXIT_FAILED, "cannot map the arena");
    d->page = map_role(m, ROLE_SHARD_PAGE, true, &page_bytes);
    if (!d->page || page_bytes < sizeof(*d->page))
        return member_give_up(m, EXIT_FAILED, "cannot map the shard's page");
    d->budget = m->config->maxheap / m->config->shards;
    return EXIT_DONE;
}

static int take_fds(struct member *m)
{
    struct shard_deps *d = &m->deps;
    d->datadir = proto_take_fd(&m->self, ROLE_DATADIR, 0);
    d->staging = proto_take_fd(&m->self, ROLE_STAGINGDIR, 0);
    d->events_file = proto_take_fd(&m->self, ROLE_EVENTS_FILE, 0);
    d->reports = proto_take_fd(&m->self, ROLE_REPORTS, m->self.slot);
    m->doorbell = proto_take_fd(&m->self, ROLE_DOORBELL, m->self.slot);
    if (d->datadir < 0 || d->staging < 0 || m->doorbell < 0)
        return member_give_up(m, EXIT_FAILED, "the supervisor sent no data directory, staging directory or doorbell");
    return EXIT_DONE;
}

static int confine(struct member *m, pid_t parent)
{
    const struct config *c = m->config;
    bool other =
        geteuid() != c->uid || getuid() != c->uid || getegid() != c->gid; /* an outside supervisor may have done it */
    if (c->user_switch && other && confine_user(c->uid, c->gid) != SC_OK)
        return member_give_up(m, EXIT_FAILED, "cannot become user %u", (unsigned)c->uid);
    if (confine_capabilities(false) != SC_OK)
        return member_give_up(m, EXIT_FAILED, "cannot drop capabilities");
    int err = confine_process(parent, true);
    if (err == SC_EOF)
        return EXIT_TEMPFAIL;
    (void)umask(c->umask);
    if (err != SC_OK)
        return member_give_up(m, EXIT_FAILED, "cannot confine the process: %s", sc_strerror(err));
    /* Before any thread starts: Landlock is each thread's own. Without it the users and the filter must do. */
    const struct sandbox_tree trees[] = {{SANDBOX_SAVES, m->deps.datadir, NULL},
                                         {SANDBOX_SAVES, m->deps.staging, NULL}};
    err = sandbox_files(trees, 2);
    if (err == SC_EVERSION)
        log_debug("this kernel has no Landlock that could be used");
    return err == SC_OK || err == SC_EVERSION
               ? EXIT_DONE
               : member_give_up(m, EXIT_FAILED, "cannot confine the process to its directories: %s", strerror(errno));
}

int member_claim(uint32_t slot, const char *rundir, const char *layout, int *sock_r)
{
    char path[CONFIG_PATH + 16], why[PROTO_TEXT];
    (void)snprintf(path, sizeof(path), "%s/attach.sock", rundir);
    int status = proto_join(path, slot, layout, sock_r, why);
    if (status != EXIT_DONE)
        log_error("cannot attach to slot %u: %s", slot, why);
    return status;
}

int member_join(struct member *m, int sock, const char *rundir, pid_t parent)
{
    *m = (struct member){.sock = sock, .doorbell = -1};
    int err = proto_attach(sock, &m->self);
    if (err) {
        log_error("cannot attach: %s; this program is started by shardcap", sc_strerror(err));
        return err == SC_EVERSION ? EXIT_CONFIG : EXIT_TEMPFAIL;
    }
    m->deps = (struct shard_deps){.clock = clock_system(),
                                  .sys = sysops_system(),
                                  .slot = m->self.slot,
                                  .generation = m->self.generation,
                                  .threaded = true};
    int status = map_config(m);
    if (status == EXIT_DONE)
        status = map_memory(m);
    if (status == EXIT_DONE)
        status = take_fds(m);
    if (status == EXIT_DONE)
        status = confine(m, parent);
    m->deps.config = m->config;
    if (status == EXIT_DONE)
        (void)snprintf(m->rundir, sizeof(m->rundir), "%s", rundir ? rundir : m->config->rundir);
    return status;
}
