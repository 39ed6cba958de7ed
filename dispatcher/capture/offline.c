/* SPDX-License-Identifier: Apache-2.0
 * Reads savefiles into the rings.
 * Failure policy: a file that is refused, cut or corrupt is noted and the next one is read; at the end, after END, the
 * first of them is reported with exit status 1. A filter that does not compile is wrong usage and ends the reading at
 * once. A pipe that is silent does not hold back what was read, nor a STOP. */
#include "dispatcher/capture/offline.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/capture/capture.h"
#include "dispatcher/capture/drain.h"
#include "shared/log.h"

#define BURST 1024
#define ROOM_PAUSE_NS 50000 /* between two looks at a full ring */
#define INPUT_PAUSE_MS 100  /* between two looks at a silent pipe */
#define NAME_SHOWN 256      /* bytes of a path, in a message that holds 512 */

/* One file on its way. */
struct reading {
    struct offline *o;
    int fd;
    bool stopped; /* the end of input was made up, because of a STOP */
    struct capture *capture;
    int linktype;
    struct wall last; /* largest time so far */
};

struct failures {
    unsigned count;
    bool usage; /* a flag is wrong */
    char first[PROTO_TEXT];
};

static void beat(struct offline *o)
{
    atomic_fetch_add_explicit(&o->page->heartbeat, 1, memory_order_relaxed);
}

bool offline_wait(void *ctx)
{
    struct offline *o = ctx;
    beat(o);
    control_wait(o->control, ROOM_PAUSE_NS);
    return !o->control->gone;
}

/* read(2) for libpcap; while nothing comes, what was read is published and the supervisor is heard. */
static ssize_t on_read(void *ctx, void *buf, size_t n)
{
    struct reading *r = ctx;
    struct offline *o = r->o;
    struct pollfd p[2] = {{.fd = r->fd, .events = POLLIN}, {.fd = o->control->sock, .events = POLLIN}};
    while (!control_over(o->control)) {
        int ready = poll(p, 2, 0);
        if (ready == 0) {
            feed_flush(o->feed, (struct instant){r->last.ns});
            ready = poll(p, 2, INPUT_PAUSE_MS);
        }
        beat(o);
        if (p[1].revents)
            control_poll(o->control);
        if (ready > 0 && p[0].revents) {
            ssize_t got = read(r->fd, buf, n);
            if (got >= 0 || (errno != EINTR && errno != EAGAIN))
                return got;
        }
    }
    r->stopped = true;
    return 0;
}

static void on_packet(void *ctx, const struct captured *c)
{
    struct reading *r = ctx;
    if (!capture_matches(r->capture, c)) {
        feed_drop(r->o->feed, CAUSE_FILTERED);
        return;
    }
    struct feed_packet p = {
        .bytes = c->bytes,
        .caplen = c->caplen,
        .wire_len = c->wire_len,
        .linktype = r->linktype,
        .ts = c->ts,
    };
    if (c->ts.ns > r->last.ns)
        r->last = c->ts;
    feed_packet(r->o->feed, &p);
}

/* The path as it may be printed: of a long one, the end. */
static const char *shown(const struct offline *o, unsigned i, char out[NAME_SHOWN])
{
    const char *path = o->config->savefiles[i];
    size_t len = strlen(path);
    if (strcmp(path, "-") == 0)
        path = "standard input";
    else if (len >= NAME_SHOWN)
        path += len - (NAME_SHOWN - 1);
    (void)snprintf(out, NAME_SHOWN, "%s", path);
    for (char *p = out; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    return out;
}

static void note(struct offline *o, unsigned i, struct failures *f, const char *what)
{
    char name[NAME_SHOWN], text[PROTO_TEXT];
    (void)snprintf(text, sizeof text, "savefile %.240s: %.240s", shown(o, i, name), what);
    if (o->config->savefile_count > 1) /* one alone is told at the end */
        log_warn("%s", text);
    if (f->count++ == 0)
        memcpy(f->first, text, sizeof text);
}

/* Everything of an open file. Returns SC_OK or SC_EFORMAT with a text. */
static int read_packets(struct reading *r, char error[CAPTURE_ERROR])
{
    struct offline *o = r->o;
    int n = 1;
    while (n > 0 && !control_over(o->control)) {
        n = capture_dispatch(r->capture, BURST, on_packet, r, error);
        feed_housekeep(o->feed, feed_clock(o->feed), (struct instant){r->last.ns});
        beat(o);
        control_poll(o->control);
    }
    return n < 0 && !r->stopped ? n : SC_OK;
}

/* One file. Returns false when nothing more is to be read: the filter does not compile. */
static bool read_file(struct offline *o, unsigned i, struct failures *f, struct wall *last)
{
    struct reading r = {.o = o, .fd = o->files[i], .last = *last};
    char error[CAPTURE_ERROR];
    int rc = capture_open_savefile(on_read, &r, &r.capture, error);
    if (rc != SC_OK) {
        if (!r.stopped)
            note(o, i, f, error);
        return true;
    }
    r.linktype = capture_linktype(r.capture);
    if (o->config->filter[0] && capture_filter(r.capture, o->config->filter, error) != SC_OK) {
        char name[NAME_SHOWN];
        f->count++;
        f->usage = true;
        (void)snprintf(f->first, sizeof f->first, "flag -filter%s: %.240s (with savefile %.200s)",
                       o->config->filter_raw ? ".raw" : "", error, shown(o, i, name));
        capture_close(r.capture);
        return false;
    }
    rc = read_packets(&r, error);
    if (rc != SC_OK)
        note(o, i, f, error);
    *last = r.last;
    capture_close(r.capture);
    return true;
}

int offline_run(struct offline *o)
{
    struct failures f = {0};
    struct wall last = {0};
    for (unsigned i = 0; i < o->config->savefile_count && !control_over(o->control); i++)
        if (!read_file(o, i, &f, &last))
            break;
    feed_flush(o->feed, (struct instant){last.ns});
    (void)drain_end(o->control, o->feed, o->page);
    if (o->control->gone)
        return EXIT_TEMPFAIL;
    if (f.usage)
        return control_fail(o->control, EXIT_USAGE, "%s", f.first);
    if (f.count > 1)
        return control_fail(o->control, EXIT_FAILED, "%.400s (and %u more savefiles)", f.first, f.count - 1);
    if (f.count == 1)
        return control_fail(o->control, EXIT_FAILED, "%s", f.first);
    return EXIT_DONE;
}
