/* SPDX-License-Identifier: Apache-2.0
 * See external.h. Failure policy: whoever may not attach is told why, as far as it listens, and is cut off; at most
 * PENDING_MAX callers are heard at a time. */
#include "dispatcher/supervisor/external.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dispatcher/supervisor/spawn.h"
#include "dispatcher/supervisor/starting.h"
#include "shared/layout.h"
#include "shared/log.h"

#define PENDING_MAX 16
#define PENDING_LIMIT_NS (5 * NS_PER_SEC)

/* One that has connected and not yet said what it wants. */
struct caller {
    struct family *family;
    int sock; /* -1 = free */
    pid_t pid;
    bool stranger; /* told so once its message is read: a socket that is closed before loses the answer */
    struct evsource *source;
    struct mono until;
};

static struct caller callers[PENDING_MAX];

static void cut(struct caller *c)
{
    evsource_remove(c->source);
    close(c->sock);
    *c = (struct caller){.sock = -1};
}

static void refuse(struct caller *c, uint32_t slot, int status, const char *text)
{
    struct proto_msg msg = {.type = PROTO_REFUSED, .slot = slot, .value = status};
    snprintf(msg.text, sizeof(msg.text), "%s", text);
    log_warn("a shard was refused slot=%u status=%d why=\"%s\"", slot, status, text);
    if (proto_send(c->sock, &msg, NULL) != SC_OK)
        log_debug("the refusal did not reach it"); /* it sees the end of the socket */
    cut(c);
}

int external_verdict(const struct family *f, uint32_t slot, const char *layout, char *text)
{
    char common[LAYOUT_TEXT], name[LAYOUT_NAME];
    if (slot >= f->memory->shards) {
        snprintf(text, PROTO_TEXT, "there is no slot %u: -shards is %u", slot, f->memory->shards);
        return EXIT_CONFIG;
    }
    const struct child *c = &f->shard[slot];
    long arena = layout_number(layout, "arena");
    if (layout_differs(layout_common(common), layout, name)) {
        snprintf(text, PROTO_TEXT, "another version: layout of %s differs; install all five programs together", name);
        return EXIT_CONFIG;
    }
    if (arena < 0 || (c->arena_layout != 0 && arena != c->arena_layout)) {
        snprintf(text, PROTO_TEXT,
                 "another version: the arena of slot %u has layout %ld, yours is %ld; restart the service", slot,
                 c->arena_layout, arena);
        return EXIT_CONFIG;
    }
    if (child_there(c) || c->slot.state != SLOT_DUE) {
        snprintf(text, PROTO_TEXT, child_there(c) ? "slot %u is taken" : "slot %u is not wanted any more: stopping",
                 slot);
        return EXIT_TEMPFAIL;
    }
    return EXIT_DONE;
}

static void take_over(struct caller *caller, struct child *c, const char *layout)
{
    c->sock = caller->sock;
    c->pid = caller->pid;
    c->pidfd = c->pid > 0 ? spawn_pidfd(c->pid) : -1; /* to kill it if it hangs; not to wait for it */
    c->arena_layout = layout_number(layout, "arena");
    evsource_remove(caller->source);
    *caller = (struct caller){.sock = -1};
    starting_attach(c);
}

static void on_caller(void *ctx)
{
    struct caller *caller = ctx;
    struct family *f = caller->family;
    struct proto_msg msg;
    int fds[PROTO_FDS_PER_MSG];
    char text[PROTO_TEXT];
    int err = proto_recv(caller->sock, &msg, fds);
    if (err == SC_EAGAIN)
        return;
    if (err == SC_OK && caller->stranger) {
        for (unsigned i = 0; i < msg.fd_count; i++)
            close(fds[i]);
        refuse(caller, msg.slot, EXIT_CONFIG,
               "your user may not attach: run as root, as the user of shardcap or as its -user");
        return;
    }
    if (err == SC_EVERSION) {
        refuse(caller, msg.slot, EXIT_CONFIG,
               "another version of the attach protocol; install all five programs together");
        return;
    }
    for (unsigned i = 0; err == SC_OK && i < msg.fd_count; i++)
        close(fds[i]);
    if (err || msg.type != PROTO_JOIN) {
        cut(caller);
        return;
    }
    int status = external_verdict(f, msg.slot, msg.text, text);
    if (status != EXIT_DONE)
        refuse(caller, msg.slot, status, text);
    else
        take_over(caller, &f->shard[msg.slot], msg.text);
}

static struct caller *free_caller(void)
{
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (callers[i].sock < 0)
            return &callers[i];
    return NULL;
}

static void on_connect(void *ctx)
{
    struct family *f = ctx;
    struct ucred who = {0};
    socklen_t len = sizeof(who);
    struct caller *c = free_caller();
    int sock = accept4(f->fds->attach, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (sock < 0)
        return;
    bool known = getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0;
    if (!known || !c) { /* it tries again */
        close(sock);
        return;
    }
    *c = (struct caller){.family = f, .sock = sock, .pid = who.pid};
    c->until.ns = family_now(f).ns + PENDING_LIMIT_NS;
    c->stranger = who.uid != 0 && who.uid != geteuid() && who.uid != f->config->uid;
    c->source = evloop_on_readable(f->loop, sock, on_caller, c);
    if (!c->source)
        cut(c);
}

int external_listen(struct family *f)
{
    for (unsigned i = 0; i < PENDING_MAX; i++)
        callers[i].sock = -1;
    for (unsigned i = 0; i < f->memory->shards; i++)
        f->shard[i].slot.external = true;
    log_info("waiting for %u shards of other supervisors to attach at %s/attach.sock", f->memory->shards,
             f->config->rundir);
    return evloop_on_readable(f->loop, f->fds->attach, on_connect, f) ? SC_OK : SC_ENOMEM;
}

void external_tick(struct family *f, struct mono now)
{
    if (f->fds->attach < 0)
        return;
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (callers[i].sock >= 0 && now.ns >= callers[i].until.ns)
            cut(&callers[i]);
}
