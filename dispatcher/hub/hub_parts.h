/* SPDX-License-Identifier: Apache-2.0
 * What the files of hub.c share: the state of one life, and the steps by which it begins (hub_enter.c). */
#ifndef HUB_HUB_PARTS_H
#define HUB_HUB_PARTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "dispatcher/hub/aborts.h"
#include "dispatcher/hub/announce.h"
#include "dispatcher/hub/control.h"
#include "dispatcher/hub/destroyfeed.h"
#include "dispatcher/hub/eventsocket.h"
#include "dispatcher/hub/http.h"
#include "dispatcher/hub/journal.h"
#include "dispatcher/hub/page.h"
#include "dispatcher/hub/pages.h"
#include "dispatcher/hub/ports.h"
#include "dispatcher/hub/prefix.h"
#include "dispatcher/hub/publish.h"
#include "dispatcher/hub/reports.h"
#include "dispatcher/hub/serve.h"
#include "dispatcher/hub/watchers.h"
#include "shared/clock.h"
#include "shared/evloop.h"
#include "shared/log.h"
#include "shared/proto.h"

struct hub {
    int attach_fd;
    struct proto_attachment self;
    struct pages pages;
    const struct clock *clock;
    struct evloop *loop;
    struct evsource *on_attach, *on_term, *heartbeat;
    struct journal *journal;
    void *halfline;   /* memory beside the journal */
    void *learned;    /* likewise: of prefix.h */
    int destroy_feed; /* until the feed takes it; -1 = none */
    struct publish *publish;
    struct ports *ports;
    struct reports *reports;
    struct watchers *watchers;
    struct serve *serve; /* NULL: nobody is served */
    struct announce *announce;
    struct control control;
    struct eventsocket *eventsocket;
    struct destroyfeed *destroyfeed; /* NULL: the kernel is not a source */
    struct aborts *aborts;           /* likewise */
    struct page_source page;
    struct http *http;
    struct prefix prefix;
    bool from_tcpinfo; /* the line in work */
    struct log_limit bad_limit;
    int64_t asked;         /* number of the last command that went to the supervisor */
    struct mono ask_until; /* its answer is open until then; 0 = none is */
    bool stop, leave;
};

struct mono hub_now(const struct hub *h);

/* Logs why, tells the supervisor, and returns status. */
int hub_give_up(struct hub *h, int status, const char *fmt, ...) SC_PRINTF(3, 4);

/* Gives the supervisor a copy of fd for our successor. */
void hub_keep(struct hub *h, enum proto_role role, int fd);

/* Steps of the start, in this order (the sockets are opened between the last two). Each returns EXIT_DONE, or the
 * status to exit with, which has been logged and told. parent: getppid() at the start. */
int hub_attach(struct hub *h);
int hub_open_destroy_feed(struct hub *h);
int hub_confine(struct hub *h, pid_t parent);
int hub_open_journal(struct hub *h);
int hub_filter_calls(struct hub *h);

#endif
