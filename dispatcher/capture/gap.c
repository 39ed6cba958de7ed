/* SPDX-License-Identifier: Apache-2.0
 * See gap.h. Cannot fail. */
#include "dispatcher/capture/gap.h"

#include <string.h>

static void look(struct interface_counters *c, const struct link *l, bool first)
{
    uint64_t seen = counter_get(&c->rx_seen);
    bool same = counter_get(&c->rx_index) == (uint64_t)l->index;
    if (first && same && seen > 0 && l->rx_packets > seen)
        counter_add(&c->gap_rx, l->rx_packets - seen);
    counter_set(&c->rx_index, (uint64_t)l->index);
    counter_set(&c->rx_seen, l->rx_packets);
}

void gap_look(struct dispatcher_page *page, const struct links *links, bool first)
{
    for (unsigned i = 0; i < INTERFACES_MAX; i++) {
        struct interface_counters *c = &page->interfaces[i];
        /* relaxed: our own words */
        bool used = atomic_load_explicit(&c->used, memory_order_relaxed) != 0;
        bool captured = used && atomic_load_explicit(&c->capturing, memory_order_relaxed) != 0;
        const struct link *l =
            captured ? links_by_index(links, (int)atomic_load_explicit(&c->index, memory_order_relaxed)) : NULL;
        if (l)
            look(c, l, first);
        else
            counter_set(&c->rx_seen, 0); /* from here on nobody knows */
    }
}
