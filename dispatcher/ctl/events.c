/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: a message of another form is passed over; nanomsg connects again by itself. */
#include "dispatcher/ctl/events.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "shared/bus.h"
#include "shared/flowevent.h"

static bool is_object(struct jsontext v)
{
    return v.at < v.end && *v.at == '{';
}

static bool topic_of(char out[EVENTS_TOPIC], const char *text, size_t len)
{
    if (len == 0 || len >= EVENTS_TOPIC)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((text[i] >= 'a' && text[i] <= 'z') || text[i] == '.'))
            return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

int events_parse(struct event_message *out, const char *text, size_t len, struct wall time)
{
    const char *blank = memchr(text, ' ', len);
    if (!blank || !topic_of(out->topic, text, (size_t)(blank - text)))
        return SC_EFORMAT;
    out->time = time;
    int rc = jsontext_open(&out->body, blank + 1, len - (size_t)(blank + 1 - text));
    return rc == SC_OK && is_object(out->body) ? SC_OK : SC_EFORMAT;
}

bool events_wanted(const struct event_message *m, char *const *topics, int count)
{
    for (int i = 0; i < count; i++)
        if (strncmp(m->topic, topics[i], strlen(topics[i])) == 0)
            return true;
    return count == 0;
}

void events_write(const struct event_message *m, FILE *out)
{
    char time[CLOCK_TEXT];
    clock_format(m->time, time);
    (void)fprintf(out, "{\"time\":\"%s\",\"topic\":\"%s\",\"event\":", time, m->topic);
    for (const char *p = m->body.at; p < m->body.end; p++)
        (void)fputc(*p == '\n' ? ' ' : *p, out);
    (void)fputs("}\n", out);
}

int events_read(struct event_message *out, const char *line, size_t len)
{
    struct jsontext v;
    char time[64];
    if (jsontext_open(&v, line, len) != SC_OK || !jsontext_string_of(v, "topic", out->topic, sizeof out->topic) ||
        !jsontext_string_of(v, "time", time, sizeof time) || !flowevent_parse_time(time, &out->time) ||
        !jsontext_member(v, "event", &out->body) || !is_object(out->body))
        return SC_EFORMAT;
    return SC_OK;
}

static struct bus *open_bus(const char *given, char error[CLIENT_ERROR])
{
    char rundir[BUS_PATH], path[BUS_PATH], bus_error[BUS_ERROR];
    if (client_rundir(given, rundir) != SC_OK || bus_path(path, rundir, "events.sock") != SC_OK) {
        (void)snprintf(error, CLIENT_ERROR, "-rundir is too long: a socket's path has at most 107 bytes");
        return NULL;
    }
    if (access(path, F_OK) != 0)
        (void)fprintf(stderr, "shardcapctl: no shardcap at %s; waiting\n", path);
    struct bus *b = bus_connect(BUS_SUB, path, bus_error);
    if (!b)
        (void)snprintf(error, CLIENT_ERROR, "%s", bus_error);
    return b;
}

int events_listen(const char *given, bool (*take)(void *ctx, const struct event_message *m), void *ctx,
                  char error[CLIENT_ERROR])
{
    const struct clock *clock = clock_system();
    struct bus *b = open_bus(given, error);
    if (!b)
        return SC_ESYS;
    int rc = SC_OK;
    for (bool more = true; more && rc == SC_OK;) {
        void *bytes;
        size_t len;
        struct event_message m;
        rc = bus_recv_wait(b, INT_MAX, &bytes, &len);
        if (rc == SC_EAGAIN)
            rc = SC_OK;
        else if (rc == SC_OK) {
            if (events_parse(&m, bytes, len, clock->wall(clock->ctx)) == SC_OK)
                more = take(ctx, &m);
            bus_free(bytes);
        }
    }
    if (rc != SC_OK)
        (void)snprintf(error, CLIENT_ERROR, "cannot receive from events.sock: %s", sc_strerror(rc));
    bus_close(b);
    return rc;
}
