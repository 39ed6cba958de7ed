/* SPDX-License-Identifier: Apache-2.0
 * The HTTP server over loopback: answers, refusals, clients that stall, flood or leave. The loop runs in this process,
 * so the clients are non-blocking and the loop is turned until they have their answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "dispatcher/hub/http.h"
#include "tests/unit/skip.h"

#define TURNS_MAX 2000

static struct evloop *loop;
static struct http *server;
static struct sockaddr_in address;
static size_t large_body;

static int handler(void *ctx, const char *path, const char *accept, struct text *body, const char **type)
{
    (void)accept;
    (void)ctx;
    if (strcmp(path, "/large") == 0) {
        static char some[4096];
        memset(some, 'x', sizeof some);
        for (size_t n = 0; n < large_body; n += sizeof some)
            text_add(body, some, large_body - n < sizeof some ? large_body - n : sizeof some);
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
    starts(ask("GET /ok?a=b&c HTTP/1.0\n\n"), "HTTP/1.0 200 OK\r\n");
    starts(ask("GET /no HTTP/1.1\r\n\r\n"), "HTTP/1.1 503 Service Unavailable\r\n");
    starts(ask("GET /nothing HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found\r\n");
    starts(ask("GET /../etc/passwd HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found\r\n");
    a = ask("POST /ok HTTP/1.1\r\n\r\n");
    starts(a, "HTTP/1.1 405 Method Not Allowed\r\n");
    assert_non_null(strstr(a, "\r\nAllow: GET, HEAD\r\n"));
}

/* The head that GET gives, and no body. */
static void head_is_get_without_body(void **state)
{
    (void)state;
    static const char *const paths[] = {"/ok", "/no", "/nothing", "/large"};
    large_body = 100000;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char request[64], head[4096];
        (void)snprintf(request, sizeof request, "HEAD %s HTTP/1.1\r\n\r\n", paths[i]);
        (void)snprintf(head, sizeof head, "%s", ask(request));
        (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n\r\n", paths[i]);
        const char *whole = ask(request), *end = strstr(whole, "\r\n\r\n");
        assert_non_null(end);
        assert_non_null(strstr(head, "\r\nContent-Length: "));
        assert_memory_equal(head, whole, strlen("HTTP/1.1 200"));
        assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\n");
        assert_int_equal(strlen(head), end + 4 - whole);
    }
}

/* What is no request of ours, mostly by evhttp's own judgement: only a GET or HEAD of a path that exists is 200. */
static void odd_requests(void **state)
{
    (void)state;
    static const struct {
        const char *request, *status;
    } cases[] = {
        {"GET /ok HTTP/1.1\nA: b\n\n", "200"},
        {"GET http://x/ok HTTP/1.1\r\n\r\n", "200"}, /* RFC 9112, 3.2.2: must be accepted */
        {"GET /%6fk HTTP/1.1\r\n\r\n", "404"},
        {"GET /ok HTTP/2.0\r\n\r\n", "400"},
        {"GET /ok HTTP/1.1x\r\n\r\n", "400"},
        {"GET /ok\r\n\r\n", "400"},
        {"GET\r\n\r\n", "400"},
        {"\r\n\r\n", "400"},
        {"\n\n", "400"},
        {" /ok HTTP/1.1\r\n\r\n", "400"},
        {"GET  HTTP/1.1\r\n\r\n", "400"},
        {"GET /\x01 HTTP/1.1\r\n\r\n", "404"},
        {"GET /\xff HTTP/1.1\r\n\r\n", "404"},
        {"get /ok HTTP/1.1\r\n\r\n", "501"},
        {"FETCH /ok HTTP/1.1\r\n\r\n", "501"},
        {"PUT /ok HTTP/1.1\r\n\r\n", "405"},
        {"DELETE /ok HTTP/1.1\r\n\r\n", "405"},
        {"OPTIONS /ok HTTP/1.1\r\n\r\n", "405"},
        {"PATCH /ok HTTP/1.1\r\n\r\n", "405"},
        {"TRACE /ok HTTP/1.1\r\n\r\n", "501"},
        {"POST /ok HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "413"},
        {"POST /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "413"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *a = ask(cases[i].request);
        starts(a, "HTTP/1.");
        if (strncmp(a + strlen("HTTP/1.1 "), cases[i].status, 3) != 0)
            fail_msg("\"%.40s\" is answered \"%.40s\"", cases[i].request, a);
    }
}

static void head_too_large(void **state)
{
    (void)state;
    char request[HTTP_HEAD_MAX + 16]; /* evhttp counts without the ends of lines */
    memset(request, 'a', sizeof request);
    request[sizeof request - 1] = '\0';
    starts(ask(request), "HTTP/1.1 400 "); /* a first line that does not end */
    memcpy(request, "GET /ok HTTP/1.1\r\nA: ", 21);
    starts(ask(request), "HTTP/1.1 400 "); /* nor does a header */
    memcpy(request + HTTP_HEAD_MAX - 16, "\r\n\r\n", 5);
    starts(ask(request), "HTTP/1.1 200 ");
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

/* One that asks and does not read its answer is the oldest at last, too, and gets no more than is on its way. */
static void stalled_reader(void **state)
{
    (void)state;
    static char bytes[1 << 16];
    static const char request[] = "GET /large HTTP/1.1\r\n\r\n";
    int small = 4096, idle[HTTP_CONNECTIONS];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    large_body = 12 << 20; /* more than the kernel buffers */
    assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    ssize_t n = -1;
    for (int i = 0; i < TURNS_MAX && n < 1; i++) {
        evloop_turn(loop, NS_PER_MS);
        n = recv(fd, bytes, 1, MSG_DONTWAIT | MSG_PEEK);
    }
    assert_int_equal(n, 1); /* the answer has begun */
    turn(20);
    for (int i = 0; i < HTTP_CONNECTIONS; i++) {
        idle[i] = dial();
        turn(3);
    }
    size_t got = 0;
    for (int i = 0; i < 100 * TURNS_MAX && n != 0; i++) {
        evloop_turn(loop, n < 0 ? NS_PER_MS : 0);
        n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0)
            got += (size_t)n;
        else if (n < 0 && errno != EAGAIN)
            break;
    }
    assert_true(n <= 0 && (n == 0 || errno != EAGAIN));
    assert_true(got < large_body); /* a reset may take along what has arrived */
    (void)close(fd);
    for (int i = 0; i < HTTP_CONNECTIONS; i++)
        (void)close(idle[i]);
}

/* No descriptor below this number is free. */
static void leave_no_fds(struct rlimit *was)
{
    int lowest = dup(STDIN_FILENO);
    assert_true(lowest >= 0);
    (void)close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, was), 0);
    struct rlimit none = {(rlim_t)lowest, was->rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

/* Without descriptors a connection that stalls is cut for the next one; with none to cut, that waits for one. */
static void no_descriptors(void **state)
{
    SKIP_WHERE_LIMITS_OF_FDS_ARE_EMULATED();
    (void)state;
    static const char request[] = "GET /ok HTTP/1.1\r\n\r\n";
    struct rlimit was;
    int stalled = dial(), next = socket(AF_INET, SOCK_STREAM, 0), last = socket(AF_INET, SOCK_STREAM, 0);
    turn(20);
    leave_no_fds(&was);
    assert_int_equal(connect(next, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(next, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    char byte;
    ssize_t n = -1;
    for (int i = 0; i < TURNS_MAX && n < 0; i++) {
        turn(1);
        n = recv(stalled, &byte, 1, MSG_DONTWAIT);
    }
    assert_int_equal(n, 0);
    for (int i = 0; i < TURNS_MAX && recv(next, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0; i++)
        turn(1);
    starts(read_all(next), "HTTP/1.1 200 OK\r\n");
    turn(20);
    (void)close(stalled); /* its number and that of `next` are free again: the limit is lowered once more */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    leave_no_fds(&was);
    assert_int_equal(connect(last, (struct sockaddr *)&address, sizeof address), 0);
    turn(300); /* past a pause or two */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(send(last, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    starts(read_all(last), "HTTP/1.1 200 OK\r\n");
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
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(head_is_get_without_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(head_too_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_answer_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(byte_by_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stalled_clients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stalled_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clients_that_leave, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hub/http", tests, NULL, NULL);
}
