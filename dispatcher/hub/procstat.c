/* SPDX-License-Identifier: Apache-2.0
 * Reads /proc (proc(5)). Failure policy: each file on its own; one that is not there or has another form adds 0. */
#include "dispatcher/hub/procstat.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fields of /proc/PID/stat behind the name, counted as proc(5) does. */
enum {
    STAT_FIRST = 3,
    UTIME = 14,
    STIME = 15,
    CUTIME = 16,
    CSTIME = 17,
    STARTTIME = 22,
    VSIZE = 23,
    RSS = 24,
    LAST = 24
};

static bool read_text(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t len = 0;
    ssize_t n;
    while (len < cap - 1 && (n = read(fd, out + len, cap - 1 - len)) > 0)
        len += (size_t)n;
    out[len] = '\0';
    (void)close(fd);
    return len > 0;
}

/* value[i] = field i of the stat line, for STAT_FIRST + 1 .. LAST. */
static bool read_stat(const char *proc, pid_t pid, unsigned long long value[LAST + 1])
{
    char path[300], text[1024];
    (void)snprintf(path, sizeof path, "%s/%ld/stat", proc, (long)pid);
    if (!read_text(path, text, sizeof text))
        return false;
    const char *p = strrchr(text, ')'); /* the name may hold blanks and parentheses */
    if (!p || strlen(p) < 4)
        return false;
    p += 3; /* ") S" */
    for (int field = STAT_FIRST + 1; field <= LAST; field++) {
        char *end;
        value[field] = strtoull(p, &end, 10);
        if (end == p)
            return false;
        p = end;
    }
    return true;
}

static uint64_t count_fds(const char *proc, pid_t pid)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%ld/fd", proc, (long)pid);
    DIR *d = opendir(path);
    if (!d)
        return 0;
    uint64_t n = 0;
    const struct dirent *e;
    while ((e = readdir(d)))
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n > 0 && pid == getpid() ? n - 1 : n; /* less the one that reads the directory */
}

static uint64_t max_fds(const char *proc, pid_t pid)
{
    char path[300], text[4096];
    (void)snprintf(path, sizeof path, "%s/%ld/limits", proc, (long)pid);
    if (!read_text(path, text, sizeof text))
        return 0;
    static const char name[] = "Max open files";
    const char *line = strstr(text, name);
    return line ? strtoull(line + sizeof name - 1, NULL, 10) : 0; /* soft limit; "unlimited" reads as 0 */
}

static double boot_seconds(const char *proc)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/stat", proc);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    char line[512];
    double boot = 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "btime ", 6) == 0)
            boot = strtod(line + 6, NULL);
    (void)fclose(f);
    return boot;
}

void procstat_read(struct procstat *out, const char *proc, const pid_t *pids, size_t count)
{
    double tick = (double)sysconf(_SC_CLK_TCK);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    *out = (struct procstat){0};
    for (size_t i = 0; i < count; i++) {
        unsigned long long v[LAST + 1] = {0};
        if (pids[i] <= 0 || !read_stat(proc, pids[i], v))
            continue;
        out->cpu_seconds += (double)(v[UTIME] + v[STIME]) / tick;
        if (i == 0) {
            double boot = boot_seconds(proc);
            out->cpu_seconds += (double)(v[CUTIME] + v[CSTIME]) / tick;
            out->start_seconds = boot > 0 ? boot + (double)v[STARTTIME] / tick : 0;
        }
        out->resident_bytes += v[RSS] * page;
        out->virtual_bytes += v[VSIZE];
        out->open_fds += count_fds(proc, pids[i]);
        out->max_fds += max_fds(proc, pids[i]);
    }
}

void procstat_never_back(struct procstat *s, counter *shown_ms)
{
    uint64_t now = (uint64_t)(s->cpu_seconds * 1000), before = counter_get(shown_ms);
    if (now < before)
        s->cpu_seconds = (double)before / 1000;
    else
        counter_set(shown_ms, now);
}
