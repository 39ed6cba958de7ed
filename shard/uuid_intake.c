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

/* The newest generation that is unnamed and still has its packets, or ARENA_NONE. */
static uint32_t find_unnamed(const struct intake *in, uint32_t newest)
{
    const struct flows *fs = in->savers->flows;
    for (unsigned n = 0; newest != ARENA_NONE && n < GENERATIONS_LOOKED_AT; n++) {
        const struct flow *f = arena_flow(fs->arena, newest);
        if (f->name == ARENA_NONE && !(f->flags & FLOW_EMPTY))
            return newest;
        newest = fs->priv[newest].older;
    }
    return ARENA_NONE;
}

static void keep(struct intake *in, const struct claim *cl, bool repeat)
{
    struct claim kept = *cl;
    kept.repeat = repeat;
    missed(in, SAVER_NOTSTARTED, pending_put(in->pending, &kept));
}

static void tell_named(const struct intake *in, const struct claim *cl)
{
    if (in->on_named && cl->cookie != 0)
        in->on_named(in->named_ctx, cl->hash, cl->cookie);
}

/* A claim on a key whose newest generation is live and takes no name: it has one, or has waited too long. The claim is
 * for the next one if this one has ended on the wire, or may do so before the event's own time. */
static void apply_to_live(struct intake *in, const struct claim *cl, uint32_t idx, struct instant now, bool wait)
{
    const struct flow *f = arena_flow(in->savers->flows->arena, idx);
    bool repeat = is_named(in, f, &cl->uuid);
    bool may_end_yet = now.ns < cl->at.ns;
    if (repeat)
        tell_named(in, cl);
    if (wait && (may_end_yet || (!repeat && saver_ended_on_wire(f))))
        keep(in, cl, repeat);
    else if (!repeat)
        missed(in, f->saver, 1);
    saver_touch(in->savers, idx, now);
}

/* Live, records lag behind the clock. */
static void note_name(const struct intake *in, uint32_t idx, struct instant now)
{
    bool live = !config_reads_files(in->savers->config);
    int64_t at = live ? in->clock->mono(in->clock->ctx).ns : now.ns;
    savers_note_name(in->savers, idx, NAME_BY_EVENT, (struct instant){at});
}

/* wait: a claim that finds no flow waits for one. Only what the deadlines leave at `now` counts: whether an ended
 * generation is published already is a matter of chance. */
static void apply(struct intake *in, const struct claim *cl, struct instant now, bool wait)
{
    struct savers *s = in->savers;
    uint32_t newest = settle_key(in, cl, now);
    uint32_t target = find_unnamed(in, newest);
    bool live = newest != ARENA_NONE && !(arena_flow(s->flows->arena, newest)->flags & FLOW_GONE);
    if (live && (target == ARENA_NONE || is_named(in, arena_flow(s->flows->arena, newest), &cl->uuid))) {
        apply_to_live(in, cl, newest, now, wait);
    } else if (target != ARENA_NONE) {
        enum saver_state state = arena_flow(s->flows->arena, target)->saver;
        if (saver_name(s, target, &cl->uuid, cl->yyyymmdd, cl->date_ok, now)) {
            note_name(in, target, now);
            tell_named(in, cl);
            return;
        }
        missed(in, state, 1);
        savers_refused_uuid(s);
    } else if (wait) {
        keep(in, cl, false);
    }
}

/* The clock of the first record, the same in every ring: what was told before the capture began is told then. */
static void note_begin(struct intake *in, struct instant now)
{
    const struct arena_state *st = arena_state(in->savers->flows->arena);
    if (in->begun)
        return;
    in->begun = true;
    in->begin.ns = st->clock_ns == 0 && st->events_taken == 0 ? now.ns : INT64_MIN;
}

void intake_advance(struct intake *in, struct instant now)
{
    int64_t wait = in->savers->config->uuidwaitduration_ns;
    if (in->next == in->event_count)
        return;
    note_begin(in, now);
    while (in->next < in->event_count && in->events[in->next].due.ns <= now.ns) {
        const struct file_event *ev = &in->events[in->next++];
        struct instant due = ev->due.ns > in->begin.ns ? ev->due : in->begin;
        struct claim cl = ev->claim;
        if (in->begin.ns > INT64_MIN && cl.until.ns < in->begin.ns + wait)
            cl.until.ns = in->begin.ns + wait;
        arena_set_events_taken(in->savers->flows->arena, in->next);
        counter_add(&in->savers->c->uuids, 1);
        apply(in, &cl, due, true);
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
    int64_t age; /* a date before 1677 stands as the least there is */
    if (__builtin_sub_overflow(in->clock->wall(in->clock->ctx).ns, ev->time.ns, &age))
        return false;
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
                       .cookie = (uint64_t)ev->cookie,
                       .yyyymmdd = ev->yyyymmdd};
    date_claim(in, &cl);
    counter_add(&s->c->uuids, 1);
    apply(in, &cl, (struct instant){arena_state(s->flows->arena)->clock_ns}, !(replayed && is_stale(in, ev)));
    return true;
}

bool intake_opened(struct intake *in, uint32_t idx, uint64_t hash, struct instant now)
{
    struct claim cl;
    const struct flow *f = arena_flow(in->savers->flows->arena, idx);
    bool syn = f->wire & FLOW_WIRE_SYN;
    if (pending_count(in->pending) == 0 || !pending_take(in->pending, &f->key, hash, now, syn, &cl))
        return false;
    if (saver_name(in->savers, idx, &cl.uuid, cl.yyyymmdd, cl.date_ok, now)) {
        savers_note_name(in->savers, idx, NAME_BY_EVENT, now);
        tell_named(in, &cl);
        return true;
    }
    missed(in, SAVER_READINGCANDIDATEPACKETS, 1);
    savers_refused_uuid(in->savers);
    return false;
}

/* A claim that named nothing: its connection showed no packet, or the live one has another name. */
static void count_expired(struct intake *in, const struct claim *cl)
{
    if (cl->repeat)
        return;
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
