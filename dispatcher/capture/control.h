/* SPDX-License-Identifier: Apache-2.0
 * The dispatcher's side of the attach socket after attaching: what the supervisor wants, and what it is told. */
#ifndef CAPTURE_CONTROL_H
#define CAPTURE_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/err.h"
#include "shared/proto.h"

struct control {
    int sock;
    struct proto_attachment self; /* slot and generation; the fds may be gone */
    const struct clock *clock;
    bool started;
    bool leave;        /* go as things are: a successor goes on */
    bool gone;         /* the supervisor is: finish and exit */
    unsigned stops;    /* PROTO_STOP messages so far */
    struct mono until; /* stops > 0: capture goes on until then */
};

/* Reads all messages that are there. Does not block. */
void control_poll(struct control *c);

/* Sleeps until something comes on the socket, at most timeout_ns, then as control_poll. */
void control_wait(struct control *c, int64_t timeout_ns);

/* The capture is to end now: the grace after a STOP is over, or nobody is left to capture for. */
bool control_over(const struct control *c);

/* One message to the supervisor. SC_OK; SC_EFULL: try later. Anything else: it is gone, which is noted. */
int control_tell(struct control *c, enum proto_type type, int64_t value, const char *text);

/* Sends one line as PROTO_FAILED, waiting up to 1 s for room, and returns status, the exit status. The supervisor
 * prints it as the last line of the run; it is logged here only if it could not be sent. */
int control_fail(struct control *c, enum proto_exit status, const char *fmt, ...) SC_PRINTF(3, 4);

#endif
