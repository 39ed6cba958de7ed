/* SPDX-License-Identifier: Apache-2.0
 * Requests of event lines to ctl.sock until each line has its answer. */
#ifndef CTL_SENDER_H
#define CTL_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "dispatcher/ctl/client.h"

struct sender {
    const char *rundir; /* as of client_open */
    bool wait;          /* for a hub that is not there yet or dies; resend what it did not answer */
    FILE *answers;      /* one line per event line; NULL: not shown */
    bool json;          /* answers as JSON */
    /* results */
    unsigned long taken, refused;
    bool failed; /* gave up, with a line on stderr */
    /* private */
    struct client *client;
    bool said;
};

/* Zero-initialise but for the first four. ctx is the struct sender. Takes one request of event lines, each ended by a
 * newline, and returns when each was answered. False, with `failed` set, if it gave up: without `wait` when there was
 * no answer; with it only when an answer cannot be shown, or has fewer lines than the request. */
bool sender_send(void *ctx, const char *request, size_t len);
void sender_close(struct sender *s);

/* One answer line ("ok ..", "error <reason>: text") as one line of JSON on out. */
void sender_print_json(const char *line, size_t len, FILE *out);

#endif
