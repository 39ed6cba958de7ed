/* SPDX-License-Identifier: Apache-2.0
 * /, /api/status, /metrics, /healthz, /readyz. Failure policy: an unknown path is 404; lack of memory is the body's
 * sticky flag, which the server turns into 500. */
#include "dispatcher/hub/page.h"

#include <string.h>

#include "dispatcher/hub/metrics.h"
#include "dispatcher/hub/openmetrics.h"
#include "dispatcher/hub/overview.h"
#include "dispatcher/hub/procstat.h"
#include "dispatcher/hub/status.h"
#include "shared/version.h"

static void metrics(const struct page_source *s, bool open, struct text *body)
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
    procstat_never_back(&family, &s->pages->hub->cpu_ms);
    struct text classic = {0};
    metrics_render(s->pages, &family, version_commit(), open ? &classic : body);
    if (open)
        openmetrics_from(&classic, body);
    text_free(&classic);
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

int page_serve(void *ctx, const char *path, const char *accept, struct text *body, const char **type)
{
    const struct page_source *s = ctx;
    if (strcmp(path, "/metrics") == 0) {
        bool open = openmetrics_wanted(accept);
        *type = open ? OPENMETRICS_TYPE : METRICS_TYPE;
        metrics(s, open, body);
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
        overview_html(s->pages, s->clock->mono(s->clock->ctx), body);
        return 200;
    }
    if (strcmp(path, "/api/status") == 0) {
        *type = "application/json";
        status_json(s->pages, body);
        return 200;
    }
    return 404;
}
