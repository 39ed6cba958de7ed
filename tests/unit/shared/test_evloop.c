/* SPDX-License-Identifier: Apache-2.0
 * The event loop: readable fds, signals, timers, removal inside callbacks, turns. Waits for conditions,
 * never for time: a timer that must not fire is an hour away. */
#include "shared/evloop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define HOUR_NS INT64_C(3600000000000)

struct seen {
    struct evloop *loop;
    struct evsource *source, *other;
    int fd;
    int calls;
};

static void on_call(void *ctx)
{
    struct seen *s = ctx;
    s->calls++;
}

static void on_read(void *ctx)
{
    struct seen *s = ctx;
    char byte;
    s->calls++;
    (void)!read(s->fd, &byte, 1);
}

static void on_call_stop(void *ctx)
{
    struct seen *s = ctx;
    s->calls++;
    evloop_stop(s->loop);
}

static void on_call_remove(void *ctx)
{
    struct seen *s = ctx;
    s->calls++;
    evsource_remove(s->source);
    evsource_remove(s->other);
    s->source = s->other = NULL;
}

static void test_readable(void **state)
{
    (void)state;
    int pair[2];
    struct seen s = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct evloop *l = evloop_new();
    assert_non_null(l);
    assert_non_null(evloop_base(l));
    s.fd = pair[0];
    s.source = evloop_on_readable(l, pair[0], on_read, &s);
    assert_non_null(s.source);
    evloop_turn(l, 0);
    assert_int_equal(s.calls, 0);
    assert_int_equal(write(pair[1], "ab", 2), 2);
    evloop_turn(l, HOUR_NS);
    assert_int_equal(s.calls, 1);
    evloop_turn(l, -1); /* level-triggered: the second byte is still there */
    assert_int_equal(s.calls, 2);
    evloop_turn(l, 0);
    assert_int_equal(s.calls, 2);
    close(pair[1]);
    evloop_turn(l, HOUR_NS); /* the end counts as readable */
    assert_int_equal(s.calls, 3);
    evsource_remove(s.source);
    evloop_turn(l, 0);
    assert_int_equal(s.calls, 3);
    close(pair[0]);
    evloop_free(l);
}

/* A callback that leaves its descriptor readable is called once a turn, however long the turn may wait. */
static void test_one_turn_is_one(void **state)
{
    (void)state;
    int pair[2];
    struct seen s = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct evloop *l = evloop_new();
    assert_non_null(evloop_on_readable(l, pair[0], on_call, &s));
    assert_int_equal(write(pair[1], "x", 1), 1);
    evloop_turn(l, 0);
    assert_int_equal(s.calls, 1);
    evloop_turn(l, HOUR_NS);
    assert_int_equal(s.calls, 2);
    evloop_turn(l, -1);
    assert_int_equal(s.calls, 3);
    evloop_free(l);
    close(pair[0]);
    close(pair[1]);
}

static void test_removal(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct evloop *l = evloop_new();
    struct seen s = {.loop = l}, other = {0};
    assert_int_equal(write(pair[1], "x", 1), 1);
    s.source = evloop_on_readable(l, pair[0], on_call_remove, &s);
    s.other = evloop_timer(l, on_call, &other);
    assert_non_null(s.source);
    assert_non_null(s.other);
    evloop_turn(l, -1);
    assert_int_equal(s.calls, 1);
    assert_null(s.source);
    evloop_turn(l, 1);
    assert_int_equal(s.calls, 1);
    assert_int_equal(other.calls, 0);
    evsource_remove(NULL);
    close(pair[0]);
    close(pair[1]);
    evloop_free(l);
    evloop_free(NULL);
}

/* Of two timers due in one turn, the first removes both: the second must not be called any more. */
static void test_removed_while_pending(void **state)
{
    (void)state;
    struct evloop *l = evloop_new();
    struct seen a = {.loop = l}, b = {0};
    a.source = evloop_timer(l, on_call_remove, &a);
    a.other = evloop_timer(l, on_call, &b);
    evloop_timer_set(a.source, 0);
    evloop_timer_set(a.other, 1000);
    while (a.calls == 0)
        evloop_turn(l, -1);
    evloop_turn(l, 0);
    assert_int_equal(b.calls, 0);
    evloop_free(l);
}

static void test_timers(void **state)
{
    (void)state;
    struct evloop *l = evloop_new();
    struct seen a = {.loop = l}, b = {0};
    a.source = evloop_timer(l, on_call, &a);
    b.source = evloop_timer(l, on_call, &b);
    evloop_turn(l, 0);
    assert_int_equal(a.calls, 0); /* off until set */
    evloop_timer_set(a.source, 0);
    evloop_timer_set(b.source, HOUR_NS);
    evloop_turn(l, -1);
    assert_int_equal(a.calls, 1);
    evloop_turn(l, 1); /* once only; and a turn ends by itself, however short */
    assert_int_equal(a.calls, 1);
    evloop_timer_set(b.source, 1); /* moved */
    while (b.calls == 0)
        evloop_turn(l, -1);
    evloop_timer_set(b.source, 0);
    evloop_timer_off(b.source);
    evloop_turn(l, 1);
    assert_int_equal(b.calls, 1);
    evloop_timer_set(a.source, -5); /* the past is now */
    evloop_turn(l, HOUR_NS);
    assert_int_equal(a.calls, 2);
    evloop_free(l);
}

static void test_run_and_stop(void **state)
{
    (void)state;
    struct evloop *l = evloop_new();
    struct seen a = {.loop = l};
    a.source = evloop_timer(l, on_call_stop, &a);
    evloop_timer_set(a.source, 0);
    evloop_run(l);
    assert_int_equal(a.calls, 1);
    evloop_timer_set(a.source, 1000);
    evloop_run(l); /* runs again after a stop */
    assert_int_equal(a.calls, 2);
    evloop_stop(l);
    evloop_run(l); /* stopped beforehand: returns at once */
    evloop_free(l);
}

static void test_signal_wakes(void **state)
{
    (void)state;
    struct evloop *l = evloop_new();
    struct seen s = {.loop = l};
    s.source = evloop_on_signal(l, SIGUSR1, on_call, &s);
    assert_non_null(s.source);
    assert_int_equal(raise(SIGUSR1), 0);
    while (s.calls == 0)
        evloop_turn(l, HOUR_NS);
    assert_int_equal(s.calls, 1);
    evloop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readable),     cmocka_unit_test(test_one_turn_is_one),
        cmocka_unit_test(test_removal),      cmocka_unit_test(test_removed_while_pending),
        cmocka_unit_test(test_timers),       cmocka_unit_test(test_run_and_stop),
        cmocka_unit_test(test_signal_wakes),
    };
    return cmocka_run_group_tests_name("evloop", tests, NULL, NULL);
}
