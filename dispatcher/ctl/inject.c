/* SPDX-License-Identifier: Apache-2.0
 * Lines in, requests out. Every request begins with "uuid.open ", so that the hub takes each of its lines for an event
 * and answers each, whatever they hold.
 * Failure policy: no connection or no answer ends the command; a refused event does not. */
#include "dispatcher/ctl/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/ctl/client.h"
#include "shared/flowevent.h"
#include "shared/lines.h"

#define REQUEST_MAX (256 * 1024)

static const char prefix[] = "uuid.open ";
#define PREFIX_LEN (sizeof prefix - 1)

struct inject {
    bool (*send)(void *ctx, const char *request, size_t len);
    void *ctx;
    struct lines *lines;
    bool stopped;
    unsigned long too_long;
    size_t len;
    char request[REQUEST_MAX];
};
_Static_assert(PREFIX_LEN + FLOWEVENT_LINE_MAX + 1 <= REQUEST_MAX, "the longest line fits");

static void flush(struct inject *i)
{
    if (i->len > 0 && !i->stopped)
        i->stopped = !i->send(i->ctx, i->request, i->len);
    i->len = 0;
}

static void append(struct inject *i, const char *bytes, size_t n)
{
    memcpy(i->request + i->len, bytes, n);
    i->len += n;
}

static void on_line(void *ctx, const char *line, size_t len)
{
    struct inject *i = ctx;
    bool blank = true;
    for (size_t n = 0; n < len && blank; n++)
        blank = line[n] == ' ' || line[n] == '\t' || line[n] == '\r';
    if (blank)
        return;
    if (PREFIX_LEN + len + 1 > REQUEST_MAX - i->len)
        flush(i);
    if (i->len == 0 && (len < PREFIX_LEN || memcmp(line, prefix, PREFIX_LEN) != 0))
        append(i, prefix, PREFIX_LEN);
    append(i, line, len);
    append(i, "\n", 1);
}

static void on_too_long(void *ctx)
{
    struct inject *i = ctx;
    i->too_long++;
}

struct inject *inject_new(bool (*send)(void *ctx, const char *request, size_t len), void *ctx)
{
    struct inject *i = calloc(1, sizeof *i);
    if (!i)
        return NULL;
    i->send = send;
    i->ctx = ctx;
    i->lines = lines_new(FLOWEVENT_LINE_MAX, on_line, on_too_long, i);
    if (!i->lines) {
        free(i);
        return NULL;
    }
    return i;
}

void inject_free(struct inject *i)
{
    if (!i)
        return;
    lines_free(i->lines);
    free(i);
}

bool inject_feed(struct inject *i, const char *bytes, size_t n)
{
    lines_feed(i->lines, bytes, n);
    flush(i);
    return !i->stopped;
}

bool inject_end(struct inject *i)
{
    lines_end(i->lines);
    flush(i);
    return !i->stopped;
}

unsigned long inject_too_long(const struct inject *i)
{
    return i->too_long;
}

unsigned long inject_refusals(const char *answer, size_t len)
{
    unsigned long refused = 0;
    const char *end = answer + len;
    while (answer < end) {
        const char *newline = memchr(answer, '\n', (size_t)(end - answer));
        size_t line = newline ? (size_t)(newline - answer) : (size_t)(end - answer);
        refused += line < 2 || memcmp(answer, "ok", 2) != 0 || (line > 2 && answer[2] != ' ');
        answer += newline ? line + 1 : line;
    }
    return refused;
}

struct session {
    struct client *client;
    unsigned long refused;
    bool failed;
};

static bool ask(void *ctx, const char *request, size_t len)
{
    struct session *s = ctx;
    char error[CLIENT_ERROR];
    void *answer;
    size_t n;
    if (client_ask(s->client, request, len, &answer, &n, error) != SC_OK) {
        (void)fprintf(stderr, "shardcapctl: %s\n", error);
        s->failed = true;
        return false;
    }
    s->refused += inject_refusals(answer, n);
    bool printed = fwrite(answer, 1, n, stdout) == n && putchar('\n') != EOF && fflush(stdout) == 0;
    bus_free(answer);
    s->failed = s->failed || !printed;
    return printed;
}

/* Returns false when reading failed. */
static bool pump(struct inject *i, int fd)
{
    static char buffer[65536];
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            (void)inject_end(i);
            return n == 0;
        }
        if (!inject_feed(i, buffer, (size_t)n))
            return true;
    }
}

int inject_command(const char *rundir, const char *file)
{
    char error[CLIENT_ERROR] = "out of memory";
    bool from_stdin = !file || strcmp(file, "-") == 0;
    int fd = from_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)fprintf(stderr, "shardcapctl: cannot read %s: %s\n", file, strerror(errno));
        return 1;
    }
    struct session s = {.client = client_open(rundir, error)};
    struct inject *i = s.client ? inject_new(ask, &s) : NULL;
    if (!i) {
        (void)fprintf(stderr, "shardcapctl: %s\n", error);
        s.failed = true;
    } else if (!pump(i, fd)) {
        (void)fprintf(stderr, "shardcapctl: cannot read %s: %s\n", from_stdin ? "standard input" : file,
                      strerror(errno));
        s.failed = true;
    }
    if (i && inject_too_long(i) > 0) {
        (void)fprintf(stderr, "shardcapctl: %lu lines above %d bytes were not sent\n", inject_too_long(i),
                      FLOWEVENT_LINE_MAX);
        s.failed = true;
    }
    inject_free(i);
    client_close(s.client);
    if (!from_stdin)
        (void)close(fd);
    return s.failed || s.refused > 0;
}
