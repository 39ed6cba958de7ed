/* SPDX-License-Identifier: Apache-2.0
 * Handing over: who gets what, over a real socket pair, with the child's own half of the contract. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dispatcher/supervisor/attach.h"

static struct memory memory;
static struct settings_fds fds;
static struct config config;
static struct attach_list list;
static int pair[2];

/* A file that can be told from every other by its size. */
static int file_of(int size)
{
    int fd = memfd_create("attach", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    return fd;
}

static int size_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (int)st.st_size;
}

enum { CONFIG = 1, DISPATCHER, HUB, SUPERVISOR, JOURNAL, HTTP, SERVE, DATA, STAGING, EVENTS };
enum { RING = 100, PAGE = 200, ARENA = 300, BELL_D = 400, BELL_S = 500, REP_H = 600, REP_S = 700, SAVEFILE = 1000 };

static void fill(unsigned shards, unsigned savefiles)
{
    memset(&memory, 0, sizeof(memory));
    memset(&fds, 0, sizeof(fds));
    memory.shards = shards;
    config.savefile_count = savefiles;
    memory.config = file_of(CONFIG);
    memory.dispatcher_fd = file_of(DISPATCHER);
    memory.hub_fd = file_of(HUB);
    memory.supervisor_fd = file_of(SUPERVISOR);
    memory.journal = file_of(JOURNAL);
    for (int i = 0; i < (int)shards; i++) {
        memory.ring[i] = file_of(RING + i);
        memory.shard_fd[i] = file_of(PAGE + i);
        memory.arena[i] = file_of(ARENA + i);
        memory.doorbell_dispatcher[i] = file_of(BELL_D + i);
        memory.doorbell_shard[i] = file_of(BELL_S + i);
        memory.reports_hub[i] = file_of(REP_H + i);
        memory.reports_shard[i] = file_of(REP_S + i);
    }
    for (int i = 0; i < (int)savefiles; i++)
        fds.savefiles[i] = file_of(SAVEFILE + i);
    fds.http = file_of(HTTP);
    fds.serve = file_of(SERVE);
    fds.datadir = file_of(DATA);
    fds.stagingdir = file_of(STAGING);
    fds.events = -1;
    list.count = 0;
}

static int setup(void **state)
{
    int size = 1 << 20;
    (void)state;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return -1;
    return setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static int teardown(void **state)
{
    (void)state;
    close(pair[0]);
    close(pair[1]);
    for (int fd = 3; fd < 1024; fd++) /* what the test made */
        close(fd);
    return 0;
}

/* Nobody reads while it is sent: it must fit. */
static void hand_over(struct proto_attachment *a)
{
    assert_int_equal(attach_send(pair[0], 7, 3, &list), SC_OK);
    assert_int_equal(proto_attach(pair[1], a), SC_OK);
    assert_int_equal(a->slot, 7);
    assert_int_equal(a->generation, 3);
    assert_int_equal(a->count, list.count);
}

static void takes(struct proto_attachment *a, enum proto_role role, unsigned index, int size)
{
    int fd = proto_take_fd(a, role, index);
    assert_true(fd >= 0);
    assert_int_equal(size_of(fd), size);
    close(fd);
}

static void nothing_else(struct proto_attachment *a)
{
    for (int role = ROLE_CONFIG; role <= ROLE_LAST; role++)
        for (unsigned i = 0; i < SHARDS_MAX; i++)
            assert_int_equal(proto_take_fd(a, (enum proto_role)role, i), -1);
    proto_attachment_free(a);
}

static void test_a_shard_gets_its_own_memory_alone(void **state)
{
    struct proto_attachment a;
    (void)state;
    fill(3, 0);
    fds.events = file_of(EVENTS);
    attach_shard(&list, &memory, &fds, 1);
    hand_over(&a);
    takes(&a, ROLE_CONFIG, 0, CONFIG);
    takes(&a, ROLE_RING, 1, RING + 1);
    takes(&a, ROLE_SHARD_PAGE, 1, PAGE + 1);
    takes(&a, ROLE_ARENA, 1, ARENA + 1);
    takes(&a, ROLE_DOORBELL, 1, BELL_S + 1);
    takes(&a, ROLE_REPORTS, 1, REP_S + 1);
    takes(&a, ROLE_DATADIR, 0, DATA);
    takes(&a, ROLE_STAGINGDIR, 0, STAGING);
    takes(&a, ROLE_EVENTS_FILE, 0, EVENTS);
    nothing_else(&a);
}

static void test_the_hub_sees_counters_and_no_packet(void **state)
{
    struct proto_attachment a;
    (void)state;
    fill(2, 0);
    attach_hub(&list, &memory, &fds);
    attach_add(&list, ROLE_EVENTSOCKET, 0, memory.arena[0]); /* what a predecessor wanted kept */
    attach_add(&list, ROLE_EVENTSOCKET, 1, -1);              /* nothing */
    hand_over(&a);
    takes(&a, ROLE_CONFIG, 0, CONFIG);
    takes(&a, ROLE_DISPATCHER_PAGE, 0, DISPATCHER);
    takes(&a, ROLE_HUB_PAGE, 0, HUB);
    takes(&a, ROLE_SUPERVISOR_PAGE, 0, SUPERVISOR);
    takes(&a, ROLE_SHARD_PAGE, 0, PAGE);
    takes(&a, ROLE_SHARD_PAGE, 1, PAGE + 1);
    takes(&a, ROLE_REPORTS, 0, REP_H);
    takes(&a, ROLE_REPORTS, 1, REP_H + 1);
    takes(&a, ROLE_JOURNAL, 0, JOURNAL);
    takes(&a, ROLE_HTTP, 0, HTTP);
    takes(&a, ROLE_SERVE, 0, SERVE);
    takes(&a, ROLE_EVENTSOCKET, 0, ARENA);
    nothing_else(&a);
}

static void test_the_dispatcher_of_the_largest_family(void **state)
{
    struct proto_attachment a;
    (void)state;
    fill(SHARDS_MAX, SAVEFILES_MAX);
    attach_dispatcher(&list, &memory, &fds, &config);
    assert_true(list.count > 4 * PROTO_FDS_PER_MSG); /* many messages, all of them in the socket at once */
    hand_over(&a);
    takes(&a, ROLE_CONFIG, 0, CONFIG);
    takes(&a, ROLE_DISPATCHER_PAGE, 0, DISPATCHER);
    for (int i = 0; i < SHARDS_MAX; i++) {
        takes(&a, ROLE_RING, (unsigned)i, RING + i);
        takes(&a, ROLE_SHARD_PAGE, (unsigned)i, PAGE + i);
        takes(&a, ROLE_DOORBELL, (unsigned)i, BELL_D + i);
    }
    for (int i = 0; i < SAVEFILES_MAX; i++)
        takes(&a, ROLE_SAVEFILE, (unsigned)i, SAVEFILE + i);
    nothing_else(&a);
}

static void test_a_child_that_is_gone(void **state)
{
    (void)state;
    fill(1, 0);
    attach_shard(&list, &memory, &fds, 0);
    close(pair[1]);
    assert_int_equal(attach_send(pair[0], 0, 1, &list), SC_EOF);
}

static void test_nothing_waits_for_a_full_socket(void **state)
{
    int err = SC_OK;
    (void)state;
    fill(1, 0);
    attach_shard(&list, &memory, &fds, 0);
    for (int i = 0; i < 100000 && err == SC_OK; i++)
        err = attach_send(pair[0], 0, 1, &list);
    assert_true(err == SC_EFULL || err == SC_ESYS); /* ESYS: more fds under way than a user may have */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_shard_gets_its_own_memory_alone),    TEST(test_the_hub_sees_counters_and_no_packet),
        TEST(test_the_dispatcher_of_the_largest_family), TEST(test_a_child_that_is_gone),
        TEST(test_nothing_waits_for_a_full_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
