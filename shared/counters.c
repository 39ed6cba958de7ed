/* SPDX-License-Identifier: Apache-2.0
 * Names of the savers' states and the sums over a family of processes.
 * Failure policy: pages of other processes are only read, word by word; whatever stands in them makes wrong sums at
 * worst, and a difference that would be negative is 0. */
#include "shared/counters.h"

#include <string.h>

const char *saver_state_name(enum saver_state s)
{
    switch (s) {
#define SAVER_STATE_CASE(name, label)                                                                                  \
    case SAVER_##name:                                                                                                 \
        return label;
        SAVER_STATE_LIST(SAVER_STATE_CASE)
#undef SAVER_STATE_CASE
    case SAVER_STATE_COUNT:
        break;
    }
    return "unknown";
}

const char *saver_error_reason(enum saver_state s)
{
    static const char *const reasons[] = {
        "nopackets", "uuidtimedout", "uuidchanclosed", "mkdir", "fileopen", "writepartial", "streaming", "writefinal",
    };
    _Static_assert(sizeof reasons / sizeof reasons[0] == SAVER_ERROR_COUNT, "one reason per error state");
    return s >= SAVER_ERROR_FIRST && s < SAVER_STATE_COUNT ? reasons[s - SAVER_ERROR_FIRST] : "unknown";
}

/* Acquire, so that the order of the reads below is the order in which they happen. */
static uint64_t read_in_order(const counter *c)
{
    return atomic_load_explicit(c, memory_order_acquire);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* A packet is first consumed, then dropped or published: what comes later is read first. */
static void add_shard(struct totals *out, struct shard_totals *one, const struct shard_page *page)
{
    const struct shard_counters *c = &page->c;
    uint64_t saved = read_in_order(&c->published), dropped = 0;
    for (int i = 0; i < CAUSE_COUNT; i++) {
        uint64_t n = read_in_order(&c->drops[i]);
        out->drops[i] += n;
        dropped += n;
    }
    uint64_t consumed = read_in_order(&c->consumed);
    *one = (struct shard_totals){.saved = saved, .consumed = consumed, .buffered = minus(consumed, saved + dropped)};
    out->saved += saved;
    out->consumed += consumed;
    out->buffered += one->buffered;
    out->flows_started += counter_get(&c->flows_started);
    out->flows_saved += counter_get(&c->flows_saved);
    out->flows_live += counter_get(&c->flows_live);
    out->flows_halfopen += counter_get(&c->flows_halfopen);
    out->flows_unnamed += counter_get(&c->flows_unnamed);
    for (int i = 0; i < NAME_SOURCE_COUNT; i++)
        out->flows_named += sli_count(&c->uuid_delay[i]);
    out->flows_nameless += counter_get(&c->nameless);
    out->files += counter_get(&c->files);
    out->file_bytes += counter_get(&c->file_bytes);
    out->salvaged_files += counter_get(&c->salvaged_files);
    out->salvaged_packets += counter_get(&c->salvaged_packets);
    out->disk_paused += counter_get(&c->disk_paused);
    out->removed_files += counter_get(&c->removed_files);
    out->budget_used += counter_get(&c->budget_used);
    out->budget_limit += counter_get(&c->budget_limit);
}

static void add_dispatcher(struct totals *out, struct shard_totals *each, const struct dispatcher_page *d,
                           unsigned shard_count)
{
    for (unsigned i = 0; i < shard_count && i < SHARDS_MAX; i++) {
        uint64_t enqueued = read_in_order(&d->enqueued[i]);
        out->enqueued += enqueued;
        if (each)
            each[i].enqueued = enqueued;
    }
    for (int i = 0; i < CAUSE_COUNT; i++)
        out->drops[i] += read_in_order(&d->drops[i]);
    out->delivered = read_in_order(&d->delivered);
    for (int i = 0; i < INTERFACES_MAX; i++) {
        /* acquire: pairs with the release store of `used` by the dispatcher, after name and index */
        if (!atomic_load_explicit(&d->interfaces[i].used, memory_order_acquire))
            continue;
        /* dropped first: received includes it */
        out->kernel_dropped += read_in_order(&d->interfaces[i].kernel_dropped);
        out->kernel_received += read_in_order(&d->interfaces[i].kernel_received);
    }
}

void totals_read_each(struct totals *out, struct shard_totals *each, const struct dispatcher_page *d,
                      const struct shard_page *const *shards, unsigned shard_count)
{
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < shard_count; i++) {
        struct shard_totals one = {0};
        if (shards[i])
            add_shard(out, &one, shards[i]);
        if (each)
            each[i] = one;
    }
    if (shard_count > 0 && shards[0]) {
        out->disk_free = counter_get(&shards[0]->c.disk_free);
        out->disk_total = counter_get(&shards[0]->c.disk_total);
        out->disk_used = counter_get(&shards[0]->c.disk_used);
    }
    if (d)
        add_dispatcher(out, each, d, shard_count);
    out->in_ring = minus(out->enqueued, out->consumed);
    for (int i = 0; i < CAUSE_COUNT; i++) {
        if (cause_is_trouble((enum cause)i))
            out->lost += out->drops[i];
        else
            out->limits += out->drops[i];
    }
}

void totals_read(struct totals *out, const struct dispatcher_page *d, const struct shard_page *const *shards,
                 unsigned shard_count)
{
    totals_read_each(out, NULL, d, shards, shard_count);
}
