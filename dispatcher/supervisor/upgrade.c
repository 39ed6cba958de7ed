/* SPDX-License-Identifier: Apache-2.0
 * See upgrade.h. Failure policy: whatever does not fit or does not answer, everything stays as it is, and the answer
 * says why. */
#include "dispatcher/supervisor/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dispatcher/supervisor/rollout.h"
#include "shared/log.h"

#define UPGRADE_LIMIT_NS (3500 * NS_PER_MS) /* the hub waits 4 s for the answer */

static const char *const names[UPGRADE_PROGRAMS] = {"shardcap", "shardcap-hub", "shardcap-dispatcher",
                                                    "shardcap-shard"};

/* ---- questions ---- */

/* True if there is no process of it any more. */
static bool reaped(struct upgrade_question *q)
{
    int status;
    if (q->pid > 0 && spawn_reap(q->pid, &status) == q->pid)
        q->pid = 0;
    return q->pid <= 0;
}

static void close_question(struct upgrade_question *q)
{
    if (q->fd >= 0)
        close(q->fd);
    q->fd = -1;
    if (q->pid > 0)
        kill(q->pid, SIGKILL);
    (void)reaped(q); /* else with a later tick */
}

static void reap_all(struct upgrade *u)
{
    for (unsigned i = 0; i < UPGRADE_PROGRAMS; i++)
        for (unsigned k = 0; k < 2; k++)
            (void)reaped(&u->program[i].question[k]);
}

static bool ask(struct upgrade_question *q, const struct program *p)
{
    *q = (struct upgrade_question){.fd = -1};
    q->pid = spawn_question(p, "-layout", &q->fd);
    return q->pid > 0;
}

/* True once the answer is whole. */
static bool take(struct upgrade_question *q)
{
    while (q->fd >= 0) {
        ssize_t n = read(q->fd, q->text + q->len, sizeof(q->text) - 1 - q->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false; /* nothing there yet */
        q->len += (size_t)n;
        if (n == 0 || q->len == sizeof(q->text) - 1) {
            close(q->fd);
            q->fd = -1;
        }
    }
    return reaped(q);
}

static void end(struct upgrade *u, bool keep_programs)
{
    for (unsigned i = 0; i < UPGRADE_PROGRAMS; i++) {
        struct upgrade_program *p = &u->program[i];
        for (unsigned k = 0; k < 2; k++)
            close_question(&p->question[k]);
        if (!keep_programs && p->changed && p->fresh.fd >= 0)
            close(p->fresh.fd);
        p->fresh.fd = keep_programs ? p->fresh.fd : -1;
    }
    u->asking = false;
}

/* ---- programs ---- */

static bool same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino &&
           x.st_size == y.st_size && x.st_mtim.tv_sec == y.st_mtim.tv_sec && x.st_mtim.tv_nsec == y.st_mtim.tv_nsec;
}

/* Opens what stands on disk now, beside ourselves, and asks it and what runs. */
static bool open_one(struct family *f, unsigned i, char *answer)
{
    struct upgrade_program *p = &f->upgrade.program[i];
    const struct program *running[] = {&f->self_program, &f->hub_program, &f->dispatcher_program, &f->shard_program};
    if (spawn_open(&p->fresh, names[i]) != SC_OK) {
        snprintf(answer, PROTO_TEXT, "error missing: cannot open %s beside the running programs: %s", names[i],
                 strerror(errno));
        return false;
    }
    p->changed = !same_file(p->fresh.fd, running[i]->fd);
    if (!p->changed) { /* one fd is enough, however often we are asked */
        close(p->fresh.fd);
        p->fresh = *running[i];
    }
    if (ask(&p->question[0], running[i]) && ask(&p->question[1], &p->fresh))
        return true;
    snprintf(answer, PROTO_TEXT, "error missing: cannot run %s: %s", names[i], strerror(errno));
    return false;
}

bool upgrade_begin(struct family *f, int64_t number, char *answer)
{
    struct upgrade *u = &f->upgrade;
    reap_all(u);
    *u = (struct upgrade){.asking = true, .number = number};
    u->until.ns = family_now(f).ns + UPGRADE_LIMIT_NS;
    for (unsigned i = 0; i < UPGRADE_PROGRAMS; i++)
        u->program[i] = (struct upgrade_program){.fresh = {names[i], -1}, .question = {{.fd = -1}, {.fd = -1}}};
    for (unsigned i = 0; i < UPGRADE_PROGRAMS; i++)
        if (!open_one(f, i, answer)) {
            end(u, false);
            return true;
        }
    return false;
}

/* ---- the decision ---- */

static int refuse(char *answer, const char *program, const char *name)
{
    snprintf(answer, PROTO_TEXT,
             "error layout: %s on disk has another layout of \"%s\" than what runs; restart the service", program,
             name);
    return SC_EVERSION;
}

int upgrade_verdict(const struct upgrade *u, bool *new_arena_r, char *answer)
{
    char name[LAYOUT_NAME];
    *new_arena_r = false;
    for (unsigned i = 0; i < UPGRADE_PROGRAMS; i++) {
        char from[LAYOUT_TEXT];
        const struct upgrade_program *p = &u->program[i];
        snprintf(from, sizeof(from), "%s", p->question[0].text);
        if (i == UPGRADE_SHARD) { /* of all that is in its layout, the arena alone is its own business */
            long was = layout_number(from, "arena"), is = layout_number(p->question[1].text, "arena");
            char *arena = strstr(from, " arena ");
            if (was < 0 || is < 0 || !arena)
                return refuse(answer, names[i], "arena");
            *new_arena_r = was != is;
            *arena = '\0';
        }
        if (layout_differs(from, p->question[1].text, name))
            return refuse(answer, names[i], name);
        /* and of all programs among one another */
        if (layout_differs(layout_common(from), p->question[1].text, name))
            return refuse(answer, names[i], name);
    }
    return SC_OK;
}

static void carry_out(struct family *f, bool new_arena)
{
    struct upgrade_program *p = f->upgrade.program;
    for (unsigned i = 0; i < f->memory->shards; i++) {
        bool drain = new_arena && !f->shard[i].slot.external; /* those are judged when they join */
        struct rollout_entry e = {.child = &f->shard[i],
                                  .how = drain ? PROTO_DRAIN : PROTO_LEAVE,
                                  .program = p[UPGRADE_SHARD].fresh,
                                  .new_arena = drain};
        rollout_add_entry(f, &e);
    }
    rollout_add_entry(f,
                      &(struct rollout_entry){.child = &f->hub, .how = PROTO_LEAVE, .program = p[UPGRADE_HUB].fresh});
    if (p[UPGRADE_SELF].changed)
        rollout_add_entry(f, &(struct rollout_entry){.program = p[UPGRADE_SELF].fresh});
    if (p[UPGRADE_DISPATCHER].changed)
        rollout_add_entry(f, &(struct rollout_entry){
                                 .child = &f->dispatcher, .how = PROTO_LEAVE, .program = p[UPGRADE_DISPATCHER].fresh});
    /* The old files stay open in the children that still may need them. */
    f->hub_program = p[UPGRADE_HUB].fresh;
    f->shard_program = p[UPGRADE_SHARD].fresh;
    f->dispatcher_program = p[UPGRADE_DISPATCHER].fresh;
}

void upgrade_step(struct family *f, struct mono now)
{
    struct upgrade *u = &f->upgrade;
    char answer[PROTO_TEXT];
    bool whole = true, new_arena;
    if (!u->asking) {
        reap_all(u);
        return;
    }
    for (unsigned i = 0; i < UPGRADE_PROGRAMS; i++)
        for (unsigned k = 0; k < 2; k++)
            whole = take(&u->program[i].question[k]) && whole;
    if (!whole && now.ns < u->until.ns)
        return;
    bool fits = false;
    if (!whole)
        snprintf(answer, sizeof(answer), "error timeout: a program on disk does not answer -layout");
    else
        fits = upgrade_verdict(u, &new_arena, answer) == SC_OK;
    if (fits) {
        carry_out(f, new_arena);
        snprintf(answer, sizeof(answer), "ok restarting %u processes", f->rollout.count);
    }
    log_info("restart all: %s", answer);
    end(u, fits);
    child_answer(&f->hub, u->number, answer);
}
