/* SPDX-License-Identifier: Apache-2.0
 * How an event finds its flow. Reading of the events file: uuid_file.c. Failure policy: see uuid_intake.h. */
#include "shard/uuid_intake.h"

#include <stdlib.h>
#include <string.h>

#define GENERATIONS_LOOKED_AT 64u
#define DAY_NS (86400 * NS_PER_SEC)

int intake_init(struct intake *in, struct savers *s, const struct clock *clock)
{
    *in = (struct intake){.savers = s, .clock = clock, .pending = pending_new()};
    return in->pending ? SC_OK : SC_ENOMEM;
}

void intake_free(struct intake *in)
{
    pending_free(in->pending);
    free(in->events);
    in->pending = NULL;
    in->events = NULL;
}

static void missed(struct intake *in, enum saver_state state, uint64_t n)
{
    counter_add(&in->savers->c->missed_uuids[state], n);
}

/* Lets the deadlines of the generations of a key take effect; returns the newest that is left. */
static uint32_t settle_key(struct intake *in, const struct claim *cl, struct instant now)
{
    const struct flows *fs = in->savers->flows;
    uint32_t idx = flows_find(fs, cl->hash, &cl->key);
    for (unsigned n = 0; idx != ARENA_NONE && n < GENERATIONS_LOOKED_AT; n++) {
        uint32_t older = fs->priv[idx].older;
        (void)saver_settle(in->savers, idx, now);
        idx = older;
    }
    return flows_find(fs, cl->hash, &cl->key);
}

static bool is_named(const struct intake *in, const struct flow *f, const struct uuid *uuid)
{
    return f->name != ARENA_NONE && strcmp(arena_name(in->savers->flows->arena, f->name)->uuid.text, uuid->text) == 0;
}

/* The flow that a claim is about: one that has this name already (*known_r), else the newest unnamed one. */
static uint32_t find_target(const struct intake *in, const struct claim *cl, uint32_t newest, bool *known_r)
{
    const struct flows *fs = in->savers->flows;
    uint32_t target = ARENA_NONE;
    *known_r = false;
    for (unsigned n = 0; newest != ARENA_NONE && n < GENERATIONS_LOOKED_AT; n++) {
        const struct flow *f = arena_flow(fs->arena, newest);
        if (is_named(in, f, &cl->uuid)) {
            *known_r = true;
            return newest;
        }
        if (target == ARENA_NONE && f->name == ARENA_NONE && !(f->flags & FLOW_EMPTY))
            target = newest;
        newest = fs->priv[newest].older;
    }
    return target;
}

static void keep(struct intake *in, const struct claim *cl)
{
    missed(in, SAVER_NOTSTARTED, pending_put(in->pending, cl));
}

/* wait: a claim that finds no flow waits for one. */
static void apply(struct intake *in, const struct claim *cl, struct instant now, bool wait)
{
    struct savers *s = in->savers;
    uint32_t newest = settle_key(in, cl, now);
    bool known;
    uint32_t target = find_target(in, cl, newest, &known);
    if (known) {
        saver_touch(s, target, now);
        return;
    }
    if (target != ARENA_NONE) {
        enum saver_state state = arena_flow(s->flows->arena, target)->saver;
        if (saver_name(s, target, &cl->uuid, cl->yyyymmdd, cl->date_ok, now))
            return;
        missed(in, state, 1);
        savers_refused_uuid(s);
        return;
    }
    if (newest != ARENA_NONE) {
        const struct flow *f = arena_flow(s->flows->arena, newest);
        bool may_end_yet = now.ns < cl->at.ns && wait;
        if (!(f->flags & FLOW_GONE) && !saver_ended_on_wire(f) && !may_end_yet) {
            missed(in, f->saver, 1);
            saver_touch(s, newest, now);
            return;
        }
    }
    if (wait)
        keep(in, cl);
}

void intake_advance(struct intake *in, struct instant now)
{
    while (in->next < in->event_count && in->events[in->next].due.ns <= now.ns) {
        const struct file_event *ev = &in->events[in->next++];
        arena_set_events_taken(in->savers->flows->arena, in->next);
        counter_add(&in->savers->c->uuids, 1);
        apply(in, &ev->claim, ev->due, true);
    }
}

/* When an event of the bus happened, and the last first packet that it may name, in the time of ring records: that of
 * live captures is CLOCK_MONOTONIC. Savefiles have a time of their own, so there an event is for what was consumed up
 * to now, or waits to the end. */
static void date_claim(const struct intake *in, struct claim *cl)
{
    const struct savers *s = in->savers;
    int64_t now = in->clock->mono(in->clock->ctx).ns;
    bool live = !config_reads_files(s->config);
    cl->at.ns = live ? now : INT64_MIN;
    cl->until.ns = live ? now + s->config->uuidwaitduration_ns : INT64_MAX;
}

/* A replayed event that is older than the wait has had its chance. One whose time is days off tells nothing. */
static bool is_stale(const struct intake *in, const struct flowevent *ev)
{
    int64_t age = in->clock->wall(in->clock->ctx).ns - ev->time.ns;
    return age > in->savers->config->uuidwaitduration_ns && age < DAY_NS;
}

bool intake_event(struct intake *in, const struct flowevent *ev, bool replayed)
{
    struct savers *s = in->savers;
    if (ev->kind != FLOWEVENT_OPEN)
        return false;
    struct claim cl = {.key = ev->key,
                       .hash = flowkey_hash(&ev->key, &s->config->hash_key),
                       .uuid = ev->uuid,
                       .yyyymmdd = ev->yyyymmdd};
    date_claim(in, &cl);
    counter_add(&s->c->uuids, 1);
    apply(in, &cl, (struct instant){arena_state(s->flows->arena)->clock_ns}, !(replayed && is_stale(in, ev)));
    return true;
}

bool intake_opened(struct intake *in, uint32_t idx, const struct packet *p)
{
    struct claim cl;
    if (pending_count(in->pending) == 0 || !pending_take(in->pending, &p->frame.key, p->hash, p->clock, &cl))
        return false;
    if (saver_name(in->savers, idx, &cl.uuid, cl.yyyymmdd, cl.date_ok, p->clock))
        return true;
    missed(in, SAVER_READINGCANDIDATEPACKETS, 1);
    savers_refused_uuid(in->savers);
    return false;
}

/* A claim that named nothing: its connection showed no packet, or the live one has another name. */
static void count_expired(struct intake *in, const struct claim *cl)
{
    const struct flows *fs = in->savers->flows;
    uint32_t idx = flows_find(fs, cl->hash, &cl->key);
    const struct flow *f = idx == ARENA_NONE ? NULL : arena_flow(fs->arena, idx);
    if (f && !(f->flags & FLOW_GONE)) {
        missed(in, f->saver, 1);
        return;
    }
    missed(in, SAVER_NOPACKETS_ERROR, 1);
    counter_add(&in->savers->c->saver_errors[SAVER_NOPACKETS_ERROR - SAVER_ERROR_FIRST], 1);
}

void intake_tick(struct intake *in, struct instant now, unsigned most)
{
    struct claim cl;
    for (unsigned n = 0; n < most && pending_take_expired(in->pending, now, &cl); n++)
        count_expired(in, &cl);
}
