/* SPDX-License-Identifier: Apache-2.0
 * Events that wait for their flow: first in first out per key, bounded, and gone in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "shard/pending.h"

static struct claim claim_of(uint32_t key, unsigned name, int64_t until)
{
    struct claim c = {
        .key = {.addr_len = 4, .port = {(uint16_t)key, (uint16_t)(key >> 16)}}, .hash = key % 1000, .until = {until}};
    snprintf(c.uuid.text, sizeof(c.uuid.text), "u%u", name);
    return c;
}

static bool take(struct pending *p, uint32_t key, int64_t now, struct claim *out)
{
    struct claim c = claim_of(key, 0, 0);
    return pending_take(p, &c.key, c.hash, (struct instant){now}, false, out);
}

static void order_and_expiry(void **state)
{
    (void)state;
    struct pending *p = pending_new();
    struct claim out;
    for (unsigned i = 0; i < 3; i++) {
        struct claim c = claim_of(7, i, 10 + i), other = claim_of(1007, i, 100); /* the same bucket */
        assert_int_equal(pending_put(p, &c), 0);
        assert_int_equal(pending_put(p, &other), 0);
        assert_int_equal(pending_put(p, &c), 0); /* told twice, kept once */
    }
    assert_int_equal(pending_count(p), 6);
    assert_true(take(p, 7, 11, &out)); /* u0 was good until 10 */
    assert_string_equal(out.uuid.text, "u1");
    assert_true(pending_take_expired(p, (struct instant){11}, &out));
    assert_string_equal(out.uuid.text, "u0");
    assert_false(pending_take_expired(p, (struct instant){11}, &out));
    assert_true(take(p, 7, 12, &out));
    assert_string_equal(out.uuid.text, "u2");
    assert_false(take(p, 7, 12, &out));
    assert_false(take(p, 8, 12, &out));
    for (unsigned i = 0; i < 3; i++)
        assert_true(pending_take_expired(p, (struct instant){101}, &out));
    assert_int_equal(pending_count(p), 0);
    pending_free(p);
}

static void bounds(void **state)
{
    (void)state;
    struct pending *p = pending_new();
    struct claim out;
    for (unsigned i = 0; i < PENDING_PER_KEY + 2; i++) {
        struct claim c = claim_of(7, i, 10);
        assert_int_equal(pending_put(p, &c), i >= PENDING_PER_KEY);
    }
    assert_true(take(p, 7, 0, &out));
    assert_string_equal(out.uuid.text, "u2");
    unsigned dropped = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < PENDING_MAX; i++) {
            struct claim c = claim_of(100 + i, round, 10);
            dropped += pending_put(p, &c);
        }
        assert_true(pending_count(p) <= PENDING_MAX);
    }
    assert_int_equal(pending_count(p) + dropped, PENDING_PER_KEY - 1 + 3 * PENDING_MAX);
    assert_false(take(p, 7, 0, &out)); /* the oldest had to go */
    assert_true(take(p, 100 + PENDING_MAX - 1, 0, &out));
    pending_free(p);
}

static void repeats_are_not_for_fresh_sockets(void **state)
{
    (void)state;
    struct pending *p = pending_new();
    struct claim again = claim_of(7, 1, 10), other = claim_of(7, 2, 10), out;
    again.repeat = true;
    assert_int_equal(pending_put(p, &again), 0);
    assert_int_equal(pending_put(p, &other), 0);
    assert_true(pending_take(p, &again.key, again.hash, (struct instant){0}, true, &out));
    assert_string_equal(out.uuid.text, "u2");
    assert_false(pending_take(p, &again.key, again.hash, (struct instant){0}, true, &out));
    again.until.ns = 20; /* told once more: lasts longer */
    assert_int_equal(pending_put(p, &again), 0);
    assert_true(take(p, 7, 20, &out));
    pending_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_expiry),
        cmocka_unit_test(bounds),
        cmocka_unit_test(repeats_are_not_for_fresh_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
