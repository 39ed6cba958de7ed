/* SPDX-License-Identifier: Apache-2.0
 * The event socket's client. Reads at most one buffer per turn of the loop, so a flooding server starves nobody.
 * Failure policy: whatever goes wrong (no server, its end, an error, no fds left) is the same: close, wait, connect
 * again. Logged when the state changes, not per attempt, and at most once a second. */
#include "dispatcher/hub/eventsocket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dispatcher/hub/halfline.h"
#include "shared/log.h"

struct eventsocket {
    struct eventsocket_setup s;
    struct sockaddr_un address;
    struct evsource *retry;
    struct evsource *readable;
    struct halfline *held;
    int fd; /* -1 = not connected */
    int64_t delay_ns;
    struct mono since; /* of the connection */
    struct log_limit limit;
    bool told; /* that the server is not there */
};

static struct mono now(const struct eventsocket *e)
{
    return e->s.clock->mono(e->s.clock->ctx);
}

static void disconnect(struct eventsocket *e)
{
    evsource_remove(e->readable);
    e->readable = NULL;
    if (e->fd >= 0) {
        (void)shutdown(e->fd, SHUT_RDWR); /* the supervisor's copy would keep it open */
        (void)close(e->fd);
    }
    e->fd = -1;
    counter_set(&e->s.counters->eventsocket_up, 0);
}

int64_t eventsocket_next_delay(int64_t delay_ns)
{
    return delay_ns < EVENTSOCKET_RETRY_MAX / 2 ? delay_ns * 2 : EVENTSOCKET_RETRY_MAX;
}

static void try_later(struct eventsocket *e)
{
    disconnect(e);
    evloop_timer_set(e->retry, e->delay_ns);
    e->delay_ns = eventsocket_next_delay(e->delay_ns);
}

static void on_readable(void *ctx)
{
    struct eventsocket *e = ctx;
    ssize_t n = halfline_read(e->held, e->fd);
    if (n > 0) {
        e->delay_ns = EVENTSOCKET_RETRY_MIN;
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    int error = n < 0 ? errno : 0;
    unsigned long more;
    if (log_allow(&e->limit, now(e), &more)) {
        log_warn("event socket closed error=%s suppressed=%lu; connecting again", error ? strerror(error) : "none",
                 more);
        e->told = true;
    }
    /* Half a line at the end cannot be told from a whole one. The parser decides; it refuses cut JSON. */
    halfline_end(e->held);
    if (now(e).ns - e->since.ns >= EVENTSOCKET_RETRY_MAX)
        e->delay_ns = EVENTSOCKET_RETRY_MIN;
    try_later(e);
}

static bool watch(struct eventsocket *e)
{
    e->readable = evloop_on_readable(e->s.loop, e->fd, on_readable, e);
    if (!e->readable)
        return false;
    e->since = now(e);
    counter_set(&e->s.counters->eventsocket_up, 1);
    return true;
}

/* A unix socket connects at once or not at all; EAGAIN means that the server's backlog is full. The fd is in safe hands
 * before it connects, so no death leaves a connection that nobody reads. */
static bool dial(struct eventsocket *e)
{
    e->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (e->fd < 0)
        return false;
    halfline_reset(e->held);
    e->s.keep(e->s.ctx, e->fd);
    return connect(e->fd, (const struct sockaddr *)&e->address, sizeof e->address) == 0;
}

static void on_retry(void *ctx)
{
    struct eventsocket *e = ctx;
    bool up = dial(e);
    int error = errno;
    if (!up || !watch(e)) {
        unsigned long more;
        if (!e->told && log_allow(&e->limit, now(e), &more)) {
            log_warn("cannot connect to the event socket of -tcpinfo.eventsocket, trying on error=%s suppressed=%lu",
                     up ? "out of memory" : strerror(error), more);
            e->told = true;
        }
        try_later(e);
        return;
    }
    if (e->told || counter_get(&e->s.counters->eventsocket_connects) == 0)
        log_info("event socket connected"); /* of one that comes and goes all the time no more than of its going */
    e->told = false;
    counter_add(&e->s.counters->eventsocket_connects, 1);
}

/* Goes on with a predecessor's connection. False: there is none that was ever made. */
static bool resume(struct eventsocket *e)
{
    struct sockaddr_un peer;
    socklen_t len = sizeof peer;
    e->fd = e->s.fd;
    if (e->fd < 0)
        return false;
    if (getpeername(e->fd, (struct sockaddr *)&peer, &len) < 0 || !watch(e)) {
        disconnect(e);
        return false;
    }
    halfline_resume(e->held);
    log_info("event socket taken over");
    return true;
}

struct eventsocket *eventsocket_new(const struct eventsocket_setup *setup)
{
    struct eventsocket *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->s = *setup;
    e->fd = -1;
    e->delay_ns = EVENTSOCKET_RETRY_MIN;
    e->address.sun_family = AF_UNIX;
    size_t len = strlen(setup->path);
    e->held = halfline_open(setup->memory, setup->on_line, setup->on_too_long, setup->ctx);
    e->retry = evloop_timer(setup->loop, on_retry, e);
    if (len >= sizeof e->address.sun_path || !e->held || !e->retry) {
        eventsocket_free(e);
        return NULL;
    }
    memcpy(e->address.sun_path, setup->path, len);
    if (!resume(e)) {
        counter_set(&e->s.counters->eventsocket_up, 0); /* a killed predecessor may have left 1 */
        evloop_timer_set(e->retry, 0);
    }
    return e;
}

void eventsocket_free(struct eventsocket *e)
{
    if (!e)
        return;
    evsource_remove(e->readable);
    if (e->fd >= 0)
        (void)close(e->fd); /* not shut down: a successor may go on with it */
    evsource_remove(e->retry);
    halfline_close(e->held);
    free(e);
}
