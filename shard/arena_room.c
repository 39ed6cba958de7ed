/* SPDX-License-Identifier: Apache-2.0
 * Which blocks and slots of the arena are free, and what the budget still allows. All of it is private and rebuilt by
 * adoption.
 *
 * The budget bounds memory that is held, used or not, and both kinds share it. So what lies idle as one kind is given
 * back to the system when the other needs room: blocks page by page (their free ones are found lowest first, so that
 * whole pages become idle), slots from the top (likewise: after a flood the top comes down by itself).
 *
 * Failure policy: see arena.h. Memory that the system does not take back stays held, and no more is asked of it. */
#include <string.h>
#include <sys/mman.h>

#include "shard/arena_map.h"
#include "shared/log.h"

#define FULL_MASK UINT16_MAX /* all blocks of a page are free */
#define AHEAD_BLOCKS 256u    /* taken from the system at once: a page fault each would cost three times as much */
#define GIVE_BACK_PAGES 16u  /* at once, when room is needed */
#define PAGE_OF_SLOTS 32u    /* blocks that the slots of a page may cost */
_Static_assert(ARENA_BLOCKS_PER_PAGE == 16, "the mask of a page");
_Static_assert((ARENA_PAGE / sizeof(struct flow) + 2) * ARENA_FLOW_COST <= PAGE_OF_SLOTS * ARENA_BLOCK, "at most");

/* One more than there are: no block is ever free in the last, where arena.page points while it points nowhere. */
static uint32_t page_limit(const struct arena *a)
{
    return a->g.block_limit / ARENA_BLOCKS_PER_PAGE + 2;
}

static uint32_t no_page(const struct arena *a)
{
    return page_limit(a) - 1;
}

int arena_room_init(struct arena *a)
{
    size_t bytes = page_limit(a) * sizeof(*a->mask);
    a->mask = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->mask == MAP_FAILED) {
        a->mask = NULL;
        return SC_ENOMEM;
    }
    a->page = no_page(a);
    struct lowset *const sets[] = {&a->some, &a->idle, &a->gone};
    for (unsigned i = 0; i < 3; i++)
        if (lowset_init(sets[i], page_limit(a)) != SC_OK)
            return SC_ENOMEM;
    return lowset_init(&a->free_slots, a->g.flow_limit);
}

void arena_room_free(struct arena *a)
{
    if (a->mask)
        munmap(a->mask, page_limit(a) * sizeof(*a->mask));
    lowset_free(&a->some);
    lowset_free(&a->idle);
    lowset_free(&a->gone);
    lowset_free(&a->free_slots);
}

/* ---- what is held ---- */

static uint64_t held(const struct arena *a, uint32_t slots)
{
    return a->head->block_top * ARENA_BLOCK_COST - (uint64_t)a->gone.count * ARENA_PAGE +
           slots * (uint64_t)(ARENA_FLOW_COST - ARENA_TABLE_COST) + a->slots_peak * (uint64_t)ARENA_TABLE_COST;
}

/* Bytes that may still be taken from the system, once the slots behind flow_top have gone. */
static uint64_t room(const struct arena *a)
{
    uint64_t used = held(a, a->slots_kept);
    return a->budget > used ? a->budget - used : 0;
}

uint64_t arena_budget_used(const struct arena *a)
{
    uint64_t blocks = a->head->block_top - a->free_blocks;
    uint64_t flows = a->head->flow_top - a->free_slots.count;
    return blocks * ARENA_BLOCK_COST + flows * ARENA_FLOW_COST;
}

/* In the order in which arena_block_take takes them: each take makes the sum less by exactly one. */
uint32_t arena_blocks_left(const struct arena *a)
{
    uint64_t bytes = room(a), pages = bytes / ARENA_PAGE, never = a->g.block_limit - a->head->block_top;
    if (pages > a->gone.count)
        pages = a->gone.count;
    uint64_t fresh = (bytes - pages * ARENA_PAGE) / ARENA_BLOCK_COST;
    uint32_t ours = a->free_blocks - a->gone.count * ARENA_BLOCKS_PER_PAGE;
    return ours + (uint32_t)(pages * ARENA_BLOCKS_PER_PAGE + (fresh < never ? fresh : never));
}

uint64_t arena_idle_bytes(const struct arena *a)
{
    uint64_t blocks = a->free_blocks - a->gone.count * ARENA_BLOCKS_PER_PAGE;
    return blocks * ARENA_BLOCK + (a->slots_held - a->slots_kept) * (uint64_t)sizeof(struct flow);
}

/* ---- giving back ---- */

/* A hole in the memfd, whoever else maps it. */
static bool give_back(struct arena *a, void *at, size_t bytes)
{
    if (!a->stuck && bytes > 0)
        a->stuck = madvise(at, bytes, MADV_REMOVE) != 0;
    return !a->stuck;
}

/* Gives back idle pages that lie side by side, from the lowest on, at most `most`. Returns how many. */
static uint32_t give_back_pages(struct arena *a, uint32_t most)
{
    uint32_t first = lowset_first(&a->idle), n = 0;
    while (first != LOWSET_NONE && n < most && lowset_has(&a->idle, first + n))
        n++;
    if (n == 0 || !give_back(a, a->blocks + (size_t)first * ARENA_PAGE, (size_t)n * ARENA_PAGE))
        return 0;
    for (uint32_t page = first; page < first + n; page++) {
        lowset_remove(&a->idle, page);
        lowset_remove(&a->some, page);
        lowset_add(&a->gone, page);
    }
    if (a->page - first < n)
        a->page = no_page(a);
    return n;
}

static void move_slots_kept(struct arena *a)
{
    size_t bytes = (a->head->flow_top * sizeof(struct flow) + ARENA_PAGE - 1) & ~(size_t)(ARENA_PAGE - 1);
    uint32_t kept = (uint32_t)((bytes + sizeof(struct flow) - 1) / sizeof(struct flow));
    a->slots_kept = a->stuck || kept > a->slots_held ? a->slots_held : kept;
}

static void give_back_slots(struct arena *a)
{
    size_t from = (a->head->flow_top * sizeof(struct flow) + ARENA_PAGE - 1) & ~(size_t)(ARENA_PAGE - 1);
    size_t to = a->slots_held * sizeof(struct flow) & ~(size_t)(ARENA_PAGE - 1);
    if (a->slots_held == a->slots_kept)
        return;
    if (from >= to || give_back(a, (uint8_t *)a->flows + from, to - from)) {
        a->slots_held = a->slots_kept;
        if (a->gone_slots)
            a->gone_slots(a->gone_slots_ctx, a->slots_kept);
    }
    move_slots_kept(a);
}

/* Sees to it that `bytes` more can be held, by what lies idle. False: it cannot. */
static bool make_room(struct arena *a, uint64_t bytes)
{
    if (held(a, a->slots_held) + bytes <= a->budget)
        return true;
    give_back_slots(a);
    while (held(a, a->slots_held) + bytes > a->budget)
        if (give_back_pages(a, GIVE_BACK_PAGES) == 0)
            return false;
    return true;
}

void arena_trim(struct arena *a, uint32_t most)
{
    give_back_slots(a);
    for (uint32_t n = 0, some = 1; n < most && some > 0; n += some)
        some = give_back_pages(a, most - n);
}

void arena_on_slots_gone(struct arena *a, void (*cb)(void *ctx, uint32_t first), void *ctx)
{
    a->gone_slots = cb;
    a->gone_slots_ctx = ctx;
}

void arena_forget(void *array, size_t entry, uint32_t first, uint32_t count)
{
    uint8_t *base = array;
    size_t before = (size_t)(-(uintptr_t)(base + first * entry) % ARENA_PAGE); /* up to a page's begin */
    size_t bytes = (count - first) * entry;
    if (bytes > before)
        (void)madvise(base + first * entry + before, (bytes - before) & ~(size_t)(ARENA_PAGE - 1), MADV_DONTNEED);
}

/* A predecessor may have died between the way down of flow_top and the giving back. */
void arena_room_begin(struct arena *a)
{
    a->slots_held = a->g.flow_limit;
    a->slots_peak = a->head->flow_top < a->g.flow_limit ? a->head->flow_top : a->g.flow_limit;
    move_slots_kept(a);
    give_back_slots(a);
}

/* ---- slots ---- */

int arena_flow_take(struct arena *a, uint32_t *idx_r, struct flow *image_r)
{
    uint32_t idx = lowset_first(&a->free_slots);
    if (idx != LOWSET_NONE) {
        lowset_remove(&a->free_slots, idx);
    } else {
        idx = a->head->flow_top;
        if (idx >= a->g.flow_limit || (idx >= a->slots_kept && arena_blocks_left(a) < ARENA_RESERVE + PAGE_OF_SLOTS))
            return SC_ENOMEM;
        if (idx >= a->slots_held && !make_room(a, ARENA_FLOW_COST))
            return SC_ENOMEM;
        a->head->flow_top++;
        if (a->slots_held <= idx)
            a->slots_held = idx + 1;
        if (a->slots_peak <= idx)
            a->slots_peak = idx + 1;
        move_slots_kept(a);
    }
    memset(image_r, 0, sizeof(*image_r));
    image_r->generation = ++a->head->takes;
    image_r->raw_head = image_r->raw_tail = ARENA_NONE;
    image_r->packed_head = image_r->packed_tail = ARENA_NONE;
    image_r->name = ARENA_NONE;
    *idx_r = idx;
    return SC_OK;
}

void arena_flow_return(struct arena *a, uint32_t idx)
{
    lowset_add(&a->free_slots, idx);
    if (idx + 1 != a->head->flow_top)
        return;
    uint32_t top = idx + 1;
    for (; top > 0 && lowset_has(&a->free_slots, top - 1); top--)
        lowset_remove(&a->free_slots, top - 1);
    a->head->flow_top = top;
    move_slots_kept(a);
}

/* ---- blocks ---- */

/* The pages of fresh blocks. What is refused, or an old kernel does not know, comes with a page fault instead. */
static void fetch_ahead(const struct arena *a, uint32_t block)
{
    uint32_t left = a->g.block_limit - block;
    if (block % AHEAD_BLOCKS == 0)
        (void)madvise(a->blocks + (size_t)block * ARENA_BLOCK,
                      (size_t)(left < AHEAD_BLOCKS ? left : AHEAD_BLOCKS) * ARENA_BLOCK, MADV_POPULATE_WRITE);
}

static uint32_t take_from_page(struct arena *a, uint32_t page)
{
    uint16_t mask = a->mask[page], rest = mask & (uint16_t)(mask - 1);
    if (mask == FULL_MASK)
        lowset_remove(&a->idle, page);
    if (rest == 0)
        lowset_remove(&a->some, page);
    a->mask[page] = rest;
    a->free_blocks--;
    return page * ARENA_BLOCKS_PER_PAGE + (uint32_t)__builtin_ctz(mask);
}

/* A page that had gone is ours again. */
static uint32_t fetch_page(struct arena *a)
{
    uint32_t page = lowset_first(&a->gone);
    if (page == LOWSET_NONE || room(a) < ARENA_PAGE)
        return LOWSET_NONE;
    (void)make_room(a, ARENA_PAGE);
    lowset_remove(&a->gone, page);
    lowset_add(&a->some, page);
    lowset_add(&a->idle, page);
    return page;
}

static uint32_t take_block(struct arena *a)
{
    uint32_t page = a->mask[a->page] ? a->page : lowset_first(&a->some);
    if (page == LOWSET_NONE)
        page = fetch_page(a);
    if (page != LOWSET_NONE)
        return take_from_page(a, page);
    if (a->head->block_top >= a->g.block_limit || room(a) < ARENA_BLOCK_COST)
        return ARENA_NONE;
    (void)make_room(a, ARENA_BLOCK_COST);
    fetch_ahead(a, a->head->block_top);
    return a->head->block_top++;
}

uint32_t arena_block_take(struct arena *a, uint32_t idx)
{
    uint32_t block = take_block(a);
    if (block != ARENA_NONE)
        a->owners[block] = idx + 1;
    return block;
}

void arena_block_free(struct arena *a, uint32_t block)
{
    uint32_t page = block / ARENA_BLOCKS_PER_PAGE;
    uint16_t mask = a->mask[page] | (uint16_t)(1u << block % ARENA_BLOCKS_PER_PAGE);
    a->owners[block] = 0;
    if (a->mask[page] == 0)
        lowset_add(&a->some, page);
    if (mask == FULL_MASK)
        lowset_add(&a->idle, page);
    a->mask[page] = mask;
    a->page = page;
    a->free_blocks++;
}
