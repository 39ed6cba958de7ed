/* SPDX-License-Identifier: Apache-2.0
 * -read: savefiles in the order given, as fast as the shards take them. */
#ifndef CAPTURE_OFFLINE_H
#define CAPTURE_OFFLINE_H

#include "dispatcher/capture/control.h"
#include "dispatcher/capture/feed.h"
#include "shared/config.h"
#include "shared/counters.h"

struct offline {
    struct control *control;
    struct feed *feed; /* made with offline_wait and this object */
    const struct config *config;
    struct dispatcher_page *page;
    const int *files; /* config->savefile_count fds, in order; stay the caller's */
};

/* The `wait` of struct feed_settings; ctx is the struct offline. */
bool offline_wait(void *ctx);

/* Reads everything (or until STOP), ends the rings, returns the exit status; a failure has been told by then. What is
 * whole in a broken file is fed, and the files after it are. */
int offline_run(struct offline *o);

#endif
