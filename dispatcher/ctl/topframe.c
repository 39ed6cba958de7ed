/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: what a status does not hold shows as 0 or "-". */
#include "dispatcher/ctl/topframe.h"

#include <inttypes.h>
#include <string.h>

#include "dispatcher/ctl/status.h"
#include "shared/cause.h"

/* A sub-object by name; empty if it is not there. */
static struct jsontext object(struct jsontext in, const char *name)
{
    static const char nothing[] = "{}";
    struct jsontext out;
    if (jsontext_member(in, name, &out))
        return out;
    return (struct jsontext){nothing, nothing + 2};
}

struct pair {
    uint64_t now, before;
    bool has_before;
    double seconds;
};

static struct pair pair_of(struct jsontext now, const struct jsontext *before, double seconds, const char *name)
{
    struct pair p = {.now = jsontext_u64_of(now, name), .seconds = seconds};
    p.before = before ? jsontext_u64_of(*before, name) : 0;
    p.has_before = before && seconds > 0;
    return p;
}

/* What it moved, a second; counters of a restarted shardcap begin anew. */
static const char *rate(struct pair p, char out[24])
{
    if (!p.has_before || p.now < p.before)
        (void)snprintf(out, 24, "-");
    else
        (void)snprintf(out, 24, "%.0f", (double)(p.now - p.before) / p.seconds);
    return out;
}

struct frame_ctx {
    struct jsontext now, before; /* the object that is shown, in both samples */
    bool has_before;
    double seconds;
    FILE *out;
};

static struct frame_ctx inside(const struct frame_ctx *f, const char *name)
{
    struct frame_ctx in = *f;
    in.now = object(f->now, name);
    if (f->has_before)
        in.before = object(f->before, name);
    return in;
}

static void total_and_rate(const struct frame_ctx *f, const char *label, const char *name)
{
    char text[24];
    struct pair p = pair_of(f->now, f->has_before ? &f->before : NULL, f->seconds, name);
    (void)fprintf(f->out, "  %s %" PRIu64 " (%s/s)", label, p.now, rate(p, text));
}

static void sums(const struct frame_ctx *f)
{
    struct frame_ctx packets = inside(f, "packets"), kernel = inside(f, "kernel"), flows = inside(f, "flows");
    (void)fprintf(f->out, "packets ");
    total_and_rate(&packets, "delivered", "delivered");
    total_and_rate(&packets, "saved", "saved");
    total_and_rate(&packets, "lost", "lost");
    total_and_rate(&packets, "limits", "limits");
    (void)fprintf(f->out, "\nkernel  ");
    total_and_rate(&kernel, "received", "received");
    total_and_rate(&kernel, "dropped", "dropped");
    (void)fprintf(f->out, "\nflows     live %" PRIu64 "  unnamed %" PRIu64, jsontext_u64_of(flows.now, "live"),
                  jsontext_u64_of(flows.now, "unnamed"));
    total_and_rate(&flows, "started", "started");
    total_and_rate(&flows, "saved", "saved");
    (void)fprintf(f->out, "\nfiles   ");
    total_and_rate(f, "files", "files");
    total_and_rate(f, "bytes", "bytes");
    (void)fprintf(f->out, "\n\n");
}

static unsigned percent(uint64_t part, uint64_t whole)
{
    return whole ? (unsigned)((double)part * 100.0 / (double)whole + 0.5) : 0;
}

/* The process of the same place in the sample before. */
static bool process_before(const struct frame_ctx *f, unsigned place, struct jsontext *out)
{
    struct jsontext list;
    if (!f->has_before || !jsontext_member(f->before, "processes", &list))
        return false;
    for (unsigned i = 0; i <= place; i++)
        if (!jsontext_next(&list, NULL, out))
            return false;
    return true;
}

static void process(const struct frame_ctx *f, struct jsontext p, unsigned place)
{
    char kind[16], name[32], files[24];
    struct jsontext shard, before;
    bool is_shard = jsontext_member(p, "shard", &shard);
    (void)jsontext_string_of(p, "process", kind, sizeof kind);
    if (is_shard)
        (void)snprintf(name, sizeof name, "shard[%" PRIu64 "]", jsontext_u64_of(p, "shard"));
    else
        (void)snprintf(name, sizeof name, "%s", kind);
    (void)fprintf(f->out, "%-12s %8" PRIu64 " %-5s %8" PRIu64 " %7" PRIu64 " ms", name, jsontext_u64_of(p, "pid"),
                  jsontext_true_of(p, "up") ? "up" : "DOWN", jsontext_u64_of(p, "restarts"),
                  jsontext_u64_of(p, "heartbeat_age_ms"));
    if (is_shard) {
        bool has = process_before(f, place, &before);
        (void)fprintf(f->out, " %9" PRIu64 " %9" PRIu64 " %9s %5u%% %6u%%", jsontext_u64_of(p, "flows"),
                      jsontext_u64_of(p, "unnamed"), rate(pair_of(p, has ? &before : NULL, f->seconds, "files"), files),
                      percent(jsontext_u64_of(p, "ring_used"), jsontext_u64_of(p, "ring_size")),
                      percent(jsontext_u64_of(p, "budget_used"), jsontext_u64_of(p, "budget_limit")));
    }
    (void)fputc('\n', f->out);
}

static void processes(const struct frame_ctx *f)
{
    struct jsontext list, one;
    (void)fprintf(f->out, "%-12s %8s %-5s %8s %10s %9s %9s %9s %6s %7s\n", "process", "pid", "state", "restarts",
                  "heartbeat", "flows", "unnamed", "files/s", "ring", "memory");
    if (jsontext_member(f->now, "processes", &list))
        for (unsigned place = 0; jsontext_next(&list, NULL, &one); place++)
            process(f, one, place);
    (void)fputc('\n', f->out);
}

static void causes(const struct frame_ctx *f)
{
    struct frame_ctx drops = inside(f, "drops");
    struct jsontext list = drops.now, name, value;
    bool any = false;
    while (jsontext_next(&list, &name, &value)) {
        char cause[40], text[24];
        if (!jsontext_string(name, cause, sizeof cause))
            continue;
        if (!any)
            (void)fprintf(f->out, "%-18s %-6s %14s %10s\n", "not saved, cause", "class", "packets", "a second");
        any = true;
        struct pair p = pair_of(drops.now, drops.has_before ? &drops.before : NULL, f->seconds, cause);
        const char *class = "-";
        for (int i = 0; i < CAUSE_COUNT; i++)
            if (strcmp(cause_name((enum cause)i), cause) == 0)
                class = cause_is_trouble((enum cause)i) ? "lost" : "limit";
        (void)fprintf(f->out, "%-18s %-6s %14" PRIu64 " %10s\n", cause, class, p.now, rate(p, text));
    }
    (void)fprintf(f->out, "%s\n", any ? "" : "nothing was dropped\n");
}

static void interfaces(const struct frame_ctx *f)
{
    struct jsontext list, one;
    if (!jsontext_member(f->now, "interfaces", &list))
        return;
    while (jsontext_next(&list, NULL, &one)) {
        char name[32];
        if (!jsontext_string_of(one, "interface", name, sizeof name))
            (void)snprintf(name, sizeof name, "?");
        (void)fprintf(f->out, "%-16s %-5s delivered %" PRIu64 "  kernel dropped %" PRIu64 "\n", name,
                      jsontext_true_of(one, "up") ? "up" : "down", jsontext_u64_of(one, "delivered"),
                      jsontext_u64_of(one, "kernel_dropped"));
    }
}

void topframe_write(const struct topframe_sample *now, const struct topframe_sample *before, FILE *out)
{
    char version[32];
    struct frame_ctx f = {.now = now->status, .has_before = before != NULL, .out = out};
    if (before) {
        f.before = before->status;
        f.seconds = (double)(now->at.ns - before->at.ns) / (double)NS_PER_SEC;
    }
    (void)jsontext_string_of(now->status, "version", version, sizeof version);
    (void)fprintf(out, "shardcap %s: %s\n", version,
                  status_fine(now->status)                    ? "ready"
                  : jsontext_true_of(now->status, "draining") ? "stopping"
                                                              : "DEGRADED");
    sums(&f);
    processes(&f);
    causes(&f);
    interfaces(&f);
}
