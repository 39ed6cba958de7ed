/* SPDX-License-Identifier: Apache-2.0
 * See serve.h. */
#include "dispatcher/hub/serve.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/log.h"

#define TURN_BYTES ((size_t)256 * 1024) /* to one client in one turn */
#define AGAIN_NS (5 * NS_PER_MS)        /* for those whose connection is full */
#define PAUSE_NS (100 * NS_PER_MS)      /* of accepting, without fds to accept with */
#define LOOK_NS NS_PER_SEC              /* whether those who have closed their own direction are gone */

struct client {
    struct serve *serve;
    int fd;                    /* -1 = free */
    struct evsource *readable; /* NULL: it has closed its own direction, which would show as readable for ever */
    uint64_t pos;              /* of its next byte */
};

struct serve {
    const struct clock *clock;
    struct hub_page *counters;
    struct evloop *loop;
    int listener;
    struct evsource *on_listener, *timer; /* on_listener NULL: accepting pauses */
    struct evsource *resume, *look;
    bool armed;
    uint64_t head; /* bytes told so far; the last SERVE_ROOM of them are in room */
    char *room;
    struct client client[SERVE_CLIENTS];
    unsigned count;
    struct log_limit limit;
};

static void hang_up(struct client *c)
{
    evsource_remove(c->readable);
    c->readable = NULL;
    (void)close(c->fd);
    c->fd = -1;
    counter_set(&c->serve->counters->serve_clients, --c->serve->count);
}

/* Both directions are closed. */
static bool is_gone(const struct client *c)
{
    struct pollfd p = {.fd = c->fd};
    return poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR);
}

/* Clients have nothing to say: what they say is dropped. */
static void on_client(void *ctx)
{
    struct client *c = ctx;
    char nothing[4096];
    ssize_t n = recv(c->fd, nothing, sizeof nothing, MSG_DONTWAIT);
    if ((n == 0 && is_gone(c)) || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        hang_up(c);
    } else if (n == 0) {
        evsource_remove(c->readable);
        c->readable = NULL;
        evloop_timer_set(c->serve->look, LOOK_NS);
    }
}

static void on_look(void *ctx)
{
    struct serve *s = ctx;
    bool more = false;
    for (unsigned i = 0; i < SERVE_CLIENTS; i++) {
        struct client *c = &s->client[i];
        if (c->fd < 0 || c->readable)
            continue;
        if (is_gone(c))
            hang_up(c);
        else
            more = true;
    }
    if (more)
        evloop_timer_set(s->look, LOOK_NS);
}

static void arm(struct serve *s, int64_t ns)
{
    if (s->armed)
        return;
    s->armed = true;
    evloop_timer_set(s->timer, ns);
}

/* Sends what the connection takes. True if it took all that it may have in a turn, and more is there. */
static bool feed(struct client *c)
{
    struct serve *s = c->serve;
    for (size_t sent = 0; c->pos < s->head;) {
        size_t at = c->pos % SERVE_ROOM, n = s->head - c->pos;
        n = n < SERVE_ROOM - at ? n : SERVE_ROOM - at;
        n = n < TURN_BYTES - sent ? n : TURN_BYTES - sent;
        if (n == 0)
            return true;
        ssize_t took = send(c->fd, s->room + at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (took < 0 && errno == EINTR)
            continue;
        if (took < 0) {
            if (errno != EAGAIN)
                hang_up(c);
            return false;
        }
        c->pos += (uint64_t)took;
        sent += (size_t)took;
    }
    return false;
}

static void on_timer(void *ctx)
{
    struct serve *s = ctx;
    bool more = false, behind = false;
    s->armed = false;
    for (unsigned i = 0; i < SERVE_CLIENTS; i++) {
        struct client *c = &s->client[i];
        if (c->fd < 0)
            continue;
        more |= feed(c);
        behind |= c->fd >= 0 && c->pos < s->head;
    }
    if (more || behind)
        arm(s, more ? 0 : AGAIN_NS);
}

static struct client *free_client(struct serve *s)
{
    for (unsigned i = 0; i < SERVE_CLIENTS; i++)
        if (s->client[i].fd < 0)
            return &s->client[i];
    return NULL;
}

static void pause_accepting(struct serve *s)
{
    evsource_remove(s->on_listener);
    s->on_listener = NULL;
    evloop_timer_set(s->resume, PAUSE_NS);
}

static void on_connection(void *ctx);

static void on_resume(void *ctx)
{
    struct serve *s = ctx;
    s->on_listener = evloop_on_readable(s->loop, s->listener, on_connection, s);
    if (!s->on_listener)
        evloop_timer_set(s->resume, PAUSE_NS);
}

static void on_connection(void *ctx)
{
    struct serve *s = ctx;
    struct ucred who = {0};
    socklen_t len = sizeof who;
    unsigned long suppressed;
    int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            pause_accepting(s); /* it stays in the queue, and readable */
        return;
    }
    struct client *c = free_client(s);
    struct evsource *readable = c ? evloop_on_readable(s->loop, fd, on_client, c) : NULL;
    bool log = log_allow(&s->limit, s->clock->mono(s->clock->ctx), &suppressed);
    if (!readable) {
        if (log)
            log_warn("no room for another client of -events.serve clients=%u suppressed=%lu", s->count, suppressed);
        (void)close(fd);
        return;
    }
    *c = (struct client){s, fd, readable, s->head};
    counter_set(&s->counters->serve_clients, ++s->count);
    if (log && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0)
        log_info("client of -events.serve connected pid=%d uid=%u suppressed=%lu", (int)who.pid, (unsigned)who.uid,
                 suppressed);
}

struct serve *serve_new(struct evloop *loop, const struct clock *clock, int listener, struct hub_page *counters)
{
    struct serve *s = calloc(1, sizeof *s);
    if (!s) {
        (void)close(listener);
        return NULL;
    }
    s->clock = clock;
    s->counters = counters;
    s->loop = loop;
    s->listener = listener;
    for (unsigned i = 0; i < SERVE_CLIENTS; i++)
        s->client[i] = (struct client){.serve = s, .fd = -1};
    s->room = malloc(SERVE_ROOM);
    s->timer = evloop_timer(loop, on_timer, s);
    s->resume = evloop_timer(loop, on_resume, s);
    s->look = evloop_timer(loop, on_look, s);
    s->on_listener = evloop_on_readable(loop, listener, on_connection, s);
    if (!s->room || !s->timer || !s->resume || !s->look || !s->on_listener) {
        serve_free(s);
        return NULL;
    }
    counter_set(&counters->serve_clients, 0); /* a predecessor's are gone */
    return s;
}

void serve_free(struct serve *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < SERVE_CLIENTS; i++)
        if (s->client[i].fd >= 0)
            hang_up(&s->client[i]);
    evsource_remove(s->on_listener);
    evsource_remove(s->timer);
    evsource_remove(s->resume);
    evsource_remove(s->look);
    (void)close(s->listener);
    free(s->room);
    free(s);
}

bool serve_wanted(const struct serve *s)
{
    return s->count > 0;
}

/* Those whose next byte is about to be overwritten. */
static void cut_the_slow(struct serve *s, size_t len)
{
    unsigned long suppressed;
    for (unsigned i = 0; i < SERVE_CLIENTS; i++) {
        struct client *c = &s->client[i];
        if (c->fd < 0 || s->head + len - c->pos <= SERVE_ROOM)
            continue;
        counter_add(&s->counters->serve_cut, 1);
        if (log_allow(&s->limit, s->clock->mono(s->clock->ctx), &suppressed))
            log_warn("a client of -events.serve does not keep up and is cut suppressed=%lu", suppressed);
        hang_up(c);
    }
}

void serve_line(struct serve *s, const char *line, size_t len)
{
    if (s->count == 0)
        return;
    cut_the_slow(s, len);
    size_t at = s->head % SERVE_ROOM, first = len < SERVE_ROOM - at ? len : SERVE_ROOM - at;
    memcpy(s->room + at, line, first);
    memcpy(s->room, line + first, len - first);
    s->head += len;
    counter_add(&s->counters->serve_lines, 1);
    arm(s, 0);
}
