/* SPDX-License-Identifier: Apache-2.0
 * The flow table against a plain array: while it grows, with colliding hashes, and when keys share a slot's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shard/flowtable.h"

#define BUDGET (32u << 20)
#define FLOWS 20000u

struct fixture {
    struct shard_counters counters;
    void *map;
    size_t bytes;
    struct arena *a;
    struct flowtable *t;
    uint32_t idx[FLOWS]; /* slot of key i, or ARENA_NONE when it is not in the table */
};

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));
    bool adopted;
    int err;
    fx->bytes = arena_map_bytes(BUDGET);
    fx->map = mmap(NULL, fx->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fx->a = arena_open(fx->map, fx->bytes, BUDGET, &fx->counters, &adopted, &err);
    fx->t = flowtable_new(fx->a);
    memset(fx->idx, 0xff, sizeof(fx->idx));
    *state = fx;
    return fx->a == NULL || fx->t == NULL;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    flowtable_free(fx->t);
    arena_close(fx->a);
    munmap(fx->map, fx->bytes);
    free(fx);
    return 0;
}

static struct flowkey key_of(uint32_t i)
{
    struct flowkey key = {.addr_len = 4, .port = {(uint16_t)i, (uint16_t)(i >> 16)}};
    return key;
}

static const struct siphash_key secret = {3, 4};

static uint64_t spread(uint32_t i)
{
    struct flowkey key = key_of(i);
    return flowkey_hash(&key, &secret);
}

static uint64_t collide(uint32_t i)
{
    return i % 3; /* all in three places, tags equal */
}

static void add(struct fixture *fx, uint32_t i, uint64_t hash)
{
    struct arena_change c = {0};
    assert_int_equal(arena_flow_take(fx->a, &c.flow, &c.image), SC_OK);
    c.image.stage = FLOW_OPEN;
    c.image.key = key_of(i);
    arena_commit(fx->a, &c);
    assert_int_equal(flowtable_insert(fx->t, hash, c.flow), SC_OK);
    fx->idx[i] = c.flow;
}

static void take(struct fixture *fx, uint32_t i)
{
    flowtable_remove(fx->t, fx->idx[i]);
    arena_flow_free(fx->a, fx->idx[i], NULL);
    fx->idx[i] = ARENA_NONE;
}

static void check(const struct fixture *fx, uint32_t n, uint64_t (*hash)(uint32_t))
{
    for (uint32_t i = 0; i < n; i++) {
        struct flowkey key = key_of(i);
        assert_int_equal(flowtable_find(fx->t, hash(i), &key), fx->idx[i]);
    }
}

static void random_life(struct fixture *fx, uint32_t keys, uint32_t steps, uint64_t (*hash)(uint32_t))
{
    uint32_t rnd = 12345, count = 0;
    for (uint32_t s = 0; s < steps; s++) {
        rnd = rnd * 1664525u + 1013904223u;
        uint32_t i = (rnd >> 8) % keys;
        if (fx->idx[i] == ARENA_NONE) {
            add(fx, i, hash(i));
            count++;
        } else if (rnd >> 31) { /* more come than go */
            take(fx, i);
            count--;
        }
        assert_int_equal(flowtable_count(fx->t), count);
        if (s % (steps / 16) == 0)
            check(fx, keys, hash);
    }
    check(fx, keys, hash);
}

static void grows_and_shrinks(void **state)
{
    random_life(*state, FLOWS, 100000, spread);
}

/* Hostile input 35: even keys that do collide are all found. */
static void collisions(void **state)
{
    random_life(*state, 300, 5000, collide);
}

static void replacing(void **state)
{
    struct fixture *fx = *state;
    add(fx, 1, spread(1));
    struct arena_change c = {0};
    assert_int_equal(arena_flow_take(fx->a, &c.flow, &c.image), SC_OK);
    c.image.stage = FLOW_OPEN;
    c.image.key = key_of(1);
    arena_commit(fx->a, &c);
    flowtable_replace(fx->t, fx->idx[1], c.flow);
    fx->idx[1] = c.flow;
    check(fx, 3, spread);
    assert_int_equal(flowtable_hash(fx->t, c.flow), spread(1));
    flowtable_remove(fx->t, c.flow);
    fx->idx[1] = ARENA_NONE;
    check(fx, 3, spread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(grows_and_shrinks, setup, teardown),
        cmocka_unit_test_setup_teardown(collisions, setup, teardown),
        cmocka_unit_test_setup_teardown(replacing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
