/* SPDX-License-Identifier: Apache-2.0
 * The server of -events.serve with real clients: everybody gets every line from the moment of connecting on; one that
 * does not read is cut and holds up nobody. The loop is turned until the condition holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dispatcher/hub/serve.h"
#include "shared/log.h"
#include "tests/unit/skip.h"

#define TURNS_MAX 20000

static char dir[64];
static struct sockaddr_un address;
static struct evloop *loop;
static struct hub_page counters;
static struct serve *s;

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_serve.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    memset(&counters, 0, sizeof counters);
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/s", dir);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 16) < 0)
        return -1;
    loop = evloop_new();
    s = serve_new(loop, clock_system(), listener, &counters);
    return loop && s ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    serve_free(s);
    evloop_free(loop);
    (void)unlink(address.sun_path);
    (void)rmdir(dir);
    return 0;
}

static void until_clients(unsigned n)
{
    for (int i = 0; i < TURNS_MAX && counter_get(&counters.serve_clients) != n; i++)
        evloop_turn(loop, NS_PER_MS);
    assert_int_equal(counter_get(&counters.serve_clients), n);
}

static int join(void)
{
    unsigned before = (unsigned)counter_get(&counters.serve_clients);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    until_clients(before + 1);
    return fd;
}

/* Reads exactly n bytes while the loop turns. */
static void expect(int fd, const char *want, size_t n)
{
    char *got = malloc(n + 1);
    size_t len = 0;
    for (int i = 0; i < TURNS_MAX && len < n; i++) {
        evloop_turn(loop, len ? 0 : NS_PER_MS);
        ssize_t r = read(fd, got + len, n + 1 - len);
        if (r > 0)
            len += (size_t)r;
    }
    assert_int_equal(len, n);
    assert_memory_equal(got, want, n);
    free(got);
}

static void tell(const char *line)
{
    serve_line(s, line, strlen(line));
}

static void from_the_moment_of_connecting_on(void **state)
{
    (void)state;
    assert_false(serve_wanted(s));
    tell("nobody\n");
    int one = join();
    assert_true(serve_wanted(s));
    tell("first\n");
    int two = join();
    tell("second\n");
    expect(one, "first\nsecond\n", 13);
    expect(two, "second\n", 7);
    assert_int_equal(write(one, "what is this\n", 13), 13); /* not an offence */
    (void)close(two);
    until_clients(1);
    tell("third\n");
    expect(one, "third\n", 6);
    assert_int_equal(counter_get(&counters.serve_cut), 0);
    assert_int_equal(counter_get(&counters.serve_lines), 3);
    (void)close(one);
    until_clients(0);
}

static int64_t mono_now(void)
{
    return clock_system()->mono(clock_system()->ctx).ns;
}

/* `nc -N -U PATH < /dev/null`, socat -u: the own direction is closed at once, and the other is read. */
static void half_closed_client_is_served_until_it_goes(void **state)
{
    (void)state;
    int fd = join();
    bool rested = false;
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    for (int i = 0; i < 100 && !rested; i++) { /* the loop does not spin on it */
        int64_t before = mono_now();
        evloop_turn(loop, 20 * NS_PER_MS);
        rested = mono_now() - before >= 15 * NS_PER_MS;
    }
    assert_true(rested);
    assert_int_equal(counter_get(&counters.serve_clients), 1);
    tell("still here\n");
    expect(fd, "still here\n", 11);
    (void)close(fd); /* without a line that would show it */
    until_clients(0);
    fd = join();
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    evloop_turn(loop, 0);
    (void)close(fd); /* at once */
    until_clients(0);
}

/* Several times the buffer, in lines of all lengths, read in pieces: not a byte is missing. */
static void the_buffer_goes_round(void **state)
{
    (void)state;
    int fd = join();
    unsigned seed = 7;
    static char line[5000], got[5000];
    for (unsigned i = 0; i < 8000; i++) {
        seed = seed * 1103515245u + 12345u;
        size_t len = 1 + (seed >> 8) % (sizeof line - 1);
        memset(line, 'a' + (int)(i % 26), len - 1);
        line[len - 1] = '\n';
        serve_line(s, line, len);
        size_t at = 0;
        for (int t = 0; t < TURNS_MAX && at < len; t++) {
            evloop_turn(loop, 0);
            ssize_t r = read(fd, got + at, len - at);
            at += r > 0 ? (size_t)r : 0;
        }
        assert_int_equal(at, len);
        assert_memory_equal(got, line, len);
    }
    assert_int_equal(counter_get(&counters.serve_cut), 0);
    (void)close(fd);
}

static void one_that_does_not_read_is_cut(void **state)
{
    (void)state;
    int slow = join(), quick = join();
    static char line[1000];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    for (unsigned i = 0; i < 3 * SERVE_ROOM / sizeof line; i++) {
        serve_line(s, line, sizeof line);
        expect(quick, line, sizeof line);
    }
    assert_int_equal(counter_get(&counters.serve_cut), 1);
    assert_int_equal(counter_get(&counters.serve_clients), 1);
    char buf[65536];
    ssize_t r;
    while ((r = read(slow, buf, sizeof buf)) > 0)
        continue;
    assert_int_equal(r, 0); /* it sees its end, and may come again */
    (void)close(slow);
    slow = join();
    tell("again\n");
    expect(slow, "again\n", 6);
    (void)close(slow);
    (void)close(quick);
}

static void no_more_than_its_places(void **state)
{
    (void)state;
    int fd[SERVE_CLIENTS];
    for (unsigned i = 0; i < SERVE_CLIENTS; i++)
        fd[i] = join();
    int more = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(more, (struct sockaddr *)&address, sizeof address), 0);
    char c;
    ssize_t r = -1;
    for (int i = 0; i < TURNS_MAX && r < 0; i++) {
        evloop_turn(loop, NS_PER_MS);
        r = read(more, &c, 1);
    }
    assert_int_equal(r, 0);
    (void)close(more);
    (void)close(fd[3]);
    until_clients(SERVE_CLIENTS - 1);
    fd[3] = join();
    for (unsigned i = 0; i < SERVE_CLIENTS; i++)
        (void)close(fd[i]);
    until_clients(0);
}

/* A loop that found the listener readable turn by turn would be through at once. */
static void without_descriptors_it_waits(void **state)
{
    SKIP_WHERE_LIMITS_OF_FDS_ARE_EMULATED();
    (void)state;
    struct rlimit was;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), lowest = dup(STDIN_FILENO);
    (void)close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)lowest, was.rlim_max}), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    const struct clock *clock = clock_system();
    int64_t began = clock->mono(clock->ctx).ns;
    for (int i = 0; i < 50; i++)
        evloop_turn(loop, 10 * NS_PER_MS);
    assert_true(clock->mono(clock->ctx).ns - began > 200 * NS_PER_MS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    until_clients(1);
    tell("there\n");
    expect(fd, "there\n", 6);
    (void)close(fd);
    until_clients(0);
}

int main(void)
{
    log_init("test", -1, LOG_ERROR_LEVEL, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(from_the_moment_of_connecting_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(half_closed_client_is_served_until_it_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_buffer_goes_round, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_does_not_read_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_than_its_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_descriptors_it_waits, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hub/serve", tests, NULL, NULL);
}
