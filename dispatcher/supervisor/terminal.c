/* SPDX-License-Identifier: Apache-2.0
 * See terminal.h. Failure policy: a terminal that goes away is not missed. */
#include "dispatcher/supervisor/terminal.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/log.h"
#include "shared/nameless.h"

#define HINT_AFTER_S 10
#define WIPE "\r\033[K"
/* Without automatic margins a line that is too long is cut by the terminal; wrapped it could not be wiped. The last
 * column, where what is cut off would pile up, is cleared. */
#define MARGINS_OFF "\033[?7l"
#define MARGINS_ON "\033[K\033[?7h"

struct terminal {
    int fd;
    bool status; /* draw the line */
    bool paths;
    bool drawn; /* the line is on the screen */
    bool hinted;
    bool named_why; /* why flows have no names */
    const struct config *config;
    const char *url;
    struct mono start;
    char line[544]; /* with the margins */
    char watching[512];
};

/* A terminal that was stopped (Ctrl-S), or a pipe that nobody reads, must not stop us. */
static bool takes(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

static void put(const struct terminal *t, const char *text)
{
    if (!takes(t->fd))
        return;
    /* a terminal that is gone takes nothing */
    if (write(t->fd, text, strlen(text)) < 0)
        return;
}

static void wipe(void *ctx)
{
    struct terminal *t = ctx;
    if (t->drawn)
        put(t, WIPE);
}

static void redraw(void *ctx)
{
    struct terminal *t = ctx;
    if (t->drawn)
        put(t, t->line);
}

struct terminal *terminal_new(int fd, const struct config *config, const char *url)
{
    static struct terminal only; /* a process has one */
    struct terminal *t = &only;
    *t = (struct terminal){.fd = fd};
    const char *kind = getenv("TERM");
    t->status = isatty(fd) == 1 && !(kind && strcmp(kind, "dumb") == 0);
    t->paths = config->report_files;
    t->config = config;
    t->url = url;
    t->start = clock_system()->mono(clock_system()->ctx);
    if (t->status)
        log_set_hooks(wipe, redraw, t);
    return t;
}

void terminal_began(struct terminal *t, struct mono start)
{
    t->start = start;
}

void terminal_free(struct terminal *t)
{
    if (!t)
        return;
    wipe(t);
    log_set_hooks(NULL, NULL, NULL);
}

/* 5120 -> "5,120" */
static const char *grouped(uint64_t v, char out[32])
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%" PRIu64, v);
    char *o = out;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            *o++ = ',';
        *o++ = digits[i];
    }
    *o = '\0';
    return out;
}

const char *terminal_line(char *out, size_t cap, const struct totals *totals, uint64_t memory, int64_t seconds,
                          const char *url)
{
    char flows[32], unnamed[32], files[32], packets[32], lost[32], when[32];
    if (seconds >= 3600)
        snprintf(when, sizeof(when), "%" PRId64 ":%02d:%02d", seconds / 3600, (int)(seconds / 60 % 60),
                 (int)(seconds % 60));
    else
        snprintf(when, sizeof(when), "%d:%02d", (int)(seconds / 60), (int)(seconds % 60));
    snprintf(out, cap, "%s flows %s (%s unnamed) files %s packets %s lost %s mem %" PRIu64 " MB%s%s%s", when,
             grouped(totals->flows_started, flows), grouped(totals->flows_unnamed, unnamed),
             grouped(totals->files, files), grouped(totals->delivered, packets),
             grouped(totals->lost + totals->kernel_dropped, lost), (memory + 500000) / 1000000,
             totals->disk_paused ? " DISK FULL: new flows pause" : "", *url ? " " : "", url);
    return out;
}

static void hint(struct terminal *t)
{
    t->hinted = true;
    if (config_reads_files(t->config))
        return;
    log_info("no packet yet; watching: %s", t->watching[0] ? t->watching : "no interface");
    log_info("loopback is left out by default; -interface=lo captures it");
    log_info("to see something, try: curl http://example.com/");
}

void terminal_tick(struct terminal *t, const struct totals *totals, uint64_t memory, struct mono now)
{
    int64_t seconds = (now.ns - t->start.ns) / NS_PER_SEC;
    const char *nameless = nameless_reason(t->config, totals);
    if (nameless && !t->named_why)
        log_warn("%s", nameless);
    t->named_why |= nameless != NULL;
    if (!t->status || seconds < 1)
        return;
    if (!t->hinted && totals->delivered > 0)
        t->hinted = true;
    if (!t->hinted && seconds >= HINT_AFTER_S)
        hint(t);
    wipe(t);
    char text[512];
    terminal_line(text, sizeof(text), totals, memory, seconds, nameless ? nameless : t->url);
    snprintf(t->line, sizeof(t->line), MARGINS_OFF "%s" MARGINS_ON, text);
    t->drawn = true;
    redraw(t);
}

void terminal_saved(struct terminal *t, const char *path)
{
    if (!t->paths || !takes(STDOUT_FILENO))
        return;
    wipe(t);
    printf("%s/%s\n", t->config->datadir, path);
    fflush(stdout);
    redraw(t);
}

void terminal_watching(struct terminal *t, const char *names)
{
    snprintf(t->watching, sizeof(t->watching), "%s", names);
    if (!t->status)
        return;
    log_info("watching: %s", *names ? names : "no interface yet");
}
