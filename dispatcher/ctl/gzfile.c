/* SPDX-License-Identifier: Apache-2.0
 * A stdio stream whose reads inflate. Failure policy: see gzfile.h. */
#include "dispatcher/ctl/gzfile.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/ctl/gunzip.h"

struct gzfile {
    int fd;
    struct gunzip *gunzip; /* NULL: what the file holds is passed on */
    bool looked, inside;   /* the first bytes were looked at; a member has begun */
    const uint8_t *at;
    size_t len;
    uint8_t in[1 << 16];
};

/* Reads into the empty buffer until it holds `least` bytes or the file ends. Returns 0 or -1. */
static int fill(struct gzfile *f, size_t least)
{
    f->at = f->in;
    f->len = 0;
    while (f->len < least) {
        ssize_t n = read(f->fd, f->in + f->len, sizeof f->in - f->len);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n == 0)
            break;
        f->len += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Is it gzip? */
static int look(struct gzfile *f)
{
    f->looked = true;
    if (fill(f, 2) < 0)
        return -1;
    if (f->len >= 2 && f->in[0] == 0x1f && f->in[1] == 0x8b)
        f->gunzip = gunzip_new();
    else
        return 0;
    errno = ENOMEM;
    return f->gunzip ? 0 : -1;
}

static ssize_t broken(void)
{
    errno = EIO;
    return -1;
}

/* Inflates the next bytes; 0 at the end of the file. */
static ssize_t inflate_some(struct gzfile *f, uint8_t *out, size_t n)
{
    for (;;) {
        if (f->len == 0 && fill(f, 1) < 0)
            return -1;
        if (f->len == 0)
            return f->inside ? broken() : 0;
        size_t made;
        if (!f->inside)
            gunzip_again(f->gunzip);
        f->inside = true;
        enum gunzip_state state = gunzip_step(f->gunzip, &f->at, &f->len, out, n, &made);
        if (state == GUNZIP_BAD)
            return broken();
        if (state == GUNZIP_END)
            f->inside = false;
        if (made > 0)
            return (ssize_t)made;
    }
}

static ssize_t on_read(void *cookie, char *out, size_t n)
{
    struct gzfile *f = cookie;
    if (n == 0 || (!f->looked && look(f) < 0))
        return n == 0 ? 0 : -1;
    if (f->gunzip)
        return inflate_some(f, (uint8_t *)out, n);
    if (f->len == 0 && fill(f, 1) < 0)
        return -1;
    if (n > f->len)
        n = f->len;
    memcpy(out, f->at, n);
    f->at += n;
    f->len -= n;
    return (ssize_t)n;
}

static int on_close(void *cookie)
{
    struct gzfile *f = cookie;
    gunzip_free(f->gunzip);
    int rc = close(f->fd);
    free(f);
    return rc;
}

FILE *gzfile_reader(int fd)
{
    struct gzfile *f = calloc(1, sizeof *f);
    FILE *stream = NULL;
    if (f) {
        f->fd = fd;
        stream = fopencookie(f, "r", (cookie_io_functions_t){.read = on_read, .close = on_close});
    }
    if (!stream) {
        int saved = errno;
        free(f);
        (void)close(fd);
        errno = saved;
    }
    return stream;
}
