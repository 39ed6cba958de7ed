/* SPDX-License-Identifier: Apache-2.0
 * zlib as an engine: one deflate state, reset for each chunk (reset, dictionary, deflate). windowBits -15 = raw deflate
 * with the 32 KiB window every reader has. memLevel sets the hash table that each reset clears and how many symbols
 * share a block: 6 gives the smallest output at level 6, 7 is nearly twice as fast as 6 at level 1 (both measured).
 * Failure policy: zlib fails only when the contract is broken or memory is gone at start; the first is a panic. */
#include <stdlib.h>
#include <zlib.h>

#include "shard/engine.h"
#include "shard/inflater.h"
#include "shared/log.h"

static void *zlib_open(int level)
{
    z_stream *z = calloc(1, sizeof(*z));
    if (z && deflateInit2(z, level, Z_DEFLATED, -15, level == 1 ? 7 : 6, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(z);
        z = NULL;
    }
    return z;
}

static void zlib_close(void *state)
{
    (void)deflateEnd(state); /* complains of a stream in the middle, which ours mostly are */
    free(state);
}

static size_t zlib_bound(size_t n)
{
    /* zlib's own bound for stored blocks, plus the empty block of a sync flush. */
    return n + (n >> 12) + (n >> 14) + (n >> 25) + 32 + 5 * (n / 8192 + 1);
}

static size_t zlib_chunk(void *state, const uint8_t *dict, size_t dict_len, const uint8_t *in, size_t n, bool last,
                         uint8_t *out, size_t cap)
{
    z_stream *z = state;
    if (deflateReset(z) != Z_OK)
        log_panic("zlib: deflateReset");
    if (dict_len > 0 && deflateSetDictionary(z, dict, (uInt)dict_len) != Z_OK)
        log_panic("zlib: deflateSetDictionary");
    z->next_in = (Bytef *)(uintptr_t)in; /* zlib's field lacks const; it only reads */
    z->avail_in = (uInt)n;
    z->next_out = out;
    z->avail_out = (uInt)cap;
    int rc = deflate(z, last ? Z_FINISH : Z_SYNC_FLUSH);
    if (rc != (last ? Z_STREAM_END : Z_OK) || z->avail_in != 0 || z->avail_out == 0)
        log_panic("zlib: deflate rc=%d left=%u", rc, z->avail_in);
    return cap - z->avail_out;
}

static uint32_t zlib_crc(uint32_t crc, const uint8_t *in, size_t n)
{
    return (uint32_t)crc32(crc, in, (uInt)n);
}

const struct engine *engine_zlib(void)
{
    static const struct engine engine = {.name = "zlib",
                                         .open = zlib_open,
                                         .close = zlib_close,
                                         .bound = zlib_bound,
                                         .chunk = zlib_chunk,
                                         .crc = zlib_crc};
    return &engine;
}

/* ---- reading back ---- */

struct inflater {
    z_stream z;
};

#define AT_BOUNDARY 128 /* data_type after inflate(Z_BLOCK), zlib.h */
#define UNUSED_BITS 7

struct inflater *inflater_new(void)
{
    struct inflater *i = calloc(1, sizeof(*i));
    if (i && inflateInit2(&i->z, -15) != Z_OK) {
        free(i);
        i = NULL;
    }
    return i;
}

void inflater_free(struct inflater *i)
{
    if (i)
        (void)inflateEnd(&i->z);
    free(i);
}

int inflater_step(struct inflater *i, const uint8_t *in, size_t in_len, size_t *in_r, uint8_t *out, size_t out_len,
                  size_t *out_r)
{
    z_stream *z = &i->z;
    z->next_in = (Bytef *)(uintptr_t)(in + *in_r); /* zlib's field lacks const; it only reads */
    z->avail_in = (uInt)(in_len - *in_r);
    z->next_out = out + *out_r;
    z->avail_out = (uInt)(out_len - *out_r);
    int rc = inflate(z, Z_BLOCK);
    *in_r = in_len - z->avail_in;
    *out_r = out_len - z->avail_out;
    if (rc == Z_STREAM_END)
        return INFLATER_END;
    if (rc != Z_OK && rc != Z_BUF_ERROR)
        return SC_EFORMAT;
    return z->data_type & AT_BOUNDARY && !(z->data_type & UNUSED_BITS) ? INFLATER_BLOCK : INFLATER_MORE;
}
