/* SPDX-License-Identifier: Apache-2.0
 * See starting.h. Failure policy: what does not start is tried again with growing delays; before a family has
 * been complete once, only so often. */
#include "dispatcher/supervisor/starting.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shared/log.h"

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

bool starting_spawn(struct child *c)
{
    struct family *f = c->family;
    char name[CHILD_NAME];
    pid_t pid = spawn_child(&c->program, &c->sock);
    if (pid < 0) {
        int why = errno;
        log_error("cannot start a process child=%s error=%s", child_name(c, name), strerror(why));
        slot_spawn_failed(&c->slot, family_now(f));
        if (c->ever_ready || f->phase > PHASE_OPENING || c->slot.faults < STARTING_TRIES)
            return true;
        family_fail(f, EXIT_FAILED, name, strerror(why));
        return false;
    }
    c->pid = pid;
    c->pidfd = spawn_pidfd(pid);
    if (c->pidfd >= 0)
        c->on_exit = evloop_on_readable(f->loop, c->pidfd, f->on_exit, c);
    starting_attach(c);
    return true;
}

/* A successor looks at each flow before it is ready: 2 us of CPU time were measured, on a machine that is slow and busy
 * it may be ten. How many there are is said by the page, which a shard may have written over. */
static int64_t adoption_ns(const struct child *c)
{
    const struct shard_counters *n = &c->family->memory->shard[c->index]->c;
    uint64_t flows = counter_get(&n->flows_live) + counter_get(&n->flows_halfopen), most = UINT64_C(10) * 1000 * 1000;
    return (int64_t)(flows < most ? flows : most) * 10000;
}

void starting_attach(struct child *c)
{
    struct family *f = c->family;
    static struct attach_list list; /* large; used up before it returns */
    char name[CHILD_NAME];
    c->stop_sent = false;
    c->failure[0] = '\0';
    c->slot.start_more_ns = c->kind == CHILD_SHARD ? adoption_ns(c) : 0;
    slot_spawned(&c->slot, family_now(f));
    c->progress_since = family_now(f);
    list_of(c, &list);
    int err = attach_send(c->sock, c->index, c->slot.generation, &list);
    c->on_message = evloop_on_readable(f->loop, c->sock, f->on_message, c);
    if (err || !c->on_message) {
        log_error("cannot attach a process child=%s error=%s", child_name(c, name), sc_strerror(err));
        slot_killed(&c->slot);
        child_kill(c);
    }
    log_debug("started child=%s pid=%d generation=%u", child_name(c, name), (int)c->pid, c->slot.generation);
}

int starting_open_programs(struct family *f, const char **reason_r)
{
    static char reason[256];
    struct program *programs[] = {&f->self_program, &f->hub_program, &f->dispatcher_program, &f->shard_program};
    const char *names[] = {"shardcap", "shardcap-hub", "shardcap-dispatcher", "shardcap-shard"};
    for (unsigned i = 0; i < 4; i++)
        if ((i == 0 ? spawn_open_self(programs[i]) : spawn_open(programs[i], names[i])) != SC_OK) {
            snprintf(reason, sizeof(reason), "cannot open %s beside this program: %m; install all five together",
                     names[i]);
            *reason_r = reason;
            return SC_ESYS;
        }
    return SC_OK;
}
