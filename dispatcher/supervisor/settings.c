/* SPDX-License-Identifier: Apache-2.0
 * See settings.h: what is checked and opened, in the order in which a person would want to hear of it. Users, inputs,
 * addresses, memory and directories have files of their own. */
#include "dispatcher/supervisor/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dispatcher/supervisor/settings_dirs.h"
#include "dispatcher/supervisor/settings_inputs.h"
#include "dispatcher/supervisor/settings_listen.h"
#include "dispatcher/supervisor/settings_run.h"
#include "dispatcher/supervisor/settings_user.h"
#include "dispatcher/supervisor/spawn.h"
#include "shared/log.h"
#include "shared/proto.h"

#define BUDGET_MIN (1u << 20) /* per shard, of maxheap */

void settings_error(char *error, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error, FLAGS_ERROR, fmt, ap);
    va_end(ap);
}

int settings_refuse(char *error, int *status_r, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error, FLAGS_ERROR, fmt, ap);
    va_end(ap);
    *status_r = status;
    return SC_EINVAL;
}

/* ---- memory ---- */

static int fit_memory(struct config *c, char *error, int *status_r)
{
    uint64_t half = settings_memory("/") / 2;
    c->maxheap_asked = c->maxheap;
    if (half > 0 && c->maxheap > half) {
        log_info("flag -maxheap lowered to half of the memory asked=%llu now=%llu", (unsigned long long)c->maxheap,
                 (unsigned long long)half);
        c->maxheap = half;
    }
    if (c->maxheap / c->shards < BUDGET_MIN)
        return settings_refuse(
            error, status_r, EXIT_CONFIG,
            "flag -maxheap: %llu bytes for %u shards is less than 1 MiB each; give more, or fewer -shards",
            (unsigned long long)c->maxheap, c->shards);
    return SC_OK;
}

/* ---- interfaces and outputs ---- */

static void list_interfaces(char *out, size_t cap)
{
    struct if_nameindex *all = if_nameindex();
    size_t used = 0;
    out[0] = '\0';
    for (struct if_nameindex *i = all; i && i->if_index && used < cap; i++)
        used += (size_t)snprintf(out + used, cap - used, "%s%s", used ? ", " : "", i->if_name);
    if (all)
        if_freenameindex(all);
}

static int check_interfaces(const struct config *c, char *error, int *status_r)
{
    char names[512];
    for (unsigned i = 0; i < c->interface_count; i++)
        if (if_nametoindex(c->interfaces[i]) == 0) {
            list_interfaces(names, sizeof(names));
            return settings_refuse(error, status_r, EXIT_FAILED,
                                   "flag -interface: there is no interface %s; there are: %s", c->interfaces[i], names);
        }
    return SC_OK;
}

/* A path that may be missing, but if it is there must be a directory. */
static int check_directory(const char *flag, const char *path, char *error, int *status_r)
{
    struct stat st;
    if (path[0] && stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return settings_refuse(error, status_r, EXIT_FAILED, "flag %s: %s is not a directory", flag, path);
    return SC_OK;
}

/* The same; if it is missing it must be possible to create it, below what is there. */
static int check_creatable(const char *flag, const char *path, char *error, int *status_r)
{
    char part[CONFIG_PATH + 2];
    struct stat st;
    if (!path[0])
        return SC_OK;
    if (check_directory(flag, path, error, status_r) != SC_OK)
        return SC_EINVAL;
    snprintf(part, sizeof(part), "%s%s", path[0] == '/' ? "" : "./", path);
    while (stat(part, &st) != 0) {
        char *slash = strrchr(part, '/');
        if (errno != ENOENT || !slash)
            return settings_refuse(error, status_r, EXIT_FAILED, "flag %s: cannot open %s: %s; choose another place",
                                   flag, path, strerror(errno));
        slash[slash == part ? 1 : 0] = '\0';
    }
    int why = !S_ISDIR(st.st_mode) ? ENOTDIR : faccessat(AT_FDCWD, part, W_OK | X_OK, AT_EACCESS) != 0 ? errno : 0;
    if (why == 0)
        return SC_OK;
    return settings_refuse(error, status_r, EXIT_FAILED,
                           "flag %s: cannot create files below %s: %s; choose another place", flag, part,
                           strerror(why));
}

/* The summary is written at the end, when it is too late to ask for another place. */
static int check_summary(const struct config *c, char *error, int *status_r)
{
    struct stat st;
    char dir[CONFIG_PATH] = ".";
    const char *slash = strrchr(c->summary, '/');
    if (!c->summary[0])
        return SC_OK;
    if (slash)
        snprintf(dir, sizeof(dir), "%.*s", slash == c->summary ? 1 : (int)(slash - c->summary), c->summary);
    bool there = stat(c->summary, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        return settings_refuse(error, status_r, EXIT_FAILED, "flag -summary: %s is a directory; name a file",
                               c->summary);
    const char *written = there && !S_ISREG(st.st_mode) ? c->summary : dir; /* a pipe or device is written in place */
    if (faccessat(AT_FDCWD, written, W_OK, AT_EACCESS) != 0)
        return settings_refuse(error, status_r, EXIT_FAILED, "flag -summary: cannot write %s: %s", c->summary,
                               strerror(errno));
    return SC_OK;
}

/* Is the address one of ours? Tried with a free port, so that a configuration can be checked beside its running self.
 */
static int check_listen(const struct config *c, char *error, int *status_r)
{
    char host[256], any_port[sizeof(host) + 8], url[280];
    unsigned port;
    if (!c->listen_address[0])
        return SC_OK;
    if (settings_split_address(c->listen_address, host, &port) != SC_OK)
        return settings_refuse(error, status_r, EXIT_USAGE, SETTINGS_BAD_ADDRESS, c->listen_address);
    snprintf(any_port, sizeof(any_port), strchr(host, ':') ? "[%s]:0" : "%s:0", host);
    int fd = settings_listen(any_port, url, sizeof(url), error);
    *status_r = EXIT_FAILED;
    if (fd < 0)
        return SC_EINVAL;
    close(fd);
    return SC_OK;
}

static int check_outputs(const struct config *c, char *error, int *status_r)
{
    if (check_listen(c, error, status_r) != SC_OK)
        return SC_EINVAL;
    if (check_creatable("-datadir", c->datadir, error, status_r) != SC_OK ||
        check_creatable("-stagingdir", c->stagingdir, error, status_r) != SC_OK)
        return SC_EINVAL;
    return check_summary(c, error, status_r);
}

/* ---- rundir ---- */

/* A savefile with no place named gets one of its own, made when it is opened. */
static bool takes_temporary_rundir(const struct config *c)
{
    return config_reads_files(c) && !c->rundir[0];
}

static int choose_rundir(struct config *c, char *error, int *status_r)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    if (takes_temporary_rundir(c))
        return SC_OK; /* its path is short */
    if (!c->rundir[0]) {
        if (geteuid() == 0)
            snprintf(c->rundir, sizeof(c->rundir), "/run/shardcap");
        else if (xdg && *xdg)
            snprintf(c->rundir, sizeof(c->rundir), "%s/shardcap", xdg);
        else
            snprintf(c->rundir, sizeof(c->rundir), "/tmp/shardcap-%u", (unsigned)geteuid());
    }
    if (strlen(c->rundir) + sizeof("/bus/replay.sock") > sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return settings_refuse(
            error, status_r, EXIT_USAGE,
            "flag -rundir: a socket below %s would have a path of more than 107 bytes; choose a shorter one",
            c->rundir);
    return SC_OK;
}

static int check_paths(const struct config *c, char *error, int *status_r)
{
    if (strlen(c->eventsocket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return settings_refuse(error, status_r, EXIT_USAGE,
                               "flag -tcpinfo.eventsocket: a socket path has at most 107 bytes");
    return SC_OK;
}

/* Names from cookies need a prefix in any case: the file's, else that of tcp-info, which its UUIDs will show, else host
 * name and boot time, read once for the family. */
static int kernel_prefix(struct config *c, char *error, int *status_r)
{
    if (!(c->uuid_sources & UUID_SOURCE_KERNEL))
        return SC_OK;
    c->kernel_prefix = c->uuid_prefix;
    if (c->uuid_prefix.text[0] || c->uuid_sources & UUID_SOURCE_EVENTSOCKET ||
        uuid_default_prefix(&c->kernel_prefix) == SC_OK)
        return SC_OK;
    return settings_refuse(error, status_r, EXIT_FAILED,
                           "cannot make a prefix for UUIDs; give one with -uuid-prefix-file");
}

static int load_prefix(struct config *c, const struct flags_request *rq, char *error, int *status_r)
{
    if (!rq->prefix_file[0])
        return SC_OK;
    int err = uuid_prefix_from_file(&c->uuid_prefix, rq->prefix_file);
    if (err == SC_ESYS)
        return settings_refuse(error, status_r, EXIT_FAILED, "flag -uuid-prefix-file: cannot read %s: %s",
                               rq->prefix_file, strerror(errno));
    if (err)
        return settings_refuse(
            error, status_r, EXIT_CONFIG,
            "flag -uuid-prefix-file: %s does not hold a prefix: letters, digits and ._:- only, at most 111 "
            "characters, starting with a letter or digit",
            rq->prefix_file);
    return SC_OK;
}

/* This program has no libpcap, so the one that has is asked. */
static int check_filter(const struct config *c, char *error, int *status_r)
{
    struct program dispatcher;
    char why[256];
    if (!c->filter[0])
        return SC_OK;
    int rc = spawn_open(&dispatcher, "shardcap-dispatcher");
    if (rc == SC_OK) {
        rc = spawn_ask(&dispatcher, "-check-filter", c->filter, why, sizeof(why));
        close(dispatcher.fd);
    }
    if (rc == EXIT_USAGE)
        return settings_refuse(error, status_r, EXIT_USAGE, "flag -filter%s: %s", c->filter_raw ? ".raw" : "", why);
    if (rc != EXIT_DONE)
        return settings_refuse(error, status_r, EXIT_FAILED, "cannot run shardcap-dispatcher beside this program: %s",
                               strerror(errno));
    return SC_OK;
}

int settings_check(struct config *c, const struct flags_request *rq, char *error, int *status_r)
{
    c->umask = umask(0);
    umask(c->umask);
    if (getrandom(&c->hash_key, sizeof(c->hash_key), 0) != (ssize_t)sizeof(c->hash_key))
        return settings_refuse(error, status_r, EXIT_FAILED, "no random numbers from the kernel: %s", strerror(errno));
    int err = settings_user(c, rq, error, status_r);
    if (!err)
        err = load_prefix(c, rq, error, status_r);
    if (!err)
        err = kernel_prefix(c, error, status_r);
    if (!err)
        err = settings_check_inputs(c, error, status_r);
    if (!err)
        err = check_interfaces(c, error, status_r);
    if (!err)
        err = check_outputs(c, error, status_r);
    if (!err)
        err = fit_memory(c, error, status_r);
    if (!err)
        err = choose_rundir(c, error, status_r);
    if (!err)
        err = check_paths(c, error, status_r);
    if (!err)
        err = check_filter(c, error, status_r);
    return err;
}

int settings_open(struct config *c, struct settings_fds *fds, char *error, int *status_r)
{
    bool temp = takes_temporary_rundir(c);
    memset(fds, 0, sizeof(*fds));
    fds->http = fds->serve = fds->datadir = fds->stagingdir = fds->events = fds->lock = fds->attach = -1;
    *status_r = EXIT_FAILED;
    int err = settings_open_inputs(c, fds, error, status_r);
    if (!err && !temp)
        err = rundir_check_free(c, error); /* first: whoever runs there has our port, too, and is the better reason */
    if (!err && c->listen_address[0]) {
        fds->http = settings_listen(c->listen_address, fds->url, sizeof(fds->url), error);
        err = fds->http < 0 ? SC_ESYS : SC_OK;
    }
    if (!err && c->serve[0]) {
        fds->serve = settings_serve(c, error);
        err = fds->serve < 0 ? SC_ESYS : SC_OK;
    }
    if (!err)
        err = rundir_open(c, temp, fds, error);
    if (!err)
        err = dirs_open_data(c, fds, error);
    return err;
}

void settings_close(struct settings_fds *fds, const struct config *c)
{
    if (fds->attach >= 0)
        rundir_remove_attach(c);
    if (fds->temp_rundir && c->rundir[0])
        rundir_remove_temp(c);
    fds->temp_rundir = false;
    if (fds->serve >= 0)
        (void)unlink(c->serve);
}
