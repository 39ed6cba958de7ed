/* SPDX-License-Identifier: Apache-2.0
 * See summary.h. Loss and limits stand apart: the first is trouble, the second was asked for. */
#include "dispatcher/supervisor/summary.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/supervisor/settings.h"

bool summary_balances(const struct totals *t)
{
    return t->delivered == t->saved + t->lost + t->limits;
}

static void causes(FILE *out, const struct totals *t, bool trouble)
{
    for (int c = 0; c < CAUSE_COUNT; c++)
        if (t->drops[c] && cause_is_trouble((enum cause)c) == trouble)
            fprintf(out, "    %-18s %12" PRIu64 "\n", cause_name((enum cause)c), t->drops[c]);
}

void summary_table(FILE *out, const struct totals *t, double seconds, const struct config *config)
{
    fprintf(out, "packets delivered    %12" PRIu64 "\n", t->delivered);
    fprintf(out, "  saved              %12" PRIu64 "\n", t->saved);
    fprintf(out, "  lost               %12" PRIu64 "\n", t->lost);
    causes(out, t, true);
    fprintf(out, "  limits             %12" PRIu64 "  (asked for, or not TCP)\n", t->limits);
    causes(out, t, false);
    if (!config_reads_files(config))
        fprintf(out, "kernel received      %12" PRIu64 "\n  kernel dropped     %12" PRIu64 "\n", t->kernel_received,
                t->kernel_dropped);
    fprintf(out, "flows started        %12" PRIu64 "\n  saved              %12" PRIu64 "\n", t->flows_started,
            t->flows_saved);
    fprintf(out, "files                %12" PRIu64 "  %" PRIu64 " bytes in %s\n", t->files, t->file_bytes,
            config->datadir);
    fprintf(out, "seconds              %12.1f\n", seconds);
}

static json_t *number(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static json_t *drops(const struct totals *t)
{
    json_t *o = json_object();
    for (int c = 0; o && c < CAUSE_COUNT; c++)
        if (t->drops[c])
            json_object_set_new(o, cause_name((enum cause)c), number(t->drops[c]));
    return o;
}

static json_t *build(const struct totals *t, double seconds)
{
    return json_pack("{s:{s:o,s:o,s:o},s:o,s:{s:o,s:o},s:o,s:o,s:{s:o,s:o},s:f}", "packets", "delivered",
                     number(t->delivered), "saved", number(t->saved), "lost", number(t->lost), "drops", drops(t),
                     "flows", "started", number(t->flows_started), "saved", number(t->flows_saved), "files",
                     number(t->files), "bytes", number(t->file_bytes), "kernel", "received", number(t->kernel_received),
                     "dropped", number(t->kernel_dropped), "seconds", seconds);
}

int summary_json(const char *path, const struct totals *t, double seconds, const struct config *config, char *error)
{
    char temp[CONFIG_PATH + 32];
    json_t *root = build(t, seconds);
    snprintf(temp, sizeof(temp), "%s.%d.tmp", path, (int)getpid());
    int rc = root ? json_dump_file(root, temp, JSON_COMPACT) : -1;
    json_decref(root);
    if (rc == 0 && config->user_switch)
        rc = chown(temp, config->uid, config->gid);
    if (rc == 0)
        rc = rename(temp, path);
    if (rc == 0)
        return SC_OK;
    settings_error(error, "flag -summary: cannot write %s: %s", path, strerror(errno));
    unlink(temp);
    return SC_ESYS;
}
