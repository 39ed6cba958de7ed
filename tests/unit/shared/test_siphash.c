/* SPDX-License-Identifier: Apache-2.0
 * Known answers. 2-4: the paper's key 00..0f over the bytes 00, 01, 02 .. 1-3: an all-zero key over the same bytes, as
 * CPython 3.11 and later hashes bytes objects with PYTHONHASHSEED=0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "shared/siphash.h"

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

struct answer {
    size_t len;
    uint64_t hash;
};

static void answers_hold(uint64_t (*hash)(const struct siphash_key *, const void *, size_t),
                         const struct siphash_key *key, const struct answer *answers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t *exact = malloc(answers[i].len + 1); /* one before the data: unaligned, and its end is the block's */
        assert_non_null(exact);
        for (size_t b = 0; b < answers[i].len; b++)
            exact[b + 1] = (uint8_t)b;
        assert_true(hash(key, exact + 1, answers[i].len) == answers[i].hash);
        free(exact);
    }
}

static void siphash_2_4_known_answers(void **state)
{
    (void)state;
    static const struct siphash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    static const struct answer answers[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},  {7, UINT64_C(0xab0200f58b01d137)},
        {8, UINT64_C(0x93f5f5799a932462)},  {9, UINT64_C(0x9e0082df0ba9e4b0)},  {12, UINT64_C(0x751e8fbc860ee5fb)},
        {15, UINT64_C(0xa129ca6149be45e5)}, {16, UINT64_C(0x3f2acc7f57c29bdb)}, {63, UINT64_C(0x958a324ceb064572)},
    };
    answers_hold(siphash_2_4, &key, answers, LENGTH(answers));
}

static void siphash_1_3_known_answers(void **state)
{
    (void)state;
    static const struct siphash_key key = {0, 0};
    static const struct answer answers[] = {
        {1, UINT64_C(0x68a914128e01e473)}, {7, UINT64_C(0x2f098ab0c751325a)},  {8, UINT64_C(0xead411e67ebe2eea)},
        {9, UINT64_C(0x75927f9d95124362)}, {15, UINT64_C(0xf30eb725bb91c9ea)}, {36, UINT64_C(0xac77921fcc642bd3)},
    };
    answers_hold(siphash_1_3, &key, answers, LENGTH(answers));
}

static void both_halves_of_the_key_count(void **state)
{
    (void)state;
    const struct siphash_key none = {0, 0}, low = {1, 0}, high = {0, 1};
    assert_true(siphash_1_3(&none, "flow", 4) != siphash_1_3(&low, "flow", 4));
    assert_true(siphash_1_3(&none, "flow", 4) != siphash_1_3(&high, "flow", 4));
    assert_true(siphash_1_3(&low, "flow", 4) != siphash_1_3(&high, "flow", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_2_4_known_answers),
        cmocka_unit_test(siphash_1_3_known_answers),
        cmocka_unit_test(both_halves_of_the_key_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
