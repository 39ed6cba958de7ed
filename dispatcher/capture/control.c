/* SPDX-License-Identifier: Apache-2.0
 * Talks with the supervisor.
 * Failure policy: any end or breakage of the socket means that the supervisor is gone; that is a fact to act on, not an
 * error. Messages for another generation, or that make no sense here, are ignored with a warning. */
#include "dispatcher/capture/control.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "shared/log.h"

#define FAIL_TRIES 100
#define FAIL_PAUSE_NS (10 * NS_PER_MS)

static struct mono now(const struct control *c)
{
    return c->clock->mono(c->clock->ctx);
}

static void take(struct control *c, const struct proto_msg *msg)
{
    if (msg->generation != c->self.generation) {
        log_warn("a message for generation %u is ignored, this is %u", msg->generation, c->self.generation);
        return;
    }
    switch (msg->type) {
    case PROTO_START:
        c->started = true;
        break;
    case PROTO_LEAVE:
        c->leave = true;
        break;
    case PROTO_STOP: {
        const int64_t max_ms = INT64_C(86400000);
        int64_t ms = msg->value < 0 ? 0 : msg->value > max_ms ? max_ms : msg->value;
        c->until.ns = now(c).ns + ms * NS_PER_MS;
        c->stops++;
        break;
    }
    default:
        log_warn("a message of type %u is ignored", (unsigned)msg->type);
        break;
    }
}

void control_poll(struct control *c)
{
    struct proto_msg msg;
    int fds[PROTO_FDS_PER_MSG];
    while (!c->gone) {
        int rc = proto_recv(c->sock, &msg, fds);
        if (rc == SC_EAGAIN)
            return;
        if (rc != SC_OK) {
            if (rc != SC_EOF)
                log_warn("attach socket: %s", sc_strerror(rc));
            c->gone = true;
            return;
        }
        for (unsigned i = 0; i < msg.fd_count; i++)
            close(fds[i]);
        take(c, &msg);
    }
}

void control_wait(struct control *c, int64_t timeout_ns)
{
    struct timespec t = {.tv_sec = timeout_ns / NS_PER_SEC, .tv_nsec = timeout_ns % NS_PER_SEC};
    struct pollfd p = {.fd = c->gone ? -1 : c->sock, .events = POLLIN};
    if (ppoll(&p, 1, &t, NULL) > 0)
        control_poll(c);
}

bool control_over(const struct control *c)
{
    return c->gone || (c->stops > 0 && now(c).ns >= c->until.ns);
}

int control_tell(struct control *c, enum proto_type type, int64_t value, const char *text)
{
    int rc = proto_tell(c->sock, &c->self, type, value, text);
    if (rc != SC_OK && rc != SC_EFULL)
        c->gone = true;
    return rc;
}

int control_fail(struct control *c, enum proto_exit status, const char *fmt, ...)
{
    char text[PROTO_TEXT];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    int rc = control_tell(c, PROTO_FAILED, status, text);
    for (int i = 0; i < FAIL_TRIES && rc == SC_EFULL; i++) {
        struct timespec pause = {.tv_nsec = FAIL_PAUSE_NS};
        nanosleep(&pause, NULL);
        rc = control_tell(c, PROTO_FAILED, status, text);
    }
    if (rc != SC_OK)
        log_error("%s", text);
    return (int)status;
}
