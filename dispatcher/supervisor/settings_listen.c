/* SPDX-License-Identifier: Apache-2.0
 * The metrics address in Go's form (":9990", "127.0.0.1:9993", "[::1]:9990", "localhost:0") -> a listening socket; and
 * a unix socket at a path. */
#include "dispatcher/supervisor/settings_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int settings_split_address(const char *address, char host[256], unsigned *port_r)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon - address > 255 || !colon[1])
        return SC_EFORMAT;
    size_t n = (size_t)(colon - address);
    const char *from = address;
    if (n >= 2 && address[0] == '[' && colon[-1] == ']') {
        from++;
        n -= 2;
    } else if (memchr(address, ':', n)) {
        return SC_EFORMAT; /* an IPv6 address needs its brackets */
    }
    size_t digits = strspn(colon + 1, "0123456789");
    unsigned long port = strtoul(colon + 1, NULL, 10);
    if (colon[1 + digits] || digits > 5 || port > 65535)
        return SC_EFORMAT;
    memcpy(host, from, n);
    host[n] = '\0';
    *port_r = (unsigned)port;
    return SC_OK;
}

static int listen_at(const struct addrinfo *ai)
{
    int one = 1, off = 0;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (ai->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 16) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* http://ADDR:PORT as a person would type it; a wildcard shows as 127.0.0.1. */
static void write_url(int fd, char *url, size_t cap)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } ss = {0};
    socklen_t len = sizeof(ss);
    char text[INET6_ADDRSTRLEN] = "127.0.0.1";
    unsigned port = 0;
    url[0] = '\0';
    if (getsockname(fd, &ss.any, &len) != 0)
        return;
    if (ss.any.sa_family == AF_INET) {
        const struct sockaddr_in *in = &ss.v4;
        port = ntohs(in->sin_port);
        if (in->sin_addr.s_addr != htonl(INADDR_ANY))
            inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    } else {
        const struct sockaddr_in6 *in = &ss.v6;
        port = ntohs(in->sin6_port);
        if (memcmp(&in->sin6_addr, &in6addr_any, sizeof(in6addr_any)) != 0) {
            inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof(text));
            snprintf(url, cap, "http://[%s]:%u", text, port);
            return;
        }
    }
    snprintf(url, cap, "http://%s:%u", text, port);
}

int settings_listen(const char *address, char *url, size_t url_cap, char *error)
{
    char host[256], service[8];
    unsigned port;
    if (settings_split_address(address, host, &port) != SC_OK) {
        settings_error(error, SETTINGS_BAD_ADDRESS, address);
        return -1;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    snprintf(service, sizeof(service), "%u", port);
    if (!host[0])
        hints.ai_family = AF_INET6; /* dual stack; IPv4 alone below where there is no IPv6 */
    int rc = getaddrinfo(host[0] ? host : NULL, service, &hints, &list);
    if (rc != 0) {
        settings_error(error, "flag -prometheusx.listen-address: %s: %s", host, gai_strerror(rc));
        return -1;
    }
    int fd = listen_at(list);
    freeaddrinfo(list);
    if (fd < 0 && !host[0] && errno != EADDRINUSE) {
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        struct addrinfo v4 = {
            .ai_family = AF_INET, .ai_addr = (struct sockaddr *)(void *)&any, .ai_addrlen = sizeof(any)};
        fd = listen_at(&v4);
    }
    if (fd >= 0)
        write_url(fd, url, url_cap);
    else if (errno == EADDRINUSE)
        settings_error(
            error, "flag -prometheusx.listen-address: port %u is in use; choose another, or port 0 for any free one",
            port);
    else
        settings_error(error, "flag -prometheusx.listen-address: cannot listen on %s: %s", address, strerror(errno));
    return fd;
}

/* Removes a leftover of a server that is gone. SC_OK: the path is free. */
static int clear_path(const char *path, const struct sockaddr_un *address, char *error)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return SC_OK; /* or it cannot be reached, which bind says better */
    if (!S_ISSOCK(st.st_mode)) {
        settings_error(error, "flag -events.serve: %s is there and is no socket; choose another path", path);
        return SC_EEXIST;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool used = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    if (used) {
        settings_error(error, "flag -events.serve: somebody serves at %s already; choose another path", path);
        return SC_EEXIST;
    }
    (void)unlink(path);
    return SC_OK;
}

int settings_serve(const struct config *c, char *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, c->serve, strnlen(c->serve, sizeof(address.sun_path) - 1)); /* flags know no longer one */
    if (clear_path(c->serve, &address, error) != SC_OK)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0117);
    int rc = fd < 0 ? -1 : bind(fd, (const struct sockaddr *)&address, sizeof(address));
    int saved = errno;
    (void)umask(before);
    bool bound = rc == 0;
    if (bound && c->user_switch)
        rc = fchownat(AT_FDCWD, c->serve, c->uid, c->gid, AT_SYMLINK_NOFOLLOW);
    if (bound && rc == 0)
        rc = listen(fd, 16);
    if (rc == 0)
        return fd;
    saved = bound ? errno : saved;
    if (bound)
        (void)unlink(c->serve);
    if (fd >= 0)
        close(fd);
    settings_error(error, "flag -events.serve: cannot listen at %s: %s", c->serve, strerror(saved));
    return -1;
}
