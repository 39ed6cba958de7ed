/* SPDX-License-Identifier: Apache-2.0
 * How much memory there is: /proc/meminfo, and the limits of the control groups we are in (cgroups(7)). Failure policy:
 * what cannot be read is no limit. */
#include <stdio.h>
#include <string.h>

#include "dispatcher/supervisor/settings.h"

/* A number in a one-line file; UINT64_MAX for "max" and for anything unreadable. */
static uint64_t read_limit(const char *path)
{
    unsigned long long v;
    FILE *f = fopen(path, "re");
    if (!f)
        return UINT64_MAX;
    int n = fscanf(f, "%llu", &v);
    fclose(f);
    return n == 1 ? v : UINT64_MAX;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t machine(const char *root)
{
    char path[4096], line[256];
    unsigned long long kib = 0;
    snprintf(path, sizeof(path), "%s/proc/meminfo", root);
    FILE *f = fopen(path, "re");
    if (!f)
        return UINT64_MAX;
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
            break;
    fclose(f);
    return kib ? kib * 1024 : UINT64_MAX;
}

/* The smallest limit on the way from a group up to the root of its hierarchy. */
static uint64_t walk_up(const char *root, const char *mount, const char *group, const char *file)
{
    char dir[2048], path[4096];
    uint64_t least = UINT64_MAX;
    snprintf(dir, sizeof(dir), "%s", group);
    for (;;) {
        snprintf(path, sizeof(path), "%s/sys/fs/cgroup%s%s/%s", root, mount, dir, file);
        least = smaller(least, read_limit(path));
        char *slash = strrchr(dir, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

static uint64_t cgroups(const char *root)
{
    char path[4096], line[2048];
    uint64_t least = UINT64_MAX;
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    if (!f)
        return least;
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        controllers++;
        if (!*controllers)
            least = smaller(least, walk_up(root, "", group, "memory.max"));
        else if (strstr(controllers, "memory"))
            least = smaller(least, walk_up(root, "/memory", group, "memory.limit_in_bytes"));
    }
    fclose(f);
    return least;
}

uint64_t settings_memory(const char *root)
{
    if (!strcmp(root, "/"))
        root = "";
    uint64_t least = smaller(machine(root), cgroups(root));
    return least == UINT64_MAX ? 0 : least;
}
