/* SPDX-License-Identifier: Apache-2.0
 * See fault.h. Every word that is written is absolute and the one that ends a decision is written last, so that a
 * decision that was cut short is taken once more, with the same outcome. */
#include "shard/fault.h"

#define STRIKES 3u
#define KEEP 4u /* times kept: one more than is looked at */
_Static_assert(sizeof(((struct shard_faults *)0)->when) / sizeof(counter) == KEEP,
               "a time for each of the last faults");

/* Something was applied since the last adoption: all is forgiven. */
static enum fault_verdict forgive(struct shard_faults *f, uint64_t faults, uint64_t applied)
{
    counter_set(&f->forgiven, faults);
    counter_set(&f->suspect, 0);
    counter_set(&f->skip, 0);
    counter_set(&f->judged, faults);
    counter_set(&f->began_at, applied);
    counter_set(&f->known, 1);
    return FAULT_NONE;
}

/* Where it was, as one word that is never 0. */
static uint64_t suspicion(enum shard_stage stage, uint64_t at)
{
    if (stage != STAGE_RECORD && stage != STAGE_SCAN)
        return 0;
    return at | (stage == STAGE_SCAN ? 2 : 1); /* positions are multiples of 16 */
}

static enum fault_verdict standing(const struct shard_faults *f)
{
    if (counter_get(&f->skip) != 0)
        return counter_get(&f->skip_all) != 0 ? FAULT_RESYNC : FAULT_SKIP;
    return counter_get(&f->judged) != counter_get(&f->forgiven) ? FAULT_CAREFUL : FAULT_NONE;
}

enum fault_verdict fault_judge(struct shard_faults *f, enum shard_stage stage, uint64_t stage_at, uint64_t applied)
{
    uint64_t faults = counter_get(&f->count);
    if (counter_get(&f->known) == 0 || applied != counter_get(&f->began_at))
        return forgive(f, faults, applied);
    if (faults == counter_get(&f->judged))
        return standing(f); /* the last death was nobody's fault */
    counter_set(&f->when[faults % KEEP], counter_get(&f->last_ns));
    uint64_t at = suspicion(stage, stage_at);
    if (at != 0 && counter_get(&f->suspect) == at && counter_get(&f->suspect_fault) != faults) {
        counter_set(&f->skip_all, stage == STAGE_SCAN);
        counter_set(&f->skip, stage_at + 1);
    } else if (counter_get(&f->suspect) != at || at == 0) {
        counter_set(&f->suspect_fault, faults);
        counter_set(&f->suspect, at);
    }
    uint64_t strikes = faults - counter_get(&f->forgiven);
    uint64_t oldest = counter_get(&f->when[(faults - (STRIKES - 1)) % KEEP]);
    if (counter_get(&f->skip) == 0 && strikes >= STRIKES && counter_get(&f->last_ns) - oldest <= FAULT_WINDOW_NS)
        return FAULT_EMPTY; /* stays unjudged until it is done */
    counter_set(&f->judged, faults);
    return standing(f);
}

void fault_emptied(struct shard_faults *f)
{
    uint64_t faults = counter_get(&f->count);
    counter_set(&f->suspect, 0);
    counter_set(&f->skip, 0);
    counter_set(&f->forgiven, faults);
    counter_set(&f->judged, faults);
}
