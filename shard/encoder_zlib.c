/* SPDX-License-Identifier: Apache-2.0
 * The zlib encoder: one deflate state for all flows of a shard, reset for each chunk (reset, dictionary, deflate).
 * windowBits -15 = raw deflate with the 32 KiB window every reader has; memLevel 6 halves the hash table that each
 * reset clears. Failure policy: zlib fails only when the contract is broken or memory is gone at start; the first is a
 * panic. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "shard/encoder.h"
#include "shared/log.h"

struct encoder {
    z_stream z;
    enum gzip_mode mode;
};

struct encoder *encoder_new(enum gzip_mode mode)
{
    struct encoder *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->mode = mode;
    int level = mode == GZIP_FAST ? 1 : 6;
    if (mode != GZIP_NONE && deflateInit2(&e->z, level, Z_DEFLATED, -15, 6, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(e);
        return NULL;
    }
    return e;
}

void encoder_free(struct encoder *e)
{
    if (!e)
        return;
    if (e->mode != GZIP_NONE)
        deflateEnd(&e->z);
    free(e);
}

size_t encoder_bound(const struct encoder *e, size_t n)
{
    (void)e;
    /* zlib's own bound for stored blocks, plus the empty block of a sync flush. */
    return n + (n >> 12) + (n >> 14) + (n >> 25) + 32 + 5 * (n / 8192 + 1);
}

size_t encoder_chunk(struct encoder *e, const uint8_t *dict, size_t dict_len, const uint8_t *in, size_t n, bool last,
                     uint8_t *out, size_t cap)
{
    if (e->mode == GZIP_NONE) {
        memcpy(out, in, n);
        return n;
    }
    if (deflateReset(&e->z) != Z_OK)
        log_panic("zlib: deflateReset");
    if (dict_len > 0 && deflateSetDictionary(&e->z, dict, (uInt)dict_len) != Z_OK)
        log_panic("zlib: deflateSetDictionary");
    e->z.next_in = (Bytef *)(uintptr_t)in; /* zlib's field lacks const; it only reads */
    e->z.avail_in = (uInt)n;
    e->z.next_out = out;
    e->z.avail_out = (uInt)cap;
    int rc = deflate(&e->z, last ? Z_FINISH : Z_SYNC_FLUSH);
    if (rc != (last ? Z_STREAM_END : Z_OK) || e->z.avail_in != 0 || e->z.avail_out == 0)
        log_panic("zlib: deflate rc=%d left=%u", rc, e->z.avail_in);
    return cap - e->z.avail_out;
}

uint32_t encoder_crc(uint32_t crc, const uint8_t *in, size_t n)
{
    return (uint32_t)crc32(crc, in, (uInt)n);
}

size_t encoder_gzip_head(enum gzip_mode mode, uint8_t out[GZIP_HEAD])
{
    static const uint8_t head[GZIP_HEAD] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    if (mode == GZIP_NONE)
        return 0;
    memcpy(out, head, sizeof(head));
    return sizeof(head);
}

static void put_le32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> 8 * i);
}

size_t encoder_gzip_tail(enum gzip_mode mode, uint32_t crc, uint64_t raw_len, uint8_t out[GZIP_TAIL])
{
    if (mode == GZIP_NONE)
        return 0;
    put_le32(out, crc);
    put_le32(out + 4, (uint32_t)raw_len); /* RFC 1952: modulo 2^32 */
    return GZIP_TAIL;
}
