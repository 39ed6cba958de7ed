/* SPDX-License-Identifier: Apache-2.0
 * Timing, verdict, gauges. Failure policy: see space.h. */
#include "shard/space.h"

#include <string.h>

#include "shared/log.h"

enum cause space_paused(const struct space *s)
{
    if (s->scarce)
        return CAUSE_DISK_FULL;
    return s->over ? CAUSE_CAPTURE_LIMIT : CAUSE_NONE;
}

/* Slower than this a clock is only adjusted. */
#define STEP_NS (60 * NS_PER_SEC)

static void watch_clock(struct space *s, struct mono mono, struct wall wall)
{
    int64_t ahead = wall.ns - mono.ns;
    if (!s->watched) {
        s->watched = true;
        s->spared = (struct retention_spared){.from = wall, .to.ns = INT64_MIN};
    } else if (ahead - s->ahead_ns > STEP_NS) {
        s->spared.to.ns = mono.ns + s->ahead_ns > s->spared.to.ns ? mono.ns + s->ahead_ns : s->spared.to.ns;
        s->spared_until.ns = mono.ns + s->config->keep_ns;
        if (s->slot == 0 && s->config->keep_ns > 0)
            log_warn("the clock was set forward seconds=%lld: -keep leaves what was written before",
                     (long long)((ahead - s->ahead_ns) / NS_PER_SEC));
    } else if (s->spared_until.ns != 0 && mono.ns > s->spared_until.ns) {
        s->spared = (struct retention_spared){.from = wall, .to.ns = INT64_MIN};
        s->spared_until.ns = 0;
    }
    s->ahead_ns = ahead;
}

void space_step(struct space *s)
{
    const struct config *c = s->config;
    struct mono now = s->clock->mono(s->clock->ctx);
    if (config_reads_files(c))
        return;
    struct outfile_job job = {.kind = OUTFILE_SPACE};
    if (!s->looking && now.ns >= s->look_at.ns && outfile_submit(s->out, &job) == SC_OK) {
        s->looking = true;
        s->look_at.ns = now.ns + SPACE_LOOK_NS;
    }
    bool wanted = c->maxdisk > 0 || (c->keep_ns > 0 && s->slot == 0);
    if (!wanted || s->passing || now.ns < s->pass_at.ns)
        return;
    struct wall wall = s->clock->wall(s->clock->ctx);
    watch_clock(s, now, wall);
    job = (struct outfile_job){.kind = OUTFILE_RETENTION, .remove = s->slot == 0, .now = wall, .spared = s->spared};
    s->passing = outfile_submit(s->out, &job) == SC_OK;
}

static void tell(const struct space *s, bool paused, const char *why, const char *what, uint64_t n)
{
    if (s->slot == 0)
        log_warn("new flows %s: %s free=%llu %s=%llu", paused ? "pause" : "are saved again", why,
                 (unsigned long long)counter_get(&s->c->disk_free), what, (unsigned long long)n);
}

/* Less than `least` is free; once that was so, until a sixteenth more is: what hovers there is not to pause and go on
 * every second. */
static bool too_little(bool was, uint64_t free, uint64_t least, uint64_t total)
{
    uint64_t rest = total > least ? total - least : 0;
    uint64_t more = (least < rest ? least : rest) / 16;
    return free < least + (was ? more : 0);
}

static void look(struct space *s, const struct outfile_result *r)
{
    const struct config *c = s->config;
    s->looking = false;
    if (r->error)
        return;
    unsigned percent = c->mindiskfree_percent;
    uint64_t least = percent > 0 ? r->total / 100 * percent : c->mindiskfree;
    /* One file for each flow: on many a file system their number is what runs out first. */
    uint64_t least_files = percent > 0 ? r->files_total / 100 * percent : c->mindiskfree > 0;
    bool scarce = too_little(s->scarce, r->free, least, r->total);
    if (r->files_total > 0) /* 0: this one knows no limit */
        scarce |= too_little(s->scarce, r->files_free, least_files, r->files_total);
    counter_set(&s->c->disk_free, r->free);
    counter_set(&s->c->disk_total, r->total);
    if (scarce != s->scarce)
        tell(s, scarce, "-mindiskfree", "files_free", r->files_free);
    s->scarce = scarce;
}

static void pass(struct space *s, const struct outfile_result *r)
{
    s->passing = false;
    counter_add(&s->c->removed_files, r->scan.files);
    counter_add(&s->c->removed_bytes, r->scan.bytes);
    if (!r->scan.done)
        return; /* the next step at once */
    uint64_t most = s->config->maxdisk;
    bool over = most > 0 && r->scan.used >= most;
    counter_set(&s->c->disk_used, r->scan.used);
    if (over != s->over)
        tell(s, over, "-maxdisk", "used", r->scan.used);
    /* what is too much may go at once, where -keep allows it */
    bool again = over && !s->over && s->config->keep_ns > 0;
    s->over = over;
    s->pass_at.ns = s->clock->mono(s->clock->ctx).ns + (again ? 0 : SPACE_PASS_NS);
}

void space_result(struct space *s, const struct outfile_result *r)
{
    if (r->job.kind == OUTFILE_SPACE)
        look(s, r);
    else
        pass(s, r);
    counter_set(&s->c->disk_paused, space_paused(s) != CAUSE_NONE);
}
