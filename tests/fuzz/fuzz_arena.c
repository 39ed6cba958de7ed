/* SPDX-License-Identifier: Apache-2.0
 * Any damage to an arena before adoption: no crash, no hang, and every flow that is left can be read, sealed and freed.
 * Input: pairs of {32-bit word number, 32-bit value} that are written over a small arena with flows in all stages. */
#include <string.h>
#include <sys/mman.h>

#include "shard/arena_map.h"
#include "shard/chunk.h"
#include "tests/fuzz/fuzz.h"

#define BUDGET ARENA_MIN_BUDGET
#define FLOWS 12u

struct room {
    struct shard_counters counters;
    uint8_t *map, *pristine;
    size_t bytes, used; /* bytes in front of the untouched part */
    struct arena_geometry g;
};

static uint32_t build_flow(struct arena *a, struct sealer *s, uint32_t n)
{
    uint8_t bytes[3000];
    struct arena_change c = {0};
    struct flow_name name = {.yyyymmdd = 20240102};
    memset(bytes, (int)n, sizeof(bytes));
    memcpy(name.uuid.text, "uuid", 5);
    FUZZ_CHECK(arena_flow_take(a, &c.flow, &c.image) == SC_OK);
    c.image.stage = FLOW_OPEN;
    c.image.key.addr_len = 4;
    for (uint32_t i = 0; i < n; i++) {
        FUZZ_CHECK(arena_append(a, c.flow, &c.image, bytes, 200 + 90 * n) == SC_OK);
        if (n % 2 && i == 0)
            FUZZ_CHECK(arena_set_name(a, c.flow, &c.image, &name) == SC_OK);
        arena_commit(a, &c);
        if (n % 3 == 0) {
            FUZZ_CHECK(chunk_seal(s, c.flow, false) == SC_OK);
            c.image = *arena_flow(a, c.flow);
        }
    }
    return c.flow;
}

static void build(struct room *r)
{
    bool adopted;
    int err;
    r->bytes = arena_map_bytes(BUDGET);
    r->g = arena_geometry(BUDGET);
    r->map = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FUZZ_CHECK(r->map != MAP_FAILED);
    struct arena *a = arena_open(r->map, r->bytes, BUDGET, &r->counters, &adopted, &err);
    struct sealer *s = sealer_new(a, GZIP_FAST, false);
    FUZZ_CHECK(a && s);
    for (uint32_t i = 1; i <= FLOWS; i++)
        build_flow(a, s, i);
    r->used = r->g.blocks_off + (size_t)a->head->block_top * ARENA_BLOCK;
    sealer_free(s);
    arena_close(a);
    r->pristine = malloc(r->used);
    FUZZ_CHECK(r->pristine);
    memcpy(r->pristine, r->map, r->used);
}

struct visit {
    struct arena *a;
    struct sealer *s;
};

static void visit_flow(void *ctx, uint32_t idx, const struct flow *f)
{
    struct visit *v = ctx;
    struct iovec iov[16];
    uint32_t block = ARENA_NONE;
    size_t bytes;
    if (chunk_seal(v->s, idx, true) == SC_OK) {
        uint64_t at = f->packed_base;
        while (at < f->packed_len && chunk_gather(v->a, idx, at, &block, iov, 16, &bytes) > 0)
            at += bytes;
    }
    arena_flow_free(v->a, idx, NULL);
}

/* Words of the head, the used slots and the used owner and link words: what adoption reads. */
static uint32_t *word_at(struct room *r, const struct arena_head *h, uint32_t n)
{
    const size_t areas[4][2] = {{0, sizeof(struct arena_head)},
                                {r->g.flows_off, h->flow_top * sizeof(struct flow)},
                                {r->g.owners_off, h->block_top * sizeof(uint32_t)},
                                {r->g.nexts_off, h->block_top * sizeof(uint32_t)}};
    size_t total = 0;
    for (unsigned i = 0; i < 4; i++)
        total += areas[i][1] / 4;
    size_t at = n % total;
    for (unsigned i = 0; i < 4; i++) {
        if (at < areas[i][1] / 4)
            return (uint32_t *)(void *)(r->map + areas[i][0]) + at;
        at -= areas[i][1] / 4;
    }
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct room room;
    if (!room.map)
        build(&room);
    memcpy(room.map, room.pristine, room.used);
    const struct arena_head *h = (const struct arena_head *)(const void *)room.pristine;
    for (; size >= 8; data += 8, size -= 8) {
        uint32_t pair[2];
        memcpy(pair, data, sizeof(pair));
        *word_at(&room, h, pair[0]) = pair[1];
    }
    bool adopted;
    int err;
    struct arena *a = arena_open(room.map, room.bytes, BUDGET, &room.counters, &adopted, &err);
    if (!a)
        return 0;
    struct visit v = {a, sealer_new(a, GZIP_FAST, false)};
    FUZZ_CHECK(v.s);
    arena_each(a, visit_flow, &v);
    sealer_free(v.s);
    arena_close(a);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t out[FUZZ_SEED_MAX])
{
    static const uint32_t seeds[][4] = {{400, 1, 401, 0xffffffff}, {3, 7, 2000, 3}, {900, 0, 1200, 12}};
    if (i >= sizeof(seeds) / sizeof(*seeds))
        return 0;
    memcpy(out, seeds[i], sizeof(seeds[i]));
    return sizeof(seeds[i]);
}
