/* SPDX-License-Identifier: Apache-2.0
 * The HTTP server for scrapers and people, libevent's evhttp behind one door: GET and HEAD, one request per connection.
 * Bounded in every direction: 4 KiB of head, no body, 8 connections, 5 seconds from accept to close. */
#ifndef HUB_HTTP_H
#define HUB_HTTP_H

#include "dispatcher/hub/text.h"
#include "shared/clock.h"
#include "shared/evloop.h"

#define HTTP_CONNECTIONS 8
#define HTTP_HEAD_MAX 4096
#define HTTP_DEADLINE_NS (5 * NS_PER_SEC)

struct http;

/* Fills body and *type (static storage) for a path (as sent, not decoded, less a query) and returns the status: 200,
 * 404 or 503. accept: what the client said it takes, as sent; "" = nothing said. */
typedef int http_handler(void *ctx, const char *path, const char *accept, struct text *body, const char **type);

/* Serves on a listening socket, which becomes http's. The process ignores SIGPIPE. NULL: no memory; the socket may be
 * closed or not, the caller is about to exit. */
struct http *http_new(struct evloop *loop, const struct clock *clock, int listen_fd, http_handler *handler, void *ctx);
void http_free(struct http *h); /* NULL is fine; before its loop */

#endif
