/* SPDX-License-Identifier: Apache-2.0
 * The whole hub as a process, with this test as its supervisor: memory, attach socket, stop and kill. The program runs
 * itself anew as the hub (nanomsg does not survive a fork without exec). Waits are bounded and end with their
 * condition. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dispatcher/hub/hub.h"
#include "shared/bus.h"
#include "shared/config.h"
#include "shared/counters.h"
#include "shared/flowevent.h"
#include "shared/proto.h"
#include "shared/shm.h"
#include "tests/unit/skip.h"

#define SHARDS 2
#define WAIT_MS 10000

static char program[PATH_MAX]; /* this one; /proc/self/exe may name the tool that runs it */

static const char event_line[] =
    "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48.123456789Z\",\"UUID\":\"ndt-4c6fb_1625899199_00000000013A4623\","
    "\"ID\":{\"SPort\":443,\"DPort\":51234,\"SrcIP\":\"192.0.2.10\",\"DstIP\":\"198.51.100.7\",\"Interface\":0,"
    "\"Cookie\":20596259}}";

static struct {
    char dir[64], events[96];
    struct config *config;
    struct supervisor_page *supervisor;
    struct hub_page *hub;
    int config_fd, supervisor_fd, dispatcher_fd, hub_fd, journal_fd, shard_fd[SHARDS], http_fd;
    int attach;
    pid_t pid;
    uint32_t generation;
    struct sockaddr_in http;
    int kept[ROLE_LAST + 1]; /* fds of PROTO_KEEP by role; 0 = none */
} w;

/* ---- the supervisor's part ---- */

static int page(const char *name, size_t bytes, uint32_t magic, void **map)
{
    int fd = shm_create(name, bytes);
    size_t len;
    uint32_t *p = fd < 0 ? NULL : shm_map(fd, true, &len);
    if (!p)
        return -1;
    if (magic) {
        p[0] = magic;
        p[1] = COUNTERS_LAYOUT;
    }
    *map = p;
    return fd;
}

static int listen_http(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof w.http;
    w.http = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (bind(fd, (struct sockaddr *)&w.http, len) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&w.http, &len) < 0)
        return -1;
    return fd;
}

static int set_up(void **state)
{
    (void)state;
    void *map = NULL;
    memset(&w, 0, sizeof w);
    strcpy(w.dir, "/tmp/test_hub.XXXXXX");
    if (!mkdtemp(w.dir))
        return -1;
    (void)snprintf(w.events, sizeof w.events, "%s/tcpinfo.sock", w.dir);
    w.config_fd = page("config", sizeof *w.config, 0, &map);
    w.config = map;
    config_init(w.config);
    w.config->shards = SHARDS;
    w.config->hash_key = (struct siphash_key){3, 4};
    w.config->uuidwaitduration_ns = 5 * NS_PER_SEC;
    w.config->log_level = LOG_ERROR_LEVEL;
    strcpy(w.config->rundir, w.dir);
    w.supervisor_fd = page("supervisor", sizeof *w.supervisor, SUPERVISOR_PAGE_MAGIC, &map);
    w.supervisor = map;
    w.dispatcher_fd = page("dispatcher", sizeof(struct dispatcher_page), DISPATCHER_PAGE_MAGIC, &map);
    w.hub_fd = page("hub", sizeof *w.hub, HUB_PAGE_MAGIC, &map);
    w.hub = map;
    for (int i = 0; i < SHARDS; i++)
        w.shard_fd[i] = page("shard", sizeof(struct shard_page), 0, &map);
    w.journal_fd = shm_create("journal", BUS_JOURNAL_BYTES);
    w.http_fd = listen_http();
    return w.journal_fd < 0 || w.http_fd < 0 ? -1 : 0;
}

static void send_fds(int sock)
{
    struct proto_msg m = {.type = PROTO_FDS, .generation = w.generation};
    int fds[16];
    const struct proto_fd all[] = {
        {ROLE_CONFIG, 0, w.config_fd},
        {ROLE_SUPERVISOR_PAGE, 0, w.supervisor_fd},
        {ROLE_DISPATCHER_PAGE, 0, w.dispatcher_fd},
        {ROLE_HUB_PAGE, 0, w.hub_fd},
        {ROLE_JOURNAL, 0, w.journal_fd},
        {ROLE_HTTP, 0, w.http_fd},
        {ROLE_SHARD_PAGE, 0, w.shard_fd[0]},
        {ROLE_SHARD_PAGE, 1, w.shard_fd[1]},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        m.names[i] = (struct proto_fd_name){all[i].role, all[i].index};
        fds[i] = all[i].fd;
    }
    m.fd_count = sizeof all / sizeof all[0];
    for (unsigned role = 0; role <= ROLE_LAST; role++)
        if (w.kept[role]) {
            m.names[m.fd_count] = (struct proto_fd_name){(uint16_t)role, 0};
            fds[m.fd_count++] = w.kept[role];
        }
    assert_int_equal(proto_send(sock, &m, fds), SC_OK);
    struct proto_msg done = {.type = PROTO_ATTACHED, .generation = w.generation, .value = m.fd_count};
    assert_int_equal(proto_send(sock, &done, NULL), SC_OK);
}

static void spawn_hub(void)
{
    int pair[2];
    w.generation++;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    w.pid = fork();
    assert_true(w.pid >= 0);
    if (w.pid == 0) {
        if (pair[1] != PROTO_FD)
            (void)dup2(pair[1], PROTO_FD);
        else
            (void)fcntl(PROTO_FD, F_SETFD, 0);
        (void)execl(program, "shardcap-hub", "--be-the-hub", (char *)NULL);
        _exit(99);
    }
    (void)close(pair[1]);
    w.attach = pair[0];
    send_fds(w.attach);
}

/* Takes what the hub wants kept; other messages are the test's business. */
static bool keep(const struct proto_msg *m, const int *fds)
{
    if (m->type != PROTO_KEEP)
        return false;
    assert_int_equal(m->fd_count, 1);
    if (w.kept[m->names[0].role])
        (void)close(w.kept[m->names[0].role]);
    w.kept[m->names[0].role] = fds[0];
    return true;
}

static void next_message(struct proto_msg *m)
{
    int fds[PROTO_FDS_PER_MSG];
    struct pollfd p = {.fd = w.attach, .events = POLLIN};
    do {
        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        assert_int_equal(proto_recv(w.attach, m, fds), SC_OK);
        assert_int_equal(m->generation, w.generation);
    } while (keep(m, fds));
}

static void start_hub(void)
{
    struct proto_msg m;
    spawn_hub();
    next_message(&m);
    if (m.type != PROTO_READY)
        fail_msg("not ready: %s", m.text);
}

/* Waits for the hub's end; returns the wait status. The test program's own time limit bounds it. */
static int reap(void)
{
    int status = -1;
    struct proto_msg m;
    int fds[PROTO_FDS_PER_MSG];
    assert_int_equal(waitpid(w.pid, &status, 0), w.pid);
    w.pid = 0;
    while (proto_recv(w.attach, &m, fds) == SC_OK) /* its last words */
        (void)keep(&m, fds);
    (void)close(w.attach);
    return status;
}

static int stop_hub(void)
{
    struct proto_msg m = {.type = PROTO_STOP, .generation = w.generation};
    assert_int_equal(proto_send(w.attach, &m, NULL), SC_OK);
    return reap();
}

static void remove_below(const char *name)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", w.dir, name);
    (void)remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    if (w.pid > 0) {
        (void)kill(w.pid, SIGKILL);
        (void)reap();
    }
    static const char *const names[] = {"bus/00.sock", "bus/01.sock", "bus/replay.sock", "bus", "ctl.sock",
                                        "inject.sock", "events.sock", "tcpinfo.sock",    ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        remove_below(names[i]);
    const int fds[] = {w.config_fd,  w.supervisor_fd, w.dispatcher_fd, w.hub_fd,
                       w.journal_fd, w.shard_fd[0],   w.shard_fd[1],   w.http_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        (void)close(fds[i]);
    for (int role = 0; role <= ROLE_LAST; role++)
        if (w.kept[role])
            (void)close(w.kept[role]);
    return 0;
}

/* ---- clients ---- */

static struct bus *dial(enum bus_kind kind, const char *name)
{
    char path[BUS_PATH], error[BUS_ERROR];
    assert_int_equal(bus_path(path, w.dir, name), SC_OK);
    struct bus *b = bus_connect(kind, path, error);
    assert_non_null(b);
    return b;
}

static const char *ask_at(const char *name, const char *request)
{
    static char answer[BUS_PAGE_MAX + 1];
    struct bus *b = dial(BUS_REQ, name);
    void *bytes;
    size_t len;
    assert_int_equal(bus_send(b, request, strlen(request)), SC_OK);
    assert_int_equal(bus_recv_wait(b, WAIT_MS, &bytes, &len), SC_OK);
    assert_true(len < sizeof answer);
    memcpy(answer, bytes, len);
    answer[len] = '\0';
    bus_free(bytes);
    bus_close(b);
    return answer;
}

static const char *ask(const char *request)
{
    return ask_at("ctl.sock", request);
}

static void starts(const char *text, const char *with)
{
    if (strncmp(text, with, strlen(with)) != 0)
        fail_msg("\"%.100s\" does not begin with \"%s\"", text, with);
}

static unsigned long long inject(unsigned *shard)
{
    unsigned long long seq = 0;
    char request[1024];
    (void)snprintf(request, sizeof request, "uuid.open %s", event_line);
    assert_int_equal(sscanf(ask(request), "ok shard=%u seq=%llu", shard, &seq), 2);
    return seq;
}

/* The next page of a subscriber that has at least min_count lines and whose numbers reach up to `next`. */
static void page_with(struct bus *sub, uint32_t min_count, uint64_t next, char *lines)
{
    for (int i = 0; i < 1000; i++) {
        void *bytes;
        size_t len;
        struct bus_page p;
        assert_int_equal(bus_recv_wait(sub, WAIT_MS, &bytes, &len), SC_OK);
        assert_int_equal(bus_page_parse(bytes, len, &p), SC_OK);
        bool found = p.count >= min_count && p.seq + p.count == next;
        if (found && lines) {
            memcpy(lines, p.lines, p.lines_len);
            lines[p.lines_len] = '\0';
        }
        bus_free(bytes);
        if (found)
            return;
    }
    fail_msg("the page never came");
}

static const char *get(const char *path)
{
    static char answer[1 << 20];
    char request[128];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&w.http, sizeof w.http), 0);
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    assert_int_equal(send(fd, request, (size_t)n, 0), n);
    size_t len = 0;
    ssize_t got;
    while ((got = recv(fd, answer + len, sizeof answer - 1 - len, 0)) > 0)
        len += (size_t)got;
    answer[len] = '\0';
    (void)close(fd);
    return answer;
}

/* ---- tests ---- */

static void serves_and_stops(void **state)
{
    (void)state;
    start_hub();
    static const struct {
        const char *name;
        mode_t mode;
    } sockets[] = {{"bus/00.sock", 0600}, {"bus/01.sock", 0600}, {"bus/replay.sock", 0600},
                   {"ctl.sock", 0660},    {"inject.sock", 0660}, {"events.sock", 0660}};
    for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++) {
        char path[BUS_PATH];
        struct stat st;
        assert_int_equal(bus_path(path, w.dir, sockets[i].name), SC_OK);
        assert_int_equal(stat(path, &st), 0);
        assert_true(S_ISSOCK(st.st_mode));
        assert_int_equal(st.st_mode & 0777, sockets[i].mode);
    }
    starts(ask("status"), "{\"version\":\"");
    starts(ask("nonsense"), "error usage: ");

    starts(get("/healthz"), "HTTP/1.1 200 OK\r\n");
    starts(get("/readyz"), "HTTP/1.1 503 ");
    counter_set(&w.supervisor->ready, 1);
    starts(get("/readyz"), "HTTP/1.1 200 OK\r\n");
    counter_set(&w.supervisor->draining, 1);
    starts(get("/readyz"), "HTTP/1.1 503 ");
    starts(get("/nothing"), "HTTP/1.1 404 ");
    starts(get("/"), "HTTP/1.1 200 OK\r\n");
    const char *metrics = get("/metrics");
    starts(metrics, "HTTP/1.1 200 OK\r\n");
    assert_non_null(strstr(metrics, "\nprocess_resident_memory_bytes "));
    assert_null(strstr(metrics, "\nprocess_resident_memory_bytes 0\n")); /* at least its parent's */
    assert_true(counter_get(&w.hub->heartbeat) > 0);
    assert_int_equal(atomic_load(&w.hub->generation), w.generation);
    assert_int_equal(stop_hub(), 0);
}

static void events_reach_their_shard(void **state)
{
    (void)state;
    start_hub();
    unsigned shard;
    char name[32], lines[BUS_PAGE_MAX];
    assert_int_equal(inject(&shard), 1);
    struct flowevent ev;
    assert_int_equal(flowevent_parse(event_line, sizeof event_line - 1, &ev), FLOWEVENT_GOOD);
    assert_int_equal(shard, flowkey_shard(flowkey_hash(&ev.key, &w.config->hash_key), SHARDS));

    (void)snprintf(name, sizeof name, "bus/%02u.sock", shard);
    struct bus *sub = dial(BUS_SUB, name);
    page_with(sub, 0, 2, NULL); /* the heartbeat says what was missed */
    assert_int_equal(inject(&shard), 2);
    page_with(sub, 1, 3, lines);
    starts(lines, event_line);

    /* inject.sock: no answer, but the same way */
    struct bus *push = dial(BUS_PUSH, "inject.sock");
    int rc = SC_EAGAIN;
    for (int i = 0; i < 1000 && rc == SC_EAGAIN; i++) {
        rc = bus_send(push, event_line, sizeof event_line - 1);
        (void)poll(NULL, 0, rc == SC_EAGAIN ? 10 : 0); /* nanomsg tells nothing about a connection but by sending */
    }
    assert_int_equal(rc, SC_OK);
    page_with(sub, 1, 4, NULL);
    bus_close(push);

    /* replay */
    char request[64], want[64];
    (void)snprintf(request, sizeof request, "replay %u 0 1", shard);
    unsigned long long epoch;
    assert_int_equal(sscanf(ask_at("bus/replay.sock", request), "%llu 1 3\n", &epoch), 1);
    (void)snprintf(request, sizeof request, "replay %u %llu 4", shard, epoch);
    (void)snprintf(want, sizeof want, "%llu 4 0\n", epoch);
    assert_string_equal(ask_at("bus/replay.sock", request), want);
    starts(ask(request), "error usage: "); /* people are not told */
    bus_close(sub);
    assert_int_equal(stop_hub(), 0);
}

static void killed_and_restarted(void **state)
{
    (void)state;
    unsigned shard;
    char name[32], request[64];
    unsigned long long epoch, again;
    start_hub();
    assert_int_equal(inject(&shard), 1);
    (void)snprintf(name, sizeof name, "bus/%02u.sock", shard);
    (void)snprintf(request, sizeof request, "replay %u 0 1", shard);
    assert_int_equal(sscanf(ask_at("bus/replay.sock", request), "%llu 1 1\n", &epoch), 1);
    struct bus *sub = dial(BUS_SUB, name);
    page_with(sub, 0, 2, NULL);
    assert_int_equal(kill(w.pid, SIGKILL), 0);
    assert_true(WIFSIGNALED(reap()));

    start_hub();
    assert_int_equal(sscanf(ask_at("bus/replay.sock", request), "%llu 1 1\n", &again), 1);
    assert_true(again == epoch);
    assert_int_equal(inject(&shard), 2);
    page_with(sub, 0, 3, NULL); /* the subscriber came back by itself */
    bus_close(sub);

    /* SIGTERM: at once, a successor goes on; and the end of the attach socket. */
    assert_int_equal(kill(w.pid, SIGTERM), 0);
    assert_int_equal(reap(), 0);
    start_hub();
    assert_int_equal(inject(&shard), 3);
    assert_int_equal(shutdown(w.attach, SHUT_RDWR), 0);
    assert_int_equal(reap(), 0);
}

static int listen_events(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, w.events, strlen(w.events) + 1);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 1), 0);
    return listener;
}

static void event_socket(void **state)
{
    (void)state;
    strcpy(w.config->eventsocket, w.events);
    start_hub();
    struct bus *sub[SHARDS] = {dial(BUS_SUB, "bus/00.sock"), dial(BUS_SUB, "bus/01.sock")};
    for (int i = 0; i < SHARDS; i++)
        page_with(sub[i], 0, 1, NULL);

    int listener = listen_events();
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    static const char bad[] = "garbage\n\n";
    assert_int_equal(write(fd, bad, sizeof bad - 1), sizeof bad - 1);
    assert_int_equal(write(fd, event_line, sizeof event_line - 1), sizeof event_line - 1);
    assert_int_equal(write(fd, "\n", 1), 1);
    struct flowevent ev;
    assert_int_equal(flowevent_parse(event_line, sizeof event_line - 1, &ev), FLOWEVENT_GOOD);
    unsigned shard = flowkey_shard(flowkey_hash(&ev.key, &w.config->hash_key), SHARDS);
    page_with(sub[shard], 0, 2, NULL);
    assert_int_equal(counter_get(&w.hub->bad_events[FLOWEVENT_BADJSON]), 2);
    assert_int_equal(counter_get(&w.hub->events), 1);
    assert_int_equal(counter_get(&w.hub->eventsocket_up), 1);
    for (int i = 0; i < SHARDS; i++)
        bus_close(sub[i]);
    (void)close(fd);
    (void)close(listener);
    assert_int_equal(stop_hub(), 0);
}

static bool counts(const counter *c, uint64_t want)
{
    for (int i = 0; i < WAIT_MS && counter_get(c) < want; i++)
        (void)poll(NULL, 0, 1);
    return counter_get(c) >= want;
}

static void kill_hub(void)
{
    assert_int_equal(kill(w.pid, SIGKILL), 0);
    assert_true(WIFSIGNALED(reap()));
}

/* Half a line is read when the hub is killed; the rest, and more, is sent while there is none. */
static void event_socket_outlives_a_hub(void **state)
{
    (void)state;
    strcpy(w.config->eventsocket, w.events);
    int listener = listen_events();
    start_hub();
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    size_t half = sizeof event_line / 2;
    assert_int_equal(write(fd, "garbage\n", 8), 8);
    assert_int_equal(write(fd, event_line, half), half);
    assert_true(counts(&w.hub->bad_events[FLOWEVENT_BADJSON], 1));
    kill_hub();
    assert_int_equal(write(fd, event_line + half, sizeof event_line - 1 - half), sizeof event_line - 1 - half);
    assert_int_equal(write(fd, "\n", 1), 1);
    start_hub();
    assert_true(counts(&w.hub->events, 1));
    kill_hub();
    assert_int_equal(write(fd, event_line, sizeof event_line - 1), sizeof event_line - 1);
    assert_int_equal(write(fd, "\n", 1), 1);
    start_hub();
    assert_true(counts(&w.hub->events, 2));
    assert_int_equal(counter_get(&w.hub->eventsocket_connects), 1);
    assert_int_equal(counter_get(&w.hub->eventsocket_up), 1);
    assert_int_equal(counter_get(&w.hub->bad_events[FLOWEVENT_BADJSON]), 1);
    assert_int_equal(stop_hub(), 0);
    (void)close(fd);
    (void)close(listener);
}

/* A connection to ourselves; *cookie_r is the server's. */
static void connect_tcp(int end[2], uint64_t *cookie_r)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a, size = sizeof *cookie_r;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    end[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(end[0], (struct sockaddr *)&a, sizeof a), 0);
    end[1] = accept(listener, NULL, NULL);
    assert_int_equal(getsockopt(end[1], SOL_SOCKET, SO_COOKIE, cookie_r, &size), 0);
    (void)close(listener);
}

/* Is there an event with this text in the journal, for any shard? */
static bool journalled(const char *text)
{
    for (unsigned shard = 0; shard < SHARDS; shard++) {
        unsigned long long epoch = 0, seq = 1;
        unsigned count = 1;
        while (count > 0) {
            char request[80];
            (void)snprintf(request, sizeof request, "replay %u %llu %llu", shard, epoch, seq);
            const char *page = ask_at("bus/replay.sock", request);
            assert_int_equal(sscanf(page, "%llu %llu %u\n", &epoch, &seq, &count), 3);
            if (strstr(page, text))
                return true;
            seq += count;
        }
    }
    return false;
}

/* Sockets that end while no hub is there are told to the next one. */
static void destroy_feed_outlives_a_hub(void **state)
{
    (void)state;
    int end[2];
    uint64_t cookie;
    char uuid[64];
    w.config->uuid_sources = UUID_SOURCE_KERNEL;
    w.config->kernel_destroy = true;
    strcpy(w.config->kernel_prefix.text, "host_1");
    start_hub();
    assert_true(w.kept[ROLE_DESTROYFEED] > 0);
    connect_tcp(end, &cookie);
    (void)snprintf(uuid, sizeof uuid, "\"host_1_%016llX\"", (unsigned long long)cookie);
    kill_hub();
    (void)close(end[0]);
    (void)close(end[1]);
    start_hub();
    bool found = false; /* others' sockets end meanwhile, too: only this one counts */
    for (int i = 0; i < 1000 && !(found = journalled(uuid)); i++)
        (void)poll(NULL, 0, 10);
    assert_true(found);
    assert_int_equal(stop_hub(), 0);
}

/* Takes the command that the hub brings. */
static void be_asked(struct proto_msg *m)
{
    int fds[PROTO_FDS_PER_MSG];
    struct pollfd p = {.fd = w.attach, .events = POLLIN};
    do {
        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        assert_int_equal(proto_recv(w.attach, m, fds), SC_OK);
        for (unsigned i = 0; i < m->fd_count; i++)
            (void)close(fds[i]);
    } while (m->type != PROTO_ASK); /* it may have something to keep */
    m->fd_count = 0;
}

static void give_answer(struct proto_msg m, int64_t number, const char *text)
{
    m.type = PROTO_ANSWER;
    m.value = number;
    memset(m.text, 0, sizeof m.text);
    strcpy(m.text, text);
    assert_int_equal(proto_send(w.attach, &m, NULL), SC_OK);
}

/* A command for the supervisor: its answer reaches the one who asked; while it is open everything else goes on, the
 * next one on ctl.sock waits, and a supervisor that says nothing is not waited for without end. */
static void commands_for_the_supervisor(void **state)
{
    (void)state;
    struct proto_msg m;
    void *bytes;
    size_t len;
    start_hub();
    struct bus *first = dial(BUS_REQ, "ctl.sock");
    assert_int_equal(bus_send(first, "restart 1", 9), SC_OK);
    be_asked(&m);
    assert_string_equal(m.text, "restart 1");
    starts(ask_at("bus/replay.sock", "replay 0 0 0"), ""); /* answered, whatever it says */
    struct bus *second = dial(BUS_REQ, "ctl.sock");
    assert_int_equal(bus_send(second, "status", 6), SC_OK);
    give_answer(m, m.value + 1, "ok to another question");
    give_answer(m, m.value, "ok restarting shard[1] generation=5");
    assert_int_equal(bus_recv_wait(first, WAIT_MS, &bytes, &len), SC_OK);
    assert_memory_equal(bytes, "ok restarting shard[1] generation=5", len);
    assert_int_equal(len, 35);
    bus_free(bytes);
    assert_int_equal(bus_recv_wait(second, WAIT_MS, &bytes, &len), SC_OK);
    assert_memory_equal(bytes, "{\"version\"", 10);
    bus_free(bytes);
    assert_int_equal(bus_send(first, "drain", 5), SC_OK);
    be_asked(&m);
    assert_int_equal(bus_recv_wait(first, WAIT_MS, &bytes, &len), SC_OK); /* from the hub itself */
    assert_memory_equal(bytes, "error timeout: ", 15);
    bus_free(bytes);
    give_answer(m, m.value, "ok too late");
    starts(ask("status"), "{\"version\"");
    bus_close(first);
    bus_close(second);
    m = (struct proto_msg){.type = PROTO_LEAVE, .generation = w.generation};
    assert_int_equal(proto_send(w.attach, &m, NULL), SC_OK);
    assert_int_equal(reap(), 0);
}

static void garbage_on_ctl(void **state)
{
    (void)state;
    start_hub();
    uint32_t x = 2463534242;
    struct bus *b = dial(BUS_REQ, "ctl.sock");
    for (int i = 0; i < 200; i++) {
        char noise[300];
        for (size_t n = 0; n < sizeof noise; n++) {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            noise[n] = (char)x;
        }
        void *bytes;
        size_t len;
        assert_int_equal(bus_send(b, noise, (size_t)i), SC_OK);
        assert_int_equal(bus_recv_wait(b, WAIT_MS, &bytes, &len), SC_OK);
        assert_true(len > 0);
        bus_free(bytes);
    }
    bus_close(b);
    /* A peer that asks and does not wait, and one of the wrong kind. */
    for (int i = 0; i < 20; i++) {
        b = dial(i % 2 ? BUS_REQ : BUS_PUSH, "ctl.sock");
        (void)!bus_send(b, "status", 6);
        bus_close(b);
    }
    unsigned shard;
    assert_int_equal(inject(&shard), 1);
    assert_int_equal(stop_hub(), 0);
}

/* The line of the manual, word for word. */
static void nanocat_line(void **state)
{
    (void)state;
    if (access("/usr/bin/nanocat", X_OK) != 0)
        SKIP_BECAUSE("nanocat is not installed");
    start_hub();
    char command[2048], answer[256] = "";
    (void)snprintf(command, sizeof command,
                   "nanocat --req --connect ipc://%s/ctl.sock -A --recv-timeout 2 --send-timeout 2 -D 'uuid.open %s'",
                   w.dir, event_line);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(answer, sizeof answer, f));
    starts(answer, "ok shard=");
    (void)pclose(f);
    assert_int_equal(stop_hub(), 0);
}

static void says_why_it_cannot(void **state)
{
    (void)state;
    struct proto_msg m;
    memset(w.config->rundir, 'd', 150);
    w.config->rundir[0] = '/';
    spawn_hub();
    next_message(&m);
    assert_int_equal(m.type, PROTO_FAILED);
    assert_int_equal(m.value, EXIT_FAILED);
    assert_non_null(strstr(m.text, "-rundir"));
    int status = reap();
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILED);

    w.config->layout++; /* made by another build */
    spawn_hub();
    next_message(&m);
    assert_int_equal(m.type, PROTO_FAILED);
    assert_non_null(strstr(m.text, "configuration"));
    status = reap();
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CONFIG);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--be-the-hub") == 0)
        return hub_run(PROTO_FD);
    if (!realpath(argv[0], program))
        return 1;
    (void)alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(serves_and_stops, set_up, tear_down),
        cmocka_unit_test_setup_teardown(events_reach_their_shard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_and_restarted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(event_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(event_socket_outlives_a_hub, set_up, tear_down),
        cmocka_unit_test_setup_teardown(destroy_feed_outlives_a_hub, set_up, tear_down),

        cmocka_unit_test_setup_teardown(commands_for_the_supervisor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(garbage_on_ctl, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nanocat_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_why_it_cannot, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hub", tests, NULL, NULL);
}
