/* SPDX-License-Identifier: Apache-2.0
 * What is told comes out whole and in order; who reads too late learns how much was missed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "shared/resetboard.h"

static struct reset_board board;

static struct reset_note note(uint32_t n)
{
    struct reset_note out = {.flow = n,
                             .generation = n + 7,
                             .at = {-INT64_C(5) - n},
                             .cookie = UINT64_MAX - n,
                             .side = n & 1,
                             .key = {.addr_len = 16, .port = {(uint16_t)n, 443}}};
    memset(out.key.addr, (int)n, sizeof(out.key.addr));
    return out;
}

static int set_up(void **state)
{
    (void)state;
    memset(&board, 0, sizeof(board));
    return 0;
}

static void comes_out_as_told(void **state)
{
    (void)state;
    struct reset_note got, want;
    uint64_t next = 0, missed = 0;
    assert_false(reset_board_read(&board, &next, &missed, &got));
    for (uint32_t i = 0; i < 3; i++) {
        want = note(i);
        reset_board_tell(&board, &want);
    }
    for (uint32_t i = 0; i < 3; i++) {
        want = note(i);
        assert_true(reset_board_read(&board, &next, &missed, &got));
        assert_int_equal(got.flow, want.flow);
        assert_int_equal(got.generation, want.generation);
        assert_int_equal(got.at.ns, want.at.ns);
        assert_int_equal(got.cookie, want.cookie);
        assert_int_equal(got.side, want.side);
        assert_memory_equal(&got.key, &want.key, sizeof(want.key));
    }
    assert_false(reset_board_read(&board, &next, &missed, &got));
    assert_int_equal(missed, 0);
}

static void late_reader_learns_what_it_missed(void **state)
{
    (void)state;
    struct reset_note got;
    uint64_t next = 0, missed = 0;
    for (uint32_t i = 0; i < RESET_NOTES + 10; i++) {
        struct reset_note n = note(i);
        reset_board_tell(&board, &n);
    }
    assert_true(reset_board_read(&board, &next, &missed, &got));
    assert_int_equal(missed, 10);
    assert_int_equal(got.flow, 10);
}

static void note_in_the_making_and_one_that_does_not_check_are_passed_over(void **state)
{
    (void)state;
    struct reset_note got, n = note(1);
    uint64_t next = 0, missed = 0;
    reset_board_tell(&board, &n);
    atomic_store(&board.slot[0].number, 0); /* as while it is written over */
    n.key.addr_len = 200;
    reset_board_tell(&board, &n);
    n = note(3);
    reset_board_tell(&board, &n);
    assert_true(reset_board_read(&board, &next, &missed, &got));
    assert_int_equal(got.flow, 3);
    assert_int_equal(missed, 2);
}

static void settled_is_told(void **state)
{
    (void)state;
    reset_board_settle(&board, (struct mono){17});
    assert_int_equal(reset_board_settled(&board).ns, 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(comes_out_as_told, set_up),
        cmocka_unit_test_setup(late_reader_learns_what_it_missed, set_up),
        cmocka_unit_test_setup(note_in_the_making_and_one_that_does_not_check_are_passed_over, set_up),
        cmocka_unit_test_setup(settled_is_told, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
