/* SPDX-License-Identifier: Apache-2.0
 * The kernel's answer for real sockets on loopback: the cookie is the one SO_COOKIE gives, a listener is no answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/uuid_lookup.h"

struct pair {
    int listener, client, server;
    struct sockaddr_storage client_addr, server_addr;
};

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof(cookie);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
    return cookie;
}

/* client_family AF_INET against an AF_INET6 listener makes a dual-stack connection. */
static void connect_pair(struct pair *p, int listen_family, int client_family)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(p->server_addr);
    if (client_family == AF_INET6)
        v6.sin6_addr = in6addr_loopback;
    p->listener = socket(listen_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->listener >= 0);
    const void *any = listen_family == AF_INET6 ? (const void *)&v6 : (const void *)&v4;
    assert_int_equal(bind(p->listener, any, listen_family == AF_INET6 ? sizeof(v6) : sizeof(v4)), 0);
    assert_int_equal(listen(p->listener, 1), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&p->server_addr, &len), 0);
    in_port_t port = ((struct sockaddr_in *)&p->server_addr)->sin_port; /* same place in both families */
    v4.sin_port = v6.sin6_port = port;
    p->client = socket(client_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const void *to = client_family == AF_INET6 ? (const void *)&v6 : (const void *)&v4;
    assert_int_equal(connect(p->client, to, client_family == AF_INET6 ? sizeof(v6) : sizeof(v4)), 0);
    p->server = accept(p->listener, NULL, NULL);
    assert_true(p->server >= 0);
    len = sizeof(p->client_addr);
    assert_int_equal(getsockname(p->client, (struct sockaddr *)&p->client_addr, &len), 0);
}

static void close_pair(struct pair *p)
{
    close(p->listener);
    close(p->client);
    close(p->server);
}

/* Both sockets of a loopback connection carry the tuple: the answer must be one of them. */
static void check(int listen_family, int client_family)
{
    struct uuid_lookup *l = uuid_lookup_new();
    struct pair p = {0};
    struct flowkey key;
    struct uuid_answer answer = {0};
    assert_non_null(l);
    connect_pair(&p, listen_family, client_family);
    in_port_t cport = ((struct sockaddr_in *)&p.client_addr)->sin_port;
    in_port_t sport = ((struct sockaddr_in *)&p.server_addr)->sin_port;
    uint32_t lo4 = htonl(INADDR_LOOPBACK);
    const uint8_t *lo = client_family == AF_INET6 ? in6addr_loopback.s6_addr : (const uint8_t *)&lo4;
    flowkey_make(&key, client_family == AF_INET6 ? 16 : 4, lo, ntohs(cport), lo, ntohs(sport));
    assert_int_equal(uuid_lookup_ask(l, &key, 0, clock_system(), &answer), SC_OK);
    assert_true(answer.cookie == cookie_of(p.client) || answer.cookie == cookie_of(p.server));
    assert_false(answer.closing);
    assert_true(answer.read.ns > 0);
    /* a tuple with the listener's port but no connection finds at most the listener */
    flowkey_make(&key, client_family == AF_INET6 ? 16 : 4, lo, 1, lo, ntohs(sport));
    assert_int_equal(uuid_lookup_ask(l, &key, 0, clock_system(), &answer), SC_ENOENT);
    close_pair(&p);
    uuid_lookup_free(l);
}

static void test_ipv4(void **state)
{
    (void)state;
    check(AF_INET, AF_INET);
}

static void test_ipv6(void **state)
{
    (void)state;
    check(AF_INET6, AF_INET6);
}

static void test_dual_stack(void **state)
{
    (void)state;
    check(AF_INET6, AF_INET);
}

static void test_half_closed_counts_as_closing(void **state)
{
    struct uuid_lookup *l = uuid_lookup_new();
    struct pair p = {0};
    struct flowkey key;
    struct uuid_answer answer = {0};
    uint32_t lo = htonl(INADDR_LOOPBACK);
    (void)state;
    connect_pair(&p, AF_INET, AF_INET);
    assert_int_equal(shutdown(p.client, SHUT_WR), 0);
    char byte;
    assert_int_equal(recv(p.server, &byte, 1, 0), 0); /* the FIN has arrived */
    flowkey_make(&key, 4, (const uint8_t *)&lo, ntohs(((struct sockaddr_in *)&p.client_addr)->sin_port),
                 (const uint8_t *)&lo, ntohs(((struct sockaddr_in *)&p.server_addr)->sin_port));
    assert_int_equal(uuid_lookup_ask(l, &key, 0, clock_system(), &answer), SC_OK);
    assert_true(answer.closing);
    close_pair(&p);
    uuid_lookup_free(l);
}

/* The client has closed first; its socket is gone, and the kernel keeps what is left of it: waiting for the other end's
 * FIN, and then in TIME_WAIT. */
static void test_what_is_left_of_a_socket_is_told_apart(void **state)
{
    struct uuid_lookup *l = uuid_lookup_new();
    struct pair p = {0};
    struct flowkey key;
    struct uuid_answer answer = {0};
    uint32_t lo = htonl(INADDR_LOOPBACK);
    char byte;
    (void)state;
    connect_pair(&p, AF_INET, AF_INET);
    uint16_t port = ntohs(((struct sockaddr_in *)&p.client_addr)->sin_port);
    flowkey_make(&key, 4, (const uint8_t *)&lo, port, (const uint8_t *)&lo,
                 ntohs(((struct sockaddr_in *)&p.server_addr)->sin_port));
    unsigned client = key.port[0] == port ? 0 : 1;
    assert_int_equal(uuid_lookup_ask_local(l, &key, client, 0, clock_system(), &answer), SC_OK);
    assert_false(answer.timewait);
    assert_int_equal(shutdown(p.client, SHUT_WR), 0);
    assert_int_equal(recv(p.server, &byte, 1, 0), 0);
    assert_int_equal(uuid_lookup_ask_local(l, &key, client, 0, clock_system(), &answer), SC_OK);
    assert_true(answer.closing);
    assert_false(answer.timewait); /* FIN_WAIT_2 of a socket */
    close(p.client);
    for (int i = 0; i < 10000 && !answer.timewait; i++) { /* until its FIN is acknowledged: FIN_WAIT_2 without one */
        assert_int_equal(uuid_lookup_ask_local(l, &key, client, 0, clock_system(), &answer), SC_OK);
        assert_true(answer.closing);
        (void)poll(NULL, 0, 1);
    }
    assert_true(answer.timewait);
    close(p.server);
    assert_int_equal(uuid_lookup_ask_local(l, &key, client, 0, clock_system(), &answer), SC_OK);
    assert_true(answer.timewait);
    close(p.listener);
    uuid_lookup_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipv4),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_dual_stack),
        cmocka_unit_test(test_half_closed_counts_as_closing),
        cmocka_unit_test(test_what_is_left_of_a_socket_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
