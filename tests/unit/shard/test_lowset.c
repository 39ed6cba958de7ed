/* SPDX-License-Identifier: Apache-2.0
 * The set that gives its smallest first, against a plain array, at every size around the borders of its levels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "shard/lowset.h"

static uint32_t plain_first(const uint8_t *in, uint32_t limit)
{
    for (uint32_t n = 0; n < limit; n++)
        if (in[n])
            return n;
    return LOWSET_NONE;
}

static void test_against_an_array(void **state)
{
    static const uint32_t limits[] = {1, 2, 63, 64, 65, 4095, 4096, 4097, 64 * 4096 + 1};
    (void)state;
    for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct lowset s;
        uint32_t limit = limits[i], count = 0, seed = limit;
        uint8_t *in = calloc(limit, 1);
        assert_non_null(in);
        assert_int_equal(lowset_init(&s, limit), SC_OK);
        assert_int_equal(lowset_first(&s), LOWSET_NONE);
        for (unsigned round = 0; round < 3000; round++) {
            seed = seed * 1664525u + 1013904223u;
            uint32_t n = (seed >> 8) % limit;
            if (round % 2000 >= 1000) { /* mostly away again */
                n = lowset_first(&s) == LOWSET_NONE ? n : lowset_first(&s);
                count -= in[n];
                in[n] = 0;
                lowset_remove(&s, n);
            } else {
                count += !in[n];
                in[n] = 1;
                lowset_add(&s, n);
            }
            assert_int_equal(lowset_has(&s, n), in[n]);
            assert_int_equal(s.count, count);
            if (limit < 5000 || round % 100 == 0)
                assert_int_equal(lowset_first(&s), plain_first(in, limit));
        }
        lowset_free(&s);
        free(in);
    }
}

static void test_the_largest_numbers(void **state)
{
    struct lowset s;
    (void)state;
    assert_int_equal(lowset_init(&s, UINT32_MAX), SC_OK); /* memory only where members are */
    lowset_add(&s, UINT32_MAX - 1);
    lowset_add(&s, UINT32_MAX - 1);
    assert_int_equal(s.count, 1);
    assert_int_equal(lowset_first(&s), UINT32_MAX - 1);
    lowset_add(&s, 1u << 31);
    assert_int_equal(lowset_first(&s), 1u << 31);
    lowset_remove(&s, 1u << 31);
    lowset_remove(&s, 1u << 31);
    assert_int_equal(lowset_first(&s), UINT32_MAX - 1);
    lowset_free(&s);
    lowset_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_an_array),
        cmocka_unit_test(test_the_largest_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
