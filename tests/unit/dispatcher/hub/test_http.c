/* SPDX-License-Identifier: Apache-2.0
 * The HTTP server over loopback: answers, refusals, clients that stall, flood or leave. The loop runs in this process,
 * so the clients are non-blocking and the loop is turned until they have their answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "dispatcher/hub/http.h"

#define TURNS_MAX 2000

static struct evloop *loop;
static struct http *server;
static struct sockaddr_in address;
static size_t large_body;

static int handler(void *ctx, const char *path, struct text *body, const char **type)
{
    (void)ctx;
    if (strcmp(path, "/large") == 0) {
        for (size_t i = 0; i < large_body; i++)
            text_add(body, "x", 1);
        return 200;
    }
    if (strcmp(path, "/no") == 0) {
        text_printf(body, "not ready\n");
        return 503;
    }
    if (strcmp(path, "/ok") != 0)
        return 404;
    *type = "text/special";
    text_printf(body, "fine\n");
    return 200;
}

static int set_up(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return -1;
    loop = evloop_new();
    server = http_new(loop, clock_system(), fd, handler, NULL);
    return loop && server ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    http_free(server);
    evloop_free(loop);
    return 0;
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void turn(int n)
{
    for (int i = 0; i < n; i++)
        evloop_turn(loop, NS_PER_MS);
}

/* Turns the loop until the server closes; returns what came, or NULL after a reset. */
static const char *read_all(int fd)
{
    static char all[1 << 20];
    size_t len = 0;
    for (int i = 0; i < TURNS_MAX; i++) {
        evloop_turn(loop, NS_PER_MS);
        ssize_t n = recv(fd, all + len, sizeof all - 1 - len, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            continue;
        (void)!(n < 0);
        if (n <= 0) {
            (void)close(fd);
            all[len] = '\0';
            return n < 0 && len == 0 ? NULL : all;
        }
        len += (size_t)n;
    }
    fail_msg("no end of the response");
    return NULL;
}

static const char *ask(const char *request)
{
    int fd = dial();
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    return read_all(fd);
}

static void starts(const char *text, const char *with)
{
    if (!text || strncmp(text, with, strlen(with)) != 0)
        fail_msg("\"%.60s\" does not begin with \"%s\"", text ? text : "(reset)", with);
}

static void answers(void **state)
{
    (void)state;
    const char *a = ask("GET /ok HTTP/1.1\r\nHost: x\r\n\r\n");
    starts(a, "HTTP/1.1 200 OK\r\n");
    assert_non_null(strstr(a, "\r\nContent-Type: text/special\r\n"));
    assert_non_null(strstr(a, "\r\nContent-Length: 5\r\n"));
    assert_non_null(strstr(a, "\r\n\r\nfine\n"));
    starts(ask("GET /ok?a=b&c HTTP/1.0\n\n"), "HTTP/1.1 200 OK\r\n");
    starts(ask("GET /no HTTP/1.1\r\n\r\n"), "HTTP/1.1 503 Service Unavailable\r\n");
    starts(ask("GET /nothing HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found\r\n");
    starts(ask("GET /../etc/passwd HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found\r\n");
    a = ask("POST /ok HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
    starts(a, "HTTP/1.1 405 Method Not Allowed\r\n");
    assert_non_null(strstr(a, "\r\nAllow: GET\r\n"));
    starts(ask("HEAD /ok HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 ");
}

static void parser(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status; /* 0 = wants more, 200 = GET */
    } cases[] = {
        {"", 0},
        {"GET /", 0},
        {"GET / HTTP/1.1\r\n", 0},
        {"GET / HTTP/1.1\r\n\r", 0},
        {"GET / HTTP/1.1\r\n\r\n", 200},
        {"GET / HTTP/1.1\nA: b\n\n", 200},
        {"GET / HTTP/2.0\r\n\r\n", 505},
        {"GET / HTTP/1.1x\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET\r\n\r\n", 400},
        {"\r\n\r\n", 400},
        {"\n\n", 400},
        {" / HTTP/1.1\r\n\r\n", 400},
        {"GET  HTTP/1.1\r\n\r\n", 400},
        {"GET http://x/ HTTP/1.1\r\n\r\n", 400},
        {"GET /\x01 HTTP/1.1\r\n\r\n", 400},
        {"GET /\xff HTTP/1.1\r\n\r\n", 400},
        {"get / HTTP/1.1\r\n\r\n", 405},
        {"DELETE / HTTP/1.1\r\n\r\n", 405},
    };
    char path[HTTP_PATH_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = 200;
        enum http_parsed p = http_parse(cases[i].request, strlen(cases[i].request), path, &status);
        enum http_parsed want = cases[i].status == 0 ? HTTP_MORE : cases[i].status == 200 ? HTTP_GET : HTTP_BAD;
        assert_int_equal(p, want);
        if (cases[i].status)
            assert_int_equal(status, cases[i].status);
    }
    int status = 0;
    char large[HTTP_REQUEST_MAX + 1];
    memset(large, 'a', sizeof large);
    assert_int_equal(http_parse(large, HTTP_REQUEST_MAX - 1, path, &status), HTTP_MORE);
    assert_int_equal(http_parse(large, HTTP_REQUEST_MAX, path, &status), HTTP_BAD);
    assert_int_equal(status, 431);
    memcpy(large, "GET /", 5);
    memcpy(large + 5 + HTTP_PATH_MAX, " HTTP/1.1\r\n\r\n", 13);
    assert_int_equal(http_parse(large, 5 + HTTP_PATH_MAX + 13, path, &status), HTTP_BAD);
    assert_int_equal(status, 414);
}

static void head_too_large(void **state)
{
    (void)state;
    char request[HTTP_REQUEST_MAX + 1];
    memset(request, 'a', sizeof request);
    memcpy(request, "GET /ok HTTP/1.1\r\n", 18);
    request[HTTP_REQUEST_MAX] = '\0';
    starts(ask(request), "HTTP/1.1 431 ");
}

static void large_answer_in_pieces(void **state)
{
    (void)state;
    large_body = 900000;
    const char *a = ask("GET /large HTTP/1.1\r\n\r\n");
    starts(a, "HTTP/1.1 200 OK\r\n");
    assert_int_equal(strlen(strstr(a, "\r\n\r\n") + 4), large_body);
}

static void byte_by_byte(void **state)
{
    (void)state;
    static const char request[] = "GET /ok HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd = dial();
    for (size_t i = 0; i < sizeof request - 1; i++) {
        assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
        turn(1);
    }
    starts(read_all(fd), "HTTP/1.1 200 OK\r\n");
}

/* Many clients that say nothing: the newest is served, and the oldest have been closed. */
static void stalled_clients(void **state)
{
    (void)state;
    int idle[HTTP_CONNECTIONS * 2];
    for (int i = 0; i < HTTP_CONNECTIONS * 2; i++) {
        idle[i] = dial();
        turn(3);
    }
    starts(ask("GET /ok HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK\r\n");
    unsigned open = 0;
    for (int i = 0; i < HTTP_CONNECTIONS * 2; i++) {
        char byte;
        ssize_t n = recv(idle[i], &byte, 1, MSG_DONTWAIT);
        open += n < 0 && errno == EAGAIN;
        (void)close(idle[i]);
    }
    assert_true(open <= HTTP_CONNECTIONS);
    assert_true(open > 0);
}

static void clients_that_leave(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        int fd = dial();
        (void)send(fd, "GET /large HTTP/1.1\r\n\r\n", (size_t)(i % 24), MSG_NOSIGNAL);
        struct linger now = {1, 0};
        if (i % 2)
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        (void)close(fd);
        turn(2);
    }
    starts(ask("GET /ok HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parser),
        cmocka_unit_test_setup_teardown(answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(head_too_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_answer_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(byte_by_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stalled_clients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clients_that_leave, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hub/http", tests, NULL, NULL);
}
