/* SPDX-License-Identifier: Apache-2.0
 * UUID rule, cookie names and prefixes. A UUID becomes a file name, so nothing passes that is not on the list.
 * Failure policy: what breaks the rule is refused, never repaired; only the default prefix, which nobody chose, is made
 * to fit. */
#include "shared/uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

_Static_assert(UUID_MAX - UUID_PREFIX_MAX == 17, "_%016X");

/* Not isalnum: that follows the locale. */
static bool may_stand_first(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool may_follow(char c)
{
    return may_stand_first(c) || c == '.' || c == '_' || c == ':' || c == '-';
}

bool uuid_valid(const char *text, size_t len)
{
    if (len < 1 || len > UUID_MAX || !may_stand_first(text[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!may_follow(text[i]) || (text[i] == '.' && text[i - 1] == '.'))
            return false;
    return true;
}

int uuid_set(struct uuid *out, const char *text, size_t len)
{
    memset(out, 0, sizeof *out);
    if (!uuid_valid(text, len))
        return SC_EFORMAT;
    memcpy(out->text, text, len);
    return SC_OK;
}

int uuid_from_cookie(struct uuid *out, const char *prefix, uint64_t cookie)
{
    size_t len = strlen(prefix);
    memset(out, 0, sizeof *out);
    if (len > UUID_PREFIX_MAX)
        return SC_ETOOLONG;
    if (!uuid_valid(prefix, len))
        return SC_EFORMAT;
    (void)snprintf(out->text, sizeof out->text, "%s_%016" PRIX64, prefix, cookie);
    return SC_OK;
}

int uuid_cookie(const struct uuid *uuid, uint64_t *cookie_r)
{
    size_t len = strlen(uuid->text);
    *cookie_r = 0;
    if (len < 18 || uuid->text[len - 17] != '_')
        return SC_EFORMAT;
    uint64_t v = 0;
    for (const char *p = uuid->text + len - 16; *p; p++) {
        bool digit = *p >= '0' && *p <= '9';
        if (!digit && (*p < 'A' || *p > 'F'))
            return SC_EFORMAT;
        v = v << 4 | (uint64_t)(digit ? *p - '0' : *p - 'A' + 10);
    }
    *cookie_r = v;
    return SC_OK;
}

int uuid_prefix_of(const struct uuid *uuid, struct uuid *prefix_r)
{
    uint64_t cookie;
    memset(prefix_r, 0, sizeof *prefix_r);
    if (uuid_cookie(uuid, &cookie) != SC_OK)
        return SC_EFORMAT;
    return uuid_set(prefix_r, uuid->text, strlen(uuid->text) - 17);
}

void uuid_compose_prefix(struct uuid *out, const char *host, int64_t boot_s)
{
    char tail[40];
    int tail_len = snprintf(tail, sizeof tail, "_%" PRId64 "_unsafe", boot_s);
    size_t room = UUID_PREFIX_MAX - (size_t)tail_len, n = 0;
    if (*host == '\0')
        host = "unknown";
    memset(out, 0, sizeof *out);
    if (!may_stand_first(*host))
        out->text[n++] = 'x';
    for (; *host && n < room; host++, n++) {
        bool fits = may_follow(*host) && !(*host == '.' && n > 0 && out->text[n - 1] == '.');
        out->text[n] = *host;
        if (!fits)
            out->text[n] = '-';
    }
    memcpy(out->text + n, tail, (size_t)tail_len);
}

int uuid_default_prefix(struct uuid *out)
{
    char host[256] = "";
    const char *pod = getenv("POD_NAME");
    if (!pod || *pod == '\0') {
        if (gethostname(host, sizeof host - 1) != 0)
            return SC_ESYS;
        pod = host;
    }
    /* CLOCK_BOOTTIME is what /proc/uptime shows, and needs no file. */
    struct timespec now, up;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || clock_gettime(CLOCK_BOOTTIME, &up) != 0)
        return SC_ESYS;
    uuid_compose_prefix(out, pod, (int64_t)now.tv_sec - (int64_t)up.tv_sec - (now.tv_nsec < up.tv_nsec));
    return SC_OK;
}

int uuid_prefix_from_file(struct uuid *out, const char *path)
{
    char buf[UUID_MAX * 2];
    size_t len = 0;
    memset(out, 0, sizeof *out);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: a FIFO must not hold up the start */
    if (fd < 0)
        return SC_ESYS;
    ssize_t n;
    while (len < sizeof buf && (n = read(fd, buf + len, sizeof buf - len)) != 0) {
        if (n > 0) {
            len += (size_t)n;
        } else if (errno != EINTR) {
            int why = errno;
            close(fd);
            errno = why;
            return SC_ESYS;
        }
    }
    close(fd);
    if (len > 0 && buf[len - 1] == '\n')
        len--;
    if (len > UUID_PREFIX_MAX)
        return SC_ETOOLONG;
    return uuid_set(out, buf, len);
}
