/* SPDX-License-Identifier: Apache-2.0
 * shardcap-dispatcher: packets to the shards. Started by shardcap, with the attach socket as fd 3 and no command line
 * but -version and -layout. This file attaches, maps, confines, wires and runs.
 * Failure policy: what is missing or does not fit at attaching ends the process with one line (78: another build). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dispatcher/capture/capture.h"
#include "dispatcher/capture/control.h"
#include "dispatcher/capture/dedup.h"
#include "dispatcher/capture/drain.h"
#include "dispatcher/capture/feed.h"
#include "dispatcher/capture/inherit.h"
#include "dispatcher/capture/live.h"
#include "dispatcher/capture/offline.h"
#include "dispatcher/capture/workers.h"
#include "shared/config.h"
#include "shared/confine.h"
#include "shared/counters.h"
#include "shared/layout.h"
#include "shared/log.h"
#include "shared/proto.h"
#include "shared/ring.h"
#include "shared/sandbox.h"
#include "shared/shm.h"
#include "shared/version.h"

#define LIVE_TICK_NS (50 * NS_PER_MS)

struct dispatcher {
    struct control control;
    const struct config *config;
    struct dispatcher_page *page;
    struct feed *feed[DISPATCHERS_MAX]; /* the first is live.c's or offline.c's */
    struct fanout *fanout;              /* NULL: one thread */
    struct workers *workers;            /* likewise */
    struct dedup *dedup;                /* NULL without -dedup */
    struct mono captured_until;         /* of the dispatcher before this one */
    int files[SAVEFILES_MAX];
    struct offline offline;
    bool heir; /* of a dispatcher that runs: shared memory is not ours yet */
    char program[CONFIG_PATH];
};

static bool kill_shard(void *ctx, unsigned shard)
{
    struct dispatcher *d = ctx;
    log_warn("shard %u wrote an impossible ring index: asking for its end", shard);
    return control_tell(&d->control, PROTO_KILL, (int64_t)shard, NULL) != SC_EFULL;
}

/* Only -read waits. */
static bool wait_for_room(void *ctx)
{
    struct dispatcher *d = ctx;
    return offline_wait(&d->offline);
}

/* Maps an fd of the attachment; the mapping stays for the life of the process. */
static void *take_map(struct dispatcher *d, enum proto_role role, unsigned index, bool writable, size_t *bytes)
{
    int fd = proto_take_fd(&d->control.self, role, index);
    if (fd < 0) {
        errno = ENOENT;
        return NULL;
    }
    void *map = shm_map(fd, writable, bytes);
    int saved = errno;
    close(fd);
    errno = saved;
    return map;
}

static int missing(struct dispatcher *d, const char *what, unsigned index)
{
    return control_fail(&d->control, EXIT_FAILED, "attaching: no usable %s %u: %s", what, index, strerror(errno));
}

static int take_config(struct dispatcher *d)
{
    int fd = proto_take_fd(&d->control.self, ROLE_CONFIG, 0);
    int rc = fd < 0 ? SC_ENOENT : config_map(fd, &d->config);
    if (fd >= 0)
        close(fd);
    if (rc != SC_OK)
        return control_fail(&d->control, rc == SC_EVERSION ? EXIT_CONFIG : EXIT_FAILED, "attaching: configuration: %s",
                            sc_strerror(rc));
    if (d->config->shards < 1 || d->config->shards > SHARDS_MAX || d->config->savefile_count > SAVEFILES_MAX)
        return control_fail(&d->control, EXIT_CONFIG, "attaching: the configuration makes no sense");
    log_init("dispatcher", -1, d->config->log_level, d->config->log_format);
    return EXIT_DONE;
}

static int take_page(struct dispatcher *d)
{
    size_t bytes;
    d->page = take_map(d, ROLE_DISPATCHER_PAGE, 0, true, &bytes);
    if (!d->page || bytes < sizeof *d->page)
        return missing(d, "page", 0);
    if (d->page->magic != DISPATCHER_PAGE_MAGIC || d->page->layout != COUNTERS_LAYOUT)
        return control_fail(&d->control, EXIT_CONFIG, "attaching: the counters have another layout");
    if (d->heir)
        return EXIT_DONE;
    atomic_store_explicit(&d->page->generation, d->control.self.generation, memory_order_relaxed);
    for (unsigned i = 0; i < INTERFACES_MAX; i++) { /* a dispatcher that died may have left its gauges up */
        atomic_store_explicit(&d->page->interfaces[i].capturing, 0, memory_order_relaxed);
        inherit_tell(d->page, &d->page->interfaces[i], -1);
    }
    counter_set(&d->page->interfaces_capturing, 0);
    inherit_end(d->page);
    return EXIT_DONE;
}

static int take_ring(struct dispatcher *d, unsigned thread, unsigned shard, const struct shard_page *page, int bell)
{
    size_t ring_bytes;
    struct ring_shared *ring = take_map(d, ROLE_RING, proto_ring_index(thread, shard), true, &ring_bytes);
    if (!ring)
        return missing(d, "ring", shard);
    int rc = feed_add_ring(d->feed[thread], shard, ring, ring_bytes, page, bell);
    if (rc != SC_OK)
        return control_fail(&d->control, rc == SC_EVERSION ? EXIT_CONFIG : EXIT_FAILED, "attaching: ring %u: %s", shard,
                            sc_strerror(rc));
    int64_t until = atomic_load_explicit(&ring->captured_until_ns, memory_order_relaxed); /* its writer is gone */
    if (until > d->captured_until.ns)
        d->captured_until.ns = until;
    return EXIT_DONE;
}

static int take_shard(struct dispatcher *d, unsigned shard)
{
    size_t page_bytes;
    const struct shard_page *page = take_map(d, ROLE_SHARD_PAGE, shard, false, &page_bytes);
    if (!page || page_bytes < sizeof *page)
        return missing(d, "shard page", shard);
    int bell = proto_take_fd(&d->control.self, ROLE_DOORBELL, shard), status = EXIT_DONE;
    if (bell < 0) {
        errno = ENOENT;
        return missing(d, "doorbell", shard);
    }
    for (unsigned i = 0; i < config_dispatchers(d->config) && status == EXIT_DONE; i++)
        status = take_ring(d, i, shard, page, bell);
    return status;
}

static int make_feeds(struct dispatcher *d)
{
    const struct config *c = d->config;
    bool live = !config_reads_files(c);
    int64_t offline_tick = c->flowtimeout_ns > 0 && c->flowtimeout_ns < NS_PER_SEC ? c->flowtimeout_ns : NS_PER_SEC;
    d->dedup = c->dedup ? dedup_new(&c->hash_key) : NULL;
    struct feed_settings settings = {
        .live = live,
        .snaplen = c->maxheadersize,
        .sample = c->sample,
        .dedup = d->dedup,
        .shards = c->shards,
        .secret = c->hash_key,
        .tick_ns = live ? LIVE_TICK_NS : offline_tick,
        .page = d->page,
        .kill = kill_shard,
        .wait = wait_for_room,
        .ctx = d,
    };
    for (unsigned i = 0; i < config_dispatchers(c); i++) {
        settings.thread = i;
        d->feed[i] = feed_new(&settings);
        if (!d->feed[i] || (c->dedup && !d->dedup))
            return control_fail(&d->control, EXIT_FAILED, "out of memory");
    }
    for (unsigned i = 0; i < c->shards; i++) {
        int status = take_shard(d, i);
        if (status != EXIT_DONE)
            return status;
    }
    if (!d->heir)
        feed_settle(d->feed, config_dispatchers(c));
    return EXIT_DONE;
}

static int take_files(struct dispatcher *d)
{
    for (unsigned i = 0; i < d->config->savefile_count; i++) {
        d->files[i] = proto_take_fd(&d->control.self, ROLE_SAVEFILE, i);
        if (d->files[i] < 0) {
            errno = ENOENT;
            return missing(d, "savefile", i);
        }
    }
    return EXIT_DONE;
}

static int attach(struct dispatcher *d)
{
    int rc = proto_attach(PROTO_FD, &d->control.self);
    if (rc != SC_OK) {
        log_error("cannot attach to shardcap, which must start this program: %s", sc_strerror(rc));
        return rc == SC_EVERSION ? EXIT_CONFIG : EXIT_TEMPFAIL;
    }
    d->heir = d->control.self.slot == PROTO_SLOT_HEIR;
    int status = take_config(d);
    if (status == EXIT_DONE)
        status = take_page(d);
    if (status == EXIT_DONE)
        status = make_feeds(d);
    if (status == EXIT_DONE)
        status = take_files(d);
    proto_attachment_free(&d->control.self); /* slot and generation stay */
    return status;
}

/* -read needs no power at all. Live capture keeps CAP_NET_RAW, also over the change of user, because interfaces come
 * and go; where it is missing the start of the capture says so. */
static int confine(struct dispatcher *d, pid_t parent)
{
    const struct config *c = d->config;
    bool live = !config_reads_files(c);
    /* Kept over the change of user: CAP_NET_RAW, and what it takes to drop the bounding set. */
    if (c->user_switch && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
        return control_fail(&d->control, EXIT_FAILED, "cannot keep capabilities: %s", strerror(errno));
    int rc = c->user_switch ? confine_user(c->uid, c->gid) : SC_OK;
    if (rc == SC_OK)
        rc = confine_capabilities(live);
    if (rc == SC_EPERM && live)
        rc = confine_capabilities(false);
    if (rc == SC_OK)
        rc = confine_process(parent, true);
    if (rc == SC_EOF)
        return EXIT_TEMPFAIL;
    return rc == SC_OK ? EXIT_DONE
                       : control_fail(&d->control, EXIT_FAILED, "cannot confine the process: %s", sc_strerror(rc));
}

/* What a filter's names are looked up in, and what libpcap reads about an interface (the tags of a switch). */
static int confine_files(struct dispatcher *d)
{
    static const struct sandbox_tree names[] = {
        {SANDBOX_READS, -1, "/etc/hosts"},       {SANDBOX_READS, -1, "/etc/services"},
        {SANDBOX_READS, -1, "/etc/protocols"},   {SANDBOX_READS, -1, "/etc/networks"},
        {SANDBOX_READS, -1, "/etc/ethers"},      {SANDBOX_READS, -1, "/etc/nsswitch.conf"},
        {SANDBOX_READS, -1, "/etc/resolv.conf"}, {SANDBOX_READS, -1, "/etc/host.conf"},
        {SANDBOX_READS, -1, "/etc/gai.conf"},
    };
    static const struct sandbox_tree interfaces[] = {{SANDBOX_READS, -1, "/sys/class/net"},
                                                     {SANDBOX_READS, -1, "/sys/devices"}};
    struct sandbox_tree trees[sizeof names / sizeof names[0] + sizeof interfaces / sizeof interfaces[0]];
    size_t count = 0;
    if (d->config->filter[0]) {
        memcpy(trees, names, sizeof names);
        count = sizeof names / sizeof names[0];
    }
    if (!config_reads_files(d->config)) {
        memcpy(trees + count, interfaces, sizeof interfaces);
        count += sizeof interfaces / sizeof interfaces[0];
    }
    int rc = sandbox_files(trees, count);
    if (rc == SC_EVERSION)
        log_debug("this kernel has no Landlock that could be used");
    return rc == SC_OK || rc == SC_EVERSION
               ? EXIT_DONE
               : control_fail(&d->control, EXIT_FAILED, "cannot confine the process to its files: %s", strerror(errno));
}

/* Confined to files as this thread is, and before the filter of calls, which all threads get. */
static int make_workers(struct dispatcher *d)
{
    const struct workers_settings settings = {.feeds = d->feed,
                                              .count = config_dispatchers(d->config),
                                              .config = d->config,
                                              .page = d->page,
                                              .clock = d->control.clock,
                                              .fanout = d->fanout = fanout_new()};
    d->workers = d->fanout ? workers_new(&settings) : NULL;
    return d->workers ? EXIT_DONE : control_fail(&d->control, EXIT_FAILED, "cannot start the other dispatchers");
}

/* Last, so that the list is of what capturing needs and not of what starting does. */
static int confine_calls_and_files(struct dispatcher *d)
{
    const struct config *c = d->config;
    char error[CAPTURE_ERROR];
    /* Names in a filter make the C library load what looks them up, which it cannot do later. */
    if (c->filter[0] && capture_filter_text(c->filter, error) != SC_OK)
        log_debug("the filter does not compile for Ethernet: %s", error);
    int status = confine_files(d);
    if (status == EXIT_DONE && config_dispatchers(c) > 1)
        status = make_workers(d);
    if (status != EXIT_DONE)
        return status;
    cpus_take(&c->cpus, 0);
    int rc = sandbox_calls(config_reads_files(c) ? SANDBOX_CAPTURE_FILES : SANDBOX_CAPTURE_LIVE, c->seccomp);
    return rc == SC_OK
               ? EXIT_DONE
               : control_fail(&d->control, EXIT_FAILED,
                              "cannot install the seccomp filter: %s; -seccomp=none does without", strerror(errno));
}

/* Before anything was captured. */
static unsigned end_all(struct dispatcher *d)
{
    if (d->workers)
        workers_stop(d->workers, true);
    return drain_end(&d->control, d->feed[0], d->page);
}

/* The predecessor has gone: rings and page are ours, as it left them. */
static int settle(void *ctx)
{
    struct dispatcher *d = ctx;
    int rc = feed_attach_again(d->feed[0]);
    if (rc != SC_OK)
        return rc;
    atomic_store_explicit(&d->page->generation, d->control.self.generation, memory_order_relaxed);
    feed_settle(d->feed, 1);
    return SC_OK;
}

static int run(struct dispatcher *d)
{
    if (!d->heir && control_tell(&d->control, PROTO_READY, 0, NULL) != SC_OK)
        return EXIT_TEMPFAIL;
    while (!d->heir && !d->control.started && d->control.stops == 0 && !d->control.gone) {
        atomic_fetch_add_explicit(&d->page->heartbeat, 1, memory_order_relaxed);
        control_wait(&d->control, NS_PER_SEC);
    }
    if (!d->heir && (!d->control.started || d->control.gone)) { /* stopped before the start */
        (void)end_all(d);
        return d->control.gone ? EXIT_TEMPFAIL : EXIT_DONE;
    }
    if (config_reads_files(d->config)) {
        d->offline = (struct offline){
            .control = &d->control, .feed = d->feed[0], .config = d->config, .page = d->page, .files = d->files};
        return offline_run(&d->offline);
    }
    const struct live_settings settings = {
        .control = &d->control,
        .feed = d->feed[0],
        .config = d->config,
        .page = d->page,
        .program = d->program,
        .captured_until = d->captured_until,
        .fanout = d->fanout,
        .workers = d->workers,
        .settle = d->heir ? settle : NULL,
        .ctx = d,
    };
    return live_run(&settings);
}

/* For shardcap, which has no libpcap: does the expression compile? Says on standard output why not. */
static int check_filter(const char *text)
{
    char error[CAPTURE_ERROR];
    if (capture_filter_text(text, error) == SC_OK)
        return EXIT_DONE;
    (void)printf("%s", error);
    return EXIT_USAGE;
}

/* For shardcap -check: may this program capture, as it was started? Says on standard output why not. */
static int check_capture(void)
{
    int fd = confine_capabilities(true) == SC_OK ? socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) : -1;
    if (fd >= 0) {
        close(fd);
        return EXIT_DONE;
    }
    char program[CONFIG_PATH] = {0};
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        (void)snprintf(program, sizeof program, "shardcap-dispatcher");
    (void)printf(LIVE_NO_PERMISSION, program);
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    static struct dispatcher d;
    if (argc == 2 && strcmp(argv[1], "-version") == 0) {
        printf("shardcap-dispatcher %s (%s)\n", version_text(), version_commit());
        return EXIT_DONE;
    }
    if (argc == 2 && strcmp(argv[1], "-layout") == 0) {
        char layout[LAYOUT_TEXT];
        puts(layout_common(layout));
        return EXIT_DONE;
    }
    if (argc == 3 && strcmp(argv[1], "-check-filter") == 0)
        return check_filter(argv[2]);
    if (argc == 2 && strcmp(argv[1], "-check-capture") == 0)
        return check_capture();
    if (argc > 1) {
        (void)fprintf(stderr,
                      "shardcap-dispatcher takes -version, -layout, -check-capture and -check-filter EXPR only; it is "
                      "started by shardcap\n");
        return EXIT_USAGE;
    }
    pid_t parent = getppid();
    (void)prctl(PR_SET_NAME, "shardcap-dispatcher"); /* cut to 15; exec by fd may have left a number */
    log_init("dispatcher", -1, LOG_INFO_LEVEL, LOG_TEXT);
    log_never_block(true);
    log_wipe_status();
    d.control = (struct control){.sock = PROTO_FD, .clock = clock_system()};
    if (readlink("/proc/self/exe", d.program, sizeof d.program - 1) < 0)
        (void)snprintf(d.program, sizeof d.program, "shardcap-dispatcher");
    int status = attach(&d);
    if (status == EXIT_DONE)
        status = confine(&d, parent);
    if (status == EXIT_DONE)
        status = confine_calls_and_files(&d);
    if (status == EXIT_DONE)
        status = run(&d);
    workers_free(d.workers);
    fanout_free(d.fanout);
    for (unsigned i = 0; i < DISPATCHERS_MAX; i++)
        feed_free(d.feed[i]);
    dedup_free(d.dedup);
    return status;
}
