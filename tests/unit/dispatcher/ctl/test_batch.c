/* SPDX-License-Identifier: Apache-2.0
 * Lines to requests; where shardcap is looked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/ctl/batch.h"
#include "dispatcher/ctl/client.h"
#include "shared/flowevent.h"

static char sent[1 << 22];
static size_t sent_len, largest;
static unsigned requests, allowed;

static bool take(void *ctx, const char *request, size_t len)
{
    (void)ctx;
    assert_true(len > 0 && sent_len + len < sizeof sent);
    assert_true(strncmp(request, "uuid.open ", 10) == 0 || strncmp(request, "uuid.close ", 11) == 0);
    assert_int_equal(request[len - 1], '\n');
    memcpy(sent + sent_len, request, len);
    sent_len += len;
    sent[sent_len] = '\0';
    largest = len > largest ? len : largest;
    return ++requests < allowed;
}

static struct batch *start(unsigned max_requests)
{
    sent_len = largest = requests = 0;
    sent[0] = '\0';
    allowed = max_requests;
    struct batch *i = batch_new(take, NULL, 0);
    assert_non_null(i);
    return i;
}

static bool feed(struct batch *i, const char *text)
{
    return batch_feed(i, text, strlen(text));
}

static void whole_lines_go_at_once(void **state)
{
    (void)state;
    struct batch *i = start(100);
    assert_true(feed(i, "{a}\n{b"));
    assert_string_equal(sent, "uuid.open {a}\n");
    assert_true(feed(i, "}\n\n  \r\nuuid.open {c}\nfoo\n"));
    assert_string_equal(sent, "uuid.open {a}\nuuid.open {b}\nuuid.open {c}\nfoo\n");
    assert_int_equal(requests, 2);
    assert_true(feed(i, "uuid.open {d}\nstatus\n"));
    assert_non_null(strstr(sent, "foo\nuuid.open {d}\nstatus\n"));
    assert_true(feed(i, "uuid.close {e}\nuuid.close {f}\n"));
    assert_non_null(strstr(sent, "status\nuuid.close {e}\nuuid.close {f}\n"));
    assert_true(feed(i, "{last}"));
    assert_true(batch_end(i));
    assert_non_null(strstr(sent, "uuid.open {last}\n"));
    assert_true(batch_end(i));
    assert_int_equal(requests, 5);
    batch_free(i);
}

static void bounded_requests(void **state)
{
    (void)state;
    struct batch *i = start(100);
    static char block[FLOWEVENT_LINE_MAX + 2];
    memset(block, 'x', sizeof block);
    block[FLOWEVENT_LINE_MAX] = '\n';
    for (int n = 0; n < 10; n++)
        assert_true(batch_feed(i, block, FLOWEVENT_LINE_MAX + 1));
    assert_int_equal(batch_too_long(i), 0);
    char *many = malloc(400000);
    memset(many, '{', 400000);
    for (int n = 0; n < 400000; n += 100)
        many[n] = '\n';
    assert_true(batch_feed(i, many, 400000));
    free(many);
    assert_true(largest <= 256 * 1024);
    memset(block, 'y', sizeof block);
    assert_true(batch_feed(i, block, sizeof block));
    assert_true(feed(i, "\n{z}\n"));
    assert_int_equal(batch_too_long(i), 1);
    assert_non_null(strstr(sent, "uuid.open {z}\n"));
    batch_free(i);
}

static void stops_when_told(void **state)
{
    (void)state;
    struct batch *i = start(1);
    assert_false(feed(i, "{a}\n"));
    assert_false(feed(i, "{b}\n"));
    assert_false(batch_end(i));
    assert_int_equal(requests, 1);
    batch_free(i);
}

static void rundirs(void **state)
{
    (void)state;
    char out[BUS_PATH], error[CLIENT_ERROR];
    assert_int_equal(client_rundir("/a", out), SC_OK);
    assert_string_equal(out, "/a");
    assert_int_equal(setenv("SHARDCAP_RUNDIR", "/b", 1), 0);
    assert_int_equal(client_rundir(NULL, out), SC_OK);
    assert_string_equal(out, "/b");
    assert_int_equal(unsetenv("SHARDCAP_RUNDIR"), 0);
    assert_int_equal(client_rundir(NULL, out), SC_OK);
    assert_int_equal(out[0], '/');
    char deep[200];
    memset(deep, 'd', sizeof deep);
    deep[199] = '\0';
    assert_int_equal(client_rundir(deep, out), SC_ETOOLONG);
    assert_null(client_open("/nonexistent", error));
    assert_non_null(strstr(error, "/nonexistent/ctl.sock"));
    assert_non_null(strstr(error, "-rundir"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_lines_go_at_once),
        cmocka_unit_test(bounded_requests),
        cmocka_unit_test(stops_when_told),
        cmocka_unit_test(rundirs),
    };
    return cmocka_run_group_tests_name("ctl/batch", tests, NULL, NULL);
}
