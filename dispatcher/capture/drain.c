/* SPDX-License-Identifier: Apache-2.0
 * Ends the rings. Failure policy: a ring that never gets room is left without END and logged. */
#include "dispatcher/capture/drain.h"

#include "shared/log.h"

#define PAUSE_NS NS_PER_MS
#define PATIENCE_NS (5 * NS_PER_SEC)

unsigned drain_end(struct control *control, struct feed *feed, struct dispatcher_page *page)
{
    const struct clock *clock = control->clock;
    uint64_t consumed = feed_consumed(feed);
    struct mono moved = clock->mono(clock->ctx);
    unsigned missing;
    while ((missing = feed_end(feed)) > 0 && !control->gone) {
        struct mono now = clock->mono(clock->ctx);
        if (feed_consumed(feed) != consumed || control->stops < 2) {
            consumed = feed_consumed(feed);
            moved = now;
        } else if (now.ns - moved.ns >= PATIENCE_NS) {
            break;
        }
        atomic_fetch_add_explicit(&page->heartbeat, 1, memory_order_relaxed);
        control_wait(control, PAUSE_NS);
    }
    if (missing > 0)
        log_warn("%u rings without END: their shards do not consume", missing);
    return missing;
}
