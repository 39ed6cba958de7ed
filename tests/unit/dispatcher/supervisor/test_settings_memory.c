/* SPDX-License-Identifier: Apache-2.0
 * Memory of machine and control groups, from trees that look like /proc and /sys. */
#include "tests/unit/dispatcher/supervisor/settings_fixture.h"

#define MACHINE "MemTotal:        1000000 kB\nMemFree:  5 kB\n"
#define KIB_1000000 UINT64_C(1024000000)

static void test_memory_of_the_machine(void **state)
{
    (void)state;
    assert_int_equal(settings_memory(dir), 0); /* nothing can be read: unknown */
    make("proc/self");
    put("proc/meminfo", MACHINE);
    assert_true(settings_memory(dir) == KIB_1000000);
    put("proc/self/cgroup", "0::/\n");
    assert_true(settings_memory(dir) == KIB_1000000);
    assert_true(settings_memory("/") > 1u << 20);
}

static void test_memory_of_cgroup_v2_is_the_least_on_the_way_up(void **state)
{
    (void)state;
    make("proc/self");
    put("proc/meminfo", MACHINE);
    put("proc/self/cgroup", "0::/kube/pod/one\n");
    make("sys/fs/cgroup/kube/pod/one");
    put("sys/fs/cgroup/kube/pod/one/memory.max", "max\n");
    put("sys/fs/cgroup/kube/pod/memory.max", "300000000\n");
    put("sys/fs/cgroup/kube/memory.max", "500000000\n");
    assert_true(settings_memory(dir) == 300000000);
    put("sys/fs/cgroup/kube/memory.max", "200000000\n");
    assert_true(settings_memory(dir) == 200000000);
    put("sys/fs/cgroup/memory.max", "100000000\n"); /* a container sees its own group as the root */
    assert_true(settings_memory(dir) == 100000000);
    put("sys/fs/cgroup/memory.max", "nonsense\n");
    put("sys/fs/cgroup/kube/memory.max", "9000000000\n");
    put("sys/fs/cgroup/kube/pod/memory.max", "9000000000\n"); /* more than there is */
    assert_true(settings_memory(dir) == KIB_1000000);
}

static void test_memory_of_cgroup_v1(void **state)
{
    (void)state;
    make("proc/self");
    put("proc/meminfo", MACHINE);
    put("proc/self/cgroup", "12:cpu,cpuacct:/elsewhere\n11:memory:/docker/abc\nbroken\n");
    make("sys/fs/cgroup/memory/docker/abc");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_true(settings_memory(dir) == KIB_1000000);
    put("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "400000000\n");
    assert_true(settings_memory(dir) == 400000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_memory_of_the_machine),
        TEST(test_memory_of_cgroup_v2_is_the_least_on_the_way_up),
        TEST(test_memory_of_cgroup_v1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
