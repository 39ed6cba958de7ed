/* SPDX-License-Identifier: Apache-2.0
 * Two samples are kept, for what moves. Failure policy: a shardcap that does not answer leaves the last frame standing
 * and a line that says so; with -once it is status 1. */
#include "dispatcher/ctl/top.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/ctl/client.h"
#include "dispatcher/ctl/screen.h"
#include "dispatcher/ctl/status.h"
#include "dispatcher/ctl/topframe.h"
#include "shared/proto.h"

#define ANSWER_MS 1000 /* a key is heard at least that often */
#define INTERVAL_MAX 3600

struct sample {
    struct topframe_sample s;
    void *answer; /* bus_free; NULL = none */
};

struct top {
    const char *rundir;
    struct client *client;
    struct sample now, before;
    char error[CLIENT_ERROR];
};

/* Takes a new sample; the one of now becomes the one before. False leaves both as they are, with a text in error. */
static bool take(struct top *t)
{
    static const char request[] = "status";
    const struct clock *clock = clock_system();
    struct sample new = {0};
    size_t len = 0;
    if (!t->client)
        t->client = client_open(t->rundir, t->error);
    if (!t->client)
        return false;
    if (client_ask_within(t->client, request, sizeof request - 1, ANSWER_MS, &new.answer, &len, t->error) != SC_OK) {
        client_close(t->client);
        t->client = NULL;
        return false;
    }
    new.s.at = clock->mono(clock->ctx);
    if (jsontext_open(&new.s.status, new.answer, len) != SC_OK) {
        (void)snprintf(t->error, CLIENT_ERROR, "the answer is not a status: is shardcap of another version?");
        bus_free(new.answer);
        return false;
    }
    bus_free(t->before.answer);
    t->before = t->now;
    t->now = new;
    t->error[0] = '\0';
    return true;
}

static void write_frame(const struct top *t, FILE *out)
{
    topframe_write(&t->now.s, t->before.answer ? &t->before.s : NULL, out);
}

/* The status as one line. */
static void write_json(const struct top *t, FILE *out)
{
    for (const char *p = t->now.s.status.at; p < t->now.s.status.end; p++)
        if (*p != '\n')
            (void)fputc(*p, out);
    (void)fputc('\n', out);
}

/* Frames on plain standard output: one, or one each interval for ever. */
static int plain(struct top *t, bool json, bool once, uint64_t interval)
{
    do {
        if (!take(t)) {
            (void)fprintf(stderr, "shardcapctl: %s\n", t->error);
            if (once)
                return EXIT_FAILED;
        } else if (json) {
            write_json(t, stdout);
        } else {
            write_frame(t, stdout);
        }
        if (fflush(stdout) != 0)
            return EXIT_FAILED;
    } while (!once && sleep((unsigned)interval) == 0);
    return status_fine(t->now.s.status) ? EXIT_DONE : EXIT_FAILED;
}

static void draw(struct top *t)
{
    char *text = NULL;
    size_t len;
    FILE *f = t->now.answer ? open_memstream(&text, &len) : NULL;
    if (f) {
        write_frame(t, f);
        (void)fclose(f);
    }
    screen_draw(text ? text : "shardcap", t->error[0] ? t->error : "q quits");
    free(text);
}

static int on_screen(struct top *t, uint64_t interval)
{
    if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) || screen_open() != SC_OK) {
        (void)fprintf(stderr, "shardcapctl: top wants a terminal that it can draw on; -once does without\n");
        return EXIT_FAILED;
    }
    do {
        (void)take(t);
        draw(t);
    } while (!screen_wait((int)interval * 1000));
    screen_close();
    return EXIT_DONE;
}

static int top(const struct args *a)
{
    struct top t = {.rundir = a->rundir};
    bool once = args_has(a, "once"), json = args_has(a, "json");
    uint64_t interval;
    if (!args_number(a, "interval", 1, INTERVAL_MAX, 1, &interval))
        return EXIT_USAGE;
    int rc = once || json ? plain(&t, json, once, interval) : on_screen(&t, interval);
    bus_free(t.now.answer);
    bus_free(t.before.answer);
    client_close(t.client);
    return rc;
}

static const struct args_option options[] = {
    {"interval", "SECONDS", "between two frames (default: 1)"},
    {"once", NULL, "print one frame to standard output and end"},
    {"json", NULL, "the status as JSON, one line each interval, in place of frames"},
    {NULL, NULL, NULL},
};

const struct command top_command = {
    .name = "top",
    .operands = "",
    .summary = "processes, packets, files, ring and memory per shard, what is dropped by cause, what moves a second;\n"
               "q quits",
    .status = "0; with -once 1 when degraded or without an answer",
    .options = options,
    .run = top,
};
