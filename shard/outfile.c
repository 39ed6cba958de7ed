/* SPDX-License-Identifier: Apache-2.0
 * Queue and thread of the file calls. One producer and one consumer per queue:
 * the main thread writes `submitted` and `taken`, the file thread writes `done`; a slot passes from job to result in
 * place. Failure policy: see outfile.h. */
#include "shard/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "shard/outfile_map.h"
#include "shared/log.h"

struct outfile {
    struct outfile_calls calls;
    struct outfile_result slot[OUTFILE_JOBS];
    _Atomic uint64_t submitted; /* single writer: main thread */
    _Atomic uint64_t done;      /* single writer: file thread */
    uint64_t taken;             /* private to the main thread */
    uint64_t woken;             /* likewise: of the wakes, one for each job done, how many were read */
    unsigned quiet;             /* private to the main thread: jobs submitted since the thread was last looked for */
    _Atomic bool asleep;        /* the thread waits on work_fd, or is about to */
    _Atomic bool stop;
    bool threaded;
    pthread_t thread;
    int work_fd, result_fd; /* eventfds: to the thread (blocking), to the main thread */
};

#define WAKE_EVERY 16u /* jobs or results: waking costs about as much as one takes */

static void wake(int fd, uint64_t count)
{
    ssize_t n;
    do
        n = write(fd, &count, sizeof(count));
    while (n < 0 && errno == EINTR);
}

/* Behind what takes long nothing waits that is done. */
static bool next_takes_long(const struct outfile *o)
{
    uint64_t next = atomic_load_explicit(&o->done, memory_order_relaxed);
    if (next == atomic_load_explicit(&o->submitted, memory_order_acquire)) /* pairs with outfile_submit */
        return false;
    enum outfile_kind kind = o->slot[next % OUTFILE_JOBS].job.kind;
    return kind != OUTFILE_WRITE && kind != OUTFILE_PUBLISH;
}

bool outfile_work(struct outfile *o)
{
    uint64_t next = atomic_load_explicit(&o->done, memory_order_relaxed);
    /* acquire: pairs with the release store in outfile_submit; the job is whole */
    if (next == atomic_load_explicit(&o->submitted, memory_order_acquire))
        return false;
    struct outfile_result *r = &o->slot[next % OUTFILE_JOBS];
    outfile_do(&o->calls, &r->job, r);
    free(r->job.iov);
    r->job.iov = NULL;
    /* release: pairs with the acquire load in outfile_result */
    atomic_store_explicit(&o->done, next + 1, memory_order_release);
    return true;
}

/* Sleeps until there is work. seq_cst: pairs with outfile_wake; one of the two sees the other's store. */
static void await_work(struct outfile *o)
{
    uint64_t n;
    atomic_store_explicit(&o->asleep, true, memory_order_seq_cst);
    if (atomic_load_explicit(&o->submitted, memory_order_seq_cst) ==
            atomic_load_explicit(&o->done, memory_order_relaxed) &&
        !atomic_load_explicit(&o->stop, memory_order_seq_cst) && read(o->work_fd, &n, sizeof(n)) < 0 && errno != EINTR)
        log_panic("file thread: cannot wait: %s", strerror(errno));
    atomic_store_explicit(&o->asleep, false, memory_order_seq_cst);
}

static void *file_thread(void *arg)
{
    struct outfile *o = arg;
    uint64_t untold = 0; /* results that the main thread has not been woken for */
    while (!atomic_load_explicit(&o->stop, memory_order_acquire)) { /* pairs with outfile_free */
        bool worked = outfile_work(o);
        untold += worked;
        if (untold > 0 && (!worked || untold >= WAKE_EVERY || next_takes_long(o))) {
            wake(o->result_fd, untold);
            untold = 0;
        }
        if (!worked)
            await_work(o);
    }
    return NULL;
}

static int start_thread(struct outfile *o)
{
    sigset_t all, before;
    o->work_fd = eventfd(0, EFD_CLOEXEC);
    o->result_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (o->work_fd < 0 || o->result_fd < 0)
        return -1;
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&o->thread, NULL, file_thread, o);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err) {
        errno = err;
        return -1;
    }
    o->threaded = true;
    return 0;
}

struct outfile *outfile_new(const struct outfile_deps *deps)
{
    struct outfile *o = calloc(1, sizeof(*o));
    if (!o)
        return NULL;
    o->calls = (struct outfile_calls){.sys = deps->sys,
                                      .config = deps->config,
                                      .shard = deps->shard,
                                      .datadir = deps->datadir,
                                      .staging = deps->staging,
                                      .sync_fd = -1,
                                      .day_fd = -1};
    o->work_fd = o->result_fd = -1;
    if (deps->threaded && start_thread(o) < 0) {
        int err = errno;
        outfile_free(o);
        errno = err;
        return NULL;
    }
    return o;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

void outfile_free(struct outfile *o)
{
    if (!o)
        return;
    if (o->threaded) {
        atomic_store_explicit(&o->stop, true, memory_order_seq_cst); /* pairs with file_thread and await_work */
        wake(o->work_fd, 1);
        pthread_join(o->thread, NULL);
    }
    for (unsigned i = 0; i < OUTFILE_JOBS; i++)
        free(o->slot[i].job.iov);
    close_fd(o->work_fd);
    close_fd(o->result_fd);
    close_fd(o->calls.day_fd);
    close_fd(o->calls.sync_fd);
    retention_free(&o->calls.retention);
    for (uint32_t i = 0; i < o->calls.left_count; i++)
        free(o->calls.left[i]);
    free(o->calls.left);
    free(o);
}

int outfile_submit(struct outfile *o, const struct outfile_job *job)
{
    uint64_t n = atomic_load_explicit(&o->submitted, memory_order_relaxed);
    if (n - o->taken >= OUTFILE_JOBS)
        return SC_EFULL;
    o->slot[n % OUTFILE_JOBS].job = *job;
    /* seq_cst, and so release: pairs with the acquire load in outfile_work, and with await_work */
    atomic_store_explicit(&o->submitted, n + 1, memory_order_seq_cst);
    if (++o->quiet >= WAKE_EVERY)
        outfile_wake(o);
    return SC_OK;
}

void outfile_wake(struct outfile *o)
{
    if (o->quiet == 0)
        return;
    o->quiet = 0;
    /* seq_cst: pairs with await_work */
    if (o->threaded && atomic_exchange_explicit(&o->asleep, false, memory_order_seq_cst))
        wake(o->work_fd, 1);
}

int outfile_result(struct outfile *o, struct outfile_result *out)
{
    /* acquire: pairs with the release store in outfile_work */
    if (o->taken == atomic_load_explicit(&o->done, memory_order_acquire)) {
        uint64_t n;
        if (o->result_fd < 0 || o->woken == o->taken || read(o->result_fd, &n, sizeof(n)) < 0)
            return SC_EAGAIN;
        o->woken += n;
        /* drained first, looked at again: no result is slept over */
        if (o->taken == atomic_load_explicit(&o->done, memory_order_acquire))
            return SC_EAGAIN;
    }
    *out = o->slot[o->taken % OUTFILE_JOBS];
    o->taken++;
    return SC_OK;
}

uint32_t outfile_under_way(const struct outfile *o)
{
    return (uint32_t)(atomic_load_explicit(&o->submitted, memory_order_relaxed) - o->taken);
}

int outfile_fd(const struct outfile *o)
{
    return o->result_fd;
}

int outfile_sweep(struct outfile *o, bool (*wanted)(void *ctx, uint32_t idx, uint32_t generation), void *ctx)
{
    return outfile_sweep_calls(&o->calls, wanted, ctx);
}
