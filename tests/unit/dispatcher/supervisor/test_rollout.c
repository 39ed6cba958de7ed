/* SPDX-License-Identifier: Apache-2.0
 * Restarts that somebody asked for, and the commands that ask, on children without processes and a clock of the test's
 * own. What a child is told is read from the other end of its socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dispatcher/supervisor/commands.h"
#include "dispatcher/supervisor/rollout.h"
#include "shared/shm.h"

#define SHARDS 3

static struct family f;
static struct memory memory;
static struct config config;
static struct supervisor_page page;
static struct mono now;
static int ends[SHARDS + 2]; /* of shards, hub, dispatcher */

static struct mono read_clock(void *ctx)
{
    (void)ctx;
    return now;
}
static const struct clock clock_of_test = {.mono = read_clock};

static void make(struct child *c, enum child_kind kind, unsigned index, int *end)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    *c = (struct child){.family = &f, .kind = kind, .index = index, .sock = pair[0], .pidfd = -1};
    *end = pair[1];
    slot_init(&c->slot, NS_PER_SEC);
    slot_want(&c->slot, now);
    slot_spawned(&c->slot, now);
    slot_ready(&c->slot, now);
}

static int setup(void **state)
{
    (void)state;
    now.ns = 1000 * NS_PER_SEC;
    memset(&page, 0, sizeof(page));
    memory = (struct memory){.shards = SHARDS, .supervisor = &page};
    config_init(&config);
    f = (struct family){.memory = &memory, .config = &config, .clock = &clock_of_test, .phase = PHASE_RUNNING};
    f.heir = (struct child){.family = &f, .kind = CHILD_DISPATCHER, .sock = -1, .pidfd = -1};
    for (unsigned i = 0; i < SHARDS; i++)
        make(&f.shard[i], CHILD_SHARD, i, &ends[i]);
    make(&f.hub, CHILD_HUB, 0, &ends[SHARDS]);
    make(&f.dispatcher, CHILD_DISPATCHER, 0, &ends[SHARDS + 1]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SHARDS; i++)
        child_close(&f.shard[i]);
    child_close(&f.hub);
    child_close(&f.dispatcher);
    for (unsigned i = 0; i < SHARDS + 2; i++)
        close(ends[i]);
    return 0;
}

static void pass(int64_t ns)
{
    for (int64_t end = now.ns + ns; now.ns < end; rollout_step(&f, now))
        now.ns += 20 * NS_PER_MS;
}

/* What the child was told since it was last asked; 0 = nothing. */
static int told(int end)
{
    struct proto_msg msg;
    int fds[PROTO_FDS_PER_MSG];
    return proto_recv(end, &msg, fds) == SC_OK ? msg.type : 0;
}

static const char *run(const char *line)
{
    static char answer[PROTO_TEXT];
    (void)commands_run(&f, line, 1, answer);
    return answer;
}

/* What `restart all` puts on the list once the programs on disk are known to fit. */
static void restart_all(void)
{
    for (unsigned i = 0; i < SHARDS; i++)
        rollout_add(&f, &f.shard[i], PROTO_LEAVE);
    rollout_add(&f, &f.hub, PROTO_LEAVE);
}

static void be_replaced(struct child *c)
{
    assert_int_equal(c->slot.state, SLOT_LEAVING);
    (void)slot_exited(&c->slot, DEATH_DONE, true, now);
    slot_spawned(&c->slot, now);
    slot_ready(&c->slot, now);
}

static void test_all_one_after_the_other(void **state)
{
    (void)state;
    restart_all();
    assert_int_equal(told(ends[0]), 0);
    for (unsigned i = 0; i < SHARDS + 1; i++) {
        struct child *c = i < SHARDS ? &f.shard[i] : &f.hub;
        pass(NS_PER_SEC);
        assert_int_equal(counter_get(&page.restarting), SHARDS + 1 - i);
        assert_int_equal(told(ends[i]), PROTO_LEAVE);
        if (i < SHARDS)
            assert_int_equal(told(ends[i + 1]), 0); /* it waits for the one before it */
        be_replaced(c);
    }
    pass(NS_PER_SEC);
    assert_int_equal(counter_get(&page.restarting), 0);
    assert_false(rollout_busy(&f));
    assert_int_equal(told(ends[SHARDS + 1]), 0);
}

static void test_a_successor_that_does_not_come_up_stops_the_rest(void **state)
{
    (void)state;
    restart_all();
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[0]), PROTO_LEAVE);
    for (int i = 0; i < 20; i++) {
        (void)slot_exited(&f.shard[0].slot, DEATH_FAULT, true, now);
        pass(NS_PER_SEC);
        slot_spawned(&f.shard[0].slot, now);
        pass(NS_PER_SEC);
    }
    assert_int_equal(told(ends[1]), 0);
    assert_memory_equal(run("restart 1"), "error busy: 4 ", 14);
    slot_ready(&f.shard[0].slot, now);
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[1]), PROTO_LEAVE);
}

static void test_one_that_is_starting_is_waited_for(void **state)
{
    (void)state;
    (void)slot_exited(&f.shard[2].slot, DEATH_OUTSIDE, true, now);
    slot_spawned(&f.shard[2].slot, now);
    assert_string_equal(run("restart 1"), "ok restarting shard[1] generation=1");
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[1]), 0);
    slot_ready(&f.shard[2].slot, now);
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[1]), PROTO_LEAVE);
}

static void test_names_and_drains(void **state)
{
    (void)state;
    assert_string_equal(run("  drain\tshard[2] "), "ok draining shard[2] generation=1");
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[2]), PROTO_DRAIN);
    be_replaced(&f.shard[2]);
    pass(NS_PER_SEC);
    assert_string_equal(run("restart dispatcher"), "ok restarting dispatcher generation=1");
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[SHARDS + 1]), PROTO_LEAVE);
    be_replaced(&f.dispatcher);
    pass(NS_PER_SEC);
    assert_string_equal(run("restart hub"), "ok restarting hub generation=1");
}

static int handed;
static bool may_hand_over;

static bool hand_over(struct family *family, const struct program *next)
{
    handed += next->fd;
    if (may_hand_over)
        family->heir.pid = 1;
    return may_hand_over;
}

static void test_the_dispatcher_goes_on_beside_its_heir(void **state)
{
    (void)state;
    handed = 0;
    may_hand_over = true;
    f.hand_over = hand_over;
    rollout_add_entry(
        &f, &(struct rollout_entry){.child = &f.dispatcher, .how = PROTO_LEAVE, .program = {"dispatcher", 200}});
    pass(NS_PER_SEC);
    assert_int_equal(handed, 200);
    assert_int_equal(told(ends[SHARDS + 1]), 0); /* its heir has to say that it has all interfaces */
    assert_int_equal(f.dispatcher.slot.state, SLOT_READY);
    assert_int_equal(f.dispatcher.program.fd, 200); /* if it dies now */
    slot_leave(&f.dispatcher.slot, NS_PER_SEC, now);
    be_replaced(&f.dispatcher);
    f.heir.pid = 0;
    pass(NS_PER_SEC);
    assert_false(rollout_busy(&f));
    assert_int_equal(handed, 200);
}

static void test_an_heir_that_came_to_nothing(void **state)
{
    (void)state;
    handed = 0;
    may_hand_over = true;
    f.hand_over = hand_over;
    f.dispatcher.program = (struct program){"dispatcher", 100};
    rollout_add(&f, &f.dispatcher, PROTO_LEAVE);
    pass(NS_PER_SEC);
    assert_int_equal(handed, 100);
    f.heir.pid = 0;
    pass(NS_PER_SEC);
    assert_int_equal(handed, 100); /* tried once */
    assert_int_equal(told(ends[SHARDS + 1]), PROTO_LEAVE);
    be_replaced(&f.dispatcher);
    pass(NS_PER_SEC);
    assert_false(rollout_busy(&f));
}

static void test_a_program_that_does_not_come_up(void **state)
{
    (void)state;
    handed = 0;
    may_hand_over = true;
    f.hand_over = hand_over;
    f.dispatcher.program = f.dispatcher_program = (struct program){"dispatcher", 100};
    rollout_add_entry(
        &f, &(struct rollout_entry){.child = &f.dispatcher, .how = PROTO_LEAVE, .program = {"dispatcher", 200}});
    f.dispatcher_program.fd = 200;
    pass(NS_PER_SEC);
    assert_int_equal(handed, 200);
    f.heir.pid = 0;
    f.heir_broken = true;
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[SHARDS + 1]), 0);
    assert_false(rollout_busy(&f));
    assert_int_equal(f.dispatcher.program.fd, 100);
    assert_int_equal(f.dispatcher_program.fd, 100); /* what the next upgrade is compared with */
}

static void test_without_a_hand_over(void **state)
{
    (void)state;
    handed = 0;
    may_hand_over = false;
    f.hand_over = hand_over;
    rollout_add(&f, &f.dispatcher, PROTO_LEAVE);
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[SHARDS + 1]), PROTO_LEAVE);
}

static struct shard_page counts;
static int executed;
static struct program given;

static int take_program(struct family *family, const struct program *next)
{
    (void)family;
    executed++;
    given = *next;
    errno = ENOEXEC;
    return SC_ESYS;
}

/* A new program, and one that begins with an empty arena, only after the old one has published everything. */
static void test_programs_and_arenas(void **state)
{
    (void)state;
    struct child *c = &f.shard[1];
    memset(&counts, 0, sizeof(counts));
    memory.shard[1] = &counts;
    memory.arena[1] = shm_create("arena", 4096);
    config.shards = SHARDS;
    config.maxheap = 64 << 20;
    struct stat before, after;
    assert_int_equal(fstat(memory.arena[1], &before), 0);
    c->program = (struct program){"old", 100};
    rollout_add_entry(
        &f, &(struct rollout_entry){.child = c, .how = PROTO_DRAIN, .program = {"new", 200}, .new_arena = true});
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[1]), PROTO_DRAIN);
    counter_set(&counts.c.consumed, 10);
    counter_set(&counts.c.published, 9);
    rollout_left(&f, c, true); /* somebody's SIGTERM: it said 0 and has left a packet */
    assert_int_equal(c->program.fd, 100);
    be_replaced(c);
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[1]), PROTO_DRAIN); /* again */
    counter_set(&counts.c.published, 10);
    rollout_left(&f, c, false); /* killed at the last moment: who knows */
    assert_int_equal(c->program.fd, 100);
    be_replaced(c);
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[1]), PROTO_DRAIN);
    assert_int_equal(fstat(memory.arena[1], &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    rollout_left(&f, c, true);
    assert_int_equal(c->program.fd, 200);
    assert_int_equal(fstat(memory.arena[1], &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    be_replaced(c);
    pass(NS_PER_SEC);
    assert_false(rollout_busy(&f));
    close(memory.arena[1]);
}

static void test_the_supervisor_takes_its_turn(void **state)
{
    (void)state;
    executed = 0;
    f.exec_self = take_program;
    rollout_add(&f, &f.shard[0], PROTO_LEAVE);
    rollout_add_entry(&f, &(struct rollout_entry){.program = {"self", 300}});
    rollout_add(&f, &f.dispatcher, PROTO_LEAVE);
    pass(NS_PER_SEC);
    assert_int_equal(told(ends[0]), PROTO_LEAVE);
    pass(NS_PER_SEC);
    assert_int_equal(executed, 0);
    be_replaced(&f.shard[0]);
    pass(40 * NS_PER_MS);
    assert_int_equal(executed, 1);
    assert_int_equal(given.fd, 300);
    pass(NS_PER_SEC); /* it failed: the old one goes on */
    assert_int_equal(executed, 1);
    assert_int_equal(told(ends[SHARDS + 1]), PROTO_LEAVE);
}

static void test_what_is_refused(void **state)
{
    static const char *const usage[] = {
        "",           "restart",         "restart 0 1", "drain 0 1",
        "restart 3",  "restart -1",      "drain hub",   "drain all",
        "restart 01", "restart all all", "stop",        "restart xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    (void)state;
    for (unsigned i = 0; i < sizeof(usage) / sizeof(*usage); i++)
        assert_memory_equal(run(usage[i]), "error usage: ", 13);
    f.phase = PHASE_OPENING;
    assert_string_equal(run("restart 0"), "error not now: shardcap is starting");
    f.phase = PHASE_DRAINING;
    assert_string_equal(run("restart 0"), "error not now: shardcap is stopping");
    f.phase = PHASE_RUNNING;
    config.savefile_count = 1;
    assert_memory_equal(run("restart 0"), "error not now: savefiles", 24);
    assert_false(rollout_busy(&f));
}

static void test_the_end_forgets_the_rest(void **state)
{
    (void)state;
    restart_all();
    pass(NS_PER_SEC);
    f.phase = PHASE_DRAINING;
    pass(NS_PER_SEC);
    assert_false(rollout_busy(&f));
    assert_int_equal(counter_get(&page.restarting), 0);
}

static void test_drain_is_the_end_with_grace(void **state)
{
    (void)state;
    config.sigtermwait_ns = 3 * NS_PER_SEC;
    f.dispatcher.pid = 1; /* somebody is there to be told; nothing is sent to a process here */
    assert_string_equal(run("drain"), "ok draining grace=3000ms");
    assert_int_equal(f.phase, PHASE_DRAINING);
    assert_int_equal(told(ends[SHARDS + 1]), PROTO_STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_one_after_the_other, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_successor_that_does_not_come_up_stops_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_that_is_starting_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_and_drains, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_dispatcher_goes_on_beside_its_heir, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_heir_that_came_to_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_program_that_does_not_come_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_hand_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_programs_and_arenas, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_supervisor_takes_its_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_forgets_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain_is_the_end_with_grace, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
