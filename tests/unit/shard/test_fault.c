/* SPDX-License-Identifier: Apache-2.0
 * The fault rule as a pure decision, with times that only the test makes, and what a shard does with each verdict. */
#include "rig.h"

#include <signal.h>
#include <sys/wait.h>

#include "shard/arena_map.h"
#include "shard/consume.h"
#include "shard/fault.h"

#define SEC NS_PER_SEC

static struct shard_faults rule;

static void begin(uint64_t applied)
{
    memset(&rule, 0, sizeof(rule));
    assert_int_equal(fault_judge(&rule, STAGE_IDLE, 0, applied), FAULT_NONE);
}

/* A death of its own making at that time. */
static void fault(int64_t at)
{
    counter_set(&rule.last_ns, (uint64_t)at);
    counter_add(&rule.count, 1);
}

static void other_deaths_cost_nothing(void **state)
{
    (void)state;
    begin(160);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(fault_judge(&rule, STAGE_RECORD, 160, 160), FAULT_NONE);
}

static void progress_forgives(void **state)
{
    (void)state;
    begin(160);
    for (uint64_t i = 1; i < 1000; i++) {
        fault((int64_t)i);
        assert_int_equal(fault_judge(&rule, STAGE_RECORD, 160 + i * 16, 160 + i * 16), FAULT_NONE);
    }
    /* .. and that is the end of every suspicion: a first death again */
    fault(1000);
    assert_int_equal(fault_judge(&rule, STAGE_RECORD, 160 + 999 * 16, 160 + 999 * 16), FAULT_CAREFUL);
}

static void twice_at_a_record_skips_it(void **state)
{
    (void)state;
    begin(160);
    fault(SEC);
    assert_int_equal(fault_judge(&rule, STAGE_RECORD, 160, 160), FAULT_CAREFUL);
    /* deaths of another kind in between change nothing */
    assert_int_equal(fault_judge(&rule, STAGE_RECORD, 160, 160), FAULT_CAREFUL);
    fault(2 * SEC);
    assert_int_equal(fault_judge(&rule, STAGE_RECORD, 160, 160), FAULT_SKIP);
    assert_int_equal(counter_get(&rule.skip), 161);
    /* killed before it was left out: it is still to be left out */
    assert_int_equal(fault_judge(&rule, STAGE_ADOPT, 0, 160), FAULT_SKIP);
    assert_int_equal(fault_judge(&rule, STAGE_IDLE, 0, 176), FAULT_NONE);
    assert_int_equal(counter_get(&rule.skip), 0);
}

static void two_records_are_not_one(void **state)
{
    (void)state;
    begin(160);
    fault(0);
    assert_int_equal(fault_judge(&rule, STAGE_RECORD, 160, 160), FAULT_CAREFUL);
    fault(20 * SEC);
    assert_int_equal(fault_judge(&rule, STAGE_RECORD, 176, 160), FAULT_CAREFUL);
    fault(40 * SEC);
    assert_int_equal(fault_judge(&rule, STAGE_SCAN, 176, 160), FAULT_CAREFUL);
    fault(60 * SEC);
    assert_int_equal(fault_judge(&rule, STAGE_SEAL, 7, 160), FAULT_CAREFUL);
    fault(80 * SEC);
    assert_int_equal(fault_judge(&rule, STAGE_SEAL, 7, 160), FAULT_CAREFUL);
}

static void what_cannot_be_read_is_passed_over(void **state)
{
    (void)state;
    begin(160);
    fault(0);
    assert_int_equal(fault_judge(&rule, STAGE_SCAN, 160, 160), FAULT_CAREFUL);
    fault(1);
    assert_int_equal(fault_judge(&rule, STAGE_SCAN, 160, 160), FAULT_RESYNC);
}

static void three_in_ten_seconds_give_up_the_arena(void **state)
{
    (void)state;
    begin(160);
    fault(0);
    assert_int_equal(fault_judge(&rule, STAGE_ADOPT, 0, 160), FAULT_CAREFUL);
    fault(5 * SEC);
    assert_int_equal(fault_judge(&rule, STAGE_ADOPT, 0, 160), FAULT_CAREFUL);
    fault(10 * SEC + 1); /* outside the window of the first */
    assert_int_equal(fault_judge(&rule, STAGE_ADOPT, 0, 160), FAULT_CAREFUL);
    fault(15 * SEC); /* the last three lie within ten seconds */
    assert_int_equal(fault_judge(&rule, STAGE_ADOPT, 0, 160), FAULT_EMPTY);
    assert_int_equal(fault_judge(&rule, STAGE_ADOPT, 0, 160), FAULT_EMPTY); /* killed while at it */
    fault_emptied(&rule);
    assert_int_equal(fault_judge(&rule, STAGE_ADOPT, 0, 160), FAULT_NONE);
}

static void a_record_goes_before_the_arena_does(void **state)
{
    (void)state;
    begin(160);
    fault(0);
    assert_int_equal(fault_judge(&rule, STAGE_ADOPT, 0, 160), FAULT_CAREFUL);
    fault(1);
    assert_int_equal(fault_judge(&rule, STAGE_RECORD, 160, 160), FAULT_CAREFUL);
    fault(2);
    assert_int_equal(fault_judge(&rule, STAGE_RECORD, 160, 160), FAULT_SKIP);
}

/* Whatever word was the last to be written when the judge was killed, its successor comes to the same verdict. */
static void judged_again_from_any_point(void **state)
{
    (void)state;
    struct shard_faults before, after;
    begin(160);
    fault(0);
    (void)fault_judge(&rule, STAGE_RECORD, 160, 160);
    fault(1);
    before = rule;
    assert_int_equal(fault_judge(&rule, STAGE_RECORD, 160, 160), FAULT_SKIP);
    after = rule;
    for (size_t word = 0; word < sizeof(rule) / sizeof(counter); word++) {
        rule = before;
        if (counter_get(&((counter *)&after)[word]) == counter_get(&((counter *)&before)[word]) ||
            word == offsetof(struct shard_faults, judged) / sizeof(counter))
            continue; /* `judged` is the last of all */
        counter_set(&((counter *)&rule)[word], counter_get(&((counter *)&after)[word]));
        assert_int_equal(fault_judge(&rule, STAGE_ADOPT, 0, 160),
                         word == offsetof(struct shard_faults, skip) / sizeof(counter) ? FAULT_SKIP : FAULT_CAREFUL);
    }
}

/* ---- a shard that obeys ---- */

/* As the supervisor does for a shard that died of its own making. */
static void rig_fault(struct rig *r, enum shard_stage stage, uint64_t at)
{
    r->page->stage = stage;
    r->page->stage_at = at;
    counter_add(&r->page->faults.count, 1);
    counter_set(&r->page->faults.last_ns, (uint64_t)r->mono);
    rig_crash(r);
    rig_start(r);
}

static void a_poison_packet_is_counted_once(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_start(r);
    for (unsigned i = 0; i < 40; i++)
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(i % 3), .at = i});
    rig_run(r);
    uint64_t at = r->producer.prod;
    for (unsigned i = 0; i < 40; i++)
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(i % 3), .at = 100 + i});
    rig_fault(r, STAGE_RECORD, at); /* something was applied before */
    rig_fault(r, STAGE_RECORD, at);
    rig_fault(r, STAGE_RECORD, at);
    rig_run(r);
    assert_int_equal(counter_get(&r->page->c.consumed), 80);
    rig_end(r, 200);
    assert_int_equal(counter_get(&r->page->c.drops[CAUSE_POISON]), 1);
    assert_int_equal(counter_get(&r->page->c.published), 79);
    rig_check_balance(r);
    rig_free(r);
}

static void an_end_that_is_poison_still_ends(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_start(r);
    rig_send(r, &(struct rig_packet){.flow = 1});
    rig_run(r);
    uint64_t at = r->producer.prod;
    rig_mark(r, RING_END, 2);
    for (int i = 0; i < 3; i++)
        rig_fault(r, STAGE_RECORD, at);
    for (int i = 0; i < 100 && rig_run(r) != SHARD_DONE; i++)
        r->mono += SEC;
    assert_int_equal(shard_step(r->shard), SHARD_DONE);
    assert_int_equal(counter_get(&r->page->c.published), 1);
    rig_check_balance(r);
    rig_free(r);
}

static void an_arena_given_up_is_counted(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_start(r);
    for (unsigned i = 0; i < 1000; i++)
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(i % 3), .at = i});
    rig_run(r);
    for (unsigned i = 0; i < 10; i++)
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(i % 3), .at = 2000 + i});
    rig_crash(r);
    rig_start(r); /* adopted here: from now on nothing is applied */
    for (int i = 0; i < 3; i++)
        rig_fault(r, STAGE_ADOPT, 0);
    assert_int_equal(counter_get(&r->page->c.drops[CAUSE_ARENA_LOST]), 1000);
    rig_end(r, 3000);
    assert_int_equal(counter_get(&r->page->c.published), 10);
    rig_check_balance(r);
    rig_free(r);
}

static void a_ring_that_cannot_be_read_is_passed_over(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_start(r);
    rig_send(r, &(struct rig_packet){.flow = 1});
    rig_run(r);
    uint64_t at = r->producer.prod;
    for (unsigned i = 0; i < 10; i++)
        rig_send(r, &(struct rig_packet){.flow = 1, .at = i});
    for (int i = 0; i < 3; i++)
        rig_fault(r, STAGE_SCAN, at);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 20});
    rig_end(r, 30);
    assert_int_equal(counter_get(&r->page->c.drops[CAUSE_POISON]), 10);
    assert_int_equal(counter_get(&r->page->c.published), 2);
    rig_check_balance(r);
    rig_free(r);
}

/* A life of the shard in a process of its own, to which a page of the ring is poison. True if it dies of it. */
static bool life(struct rig *r, size_t page)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        if (page > 0 && mprotect((uint8_t *)r->ring_map + page, 4096, PROT_NONE) != 0)
            _exit(1);
        rig_start(r);
        rig_run(r);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status)) {
        assert_int_equal(WEXITSTATUS(status), 0);
        return false;
    }
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    counter_add(&r->page->faults.count, 1);
    counter_set(&r->page->faults.last_ns, (uint64_t)r->mono);
    return true;
}

/* What stands before a record that kills whoever looks at it is taken all the same: by the second life, one by one. */
static void careful_takes_what_comes_before(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    unsigned sent = 0, taken = 0, before = 0;
    rig_start(r);
    for (; r->producer.prod < 4096 - 1000; sent++, taken++) /* up to just before a page */
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(sent % 3), .at = sent});
    rig_run(r);
    rig_crash(r);
    for (; r->producer.prod < 3 * 4096; sent++) {
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(sent % 3), .at = sent});
        before += r->producer.prod <= 4096;
    }
    size_t page = RING_PAGE + 4096;
    assert_true(before > 2 && before < CONSUME_BATCH);
    assert_true(life(r, page));
    assert_int_equal(counter_get(&r->page->c.consumed), taken); /* nothing of the batch that it died at */
    assert_true(life(r, page));
    assert_int_equal(counter_get(&r->page->c.consumed), taken + before);
    assert_true(life(r, page)); /* something was applied: a first death again */
    assert_false(life(r, 0));
    assert_int_equal(counter_get(&r->page->c.consumed), sent);
    rig_start(r);
    rig_end(r, 10000);
    assert_int_equal(counter_get(&r->page->c.published), sent);
    rig_check_balance(r);
    rig_free(r);
}

/* Another build's arena: it may come back for it, but not for ever. */
static void an_arena_of_another_layout_is_given_up(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    char error[SHARD_ERROR];
    rig_start(r);
    for (unsigned i = 0; i < 30; i++)
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(i % 3), .at = i});
    rig_run(r);
    rig_crash(r);
    struct arena_head *head = r->arena_map;
    head->layout = 77;
    head->layout_twin = ARENA_TWIN(77);
    for (int i = 0; i < 2; i++) {
        assert_false(rig_try(r, error));
        assert_int_equal(head->layout, 77);
    }
    for (unsigned i = 0; i < 10; i++)
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(i % 3), .at = 100 + i});
    rig_start(r);
    assert_int_equal(counter_get(&r->page->c.drops[CAUSE_ARENA_LOST]), 30);
    rig_end(r, 3000);
    assert_int_equal(counter_get(&r->page->c.published), 10);
    rig_check_balance(r);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_deaths_cost_nothing),
        cmocka_unit_test(progress_forgives),
        cmocka_unit_test(twice_at_a_record_skips_it),
        cmocka_unit_test(two_records_are_not_one),
        cmocka_unit_test(what_cannot_be_read_is_passed_over),
        cmocka_unit_test(three_in_ten_seconds_give_up_the_arena),
        cmocka_unit_test(a_record_goes_before_the_arena_does),
        cmocka_unit_test(judged_again_from_any_point),
        cmocka_unit_test(a_poison_packet_is_counted_once),
        cmocka_unit_test(an_end_that_is_poison_still_ends),
        cmocka_unit_test(an_arena_given_up_is_counted),
        cmocka_unit_test(a_ring_that_cannot_be_read_is_passed_over),
        cmocka_unit_test(careful_takes_what_comes_before),
        cmocka_unit_test(an_arena_of_another_layout_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
