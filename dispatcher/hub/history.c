/* SPDX-License-Identifier: Apache-2.0
 * See history.h. Failure policy: cannot fail. */
#include "dispatcher/hub/history.h"

#include <string.h>

static uint64_t permille(uint64_t part, uint64_t whole)
{
    return whole ? (uint64_t)(1000.0 * (double)part / (double)whole) : 0;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void add_waits(const struct sli *s, uint64_t *count, uint64_t *sum_ns)
{
    *count += sli_count(s);
    *sum_ns += counter_get(&s->sum_ns);
}

void history_read(struct history_sample *out, const struct pages *pages, struct mono now)
{
    struct totals t;
    totals_read(&t, pages->dispatcher, pages->shard, pages->config->shards);
    *out = (struct history_sample){.mono_ns = now.ns,
                                   .delivered = t.delivered,
                                   .saved = t.saved,
                                   .lost = t.lost,
                                   .limits = t.limits,
                                   .kernel_dropped = t.kernel_dropped,
                                   .files = t.files,
                                   .flows_live = t.flows_live,
                                   .flows_halfopen = t.flows_halfopen,
                                   .flows_unnamed = t.flows_unnamed};
    for (unsigned i = 0; i < pages->config->shards; i++) {
        const struct shard_counters *c = &pages->shard[i]->c;
        out->ring_permille = larger(out->ring_permille, permille(counter_get(&pages->dispatcher->ring_backlog[i]),
                                                                 config_ring_bytes(pages->config)));
        for (int source = 0; source < NAME_SOURCE_COUNT; source++)
            add_waits(&c->uuid_delay[source], &out->uuids, &out->uuid_ns);
        add_waits(&c->file_delay, &out->closed, &out->closed_ns);
        out->budget_permille =
            larger(out->budget_permille, permille(counter_get(&c->budget_used), counter_get(&c->budget_limit)));
    }
}

unsigned history_count(const struct history *h)
{
    return h->count < HISTORY_SAMPLES ? (unsigned)h->count : HISTORY_SAMPLES;
}

const struct history_sample *history_at(const struct history *h, unsigned i)
{
    return &h->samples[(h->count - history_count(h) + i) % HISTORY_SAMPLES];
}

void history_tick(struct history *h, const struct pages *pages, struct mono now)
{
    if (h->count > 0) {
        int64_t last = h->samples[(h->count - 1) % HISTORY_SAMPLES].mono_ns;
        if (now.ns >= last && now.ns - last < HISTORY_STEP_NS)
            return;
        if (now.ns < last)
            memset(h, 0, sizeof(*h));
    }
    history_read(&h->samples[h->count % HISTORY_SAMPLES], pages, now);
    h->count++;
}
