/* SPDX-License-Identifier: Apache-2.0
 * Binding, and messages in and out. At most a few messages per turn of the loop, so that an injector who never stops
 * leaves room for heartbeats and scrapes.
 * Failure policy: binding fails as a whole with a text; later errors are logged (at most once per second) and the
 * sockets stay: a shard heals lost pages by a replay, a requester asks again. */
#include "dispatcher/hub/ports.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/proto.h"

#define MESSAGES_PER_TURN 64
#define BYTES_PER_TURN                                                                                                 \
    ((size_t)256 * 1024) /* a message may have 16 MiB: the one that passes this is the turn's last                     \
                          */

/* A socket that takes messages in. */
struct door {
    struct ports *ports;
    enum ports_door which;
    struct bus *bus;
    struct evsource *source; /* NULL while an answer is open */
};

struct ports {
    struct evloop *loop;
    struct bus *pub[SHARDS_MAX], *events;
    unsigned shards;
    struct door door[PORTS_DOORS];
    ports_handler *handler;
    void *ctx;
    struct text answer;
    struct log_limit limit;
};

static const struct {
    const char *name;
    enum bus_kind kind;
    bool private; /* 0600 */
} doors[PORTS_DOORS] = {
    [PORTS_CTL] = {"ctl.sock", BUS_REP, false},
    [PORTS_INJECT] = {"inject.sock", BUS_PULL, false},
    [PORTS_REPLAY] = {"bus/replay.sock", BUS_REP, true},
};

static void complain(struct ports *p, const char *what, const char *name)
{
    const struct clock *clock = clock_system();
    unsigned long suppressed;
    if (log_allow(&p->limit, clock->mono(clock->ctx), &suppressed))
        log_warn("%s socket=%s error=%s suppressed=%lu", what, name, strerror(errno), suppressed);
}

static void send_answer(struct door *d)
{
    struct ports *p = d->ports;
    if (p->answer.failed) {
        text_clear(&p->answer);
        text_printf(&p->answer, "error memory: the answer is too large\n");
    }
    /* SC_EAGAIN: the one who asked has gone. */
    if (bus_send(d->bus, p->answer.data, p->answer.len) == SC_ESYS)
        complain(p, "cannot answer", doors[d->which].name);
}

/* false: the answer is open. A REP socket forgets who asked when it takes the next request, so none is taken. */
static bool answer_to(struct door *d, const void *request, size_t len)
{
    struct ports *p = d->ports;
    text_clear(&p->answer);
    bool known = p->handler(p->ctx, d->which, request, len, &p->answer);
    if (known)
        send_answer(d);
    return known;
}

static void on_message(void *ctx)
{
    struct door *d = ctx;
    struct ports *p = d->ports;
    void *bytes;
    size_t len, taken = 0;
    for (int i = 0; i < MESSAGES_PER_TURN && taken < BYTES_PER_TURN; i++, taken += len) {
        int rc = bus_recv(d->bus, &bytes, &len);
        if (rc != SC_OK) {
            if (rc != SC_EAGAIN)
                complain(p, "cannot receive", doors[d->which].name);
            return;
        }
        bool open = false;
        if (doors[d->which].kind == BUS_REP)
            open = !answer_to(d, bytes, len);
        else
            (void)p->handler(p->ctx, d->which, bytes, len, NULL);
        bus_free(bytes);
        if (open) {
            evsource_remove(d->source);
            d->source = NULL;
            return;
        }
    }
}

void ports_answer_later(struct ports *p, enum ports_door door, const char *line)
{
    struct door *d = &p->door[door];
    if (d->source)
        return;
    text_clear(&p->answer);
    text_printf(&p->answer, "%s", line);
    send_answer(d);
    d->source = evloop_on_readable(p->loop, bus_fd(d->bus), on_message, d);
    if (!d->source)
        log_fatal(EXIT_TEMPFAIL, "cannot listen again: out of memory socket=%s", doors[door].name);
}

static int too_long(char error[BUS_ERROR])
{
    (void)snprintf(error, BUS_ERROR, "-rundir is too long: a socket's path has at most 107 bytes");
    return SC_ETOOLONG;
}

static int bind_at(struct bus **out, enum bus_kind kind, int path_rc, const char *path, int mode0600,
                   char error[BUS_ERROR])
{
    if (path_rc != SC_OK)
        return too_long(error);
    *out = bus_bind(kind, path, mode0600, error);
    return *out ? SC_OK : SC_ESYS;
}

static int bind_all(struct ports *p, const char *rundir, char error[BUS_ERROR])
{
    char path[BUS_PATH];
    int rc = bus_path(path, rundir, "bus");
    if (rc != SC_OK)
        return too_long(error);
    if (mkdir(path, 0750) < 0 && errno != EEXIST) {
        (void)snprintf(error, BUS_ERROR, "cannot make directory %s: %s", path, strerror(errno));
        return SC_ESYS;
    }
    for (unsigned i = 0; rc == SC_OK && i < p->shards; i++) {
        rc = bus_shard_path(path, rundir, i);
        rc = bind_at(&p->pub[i], BUS_PUB, rc, path, 1, error);
    }
    for (unsigned i = 0; rc == SC_OK && i < PORTS_DOORS; i++) {
        rc = bus_path(path, rundir, doors[i].name);
        rc = bind_at(&p->door[i].bus, doors[i].kind, rc, path, doors[i].private, error);
    }
    if (rc == SC_OK) {
        rc = bus_path(path, rundir, "events.sock");
        rc = bind_at(&p->events, BUS_PUB, rc, path, 0, error);
    }
    return rc;
}

struct ports *ports_new(struct evloop *loop, const char *rundir, unsigned shards, ports_handler *handler, void *ctx,
                        char error[BUS_ERROR])
{
    (void)snprintf(error, BUS_ERROR, "out of memory");
    struct ports *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->loop = loop;
    p->shards = shards;
    p->handler = handler;
    p->ctx = ctx;
    if (bind_all(p, rundir, error) != SC_OK) {
        ports_free(p);
        return NULL;
    }
    for (unsigned i = 0; i < PORTS_DOORS; i++) {
        struct door *d = &p->door[i];
        d->ports = p;
        d->which = (enum ports_door)i;
        d->source = evloop_on_readable(loop, bus_fd(d->bus), on_message, d);
        if (!d->source) {
            (void)snprintf(error, BUS_ERROR, "out of memory");
            ports_free(p);
            return NULL;
        }
    }
    return p;
}

void ports_free(struct ports *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < PORTS_DOORS; i++) {
        evsource_remove(p->door[i].source);
        bus_close(p->door[i].bus);
    }
    for (unsigned i = 0; i < p->shards; i++)
        bus_close(p->pub[i]);
    bus_close(p->events);
    text_free(&p->answer);
    free(p);
}

void ports_send(struct ports *p, unsigned shard, const void *bytes, size_t len)
{
    if (bus_send(p->pub[shard], bytes, len) == SC_ESYS)
        complain(p, "cannot send a page of events", "bus");
}

unsigned ports_watchers(const struct ports *p)
{
    return bus_peers(p->events);
}

void ports_tell_watchers(struct ports *p, const void *bytes, size_t len)
{
    if (bus_send(p->events, bytes, len) == SC_ESYS)
        complain(p, "cannot send", "events.sock");
}
