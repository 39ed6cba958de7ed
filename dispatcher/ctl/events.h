/* SPDX-License-Identifier: Apache-2.0
 * The messages of events.sock: received, shown, written to a record and read from it. */
#ifndef CTL_EVENTS_H
#define CTL_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "dispatcher/ctl/client.h"
#include "dispatcher/ctl/jsontext.h"
#include "shared/clock.h"

#define EVENTS_TOPIC 32

struct event_message {
    char topic[EVENTS_TOPIC];
    struct jsontext body; /* an object, inside the message */
    struct wall time;     /* when it was received */
};

/* "<topic> <json>". SC_OK or SC_EFORMAT. */
int events_parse(struct event_message *out, const char *text, size_t len, struct wall time) SC_MUST_CHECK;

/* True if there are no topics, or one of them is how the message's begins. */
bool events_wanted(const struct event_message *m, char *const *topics, int count);

/* One line of a record: {"time":..,"topic":..,"event":{..}}, with its newline. */
void events_write(const struct event_message *m, FILE *out);
/* Reads one back. SC_OK or SC_EFORMAT. */
int events_read(struct event_message *out, const char *line, size_t len) SC_MUST_CHECK;

/* Receives for ever, also across deaths of the hub and before there is one (told once on stderr), and hands each
 * message to take until that returns false. given: as of client_rundir. SC_OK, or an error with a text. */
int events_listen(const char *given, bool (*take)(void *ctx, const struct event_message *m), void *ctx,
                  char error[CLIENT_ERROR]) SC_MUST_CHECK;

#endif
