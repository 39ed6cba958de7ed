/* SPDX-License-Identifier: Apache-2.0
 * The REQ side of ctl.sock. Failure policy: every failure is one text that says what to do. */
#include "dispatcher/ctl/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct client {
    struct bus *bus;
    char path[BUS_PATH];
};

static int copy(char out[BUS_PATH], const char *text)
{
    int n = snprintf(out, BUS_PATH, "%s", text);
    return n < 0 || n >= BUS_PATH ? SC_ETOOLONG : SC_OK;
}

static int default_rundir(char out[BUS_PATH])
{
    static const char system_wide[] = "/run/shardcap";
    if (geteuid() == 0)
        return copy(out, system_wide);
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int n = runtime && runtime[0] ? snprintf(out, BUS_PATH, "%s/shardcap", runtime)
                                  : snprintf(out, BUS_PATH, "/tmp/shardcap-%u", (unsigned)getuid());
    if (n < 0 || n >= BUS_PATH)
        return SC_ETOOLONG;
    /* One that was started with sudo runs as us, but in the place of root. */
    char here[BUS_PATH], there[BUS_PATH];
    if (bus_path(here, out, "ctl.sock") == SC_OK && access(here, F_OK) != 0 &&
        bus_path(there, system_wide, "ctl.sock") == SC_OK && access(there, W_OK) == 0)
        return copy(out, system_wide);
    return SC_OK;
}

int client_rundir(const char *given, char out[BUS_PATH])
{
    if (!given)
        given = getenv("SHARDCAP_RUNDIR");
    return given && given[0] ? copy(out, given) : default_rundir(out);
}

struct client *client_open(const char *given, char error[CLIENT_ERROR])
{
    struct client *c = calloc(1, sizeof *c);
    char bus_error[BUS_ERROR] = "out of memory", rundir[BUS_PATH];
    struct stat st;
    if (c && (client_rundir(given, rundir) != SC_OK || bus_path(c->path, rundir, "ctl.sock") != SC_OK)) {
        (void)snprintf(error, CLIENT_ERROR, "-rundir is too long: a socket's path has at most 107 bytes");
    } else if (c && stat(c->path, &st) < 0) {
        (void)snprintf(error, CLIENT_ERROR, "no shardcap at %s (%s): is it running? Say where with -rundir", c->path,
                       strerror(errno));
    } else {
        if (c)
            c->bus = bus_connect(BUS_REQ, c->path, bus_error);
        if (c && c->bus)
            return c;
        (void)snprintf(error, CLIENT_ERROR, "%s", bus_error);
    }
    free(c);
    return NULL;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    bus_close(c->bus);
    free(c);
}

int client_ask(struct client *c, const void *request, size_t len, void **answer_r, size_t *len_r,
               char error[CLIENT_ERROR])
{
    return client_ask_within(c, request, len, CLIENT_WAIT_MS, answer_r, len_r, error);
}

int client_ask_within(struct client *c, const void *request, size_t len, int ms, void **answer_r, size_t *len_r,
                      char error[CLIENT_ERROR])
{
    int rc = bus_send(c->bus, request, len);
    if (rc == SC_OK)
        rc = bus_recv_wait(c->bus, ms, answer_r, len_r);
    if (rc != SC_OK)
        (void)snprintf(error, CLIENT_ERROR, "no answer at %s (%s): is shardcap running, and may you write to it?",
                       c->path, rc == SC_EAGAIN ? "timed out" : sc_strerror(rc));
    return rc;
}
