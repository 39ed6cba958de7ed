/* SPDX-License-Identifier: Apache-2.0
 * See watch.h. Reads what the children write into their pages, and trusts none of it: the worst that a wrong value does
 * is that a child lives longer than it should, or dies and is replaced. */
#include "dispatcher/supervisor/watch.h"

#include <stdatomic.h>

#include "shared/log.h"

static void put_down(struct child *c, const char *what)
{
    char name[CHILD_NAME];
    log_warn("killing a child that %s child=%s", what, child_name(c, name));
    slot_killed(&c->slot);
    child_kill(c);
}

/* True once nothing has moved for limit_ns although it should. progress: any number that changes when something is
 * done. */
static bool stuck(struct child *c, uint64_t progress, bool busy, int64_t limit_ns, struct mono now)
{
    if (c->slot.state != SLOT_READY || c->slot.killed || progress != c->progress || !busy) {
        c->progress = progress;
        c->progress_since = now;
        return false;
    }
    return now.ns - c->progress_since.ns >= limit_ns;
}

/* Published and not consumed, from the ring itself: the dispatcher's gauges stand still when it does. Relaxed: an old
 * value delays a verdict by one look. */
static bool ring_holds(const struct family *f, unsigned shard)
{
    const struct memory *m = f->memory;
    bool holds = false;
    for (unsigned i = 0; i == 0 || i < m->dispatchers; i++) {
        const struct ring_shared *r = i == 0 ? m->ring_head[shard] : m->more_ring_head[i - 1][shard];
        uint64_t a = atomic_load_explicit(&r->slot[0].prod, memory_order_relaxed);
        uint64_t b = atomic_load_explicit(&r->slot[1].prod, memory_order_relaxed);
        holds |=
            (a > b ? a : b) != atomic_load_explicit(&shard_page_peer(m->shard[shard], i)->cons, memory_order_relaxed);
    }
    return holds;
}

bool watch_shard_owes(const struct family *f, unsigned shard)
{
    const struct shard_counters *c = &f->memory->shard[shard]->c;
    uint64_t fates = counter_get(&c->published);
    for (int i = 0; i < CAUSE_COUNT; i++)
        fates += counter_get(&c->drops[i]);
    /* more fates than packets is a page that was written over: no successor could mend that */
    return fates < counter_get(&c->consumed) || ring_holds(f, shard);
}

static void watch_shard(struct child *c, struct mono now)
{
    struct family *f = c->family;
    const struct shard_page *p = f->memory->shard[c->index];
    char name[CHILD_NAME];
    uint64_t progress = atomic_load_explicit(&p->progress, memory_order_relaxed) + shard_page_consumed(p);
    bool finishing = f->phase == PHASE_FINISHING;
    bool in_file = atomic_load_explicit(&p->stage, memory_order_relaxed) == STAGE_FILE;
    int64_t limit = in_file ? WATCH_FILE_NS : finishing ? WATCH_FINISH_NS : WATCH_RING_NS;
    if (!stuck(c, progress, finishing || ring_holds(f, c->index), limit, now))
        return;
    put_down(c, finishing ? "does not finish" : "leaves its ring alone");
    if (finishing && c->slot.faults >= 2)
        family_fail(f, EXIT_FAILED, child_name(c, name), "does not finish");
}

static void watch_dispatcher(struct child *c, struct mono now)
{
    struct family *f = c->family;
    uint64_t beat = atomic_load_explicit(&f->memory->dispatcher->heartbeat, memory_order_relaxed);
    int64_t limit = f->stops > 1 ? WATCH_HURRY_NS : WATCH_LOOP_NS;
    if (stuck(c, beat, true, limit, now))
        put_down(c, "does not respond");
}

static void watch_hub(struct child *c, struct mono now)
{
    struct family *f = c->family;
    uint64_t beat = atomic_load_explicit(&f->memory->hub->heartbeat, memory_order_relaxed);
    if (f->phase == PHASE_CLOSING && now.ns - f->phase_since.ns >= WATCH_HURRY_NS && !c->slot.killed)
        put_down(c, "does not end");
    else if (stuck(c, beat, true, WATCH_LOOP_NS, now))
        put_down(c, "does not respond");
}

/* We have not looked for gap_ns: nobody could see what moved meanwhile. */
static void forgive(struct family *f, int64_t gap_ns, struct mono now)
{
    f->hub.progress_since = f->dispatcher.progress_since = now;
    slot_paused(&f->hub.slot, gap_ns);
    slot_paused(&f->dispatcher.slot, gap_ns);
    slot_paused(&f->heir.slot, gap_ns);
    for (unsigned i = 0; i < f->memory->shards; i++) {
        f->shard[i].progress_since = now;
        slot_paused(&f->shard[i].slot, gap_ns);
    }
    if (f->phase == PHASE_CLOSING)
        f->phase_since.ns += gap_ns;
}

void watch_children(struct family *f, struct mono now)
{
    int64_t gap = now.ns - f->last_look.ns;
    if (f->last_look.ns != 0 && gap > WATCH_PAUSE_NS)
        forgive(f, gap, now);
    f->last_look = now;
    watch_hub(&f->hub, now);
    watch_dispatcher(&f->dispatcher, now);
    for (unsigned i = 0; i < f->memory->shards; i++)
        watch_shard(&f->shard[i], now);
}
