/* SPDX-License-Identifier: Apache-2.0
 * Wires the rooms of the hub together. Order of start: attach, map, confine, open the sockets (nanomsg's worker thread
 * keeps the power it started with), READY.
 * Failure policy: what goes wrong before READY is told to the supervisor and ends the process; after READY nothing
 * that comes from outside does. */
#include "dispatcher/hub/hub.h"

#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "dispatcher/hub/history.h"
#include "dispatcher/hub/hub_parts.h"
#include "dispatcher/hub/status.h"

/* The supervisor waits for programs that tell their layouts, and no longer than this; who asks, 5 s. */
#define ASK_LIMIT_NS (4 * NS_PER_SEC)
#define HEARTBEAT_NS (100 * NS_PER_MS)
#define REPLAY_MIN_NS (60 * NS_PER_SEC)

/* ---- events and commands ---- */

static void note_bad(struct hub *h, enum flowevent_bad bad)
{
    unsigned long suppressed;
    if (log_allow(&h->bad_limit, hub_now(h), &suppressed))
        log_warn("event socket: bad event refused reason=%s suppressed=%lu", flowevent_bad_name(bad), suppressed);
}

static void on_event_line(void *ctx, const char *line, size_t len)
{
    struct hub *h = ctx;
    struct publish_receipt r;
    h->from_tcpinfo = true;
    if (publish_line(h->publish, line, len, hub_now(h), &r) == PUBLISH_REFUSED)
        note_bad(h, r.bad);
    h->from_tcpinfo = false;
    if (prefix_due(&h->prefix, hub_now(h))) /* at once: flows wait for it */
        publish_to_all(h->publish, &h->prefix.shows, hub_now(h));
}

static void on_event_too_long(void *ctx)
{
    struct hub *h = ctx;
    publish_count_bad(h->publish, FLOWEVENT_TOOLONG);
    note_bad(h, FLOWEVENT_TOOLONG);
}

static void on_destroyed(void *ctx, const struct flowevent *ev)
{
    struct hub *h = ctx;
    struct publish_receipt r;
    if (ev->dport == 0) {                          /* comes back when it is known whose it was */
        publish_to(h->publish, 0, ev, hub_now(h)); /* for the next hub */
        aborts_event(h->aborts, ev);
        return;
    }
    (void)publish_event(h->publish, ev, hub_now(h), &r); /* our own: cannot be refused */
}

static bool on_message(void *ctx, enum ports_door door, const void *request, size_t len, struct text *answer)
{
    struct hub *h = ctx;
    if (door != PORTS_REPLAY)
        return control_answer(&h->control, request, len, hub_now(h), answer);
    control_replay(&h->control, request, len, hub_now(h), answer);
    return true;
}

static bool ask_supervisor(void *ctx, const char *command)
{
    struct hub *h = ctx;
    h->asked++;
    h->ask_until.ns = hub_now(h).ns + ASK_LIMIT_NS;
    return proto_tell(h->attach_fd, &h->self, PROTO_ASK, h->asked, command) == SC_OK;
}

static void on_answer(struct hub *h, int64_t number, const char *line)
{
    if (number != h->asked || h->ask_until.ns == 0)
        return; /* given up already */
    h->ask_until.ns = 0;
    ports_answer_later(h->ports, PORTS_CTL, line);
}

static void on_status(void *ctx, bool table, struct text *out)
{
    struct hub *h = ctx;
    if (table)
        status_table(&h->pages, out);
    else
        status_json(&h->pages, out);
}

static void on_page(void *ctx, unsigned shard, const void *bytes, size_t len)
{
    struct hub *h = ctx;
    ports_send(h->ports, shard, bytes, len);
}

static void on_taken(void *ctx, const struct flowevent *ev)
{
    struct hub *h = ctx;
    if (h->from_tcpinfo && h->pages.config->uuid_sources & UUID_SOURCE_KERNEL)
        prefix_learn(&h->prefix, ev);
    if (ev->destroyed && h->prefix.known.text[0] == '\0')
        return; /* it has a cookie, but no name that anybody could use */
    announce_event(h->announce, ev);
}

static void on_report(void *ctx, unsigned shard, const struct report *r)
{
    struct hub *h = ctx;
    watchers_report(h->watchers, shard, r);
    announce_report(h->announce, r);
}

/* To clients of tcp-info's socket in its own lines, with whole addresses: they could not match them else. */
static void serve_event(struct hub *h, const struct flowevent *ev)
{
    char line[FLOWEVENT_TEXT + 1];
    int n = serve_wanted(h->serve) ? flowevent_format(ev, line, FLOWEVENT_TEXT) : -1;
    if (n < 0)
        return;
    line[n] = '\n';
    serve_line(h->serve, line, (size_t)n + 1);
}

static void on_announced(void *ctx, const struct flowevent *ev, bool local)
{
    struct hub *h = ctx;
    watchers_event(h->watchers, ev);
    if (h->serve && !local)
        serve_event(h, ev);
}

static unsigned count_watchers(void *ctx)
{
    const struct hub *h = ctx;
    return ports_watchers(h->ports);
}

static void tell_watchers(void *ctx, const void *bytes, size_t len)
{
    struct hub *h = ctx;
    ports_tell_watchers(h->ports, bytes, len);
}

/* ---- the loop ---- */

static void on_attach_readable(void *ctx)
{
    struct hub *h = ctx;
    struct proto_msg msg;
    int fds[PROTO_FDS_PER_MSG];
    int rc = proto_recv(h->attach_fd, &msg, fds);
    if (rc == SC_EAGAIN)
        return;
    if (rc != SC_OK) {
        if (rc != SC_EOF)
            log_warn("attach socket: %s; stopping", sc_strerror(rc));
        h->stop = true;
        return;
    }
    for (unsigned i = 0; i < msg.fd_count; i++)
        (void)close(fds[i]);
    if (msg.generation != h->self.generation)
        log_warn("a message for generation %u is ignored: this is generation %u", msg.generation, h->self.generation);
    else if (msg.type == PROTO_STOP)
        h->stop = true;
    else if (msg.type == PROTO_LEAVE)
        h->leave = true; /* a successor goes on with the journal */
    else if (msg.type == PROTO_ANSWER)
        on_answer(h, msg.value, msg.text);
    else
        log_warn("attach socket: message of type %u is ignored", msg.type);
}

static void on_sigterm(void *ctx)
{
    struct hub *h = ctx;
    h->leave = true; /* a successor goes on with the journal */
}

static void on_heartbeat(void *ctx)
{
    struct hub *h = ctx;
    if (h->aborts)
        aborts_turn(h->aborts, hub_now(h));
    if (prefix_due(&h->prefix, hub_now(h)))
        publish_to_all(h->publish, &h->prefix.shows, hub_now(h));
    publish_flush(h->publish);
    publish_heartbeat(h->publish);
    pulses_look(&h->pages.pulses, h->pages.dispatcher, h->pages.shard, h->pages.config->shards, hub_now(h));
    history_tick(&h->pages.hub->history, &h->pages, hub_now(h));
    watchers_tick(h->watchers);
    if (h->ask_until.ns != 0 && hub_now(h).ns >= h->ask_until.ns)
        on_answer(h, h->asked, "error timeout: the supervisor does not answer");
    evloop_timer_set(h->heartbeat, HEARTBEAT_NS);
}

static int run(struct hub *h)
{
    int rc = proto_tell(h->attach_fd, &h->self, PROTO_READY, 0, NULL);
    if (rc == SC_EFULL)
        return hub_give_up(h, EXIT_TEMPFAIL, "cannot tell the supervisor that the hub is ready");
    while (!h->stop && !h->leave) {
        evloop_turn(h->loop, -1);
        if (!h->leave)
            publish_flush(h->publish);
        counter_add(&h->pages.hub->heartbeat, 1);
    }
    return EXIT_DONE;
}

/* ---- start ---- */

static void keep_connection(void *ctx, int fd)
{
    hub_keep(ctx, ROLE_EVENTSOCKET, fd);
}

static int open_sockets(struct hub *h)
{
    const struct config *c = h->pages.config;
    char error[BUS_ERROR];
    h->ports = ports_new(h->loop, c->rundir, c->shards, on_message, h, error);
    if (!h->ports)
        return hub_give_up(h, EXIT_FAILED, "%s", error);
    struct watchers_setup watch = {h->loop, h->clock, &h->pages, count_watchers, tell_watchers, h};
    h->watchers = watchers_new(&watch);
    h->reports = reports_new(h->loop, h->clock, &h->self, c->shards, on_report, h);
    h->announce = announce_new(on_announced, h);
    if (!h->watchers || !h->reports || !h->announce)
        return hub_give_up(h, EXIT_FAILED, "cannot start: out of memory");
    if (c->eventsocket[0]) {
        struct eventsocket_setup setup = {.loop = h->loop,
                                          .clock = h->clock,
                                          .path = c->eventsocket,
                                          .memory = h->halfline,
                                          .fd = proto_take_fd(&h->self, ROLE_EVENTSOCKET, 0),
                                          .counters = h->pages.hub,
                                          .on_line = on_event_line,
                                          .on_too_long = on_event_too_long,
                                          .keep = keep_connection,
                                          .ctx = h};
        h->eventsocket = eventsocket_new(&setup);
        if (!h->eventsocket)
            return hub_give_up(h, EXIT_FAILED,
                               "cannot use -tcpinfo.eventsocket: the path is too long, or out of memory");
    }
    if (h->destroy_feed >= 0) {
        struct aborts_setup as = {
            c->shards, h->pages.shard, c->uuidwaitduration_ns, &c->hash_key, h->pages.hub, on_destroyed, h};
        h->aborts = aborts_new(&as);
        if (!h->aborts)
            return hub_give_up(h, EXIT_FAILED, "cannot start: out of memory");
        aborts_recall(h->aborts, h->journal, hub_now(h));
        struct destroyfeed_setup setup = {h->loop,      h->clock, h->destroy_feed, h->prefix.known.text, h->pages.hub,
                                          on_destroyed, h};
        h->destroy_feed = -1;
        h->destroyfeed = destroyfeed_new(&setup);
        if (!h->destroyfeed)
            return hub_give_up(h, EXIT_FAILED, "cannot start: out of memory");
    }
    int serve_fd = proto_take_fd(&h->self, ROLE_SERVE, 0);
    if (serve_fd >= 0) {
        h->serve = serve_new(h->loop, h->clock, serve_fd, h->pages.hub);
        if (!h->serve)
            return hub_give_up(h, EXIT_FAILED, "cannot start: out of memory");
    }
    int listen_fd = proto_take_fd(&h->self, ROLE_HTTP, 0);
    if (listen_fd >= 0) {
        h->http = http_new(h->loop, h->clock, listen_fd, page_serve, &h->page);
        if (!h->http)
            return hub_give_up(h, EXIT_FAILED, "cannot serve HTTP: out of memory");
    }
    return EXIT_DONE;
}

static int wire(struct hub *h)
{
    const struct config *c = h->pages.config;
    struct publish_setup setup = {h->journal, &c->hash_key, c->shards, h->pages.hub, on_page, on_taken, h};
    h->publish = publish_new(&setup);
    prefix_init(&h->prefix, &c->kernel_prefix, h->learned);
    h->loop = evloop_new();
    if (!h->publish || !h->loop)
        return hub_give_up(h, EXIT_FAILED, "cannot start: out of memory");
    int64_t back = c->uuidwaitduration_ns > REPLAY_MIN_NS ? c->uuidwaitduration_ns : REPLAY_MIN_NS;
    h->control = (struct control){h->publish, h->journal, c->shards, back, h->pages.hub, on_status, ask_supervisor, h};
    h->on_attach = evloop_on_readable(h->loop, h->attach_fd, on_attach_readable, h);
    h->on_term = evloop_on_signal(h->loop, SIGTERM, on_sigterm, h);
    h->heartbeat = evloop_timer(h->loop, on_heartbeat, h);
    if (!h->on_attach || !h->on_term || !h->heartbeat)
        return hub_give_up(h, EXIT_FAILED, "cannot start: out of memory");
    evloop_timer_set(h->heartbeat, 0);
    return open_sockets(h);
}

static void release(struct hub *h)
{
    http_free(h->http);
    eventsocket_free(h->eventsocket);
    destroyfeed_free(h->destroyfeed);
    reports_free(h->reports);
    watchers_free(h->watchers);
    announce_free(h->announce);
    serve_free(h->serve);
    aborts_free(h->aborts);
    ports_free(h->ports);
    publish_free(h->publish);
    journal_close(h->journal);
    evloop_free(h->loop); /* its sources, too */
}

int hub_run(int attach_fd)
{
    struct hub h = {.attach_fd = attach_fd, .clock = clock_system(), .destroy_feed = -1};
    pid_t parent = getppid();
    log_init("hub", -1, LOG_INFO_LEVEL, LOG_TEXT);
    log_never_block(true);
    log_wipe_status();
    int status = hub_attach(&h);
    h.page = (struct page_source){&h.pages, parent, h.clock};
    if (status == EXIT_DONE)
        status = hub_open_destroy_feed(&h);
    if (status == EXIT_DONE)
        status = hub_confine(&h, parent);
    if (status == EXIT_DONE)
        status = hub_open_journal(&h);
    if (status == EXIT_DONE)
        status = wire(&h);
    if (status == EXIT_DONE)
        status = hub_filter_calls(&h);
    proto_attachment_free(&h.self); /* closes what nobody here took */
    if (status == EXIT_DONE)
        status = run(&h);
    release(&h);
    return status;
}
