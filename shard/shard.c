/* SPDX-License-Identifier: Apache-2.0
 * Wiring of the modules and the order of work in one turn. Failure policy: see shard.h. */
#include "shard/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shard/consume.h"
#include "shard/crashpoint.h"
#include "shard/fault.h"
#include "shard/gc.h"
#include "shard/kernel_names.h"
#include "shard/pace.h"
#include "shard/stage.h"
#include "shared/log.h"

#define RECORDS_PER_STEP 256u
#define SEALED_PER_STEP 8192u /* raw bytes: a chunk or two, half a millisecond of zlib */
#define FLOWS_PER_STEP 256u
#define FILES_PER_STEP 16u
#define FILES_PER_STEP_BEHIND 64u
#define TRIM_PER_TURN 256u /* pages looked at: a slice far below a millisecond */
#define PENDING_PER_STEP 256u
#define REFUSALS 3u

struct shard {
    struct shard_deps d;
    struct shard_counters *c;
    struct arena *arena;
    struct sealer *sealer;
    struct outfile *out;
    struct flows flows;
    struct publisher publisher;
    struct space space;
    struct leftovers leftovers;
    struct savers savers;
    struct intake intake;
    struct ring_consumer rings[DISPATCHERS_MAX];
    unsigned ring_count;
    struct consumer consumer;
    struct gc gc;
    struct reporter reporter;
    struct kernel_names *kernel; /* NULL: not a source */
    struct pace pace;
    enum fault_verdict verdict; /* on the deaths before */
    bool adopted, stopping, finishing;
    bool draining;  /* what is in the ring is a successor's */
    uint32_t jobs;  /* under way at the end of the last turn */
    uint32_t today; /* whose directory, and the next day's, was asked for */
};

static void set_stage(struct shard *s, enum shard_stage stage)
{
    stage_enter(s->d.page, stage, 0);
}

static void add_word(_Atomic uint64_t *word, uint64_t n)
{
    /* relaxed, single writer: read by the supervisor's hang check */
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + n, memory_order_relaxed);
}

/* ---- start ---- */

static bool is_wanted(void *ctx, uint32_t idx, uint32_t generation)
{
    const struct shard *s = ctx;
    if (idx >= arena_flow_limit(s->arena))
        return false;
    const struct flow *f = arena_flow(s->arena, idx);
    return f->stage != FLOW_FREE && f->generation == generation && f->name != ARENA_NONE && !(f->flags & FLOW_EMPTY);
}

static void sum_buffered(void *ctx, uint32_t idx, const struct flow *f)
{
    uint64_t *sum = ctx;
    (void)idx;
    if (!(f->flags & FLOW_EMPTY))
        *sum += f->packets;
}

/* What was taken from the ring and is neither buffered nor counted went with an arena that was lost or given up. */
static void count_lost(struct shard *s)
{
    const struct shard_counters *c = s->c;
    uint64_t known = counter_get(&c->published);
    struct arena_change ch = {.flow = ARENA_NONE};
    for (unsigned i = 0; i < CAUSE_COUNT; i++)
        known += counter_get(&c->drops[i]);
    arena_each(s->arena, sum_buffered, &known);
    if (counter_get(&c->consumed) <= known)
        return;
    flows_count(&s->flows, &ch, ARENA_COUNTER(drops) + CAUSE_ARENA_LOST, counter_get(&c->consumed) - known);
    arena_commit(s->arena, &ch);
}

static struct arena_applied here(const struct ring_consumer *r)
{
    return (struct arena_applied){.position = r->pos, .packets = r->packets, .ring_generation = r->shared->generation};
}

static void skip_to_end(struct shard *s, unsigned ring, uint64_t lost, enum cause cause)
{
    struct arena_applied now = here(&s->rings[ring]);
    s->savers.dispatcher = ring;
    savers_drop(&s->savers, &now, (struct instant){arena_state(s->arena)->clock_ns}, cause, lost);
}

/* Where the last commit was; a ring that has moved away from there is taken up at its end, and the gap is counted. */
static int attach_ring(struct shard *s, unsigned ring, bool adopted)
{
    const struct arena_applied *applied = &arena_state(s->arena)->applied[ring];
    const void *map = ring == 0 ? s->d.ring_map : s->d.more_ring_maps[ring - 1];
    struct ring_peer *peer = ring == 0 ? &s->d.page->ring : &s->d.page->more_rings[ring - 1];
    /* With several rings the counter says nothing of one of them: an arena that was lost begins to count anew. */
    uint64_t passed = s->ring_count == 1 ? counter_get(&s->c->consumed) : applied->packets, lost = 0;
    bool placed = adopted && (applied->ring_generation != 0 || applied->position != 0); /* else killed before */
    uint64_t pos = placed ? applied->position : atomic_load_explicit(&peer->cons, memory_order_relaxed);
    struct ring_consumer *r = &s->rings[ring];
    int err = SC_EFORMAT;
    if (s->verdict != FAULT_RESYNC)
        err = ring_consumer_attach(r, map, s->d.ring_bytes, peer, pos, passed);
    if (err == SC_OK) {
        struct arena_change none = {.flow = ARENA_NONE};
        arena_set_applied(s->arena, ring, here(r), arena_state(s->arena)->clock_ns);
        if (s->ring_count > 1) /* the next commit may be another ring's */
            arena_commit(s->arena, &none);
    }
    if (err != SC_EFORMAT)
        return err;
    err = ring_consumer_attach_end(r, map, s->d.ring_bytes, peer, passed, &lost);
    if (!err && s->verdict == FAULT_RESYNC)
        log_warn("what stands in the ring has ended this shard twice before it was read: it is left out packets=%llu",
                 (unsigned long long)lost);
    if (!err)
        skip_to_end(s, ring, lost, s->verdict == FAULT_RESYNC ? CAUSE_POISON : CAUSE_BAD_RECORD);
    return err;
}

static int attach_rings(struct shard *s, bool adopted)
{
    int err = SC_OK;
    for (unsigned i = 0; i < s->ring_count && !err; i++)
        err = attach_ring(s, i, adopted);
    return err;
}

/* Bytes that wait, in all rings. */
static uint64_t backlog(struct shard *s)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < s->ring_count; i++)
        bytes += ring_backlog(&s->rings[i]);
    return bytes;
}

/* The page is zero before the first shard of the slot. */
static int open_page(struct shard *s, const char **what_r)
{
    struct shard_page *page = s->d.page;
    *what_r = "shard page";
    if (page->magic == 0) {
        page->layout = COUNTERS_LAYOUT;
        page->magic = SHARD_PAGE_MAGIC;
    }
    if (page->magic != SHARD_PAGE_MAGIC || page->layout != COUNTERS_LAYOUT)
        return SC_EVERSION;
    /* relaxed: read by people and by the supervisor's hang check */
    atomic_store_explicit(&page->generation, s->d.generation, memory_order_relaxed);
    return SC_OK;
}

/* What the deaths so far ask for. The stage is still the predecessor's. */
static void judge(struct shard *s)
{
    struct shard_page *page = s->d.page;
    struct shard_faults *f = &page->faults;
    uint64_t at = counter_get(&f->began_at);
    if (!arena_peek_sum(s->d.arena_map, s->d.arena_bytes, &at) && counter_get(&f->known) == 0) {
        at = 0; /* where the rings begin */
        for (unsigned i = 0; i < s->ring_count; i++)
            at += atomic_load_explicit(&shard_page_peer(page, i)->cons, memory_order_relaxed);
    }
    s->verdict = fault_judge(f, (enum shard_stage)atomic_load_explicit(&page->stage, memory_order_relaxed),
                             atomic_load_explicit(&page->stage_at, memory_order_relaxed), at);
    set_stage(s, STAGE_ADOPT);
    CRASHPOINT("adopt.judged");
    if (s->verdict != FAULT_EMPTY)
        return;
    log_warn("three deaths without progress: the arena is given up");
    arena_empty(s->d.arena_map, s->d.arena_bytes, s->c);
    fault_emptied(f);
}

/* What a predecessor was told, and the arena of another layout does not say. */
static void remember_addresses(struct shard *s)
{
    const struct local_addresses *l = &s->d.page->local;
    uint32_t count = atomic_load_explicit(&l->count, memory_order_acquire); /* pairs with consume.c */
    if (count <= ANONYMIZE_EXEMPT_MAX)
        arena_set_addresses(s->arena, l->address, count);
}

/* An arena of another layout is refused, for whoever has that one may be about to come back; but not for ever. What it
 * holds is counted by count_lost. */
static int open_arena(struct shard *s, bool *adopted_r)
{
    counter *refused = &s->d.page->faults.refused;
    int err;
    s->arena = arena_open(s->d.arena_map, s->d.arena_bytes, s->d.budget, s->c, adopted_r, &err);
    if (!s->arena && err == SC_EVERSION && counter_get(refused) + 1 >= REFUSALS) {
        log_error("the arena has another layout, and nobody has come for it: it is given up");
        arena_discard(s->d.arena_map);
        s->arena = arena_open(s->d.arena_map, s->d.arena_bytes, s->d.budget, s->c, adopted_r, &err);
    }
    counter_set(refused, err == SC_EVERSION ? counter_get(refused) + 1 : 0);
    if (!err && *adopted_r && !config_reads_files(s->d.config))
        arena_limit_clock(s->arena, (struct instant){s->d.clock->mono(s->d.clock->ctx).ns + CONSUME_SLACK_NS});
    return err;
}

static int open_memory(struct shard *s, bool *adopted_r, const char **what_r)
{
    const struct config *cfg = s->d.config;
    *what_r = "arena";
    int err = open_arena(s, adopted_r);
    if (err)
        return err;
    if (!*adopted_r)
        remember_addresses(s);
    *what_r = "flow table";
    err = flows_init(&s->flows, s->arena, s->c, &cfg->hash_key);
    if (err)
        return err;
    *what_r = "compressor";
    s->sealer = sealer_new(s->arena, cfg->gzip, cfg->stream);
    if (!s->sealer)
        return SC_ENOMEM;
    sealer_watched(s->sealer, s->d.page);
    return SC_OK;
}

static int open_files(struct shard *s, const char **what_r)
{
    struct outfile_deps od = {.sys = s->d.sys,
                              .config = s->d.config,
                              .shard = s->d.slot,
                              .datadir = s->d.datadir,
                              .staging = s->d.staging,
                              .threaded = s->d.threaded};
    *what_r = "file thread";
    s->out = outfile_new(&od);
    if (!s->out)
        return SC_ESYS;
    *what_r = "staging directory";
    int left = outfile_sweep(s->out, is_wanted, s);
    if (left < 0)
        return SC_ESYS;
    s->leftovers = (struct leftovers){.out = s->out, .c = s->c, .count = (uint32_t)left};
    s->space = (struct space){.out = s->out, .config = s->d.config, .clock = s->d.clock, .c = s->c, .slot = s->d.slot};
    s->publisher = (struct publisher){.flows = &s->flows,
                                      .sealer = s->sealer,
                                      .out = s->out,
                                      .space = &s->space,
                                      .leftovers = &s->leftovers,
                                      .config = s->d.config,
                                      .clock = s->d.clock,
                                      .on_saved = s->d.on_saved,
                                      .on_removed = s->d.on_removed,
                                      .ctx = s->d.ctx};
    publish_init(&s->publisher);
    return SC_OK;
}

/* Shard 0 alone speaks for the file that all of them read. */
static void report_bad_lines(const struct shard *s)
{
    for (unsigned i = 0; i < FLOWEVENT_BAD_COUNT && s->d.slot == 0; i++)
        if (s->intake.bad[i] > 0)
            log_warn("lines of -uuid.events were skipped reason=%s lines=%llu",
                     flowevent_bad_name((enum flowevent_bad)i), (unsigned long long)s->intake.bad[i]);
}

static int open_kernel(struct shard *s)
{
    struct kernel_names_deps kd = {.savers = &s->savers,
                                   .rings = s->rings,
                                   .ring_count = s->ring_count,
                                   .clock = s->d.clock,
                                   .prefix = s->d.config->kernel_prefix.text,
                                   .board = &s->d.page->resets,
                                   .ask = s->d.ask,
                                   .ctx = s->d.ask_ctx};
    if (!(s->d.config->uuid_sources & UUID_SOURCE_KERNEL))
        return SC_OK;
    s->kernel = kernel_names_new(&kd);
    return s->kernel ? SC_OK : SC_ENOMEM;
}

static void on_named(void *ctx, uint64_t hash, uint64_t cookie)
{
    struct shard *s = ctx;
    kernel_names_known(s->kernel, hash, cookie);
}

/* The time of the packet that came last, about. */
static struct wall last_wall(const struct shard *s)
{
    const struct ring_shared *ring = s->d.ring_map;
    if (!config_reads_files(s->d.config))
        return s->d.clock->wall(s->d.clock->ctx);
    return (struct wall){atomic_load_explicit(&ring->captured_until_ns, memory_order_relaxed)};
}

static int open_flows(struct shard *s, bool adopted, const char **what_r)
{
    s->savers = (struct savers){.flows = &s->flows,
                                .sealer = s->sealer,
                                .publisher = &s->publisher,
                                .config = s->d.config,
                                .c = s->c,
                                .hold = s->d.hold};
    *what_r = "savers";
    int err = savers_init(&s->savers);
    s->reporter = (struct reporter){.fd = s->d.reports,
                                    .clock = s->d.clock,
                                    .anonymizer = &s->savers.anonymizer,
                                    .given = s->d.config->anonymizer.exempt_count,
                                    .c = s->c};
    s->flows.reporter = &s->reporter;
    if (adopted) /* until the next packet, events are dated by the last one */
        s->savers.wall = last_wall(s);
    if (!err)
        err = intake_init(&s->intake, &s->savers, s->d.clock);
    *what_r = "-uuid.events";
    if (!err && s->d.events_file >= 0)
        err = intake_load(&s->intake, s->d.events_file, s->d.slot, s->d.config->shards);
    if (err)
        return err;
    report_bad_lines(s);
    *what_r = "ring";
    err = attach_rings(s, adopted);
    if (err)
        return err;
    CRASHPOINT("adopt.attached");
    count_lost(s);
    s->consumer = (struct consumer){
        .savers = &s->savers,
        .intake = &s->intake,
        .rings = s->rings,
        .ring_count = s->ring_count,
        .shared = s->d.ring_map,
        .page = s->d.page,
        .clock = config_reads_files(s->d.config) ? NULL : s->d.clock,
        .skip = s->verdict == FAULT_SKIP ? counter_get(&s->d.page->faults.skip) : 0,
        .careful = s->verdict != FAULT_NONE,
    };
    err = open_kernel(s);
    if (err)
        return err;
    s->consumer.kernel = s->kernel;
    if (s->kernel) {
        s->intake.on_named = on_named;
        s->intake.named_ctx = s;
    }
    if (adopted)
        consume_resume(&s->consumer);
    gc_init(&s->gc, &s->savers, s->d.clock, (struct instant){arena_state(s->arena)->clock_ns});
    return SC_OK;
}

struct shard *shard_new(const struct shard_deps *deps, char error[SHARD_ERROR])
{
    struct shard *s = calloc(1, sizeof(*s));
    const char *what = "shard";
    bool adopted = false;
    error[0] = '\0';
    if (!s) {
        snprintf(error, SHARD_ERROR, "out of memory");
        return NULL;
    }
    s->d = *deps;
    s->ring_count = config_dispatchers(deps->config);
    s->c = &deps->page->c;
    int err = open_page(s, &what);
    if (!err) {
        arena_mend(s->d.arena_map, s->d.arena_bytes, s->d.budget);
        judge(s);
    }
    if (!err)
        err = open_memory(s, &adopted, &what);
    if (!err)
        err = open_files(s, &what);
    if (!err)
        err = open_flows(s, adopted, &what);
    if (err) {
        snprintf(error, SHARD_ERROR, "%s: %s", what, err == SC_ESYS ? strerror(errno) : sc_strerror(err));
        shard_free(s);
        return NULL;
    }
    s->adopted = adopted;
    pace_init(&s->pace, deps->config->shards, deps->clock->mono(deps->clock->ctx), counter_get(&s->c->consumed));
    counter_add(&s->c->adoptions, adopted);
    counter_set(&s->c->budget_limit, arena_budget_limit(s->arena));
    set_stage(s, STAGE_IDLE);
    return s;
}

void shard_free(struct shard *s)
{
    if (!s)
        return;
    outfile_free(s->out);
    kernel_names_free(s->kernel);
    intake_free(&s->intake);
    savers_free(&s->savers);
    sealer_free(s->sealer);
    flows_free(&s->flows);
    arena_close(s->arena);
    free(s);
}

/* ---- turns ---- */

/* Live, a directory exists before its first file, so that an uploader that watches the tree misses nothing. */
static void make_days(struct shard *s)
{
    struct wall t = s->d.clock->wall(s->d.clock->ctx);
    uint32_t today = clock_yyyymmdd(t);
    if (today == s->today || config_reads_files(s->d.config))
        return;
    s->today = today;
    publish_make_day(&s->publisher, today);
    publish_make_day(&s->publisher, clock_yyyymmdd((struct wall){t.ns + 86400 * NS_PER_SEC}));
}

/* With savefiles nothing is dropped that waiting can save: the ring is left alone while the disk frees memory. */
static bool must_wait(const struct shard *s)
{
    return s->publisher.hurry && config_reads_files(s->d.config) && !s->publisher.failing &&
           !publish_idle(&s->publisher);
}

static bool take_records(struct shard *s)
{
    s->publisher.hurry = arena_blocks_left(s->arena) < arena_budget_limit(s->arena) / ARENA_BLOCK / 4;
    s->consumer.closing = s->draining;
    if (consume_ended(&s->consumer) || must_wait(s) || (s->draining && consume_batch_done(&s->consumer)))
        return false;
    unsigned n = consume(&s->consumer, RECORDS_PER_STEP, SEALED_PER_STEP);
    if (n == 0)
        return false;
    add_word(&s->d.page->progress, n);
    return true;
}

/* Compression follows the load. With savefiles the ring is always full and the files must not depend on timing: fast.
 */
static void set_effort(struct shard *s)
{
    if (s->d.config->gzip != GZIP_AUTO || config_reads_files(s->d.config))
        return;
    pace_spent(&s->pace, sealer_small_bytes(s->sealer));
    sealer_effort(s->sealer, pace_effort(&s->pace, s->d.clock->mono(s->d.clock->ctx), counter_get(&s->c->consumed),
                                         backlog(s), s->rings[0].size));
}

static bool move_files(struct shard *s)
{
    bool behind = s->flows.list[LIST_READY].count > OUTFILE_JOBS;
    set_stage(s, STAGE_IDLE);
    bool moved = publish_step(&s->publisher, behind ? FILES_PER_STEP_BEHIND : FILES_PER_STEP, SEALED_PER_STEP);
    while (!s->d.threaded && outfile_work(s->out))
        moved = true;
    if (moved)
        add_word(&s->d.page->progress, 1);
    return moved;
}

static bool keep_house(struct shard *s)
{
    struct instant now = {arena_state(s->arena)->clock_ns};
    bool named = s->kernel && kernel_names_step(s->kernel);
    bool ended = gc_run(&s->gc, now, FLOWS_PER_STEP) || named;
    if (s->consumer.ticked) {
        s->consumer.ticked = false;
        intake_tick(&s->intake, now, PENDING_PER_STEP);
        make_days(s);
    }
    return ended;
}

static bool finish(struct shard *s)
{
    if (!s->finishing) {
        if (s->kernel && !kernel_names_finish(s->kernel))
            return false;
        s->finishing = true;
        s->savers.hold = false;
        publish_finish(&s->publisher);
    }
    bool ended = gc_finish(&s->gc, FLOWS_PER_STEP);
    if (ended)
        add_word(&s->d.page->progress, 1);
    return ended;
}

enum shard_step_result shard_step(struct shard *s)
{
    add_word(&s->d.page->heartbeat, 1);
    set_effort(s);
    bool busy = take_records(s);
    busy |= move_files(s);
    bool empty = s->draining ? consume_batch_done(&s->consumer) : backlog(s) == 0;
    if (consume_ended(&s->consumer) || ((s->stopping || s->draining) && !busy && empty))
        busy |= finish(s);
    else
        busy |= keep_house(s);
    if (!s->finishing)
        space_step(&s->space);
    /* A savefile is read in a moment; a live family that stops leaves the rest to the next. */
    if (!s->finishing || config_reads_files(s->d.config))
        busy |= leftovers_step(&s->leftovers);
    if (!busy && arena_idle_bytes(s->arena) > s->d.config->maxidleram / s->d.config->shards)
        arena_trim(s->arena, TRIM_PER_TURN); /* as fast as there is time for it, and no faster */
    counter_set(&s->c->flows_halfopen, s->flows.list[LIST_HALFOPEN].count);
    counter_set(&s->c->budget_used, arena_budget_used(s->arena));
    uint32_t jobs = outfile_under_way(s->out);
    if (!busy || jobs == s->jobs) /* else more may follow with the next turn */
        outfile_wake(s->out);
    s->jobs = jobs;
    bool for_files = !busy && outfile_under_way(s->out) > 0 && (s->finishing || must_wait(s));
    set_stage(s, for_files ? STAGE_FILE : STAGE_IDLE);
    if (s->finishing && !busy && publish_idle(&s->publisher) && (s->draining || backlog(s) == 0))
        return SHARD_DONE;
    return busy ? SHARD_BUSY : SHARD_IDLE;
}

/* ---- the world outside ---- */

void shard_event(struct shard *s, const struct flowevent *ev, bool replayed)
{
    set_stage(s, STAGE_UUID);
    if (ev->prefix && !ev->has_id) { /* nobody but the hub can send one without an ID */
        if (s->kernel)
            kernel_names_prefix(s->kernel, &ev->uuid);
    } else if (!ev->destroyed) {
        (void)intake_event(&s->intake, ev, replayed && s->adopted);
    } else if (s->kernel && ev->has_id && ev->dport != 0) { /* without a port it is for the next hub */
        kernel_names_destroyed(s->kernel, &ev->key, (uint64_t)ev->cookie, ev->seen);
    }
    set_stage(s, STAGE_IDLE);
}

void shard_events_complete(struct shard *s)
{
    s->savers.hold = false;
}

void shard_drain(struct shard *s)
{
    s->draining = true;
}

void shard_stop(struct shard *s)
{
    s->draining = false; /* nobody comes after us: the ring is ours again */
    s->stopping = true;
}

int shard_fd(const struct shard *s)
{
    return outfile_fd(s->out);
}

int64_t shard_pause(const struct shard *s, int64_t most)
{
    return s->kernel ? kernel_names_pause(s->kernel, most) : most;
}

bool shard_will_sleep(struct shard *s)
{
    if (consume_ended(&s->consumer) || must_wait(s))
        return true;
    for (unsigned i = 0; i < s->ring_count; i++)
        if (!ring_consumer_will_sleep(&s->rings[i])) {
            shard_woke(s);
            return false;
        }
    return true;
}

void shard_woke(struct shard *s)
{
    for (unsigned i = 0; i < s->ring_count; i++)
        ring_consumer_woke(&s->rings[i]);
}
