/* SPDX-License-Identifier: Apache-2.0
 * libdeflate as an engine: one shot, so only chunks that end their stream, and without a dictionary.
 * Failure policy: memory is had at start or not at all; output that does not fit its own bound is a panic. */
#include "shard/engine.h"

#ifdef SC_LIBDEFLATE
#include <libdeflate.h>

#include "shared/log.h"

static void *libdeflate_open(int level)
{
    return libdeflate_alloc_compressor(level);
}

static void libdeflate_close(void *state)
{
    libdeflate_free_compressor(state);
}

static size_t libdeflate_bound(size_t n)
{
    return libdeflate_deflate_compress_bound(NULL, n);
}

static size_t libdeflate_chunk(void *state, const uint8_t *dict, size_t dict_len, const uint8_t *in, size_t n,
                               bool last, uint8_t *out, size_t cap)
{
    (void)dict;
    (void)dict_len;
    size_t len = last ? libdeflate_deflate_compress(state, in, n, out, cap) : 0;
    if (len == 0)
        log_panic("libdeflate: n=%zu last=%d", n, last);
    return len;
}

static uint32_t libdeflate_crc(uint32_t crc, const uint8_t *in, size_t n)
{
    return libdeflate_crc32(crc, in, n);
}

const struct engine *engine_libdeflate(void)
{
    static const struct engine engine = {.name = "libdeflate",
                                         .open = libdeflate_open,
                                         .close = libdeflate_close,
                                         .bound = libdeflate_bound,
                                         .chunk = libdeflate_chunk,
                                         .crc = libdeflate_crc};
    return &engine;
}
#else
const struct engine *engine_libdeflate(void)
{
    return NULL;
}
#endif
