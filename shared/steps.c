/* SPDX-License-Identifier: Apache-2.0
 * See steps.h. */
#include "shared/steps.h"

#include <stdbool.h>
#include <string.h>

#define SLACK_NS 1000 /* two clocks are not read in one instant */
#define TRIES 3       /* we may be put to sleep between two readings */

static void begin_era(struct steps *s, int64_t difference, struct mono now)
{
    if (s->count == STEPS_KEPT)
        memmove(&s->era[0], &s->era[1], --s->count * sizeof s->era[0]);
    s->era[s->count].difference = difference;
    s->era[s->count].after = s->count == 0 ? INT64_MIN : s->looked.ns;
    s->era[s->count].by = now.ns;
    s->count++;
}

struct mono steps_look(struct steps *s, const struct clock *clock)
{
    struct mono before = clock->mono(clock->ctx), after;
    struct wall wall;
    int64_t known = s->count > 0 ? s->era[s->count - 1].difference : 0;
    for (int i = 0;; i++) {
        wall = clock->wall(clock->ctx);
        after = clock->mono(clock->ctx);
        bool same = s->count > 0 && known >= wall.ns - after.ns - SLACK_NS && known <= wall.ns - before.ns + SLACK_NS;
        if (!same && i + 1 < TRIES && after.ns - before.ns > SLACK_NS) {
            before = after;
            continue;
        }
        if (!same)
            begin_era(s, wall.ns - before.ns, after);
        s->looked = after;
        return after;
    }
}

struct wall steps_wall(const struct steps *s)
{
    return (struct wall){s->looked.ns + s->era[s->count - 1].difference};
}

static uint64_t distance(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

struct mono steps_mono(const struct steps *s, struct wall at, struct mono near)
{
    struct mono best = near;
    bool found = false;
    for (unsigned i = s->count; i-- > 0;) {
        int64_t until = i + 1 < s->count ? s->era[i + 1].by : s->looked.ns, t;
        if (__builtin_sub_overflow(at.ns, s->era[i].difference, &t) || t < s->era[i].after || t > until)
            continue;
        if (!found || distance(t, near.ns) < distance(best.ns, near.ns))
            best.ns = t;
        found = true;
    }
    return best;
}
