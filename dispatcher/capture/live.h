/* SPDX-License-Identifier: Apache-2.0
 * Live capture: follows interfaces and addresses, reads bursts from every interface, keeps the statistics. */
#ifndef CAPTURE_LIVE_H
#define CAPTURE_LIVE_H

#include "dispatcher/capture/control.h"
#include "dispatcher/capture/feed.h"
#include "shared/config.h"
#include "shared/counters.h"

/* Takes the path of this program. */
#define LIVE_NO_PERMISSION                                                                                             \
    "no permission to capture: CAP_NET_RAW is missing. Run shardcap with sudo, or once: sudo setcap cap_net_raw+p %s"

struct live_settings {
    struct control *control;
    struct feed *feed;
    const struct config *config;
    struct dispatcher_page *page;
    const char *program;        /* path of this program, for the message about permissions */
    struct fanout *fanout;      /* of -dispatchers; NULL: one thread */
    struct workers *workers;    /* likewise; stopped by live_run, the caller's */
    struct mono captured_until; /* of the dispatcher before this one; 0 = there was none. The gap is counted. */

    /* NULL, or: a dispatcher runs, and this one takes over from it (group.h). settle() is called once that one has
     * gone, before anything is fed: SC_OK or why it cannot be. */
    int (*settle)(void *ctx);
    void *ctx;
};

/* Opens the capture (PROTO_START has come, or there is a predecessor, and then it does once that has gone), captures
 * until STOP and its grace, ends the rings. Returns the exit status; a failure has been told by then. */
int live_run(const struct live_settings *settings);

#endif
