/* SPDX-License-Identifier: Apache-2.0
 * The bus: forms of a page, paths, and the six kinds of sockets talking to each other over ipc.
 * Waits are bus_recv_wait with a bound, repeated until the condition holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/bus.h"

#define WAIT_MS 5000

static char dir[64];
static char error[BUS_ERROR];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_bus.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    char sub[BUS_PATH];
    (void)snprintf(sub, sizeof sub, "%s/bus", dir);
    return mkdir(sub, 0700);
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"bus/00.sock", "ctl.sock", "inject.sock", "bus", ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[BUS_PATH];
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)remove(path);
    }
    return 0;
}

static void page_round_trip(void **state)
{
    (void)state;
    char page[128];
    size_t n = bus_page_head(page, 18446744073709551615u, 17, 2);
    memcpy(page + n, "{a}\n{b}\n", 8);
    struct bus_page p;
    assert_int_equal(bus_page_parse(page, n + 8, &p), SC_OK);
    assert_true(p.epoch == UINT64_MAX && p.seq == 17 && p.count == 2);
    assert_int_equal(p.lines_len, 8);
    assert_memory_equal(p.lines, "{a}\n{b}\n", 8);

    n = bus_page_head(page, 1, 1, 0);
    assert_int_equal(bus_page_parse(page, n, &p), SC_OK);
    assert_int_equal(p.count, 0);
    assert_int_equal(p.lines_len, 0);
    assert_true(bus_page_head(page, UINT64_MAX, UINT64_MAX, UINT32_MAX) < 64);
}

static void page_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "1",
        "1 2",
        "1 2 0",
        "1 2 0 \n",
        " 1 2 0\n",
        "1  2 0\n",
        "-1 2 0\n",
        "1 0 0\n",
        "1 2 1\n",
        "1 2 0\nx",
        "1 2 1\nx",
        "1 2 1\nx\ny",
        "1 2 1\nx\ny\n",
        "18446744073709551616 1 0\n",
        "1 18446744073709551616 0\n",
        "1 1 4294967296\n",
        "1 18446744073709551615 1\nx\n",
        "a b c\n",
    };
    struct bus_page p;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(bus_page_parse(bad[i], strlen(bad[i]), &p), SC_EFORMAT);

    char *large = malloc(BUS_PAGE_MAX + 1);
    memset(large, '\n', BUS_PAGE_MAX + 1);
    size_t n = bus_page_head(large, 1, 1, BUS_PAGE_MAX + 1 - 12);
    assert_int_equal(n, 10);
    assert_int_equal(bus_page_parse(large, BUS_PAGE_MAX + 1, &p), SC_EFORMAT);
    free(large);
}

static void paths(void **state)
{
    (void)state;
    char out[BUS_PATH];
    assert_int_equal(bus_shard_path(out, "/run/shardcap", 3), SC_OK);
    assert_string_equal(out, "/run/shardcap/bus/03.sock");
    assert_int_equal(bus_path(out, "/run/shardcap", "ctl.sock"), SC_OK);
    assert_string_equal(out, "/run/shardcap/ctl.sock");
    char deep[200];
    memset(deep, 'd', sizeof deep);
    deep[0] = '/';
    deep[98] = '\0'; /* 98 + "/ctl.sock" = 107 */
    assert_int_equal(bus_path(out, deep, "ctl.sock"), SC_OK);
    deep[98] = 'd';
    deep[99] = '\0';
    assert_int_equal(bus_path(out, deep, "ctl.sock"), SC_ETOOLONG);
    assert_null(bus_connect(BUS_REQ,
                            "/0123456789012345678901234567890123456789012345678901234567890123456789012345678"
                            "9012345678901234567890123456789",
                            error));
}

static void open_failures_have_a_text(void **state)
{
    (void)state;
    error[0] = '\0';
    assert_null(bus_bind(BUS_PUB, "/nonexistent-dir/x.sock", 1, error));
    assert_non_null(strstr(error, "/nonexistent-dir/x.sock"));

    /* A plain file in the way is not removed. */
    char path[BUS_PATH];
    assert_int_equal(bus_path(path, dir, "ctl.sock"), SC_OK);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fclose(f);
    struct bus *b = bus_bind(BUS_REP, path, 0, error);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_null(b);
}

static void modes_and_leftovers(void **state)
{
    (void)state;
    char path[BUS_PATH];
    assert_int_equal(bus_shard_path(path, dir, 0), SC_OK);
    mode_t before = umask(022);
    struct bus *b[2];
    for (int round = 0; round < 2; round++) {
        b[round] = bus_bind(BUS_PUB, path, round == 0, error);
        assert_non_null(b[round]);
        assert_int_equal(bus_fd(b[round]), -1);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, round == 0 ? 0600 : 0660);
        /* The first one is still open: its name is taken over like that of a killed process. */
    }
    bus_close(b[1]);
    bus_close(b[0]);
    assert_int_equal(umask(before), 022);
}

static void pub_to_late_sub(void **state)
{
    (void)state;
    char path[BUS_PATH];
    assert_int_equal(bus_shard_path(path, dir, 0), SC_OK);
    struct bus *sub = bus_connect(BUS_SUB, path, error); /* before the other side is there */
    assert_non_null(sub);
    assert_true(bus_fd(sub) >= 0);
    struct bus *pub = bus_bind(BUS_PUB, path, 1, error);
    assert_non_null(pub);

    void *bytes = NULL;
    size_t len = 0;
    int rc = SC_EAGAIN;
    for (int i = 0; i < 200 && rc == SC_EAGAIN; i++) {
        assert_int_equal(bus_send(pub, "hello", 5), SC_OK);
        rc = bus_recv_wait(sub, 50, &bytes, &len);
    }
    assert_int_equal(rc, SC_OK);
    assert_int_equal(len, 5);
    assert_memory_equal(bytes, "hello", 5);
    bus_free(bytes);
    assert_int_equal(bus_peers(pub), 1);

    /* Connected anew, at the same descriptor; what was received meanwhile does not matter here. */
    int fd = bus_fd(sub);
    assert_int_equal(bus_reconnect(sub), SC_OK);
    assert_int_equal(bus_fd(sub), fd);
    rc = SC_EAGAIN;
    for (int i = 0; i < 200 && rc == SC_EAGAIN; i++) {
        assert_int_equal(bus_send(pub, "again", 5), SC_OK);
        rc = bus_recv_wait(sub, 50, &bytes, &len);
        if (rc == SC_OK && memcmp(bytes, "again", 5) != 0) {
            bus_free(bytes);
            rc = SC_EAGAIN;
        }
    }
    assert_int_equal(rc, SC_OK);
    bus_free(bytes);
    bus_close(sub);
    for (int i = 0; i < 500 && bus_peers(pub) > 0; i++)
        (void)usleep(10000);
    assert_int_equal(bus_peers(pub), 0);
    bus_close(pub);
}

static void request_and_reply(void **state)
{
    (void)state;
    char path[BUS_PATH];
    assert_int_equal(bus_path(path, dir, "ctl.sock"), SC_OK);
    struct bus *rep = bus_bind(BUS_REP, path, 0, error);
    struct bus *req = bus_connect(BUS_REQ, path, error);
    assert_non_null(rep);
    assert_non_null(req);
    void *bytes = NULL;
    size_t len = 0;
    assert_int_equal(bus_recv(rep, &bytes, &len), SC_EAGAIN);
    assert_int_equal(bus_send(rep, "nobody asked", 12), SC_EAGAIN);

    /* Larger than nanomsg's own limit of 1 MiB. */
    size_t big = 2 * 1024 * 1024;
    char *data = calloc(1, big);
    assert_int_equal(bus_send(req, data, big), SC_OK);
    free(data);
    assert_int_equal(bus_recv_wait(rep, WAIT_MS, &bytes, &len), SC_OK);
    assert_int_equal(len, big);
    bus_free(bytes);
    assert_int_equal(bus_send(rep, "ok", 2), SC_OK);
    assert_int_equal(bus_recv_wait(req, WAIT_MS, &bytes, &len), SC_OK);
    assert_memory_equal(bytes, "ok", 2);
    bus_free(bytes);
    bus_close(req);
    bus_close(rep);
}

static void push_to_pull(void **state)
{
    (void)state;
    char path[BUS_PATH];
    assert_int_equal(bus_path(path, dir, "inject.sock"), SC_OK);
    struct bus *push = bus_connect(BUS_PUSH, path, error);
    assert_non_null(push);
    assert_int_equal(bus_send(push, "x", 1), SC_EAGAIN);
    struct bus *pull = bus_bind(BUS_PULL, path, 0, error);
    assert_non_null(pull);
    void *bytes = NULL;
    size_t len = 0;
    int rc = SC_EAGAIN;
    for (int i = 0; i < 200 && rc == SC_EAGAIN; i++) {
        (void)!bus_send(push, "x", 1);
        rc = bus_recv_wait(pull, 50, &bytes, &len);
    }
    assert_int_equal(rc, SC_OK);
    bus_free(bytes);
    bus_close(push);
    bus_close(pull);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_round_trip),
        cmocka_unit_test(page_refuses),
        cmocka_unit_test(paths),
        cmocka_unit_test_setup_teardown(open_failures_have_a_text, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(modes_and_leftovers, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(pub_to_late_sub, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(request_and_reply, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(push_to_pull, make_dir, remove_dir),
    };
    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
