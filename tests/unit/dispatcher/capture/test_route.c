/* SPDX-License-Identifier: Apache-2.0
 * Shard choice: in range, the same for both directions, spread, and unlike under another key. */
#include "dispatcher/capture/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct siphash_key secret = {1, 2}, other = {3, 4};

static void keys(uint16_t n, struct flowkey *there, struct flowkey *back)
{
    const uint8_t a[4] = {192, 0, 2, 1}, b[4] = {198, 51, 100, 7};
    (void)flowkey_make(there, 4, a, n, b, 443);
    (void)flowkey_make(back, 4, b, 443, a, n);
}

static void test_route(void **state)
{
    static const unsigned counts[] = {1, 2, 7, 64};
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        unsigned shards = counts[c], seen[64] = {0}, moved = 0;
        for (uint16_t n = 1; n <= 6400; n++) {
            struct flowkey there, back;
            keys(n, &there, &back);
            struct route r = route_flow(&there, &secret, shards), r2 = route_flow(&back, &secret, shards);
            assert_true(r.shard < shards);
            assert_int_equal(r.shard, r2.shard);
            assert_true(r.hash == r2.hash && r.hash == flowkey_hash(&there, &secret));
            seen[r.shard]++;
            moved += route_flow(&there, &other, shards).shard != r.shard;
        }
        for (unsigned i = 0; i < shards; i++)
            assert_in_range(seen[i], 6400 / shards / 2, 6400 / shards * 2);
        assert_true(shards == 1 ? moved == 0 : moved > 2000);
    }
}

static void test_sample(void **state)
{
    (void)state;
    for (uint32_t many = 0; many <= 64; many = many ? many * 2 : 1) {
        unsigned taken = 0, per_shard[4] = {0};
        for (uint16_t n = 1; n <= 64000 && n >= 1; n++) {
            struct flowkey there, back;
            keys(n, &there, &back);
            struct route r = route_flow(&there, &secret, 4), r2 = route_flow(&back, &secret, 4);
            bool mine = route_sampled(r.hash, many);
            assert_int_equal(mine, route_sampled(r2.hash, many));
            taken += mine;
            per_shard[r.shard] += mine;
        }
        unsigned want = many < 2 ? 64000 : 64000 / many;
        assert_in_range(taken, want * 8 / 10, want * 12 / 10);
        for (unsigned i = 0; i < 4; i++) /* all shards get their share */
            assert_in_range(per_shard[i], want / 4 * 7 / 10, want / 4 * 13 / 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_route), cmocka_unit_test(test_sample)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
