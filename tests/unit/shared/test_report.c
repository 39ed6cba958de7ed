/* SPDX-License-Identifier: Apache-2.0
 * Reports over a socket pair: whole or refused, field by field; never a wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/report.h"

static int pair[2];

static int set_up(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int tear_down(void **state)
{
    (void)state;
    (void)close(pair[0]);
    (void)close(pair[1]);
    return 0;
}

static struct report saved(void)
{
    struct report r = {.kind = REPORT_SAVED, .packets = 7, .bytes = 500, .left_out = 3};
    const uint8_t a[4] = {192, 0, 2, 1}, b[4] = {192, 0, 2, 2};
    (void)flowkey_make(&r.key, 4, a, 1, b, 2);
    strcpy(r.uuid.text, "host_1_unsafe_0000000000000001");
    strcpy(r.path, "2026/11/24/host_1_unsafe_0000000000000001.1.pcap.gz");
    return r;
}

static int pass(struct report r, struct report *out)
{
    assert_int_equal(report_send(pair[0], &r), SC_OK);
    return report_recv(pair[1], out);
}

static void there_and_back(void **state)
{
    struct report r = saved(), out;
    (void)state;
    assert_int_equal(report_recv(pair[1], &out), SC_EAGAIN);
    assert_int_equal(pass(r, &out), SC_OK);
    assert_string_equal(out.path, r.path);
    assert_string_equal(out.uuid.text, r.uuid.text);
    assert_true(flowkey_equal(&out.key, &r.key));
    assert_true(out.packets == 7 && out.bytes == 500 && out.left_out == 3);
    r.kind = REPORT_LOST;
    r.cause = CAUSE_NO_UUID;
    r.uuid.text[0] = r.path[0] = '\0';
    assert_int_equal(pass(r, &out), SC_OK);
    (void)shutdown(pair[0], SHUT_RDWR);
    assert_int_equal(report_recv(pair[1], &out), SC_EOF);
    assert_int_equal(report_send(pair[0], &r), SC_EOF);
}

static void what_does_not_check_is_refused(void **state)
{
    struct report out, r;
    (void)state;
#define REFUSED(change)                                                                                                \
    do {                                                                                                               \
        r = saved();                                                                                                   \
        change;                                                                                                        \
        assert_int_equal(pass(r, &out), SC_EFORMAT);                                                                   \
    } while (0)
    REFUSED(r.kind = 0);
    REFUSED(r.kind = REPORT_NAMED + 1);
    REFUSED(r.cause = CAUSE_COUNT);
    REFUSED(r.key.addr_len = 5);
    REFUSED(r.local = 2);
    REFUSED(r.uuid.text[0] = '\0');
    REFUSED(memset(r.uuid.text, 'u', sizeof r.uuid.text));
    REFUSED(r.uuid.text[3] = '"');
    REFUSED(r.path[0] = '\0');
    REFUSED(r.path[0] = '/');
    REFUSED(memset(r.path, 'p', sizeof r.path));
    REFUSED(r.path[4] = '\\');
    REFUSED(strcpy(r.path, "2026/../x"));
    r = saved();
    assert_int_equal(send(pair[0], &r, sizeof r - 1, 0), sizeof r - 1);
    assert_int_equal(report_recv(pair[1], &out), SC_EFORMAT);
    assert_int_equal(send(pair[0], &r, sizeof r, 0), sizeof r); /* without its magic number */
    assert_int_equal(report_recv(pair[1], &out), SC_EFORMAT);
    assert_int_equal(pass(saved(), &out), SC_OK);
}

static void a_full_socket_is_no_wait(void **state)
{
    struct report r = saved(), out;
    int rc = SC_OK, sent = 0;
    (void)state;
    for (; rc == SC_OK && sent < 1000000; sent++)
        rc = report_send(pair[0], &r);
    assert_int_equal(rc, SC_EFULL);
    assert_int_equal(report_recv(pair[1], &out), SC_OK);
    assert_int_equal(report_send(pair[0], &r), SC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(there_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_check_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_socket_is_no_wait, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("shared/report", tests, NULL, NULL);
}
