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
#include "shared/flowevent.h"
#include "shared/log.h"

#define TURNS_MAX 2000 /* of at most 10 ms each */

static char dir[64], path[96];
static struct evloop *loop;
static struct hub_page counters;
static struct eventsocket *client;
static int listener = -1;

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
    struct eventsocket_setup setup = {loop, clock_system(), path, &counters, on_line, on_too_long, NULL};
    client = eventsocket_new(&setup);
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

static void path_too_long(void **state)
{
    (void)state;
    char longer[200];
    memset(longer, 'x', sizeof longer);
    longer[108] = '\0';
    struct eventsocket_setup setup = {loop, clock_system(), longer, &counters, on_line, on_too_long, NULL};
    assert_null(eventsocket_new(&setup));
}

int main(void)
{
    log_init("test", -1, LOG_ERROR_LEVEL, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(connects_late_and_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(half_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(over_long_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_of_any_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(path_too_long, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hub/eventsocket", tests, NULL, NULL);
}
