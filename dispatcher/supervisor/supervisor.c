/* SPDX-License-Identifier: Apache-2.0
 * See supervisor.h. Failure policy: what cannot be set up at the start is a reason; from then on nothing here fails. */
#include "dispatcher/supervisor/supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "dispatcher/supervisor/deaths.h"
#include "dispatcher/supervisor/external.h"
#include "dispatcher/supervisor/family.h"
#include "dispatcher/supervisor/gauges.h"
#include "dispatcher/supervisor/handover.h"
#include "dispatcher/supervisor/messages.h"
#include "dispatcher/supervisor/notify.h"
#include "dispatcher/supervisor/resident.h"
#include "dispatcher/supervisor/resume.h"
#include "dispatcher/supervisor/rollout.h"
#include "dispatcher/supervisor/starting.h"
#include "dispatcher/supervisor/stopping.h"
#include "dispatcher/supervisor/summary.h"
#include "dispatcher/supervisor/turn.h"
#include "dispatcher/supervisor/upgrade.h"
#include "dispatcher/supervisor/watch.h"
#include "shared/log.h"

#define TICK_NS (20 * NS_PER_MS)
#define CALM_TICK_NS (100 * NS_PER_MS) /* while all is well: whatever happens wakes the loop by itself */
#define STATUS_SECONDS 5               /* between two status lines for a service manager */

static void on_signal(void *ctx)
{
    stopping_ask(ctx);
}

/* The table of the end, as of now. */
static void on_usr1(void *ctx)
{
    struct family *f = ctx;
    struct totals totals;
    char text[LOG_TEXT_MAX];
    FILE *out = fmemopen(text, sizeof text, "w");
    if (!out)
        return;
    totals_read(&totals, f->memory->dispatcher, f->memory->shard, f->memory->shards);
    struct wall now = f->clock->wall(f->clock->ctx);
    summary_table(out, &totals, (double)(now.ns - f->config->started_ns) / (double)NS_PER_SEC, f->config);
    (void)fflush(out);
    log_text(text, (size_t)ftell(out));
    fclose(out);
}

/* ---- the clock ---- */

static void tick_slot(struct child *c, struct mono now)
{
    char name[CHILD_NAME];
    switch (slot_tick(&c->slot, now)) {
    case SLOT_SPAWN:
        if (turn_of(c->family, c) && !starting_spawn(c))
            stopping_give_up(c->family);
        break;
    case SLOT_KILL:
        log_warn("killing a child that does not %s child=%s", c->slot.state == SLOT_LEAVING ? "go" : "get ready",
                 child_name(c, name));
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
    if (f->seconds++ % STATUS_SECONDS == 0) {
        char status[GAUGES_STATUS];
        notify_send(gauges_status(f, &totals, status));
    }
}

/* While the hub is away nobody can get ready, and that is not their fault. */
static void wait_for_hub(struct family *f, int64_t gap_ns)
{
    if (f->hub.slot.state == SLOT_READY)
        return;
    slot_paused(&f->dispatcher.slot, gap_ns);
    for (unsigned i = 0; i < f->memory->shards; i++)
        slot_paused(&f->shard[i].slot, gap_ns);
}

static void reap_all(struct family *f)
{
    deaths_reap(&f->dispatcher);
    for (unsigned i = 0; i < f->memory->shards; i++)
        deaths_reap(&f->shard[i]);
    deaths_reap(&f->hub);
}

static void tick_slots(struct family *f, struct mono now)
{
    wait_for_hub(f, now.ns - f->last_look.ns);
    tick_slot(&f->hub, now);
    for (unsigned i = 0; i < f->memory->shards; i++)
        tick_slot(&f->shard[i], now);
    tick_slot(&f->dispatcher, now);
}

static bool is_calm(const struct child *c)
{
    return c->slot.state == SLOT_READY && c->pidfd >= 0;
}

static int64_t next_tick(const struct family *f)
{
    bool calm = f->phase == PHASE_RUNNING && is_calm(&f->hub) && is_calm(&f->dispatcher);
    for (unsigned i = 0; i < f->memory->shards && calm; i++)
        calm = is_calm(&f->shard[i]);
    return calm ? CALM_TICK_NS : TICK_NS;
}

static void on_tick(void *ctx)
{
    struct family *f = ctx;
    struct mono now = family_now(f);
    evloop_timer_set(f->timer, next_tick(f));
    reap_all(f); /* where there are no pidfds */
    tick_slots(f, now);
    handover_step(f, now);
    upgrade_step(f, now);
    rollout_step(f, now);
    stopping_step(f);
    external_tick(f, now);
    watch_children(f, now);
    for (unsigned i = 0; i < f->memory->shards; i++) /* one that left early, and only then got work */
        if (f->shard[i].slot.state == SLOT_ENDED && f->phase <= PHASE_FINISHING &&
            f->shard[i].slot.faults < DEATHS_FINISH_TRIES && f->status == EXIT_DONE && watch_shard_owes(f, i))
            slot_want(&f->shard[i].slot, now);
    if (f->phase == PHASE_FINISHING)
        stopping_finish_shards(f);
    gauges_set(f);
    if (now.ns >= f->next_second.ns) {
        f->next_second.ns = now.ns + NS_PER_SEC;
        every_second(f, now);
    }
    if (f->watchdog_ns > 0 && now.ns >= f->next_watchdog.ns) {
        f->next_watchdog.ns = now.ns + f->watchdog_ns;
        notify_send("WATCHDOG=1");
    }
}

/* ---- life ---- */

static void init_child(struct family *f, struct child *c, enum child_kind kind, unsigned index)
{
    *c = (struct child){.family = f, .kind = kind, .index = index, .sock = -1, .pidfd = -1};
    slot_init(&c->slot, kind == CHILD_HUB ? NS_PER_SEC : 30 * NS_PER_SEC);
}

static bool listen_to_signals(struct family *f)
{
    struct sigaction hup;
    bool nohup = sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler == SIG_IGN; /* nohup(1) is obeyed */
    return evloop_on_signal(f->loop, SIGTERM, on_signal, f) && evloop_on_signal(f->loop, SIGINT, on_signal, f) &&
           evloop_on_signal(f->loop, SIGUSR1, on_usr1, f) && (nohup || evloop_on_signal(f->loop, SIGHUP, on_signal, f));
}

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
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

/* Signals that come between two programs wait for the second. */
static int exec_self(struct family *f, const struct program *next)
{
    supervisor_hold_signals();
    int err = resume_exec(f, next);
    release_signals();
    return err;
}

static void prepare(struct family *f, const struct supervisor_setup *s)
{
    *f = (struct family){.config = s->config,
                         .memory = s->memory,
                         .fds = s->fds,
                         .terminal = s->terminal,
                         .started = s->started,
                         .clock = clock_system(),
                         .on_message = messages_take,
                         .on_exit = deaths_reap,
                         .exec_self = exec_self,
                         .hand_over = handover_begin,
                         .watchdog_ns = notify_watchdog_ns()};
    init_child(f, &f->hub, CHILD_HUB, 0);
    init_child(f, &f->dispatcher, CHILD_DISPATCHER, 0);
    init_child(f, &f->heir, CHILD_DISPATCHER, PROTO_SLOT_HEIR);
    for (unsigned i = 0; i < s->memory->shards; i++)
        init_child(f, &f->shard[i], CHILD_SHARD, i);
}

static bool start_loop(struct family *f, const char **reason_r)
{
    f->loop = evloop_new();
    f->timer = f->loop ? evloop_timer(f->loop, on_tick, f) : NULL;
    *reason_r = "cannot start the event loop: out of memory or file descriptors";
    if (!f->timer || !listen_to_signals(f) || (f->fds->attach >= 0 && external_listen(f) != SC_OK))
        return false;
    *reason_r = NULL;
    signal(SIGPIPE, SIG_IGN);
    return true;
}

static void begin(struct family *f)
{
    f->hub.program = f->hub_program;
    f->dispatcher.program = f->dispatcher_program;
    family_enter(f, PHASE_STARTING);
    slot_want(&f->hub.slot, family_now(f));
    for (unsigned i = 0; i < f->memory->shards; i++) {
        f->shard[i].program = f->shard_program;
        slot_want(&f->shard[i].slot, family_now(f));
    }
}

/* The programs that run are in the table; what is on disk may be newer already. */
static bool go_on(struct family *f, const struct resume *table, const char **reason_r)
{
    f->hub_program.name = f->hub.program.name = "shardcap-hub";
    f->dispatcher_program.name = f->dispatcher.program.name = "shardcap-dispatcher";
    f->shard_program.name = "shardcap-shard";
    for (unsigned i = 0; i < f->memory->shards; i++)
        f->shard[i].program.name = "shardcap-shard";
    *reason_r = "cannot go on as the new program: out of memory or file descriptors";
    if (spawn_open_self(&f->self_program) != SC_OK || resume_children(f, table) != SC_OK)
        return false;
    *reason_r = NULL;
    return true;
}

int supervisor_run(const struct supervisor_setup *setup, const char **reason_r)
{
    static struct family f; /* large, and the reason outlives the call */
    prepare(&f, setup);
    *reason_r = NULL;
    if ((!setup->table && starting_open_programs(&f, reason_r) != SC_OK) || !start_loop(&f, reason_r))
        return EXIT_FAILED;
    if (!setup->table)
        begin(&f);
    else if (!go_on(&f, setup->table, reason_r))
        return EXIT_FAILED;
    release_signals();
    evloop_timer_set(f.timer, 0);
    evloop_run(f.loop);
    gauges_set(&f);
    evloop_free(f.loop);
    if (f.reason[0])
        *reason_r = f.reason;
    return f.status;
}
