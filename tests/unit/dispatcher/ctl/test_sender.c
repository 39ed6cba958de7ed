/* SPDX-License-Identifier: Apache-2.0
 * Requests against a hub of our own: answers are counted and shown, a short answer is no success, and what has none is
 * asked again when it is to wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "dispatcher/ctl/sender.h"

#define PATIENCE_MS 30000

static char rundir[64], path[BUS_PATH];

static int make_rundir(void **state)
{
    (void)state;
    (void)snprintf(rundir, sizeof rundir, "/tmp/sender-test-XXXXXX");
    return mkdtemp(rundir) && bus_path(path, rundir, "ctl.sock") == SC_OK ? 0 : -1;
}

static int remove_rundir(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(rundir);
}

struct hub {
    const char *const *answers; /* one after the other; NULL ends; "" = dies without one */
    pthread_t thread;
    char asked[256];
};

static void *serve(void *ctx)
{
    struct hub *h = ctx;
    char error[BUS_ERROR];
    struct bus *b = bus_bind(BUS_REP, path, 0, error);
    assert_non_null(b);
    for (const char *const *answer = h->answers; *answer; answer++) {
        void *bytes;
        size_t len;
        if (bus_recv_wait(b, PATIENCE_MS, &bytes, &len) != SC_OK)
            break;
        assert_true(len < sizeof h->asked);
        memcpy(h->asked, bytes, len);
        h->asked[len] = '\0';
        bus_free(bytes);
        if ((*answer)[0] == '\0') {
            bus_close(b);
            b = bus_bind(BUS_REP, path, 0, error);
            assert_non_null(b);
        } else {
            assert_int_equal(bus_send(b, *answer, strlen(*answer)), SC_OK);
        }
    }
    /* What is being sent is taken by the peer before the end: it asks once more or closes. */
    void *bytes;
    size_t len;
    if (bus_recv_wait(b, PATIENCE_MS, &bytes, &len) == SC_OK) {
        assert_int_equal(bus_send(b, "bye", 3), SC_OK);
        bus_free(bytes);
    }
    bus_close(b);
    return NULL;
}

static char *shown;

/* Sends a request to a hub with these answers. */
static bool send_to(const char *const *answers, struct sender *s, const char *request, struct hub *h)
{
    size_t len = 0;
    free(shown);
    shown = NULL;
    s->rundir = rundir;
    s->answers = open_memstream(&shown, &len);
    assert_non_null(s->answers);
    *h = (struct hub){.answers = answers};
    assert_int_equal(pthread_create(&h->thread, NULL, serve, h), 0);
    while (access(path, F_OK) != 0)
        assert_int_equal(usleep(1000), 0);
    bool good = sender_send(s, request, strlen(request));
    (void)fclose(s->answers);
    s->answers = NULL;
    if (good) { /* lets the hub go */
        char error[CLIENT_ERROR];
        void *bytes;
        assert_int_equal(client_ask(s->client, "x", 1, &bytes, &len, error), SC_OK);
        bus_free(bytes);
    } else {
        struct sender last = {.rundir = rundir};
        (void)sender_send(&last, "x", 1);
        sender_close(&last);
    }
    sender_close(s);
    assert_int_equal(pthread_join(h->thread, NULL), 0);
    (void)unlink(path);
    return good;
}

static void counted_and_shown(void **state)
{
    (void)state;
    static const char *const answers[] = {"ok shard=1 seq=2\nerror badip: no \x1b address\nok", NULL};
    struct sender s = {0};
    struct hub h;
    assert_true(send_to(answers, &s, "a\nb\nc\n", &h));
    assert_int_equal(s.taken, 2);
    assert_int_equal(s.refused, 1);
    assert_string_equal(shown, "ok shard=1 seq=2\nerror badip: no ? address\nok\n");
}

static void as_json(void **state)
{
    (void)state;
    static const char *const answers[] = {"ok shard=11 seq=222\nok\nerror bad\"ip: no : address\nokay", NULL};
    struct sender s = {.json = true};
    struct hub h;
    assert_true(send_to(answers, &s, "a\nb\nc\nd\n", &h));
    assert_int_equal(s.refused, 2);
    assert_string_equal(shown, "{\"ok\":true,\"shard\":11,\"seq\":222}\n{\"ok\":true}\n"
                               "{\"ok\":false,\"reason\":\"bad\\u0022ip\",\"text\":\"no : address\"}\n"
                               "{\"ok\":false,\"reason\":\"\",\"text\":\"okay\"}\n");
}

static void short_answer(void **state)
{
    (void)state;
    static const char *const answers[] = {"error memory: the answer is too large", NULL};
    struct sender s = {.wait = true};
    struct hub h;
    assert_false(send_to(answers, &s, "a\nb\n", &h));
    assert_true(s.failed);
}

static void asked_again(void **state)
{
    (void)state;
    static const char *const answers[] = {"", "", "ok\nok", NULL};
    struct sender s = {.wait = true};
    struct hub h;
    assert_true(send_to(answers, &s, "a\nb\n", &h));
    assert_int_equal(s.taken, 2);
    assert_string_equal(h.asked, "a\nb\n");
}

static void nobody(void **state)
{
    (void)state;
    struct sender s = {.rundir = rundir};
    assert_false(sender_send(&s, "a\n", 2));
    assert_true(s.failed);
    sender_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counted_and_shown), cmocka_unit_test(as_json), cmocka_unit_test(short_answer),
        cmocka_unit_test(asked_again),       cmocka_unit_test(nobody),
    };
    int failed = cmocka_run_group_tests_name("ctl/sender", tests, make_rundir, remove_rundir);
    free(shown);
    return failed;
}
