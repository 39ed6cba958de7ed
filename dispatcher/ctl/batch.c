/* SPDX-License-Identifier: Apache-2.0
 * Every request begins with the topic of an event, so that the hub takes each of its lines for an event and answers
 * each, whatever they hold. Failure policy: what cannot be sent stops the rest. */
#include "dispatcher/ctl/batch.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dispatcher/ctl/pace.h"
#include "shared/flowevent.h"
#include "shared/lines.h"

#define REQUEST_MAX (256 * 1024)

static const char prefix[] = "uuid.open ";
#define PREFIX_LEN (sizeof prefix - 1)

struct batch {
    bool (*send)(void *ctx, const char *request, size_t len);
    void *ctx;
    struct lines *lines;
    struct pace pace;
    bool stopped;
    unsigned long too_long;
    size_t len;
    char request[REQUEST_MAX];
};
_Static_assert(PREFIX_LEN + FLOWEVENT_LINE_MAX + 1 <= REQUEST_MAX, "the longest line fits");

static void flush(struct batch *b)
{
    if (b->len > 0 && !b->stopped)
        b->stopped = !b->send(b->ctx, b->request, b->len);
    b->len = 0;
}

static void append(struct batch *b, const char *bytes, size_t n)
{
    memcpy(b->request + b->len, bytes, n);
    b->len += n;
}

/* What is due already leaves before we wait. */
static void wait_turn(struct batch *b)
{
    const struct clock *clock = clock_system();
    int64_t ns;
    while (!b->stopped && (ns = pace_next(&b->pace, clock->mono(clock->ctx))) > 0) {
        flush(b);
        struct timespec t = {.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};
        (void)nanosleep(&t, NULL);
    }
}

static bool has_topic(const char *line, size_t len)
{
    static const char closing[] = "uuid.close ";
    return (len >= PREFIX_LEN && memcmp(line, prefix, PREFIX_LEN) == 0) ||
           (len >= sizeof closing - 1 && memcmp(line, closing, sizeof closing - 1) == 0);
}

static void on_line(void *ctx, const char *line, size_t len)
{
    struct batch *b = ctx;
    bool blank = true;
    for (size_t n = 0; n < len && blank; n++)
        blank = line[n] == ' ' || line[n] == '\t' || line[n] == '\r';
    if (blank || b->stopped)
        return;
    wait_turn(b);
    if (PREFIX_LEN + len + 1 > REQUEST_MAX - b->len)
        flush(b);
    if (b->len == 0 && !has_topic(line, len))
        append(b, prefix, PREFIX_LEN);
    append(b, line, len);
    append(b, "\n", 1);
}

static void on_too_long(void *ctx)
{
    struct batch *b = ctx;
    b->too_long++;
}

struct batch *batch_new(bool (*send)(void *ctx, const char *request, size_t len), void *ctx, uint64_t rate)
{
    struct batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->send = send;
    b->ctx = ctx;
    b->pace.rate = rate;
    b->lines = lines_new(FLOWEVENT_LINE_MAX, on_line, on_too_long, b);
    if (!b->lines) {
        free(b);
        return NULL;
    }
    return b;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    lines_free(b->lines);
    free(b);
}

bool batch_feed(struct batch *b, const char *bytes, size_t n)
{
    lines_feed(b->lines, bytes, n);
    flush(b);
    return !b->stopped;
}

bool batch_end(struct batch *b)
{
    lines_end(b->lines);
    flush(b);
    return !b->stopped;
}

unsigned long batch_too_long(const struct batch *b)
{
    return b->too_long;
}
