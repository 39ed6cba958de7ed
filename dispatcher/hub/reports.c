/* SPDX-License-Identifier: Apache-2.0
 * See reports.h. */
#include "dispatcher/hub/reports.h"

#include <stdlib.h>
#include <unistd.h>

#include "shared/counters.h"
#include "shared/log.h"

#define REPORTS_PER_TURN 64

struct line {
    struct reports *all;
    unsigned shard;
    int fd;
    struct evsource *readable;
};

struct reports {
    const struct clock *clock;
    void (*on_report)(void *ctx, unsigned shard, const struct report *r);
    void *ctx;
    struct log_limit limit;
    unsigned shards;
    struct line line[SHARDS_MAX];
};

static void hang_up(struct line *l)
{
    evsource_remove(l->readable);
    l->readable = NULL;
    if (l->fd >= 0)
        (void)close(l->fd);
    l->fd = -1;
}

static void on_readable(void *ctx)
{
    struct line *l = ctx;
    struct report r;
    unsigned long suppressed;
    for (int i = 0; i < REPORTS_PER_TURN; i++) {
        int rc = report_recv(l->fd, &r);
        if (rc == SC_OK) {
            l->all->on_report(l->all->ctx, l->shard, &r);
        } else if (rc == SC_EFORMAT) {
            if (log_allow(&l->all->limit, l->all->clock->mono(l->all->clock->ctx), &suppressed))
                log_warn("a report that does not check shard=%u suppressed=%lu", l->shard, suppressed);
        } else {
            if (rc != SC_EAGAIN) /* the supervisor is gone, which ends us by its own way */
                hang_up(l);
            return;
        }
    }
}

struct reports *reports_new(struct evloop *loop, const struct clock *clock, struct proto_attachment *a, unsigned shards,
                            void (*on_report)(void *ctx, unsigned shard, const struct report *r), void *ctx)
{
    struct reports *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->clock = clock;
    r->on_report = on_report;
    r->ctx = ctx;
    r->shards = shards;
    for (unsigned i = 0; i < shards; i++)
        r->line[i] = (struct line){.all = r, .shard = i, .fd = -1};
    for (unsigned i = 0; i < shards; i++) {
        struct line *l = &r->line[i];
        l->fd = proto_take_fd(a, ROLE_REPORTS, i);
        l->readable = l->fd < 0 ? NULL : evloop_on_readable(loop, l->fd, on_readable, l);
        if (l->fd >= 0 && !l->readable) {
            reports_free(r);
            return NULL;
        }
    }
    return r;
}

void reports_free(struct reports *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < r->shards; i++)
        hang_up(&r->line[i]);
    free(r);
}
