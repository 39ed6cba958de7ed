/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: see salvage.h. A place where a file can be ended is one where a deflate block ends on a byte boundary
 * (or, without compression, anywhere) and a record ends, too. */
#include "shard/salvage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shard/encoder.h"
#include "shard/inflater.h"
#include "shared/clock.h"
#include "shared/frame.h"

#define IN_BYTES 65536
#define OUT_BYTES 65536
#define PCAP_HEAD 24u
#define RECORD_HEAD 16u
#define MAGIC_NANO 0xa1b23c4du

/* Follows a savefile through pieces of any size. */
struct records {
    uint8_t head[PCAP_HEAD];
    unsigned have;          /* bytes of a head */
    uint32_t skip;          /* bytes of the record that are still to come */
    uint32_t snaplen;       /* 0: the savefile's head is still to come */
    uint64_t packets, done; /* done: bytes of whole records */
    bool bad;
};

struct reader {
    int fd;
    uint64_t at; /* of the input buffer in the file */
    size_t len, next;
    uint8_t in[IN_BYTES], out[OUT_BYTES];
    struct records records;
    uint32_t crc;
    uint64_t raw;
};

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void take_head(struct records *r)
{
    if (r->snaplen == 0) {
        r->snaplen = le32(r->head + 16);
        r->bad = le32(r->head) != MAGIC_NANO || r->snaplen == 0 || r->snaplen > FRAME_MAX_CAPLEN + FRAME_TCP_MAX;
        r->done = PCAP_HEAD;
    } else {
        r->skip = le32(r->head + 8);
        r->bad =
            le32(r->head + 4) >= NS_PER_SEC || r->skip == 0 || r->skip > r->snaplen || r->skip > le32(r->head + 12);
    }
    r->have = 0;
}

static void records_feed(struct records *r, const uint8_t *p, size_t n)
{
    while (n > 0 && !r->bad) {
        if (r->skip > 0) {
            size_t some = n < r->skip ? n : r->skip;
            r->skip -= (uint32_t)some;
            p += some;
            n -= some;
            if (r->skip == 0) {
                r->packets++;
                r->done += RECORD_HEAD + le32(r->head + 8);
            }
            continue;
        }
        unsigned size = r->snaplen == 0 ? PCAP_HEAD : RECORD_HEAD;
        size_t some = size - r->have < n ? size - r->have : n;
        memcpy(r->head + r->have, p, some);
        r->have += (unsigned)some;
        p += some;
        n -= some;
        if (r->have == size)
            take_head(r);
    }
}

static bool between_records(const struct records *r)
{
    return !r->bad && r->packets > 0 && r->have == 0 && r->skip == 0;
}

/* Fills the input buffer once it is used up. 1, 0 at the end of the file, -1. */
static int refill(struct reader *r)
{
    if (r->next < r->len)
        return 1;
    r->at += r->len;
    r->next = 0;
    ssize_t n;
    do
        n = pread(r->fd, r->in, sizeof r->in, (off_t)r->at);
    while (n < 0 && errno == EINTR);
    r->len = n > 0 ? (size_t)n : 0;
    return n > 0 ? 1 : (int)n;
}

/* The file could be ended here, with what tail says. */
static void mark(const struct reader *r, struct salvage *out)
{
    static const uint8_t last_block[2] = {3, 0}; /* an empty one, RFC 1951 */
    out->packets = r->records.packets;
    out->keep = r->at + r->next;
    memcpy(out->tail, last_block, sizeof last_block);
    out->tail_len =
        (uint8_t)(sizeof last_block + encoder_gzip_tail(GZIP_ZLIB, r->crc, r->raw, out->tail + sizeof last_block));
}

/* After the end of the stream: exactly its trailer, and no byte more. */
static bool trailer_is_right(struct reader *r)
{
    uint8_t want[GZIP_TAIL], got[GZIP_TAIL + 1];
    size_t n = encoder_gzip_tail(GZIP_ZLIB, r->crc, r->raw, want);
    return pread(r->fd, got, sizeof got, (off_t)(r->at + r->next)) == (ssize_t)n && memcmp(got, want, n) == 0;
}

static int end_of_stream(struct reader *r, struct salvage *out)
{
    if (between_records(&r->records)) { /* just marked; only the trailer may be missing */
        out->whole = trailer_is_right(r);
        out->tail_len = (uint8_t)encoder_gzip_tail(GZIP_ZLIB, r->crc, r->raw, out->tail);
    }
    return out->packets > 0 ? SC_OK : SC_EFORMAT;
}

static int read_deflated(struct reader *r, struct inflater *z, struct salvage *out)
{
    for (;;) {
        int more = refill(r);
        if (more < 0)
            return SC_ESYS;
        size_t made = 0;
        size_t before = r->next;
        int state = inflater_step(z, r->in, r->len, &r->next, r->out, sizeof r->out, &made);
        bool stuck = !more && state == INFLATER_MORE && made == 0 && r->next == before;
        if (state < 0 || stuck)
            return out->packets > 0 ? SC_OK : SC_EFORMAT; /* up to the last mark */
        records_feed(&r->records, r->out, made);
        r->crc = encoder_crc(r->crc, r->out, made);
        r->raw += made;
        if (r->records.bad)
            return out->packets > 0 ? SC_OK : SC_EFORMAT;
        if (state != INFLATER_MORE && between_records(&r->records))
            mark(r, out);
        if (state == INFLATER_END)
            return end_of_stream(r, out);
    }
}

static int read_plain(struct reader *r, struct salvage *out)
{
    int more;
    r->at = r->len = r->next = 0;
    while ((more = refill(r)) > 0 && !r->records.bad) {
        records_feed(&r->records, r->in, r->len);
        r->next = r->len;
    }
    out->packets = r->records.packets;
    out->keep = r->records.done;
    out->whole = more == 0 && between_records(&r->records);
    if (more < 0)
        return SC_ESYS;
    return out->packets > 0 ? SC_OK : SC_EFORMAT;
}

static int read_file(struct reader *r, struct salvage *out)
{
    uint8_t want[GZIP_HEAD];
    off_t end = lseek(r->fd, 0, SEEK_END);
    int more = end < 0 ? -1 : refill(r);
    out->bytes = end > 0 ? (uint64_t)end : 0;
    if (more < 0)
        return SC_ESYS;
    out->gzip = r->len >= 2 && r->in[0] == 0x1f && r->in[1] == 0x8b;
    if (!out->gzip)
        return read_plain(r, out);
    r->next = encoder_gzip_head(GZIP_ZLIB, want);
    if (r->len < r->next || memcmp(r->in, want, r->next) != 0)
        return SC_EFORMAT;
    struct inflater *z = inflater_new();
    int err = z ? read_deflated(r, z, out) : SC_ENOMEM;
    inflater_free(z);
    return err;
}

int salvage_read(int fd, struct salvage *out)
{
    struct reader *r = calloc(1, sizeof *r);
    memset(out, 0, sizeof *out);
    if (!r)
        return SC_ENOMEM;
    r->fd = fd;
    int err = read_file(r, out);
    free(r);
    return err;
}
