/* SPDX-License-Identifier: Apache-2.0
 * /, /metrics, /healthz, /readyz. Failure policy: an unknown path is 404; lack of memory is the body's sticky flag,
 * which the server turns into 500. */
#include "dispatcher/hub/page.h"

#include <string.h>

#include "dispatcher/hub/metrics.h"
#include "dispatcher/hub/procstat.h"
#include "shared/version.h"

static void metrics(const struct page_source *s, struct text *body)
{
    const struct supervisor_page *p = s->pages->supervisor;
    pid_t pids[3 + SHARDS_MAX];
    size_t n = 0;
    pids[n++] = s->supervisor;
    pids[n++] = (pid_t)counter_get(&p->pid_dispatcher);
    pids[n++] = (pid_t)counter_get(&p->pid_hub);
    for (unsigned i = 0; i < s->pages->config->shards; i++)
        pids[n++] = (pid_t)counter_get(&p->pid_shard[i]);
    struct procstat family;
    procstat_read(&family, "/proc", pids, n);
    metrics_render(s->pages, &family, version_commit(), body);
}

static int ready(const struct page_source *s, struct text *body)
{
    const struct supervisor_page *p = s->pages->supervisor;
    if (counter_get(&p->draining)) {
        text_printf(body, "draining\n");
        return 503;
    }
    bool is_ready = counter_get(&p->ready) != 0;
    text_printf(body, is_ready ? "ready\n" : "not ready\n");
    return is_ready ? 200 : 503;
}

static void overview(const struct page_source *s, struct text *body)
{
    struct totals t;
    totals_read(&t, s->pages->dispatcher, s->pages->shard, s->pages->config->shards);
    text_printf(body,
                "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>shardcap</title></head>\n");
    text_printf(body,
                "<body><h1>shardcap %s</h1>\n<p>Saves the packet headers of every TCP flow, one file per flow.</p>\n",
                version_text());
    text_printf(body,
                "<p>flows %llu (%llu unnamed), files %llu, packets delivered %llu, saved %llu, lost %llu</p>\n<ul>\n",
                (unsigned long long)t.flows_live, (unsigned long long)t.flows_unnamed, (unsigned long long)t.files,
                (unsigned long long)t.delivered, (unsigned long long)t.saved, (unsigned long long)t.lost);
    text_printf(body, "<li><a href=\"/metrics\">/metrics</a> for Prometheus</li>\n"
                      "<li><a href=\"/healthz\">/healthz</a> 200 while the hub answers</li>\n"
                      "<li><a href=\"/readyz\">/readyz</a> 200 while every process is up, else 503</li>\n"
                      "</ul></body></html>\n");
}

int page_serve(void *ctx, const char *path, struct text *body, const char **type)
{
    const struct page_source *s = ctx;
    if (strcmp(path, "/metrics") == 0) {
        *type = METRICS_TYPE;
        metrics(s, body);
        return 200;
    }
    if (strcmp(path, "/healthz") == 0) {
        text_printf(body, "ok\n");
        return 200;
    }
    if (strcmp(path, "/readyz") == 0)
        return ready(s, body);
    if (strcmp(path, "/") == 0) {
        *type = "text/html; charset=utf-8";
        overview(s, body);
        return 200;
    }
    return 404;
}
