/* SPDX-License-Identifier: Apache-2.0
 * Sums over /proc: a made-up one with odd names and holes, and the real one for this process. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dispatcher/hub/procstat.h"

static char root[64];

static void put(const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs(text, f);
    (void)fclose(f);
}

static void make(const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(root, "/tmp/test_procstat.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static const char *const names[] = {"stat",         "1000001/stat", "1000001/limits", "1000001/fd/0",
                                    "1000001/fd/1", "1000001/fd",   "1000001",        "1000002/stat",
                                    "1000002",      "1000003/stat", "1000003",        ""};

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", root, names[i]);
        (void)remove(path);
    }
    return 0;
}

static void made_up(void **state)
{
    (void)state;
    long tick = sysconf(_SC_CLK_TCK);
    long page = sysconf(_SC_PAGESIZE);
    char line[512];
    put("stat", "cpu 1 2 3\nbtime 1700000000\nprocesses 5\n");
    make("1000001");
    make("1000001/fd");
    put("1000001/fd/0", "");
    put("1000001/fd/1", "");
    (void)snprintf(line, sizeof line,
                   "1000001 (a) S) (b) S 1 1 1 0 -1 4194560 1 1 1 1 %ld %ld %ld %ld 20 0 1 0 %ld 1000000 7 0 0\n", tick,
                   2 * tick, 4 * tick, 8 * tick, 100 * tick);
    put("1000001/stat", line);
    put("1000001/limits", "Limit   Soft Limit  Hard Limit  Units\nMax cpu time  unlimited  unlimited seconds\n"
                          "Max open files            1024                 4096                 files\n");
    make("1000002");
    (void)snprintf(line, sizeof line, "1000002 (x) S 1 1 1 0 -1 4194560 1 1 1 1 %ld 0 %ld 0 20 0 1 0 5 500 1 0 0\n",
                   tick, 16 * tick);
    put("1000002/stat", line);
    make("1000003");
    put("1000003/stat", "1000003 (cut) S 1 1");
    pid_t pids[] = {1000001, 0, 1000002, 1000003, 1000004, -1};
    struct procstat s;
    procstat_read(&s, root, pids, sizeof pids / sizeof pids[0]);
    assert_int_equal((int)(s.cpu_seconds * 10), 160); /* 1 + 2, reaped children 4 + 8, and 1 */
    assert_int_equal(s.resident_bytes, 8 * page);
    assert_int_equal(s.virtual_bytes, 1000500);
    assert_int_equal(s.open_fds, 2);
    assert_int_equal(s.max_fds, 1024);
    assert_int_equal((long)s.start_seconds, 1700000100);
}

static void nothing_there(void **state)
{
    (void)state;
    struct procstat s;
    pid_t pids[] = {1000001};
    procstat_read(&s, "/nonexistent", pids, 1);
    assert_true(s.cpu_seconds == 0 && s.resident_bytes == 0 && s.open_fds == 0 && s.start_seconds == 0);
}

static void this_process(void **state)
{
    (void)state;
    struct procstat s, more;
    pid_t pids[] = {getpid()};
    procstat_read(&s, "/proc", pids, 1);
    assert_true(s.resident_bytes > 100000 && s.virtual_bytes >= s.resident_bytes);
    assert_true(s.open_fds >= 3 && s.max_fds >= s.open_fds);
    assert_true(s.start_seconds > 1.6e9);
    int fd = open("/dev/null", O_RDONLY);
    procstat_read(&more, "/proc", pids, 1);
    (void)close(fd);
    assert_int_equal(more.open_fds, s.open_fds + 1);
}

static void cpu_time_never_goes_back(void **state)
{
    (void)state;
    counter shown = 0;
    struct procstat s = {.cpu_seconds = 51.59};
    procstat_never_back(&s, &shown);
    assert_int_equal(counter_get(&shown), 51590);
    s.cpu_seconds = 51.55; /* a child has died in between */
    procstat_never_back(&s, &shown);
    assert_true(s.cpu_seconds > 51.589);
    s.cpu_seconds = 52;
    procstat_never_back(&s, &shown);
    assert_int_equal(counter_get(&shown), 52000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_up, set_up, tear_down),
        cmocka_unit_test(nothing_there),
        cmocka_unit_test(this_process),
        cmocka_unit_test(cpu_time_never_goes_back),
    };
    return cmocka_run_group_tests_name("hub/procstat", tests, NULL, NULL);
}
