/* SPDX-License-Identifier: Apache-2.0
 * See resume.h. Failure policy: before the exec every failure leaves things as they were; after it there is no way
 * back, and the end of the process makes all children publish and exit. */
#include "dispatcher/supervisor/resume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dispatcher/supervisor/rollout.h"
#include "dispatcher/supervisor/starting.h"
#include "shared/log.h"
#include "shared/version.h"

#define RESUME_MAGIC 0x53435253u
#define VARIABLE "SHARDCAP_RESUME"

static char *const *arguments;

void resume_remember(char *const argv[])
{
    arguments = argv;
}

static void keep_open(int fd, bool on)
{
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, on ? 0 : FD_CLOEXEC);
}

static void each_child(const struct resume_child *c, bool on)
{
    keep_open(c->sock, on);
    keep_open(c->program_fd, on);
}

/* All fds of the table survive the exec (on), or none does any more. */
static void keep_all(const struct resume *r, bool on)
{
    const struct memory *m = &r->memory;
    const int single[] = {m->config,
                          m->dispatcher_fd,
                          m->hub_fd,
                          m->supervisor_fd,
                          m->journal,
                          r->fds.datadir,
                          r->fds.http,
                          r->fds.lock,
                          r->fds.events,
                          r->fds.serve,
                          r->fds.attach,
                          r->fds.stagingdir,
                          r->dispatcher_program};
    for (unsigned i = 0; i < sizeof(single) / sizeof(*single); i++)
        keep_open(single[i], on);
    for (unsigned i = 0; i < m->shards; i++) {
        const int own[] = {m->ring[i],           m->shard_fd[i],    m->arena[i],        m->doorbell_dispatcher[i],
                           m->doorbell_shard[i], m->reports_hub[i], m->reports_shard[i]};
        for (unsigned k = 0; k < sizeof(own) / sizeof(*own); k++)
            keep_open(own[k], on);
        for (unsigned k = 0; k + 1 < m->dispatchers; k++)
            keep_open(m->more_ring[k][i], on);
        each_child(&r->shard[i], on);
    }
    for (unsigned i = 0; i < r->kept_count; i++)
        keep_open(r->kept[i].fd, on);
    each_child(&r->hub, on);
    each_child(&r->dispatcher, on);
}

static struct resume_child row_of(const struct child *c)
{
    return (struct resume_child){.slot = c->slot,
                                 .pid = c->pid,
                                 .sock = c->sock,
                                 .program_fd = c->program.fd,
                                 .arena_layout = c->arena_layout,
                                 .ever_ready = c->ever_ready,
                                 .waited_ns = c->waited_ns};
}

static void fill(struct resume *r, const struct family *f)
{
    *r = (struct resume){.magic = RESUME_MAGIC,
                         .layout = RESUME_LAYOUT,
                         .bytes = sizeof(*r),
                         .memory = *f->memory,
                         .fds = *f->fds,
                         .hub = row_of(&f->hub),
                         .dispatcher = row_of(&f->dispatcher),
                         .kept_count = f->kept_count,
                         .capturing = f->capturing,
                         .started = f->started,
                         .dispatcher_program = -1};
    for (unsigned i = 0; i < f->memory->shards; i++)
        r->shard[i] = row_of(&f->shard[i]);
    memcpy(r->kept, f->kept, sizeof(r->kept));
    for (unsigned i = f->rollout.next; i < f->rollout.count; i++)
        if (f->rollout.entry[i].child == &f->dispatcher) {
            r->restart_dispatcher = true;
            r->dispatcher_program = f->rollout.entry[i].program.fd;
        }
}

static int write_table(const struct resume *r)
{
    int fd = memfd_create("resume", MFD_ALLOW_SEALING);
    const char *p = (const char *)r;
    size_t left = sizeof(*r);
    while (fd >= 0 && left > 0) {
        ssize_t n = write(fd, p, left);
        if (n < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        p += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    return fd;
}

int resume_exec(struct family *f, const struct program *next)
{
    static struct resume r; /* large */
    char number[16];
    fill(&r, f);
    int fd = write_table(&r);
    if (fd < 0)
        return SC_ESYS;
    snprintf(number, sizeof(number), "%d", fd);
    if (setenv(VARIABLE, number, 1) == 0) {
        keep_all(&r, true);
        syscall(SYS_execveat, next->fd, "", arguments, environ, AT_EMPTY_PATH);
        int why = errno;
        keep_all(&r, false);
        unsetenv(VARIABLE);
        errno = why;
    }
    int why = errno;
    close(fd);
    errno = why;
    return SC_ESYS;
}

bool resume_take(struct resume *out)
{
    const char *number = getenv(VARIABLE);
    if (!number)
        return false;
    int fd = (int)strtol(number, NULL, 10);
    (void)unsetenv(VARIABLE); /* not for our children */
    ssize_t n = pread(fd, out, sizeof(*out), 0);
    if (n != (ssize_t)sizeof(*out) || out->magic != RESUME_MAGIC || out->layout != RESUME_LAYOUT ||
        out->bytes != sizeof(*out) || out->memory.shards == 0 || out->memory.shards > SHARDS_MAX)
        log_panic("executed with a table of another build");
    close(fd);
    keep_all(out, false);
    return true;
}

static int adopt(struct child *c, const struct resume_child *row)
{
    struct family *f = c->family;
    c->slot = row->slot;
    c->pid = row->pid;
    c->sock = row->sock;
    c->program.fd = row->program_fd;
    c->arena_layout = row->arena_layout;
    c->ever_ready = row->ever_ready;
    c->waited_ns = row->waited_ns;
    c->progress_since = family_now(f);
    if (c->pid > 0)
        c->pidfd = spawn_pidfd(c->pid);
    if (c->pidfd >= 0 && !c->slot.external)
        c->on_exit = evloop_on_readable(f->loop, c->pidfd, f->on_exit, c);
    if (c->sock < 0)
        return SC_OK;
    c->on_message = evloop_on_readable(f->loop, c->sock, f->on_message, c);
    return c->on_message ? SC_OK : SC_ENOMEM;
}

int resume_children(struct family *f, const struct resume *r)
{
    int err = adopt(&f->hub, &r->hub);
    if (!err)
        err = adopt(&f->dispatcher, &r->dispatcher);
    for (unsigned i = 0; !err && i < f->memory->shards; i++)
        err = adopt(&f->shard[i], &r->shard[i]);
    if (err)
        return err;
    f->hub_program.fd = r->hub.program_fd;
    f->dispatcher_program.fd = r->restart_dispatcher ? r->dispatcher_program : r->dispatcher.program_fd;
    f->shard_program.fd = r->shard[0].program_fd;
    memcpy(f->kept, r->kept, sizeof(f->kept));
    f->kept_count = r->kept_count;
    f->capturing = r->capturing;
    f->phase = PHASE_RUNNING;
    f->phase_since = family_now(f);
    if (r->restart_dispatcher)
        rollout_add_entry(
            f, &(struct rollout_entry){.child = &f->dispatcher, .how = PROTO_LEAVE, .program = f->dispatcher_program});
    log_info("the supervisor goes on as version=%s commit=%s", version_text(), version_commit());
    return SC_OK;
}
