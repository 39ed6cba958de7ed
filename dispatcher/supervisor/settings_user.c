/* SPDX-License-Identifier: Apache-2.0
 * See settings_user.h. Failure policy: a user that was asked for and cannot be had is refused, by name. */
#include "dispatcher/supervisor/settings_user.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dispatcher/supervisor/settings.h"
#include "shared/log.h"
#include "shared/proto.h"

static bool take_user(struct config *c, const struct passwd *pw)
{
    if (!pw)
        return false;
    c->uid = pw->pw_uid;
    c->gid = pw->pw_gid;
    return true;
}

static bool env_id(const char *name, unsigned *out)
{
    const char *text = getenv(name);
    if (!text || !*text || strlen(text) > 10 || text[strspn(text, "0123456789")])
        return false;
    unsigned long v = strtoul(text, NULL, 10);
    *out = (unsigned)v;
    return v < UINT_MAX; /* (uid_t)-1 means "leave it" */
}

/* Does our user namespace know the id (user_namespaces(7))? An unprivileged one maps the caller alone. */
static bool mapped(const char *map, unsigned id)
{
    unsigned long long inside, outside, count;
    bool found = false;
    FILE *f = fopen(map, "re");
    if (!f)
        return true; /* no namespaces here */
    while (!found && fscanf(f, "%llu %llu %llu", &inside, &outside, &count) == 3)
        found = id >= inside && id - inside < count;
    fclose(f);
    return found;
}

/* The chosen user, unless our namespace does not know it: then we stay who we are there, without capabilities. */
static int settle_user(struct config *c, const struct flags_request *rq, char *error, int *status_r)
{
    if (mapped("/proc/self/uid_map", c->uid) && mapped("/proc/self/gid_map", c->gid))
        return SC_OK;
    if (rq->user[0])
        return settings_refuse(error, status_r, EXIT_CONFIG, "flag -user: this user namespace does not know %s",
                               rq->user);
    c->uid = geteuid();
    c->gid = getegid();
    c->user_switch = false;
    return SC_OK;
}

/* A directory of root's in which neither everybody nor that group may create files. */
static bool is_only_roots(const struct stat *st, gid_t gid)
{
    return st->st_uid == 0 && !(st->st_mode & S_IWOTH) && !(st->st_gid == gid && (st->st_mode & S_IWGRP));
}

int settings_user(struct config *c, const struct flags_request *rq, char *error, int *status_r)
{
    struct stat st;
    unsigned uid, gid;
    c->uid = geteuid();
    c->gid = getegid();
    c->user_switch = false;
    if (c->uid != 0) {
        if (rq->user[0])
            return settings_refuse(error, status_r, EXIT_FAILED,
                                   "flag -user: only root can change the user; leave it out");
        return SC_OK;
    }
    c->user_switch = true;
    bool there = stat(c->datadir, &st) == 0;
    if (rq->user[0]) {
        if (!take_user(c, getpwnam(rq->user)))
            return settings_refuse(error, status_r, EXIT_CONFIG, "flag -user: there is no user %s", rq->user);
    } else if (env_id("SUDO_UID", &uid) && env_id("SUDO_GID", &gid) && !(there && is_only_roots(&st, gid))) {
        c->uid = uid;
        c->gid = gid;
    } else if (there) {
        c->uid = st.st_uid;
        c->gid = st.st_gid;
    } else if (!take_user(c, getpwnam("shardcap"))) {
        if (!take_user(c, getpwnam("nobody")))
            return settings_refuse(error, status_r, EXIT_CONFIG, "no user shardcap or nobody; name one with -user");
        log_warn("files will belong to nobody, because there is no user shardcap; choose a user with -user");
    }
    if (c->uid == 0 && !rq->user[0])
        log_warn("hub and shards run as root without capabilities, because %s; choose a user with -user",
                 there && st.st_uid == 0 ? "the datadir is root's" : "root called sudo");
    return settle_user(c, rq, error, status_r);
}
