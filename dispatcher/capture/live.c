/* SPDX-License-Identifier: Apache-2.0
 * Decides which interfaces are captured, and runs the capture.
 * Failure policy: what is wrong at start with something that was asked for by name is a failure that says the remedy;
 * in the default set it is a warning and the others are captured. After the start nothing ends the capture but a STOP
 * or the end of the supervisor: an interface that is down, gone or broken is waited for and tried again each second,
 * with one line per reason. */
#include "dispatcher/capture/live.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/capture/complaints.h"
#include "dispatcher/capture/drain.h"
#include "dispatcher/capture/gap.h"
#include "dispatcher/capture/inherit.h"
#include "dispatcher/capture/interfaces.h"
#include "dispatcher/capture/sources.h"
#include "dispatcher/capture/workers.h"
#include "shared/confine.h"
#include "shared/evloop.h"
#include "shared/log.h"

#define TICK_NS (50 * NS_PER_MS) /* housekeeping: TICKs, idle interfaces, changes */
#define QUIET_TICK_NS (2 * TICK_NS)
#define QUIET_NS NS_PER_SEC       /* without packets for so long, ticks are rarer */
#define RETRY_NS NS_PER_SEC       /* statistics, and interfaces that could not be opened */
#define DRAIN_NS CAPTURE_DELAY_NS /* what was captured before the end has arrived by then */
#define DRAIN_MAX_NS (500 * NS_PER_MS)
#define HANDED_MAX_NS (2 * NS_PER_SEC)    /* for the last packets before a hand-over */
#define HANDED_QUIET_NS (300 * NS_PER_MS) /* none for so long: libpcap has counted one that it left out itself */

struct live {
    struct live_settings s;
    const struct clock *clock;
    struct evloop *loop;
    struct interfaces *interfaces;
    struct sources *sources;
    bool changed;      /* the table is to be read again */
    bool unmet;        /* something that is wanted is not captured */
    bool tell_pending; /* the supervisor has not heard the names yet */
    bool leave;        /* SIGTERM: go as things are */
    bool none_said, many_said;
    struct complaints complaints;
    struct mono next_tick, next_retry, busy_at;
    uint64_t packets; /* seen at busy_at */
    size_t address_count;
    struct ipaddr address[ANONYMIZE_EXEMPT_MAX];
    bool addresses_sent;
    struct links links;
};

static struct mono mono_now(const struct live *l)
{
    return l->clock->mono(l->clock->ctx);
}

/* ---- what is said ---- */

static int fail_permission(struct live *l)
{
    return control_fail(l->s.control, EXIT_FAILED, LIVE_NO_PERMISSION, l->s.program);
}

static void tell_watching(struct live *l)
{
    char names[PROTO_TEXT];
    size_t count = sources_count(l->sources);
    (void)sources_names(l->sources, names, sizeof names);
    l->tell_pending = control_tell(l->s.control, PROTO_WATCHING, (int64_t)count, names) == SC_EFULL;
}

/* ---- which interfaces ---- */

/* A failure to open one: EXIT_DONE, or at start the exit status, told. */
static int open_failed(struct live *l, const struct link *link, int rc, const char *error, bool start)
{
    const struct config *c = l->s.config;
    char name[INTERFACE_NAME];
    bool passing = rc == SC_EAGAIN || rc == SC_ENOENT; /* it went between the list and now */
    (void)link_shown(link, name);
    if (start && rc == SC_EPERM)
        return fail_permission(l);
    if (start && rc == SC_EINVAL)
        return control_fail(l->s.control, EXIT_USAGE, "flag -filter%s: %.300s (interface %s)",
                            c->filter_raw ? ".raw" : "", error, name);
    if (start && c->interface_count > 0 && !passing)
        return control_fail(l->s.control, EXIT_FAILED, "flag -interface: %s cannot be captured: %.300s", name, error);
    l->unmet = l->unmet || rc != SC_EVERSION;
    if (!passing && complaints_news(&l->complaints, link->name, link->index, rc))
        log_warn("interface %s is not captured: %.300s", name, error);
    return EXIT_DONE;
}

static int open_missing(struct live *l, const struct link *const *chosen, size_t count, bool start)
{
    for (size_t i = 0; i < count; i++) {
        char error[CAPTURE_ERROR];
        if (sources_has(l->sources, chosen[i]) ||
            complaints_known(&l->complaints, chosen[i]->name, chosen[i]->index, SC_EVERSION))
            continue;
        int rc = sources_open(l->sources, chosen[i], count, error);
        if (rc == SC_OK) {
            char name[INTERFACE_NAME];
            complaints_forget(&l->complaints, chosen[i]->name);
            log_info("interface %s is captured", link_shown(chosen[i], name));
            l->tell_pending = true;
            continue;
        }
        int status = open_failed(l, chosen[i], rc, error, start);
        if (status != EXIT_DONE)
            return status;
    }
    return EXIT_DONE;
}

/* Names that were given: a missing one is an error at start, later it may come back like one that is down. */
static int look_for_named(struct live *l, bool start)
{
    const struct config *c = l->s.config;
    for (unsigned i = 0; i < c->interface_count; i++) {
        char there[PROTO_TEXT / 2], name[INTERFACE_NAME];
        struct link asked = {0};
        (void)snprintf(asked.name, sizeof asked.name, "%.*s", INTERFACE_NAME - 1, c->interfaces[i]);
        const struct link *link = links_by_name(&l->links, asked.name);
        (void)link_shown(&asked, name);
        if (!link && start)
            return control_fail(l->s.control, EXIT_FAILED,
                                "flag -interface: there is no interface %s; name one of these: %s", name,
                                links_names(&l->links, there, sizeof there));
        if (link && link->up)
            continue;
        l->unmet = true;
        if (complaints_news(&l->complaints, asked.name, 0, link ? SC_EAGAIN : SC_ENOENT))
            log_warn("interface %s is %s: waiting for it", name, link ? "down" : "gone");
    }
    return EXIT_DONE;
}

static void send_addresses(struct live *l)
{
    struct ipaddr all[ANONYMIZE_EXEMPT_MAX];
    memset(all, 0, sizeof all);
    size_t count = links_all_addresses(&l->links, all, ANONYMIZE_EXEMPT_MAX);
    if (count > ANONYMIZE_EXEMPT_MAX) {
        if (!l->many_said)
            log_warn("more than %d local addresses: the rest is anonymized like foreign ones", ANONYMIZE_EXEMPT_MAX);
        l->many_said = true;
        count = ANONYMIZE_EXEMPT_MAX;
    }
    if (l->addresses_sent && count == l->address_count && memcmp(all, l->address, sizeof all) == 0)
        return;
    memcpy(l->address, all, sizeof all);
    l->address_count = count;
    l->addresses_sent = true;
    feed_addresses(l->s.feed, all, count);
}

/* Reads the table and makes the captured set what it should be. EXIT_DONE, or at start the exit status, told. */
static int follow(struct live *l, bool start)
{
    const struct config *c = l->s.config;
    const struct link *chosen[INTERFACES_MAX];
    struct ipaddr hosts[ANONYMIZE_EXEMPT_MAX];
    int rc = interfaces_list(l->interfaces, &l->links);
    if (rc != SC_OK) {
        if (start)
            return control_fail(l->s.control, EXIT_FAILED, "cannot list the network interfaces: %s",
                                rc == SC_ESYS ? strerror(errno) : sc_strerror(rc));
        l->unmet = true; /* tried again with the next retry */
        return EXIT_DONE;
    }
    l->unmet = false;
    int status = look_for_named(l, start);
    if (status != EXIT_DONE)
        return status;
    size_t count = links_select(&l->links, c->interfaces, c->interface_count, chosen, INTERFACES_MAX);
    if (count > INTERFACES_MAX) {
        if (complaints_news(&l->complaints, "", 0, SC_EFULL))
            log_warn("%zu interfaces, of which %d are captured: choose with -interface", count, INTERFACES_MAX);
        count = INTERFACES_MAX;
    }
    if (sources_keep(l->sources, chosen, count) > 0)
        l->tell_pending = true;
    memset(hosts, 0, sizeof hosts);
    size_t host_count = links_addresses(&l->links, chosen, count, hosts, ANONYMIZE_EXEMPT_MAX);
    sources_hosts(l->sources, hosts, host_count);
    send_addresses(l);
    /* The others first: once this thread captures, every flow has its dispatcher. */
    if (l->s.workers) {
        workers_set(l->s.workers, chosen, count, hosts, host_count, l->address, l->address_count);
        l->unmet = workers_unmet(l->s.workers) || l->unmet;
    }
    status = open_missing(l, chosen, count, start);
    if (status == EXIT_DONE && count == 0 && c->interface_count == 0 && !l->none_said)
        log_warn("no network interface is up but loopback: waiting for one");
    l->none_said = count == 0;
    return status;
}

/* ---- the loop ---- */

static void on_notice(void *ctx)
{
    struct live *l = ctx;
    l->changed = interfaces_changed(l->interfaces) || l->changed;
}

static void on_control(void *ctx)
{
    struct live *l = ctx;
    control_poll(l->s.control);
    l->leave = l->leave || l->s.control->leave;
}

static void on_sigterm(void *ctx)
{
    struct live *l = ctx;
    l->leave = true;
}

static void housekeep(struct live *l)
{
    struct mono now = mono_now(l);
    bool retry = now.ns >= l->next_retry.ns;
    if (retry) {
        l->next_retry.ns = now.ns + RETRY_NS;
        sources_stats(l->sources);
        if (interfaces_list(l->interfaces, &l->links) == SC_OK)
            gap_look(l->s.page, &l->links, false);
        if (l->s.workers)
            l->unmet = workers_unmet(l->s.workers) || l->unmet;
    }
    if (sources_lost_one(l->sources)) {
        l->unmet = true;
        l->tell_pending = true;
    }
    if ((l->changed || (retry && l->unmet)) && !l->leave) {
        l->changed = false;
        (void)follow(l, false);
    }
    if (l->tell_pending)
        tell_watching(l);
    (void)sources_read_all(l->sources);
    feed_housekeep(l->s.feed, (struct instant){mono_now(l).ns}, sources_until(l->sources));
    uint64_t packets = counter_get(&l->s.page->captured[0]);
    if (packets != l->packets)
        l->busy_at = now;
    l->packets = packets;
    l->next_tick.ns = mono_now(l).ns + (now.ns - l->busy_at.ns < QUIET_NS ? TICK_NS : QUIET_TICK_NS);
}

/* One turn of at most limit_ns. */
static void turn(struct live *l, int64_t limit_ns)
{
    int64_t left = l->next_tick.ns - mono_now(l).ns;
    if (left > limit_ns)
        left = limit_ns;
    evloop_turn(l->loop, left > 0 ? left : 0);
    atomic_fetch_add_explicit(&l->s.page->heartbeat, 1, memory_order_relaxed);
    /* Packets come about as often as TICKs: what woke us for them need not wake us again. */
    if (mono_now(l).ns >= l->next_tick.ns - TICK_NS / 4)
        housekeep(l);
}

static void capture_on(struct live *l)
{
    const struct control *control = l->s.control;
    while (!l->leave && !control_over(control)) {
        int64_t limit = QUIET_TICK_NS;
        if (control->stops > 0 && control->until.ns - mono_now(l).ns < limit)
            limit = control->until.ns - mono_now(l).ns;
        turn(l, limit);
    }
}

/* An heir has what comes now; every packet of before is ours, and only ours. */
static void fetch_to_the_last(struct live *l)
{
    struct mono start = mono_now(l), last = start;
    while (!sources_handed_over(l->sources) && mono_now(l).ns < start.ns + HANDED_MAX_NS &&
           mono_now(l).ns < last.ns + HANDED_QUIET_NS) {
        if (sources_read_all(l->sources) > 0)
            last = mono_now(l);
        turn(l, NS_PER_MS);
    }
}

/* What the kernel has captured before now is still on its way to us. */
static void fetch_the_rest(struct live *l)
{
    struct mono start = mono_now(l);
    while (mono_now(l).ns < start.ns + DRAIN_NS)
        turn(l, start.ns + DRAIN_NS - mono_now(l).ns);
    while (sources_read_all(l->sources) > 0 && mono_now(l).ns < start.ns + DRAIN_MAX_NS)
        atomic_fetch_add_explicit(&l->s.page->heartbeat, 1, memory_order_relaxed);
    if (l->leave && inherit_begun(l->s.page))
        fetch_to_the_last(l);
    feed_housekeep(l->s.feed, (struct instant){mono_now(l).ns}, sources_until(l->sources));
}

/* NULL-safe release of everything that live_run opened. */
static void release(struct live *l)
{
    sources_free(l->sources);
    interfaces_close(l->interfaces);
    evloop_free(l->loop);
    free(l);
}

static bool prepare(struct live *l)
{
    l->loop = evloop_new();
    l->interfaces = interfaces_open();
    if (!l->loop || !l->interfaces)
        return false;
    const struct sources_settings settings = {.loop = l->loop,
                                              .feed = l->s.feed,
                                              .config = l->s.config,
                                              .page = l->s.page,
                                              .clock = l->clock,
                                              .fanout = l->s.fanout,
                                              .heir = l->s.settle != NULL};
    l->sources = sources_new(&settings);
    return l->sources && evloop_on_readable(l->loop, interfaces_fd(l->interfaces), on_notice, l) &&
           evloop_on_readable(l->loop, l->s.control->sock, on_control, l) &&
           evloop_on_signal(l->loop, SIGTERM, on_sigterm, l);
}

static void count_gap(const struct live *l)
{
    int64_t gap = mono_now(l).ns - l->s.captured_until.ns;
    if (l->s.captured_until.ns > 0 && gap > 0)
        counter_add(&l->s.page->capture_gap_ms, (uint64_t)(gap / NS_PER_MS));
}

/* ---- hand-over ---- */

/* Opens what the predecessor captures, and that alone. */
static int open_inherited(struct live *l)
{
    const struct config *c = l->s.config;
    const struct link *chosen[INTERFACES_MAX];
    struct ipaddr hosts[ANONYMIZE_EXEMPT_MAX] = {0};
    char error[CAPTURE_ERROR] = "the list of interfaces cannot be read";
    int rc = interfaces_list(l->interfaces, &l->links);
    size_t count = rc == SC_OK ? links_select(&l->links, c->interfaces, c->interface_count, chosen, INTERFACES_MAX) : 0;
    count = count < INTERFACES_MAX ? count : INTERFACES_MAX;
    size_t host_count = links_addresses(&l->links, chosen, count, hosts, ANONYMIZE_EXEMPT_MAX);
    sources_hosts(l->sources, hosts, host_count);
    for (size_t i = 0; i < count && rc == SC_OK; i++)
        if (inherit_group(l->s.page, chosen[i]->index) >= 0)
            rc = sources_open(l->sources, chosen[i], count, error);
    if (rc != SC_OK)
        return control_fail(l->s.control, EXIT_TEMPFAIL, "an interface cannot be taken over: %.300s", error);
    if (!sources_inherited(l->sources))
        return control_fail(l->s.control, EXIT_TEMPFAIL, "an interface cannot be taken over: it has no group");
    return EXIT_DONE;
}

/* Takes over from a dispatcher that captures. Until it has gone nothing is read, and nothing in shared memory is ours.
 */
static int inherit(struct live *l)
{
    struct control *control = l->s.control;
    int status = open_inherited(l);
    if (status != EXIT_DONE)
        return status;
    sources_take(l->sources);
    if (control_tell(control, PROTO_TAKEN, 0, NULL) != SC_OK)
        return EXIT_TEMPFAIL;
    while (!control->started && !control->gone)
        control_wait(control, NS_PER_SEC);
    if (control->gone)
        return EXIT_TEMPFAIL;
    int rc = l->s.settle(l->s.ctx);
    if (rc != SC_OK)
        return control_fail(control, EXIT_FAILED, "cannot take over the rings: %s", sc_strerror(rc));
    sources_settle(l->sources);
    if (control_tell(control, PROTO_READY, 0, NULL) != SC_OK)
        return EXIT_TEMPFAIL;
    (void)follow(l, false); /* what its predecessor had not opened */
    return EXIT_DONE;
}

int live_run(const struct live_settings *settings)
{
    struct live *l = calloc(1, sizeof *l);
    if (!l)
        return control_fail(settings->control, EXIT_FAILED, "out of memory");
    l->s = *settings;
    l->clock = settings->control->clock;
    int status;
    if (!prepare(l))
        status = control_fail(settings->control, EXIT_FAILED, "cannot start capturing: %s", strerror(errno));
    else if (!confine_has_net_raw())
        status = fail_permission(l);
    else
        status = l->s.settle ? inherit(l) : follow(l, true);
    if (status != EXIT_DONE) {
        release(l);
        return status;
    }
    if (!l->s.settle)
        count_gap(l);
    gap_look(l->s.page, &l->links, !l->s.settle);
    tell_watching(l);
    l->next_retry.ns = mono_now(l).ns + RETRY_NS;
    housekeep(l);
    capture_on(l);
    if (l->s.workers)
        workers_stop(l->s.workers, !l->leave);
    fetch_the_rest(l);
    bool leave = l->leave;
    release(l);
    if (leave)
        return EXIT_DONE;
    (void)drain_end(settings->control, settings->feed, settings->page);
    return settings->control->gone ? EXIT_TEMPFAIL : EXIT_DONE;
}
