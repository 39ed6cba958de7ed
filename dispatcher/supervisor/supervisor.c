/* SPDX-License-Identifier: Apache-2.0
 * See supervisor.h. Failure policy: a child's death is never ours; a child that refuses its configuration, or a
 * dispatcher that cannot open its capture at start, stops the family with its status and its words as the reason. */
#include "dispatcher/supervisor/supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dispatcher/supervisor/family.h"
#include "dispatcher/supervisor/notify.h"
#include "dispatcher/supervisor/resident.h"
#include "dispatcher/supervisor/watch.h"
#include "shared/log.h"

#define TICK_NS (20 * NS_PER_MS)
#define SECOND_TICKS (NS_PER_SEC / TICK_NS)
#define START_TRIES 4    /* faults of a child that was never ready, before the start is given up */
#define START_DEATHS 50  /* the same for deaths that somebody else caused, as a machine short of memory does */
#define FINISH_TRIES 5   /* faults of a child while the family ends */
#define LAST_MESSAGES 16 /* times the budget of on_message: more than a socket holds */

static void on_message(void *ctx);
static void finish_shards(struct family *f);

/* ---- counters for the others ---- */

static void set_gauges(struct family *f)
{
    struct supervisor_page *p = f->memory->supervisor;
    bool ready = f->phase == PHASE_RUNNING;
    counter_set(&p->up_hub, f->hub.slot.state == SLOT_READY);
    counter_set(&p->up_dispatcher, f->dispatcher.slot.state == SLOT_READY);
    counter_set(&p->pid_hub, (uint64_t)f->hub.pid);
    counter_set(&p->pid_dispatcher, (uint64_t)f->dispatcher.pid);
    ready = ready && f->hub.slot.state == SLOT_READY && f->dispatcher.slot.state == SLOT_READY;
    for (unsigned i = 0; i < f->memory->shards; i++) {
        bool up = f->shard[i].slot.state == SLOT_READY;
        counter_set(&p->up_shard[i], up);
        counter_set(&p->pid_shard[i], (uint64_t)f->shard[i].pid);
        ready = ready && up;
    }
    counter_set(&p->ready, ready);
    counter_set(&p->draining, f->phase >= PHASE_DRAINING);
}

static counter *restarts_of(const struct child *c)
{
    struct supervisor_page *p = c->family->memory->supervisor;
    if (c->kind == CHILD_HUB)
        return &p->restarts_hub;
    return c->kind == CHILD_DISPATCHER ? &p->restarts_dispatcher : &p->restarts_shard[c->index];
}

/* ---- starting ---- */

static void list_of(const struct child *c, struct attach_list *l)
{
    const struct family *f = c->family;
    l->count = 0;
    if (c->kind == CHILD_DISPATCHER) {
        attach_dispatcher(l, f->memory, f->fds, f->config);
    } else if (c->kind == CHILD_SHARD) {
        attach_shard(l, f->memory, f->fds, c->index);
    } else {
        attach_hub(l, f->memory, f->fds);
        for (unsigned i = 0; i < f->kept_count; i++)
            attach_add(l, (enum proto_role)f->kept[i].role, f->kept[i].index, f->kept[i].fd);
    }
}

static const struct program *program_of(const struct child *c)
{
    const struct family *f = c->family;
    if (c->kind == CHILD_HUB)
        return &f->hub_program;
    return c->kind == CHILD_DISPATCHER ? &f->dispatcher_program : &f->shard_program;
}

static void spawn(struct child *c)
{
    struct family *f = c->family;
    static struct attach_list list; /* large; used up before it returns */
    char name[CHILD_NAME];
    pid_t pid = spawn_child(program_of(c), &c->sock);
    if (pid < 0) {
        log_error("cannot start a process child=%s error=%m", child_name(c, name));
        slot_spawn_failed(&c->slot, family_now(f));
        return;
    }
    c->pid = pid;
    c->stop_sent = false;
    c->failure[0] = '\0';
    slot_spawned(&c->slot, family_now(f));
    c->progress_since = family_now(f);
    list_of(c, &list);
    int err = attach_send(c->sock, c->index, c->slot.generation, &list);
    c->on_message = evloop_on_readable(f->loop, c->sock, on_message, c);
    if (err || !c->on_message) {
        log_error("cannot attach a process child=%s error=%s", child_name(c, name), sc_strerror(err));
        slot_killed(&c->slot);
        child_kill(c);
    }
    log_debug("started child=%s pid=%d generation=%u", child_name(c, name), (int)pid, c->slot.generation);
}

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
            notify_send("READY=1\nSTATUS=capturing");
        } else if (f->phase == PHASE_DRAINING) {
            child_tell(c, PROTO_STOP, 0); /* a successor that came up while we stop: only the END is wanted */
        }
    } else if (c->kind == CHILD_SHARD && f->phase == PHASE_FINISHING) {
        c->stop_sent = true;
        child_tell(c, PROTO_STOP, 0);
    }
    step_up(f);
}

/* ---- stopping ---- */

static void close_hub(struct family *f)
{
    family_enter(f, PHASE_CLOSING);
    f->hub.stop_sent = true;
    child_tell(&f->hub, PROTO_STOP, 0);
    if (f->hub.slot.state == SLOT_DUE || f->hub.slot.state == SLOT_IDLE)
        slot_exited(&f->hub.slot, DEATH_DONE, false, family_now(f));
    if (f->hub.pid == 0)
        evloop_stop(f->loop);
}

static void finish_shards(struct family *f)
{
    bool all = true;
    if (f->phase < PHASE_FINISHING)
        family_enter(f, PHASE_FINISHING);
    for (unsigned i = 0; i < f->memory->shards; i++) {
        struct child *c = &f->shard[i];
        if (!c->stop_sent && c->slot.state == SLOT_READY) { /* the END may be missing; both together do no harm */
            c->stop_sent = true;
            child_tell(c, PROTO_STOP, 0);
        }
        if (c->slot.state == SLOT_DUE && !c->ever_ready && c->pid == 0)
            slot_exited(&c->slot, DEATH_DONE, false, family_now(f)); /* it has nothing to save */
        all = all && c->slot.state == SLOT_ENDED;
    }
    if (all && f->phase == PHASE_FINISHING)
        close_hub(f);
}

/* Ends the family. wait_ms: how long the dispatcher is to go on. */
static void stop(struct family *f, int64_t wait_ms)
{
    notify_send("STOPPING=1\nSTATUS=draining");
    if (f->phase == PHASE_RUNNING || f->phase == PHASE_DRAINING || f->dispatcher.pid > 0) {
        family_enter(f, PHASE_DRAINING);
        if (f->dispatcher.pid > 0) {
            f->dispatcher.stop_sent = true;
            child_tell(&f->dispatcher, PROTO_STOP, wait_ms);
            return;
        }
        slot_exited(&f->dispatcher.slot, DEATH_DONE, false, family_now(f)); /* it was between two lives */
    }
    if (f->phase < PHASE_FINISHING)
        finish_shards(f);
}

static void on_signal(void *ctx)
{
    struct family *f = ctx;
    f->stops++;
    if (f->stops == 1)
        log_info("stopping grace=%lldms", (long long)(f->config->sigtermwait_ns / NS_PER_MS));
    stop(f, f->stops == 1 ? f->config->sigtermwait_ns / NS_PER_MS : 0);
}

/* ---- messages ---- */

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
    default:
        log_warn("unexpected message child=%s type=%u", child_name(c, name), msg->type);
    }
}

static void on_message(void *ctx)
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
            evsource_remove(c->on_message); /* its death is noticed by SIGCHLD */
            c->on_message = NULL;
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

/* ---- deaths ---- */

/* True if the child is to be replaced. Status 0 alone is no proof that the work is done: SIGTERM from outside means
 * "leave as things are", and whoever sends it to the whole process group sends it to all. */
static bool wanted(const struct child *c, enum slot_death death)
{
    const struct family *f = c->family;
    if (c->kind == CHILD_HUB)
        return f->phase < PHASE_CLOSING;
    if (c->kind == CHILD_DISPATCHER)
        return !config_reads_files(f->config) && !(death == DEATH_DONE && c->stop_sent) && f->phase <= PHASE_DRAINING &&
               f->stops < 2;
    if (f->phase >= PHASE_DRAINING && c->slot.faults >= FINISH_TRIES)
        return false;
    if (death == DEATH_DONE && (f->phase >= PHASE_DRAINING || config_reads_files(f->config)))
        return watch_shard_owes(f, c->index);
    return f->phase < PHASE_FINISHING || c->ever_ready;
}

/* A death that ends the run: nobody needs to see it again. */
static bool is_fatal(const struct child *c, enum slot_death death)
{
    const struct family *f = c->family;
    if (death == DEATH_CONFIG)
        return true;
    if (death == DEATH_FAULT && c->failure[0] && (!c->ever_ready || (c->kind == CHILD_DISPATCHER && !f->capturing)))
        return true;
    if (c->ever_ready || f->phase > PHASE_OPENING)
        return false;
    return (death == DEATH_FAULT && c->slot.faults + 1 >= START_TRIES) || c->unready_deaths >= START_DEATHS;
}

static void dispatcher_died(struct family *f, enum slot_death death, int wait_status, const char *how)
{
    struct child *c = &f->dispatcher;
    bool asked = f->stops > 0 && WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGTERM;
    if (c->slot.state == SLOT_DUE)
        return; /* a successor will go on */
    if (death != DEATH_DONE && !asked)
        family_fail(f, c->failure[0] ? c->failure_status : EXIT_FAILED, c->failure[0] ? "" : "dispatcher",
                    c->failure[0] ? c->failure : how);
    finish_shards(f);
}

/* A shard that will not be there again. If its ring is full the dispatcher waits for room in it: told twice, it gives
 * up waiting. */
static void give_up(struct family *f)
{
    stop(f, 0);
    if (f->phase == PHASE_DRAINING)
        stop(f, 0);
}

static void died(struct child *c, int wait_status)
{
    struct family *f = c->family;
    char name[CHILD_NAME], how[SPAWN_DEATH_TEXT];
    enum slot_death death = slot_death_of(&c->slot, wait_status);
    child_name(c, name);
    for (int i = 0; i < LAST_MESSAGES && c->on_message; i++)
        on_message(c); /* its last words */
    c->unready_deaths += !c->ever_ready;
    bool fatal = is_fatal(c, death);
    bool again = wanted(c, death);
    child_close(c);
    spawn_death_text(wait_status, how);
    int64_t delay = slot_exited(&c->slot, death, again && !fatal, family_now(f));
    if (delay >= 0) {
        counter_add(restarts_of(c), 1);
        log_warn("child died child=%s how=\"%s\"%s%s restart_in=%lldms", name, how, c->failure[0] ? " why=" : "",
                 c->failure, (long long)(delay / NS_PER_MS));
    }
    if (fatal && c->kind != CHILD_DISPATCHER) {
        int status = c->failure[0] ? c->failure_status : death == DEATH_CONFIG ? WEXITSTATUS(wait_status) : EXIT_FAILED;
        family_fail(f, status, c->failure[0] ? "" : name, c->failure[0] ? c->failure : how);
        give_up(f);
    } else if (!again && death != DEATH_DONE && c->kind == CHILD_SHARD) {
        family_fail(f, EXIT_FAILED, name, how);
        give_up(f);
    }
    if (c->kind == CHILD_DISPATCHER)
        dispatcher_died(f, death, wait_status, how);
    else if (c->kind == CHILD_SHARD && f->phase >= PHASE_FINISHING)
        finish_shards(f);
    else if (c->kind == CHILD_HUB && f->phase == PHASE_CLOSING)
        evloop_stop(f->loop);
    set_gauges(f);
}

static void reap(struct child *c)
{
    int status;
    if (c->pid > 0 && spawn_reap(c->pid, &status) == c->pid)
        died(c, status);
}

static void on_sigchld(void *ctx)
{
    struct family *f = ctx;
    reap(&f->dispatcher);
    for (unsigned i = 0; i < f->memory->shards; i++)
        reap(&f->shard[i]);
    reap(&f->hub);
}

/* ---- the clock ---- */

static void tick_slot(struct child *c, struct mono now)
{
    char name[CHILD_NAME];
    switch (slot_tick(&c->slot, now)) {
    case SLOT_SPAWN:
        spawn(c);
        break;
    case SLOT_KILL:
        log_warn("killing a child that does not get ready child=%s", child_name(c, name));
        child_kill(c);
        break;
    case SLOT_NOTHING:
        break;
    }
}

static void every_second(struct family *f, struct mono now)
{
    struct totals totals;
    pid_t pids[SHARDS_MAX + 3];
    unsigned n = 0;
    pids[n++] = getpid();
    pids[n++] = f->hub.pid;
    pids[n++] = f->dispatcher.pid;
    for (unsigned i = 0; i < f->memory->shards; i++)
        pids[n++] = f->shard[i].pid;
    totals_read(&totals, f->memory->dispatcher, f->memory->shard, f->memory->shards);
    terminal_tick(f->terminal, &totals, resident_bytes(pids, n) + totals.budget_used, now);
}

static void on_tick(void *ctx)
{
    struct family *f = ctx;
    struct mono now = family_now(f);
    evloop_timer_set(f->timer, TICK_NS);
    on_sigchld(f); /* a signal may have been merged with another */
    tick_slot(&f->hub, now);
    for (unsigned i = 0; i < f->memory->shards; i++) {
        tick_slot(&f->shard[i], now);
    }
    tick_slot(&f->dispatcher, now);
    watch_children(f, now);
    for (unsigned i = 0; i < f->memory->shards; i++) /* one that left early, and only then got work */
        if (f->shard[i].slot.state == SLOT_ENDED && f->phase <= PHASE_FINISHING &&
            f->shard[i].slot.faults < FINISH_TRIES && f->status == EXIT_DONE && watch_shard_owes(f, i))
            slot_want(&f->shard[i].slot, now);
    if (f->phase == PHASE_FINISHING)
        finish_shards(f);
    set_gauges(f);
    if (f->ticks++ % SECOND_TICKS == 0)
        every_second(f, now);
}

/* ---- life ---- */

static void init_child(struct family *f, struct child *c, enum child_kind kind, unsigned index)
{
    *c = (struct child){.family = f, .kind = kind, .index = index, .sock = -1};
    slot_init(&c->slot, kind == CHILD_HUB ? NS_PER_SEC : 30 * NS_PER_SEC);
}

static int open_programs(struct family *f, const char **reason_r)
{
    static char reason[256];
    struct program *programs[] = {&f->hub_program, &f->dispatcher_program, &f->shard_program};
    const char *names[] = {"shardcap-hub", "shardcap-dispatcher", "shardcap-shard"};
    for (unsigned i = 0; i < 3; i++)
        if (spawn_open(programs[i], names[i]) != SC_OK) {
            snprintf(reason, sizeof(reason), "cannot open %s beside this program: %m; install all five together",
                     names[i]);
            *reason_r = reason;
            return SC_ESYS;
        }
    return SC_OK;
}

static bool listen_to_signals(struct family *f)
{
    struct sigaction hup;
    bool nohup = sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler == SIG_IGN; /* nohup(1) is obeyed */
    return evloop_on_signal(f->loop, SIGCHLD, on_sigchld, f) && evloop_on_signal(f->loop, SIGTERM, on_signal, f) &&
           evloop_on_signal(f->loop, SIGINT, on_signal, f) &&
           (nohup || evloop_on_signal(f->loop, SIGHUP, on_signal, f));
}

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void supervisor_hold_signals(void)
{
    sigset_t set;
    stop_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void release_signals(void)
{
    sigset_t set;
    stop_signals(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int supervisor_run(const struct config *config, const struct memory *memory, const struct settings_fds *fds,
                   struct terminal *terminal, const char **reason_r)
{
    static struct family f; /* large, and the reason outlives the call */
    f = (struct family){.config = config, .memory = memory, .fds = fds, .terminal = terminal, .clock = clock_system()};
    *reason_r = NULL;
    if (open_programs(&f, reason_r) != SC_OK)
        return EXIT_FAILED;
    init_child(&f, &f.hub, CHILD_HUB, 0);
    init_child(&f, &f.dispatcher, CHILD_DISPATCHER, 0);
    for (unsigned i = 0; i < memory->shards; i++)
        init_child(&f, &f.shard[i], CHILD_SHARD, i);
    f.loop = evloop_new();
    f.timer = f.loop ? evloop_timer(f.loop, on_tick, &f) : NULL;
    if (!f.timer || !listen_to_signals(&f)) {
        *reason_r = "cannot start the event loop: out of memory or file descriptors";
        return EXIT_FAILED;
    }
    signal(SIGPIPE, SIG_IGN);
    release_signals();
    family_enter(&f, PHASE_STARTING);
    slot_want(&f.hub.slot, family_now(&f));
    for (unsigned i = 0; i < memory->shards; i++)
        slot_want(&f.shard[i].slot, family_now(&f));
    evloop_timer_set(f.timer, 0);
    evloop_run(f.loop);
    set_gauges(&f);
    evloop_free(f.loop);
    if (f.reason[0])
        *reason_r = f.reason;
    return f.status;
}
