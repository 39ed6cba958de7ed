/* SPDX-License-Identifier: Apache-2.0
 * shardcap-shard: ring -> flows -> files. Started by shardcap, with the attach socket as fd 3, or by another
 * supervisor with -slot and -rundir, and then it asks for that socket.
 * Failure policy: what goes wrong before READY is told to the supervisor and ends the process; afterwards nothing that
 * comes from outside does. SIGTERM while the supervisor lives = leave at once, a successor adopts the arena; the end of
 * the attach socket or STOP = drain, finish, publish, exit. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shard/arena.h"
#include "shard/busfeed.h"
#include "shard/crashpoint.h"
#include "shard/lastword.h"
#include "shard/member.h"
#include "shard/shard.h"
#include "shared/evloop.h"
#include "shared/layout.h"
#include "shared/log.h"
#include "shared/ring.h"
#include "shared/sandbox.h"
#include "shared/version.h"

#define SPIN_NS (60 * INT64_C(1000))
#define NAP_NS (50 * NS_PER_MS) /* packets, events and files end it; TICKs wait for its end */
#define LONG_NAP_NS (100 * NS_PER_MS)
#define QUIET_NS NS_PER_SEC          /* without packets for so long, naps are long; the doorbell ends them */
#define TURNS_PER_LOOK 8             /* busy turns between two looks at sockets */
#define BUS_LOOK_NS (50 * NS_PER_MS) /* for what the bus does by the clock */

struct family {
    struct member m;
    struct shard *shard;
    struct busfeed *feed;
    struct uuid_lookup *lookup; /* NULL: the kernel is not a source */
    struct evloop *loop;
    struct evsource *attach;   /* NULL once the supervisor's end is closed */
    struct evsource *doorbell; /* likewise the dispatcher's */
    struct mono bus_looked;
    bool bus_readable;
    bool ready, stop, leave;
};

/* A shard without packets. Spinning saves the dispatcher a doorbell if the next packets are near; whether they are, the
 * last gap tells. */
struct idleness {
    struct mono since;
    uint64_t packets; /* seen when it began */
    bool idle;
    bool near; /* the last gap was short */
};

static struct mono now(void)
{
    const struct clock *c = clock_system();
    return c->mono(c->ctx);
}

/* ---- what wakes the loop ---- */

static void on_attach(void *ctx)
{
    struct family *f = ctx;
    struct proto_msg msg;
    int fds[PROTO_FDS_PER_MSG];
    int err = proto_recv(f->m.sock, &msg, fds);
    if (err == SC_EAGAIN)
        return;
    if (err) {
        if (err != SC_EOF)
            log_warn("attach socket: %s; stopping", sc_strerror(err));
        evsource_remove(f->attach);
        f->attach = NULL;
        f->stop = true;
        return;
    }
    for (unsigned i = 0; i < msg.fd_count; i++)
        (void)close(fds[i]);
    if (msg.generation != f->m.self.generation)
        log_warn("a message for generation %u is ignored: this is generation %u", msg.generation, f->m.self.generation);
    else if (msg.type == PROTO_STOP)
        f->stop = true;
    else if (msg.type == PROTO_LEAVE)
        f->leave = true;
    else if (msg.type == PROTO_DRAIN)
        shard_drain(f->shard);
    else
        log_warn("attach socket: message of type %u is ignored", msg.type);
}

/* Nobody would go on after us once the supervisor is gone: a service manager that ends what is left of a family sends
 * SIGTERM in the same moment in which the socket ends. */
static bool supervisor_gone(const struct family *f)
{
    struct pollfd p = {.fd = f->m.sock, .events = POLLRDHUP};
    return !f->attach || (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLRDHUP | POLLERR)));
}

static void on_sigterm(void *ctx)
{
    struct family *f = ctx;
    if (supervisor_gone(f))
        f->stop = true;
    else
        f->leave = true;
}

static void on_doorbell(void *ctx)
{
    struct family *f = ctx;
    if (doorbell_drain(f->m.doorbell) == SC_EOF) { /* the dispatcher is gone; the next naps are short enough */
        evsource_remove(f->doorbell);
        f->doorbell = NULL;
    }
}

static void on_bus(void *ctx)
{
    struct family *f = ctx;
    f->bus_readable = true;
}

static void on_wake(void *ctx)
{
    (void)ctx; /* the turn that follows looks at everything */
}

static void on_event(void *ctx, const struct flowevent *ev, bool replayed)
{
    struct family *f = ctx;
    shard_event(f->shard, ev, replayed);
}

static void on_saved(void *ctx, const char *path)
{
    struct family *f = ctx;
    (void)proto_tell(f->m.sock, &f->m.self, PROTO_SAVED, 0, path); /* for a person who watches: may be dropped */
}

static void on_removed(void *ctx)
{
    struct family *f = ctx;
    (void)proto_tell(f->m.sock, &f->m.self, PROTO_REMOVED, 0, NULL); /* it is told again with the next failure */
}

/* ---- the loop ---- */

static void tell_ready(struct family *f)
{
    if (f->ready || (!config_reads_files(f->m.config) && !busfeed_complete(f->feed)))
        return;
    shard_events_complete(f->shard);
    /* a full socket: the next turn tries again; its end is seen by on_attach */
    f->ready = proto_tell(f->m.sock, &f->m.self, PROTO_READY, 0, NULL) != SC_EFULL;
}

/* Asking a socket that has nothing costs system calls: between two looks its fd says whether there is something. */
static void turn_bus(struct family *f)
{
    struct mono t = now();
    if (!f->bus_readable && busfeed_complete(f->feed) && t.ns - f->bus_looked.ns < BUS_LOOK_NS)
        return;
    f->bus_readable = false;
    f->bus_looked = t;
    busfeed_turn(f->feed);
}

/* Notes whether packets come. TICKs and finished files are no reason to stay awake. */
static void note_packets(struct family *f, struct idleness *i, bool idle)
{
    uint64_t seen = counter_get(&f->m.deps.page->c.consumed);
    if (seen != i->packets) {
        struct mono t = now();
        if (i->idle)
            i->near = t.ns - i->since.ns < SPIN_NS;
        i->since = t;
        i->packets = seen;
        i->idle = false;
    }
    i->idle = i->idle || idle;
}

/* Spins for a moment, if the next packet is likely near, then sleeps until something wakes it. */
static void rest(struct family *f, const struct idleness *i)
{
    int64_t idle = now().ns - i->since.ns;
    if (i->near && idle < SPIN_NS)
        return;
    if (!shard_will_sleep(f->shard))
        return;
    evloop_turn(f->loop, shard_pause(f->shard, idle < QUIET_NS ? NAP_NS : LONG_NAP_NS));
    shard_woke(f->shard);
}

static int run(struct family *f)
{
    struct idleness idleness = {.since = now()};
    enum shard_step_result result = SHARD_BUSY;
    for (unsigned turn = 0; result != SHARD_DONE && (!f->leave || f->stop); turn++) {
        if (turn % TURNS_PER_LOOK == 0 || result == SHARD_IDLE) {
            turn_bus(f);
            tell_ready(f);
        }
        if (f->ready)
            CRASHPOINT_SCRIBBLE(f->m.self.slot, f->m.deps.page, sizeof(*f->m.deps.page), f->m.doorbell);
        if (turn % TURNS_PER_LOOK == 0)
            evloop_turn(f->loop, 0);
        if (f->stop) {
            shard_stop(f->shard);
            f->leave = false; /* the supervisor is gone or wants the end: nobody would go on */
        }
        result = shard_step(f->shard);
        note_packets(f, &idleness, result == SHARD_IDLE);
        if (result == SHARD_IDLE)
            rest(f, &idleness);
    }
    if (f->leave && !f->stop)
        _exit(EXIT_DONE); /* as it is: the file thread may be in a call that takes long */
    return EXIT_DONE;
}

/* ---- start ---- */

static int ask_kernel(void *ctx, const struct flowkey *key, uint32_t if_index, struct uuid_answer *out)
{
    return uuid_lookup_ask(ctx, key, if_index, clock_system(), out);
}

static int open_lookup(struct family *f)
{
    if (!(f->m.config->uuid_sources & UUID_SOURCE_KERNEL) || !f->m.config->kernel_lookup)
        return EXIT_DONE;
    f->lookup = uuid_lookup_new();
    if (!f->lookup)
        return member_give_up(
            &f->m, EXIT_CONFIG,
            "flag -uuid.source: the kernel cannot be asked for sockets (NETLINK_SOCK_DIAG: %s); choose "
            "eventsocket, hash or none",
            strerror(errno));
    f->m.deps.ask = ask_kernel;
    f->m.deps.ask_ctx = f->lookup;
    return EXIT_DONE;
}

static int open_shard(struct family *f)
{
    char error[SHARD_ERROR];
    struct shard_deps *d = &f->m.deps;
    d->hold = !config_reads_files(f->m.config);
    d->on_saved = f->m.config->report_files ? on_saved : NULL;
    d->on_removed = on_removed;
    d->ctx = f;
    if (d->arena_bytes < arena_map_bytes(d->budget))
        return member_give_up(&f->m, EXIT_CONFIG, "the arena has %zu bytes, a budget of %llu needs %zu", d->arena_bytes,
                              (unsigned long long)d->budget, arena_map_bytes(d->budget));
    f->shard = shard_new(d, error);
    if (d->events_file >= 0) /* read */
        (void)close(d->events_file);
    d->events_file = -1;
    return f->shard ? EXIT_DONE : member_give_up(&f->m, EXIT_FAILED, "cannot start: %s", error);
}

static int open_feed(struct family *f)
{
    char error[BUS_ERROR];
    struct busfeed_deps bd = {.rundir = f->m.rundir,
                              .slot = f->m.self.slot,
                              .clock = clock_system(),
                              .c = &f->m.deps.page->c,
                              .on_event = on_event,
                              .ctx = f};
    f->feed = busfeed_new(&bd, error);
    return f->feed ? EXIT_DONE : member_give_up(&f->m, EXIT_FAILED, "%s", error);
}

static int open_loop(struct family *f)
{
    f->loop = evloop_new();
    if (!f->loop)
        return member_give_up(&f->m, EXIT_FAILED, "cannot start: out of memory");
    f->doorbell = evloop_on_readable(f->loop, f->m.doorbell, on_doorbell, f);
    f->attach = evloop_on_readable(f->loop, f->m.sock, on_attach, f);
    if (!f->doorbell || !f->attach || !evloop_on_signal(f->loop, SIGTERM, on_sigterm, f) ||
        !evloop_on_readable(f->loop, busfeed_sub_fd(f->feed), on_bus, f) ||
        !evloop_on_readable(f->loop, busfeed_req_fd(f->feed), on_bus, f) ||
        !evloop_on_readable(f->loop, shard_fd(f->shard), on_wake, f))
        return member_give_up(&f->m, EXIT_FAILED, "cannot start: out of memory");
    return EXIT_DONE;
}

/* Last, and for the file thread and nanomsg's as well. Those stay on the whole of -cpus, this thread takes its core. */
static int filter_calls(struct family *f)
{
    const struct config *c = f->m.config;
    cpus_take(&c->cpus, config_dispatchers(c) + f->m.self.slot);
    int err = sandbox_calls(SANDBOX_SHARD, c->seccomp);
    return err == SC_OK
               ? EXIT_DONE
               : member_give_up(&f->m, EXIT_FAILED, "cannot install the seccomp filter: %s; -seccomp=none does without",
                                strerror(errno));
}

static const char *layout_of_shard(char *out, size_t cap)
{
    char common[LAYOUT_TEXT];
    (void)snprintf(out, cap, "%s arena %d", layout_common(common), ARENA_LAYOUT);
    return out;
}

/* outside: what a supervisor that is not shardcap said; NULL = fd 3 is the attach socket. */
struct outside {
    uint32_t slot;
    const char *rundir;
};

static int shard_main(const struct outside *outside)
{
    static struct family f;
    char layout[LAYOUT_TEXT + 16];
    pid_t parent = getppid();
    int sock = PROTO_FD, status = EXIT_DONE;
    (void)prctl(PR_SET_NAME, "shardcap-shard"); /* exec by fd may have left a number */
    log_init("shard", -1, LOG_INFO_LEVEL, LOG_TEXT);
    log_never_block(true);
    log_wipe_status();
    if (outside)
        status = member_claim(outside->slot, outside->rundir, layout_of_shard(layout, sizeof(layout)), &sock);
    if (status == EXIT_DONE)
        status = member_join(&f.m, sock, outside ? outside->rundir : NULL, parent);
    if (status == EXIT_DONE && outside)
        lastword_keep(f.m.deps.page, f.m.self.generation);
    if (status == EXIT_DONE) {
        cpus_enter(&f.m.config->cpus);
        status = open_lookup(&f);
    }
    if (status == EXIT_DONE)
        status = open_shard(&f);
    if (status == EXIT_DONE)
        status = open_feed(&f);
    if (status == EXIT_DONE)
        status = open_loop(&f);
    if (status == EXIT_DONE)
        status = filter_calls(&f);
    if (status == EXIT_DONE)
        status = run(&f);
    evloop_free(f.loop);
    busfeed_free(f.feed);
    shard_free(f.shard);
    uuid_lookup_free(f.lookup);
    proto_attachment_free(&f.m.self);
    return status;
}

/* The value of "-name value", "-name=value" or either with "--"; NULL if the argument at *at is another. */
static const char *option(int argc, char **argv, int *at, const char *name)
{
    const char *word = argv[*at];
    size_t n = strlen(name);
    if (!word || word[0] != '-')
        return NULL;
    word += word[1] == '-' ? 2 : 1;
    if (strncmp(word, name, n) != 0)
        return NULL;
    if (word[n] == '=')
        return word + n + 1;
    return word[n] == '\0' && *at + 1 < argc ? argv[++*at] : NULL;
}

static bool parse_outside(int argc, char **argv, struct outside *out)
{
    for (int at = 1; at < argc; at++) {
        const char *slot = option(argc, argv, &at, "slot");
        const char *rundir = slot ? NULL : option(argc, argv, &at, "rundir");
        if (rundir && strlen(rundir) < CONFIG_PATH)
            out->rundir = rundir;
        else if (slot && *slot && strlen(slot) < 6 && slot[strspn(slot, "0123456789")] == '\0')
            out->slot = (uint32_t)strtoul(slot, NULL, 10);
        else
            return false;
    }
    return out->rundir && out->rundir[0] && out->slot != UINT32_MAX;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "-version") == 0) {
        printf("shardcap-shard %s (%s) gzip by %s\n", version_text(), version_commit(), version_codecs());
        return EXIT_DONE;
    }
    if (argc == 2 && strcmp(argv[1], "-layout") == 0) {
        char layout[LAYOUT_TEXT + 16];
        puts(layout_of_shard(layout, sizeof(layout)));
        return EXIT_DONE;
    }
    struct outside outside = {.slot = UINT32_MAX};
    if (argc == 1)
        return shard_main(NULL);
    if (parse_outside(argc, argv, &outside))
        return shard_main(&outside);
    (void)fprintf(
        stderr,
        "shardcap-shard takes -version, -layout, or both -slot N and -rundir DIR (for a shardcap that runs with "
        "-shards.external); else it is started by shardcap\n");
    return EXIT_USAGE;
}
