/* SPDX-License-Identifier: Apache-2.0
 * A small HTTP/1.1 server for scrapers and people: GET, one request per connection. Bounded in every direction: 4 KiB
 * of request, 8 connections, 5 seconds from accept to close. Written on the event loop itself rather than on libevent's
 * evhttp, which has no limit of connections and whose timeouts start anew with every byte that a slow client drips. */
#ifndef HUB_HTTP_H
#define HUB_HTTP_H

#include <stddef.h>

#include "dispatcher/hub/text.h"
#include "shared/clock.h"
#include "shared/evloop.h"

#define HTTP_CONNECTIONS 8
#define HTTP_REQUEST_MAX 4096
#define HTTP_PATH_MAX 256
#define HTTP_DEADLINE_NS (5 * NS_PER_SEC)

struct http;

/* Fills body and *type (static storage) for a path and returns the status: 200, 404 or 503. */
typedef int http_handler(void *ctx, const char *path, struct text *body, const char **type);

/* Serves on a listening socket, which becomes http's. NULL: no memory. */
struct http *http_new(struct evloop *loop, const struct clock *clock, int listen_fd, http_handler *handler, void *ctx);
void http_free(struct http *h); /* NULL is fine */

enum http_parsed {
    HTTP_MORE, /* the head has not ended yet */
    HTTP_GET,  /* path is set, less a query */
    HTTP_BAD,  /* status says which: 400, 405, 414, 431, 505 */
};
/* Looks at the len bytes that have come. */
enum http_parsed http_parse(const char *bytes, size_t len, char path[HTTP_PATH_MAX], int *status);

#endif
