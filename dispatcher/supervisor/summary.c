/* SPDX-License-Identifier: Apache-2.0
 * See summary.h. Loss and limits stand apart: the first is trouble, the second was asked for. */
#include "dispatcher/supervisor/summary.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
    if (t->buffered + t->in_ring > 0)
        fprintf(out, "  in memory          %12" PRIu64 "  (flows that go on)\n", t->buffered + t->in_ring);
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

/* Numbers and names of ours only, so nothing needs an escape. NULL without memory; else the caller frees it. */
static char *build(const struct totals *t, double seconds, struct wall started, struct wall ended)
{
    char *text = NULL;
    size_t len;
    const char *comma = "";
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    fprintf(out,
            "{\"packets\":{\"delivered\":%" PRIu64 ",\"saved\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"limits\":%" PRIu64
            "},\"drops\":{",
            t->delivered, t->saved, t->lost, t->limits);
    for (int c = 0; c < CAUSE_COUNT; c++)
        if (t->drops[c]) {
            fprintf(out, "%s\"%s\":%" PRIu64, comma, cause_name((enum cause)c), t->drops[c]);
            comma = ",";
        }
    fprintf(out, "},\"flows\":{\"started\":%" PRIu64 ",\"saved\":%" PRIu64 "},\"files\":%" PRIu64 ",\"bytes\":%" PRIu64,
            t->flows_started, t->flows_saved, t->files, t->file_bytes);
    fprintf(out, ",\"kernel\":{\"received\":%" PRIu64 ",\"dropped\":%" PRIu64 "},\"seconds\":%.3f", t->kernel_received,
            t->kernel_dropped, seconds);
    fprintf(out, ",\"salvaged\":{\"files\":%" PRIu64 ",\"packets\":%" PRIu64 "},\"removed\":%" PRIu64,
            t->salvaged_files, t->salvaged_packets, t->removed_files);
    fprintf(out, ",\"started\":%.3f,\"ended\":%.3f}\n", (double)started.ns / (double)NS_PER_SEC,
            (double)ended.ns / (double)NS_PER_SEC);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

/* In a fresh file beside path, which it then replaces; no link is followed, for the directory may be another user's. */
static int replace(const char *path, const char *text, const struct config *config)
{
    char temp[CONFIG_PATH + 32];
    snprintf(temp, sizeof(temp), "%s.%d.tmp", path, (int)getpid());
    (void)unlink(temp);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0664);
    if (fd < 0)
        return -1;
    int rc = dprintf(fd, "%s", text) < 0 ? -1 : 0;
    if (rc == 0 && config->user_switch)
        rc = fchown(fd, config->uid, config->gid);
    rc |= close(fd);
    if (rc == 0)
        rc = rename(temp, path);
    if (rc != 0) {
        int why = errno;
        (void)unlink(temp);
        errno = why;
    }
    return rc;
}

/* Is it there but no file, as a pipe? Or in /dev, which for root is as easily replaced as any file: /dev/stdout is one
 * of the two, whatever it leads to. /dev/shm is for files. */
static bool stays(const char *path)
{
    struct stat st;
    bool in_dev = strncmp(path, "/dev/", 5) == 0 && strncmp(path, "/dev/shm/", 9) != 0;
    return in_dev || (stat(path, &st) == 0 && !S_ISREG(st.st_mode));
}

/* To replace it would break it. */
static int write_in_place(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -1;
    int rc = dprintf(fd, "%s", text) < 0 ? -1 : 0;
    return rc | close(fd);
}

int summary_json(const char *path, const struct totals *t, double seconds, struct wall ended,
                 const struct config *config, char *error)
{
    char *text = build(t, seconds, (struct wall){config->started_ns}, ended);
    errno = ENOMEM;
    int rc = -1;
    if (text)
        rc = stays(path) ? write_in_place(path, text) : replace(path, text, config);
    if (rc != 0)
        settings_error(error, "flag -summary: cannot write %s: %s", path, strerror(errno));
    free(text);
    return rc == 0 ? SC_OK : SC_ESYS;
}
