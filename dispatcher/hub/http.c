/* SPDX-License-Identifier: Apache-2.0
 * The HTTP server over evhttp, and the two limits that evhttp 2.1 lacks: how many connections there are, and how long
 * one lives in all (its own timeout starts anew with every byte that a slow client drips). evhttp shows a connection
 * only once a whole request has come, but it asks for the bufferevent of each one that it accepts. A reference to that
 * is kept here, and with it the descriptor: a connection is cut by shutting its socket down, upon which evhttp frees
 * it. When all places are taken, the oldest makes room for the new one: a scraper is served in a millisecond, so the
 * oldest is one that stalls.
 * Failure policy: whatever a client does costs it its own connection. Without fds to accept with, the oldest
 * connection is cut if it is a second old, and accepting pauses for 100 ms. */
#include "dispatcher/hub/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "shared/log.h"

#define PAUSE_NS (100 * NS_PER_MS)
#define STALLS_NS NS_PER_SEC /* whoever is there for longer is in no hurry */

/* What evhttp knows by name, so that the answer can be 405; it answers 501 to the rest by itself. */
#define METHODS                                                                                                        \
    (EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS |    \
     EVHTTP_REQ_PATCH)

/* One connection. */
struct place {
    struct bufferevent *bev; /* with a reference of ours; NULL = free */
    struct evsource *deadline;
    uint64_t number; /* order of accepts */
    struct mono since;
};

struct http {
    const struct clock *clock;
    struct evhttp *server;
    struct evconnlistener *listener;
    struct evsource *resume;
    http_handler *handler;
    void *ctx;
    uint64_t accepted;
    struct log_limit limit;
    struct place place[HTTP_CONNECTIONS];
};

static struct http *the_server; /* for on_accept_error, which cannot be told */

/* ---- places ---- */

/* The socket is closed when evhttp has let go of it, too. */
static void release(struct place *p)
{
    evloop_timer_off(p->deadline);
    if (p->bev)
        (void)bufferevent_decref(p->bev);
    p->bev = NULL;
}

static void cut(struct place *p)
{
    (void)shutdown(bufferevent_getfd(p->bev), SHUT_RDWR);
    release(p);
}

static void on_deadline(void *ctx)
{
    cut(ctx);
}

static void on_closed(struct evhttp_connection *connection, void *ctx)
{
    struct http *h = ctx;
    for (int i = 0; i < HTTP_CONNECTIONS; i++)
        if (h->place[i].bev == evhttp_connection_get_bufferevent(connection))
            release(&h->place[i]);
}

static void pause_accepting(struct http *h, int64_t ns)
{
    (void)evconnlistener_disable(h->listener);
    evloop_timer_set(h->resume, ns);
}

static void on_resume(void *ctx)
{
    struct http *h = ctx;
    if (evconnlistener_enable(h->listener) != 0)
        evloop_timer_set(h->resume, PAUSE_NS);
}

/* Finds a free place (*empty, NULL if there is none) and the oldest connection (returned, NULL if there is none). A
 * bufferevent that neither reads nor writes is one that evhttp is done with: it tells only of those that came as far
 * as a request. */
static struct place *look_over(struct http *h, struct place **empty)
{
    struct place *oldest = NULL;
    *empty = NULL;
    for (int i = 0; i < HTTP_CONNECTIONS; i++) {
        struct place *p = &h->place[i];
        if (p->bev && bufferevent_get_enabled(p->bev) == 0)
            release(p);
        if (!p->bev)
            *empty = p;
        else if (!oldest || p->number < oldest->number)
            oldest = p;
    }
    return oldest;
}

/* A free place, or that of the oldest connection. */
static struct place *make_room(struct http *h)
{
    struct place *empty, *oldest = look_over(h, &empty);
    if (empty)
        return empty;
    cut(oldest);
    pause_accepting(h, 0); /* the listener would empty the whole queue before the loop gets to the one that is cut */
    return oldest;
}

/* evhttp has accepted a connection. */
static struct bufferevent *on_accepted(struct event_base *base, void *ctx)
{
    struct http *h = ctx;
    struct place *p = make_room(h);
    p->bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!p->bev)
        return NULL; /* evhttp makes one, or fails likewise and closes */
    bufferevent_incref(p->bev);
    p->number = ++h->accepted;
    p->since = h->clock->mono(h->clock->ctx);
    evloop_timer_set(p->deadline, HTTP_DEADLINE_NS);
    return p->bev;
}

/* ctx is evhttp's own: libevent hands to this call what the listener's owner gave for accepting. Linux looks for a free
 * fd before it looks for a connection: this may be the end of the queue, right after a connection has got the last fd.
 */
static void on_accept_error(struct evconnlistener *listener, void *ctx)
{
    struct http *h = the_server;
    const char *why = strerror(errno);
    struct place *empty, *oldest = look_over(h, &empty);
    struct mono now = h->clock->mono(h->clock->ctx);
    unsigned long suppressed;
    (void)listener;
    (void)ctx;
    if (log_allow(&h->limit, now, &suppressed))
        log_warn("cannot accept an HTTP connection error=%s suppressed=%lu", why, suppressed);
    if (oldest && now.ns - oldest->since.ns >= STALLS_NS)
        cut(oldest); /* gives one fd back */
    pause_accepting(h, PAUSE_NS);
}

/* ---- requests ---- */

static void answer(struct evhttp_request *request, int status, const char *type, struct text *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    bool head = evhttp_request_get_command(request) == EVHTTP_REQ_HEAD;
    char length[24];
    (void)snprintf(length, sizeof length, "%zu", body->len);
    if (body->failed || evhttp_add_header(headers, "Content-Length", length) != 0 ||
        (!head && evbuffer_add(evhttp_request_get_output_buffer(request), body->data, body->len) != 0)) {
        evhttp_send_error(request, HTTP_INTERNAL, NULL);
        return;
    }
    (void)evhttp_add_header(headers, "Content-Type", type);
    (void)evhttp_add_header(headers, "Connection", "close");
    (void)evhttp_add_header(headers, "Cache-Control", "no-store");
    (void)evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    (void)evhttp_add_header(headers, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    if (status == HTTP_BADMETHOD)
        (void)evhttp_add_header(headers, "Allow", "GET, HEAD");
    evhttp_send_reply(request, status, NULL, NULL);
}

static void on_request(struct evhttp_request *request, void *ctx)
{
    struct http *h = ctx;
    struct text body = {0};
    const char *type = "text/plain; charset=utf-8";
    const char *accept = evhttp_find_header(evhttp_request_get_input_headers(request), "Accept");
    int status = HTTP_BADMETHOD;
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_closed, h);
    if (evhttp_request_get_command(request) & (EVHTTP_REQ_GET | EVHTTP_REQ_HEAD))
        status = h->handler(h->ctx, evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request)), accept ? accept : "",
                            &body, &type);
    if (status == HTTP_BADMETHOD)
        text_printf(&body, "only GET and HEAD are served\n");
    else if (status == HTTP_NOTFOUND && body.len == 0)
        text_printf(&body, "not found\n");
    answer(request, status, type, &body);
    text_free(&body);
}

/* ---- life ---- */

static bool serve(struct http *h, struct evloop *loop, int listen_fd)
{
    h->server = evhttp_new(evloop_base(loop));
    h->resume = evloop_timer(loop, on_resume, h);
    if (!h->server || !h->resume)
        return false;
    for (int i = 0; i < HTTP_CONNECTIONS; i++) {
        h->place[i].deadline = evloop_timer(loop, on_deadline, &h->place[i]);
        if (!h->place[i].deadline)
            return false;
    }
    evhttp_set_allowed_methods(h->server, METHODS);
    evhttp_set_max_headers_size(h->server, HTTP_HEAD_MAX);
    evhttp_set_max_body_size(h->server, 0);
    evhttp_set_timeout(h->server, (int)(HTTP_DEADLINE_NS / NS_PER_SEC));
    evhttp_set_bevcb(h->server, on_accepted, h);
    evhttp_set_gencb(h->server, on_request, h);
    if (evutil_make_socket_nonblocking(listen_fd) != 0)
        return false;
    struct evhttp_bound_socket *bound = evhttp_accept_socket_with_handle(h->server, listen_fd);
    if (!bound)
        return false;
    h->listener = evhttp_bound_socket_get_listener(bound);
    the_server = h;
    evconnlistener_set_error_cb(h->listener, on_accept_error);
    return true;
}

struct http *http_new(struct evloop *loop, const struct clock *clock, int listen_fd, http_handler *handler, void *ctx)
{
    struct http *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->clock = clock;
    h->handler = handler;
    h->ctx = ctx;
    if (!serve(h, loop, listen_fd)) {
        http_free(h);
        return NULL;
    }
    return h;
}

void http_free(struct http *h)
{
    if (!h)
        return;
    if (the_server == h)
        the_server = NULL;
    if (h->server)
        evhttp_free(h->server); /* and the connections, the listener and its socket */
    for (int i = 0; i < HTTP_CONNECTIONS && h->place[i].deadline; i++) {
        release(&h->place[i]);
        evsource_remove(h->place[i].deadline);
    }
    evsource_remove(h->resume);
    free(h);
}
