/* SPDX-License-Identifier: Apache-2.0
 * The event socket's client against a server of the test's own: late, restarted, cut off in the middle of a line,
 * flooding. The loop is turned until the condition holds (bounded by a number of turns). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "dispatcher/hub/eventsocket.h"
#include "dispatcher/hub/halfline.h"
#include "shared/flowevent.h"
#include "shared/log.h"

#define TURNS_MAX 2000 /* of at most 10 ms each */

static char dir[64], path[96];
static struct evloop *loop;
static struct hub_page counters;
static struct eventsocket *client;
static int listener = -1;
static uint64_t memory[HALFLINE_BYTES / sizeof(uint64_t)];
static int kept = -1; /* what the supervisor would hold */

static unsigned lines_seen, too_long_seen;
static char last[256];

static void on_line(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    lines_seen++;
    size_t n = len < sizeof last - 1 ? len : sizeof last - 1;
    memcpy(last, line, n);
    last[n] = '\0';
}

static void on_too_long(void *ctx)
{
    (void)ctx;
    too_long_seen++;
}

static void keep(void *ctx, int fd)
{
    (void)ctx;
    if (kept >= 0)
        (void)close(kept);
    kept = dup(fd);
    assert_true(kept >= 0);
}

static struct eventsocket *new_client(const char *at, int fd)
{
    struct eventsocket_setup setup = {.loop = loop,
                                      .clock = clock_system(),
                                      .path = at,
                                      .memory = memory,
                                      .fd = fd,
                                      .counters = &counters,
                                      .on_line = on_line,
                                      .on_too_long = on_too_long,
                                      .keep = keep};
    return eventsocket_new(&setup);
}

static void turn_until(bool (*done)(unsigned want), unsigned want)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        if (done(want))
            return;
        evloop_turn(loop, 10 * NS_PER_MS);
    }
    fail_msg("the condition never held");
}

static bool connected(unsigned want)
{
    return counter_get(&counters.eventsocket_connects) == want && counter_get(&counters.eventsocket_up) == 1;
}

static bool disconnected(unsigned want)
{
    (void)want;
    return counter_get(&counters.eventsocket_up) == 0;
}

static bool lines_are(unsigned want)
{
    return lines_seen == want;
}

static bool too_long_are(unsigned want)
{
    return too_long_seen == want;
}

static int listen_now(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, path, strlen(path) + 1);
    (void)unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_eventsocket.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/events.sock", dir);
    memset(&counters, 0, sizeof counters);
    lines_seen = too_long_seen = 0;
    last[0] = '\0';
    loop = evloop_new();
    memset(memory, 0, sizeof memory);
    client = new_client(path, -1);
    return loop && client ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    eventsocket_free(client);
    evloop_free(loop);
    if (listener >= 0)
        (void)close(listener);
    listener = -1;
    (void)unlink(path);
    (void)rmdir(dir);
    if (kept >= 0)
        (void)close(kept);
    kept = -1;
    return 0;
}

static void connects_late_and_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) /* nobody is there yet */
        evloop_turn(loop, 10 * NS_PER_MS);
    assert_int_equal(counter_get(&counters.eventsocket_up), 0);
    listener = listen_now();
    turn_until(connected, 1);
    int fd = accept(listener, NULL, NULL);
    put(fd, "one\ntwo\r\n");
    turn_until(lines_are, 2);
    assert_int_equal(close(fd), 0);
    turn_until(disconnected, 0);

    /* The server itself restarts. */
    (void)close(listener);
    listener = listen_now();
    turn_until(connected, 2);
    fd = accept(listener, NULL, NULL);
    put(fd, "three\n");
    turn_until(lines_are, 3);
    assert_string_equal(last, "three");
    (void)close(fd);
}

static void half_lines(void **state)
{
    (void)state;
    listener = listen_now();
    turn_until(connected, 1);
    int fd = accept(listener, NULL, NULL);
    put(fd, "be");
    evloop_turn(loop, 10 * NS_PER_MS);
    assert_int_equal(lines_seen, 0);
    put(fd, "gin\nen");
    turn_until(lines_are, 1);
    assert_string_equal(last, "begin");
    (void)close(fd);
    turn_until(lines_are, 2); /* what was there at the end is for the parser to judge */
    assert_string_equal(last, "en");
    turn_until(connected, 2);
    fd = accept(listener, NULL, NULL);
    put(fd, "d\n"); /* nothing of the first connection sticks to it */
    turn_until(lines_are, 3);
    assert_string_equal(last, "d");
    (void)close(fd);
}

/* Hostile input 38: the next good line works. */
static void over_long_line(void **state)
{
    (void)state;
    listener = listen_now();
    turn_until(connected, 1);
    int fd = accept(listener, NULL, NULL);
    char block[1024];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(write(fd, block, sizeof block), sizeof block);
        evloop_turn(loop, 0);
    }
    put(fd, "\nnext\n");
    turn_until(lines_are, 1);
    turn_until(too_long_are, 1);
    assert_string_equal(last, "next");
    assert_int_equal(counter_get(&counters.eventsocket_connects), 1);
    (void)close(fd);
}

static void bytes_of_any_kind(void **state)
{
    (void)state;
    listener = listen_now();
    turn_until(connected, 1);
    int fd = accept(listener, NULL, NULL);
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    assert_int_equal(write(fd, all, sizeof all), sizeof all);
    put(fd, "\ngood\n");
    turn_until(lines_are, 3);
    assert_string_equal(last, "good");
    (void)close(fd);
}

/* The process is gone, its memory and the supervisor's copy of the fd are there. */
static void die_and_succeed(void)
{
    int fd = dup(kept);
    eventsocket_free(client);
    client = new_client(path, fd);
    assert_non_null(client);
}

static void a_successor_goes_on_with_the_connection(void **state)
{
    (void)state;
    listener = listen_now();
    turn_until(connected, 1);
    int fd = accept(listener, NULL, NULL);
    put(fd, "one\ntw");
    turn_until(lines_are, 1);
    die_and_succeed();
    assert_int_equal(counter_get(&counters.eventsocket_up), 1);
    put(fd, "o\nthree\n"); /* the second half, and more while nobody is there */
    die_and_succeed();
    turn_until(lines_are, 3);
    assert_string_equal(last, "three");
    assert_int_equal(counter_get(&counters.eventsocket_connects), 1);

    /* The server goes while nobody is there: what it sent is taken, then it is connected anew. */
    put(fd, "four\n");
    (void)close(fd);
    die_and_succeed();
    turn_until(lines_are, 4);
    turn_until(connected, 2);
    fd = accept(listener, NULL, NULL);
    put(fd, "five\n");
    turn_until(lines_are, 5);
    (void)close(fd);
}

static void a_connection_that_was_never_made(void **state)
{
    (void)state;
    evloop_turn(loop, 10 * NS_PER_MS); /* nobody is there: the kept fd is not connected */
    die_and_succeed();
    assert_int_equal(counter_get(&counters.eventsocket_up), 0);
    listener = listen_now();
    turn_until(connected, 1);
    int fd = accept(listener, NULL, NULL);
    put(fd, "one\n");
    turn_until(lines_are, 1);
    (void)close(fd);
}

static void waits_grow_to_five_seconds(void **state)
{
    (void)state;
    int64_t delay = EVENTSOCKET_RETRY_MIN;
    static const int64_t ms[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    for (size_t i = 0; i < sizeof ms / sizeof ms[0]; i++, delay = eventsocket_next_delay(delay))
        assert_int_equal(delay, ms[i] * NS_PER_MS);
}

static void path_too_long(void **state)
{
    (void)state;
    char longer[200];
    memset(longer, 'x', sizeof longer);
    longer[108] = '\0';
    assert_null(new_client(longer, -1));
}

int main(void)
{
    log_init("test", -1, LOG_ERROR_LEVEL, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(connects_late_and_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(half_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(over_long_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_of_any_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_successor_goes_on_with_the_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_connection_that_was_never_made, set_up, tear_down),
        cmocka_unit_test(waits_grow_to_five_seconds),
        cmocka_unit_test_setup_teardown(path_too_long, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hub/eventsocket", tests, NULL, NULL);
}
