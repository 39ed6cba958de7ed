/* SPDX-License-Identifier: Apache-2.0
 * Sealing: gathers a flow's raw bytes, deflates them chunk by chunk into new blocks, commits the new image, and only
 * then frees raw blocks. The dictionary of the next chunk is not copied: its raw blocks simply stay. Failure policy:
 * see chunk.h. */
#include <stdlib.h>
#include <string.h>

#include "shard/arena_map.h" /* block counts of chains */
#include "shard/chunk.h"
#include "shard/crashpoint.h"
#include "shard/stage.h"

/* Raw bytes deflated at once: a chunk that could not be sealed in time (no blocks) may have grown. Each piece has its
 * own commit, and what it frees is there for the next; where a piece finds no room for its result, smaller ones are
 * tried. */
#define PIECE 65536u
#define PIECE_LEAST ARENA_BLOCK

struct sealer {
    struct arena *a;
    struct encoder *e;
    enum gzip_mode mode;
    bool stream;
    enum effort effort;
    uint64_t small_bytes;
    struct shard_page *page; /* its stage word; NULL: not wanted */
    size_t out_cap;
    uint8_t *out;
    uint8_t in[ENCODER_DICT + PIECE];
};

struct sealer *sealer_new(struct arena *a, enum gzip_mode mode, bool stream)
{
    struct sealer *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->a = a;
    s->mode = mode;
    s->stream = stream;
    s->effort = EFFORT_FAST;
    s->e = encoder_new(mode);
    if (s->e) {
        s->out_cap = encoder_bound(s->e, PIECE);
        s->out = malloc(s->out_cap);
    }
    if (!s->out) {
        sealer_free(s);
        return NULL;
    }
    return s;
}

void sealer_free(struct sealer *s)
{
    if (!s)
        return;
    encoder_free(s->e);
    free(s->out);
    free(s);
}

void sealer_watched(struct sealer *s, struct shard_page *page)
{
    s->page = page;
}

static bool takes_long(const struct sealer *s)
{
    return s->mode == GZIP_SMALL || s->mode == GZIP_ZLIB || (s->mode == GZIP_AUTO && s->effort == EFFORT_SMALL);
}

bool chunk_ripe(const struct sealer *s, const struct flow *f)
{
    uint64_t raw = f->total - f->sealed;
    /* Without compression a chain is as small raw as packed, and costs no copy until the end. */
    if (raw < CHUNK_FIRST || (s->mode == GZIP_NONE && !s->stream))
        return false;
    if (!s->stream && arena_budget_used(s->a) < arena_budget_limit(s->a) / CHUNK_WIDE_SHARE)
        return raw >= (takes_long(s) ? CHUNK_WIDE_SMALL : CHUNK_WIDE);
    return raw >= (f->sealed < CHUNK_GROWS ? CHUNK_FIRST : CHUNK_LATER);
}

void sealer_effort(struct sealer *s, enum effort effort)
{
    s->effort = effort;
}

uint64_t sealer_small_bytes(struct sealer *s)
{
    uint64_t n = s->small_bytes;
    s->small_bytes = 0;
    return n;
}

/* A place in a raw chain: `block` holds stream offset `at`. */
struct place {
    uint32_t block;
    uint64_t at;
};

/* Copies stream bytes [p->at, p->at + n) and moves p behind them. SC_EFORMAT if the chain leaves the flow. */
static int copy_out(const struct arena *a, uint32_t idx, struct place *p, uint8_t *out, size_t n)
{
    while (n > 0) {
        size_t off = p->at % ARENA_BLOCK;
        size_t part = ARENA_BLOCK - off < n ? ARENA_BLOCK - off : n;
        const uint8_t *bytes = arena_block(a, idx, p->block);
        if (!bytes)
            return SC_EFORMAT;
        memcpy(out, bytes + off, part);
        out += part;
        n -= part;
        p->at += part;
        if (p->at % ARENA_BLOCK == 0)
            p->block = arena_block_next(a, p->block);
    }
    return SC_OK;
}

/* What stays raw for the next piece. */
static size_t dictionary(const struct sealer *s)
{
    return s->mode == GZIP_NONE ? 0 : ENCODER_DICT;
}

/* Where sealing stops for now. Without compression at the end of a block, so that never more is taken than freed. */
static uint64_t seal_end(const struct sealer *s, const struct flow *f, bool last)
{
    return s->mode == GZIP_NONE && !last ? f->total & ~(uint64_t)(ARENA_BLOCK - 1) : f->total;
}

/* Deflates at most `most` bytes of [sealed, total) of the image into new packed blocks. The buffer holds up to
 * ENCODER_DICT bytes of history in front of them. */
static int pack(struct sealer *s, uint32_t idx, struct flow *image, size_t most, bool last)
{
    struct place p = {image->raw_head, image->raw_base};
    uint64_t skip = image->sealed - image->raw_base; /* history kept as raw blocks: at most dictionary + one block */
    uint64_t rest = seal_end(s, image, last) - image->sealed;
    if (skip > ENCODER_DICT + ARENA_BLOCK)
        return SC_EFORMAT;
    int err = copy_out(s->a, idx, &p, s->in, skip);
    if (err)
        return err;
    size_t dict = skip < ENCODER_DICT ? skip : ENCODER_DICT, n = rest < most ? rest : most;
    memmove(s->in, s->in + (skip - dict), dict);
    err = copy_out(s->a, idx, &p, s->in + dict, n);
    if (err)
        return err;
    bool end = last && n == rest;
    size_t len = encoder_chunk(s->e, s->effort, s->in, dict, s->in + dict, n, end, s->out, s->out_cap);
    if (s->effort == EFFORT_SMALL)
        s->small_bytes += n;
    err = arena_append_packed(s->a, idx, image, s->out, len);
    if (err)
        return err;
    if (s->mode != GZIP_NONE)
        image->crc = encoder_crc(image->crc, s->in + dict, n);
    image->sealed += n;
    if (end)
        image->flags |= FLOW_FINISHED;
    return SC_OK;
}

/* Moves raw_base up so that only the next dictionary stays (nothing, after the last chunk); returns the number of
 * blocks that thereby leave the front of the chain. */
static uint64_t trim_raw(const struct sealer *s, struct flow *image)
{
    size_t dict = dictionary(s);
    uint64_t base = image->sealed > dict ? (image->sealed - dict) & ~(uint64_t)(ARENA_BLOCK - 1) : 0;
    uint64_t freed = 0;
    if (image->flags & FLOW_FINISHED) {
        freed = arena_raw_blocks(image);
        image->raw_head = image->raw_tail = ARENA_NONE;
        image->raw_base = image->total;
        return freed;
    }
    for (; image->raw_base < base; image->raw_base += ARENA_BLOCK, freed++)
        image->raw_head = arena_block_next(s->a, image->raw_head);
    if (image->raw_base == image->total)
        image->raw_head = image->raw_tail = ARENA_NONE;
    return freed;
}

static void flip(struct sealer *s, uint32_t idx, const struct arena_change *c, uint64_t freed)
{
    uint32_t raw_head = arena_flow(s->a, idx)->raw_head;
    CRASHPOINT("seal.packed");
    arena_commit(s->a, c);
    CRASHPOINT("seal.flipped");
    arena_blocks_give(s->a, idx, raw_head, freed);
    CRASHPOINT("seal.freed");
}

/* What a flow may take out of the reserve is what its end takes; before, sealing is to give blocks back. */
static bool costs_reserve(const struct sealer *s, const struct flow *f, const struct flow *image, uint64_t freed)
{
    uint64_t taken = arena_packed_blocks(image) - arena_packed_blocks(f);
    return taken > freed && arena_blocks_left(s->a) + freed < ARENA_RESERVE;
}

/* SC_EFULL: there was room, but nothing would be gained. */
static int seal_piece(struct sealer *s, uint32_t idx, size_t most, bool last)
{
    const struct flow *f = arena_flow(s->a, idx);
    struct arena_change c = {.flow = idx, .image = *f};
    int err = pack(s, idx, &c.image, most, last);
    uint64_t freed = err ? 0 : trim_raw(s, &c.image);
    if (!err && !last && costs_reserve(s, f, &c.image, freed))
        err = SC_EFULL;
    if (err) {
        arena_append_undo(s->a, idx, &c.image);
        return err;
    }
    flip(s, idx, &c, freed);
    return SC_OK;
}

/* Without compression and with nothing packed yet, the raw chain is the file: it is handed over as it stands. */
static void rename_chain(struct sealer *s, uint32_t idx)
{
    const struct flow *f = arena_flow(s->a, idx);
    struct arena_change c = {.flow = idx, .image = *f};
    c.image.packed_head = f->raw_head;
    c.image.packed_tail = f->raw_tail;
    c.image.packed_len = c.image.sealed = c.image.raw_base = f->total;
    c.image.raw_head = c.image.raw_tail = ARENA_NONE;
    c.image.flags |= FLOW_FINISHED;
    flip(s, idx, &c, 0);
}

static int seal(struct sealer *s, uint32_t idx, bool last)
{
    const struct flow *f = arena_flow(s->a, idx);
    size_t most = PIECE;
    if (last && s->mode == GZIP_NONE && f->packed_len == 0 && !(f->flags & FLOW_FINISHED))
        rename_chain(s, idx);
    while (!(f->flags & FLOW_FINISHED) && (last || f->sealed < seal_end(s, f, last))) {
        int err = seal_piece(s, idx, most, last);
        if (err == SC_ENOMEM && most > PIECE_LEAST)
            most /= 2;
        else if (err)
            return err == SC_EFULL ? SC_ENOMEM : err;
    }
    return SC_OK;
}

int chunk_seal(struct sealer *s, uint32_t idx, bool last)
{
    struct shard_page *page = s->page;
    if (!page)
        return seal(s, idx, last);
    enum shard_stage stage = atomic_load_explicit(&page->stage, memory_order_relaxed); /* our own words */
    uint64_t at = atomic_load_explicit(&page->stage_at, memory_order_relaxed);
    stage_enter(page, STAGE_SEAL, idx);
    int err = seal(s, idx, last);
    stage_enter(page, stage, at);
    return err;
}

uint64_t chunk_file_bytes(const struct flow *f, enum gzip_mode mode)
{
    return f->packed_len + (mode == GZIP_NONE ? 0 : GZIP_HEAD + GZIP_TAIL);
}

int chunk_gather(const struct arena *a, uint32_t idx, uint64_t from, uint32_t *block_r, struct iovec *iov, int iov_max,
                 size_t *bytes_r)
{
    const struct flow *f = arena_flow(a, idx);
    int n = 0;
    *bytes_r = 0;
    if (*block_r == ARENA_NONE) {
        *block_r = f->packed_head;
        for (uint64_t at = f->packed_base; at + ARENA_BLOCK <= from; at += ARENA_BLOCK)
            *block_r = arena_block_next(a, *block_r);
    }
    while (n < iov_max && from < f->packed_len) {
        const uint8_t *bytes = arena_block(a, idx, *block_r);
        size_t off = from % ARENA_BLOCK;
        size_t left = f->packed_len - from < ARENA_BLOCK - off ? f->packed_len - from : ARENA_BLOCK - off;
        if (!bytes)
            return SC_EFORMAT;
        iov[n].iov_base = (void *)(uintptr_t)(bytes + off); /* writev only reads it */
        iov[n++].iov_len = left;
        *bytes_r += left;
        from += left;
        if (from % ARENA_BLOCK == 0)
            *block_r = arena_block_next(a, *block_r);
    }
    return n;
}

void chunk_drop_written(struct sealer *s, uint32_t idx, uint64_t written)
{
    const struct flow *f = arena_flow(s->a, idx);
    struct arena_change c = {.flow = idx, .image = *f};
    uint32_t head = f->packed_head;
    uint64_t freed = 0;
    uint64_t base = written & ~(uint64_t)(ARENA_BLOCK - 1);
    for (; c.image.packed_base < base; c.image.packed_base += ARENA_BLOCK, freed++)
        c.image.packed_head = arena_block_next(s->a, c.image.packed_head);
    if (freed == 0)
        return;
    if (c.image.packed_base == c.image.packed_len)
        c.image.packed_head = c.image.packed_tail = ARENA_NONE;
    arena_commit(s->a, &c);
    arena_blocks_give(s->a, idx, head, freed);
}
