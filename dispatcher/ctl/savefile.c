/* SPDX-License-Identifier: Apache-2.0
 * File -> inflate -> records, through one buffer that holds the longest record. Failure policy: the first thing that is
 * not as it must be ends the reading with a text; nothing is repaired. */
#include "dispatcher/ctl/savefile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/ctl/gunzip.h"
#include "shared/clock.h"
#include "shared/frame.h"

#define MAGIC_NANO 0xa1b23c4du
#define HEAD 24u
#define RECORD_HEAD 16u
#define SNAPLEN_MAX (FRAME_MAX_CAPLEN + FRAME_TCP_MAX)

struct reader {
    struct savefile *out;
    char *error;
    uint32_t snaplen; /* 0 = the head has not been read */
    int linktype;
    uint64_t at; /* bytes of the savefile that are done */
    bool keyed;
    struct flowkey key;
    size_t len;
    uint8_t raw[1 << 18];
};
_Static_assert(RECORD_HEAD + SNAPLEN_MAX < (1 << 18), "the longest record fits");

#define REFUSE(r, ...) (snprintf((r)->error, SAVEFILE_ERROR, __VA_ARGS__), SC_EFORMAT)

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int take_head(struct reader *r, const uint8_t *p)
{
    if (le32(p) != MAGIC_NANO)
        return REFUSE(r, "its magic is %08x, not that of a little-endian nanosecond savefile", le32(p));
    if (le32(p + 4) != (4u << 16 | 2u) || le32(p + 8) != 0 || le32(p + 12) != 0)
        return REFUSE(r, "version, zone or sigfigs of its head are wrong");
    r->snaplen = le32(p + 16);
    r->linktype = (int)le32(p + 20);
    if (r->snaplen == 0 || r->snaplen > SNAPLEN_MAX)
        return REFUSE(r, "its snaplen is %" PRIu32, r->snaplen);
    if (!frame_linktype_known(r->linktype))
        return REFUSE(r, "its linktype is %d", r->linktype);
    return SC_OK;
}

/* All records of a file belong to one connection. What the file's snaplen has cut may end before the ports. */
static int take_key(struct reader *r, const uint8_t *bytes, uint32_t caplen, uint32_t wire_len)
{
    struct frame f;
    enum cause cause = frame_parse(bytes, caplen, wire_len, r->linktype, &f);
    if (cause != CAUSE_NONE && caplen == r->snaplen) {
        r->out->unkeyed++;
        return SC_OK;
    }
    if (cause != CAUSE_NONE)
        return REFUSE(r, "packet %" PRIu64 " is not TCP/IP: %s", r->out->packets, cause_name(cause));
    if (r->keyed && !flowkey_equal(&r->key, &f.key))
        return REFUSE(r, "packet %" PRIu64 " belongs to another connection than the first", r->out->packets);
    r->key = f.key;
    r->keyed = true;
    return SC_OK;
}

/* Takes one record from the n bytes at p. Its length; 0 = not all there; or SC_EFORMAT. */
static int take_record(struct reader *r, const uint8_t *p, size_t n)
{
    if (n < RECORD_HEAD)
        return 0;
    uint32_t nsec = le32(p + 4), caplen = le32(p + 8), wire_len = le32(p + 12);
    if (nsec >= NS_PER_SEC || caplen == 0 || caplen > r->snaplen || caplen > wire_len)
        return REFUSE(r, "record %" PRIu64 " at byte %" PRIu64 ": nsec %u, caplen %u, wire length %u, snaplen %u",
                      r->out->packets + 1, r->at, nsec, caplen, wire_len, r->snaplen);
    if (n < RECORD_HEAD + caplen)
        return 0;
    r->out->packets++;
    int err = take_key(r, p + RECORD_HEAD, caplen, wire_len);
    return err ? err : (int)(RECORD_HEAD + caplen);
}

/* Takes what is whole out of the buffer. */
static int take(struct reader *r)
{
    size_t done = 0;
    if (r->snaplen == 0) {
        if (r->len < HEAD)
            return SC_OK;
        int err = take_head(r, r->raw);
        if (err)
            return err;
        done = HEAD;
        r->at += HEAD;
    }
    for (;;) {
        int n = take_record(r, r->raw + done, r->len - done);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
        r->at += (uint64_t)n;
    }
    memmove(r->raw, r->raw + done, r->len - done);
    r->len -= done;
    return SC_OK;
}

static ssize_t read_some(int fd, uint8_t *buf, size_t size)
{
    ssize_t n;
    do
        n = read(fd, buf, size);
    while (n < 0 && errno == EINTR);
    return n;
}

static int read_plain(struct reader *r, int fd)
{
    for (;;) {
        ssize_t n = read_some(fd, r->raw + r->len, sizeof r->raw - r->len);
        if (n < 0)
            return SC_ESYS;
        if (n == 0)
            return SC_OK;
        r->out->bytes += (uint64_t)n;
        r->len += (size_t)n;
        int err = take(r);
        if (err)
            return err;
    }
}

/* Inflates all of the input. GUNZIP_END is the end of the one member. */
static int inflate_all(struct reader *r, struct gunzip *g, const uint8_t **in, size_t *len, enum gunzip_state *state)
{
    size_t made;
    do {
        size_t room = sizeof r->raw - r->len;
        *state = gunzip_step(g, in, len, r->raw + r->len, room, &made);
        if (*state == GUNZIP_BAD)
            return REFUSE(r, "it is no gzip member: %s", gunzip_why(g));
        r->len += made;
        int err = take(r);
        if (err)
            return err;
        if (made < room && *len == 0)
            break;
    } while (*state == GUNZIP_MORE);
    return SC_OK;
}

static int read_member(struct reader *r, int fd, struct gunzip *g)
{
    static uint8_t in[1 << 16];
    enum gunzip_state state = GUNZIP_MORE;
    for (;;) {
        ssize_t n = read_some(fd, in, sizeof in);
        if (n < 0)
            return SC_ESYS;
        if (n == 0)
            return state == GUNZIP_END ? SC_OK : REFUSE(r, "it is cut: its gzip member does not end");
        r->out->bytes += (uint64_t)n;
        if (state == GUNZIP_END)
            return REFUSE(r, "bytes follow its gzip member");
        const uint8_t *at = in;
        size_t left = (size_t)n;
        int err = inflate_all(r, g, &at, &left, &state);
        if (err)
            return err;
        if (left > 0)
            return REFUSE(r, "bytes follow its gzip member");
    }
}

int savefile_read(int fd, bool gzip, struct savefile *out, char error[SAVEFILE_ERROR])
{
    static struct reader r; /* large; used up before it returns */
    struct gunzip *g = gzip ? gunzip_new() : NULL;
    memset(out, 0, sizeof *out);
    r.out = out;
    r.error = error;
    r.snaplen = 0;
    r.at = 0;
    r.len = 0;
    r.keyed = false;
    if (gzip && !g)
        return snprintf(error, SAVEFILE_ERROR, "out of memory"), SC_ENOMEM;
    int err = gzip ? read_member(&r, fd, g) : read_plain(&r, fd);
    gunzip_free(g);
    if (err == SC_ESYS)
        snprintf(error, SAVEFILE_ERROR, "cannot read: %s", strerror(errno));
    if (err)
        return err;
    if (r.snaplen == 0)
        return REFUSE(&r, "it has no savefile head");
    if (r.len > 0)
        return REFUSE(&r, "its last record is cut");
    return out->packets > 0 ? SC_OK : REFUSE(&r, "it holds no packet");
}
