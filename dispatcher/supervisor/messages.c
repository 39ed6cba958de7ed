/* SPDX-License-Identifier: Apache-2.0
 * See messages.h. Failure policy: a message that makes no sense is ignored with a warning, and so is one of another
 * generation. */
#include "dispatcher/supervisor/messages.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/supervisor/commands.h"
#include "dispatcher/supervisor/family.h"
#include "dispatcher/supervisor/handover.h"
#include "dispatcher/supervisor/notify.h"
#include "dispatcher/supervisor/rollout.h"
#include "dispatcher/supervisor/settings_dirs.h"
#include "dispatcher/supervisor/stopping.h"
#include "shared/log.h"

static void step_up(struct family *f)
{
    bool all = f->hub.slot.state == SLOT_READY;
    for (unsigned i = 0; i < f->memory->shards; i++)
        all = all && f->shard[i].slot.state == SLOT_READY;
    if (all && f->phase == PHASE_STARTING) {
        family_enter(f, PHASE_OPENING);
        slot_want(&f->dispatcher.slot, family_now(f));
    }
}

static void on_ready(struct child *c)
{
    struct family *f = c->family;
    char name[CHILD_NAME];
    slot_ready(&c->slot, family_now(f));
    c->ever_ready = true;
    if (c->slot.generation > 1)
        log_info("restarted child=%s pid=%d generation=%u", child_name(c, name), (int)c->pid, c->slot.generation);
    if (c->kind == CHILD_DISPATCHER) {
        child_tell(c, PROTO_START, 0);
        if (f->phase == PHASE_OPENING) {
            family_enter(f, PHASE_RUNNING);
            log_info("running shards=%u", f->memory->shards);
            if (config_reads_files(f->config))
                notify_send("READY=1\nSTATUS=capturing");
        } else if (f->phase == PHASE_DRAINING) {
            stopping_tell_dispatcher(f); /* a successor that came up while we stop */
        }
    } else if (c->kind == CHILD_SHARD && f->phase == PHASE_FINISHING) {
        c->stop_sent = true;
        child_tell(c, PROTO_STOP, 0);
    }
    step_up(f);
    evloop_timer_set(f->timer, 0); /* the next one may start */
}

static void keep(struct family *f, const struct proto_msg *msg, int *fds)
{
    for (unsigned i = 0; i < msg->fd_count; i++) {
        unsigned k = 0;
        while (k < f->kept_count && (f->kept[k].role != msg->names[i].role || f->kept[k].index != msg->names[i].index))
            k++;
        if (k == sizeof(f->kept) / sizeof(*f->kept))
            continue; /* its fd is closed by the caller */
        if (k == f->kept_count)
            f->kept_count++;
        else
            close(f->kept[k].fd);
        f->kept[k] = (struct proto_fd){msg->names[i].role, msg->names[i].index, fds[i]};
        fds[i] = -1;
    }
}

static void on_failed(struct child *c, const struct proto_msg *msg)
{
    snprintf(c->failure, sizeof(c->failure), "%s", msg->text);
    c->failure_status = (int)msg->value;
}

/* A shard has nowhere to write to: what was removed is made again, and all shards are replaced, for only a new one may
 * touch the new place. They leave as they are, so nothing is lost. */
static void on_removed(struct family *f)
{
    static struct log_limit limit;
    char error[FLAGS_ERROR];
    unsigned long more;
    bool again;
    if (f->phase != PHASE_RUNNING || rollout_busy(f)) /* if it is so still, it is told again */
        return;
    if (dirs_open_again(f->config, f->fds, &again, error) != SC_OK) {
        if (log_allow(&limit, family_now(f), &more))
            log_error("%s suppressed=%lu", error, more);
        return;
    }
    if (!again)
        return; /* told by one that still had the old ones */
    log_warn("the directory of files, or that of unfinished ones, was removed: it is made again, and all shards are "
             "restarted datadir=%s stagingdir=%s",
             f->config->datadir, f->config->stagingdir);
    for (unsigned i = 0; i < f->memory->shards; i++)
        rollout_add(f, &f->shard[i], PROTO_LEAVE);
}

static void answer(struct child *hub, const struct proto_msg *question)
{
    char text[PROTO_TEXT];
    if (commands_run(hub->family, question->text, question->value, text))
        child_answer(hub, question->value, text);
}

static void handle(struct child *c, const struct proto_msg *msg, int *fds)
{
    struct family *f = c->family;
    char name[CHILD_NAME];
    switch (msg->type) {
    case PROTO_READY:
        on_ready(c);
        break;
    case PROTO_SAVED:
        terminal_saved(f->terminal, msg->text);
        break;
    case PROTO_FAILED:
        on_failed(c, msg);
        break;
    case PROTO_WATCHING:
        if (!f->capturing && !config_reads_files(f->config) && f->phase == PHASE_RUNNING)
            notify_send("READY=1\nSTATUS=capturing"); /* what is sent from now on is captured */
        f->capturing = true;
        terminal_watching(f->terminal, msg->text);
        break;
    case PROTO_KEEP:
        if (c->kind == CHILD_HUB)
            keep(f, msg, fds);
        break;
    case PROTO_KILL:
        if (c->kind == CHILD_DISPATCHER && msg->value >= 0 && msg->value < f->memory->shards) {
            struct child *shard = &f->shard[msg->value];
            log_warn("killing a shard that wrote an impossible index child=%s", child_name(shard, name));
            slot_killed(&shard->slot);
            child_kill(shard);
        }
        break;
    case PROTO_REMOVED:
        if (c->kind == CHILD_SHARD)
            on_removed(f);
        break;
    case PROTO_TAKEN:
        if (c == &f->heir)
            handover_taken(f);
        break;
    case PROTO_ASK:
        if (c->kind == CHILD_HUB)
            answer(c, msg);
        break;
    default:
        log_warn("unexpected message child=%s type=%u", child_name(c, name), msg->type);
    }
}

void messages_take(void *ctx)
{
    struct child *c = ctx;
    static struct proto_msg msg;
    int fds[PROTO_FDS_PER_MSG];
    char name[CHILD_NAME];
    for (int budget = 64; budget > 0; budget--) { /* the others want their turn */
        int err = proto_recv(c->sock, &msg, fds);
        if (err == SC_EAGAIN)
            return;
        if (err) {
            if (err != SC_EOF)
                log_warn("bad message child=%s error=%s", child_name(c, name), sc_strerror(err));
            evsource_remove(c->on_message);
            c->on_message = NULL;
            if (c->slot.external) /* its death; that of a child of ours is reaped */
                c->family->on_exit(c);
            return;
        }
        if (msg.generation == c->slot.generation)
            handle(c, &msg, fds);
        else
            log_warn("message of another generation child=%s generation=%u", child_name(c, name), msg.generation);
        for (unsigned i = 0; i < msg.fd_count; i++)
            if (fds[i] >= 0)
                close(fds[i]);
    }
}
