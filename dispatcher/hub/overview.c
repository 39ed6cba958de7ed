/* SPDX-License-Identifier: Apache-2.0
 * See overview.h. The browser asks anew every ten seconds, which is when the history has a new point.
 * Failure policy: the text's sticky flag. */
#include "dispatcher/hub/overview.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/hub/chart.h"
#include "dispatcher/hub/history.h"
#include "dispatcher/hub/status.h"
#include "shared/version.h"

static const char style[] =
    ":root{color-scheme:light "
    "dark;--bg:#fff;--fg:#1c2126;--dim:#667;--card:#f3f5f7;--grid:#d8dce0;--l0:#0b62c4;--l1:#107a3a;--l2:#b5581a;"
    "--bad:#b3261e;--ok:#107a3a}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e4e8ec;--dim:#98a1aa;--card:#1e2327;--grid:#343b41;"
    "--l0:#6cb1ff;--l1:#5fce8a;--l2:#f0a566;--bad:#ff8a80;--ok:#5fce8a}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--bg);color:var(--fg);"
    "font:15px/1.45 "
    "system-ui,sans-serif}a{color:var(--l0)}h1{font-size:1.25rem;margin:0}h2{font-size:1rem;margin:1.4rem 0 .5rem}\n"
    ".grid{display:grid;gap:.7rem;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr))}\n"
    "figure,.card{margin:0;padding:.6rem .8rem;background:var(--card);border-radius:.5rem}figcaption{font-weight:600}\n"
    "figure p,.card p{margin:.1rem 0;font-size:.85rem}svg{width:100%;display:block}svg "
    "text{font-size:8px;fill:var(--dim)}"
    "svg .end{text-anchor:end}path{fill:none;stroke-width:1.4;stroke-linecap:round;vector-effect:non-scaling-stroke}"
    "path.grid{stroke:var(--grid);stroke-width:1}\n"
    ".l0{stroke:var(--l0)}.l1{stroke:var(--l1)}.l2{stroke:var(--l2)}"
    ".k0::before,.k1::before,.k2::before{content:'\\25A0 '}.k0::before{color:var(--l0)}.k1::before{color:var(--l1)}"
    ".k2::before{color:var(--l2)}\n"
    ".up{color:var(--ok)}.down{color:var(--bad)}.dim{color:var(--dim)}table{border-collapse:collapse;font-size:.85rem}"
    "td,th{text-align:right;padding:.1rem .8rem .1rem 0}td:first-child,th:first-child{text-align:left}"
    ".row{display:flex;flex-wrap:wrap;gap:.7rem;align-items:center}.row>.card{flex:1 1 10rem}"
    ".bar{height:.35rem;background:var(--grid);border-radius:.2rem}.bar "
    "i{display:block;height:100%;background:var(--l0);"
    "border-radius:.2rem}\n";

/* ---- the process picture ---- */

static void bar(const char *name, uint64_t part, uint64_t whole, struct text *out)
{
    double percent = whole ? 100.0 * (double)part / (double)whole : 0;
    text_printf(out, "<p>%s %.0f %%</p><div class=\"bar\"><i style=\"width:%.1f%%\"></i></div>", name, percent,
                percent > 100 ? 100 : percent);
}

static void card(const char *name, const char *labels, const counter *up, const counter *restarts, struct text *out)
{
    uint64_t is_up = counter_get(up), times = counter_get(restarts);
    text_printf(out,
                "<div class=\"card\"><b>%s</b> <span class=\"%s\" data-metric='shardcap_up{%s}' data-value=\"%" PRIu64
                "\">%s</span>",
                name, is_up ? "up" : "down", labels, is_up, is_up ? "up" : "DOWN");
    text_printf(out,
                "<p><span data-metric='shardcap_restarts_total{%s}' data-value=\"%" PRIu64 "\">%" PRIu64
                "</span> restarts</p>",
                labels, times, times);
}

static void interfaces(const struct dispatcher_page *d, struct text *out)
{
    for (unsigned i = 0; i < INTERFACES_MAX; i++) {
        const struct interface_counters *one = &d->interfaces[i];
        if (!atomic_load_explicit(&one->used, memory_order_acquire)) /* pairs with the dispatcher's release */
            continue;
        bool up = atomic_load_explicit(&one->capturing, memory_order_relaxed) != 0;
        text_printf(out, "<p class=\"%s\">", up ? "up" : "dim");
        for (size_t n = 0; n < INTERFACE_NAME && one->name[n]; n++) /* the kernel lets names hold almost anything */
            text_printf(out, strchr("<>&\"'", one->name[n]) || one->name[n] < ' ' ? "&#%d;" : "%c", one->name[n]);
        text_printf(out, " %s</p>", up ? "is captured" : "is gone");
    }
}

static void processes(const struct pages *p, struct text *out)
{
    const struct supervisor_page *s = p->supervisor;
    text_printf(out, "<h2>Processes</h2><div class=\"row\">");
    card("dispatcher", "process=\"dispatcher\",shard=\"\"", &s->up_dispatcher, &s->restarts_dispatcher, out);
    interfaces(p->dispatcher, out);
    text_printf(out, "</div><span class=\"dim\">&#8594; rings &#8594;</span>");
    for (unsigned i = 0; i < p->config->shards; i++) {
        const struct shard_counters *c = &p->shard[i]->c;
        char name[32], labels[64];
        (void)snprintf(name, sizeof name, "shard %u", i);
        (void)snprintf(labels, sizeof labels, "process=\"shard\",shard=\"%u\"", i);
        card(name, labels, &s->up_shard[i], &s->restarts_shard[i], out);
        bar("ring", counter_get(&p->dispatcher->ring_backlog[i]), config_ring_bytes(p->config), out);
        bar("memory", counter_get(&c->budget_used), counter_get(&c->budget_limit), out);
        text_printf(out, "</div>");
    }
    text_printf(out, "<span class=\"dim\">&#8592; UUIDs &#8592;</span>");
    card("hub", "process=\"hub\",shard=\"\"", &s->up_hub, &s->restarts_hub, out);
    text_printf(out, "<p>event socket: %s</p></div></div>\n", status_eventsocket(p));
}

/* ---- the last hour ---- */

enum { RATE = 1, GAUGE, MEAN };

struct series {
    double age_s[HISTORY_SAMPLES], value[CHART_LINES][HISTORY_SAMPLES];
};

static uint64_t field(const struct history_sample *s, size_t offset)
{
    uint64_t v;
    memcpy(&v, (const char *)s + offset, sizeof v);
    return v;
}

/* One line of one picture. RATE: growth per second; GAUGE: the value / divisor; MEAN: growth / growth of `over` /
 * divisor. */
struct plot {
    const char *name, *metric;
    size_t offset, over;
    int how;
    double divisor, now;
};

static void values(double *out, const struct history *h, const struct plot *p)
{
    for (unsigned i = 0; i < history_count(h); i++) {
        const struct history_sample *at = history_at(h, i), *before = i ? history_at(h, i - 1) : NULL;
        double grown = before ? (double)(field(at, p->offset) - field(before, p->offset)) : NAN;
        if (p->how == GAUGE)
            out[i] = (double)field(at, p->offset) / p->divisor;
        else if (p->how == RATE)
            out[i] = before ? grown / ((double)(at->mono_ns - before->mono_ns) / (double)NS_PER_SEC) : NAN;
        else {
            uint64_t n = before ? field(at, p->over) - field(before, p->over) : 0;
            out[i] = n ? grown / (double)n / p->divisor : NAN;
        }
    }
}

/* The hour, or as much of it as there is to show. */
static double span(double oldest_s)
{
    return oldest_s > 1800 ? 3600 : oldest_s > 900 ? 1800 : oldest_s > 300 ? 900 : 300;
}

static void picture(const struct history *h, struct mono now, const char *title, const char *unit,
                    const struct plot *plots, int count, struct text *out)
{
    static struct series s; /* 12 KiB; the hub has one thread that serves pages */
    struct chart c = {.title = title, .unit = unit, .age_s = s.age_s, .points = history_count(h)};
    for (unsigned i = 0; i < c.points; i++)
        s.age_s[i] = (double)(now.ns - history_at(h, i)->mono_ns) / (double)NS_PER_SEC;
    c.span_s = span(c.points ? s.age_s[0] : 0);
    for (int l = 0; l < count; l++) {
        values(s.value[l], h, &plots[l]);
        double last = c.points ? s.value[l][c.points - 1] : 0;
        for (unsigned i = c.points; plots[l].how == MEAN && isnan(last) && i > 0; i--)
            last = s.value[l][i - 1]; /* the last that anybody waited for */
        c.line[l] = (struct chart_line){plots[l].name, plots[l].metric,
                                        plots[l].metric ? plots[l].now
                                        : isnan(last)   ? 0
                                                        : last,
                                        s.value[l]};
    }
    chart_svg(&c, out);
}

#define AT(member) offsetof(struct history_sample, member)

static void last_hour(const struct pages *p, const struct history_sample *s, struct mono now, struct text *out)
{
    const struct history *h = &p->hub->history;
    const struct plot packets[] = {{"delivered", NULL, AT(delivered), 0, RATE, 1, 0},
                                   {"saved", NULL, AT(saved), 0, RATE, 1, 0}};
    const struct plot losses[] = {{"lost", NULL, AT(lost), 0, RATE, 1, 0},
                                  {"dropped by the kernel", NULL, AT(kernel_dropped), 0, RATE, 1, 0}};
    const struct plot limits[] = {{"left out", NULL, AT(limits), 0, RATE, 1, 0}};
    const struct plot files[] = {{"files", NULL, AT(files), 0, RATE, 1, 0}};
    const struct plot flows[] = {
        {"live", "shardcap_flows{state=\"live\"}", AT(flows_live), 0, GAUGE, 1, (double)s->flows_live},
        {"half-open", "shardcap_flows{state=\"halfopen\"}", AT(flows_halfopen), 0, GAUGE, 1, (double)s->flows_halfopen},
        {"unnamed", "shardcap_flows{state=\"unnamed\"}", AT(flows_unnamed), 0, GAUGE, 1, (double)s->flows_unnamed}};
    const struct plot room[] = {{"ring", NULL, AT(ring_permille), 0, GAUGE, 10, 0},
                                {"memory", NULL, AT(budget_permille), 0, GAUGE, 10, 0}};
    const struct plot latency[] = {{"first packet to UUID", NULL, AT(uuid_ns), AT(uuids), MEAN, 1e6, 0},
                                   {"last packet to file", NULL, AT(closed_ns), AT(closed), MEAN, 1e6, 0}};
    text_printf(out, "<h2>The last hour</h2><div class=\"grid\">\n");
    picture(h, now, "Packets per second", "", packets, 2, out);
    picture(h, now, "Lost packets per second", "", losses, 2, out);
    picture(h, now, "Packets left out as asked, per second", "", limits, 1, out);
    picture(h, now, "Files per second", "", files, 1, out);
    picture(h, now, "Flows by state", "", flows, 3, out);
    picture(h, now, "Ring and memory of the fullest shard", "%", room, 2, out);
    picture(h, now, "Latency, mean", "ms", latency, 2, out);
    text_printf(out, "</div>\n");
}

/* ---- the sums ---- */

static void number(const char *name, const char *metric, uint64_t v, struct text *out)
{
    text_printf(out, "<tr><td>%s</td><td data-metric='%s' data-value=\"%" PRIu64 "\">", name, metric, v);
    chart_number((double)v, out);
    text_printf(out, "</td></tr>\n");
}

static void causes(const struct totals *t, bool trouble, struct text *out)
{
    for (int i = 0; i < CAUSE_COUNT; i++) {
        char metric[96];
        if (t->drops[i] == 0 || cause_is_trouble((enum cause)i) != trouble)
            continue;
        (void)snprintf(metric, sizeof metric, "shardcap_dropped_packets_total{cause=\"%s\"}",
                       cause_name((enum cause)i));
        number(cause_name((enum cause)i), metric, t->drops[i], out);
    }
}

static void sums(const struct totals *t, struct text *out)
{
    text_printf(out, "<h2>Since the start</h2><div class=\"grid\"><div class=\"card\"><table>\n");
    number("packets delivered", "shardcap_packets_delivered_total", t->delivered, out);
    number("saved", "shardcap_packets_saved_total", t->saved, out);
    number("of flows not yet published", "shardcap_packets_buffered", t->buffered, out);
    number("dropped by the kernel", "shardcap_kernel_dropped_packets_total", t->kernel_dropped, out);
    number("flows started", "shardcap_flows_started_total", t->flows_started, out);
    number("flows saved", "shardcap_flows_saved_total", t->flows_saved, out);
    number("files", "shardcap_files_total", t->files, out);
    number("bytes of files", "shardcap_file_bytes_total", t->file_bytes, out);
    text_printf(out, "</table></div><div class=\"card\"><table>\n");
    number("<b>lost</b>", "shardcap_dropped_packets_total{class=\"lost\"}", t->lost, out);
    causes(t, true, out);
    text_printf(out, "</table></div><div class=\"card\"><table>\n");
    number("<b>left out as asked</b>", "shardcap_dropped_packets_total{class=\"limit\"}", t->limits, out);
    causes(t, false, out);
    text_printf(out, "</table></div></div>\n");
}

void overview_html(const struct pages *p, struct mono now, struct text *out)
{
    struct totals t;
    struct history_sample s;
    const struct supervisor_page *sup = p->supervisor;
    totals_read(&t, p->dispatcher, p->shard, p->config->shards);
    history_read(&s, p, now);
    const char *state = counter_get(&sup->draining) ? "stopping" : counter_get(&sup->ready) ? "ready" : "not ready";
    text_printf(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>shardcap</title>\n"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                     "<meta http-equiv=\"refresh\" content=\"10\">\n<style>");
    text_add(out, style, sizeof style - 1);
    text_printf(out, "</style></head><body>\n");
    text_printf(out, "<h1>shardcap %s <span class=\"%s\">%s</span></h1>\n", version_text(),
                strcmp(state, "ready") == 0 ? "up" : "down", state);
    processes(p, out);
    last_hour(p, &s, now, out);
    sums(&t, out);
    text_printf(out, "<p class=\"dim\"><a href=\"/metrics\">/metrics</a> for Prometheus, <a href=\"/api/status\">"
                     "/api/status</a> as JSON, <a href=\"/healthz\">/healthz</a>, <a href=\"/readyz\">/readyz</a></p>\n"
                     "</body></html>\n");
}
