/* SPDX-License-Identifier: Apache-2.0
 * The HTTP server. When all connections are taken, the oldest makes place for the new one: a scraper is served in a
 * millisecond, so the oldest is one that stalls.
 * Failure policy: whatever a client does costs it its own connection. Without fds to accept with, the oldest
 * connection is closed and accepting pauses for 100 ms. */
#include "dispatcher/hub/http.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/log.h"

#define PAUSE_NS (100 * NS_PER_MS)

enum phase {
    READING,
    WRITING,
    DRAINING, /* answered; waits for the client's end, so that unread bytes do not reset what it has not read yet */
};

struct connection {
    struct http *http;
    int fd; /* -1 = free */
    enum phase phase;
    struct evsource *source, *deadline;
    uint64_t age; /* order of accepts */
    char request[HTTP_REQUEST_MAX];
    size_t request_len;
    struct text response;
    size_t sent;
};

struct http {
    struct evloop *loop;
    const struct clock *clock;
    int listen_fd;
    struct evsource *acceptable, *resume;
    http_handler *handler;
    void *ctx;
    uint64_t accepted;
    struct log_limit limit;
    struct connection connection[HTTP_CONNECTIONS];
};

/* ---- the request ---- */

/* Length of the head including the empty line; 0 if that has not come. */
static size_t head_length(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\n')
            continue;
        if (i + 1 < len && bytes[i + 1] == '\n')
            return i + 2;
        if (i + 2 < len && bytes[i + 1] == '\r' && bytes[i + 2] == '\n')
            return i + 3;
    }
    return 0;
}

static enum http_parsed bad(int status, int *status_r)
{
    *status_r = status;
    return HTTP_BAD;
}

/* "GET /path?query HTTP/1.x"; line has no newline. */
static enum http_parsed parse_line(const char *line, size_t len, char path[HTTP_PATH_MAX], int *status)
{
    const char *end = line + len;
    const char *target = memchr(line, ' ', len);
    if (!target || target == line)
        return bad(400, status);
    size_t method_len = (size_t)(target - line);
    target++;
    const char *version = memchr(target, ' ', (size_t)(end - target));
    if (!version || *target != '/')
        return bad(400, status);
    size_t target_len = (size_t)(version - target);
    version++;
    size_t version_len = (size_t)(end - version);
    if (version_len != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.')
        return bad(400, status);
    if (version[5] != '1')
        return bad(505, status);
    if (method_len != 3 || memcmp(line, "GET", 3) != 0)
        return bad(405, status);
    const char *query = memchr(target, '?', target_len);
    if (query)
        target_len = (size_t)(query - target);
    if (target_len >= HTTP_PATH_MAX)
        return bad(414, status);
    for (size_t i = 0; i < target_len; i++)
        if (target[i] <= ' ' || target[i] >= 0x7f)
            return bad(400, status);
    memcpy(path, target, target_len);
    path[target_len] = '\0';
    return HTTP_GET;
}

enum http_parsed http_parse(const char *bytes, size_t len, char path[HTTP_PATH_MAX], int *status)
{
    size_t head = head_length(bytes, len);
    if (head == 0 || head > HTTP_REQUEST_MAX)
        return len >= HTTP_REQUEST_MAX ? bad(431, status) : HTTP_MORE;
    const char *newline = memchr(bytes, '\n', head);
    size_t line = (size_t)(newline - bytes);
    if (line > 0 && bytes[line - 1] == '\r')
        line--;
    return parse_line(bytes, line, path, status);
}

/* ---- the response ---- */

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 414:
        return "URI Too Long";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    }
    return "Internal Server Error";
}

static void respond(struct connection *c, int status, const char *path)
{
    struct text body = {0};
    const char *type = "text/plain; charset=utf-8";
    if (status == 200)
        status = c->http->handler(c->http->ctx, path, &body, &type);
    if (body.failed) {
        text_clear(&body);
        status = 500;
    }
    if (body.len == 0)
        text_printf(&body, "%d %s\n", status, reason_of(status));
    text_printf(&c->response,
                "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n"
                "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%s\r\n",
                status, reason_of(status), type, body.len, status == 405 ? "Allow: GET\r\n" : "");
    text_add(&c->response, body.data, body.len);
    text_free(&body);
}

/* ---- connections ---- */

static void on_ready(void *ctx);

static void close_connection(struct connection *c)
{
    evsource_remove(c->source);
    evsource_remove(c->deadline);
    c->source = c->deadline = NULL;
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    text_free(&c->response);
}

static void on_deadline(void *ctx)
{
    close_connection(ctx);
}

/* Enters a phase and waits for what it needs. */
static void enter(struct connection *c, enum phase phase)
{
    c->phase = phase;
    evsource_remove(c->source);
    c->source = phase == WRITING ? evloop_on_writable(c->http->loop, c->fd, on_ready, c)
                                 : evloop_on_readable(c->http->loop, c->fd, on_ready, c);
    if (!c->source)
        close_connection(c);
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static void read_request(struct connection *c)
{
    ssize_t n = read(c->fd, c->request + c->request_len, sizeof c->request - c->request_len);
    if (n <= 0) {
        if (n == 0 || !would_block())
            close_connection(c);
        return;
    }
    c->request_len += (size_t)n;
    char path[HTTP_PATH_MAX] = "";
    int status = 200;
    if (http_parse(c->request, c->request_len, path, &status) == HTTP_MORE)
        return;
    respond(c, status, path);
    if (c->response.failed)
        close_connection(c);
    else
        enter(c, WRITING);
}

static void write_response(struct connection *c)
{
    ssize_t n = send(c->fd, c->response.data + c->sent, c->response.len - c->sent, MSG_NOSIGNAL);
    if (n < 0) {
        if (!would_block())
            close_connection(c);
        return;
    }
    c->sent += (size_t)n;
    if (c->sent < c->response.len)
        return;
    (void)shutdown(c->fd, SHUT_WR);
    enter(c, DRAINING);
}

static void drain(struct connection *c)
{
    ssize_t n = read(c->fd, c->request, sizeof c->request);
    if (n == 0 || (n < 0 && !would_block()))
        close_connection(c);
}

static void on_ready(void *ctx)
{
    struct connection *c = ctx;
    switch (c->phase) {
    case READING:
        read_request(c);
        break;
    case WRITING:
        write_response(c);
        break;
    case DRAINING:
        drain(c);
        break;
    }
}

/* A free connection, or the oldest one. */
static struct connection *place(struct http *h)
{
    struct connection *oldest = &h->connection[0];
    for (int i = 0; i < HTTP_CONNECTIONS; i++) {
        struct connection *c = &h->connection[i];
        if (c->fd < 0)
            return c;
        if (c->age < oldest->age)
            oldest = c;
    }
    close_connection(oldest);
    return oldest;
}

static void on_resume(void *ctx);
static void on_acceptable(void *ctx);

static void pause_accepting(struct http *h, const char *why)
{
    unsigned long suppressed;
    if (log_allow(&h->limit, h->clock->mono(h->clock->ctx), &suppressed))
        log_warn("cannot accept an HTTP connection error=%s suppressed=%lu", why, suppressed);
    evsource_remove(h->acceptable);
    h->acceptable = NULL;
    evloop_timer_set(h->resume, PAUSE_NS);
}

static void on_resume(void *ctx)
{
    struct http *h = ctx;
    h->acceptable = evloop_on_readable(h->loop, h->listen_fd, on_acceptable, h);
    if (!h->acceptable)
        evloop_timer_set(h->resume, PAUSE_NS);
}

static void on_acceptable(void *ctx)
{
    struct http *h = ctx;
    int fd = accept4(h->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (would_block() || errno == ECONNABORTED)
            return;
        const char *why = strerror(errno);
        (void)place(h); /* gives one fd back if all are in use */
        pause_accepting(h, why);
        return;
    }
    struct connection *c = place(h);
    c->http = h;
    c->fd = fd;
    c->age = ++h->accepted;
    c->request_len = c->sent = 0;
    c->deadline = evloop_timer(h->loop, on_deadline, c);
    if (!c->deadline) {
        close_connection(c);
        return;
    }
    evloop_timer_set(c->deadline, HTTP_DEADLINE_NS);
    enter(c, READING);
}

struct http *http_new(struct evloop *loop, const struct clock *clock, int listen_fd, http_handler *handler, void *ctx)
{
    struct http *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    for (int i = 0; i < HTTP_CONNECTIONS; i++)
        h->connection[i].fd = -1;
    h->loop = loop;
    h->clock = clock;
    h->listen_fd = listen_fd;
    h->handler = handler;
    h->ctx = ctx;
    int flags = fcntl(listen_fd, F_GETFL);
    h->resume = evloop_timer(loop, on_resume, h);
    h->acceptable = evloop_on_readable(loop, listen_fd, on_acceptable, h);
    if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0 || !h->resume || !h->acceptable) {
        http_free(h);
        return NULL;
    }
    return h;
}

void http_free(struct http *h)
{
    if (!h)
        return;
    for (int i = 0; i < HTTP_CONNECTIONS; i++)
        close_connection(&h->connection[i]);
    evsource_remove(h->acceptable);
    evsource_remove(h->resume);
    (void)close(h->listen_fd);
    free(h);
}
