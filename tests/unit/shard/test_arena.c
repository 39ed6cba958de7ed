/* SPDX-License-Identifier: Apache-2.0
 * The arena: geometry, budget, redo, and adoption after a death at any store or with any word damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shard/arena_map.h"

#define BUDGET (1u << 20)

struct fixture {
    struct shard_counters counters;
    uint8_t *map;
    size_t bytes;
};

static struct arena *open_arena(struct fixture *fx, bool expect_adopted)
{
    bool adopted;
    int err;
    struct arena *a = arena_open(fx->map, fx->bytes, BUDGET, &fx->counters, &adopted, &err);
    assert_non_null(a);
    assert_int_equal(err, SC_OK);
    assert_int_equal(adopted, expect_adopted);
    return a;
}

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));
    fx->bytes = arena_map_bytes(BUDGET);
    fx->map = mmap(NULL, fx->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *state = fx;
    return fx->map == MAP_FAILED;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    munmap(fx->map, fx->bytes);
    free(fx);
    return 0;
}

static void fill(uint8_t *out, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

/* Opens a flow with n bytes and commits it. */
static uint32_t new_flow(struct arena *a, uint32_t n, uint32_t seed)
{
    struct arena_change c = {0};
    uint8_t bytes[8192];
    assert_true(n <= sizeof(bytes));
    fill(bytes, n, seed);
    assert_int_equal(arena_flow_take(a, &c.flow, &c.image), SC_OK);
    assert_int_equal(arena_append(a, c.flow, &c.image, bytes, n), SC_OK);
    c.image.stage = FLOW_OPEN;
    c.image.key.addr_len = 4;
    c.image.packets = seed;
    arena_commit(a, &c);
    return c.flow;
}

static void check_bytes(const struct arena *a, uint32_t idx, uint32_t n, uint32_t seed)
{
    const struct flow *f = arena_flow(a, idx);
    uint8_t want[8192];
    fill(want, n, seed);
    assert_int_equal(f->total, n);
    uint32_t b = f->raw_head;
    for (uint32_t at = 0; at < n; at += ARENA_BLOCK, b = arena_block_next(a, b)) {
        const uint8_t *have = arena_block(a, idx, b);
        assert_non_null(have);
        assert_memory_equal(have, want + at, n - at < ARENA_BLOCK ? n - at : ARENA_BLOCK);
    }
}

static void test_open_checks_its_arguments(void **state)
{
    struct fixture *fx = *state;
    bool adopted;
    int err;
    assert_null(arena_open(fx->map, fx->bytes - 4096, BUDGET, &fx->counters, &adopted, &err));
    assert_int_equal(err, SC_EINVAL);
    assert_null(arena_open(fx->map, fx->bytes, ARENA_MIN_BUDGET - 1, &fx->counters, &adopted, &err));
    assert_int_equal(err, SC_EINVAL);
    struct arena_head *head = (struct arena_head *)(void *)fx->map;
    head->magic = ARENA_MAGIC;
    head->layout = ARENA_LAYOUT + 1;
    head->layout_twin = ARENA_TWIN(ARENA_LAYOUT + 1);
    head->budget = BUDGET;
    arena_mend(fx->map, fx->bytes, BUDGET);
    assert_null(arena_open(fx->map, fx->bytes, BUDGET, &fx->counters, &adopted, &err));
    assert_int_equal(err, SC_EVERSION);
    assert_int_equal(head->layout, ARENA_LAYOUT + 1);
    arena_discard(fx->map);
    struct arena *a = arena_open(fx->map, fx->bytes, BUDGET, &fx->counters, &adopted, &err);
    assert_non_null(a);
    assert_false(adopted);
    arena_close(a);
}

/* One of the four words that say what an arena is: the other three are believed. */
static void test_a_damaged_word_of_the_head_is_mended(void **state)
{
    struct fixture *fx = *state;
    for (unsigned bit = 0; bit < 5 * 32; bit++) {
        memset(fx->map, 0, sizeof(struct arena_head));
        struct arena *a = open_arena(fx, false);
        uint32_t idx = new_flow(a, 3000, 1);
        uint32_t *word[] = {&a->head->magic, &a->head->layout, &a->head->layout_twin, (uint32_t *)&a->head->budget,
                            (uint32_t *)&a->head->budget + 1};
        *word[bit / 32] ^= UINT32_C(1) << bit % 32;
        arena_close(a);
        arena_mend(fx->map, fx->bytes, BUDGET);
        a = open_arena(fx, true);
        check_bytes(a, idx, 3000, 1);
        arena_close(a);
    }
}

/* A head that is no build's is begun anew, and nothing old shows in it. */
static void test_a_damaged_head_is_begun_anew(void **state)
{
    struct fixture *fx = *state;
    for (int word = 0; word < 2; word++) {
        bool adopted;
        int err;
        struct arena *a = open_arena(fx, false);
        uint32_t idx = new_flow(a, 3000, 1);
        a->head->layout = word == 0 ? ARENA_LAYOUT : 0;
        if (word == 0)
            a->head->magic = 7;
        a->head->budget++;
        arena_close(a);
        arena_mend(fx->map, fx->bytes, BUDGET);
        a = arena_open(fx->map, fx->bytes, BUDGET, &fx->counters, &adopted, &err);
        assert_non_null(a);
        assert_false(adopted);
        assert_int_equal(arena_budget_used(a), 0);
        assert_int_equal(arena_flow(a, idx)->stage, FLOW_FREE);
        assert_null(arena_block(a, idx, 0));
        arena_close(a);
        memset(fx->map, 0, sizeof(struct arena_head));
    }
}

static void test_append_grows_and_undo_gives_back(void **state)
{
    struct arena *a = open_arena(*state, false);
    uint32_t left = arena_blocks_left(a);
    uint32_t idx = new_flow(a, 300, 1);
    uint32_t one = arena_blocks_left(a);
    assert_true(one < left);
    struct arena_change c = {.flow = idx, .image = *arena_flow(a, idx)};
    uint8_t more[1000] = {0};
    assert_int_equal(arena_append(a, idx, &c.image, more, sizeof(more)), SC_OK);
    assert_int_equal(c.image.total, 1300);
    assert_int_equal(arena_flow(a, idx)->total, 300);
    arena_append_undo(a, idx, &c.image);
    assert_int_equal(arena_blocks_left(a), one);
    check_bytes(a, idx, 300, 1);
    arena_flow_free(a, idx, NULL);
    assert_int_equal(arena_budget_used(a), 0);
    arena_close(a);
}

static void test_undo_of_a_flow_never_committed(void **state)
{
    struct arena *a = open_arena(*state, false);
    struct arena_change c = {0};
    uint8_t bytes[700] = {0};
    struct flow_name name = {.yyyymmdd = 20240101};
    assert_int_equal(arena_flow_take(a, &c.flow, &c.image), SC_OK);
    assert_int_equal(arena_append(a, c.flow, &c.image, bytes, sizeof(bytes)), SC_OK);
    assert_int_equal(arena_set_name(a, c.flow, &c.image, &name), SC_OK);
    arena_append_undo(a, c.flow, &c.image);
    arena_flow_return(a, c.flow);
    assert_int_equal(arena_budget_used(a), 0);
    arena_close(a);
}

static void test_budget_is_hard_and_enomem_changes_nothing(void **state)
{
    struct arena *a = open_arena(*state, false);
    struct arena_change c = {0};
    uint8_t bytes[4096];
    fill(bytes, sizeof(bytes), 3);
    assert_int_equal(arena_flow_take(a, &c.flow, &c.image), SC_OK);
    c.image.stage = FLOW_OPEN;
    c.image.key.addr_len = 4;
    unsigned n = 0;
    while (arena_append(a, c.flow, &c.image, bytes, sizeof(bytes)) == SC_OK) {
        arena_commit(a, &c);
        n++;
    }
    assert_true(n > 200);
    assert_true(arena_budget_used(a) <= BUDGET);
    assert_int_equal(c.image.total, n * sizeof(bytes));
    assert_true(arena_blocks_left(a) < ARENA_RESERVE + sizeof(bytes) / ARENA_BLOCK);
    arena_flow_free(a, c.flow, NULL);
    assert_int_equal(arena_budget_used(a), 0);
    arena_close(a);
}

/* Raw bytes and slots stop at the reserve, names at the last of it, sealed bytes go to the end. */
static void test_the_reserve_is_for_what_ends(void **state)
{
    struct arena *a = open_arena(*state, false);
    static const uint8_t bytes[ARENA_BLOCK] = {1};
    const struct flow_name name = {.yyyymmdd = 20240102};
    uint32_t idx = new_flow(a, 300, 1), more;
    struct arena_change c = {.flow = idx, .image = *arena_flow(a, idx)};
    while (arena_append(a, idx, &c.image, bytes, sizeof(bytes)) == SC_OK)
        arena_commit(a, &c);
    assert_int_equal(arena_blocks_left(a), ARENA_RESERVE);
    struct flow image;
    unsigned slots = 0; /* there may be some in a page that is paid for */
    while (arena_flow_take(a, &more, &image) == SC_OK)
        slots++;
    assert_true(slots < 32);
    assert_int_equal(arena_blocks_left(a), ARENA_RESERVE);
    for (unsigned i = ARENA_RESERVE; i > ARENA_LAST; i--) {
        c.image.name = ARENA_NONE;
        assert_int_equal(arena_set_name(a, idx, &c.image, &name), SC_OK);
    }
    assert_int_equal(arena_set_name(a, idx, &c.image, &name), SC_ENOMEM);
    assert_int_equal(arena_blocks_left(a), ARENA_LAST);
    for (unsigned i = ARENA_LAST; i > 0; i--)
        assert_int_equal(arena_append_packed(a, idx, &c.image, bytes, sizeof(bytes)), SC_OK);
    assert_int_equal(arena_append_packed(a, idx, &c.image, bytes, sizeof(bytes)), SC_ENOMEM);
    assert_int_equal(arena_blocks_left(a), 0);
    assert_true(arena_budget_used(a) <= BUDGET);
    arena_close(a);
}

/* Bytes of [from, from + bytes) that have memory. */
static size_t resident(const uint8_t *from, size_t bytes)
{
    static unsigned char in_core[4096];
    size_t pages = bytes / 4096, n = 0;
    assert_true(pages <= sizeof(in_core));
    assert_int_equal(mincore((void *)(uintptr_t)from, pages * 4096, in_core), 0);
    for (size_t i = 0; i < pages; i++)
        n += in_core[i] & 1;
    return n * 4096;
}

/* The head, and blocks that are fetched ahead of their use. */
#define BESIDE (2 * 4096 + 65536)

static unsigned fill_with_slots(struct arena *a, uint32_t *idx, unsigned most)
{
    struct arena_change c = {0};
    unsigned n = 0;
    while (n < most && arena_flow_take(a, &c.flow, &c.image) == SC_OK) {
        c.image.stage = FLOW_OPEN;
        c.image.key.addr_len = 4;
        arena_commit(a, &c);
        idx[n++] = c.flow;
    }
    return n;
}

static unsigned fill_with_blocks(struct arena *a, uint32_t idx)
{
    static const uint8_t bytes[ARENA_BLOCK] = {1};
    struct arena_change c = {.flow = idx, .image = *arena_flow(a, idx)};
    unsigned n = 0;
    for (uint32_t left = arena_blocks_left(a); left > 0; left--, n++) {
        assert_int_equal(arena_append_packed(a, idx, &c.image, bytes, sizeof(bytes)), SC_OK);
        assert_int_equal(arena_blocks_left(a), left - 1);
        arena_commit(a, &c);
    }
    assert_int_equal(arena_append_packed(a, idx, &c.image, bytes, sizeof(bytes)), SC_ENOMEM);
    return n;
}

/* Memory that one large flow has filled is there for many small ones afterwards, and the other way round, again and
 * again; never more of it than the budget. */
static void test_blocks_become_slots_and_slots_blocks(void **state)
{
    struct fixture *fx = *state;
    struct arena *a = open_arena(fx, false);
    static uint32_t idx[8192];
    unsigned first_blocks = 0;
    for (unsigned round = 0; round < 4; round++) {
        uint32_t large = new_flow(a, 300, 1);
        unsigned blocks = fill_with_blocks(a, large);
        assert_true(resident(fx->map, fx->bytes) <= BUDGET + BESIDE);
        assert_true(blocks > BUDGET / (ARENA_BLOCK + 8) * 9 / 10);
        if (round == 0)
            first_blocks = blocks;
        /* what does not come back: the table of the most flows there ever were */
        assert_true(blocks + (sizeof(idx) / sizeof(*idx) * ARENA_TABLE_COST) / ARENA_BLOCK + 32 > first_blocks);
        arena_flow_free(a, large, NULL);
        unsigned slots = fill_with_slots(a, idx, sizeof(idx) / sizeof(*idx));
        assert_true(slots == arena_flow_limit(a)); /* more there may not be */
        assert_true(resident(fx->map, fx->bytes) <= BUDGET + BESIDE);
        for (unsigned i = 0; i < slots; i++)
            arena_flow_free(a, idx[(i * 7) % slots], NULL);
        assert_int_equal(arena_budget_used(a), 0);
    }
    arena_close(a);
}

static void note_first(void *ctx, uint32_t first)
{
    *(uint32_t *)ctx = first;
}

/* The lowest slot is taken first, so that after a flood the top comes down and its memory can go. */
static void test_idle_slots_are_given_back(void **state)
{
    struct fixture *fx = *state;
    struct arena *a = open_arena(fx, false);
    static uint32_t idx[1500];
    uint32_t gone = 0;
    arena_on_slots_gone(a, note_first, &gone);
    assert_int_equal(fill_with_slots(a, idx, 1500), 1500);
    uint32_t generation = arena_flow(a, idx[1499])->generation;
    for (unsigned i = 0; i < 1500; i++)
        if (i != 10)
            arena_flow_free(a, idx[i], NULL);
    assert_true(arena_idle_bytes(a) >= 1450 * sizeof(struct flow));
    assert_int_equal(gone, 0);
    arena_trim(a, UINT32_MAX);
    assert_int_equal(arena_idle_bytes(a), 0);
    assert_true(gone > 10 && gone <= 26); /* the one that is left, to the end of its page */
    assert_true(resident((uint8_t *)a->flows, 1500 * sizeof(struct flow)) <= 4096);
    assert_int_equal(arena_flow(a, 10)->stage, FLOW_OPEN);
    uint32_t lowest[12];
    assert_int_equal(fill_with_slots(a, lowest, 12), 12);
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(lowest[i], i < 10 ? i : i + 1);
        assert_true(arena_flow(a, lowest[i])->generation > generation); /* names in staging stay unique */
    }
    arena_on_slots_gone(a, NULL, NULL);
    arena_close(a);
}

/* Killed after the top came down, before its memory was given back: the successor does so. */
static void test_a_successor_gives_back_what_lies_behind_the_top(void **state)
{
    struct fixture *fx = *state;
    struct arena *a = open_arena(fx, false);
    static uint32_t idx[1500];
    assert_int_equal(fill_with_slots(a, idx, 1500), 1500);
    for (unsigned i = 1; i < 1500; i++)
        arena_flow_free(a, idx[i], NULL);
    assert_true(resident((uint8_t *)a->flows, 1500 * sizeof(struct flow)) > 100000);
    arena_close(a);
    a = open_arena(fx, true);
    assert_true(resident((uint8_t *)a->flows, 1500 * sizeof(struct flow)) <= 4096 * 2); /* one for the redo */
    assert_int_equal(arena_flow(a, idx[0])->stage, FLOW_OPEN);
    assert_int_equal(arena_budget_used(a), ARENA_FLOW_COST);
    arena_close(a);
}

/* Flows of all sizes come, grow, go and die with their process: the bytes stay right, memory stays within the budget,
 * and a block that was counted is there. */
static void test_at_random(void **state)
{
    enum { FLOWS = 600 };
    struct fixture *fx = *state;
    struct arena *a = open_arena(fx, false);
    static struct {
        uint32_t idx, n;
    } live[FLOWS];
    unsigned count = 0, refused = 0;
    uint32_t seed = 12345;
    for (unsigned round = 0; round < 30000; round++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t dice = seed >> 20, n = 1 + (seed >> 8) % (round / 5000 % 2 ? 300 : 8000);
        uint32_t blocks = (uint32_t)arena_blocks_for(n);
        if (dice % 8 < 4 && count < FLOWS && arena_blocks_left(a) > ARENA_RESERVE + blocks + 4) {
            struct arena_change c;
            if (arena_flow_take(a, &c.flow, &c.image) !=
                SC_OK) { /* each page has a used block, or next to none is left */
                assert_true(a->idle.count == 0 || arena_blocks_left(a) < ARENA_RESERVE + 32);
                refused++;
                continue;
            }
            arena_flow_return(a, c.flow);
            live[count].idx = new_flow(a, n, count);
            live[count++].n = n;
        } else if (dice % 8 < 7 && count > 0) {
            unsigned i = dice % count;
            arena_flow_free(a, live[i].idx, NULL);
            live[i] = live[--count];
        } else if (dice % 64 == 7) {
            arena_trim(a, 1 + dice % 50);
        } else if (dice % 512 == 15) {
            arena_close(a);
            a = open_arena(fx, true);
        }
        if (round % 500 == 0) {
            assert_true(resident(fx->map, fx->bytes) <= BUDGET + BESIDE);
            for (unsigned i = 0; i < count; i++)
                check_bytes(a, live[i].idx, live[i].n, (uint32_t)arena_flow(a, live[i].idx)->packets);
        }
    }
    assert_true(refused < 3000);
    for (unsigned i = 0; i < count; i++)
        arena_flow_free(a, live[i].idx, NULL);
    assert_int_equal(arena_budget_used(a), 0);
    assert_int_equal(counter_get(&fx->counters.blocks_lost), 0);
    arena_close(a);
}

static void test_counters_and_positions_survive(void **state)
{
    struct fixture *fx = *state;
    struct arena *a = open_arena(fx, false);
    struct arena_change c = {.flow = ARENA_NONE, .counter_count = 2};
    c.counters[0] = (struct arena_counter){ARENA_COUNTER(consumed), 17};
    c.counters[1] = (struct arena_counter){ARENA_COUNTER(drops) + CAUSE_NO_UUID, 5};
    arena_set_applied(a, 0, (struct arena_applied){.position = 4711, .packets = 17, .ring_generation = 3}, 99);
    arena_set_ended(a, 0, true);
    arena_commit(a, &c);
    arena_close(a);
    a = open_arena(fx, true);
    assert_int_equal(arena_state(a)->applied[0].position, 4711);
    assert_int_equal(arena_state(a)->clock_ns, 99);
    assert_int_equal(arena_state(a)->ended, 1);
    assert_int_equal(counter_get(&fx->counters.consumed), 17);
    assert_int_equal(counter_get(&fx->counters.drops[CAUSE_NO_UUID]), 5);
    arena_close(a);
}

/* A death between the redo record and its application: the successor applies it. */
static void test_valid_redo_is_applied_again(void **state)
{
    struct fixture *fx = *state;
    struct arena *a = open_arena(fx, false);
    uint32_t idx = new_flow(a, 300, 1);
    struct flow before = *arena_flow(a, idx);
    struct arena_change c = {.flow = idx, .image = before, .counter_count = 1};
    uint8_t bytes[1000];
    fill(bytes, sizeof(bytes), 9);
    assert_int_equal(arena_append(a, idx, &c.image, bytes, sizeof(bytes)), SC_OK);
    c.counters[0] = (struct arena_counter){ARENA_COUNTER(consumed), 2};
    arena_commit(a, &c);
    /* undo what came after `valid` */
    a->flows[idx] = before;
    counter_set(&fx->counters.consumed, 1);
    arena_close(a);
    a = open_arena(fx, true);
    assert_int_equal(arena_flow(a, idx)->total, 1300);
    assert_int_equal(counter_get(&fx->counters.consumed), 2);
    arena_close(a);
}

/* Likewise where the arena is given up: position and counters stay together, whatever ring the record came from. */
static void test_valid_redo_of_an_arena_given_up(void **state)
{
    struct fixture *fx = *state;
    for (unsigned dispatcher = 0; dispatcher < 2; dispatcher++) {
        memset(fx->map, 0, sizeof(struct arena_head));
        memset(&fx->counters, 0, sizeof(fx->counters));
        struct arena *a = open_arena(fx, false);
        struct arena_change c = {.flow = new_flow(a, 300, 1), .counter_count = 1};
        c.image = *arena_flow(a, c.flow);
        c.counters[0] = (struct arena_counter){ARENA_COUNTER(consumed), 7};
        arena_set_applied(a, dispatcher, (struct arena_applied){.position = 640, .packets = 7}, 99);
        struct arena_state before = a->head->state;
        arena_commit(a, &c);
        /* undo what came after `valid` */
        a->head->state = before;
        counter_set(&fx->counters.consumed, 6);
        arena_close(a);
        arena_empty(fx->map, fx->bytes, &fx->counters);
        assert_int_equal(counter_get(&fx->counters.consumed), 7);
        a = open_arena(fx, true);
        assert_int_equal(arena_state(a)->applied[dispatcher].position, 640);
        assert_int_equal(arena_state(a)->clock_ns, 99);
        assert_int_equal(arena_budget_used(a), 0);
        assert_int_equal(counter_get(&fx->counters.consumed), 7);
        arena_close(a);
    }
}

/* Blocks taken for a change that was never committed come back. */
static void test_stray_blocks_are_found(void **state)
{
    struct fixture *fx = *state;
    struct arena *a = open_arena(fx, false);
    uint32_t idx = new_flow(a, 300, 1);
    uint32_t other = new_flow(a, 5000, 2);
    uint64_t used = arena_budget_used(a);
    struct flow image = *arena_flow(a, idx);
    uint8_t bytes[4000] = {0};
    assert_int_equal(arena_append(a, idx, &image, bytes, sizeof(bytes)), SC_OK);
    struct arena_change c = {0};
    assert_int_equal(arena_flow_take(a, &c.flow, &c.image), SC_OK);
    assert_int_equal(arena_append(a, c.flow, &c.image, bytes, sizeof(bytes)), SC_OK);
    arena_close(a);
    a = open_arena(fx, true);
    assert_int_equal(arena_budget_used(a), used);
    check_bytes(a, idx, 300, 1);
    check_bytes(a, other, 5000, 2);
    arena_close(a);
}

static void test_damaged_slot_is_dropped_and_counted(void **state)
{
    struct fixture *fx = *state;
    struct arena *a = open_arena(fx, false);
    uint32_t bad = new_flow(a, 5000, 7);
    uint32_t good = new_flow(a, 5000, 2); /* so that the redo record, which heals its flow, is not the bad one's */
    a->flows[bad].raw_base = 3;
    arena_close(a);
    a = open_arena(fx, true);
    assert_int_equal(arena_flow(a, bad)->stage, FLOW_FREE);
    assert_int_equal(counter_get(&fx->counters.drops[CAUSE_ARENA_LOST]), 7);
    check_bytes(a, good, 5000, 2);
    arena_close(a);
}

static void free_one(void *ctx, uint32_t idx, const struct flow *f)
{
    (void)f;
    arena_flow_free(ctx, idx, NULL);
}

/* Pages without a used block go back to the system; what is used stays, and what went can be used again. */
static void test_idle_pages_are_given_back(void **state)
{
    struct fixture *fx = *state;
    struct arena *a = open_arena(fx, false);
    uint32_t first = new_flow(a, 5000, 2);
    uint32_t gone[16];
    for (uint32_t i = 0; i < 16; i++)
        gone[i] = new_flow(a, 8000, 3 + i);
    uint32_t last = new_flow(a, 5000, 40);
    for (uint32_t i = 0; i < 16; i++)
        arena_flow_free(a, gone[i], NULL);
    uint64_t idle = arena_idle_bytes(a);
    assert_true(idle >= 16 * 8000);
    arena_trim(a, UINT32_MAX);
    assert_true(arena_idle_bytes(a) < 2 * 4096);
    assert_true(resident(a->blocks, (size_t)a->head->block_top / 16 * 4096) <= 5 * 4096);
    check_bytes(a, first, 5000, 2);
    check_bytes(a, last, 5000, 40);
    uint32_t again = new_flow(a, 8000, 9);
    check_bytes(a, again, 8000, 9);
    arena_close(a);
}

/* Every word of head, slots, owners and links flipped one by one: no crash, no hang, and whatever is left can be freed.
 */
static void test_every_word_damaged(void **state)
{
    struct fixture *fx = *state;
    struct arena *a = open_arena(fx, false);
    for (uint32_t i = 0; i < 8; i++)
        new_flow(a, 100 + i * 600, i + 1);
    size_t head = sizeof(struct arena_head), flows = a->head->flow_top * sizeof(struct flow);
    size_t links = a->head->block_top * sizeof(uint32_t);
    struct arena_geometry g = a->g;
    arena_close(a);
    uint8_t *saved = malloc(g.blocks_off);
    assert_non_null(saved);
    memcpy(saved, fx->map, g.blocks_off);
    const size_t areas[4][2] = {{0, head}, {g.flows_off, flows}, {g.owners_off, links}, {g.nexts_off, links}};
    unsigned tried = 0;
    for (unsigned area = 0; area < 4; area++) {
        for (size_t off = 0; off + 4 <= areas[area][1]; off += 4, tried++) {
            memcpy(fx->map, saved, g.blocks_off);
            uint32_t *word = (uint32_t *)(void *)(fx->map + areas[area][0] + off);
            *word ^= tried % 2 ? 0xffffffffu : 1u << (off / 4 % 32);
            bool adopted;
            int err;
            a = arena_open(fx->map, fx->bytes, BUDGET, &fx->counters, &adopted, &err);
            if (!a)
                continue;
            arena_each(a, free_one, a);
            arena_close(a);
        }
    }
    assert_true(tried > 1000);
    free(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_open_checks_its_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_head_is_begun_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_word_of_the_head_is_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(test_append_grows_and_undo_gives_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_undo_of_a_flow_never_committed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_budget_is_hard_and_enomem_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_reserve_is_for_what_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocks_become_slots_and_slots_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_slots_are_given_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_successor_gives_back_what_lies_behind_the_top, setup, teardown),
        cmocka_unit_test_setup_teardown(test_at_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counters_and_positions_survive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_valid_redo_is_applied_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_valid_redo_of_an_arena_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stray_blocks_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_slot_is_dropped_and_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_pages_are_given_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_word_damaged, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
