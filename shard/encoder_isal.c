/* SPDX-License-Identifier: Apache-2.0
 * ISA-L (igzip) as an engine: one stream state, reset for each chunk.
 * Failure policy: memory is had at start or not at all; an error of the library within the contract is a panic. */
#include "shard/engine.h"

#ifdef SC_ISAL
#include <isa-l.h>
#include <stdlib.h>

#include "shared/log.h"

struct isal {
    struct isal_zstream z;
    uint8_t buffer[ISAL_DEF_LVL1_DEFAULT];
};

/* Level 1 whatever is asked: level 0 gains little time for a fifth more bytes, and doubles what does not compress. */
static void *isal_open(int level)
{
    struct isal *s = calloc(1, sizeof(*s));
    (void)level;
    if (s)
        isal_deflate_init(&s->z);
    return s;
}

static void isal_close(void *state)
{
    free(state);
}

static size_t isal_bound(size_t n)
{
    /* A block that does not compress costs next to nothing more; the flush and the head of a dynamic block. */
    return n + n / 8 + 1024;
}

static size_t isal_chunk(void *state, const uint8_t *dict, size_t dict_len, const uint8_t *in, size_t n, bool last,
                         uint8_t *out, size_t cap)
{
    struct isal *s = state;
    struct isal_zstream *z = &s->z;
    isal_deflate_reset(z);
    z->level = 1;
    z->level_buf = s->buffer;
    z->level_buf_size = sizeof(s->buffer);
    z->gzip_flag = IGZIP_DEFLATE;
    z->flush = SYNC_FLUSH;
    z->end_of_stream = last;
    if (dict_len > 0 && isal_deflate_set_dict(z, (uint8_t *)(uintptr_t)dict, (uint32_t)dict_len) != COMP_OK)
        log_panic("ISA-L: dictionary");
    z->next_in = (uint8_t *)(uintptr_t)in; /* its fields lack const; it only reads */
    z->avail_in = (uint32_t)n;
    z->next_out = out;
    z->avail_out = (uint32_t)cap;
    int rc = isal_deflate(z);
    if (rc != COMP_OK || z->avail_in != 0 || z->avail_out == 0 || (last && z->internal_state.state != ZSTATE_END))
        log_panic("ISA-L: deflate rc=%d left=%u room=%u", rc, z->avail_in, z->avail_out);
    return cap - z->avail_out;
}

static uint32_t isal_crc(uint32_t crc, const uint8_t *in, size_t n)
{
    return crc32_gzip_refl(crc, in, n);
}

const struct engine *engine_isal(void)
{
    static const struct engine engine = {.name = "ISA-L",
                                         .open = isal_open,
                                         .close = isal_close,
                                         .bound = isal_bound,
                                         .chunk = isal_chunk,
                                         .crc = isal_crc};
    return &engine;
}
#else
const struct engine *engine_isal(void)
{
    return NULL;
}
#endif
