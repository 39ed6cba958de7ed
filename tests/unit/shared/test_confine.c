/* SPDX-License-Identifier: Apache-2.0
 * What a confined process still has, as /proc/self/status tells it. Each case runs in a child, because what is given up
 * does not come back. Cases that need root or CAP_NET_RAW are skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/confine.h"
#include "tests/unit/skip.h"

#define NET_RAW_BIT (UINT64_C(1) << 13)

/* In a child: ends it, naming the line, unless the condition holds. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                          \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static void in_child(void (*what)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(20);
        what();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The text behind "name:\t" in /proc/self/status. Static storage. */
static const char *status_line(const char *name)
{
    static char line[256];
    size_t len = strlen(name);
    FILE *f = fopen("/proc/self/status", "re");
    EXPECT(f != NULL);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            fclose(f);
            return line + len + 2;
        }
    }
    fclose(f);
    return "";
}

static uint64_t status_hex(const char *name)
{
    return strtoull(status_line(name), NULL, 16);
}

static bool ignored(int signal_number)
{
    return (status_hex("SigIgn") >> (signal_number - 1)) & 1;
}

/* ---- capabilities ---- */

static void child_drops_all(void)
{
    static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapAmb"};
    bool can_drop_bound = (status_hex("CapPrm") >> 8) & 1; /* CAP_SETPCAP */
    EXPECT(confine_capabilities(false) == SC_OK);
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        EXPECT(status_hex(sets[i]) == 0);
    EXPECT(!can_drop_bound || status_hex("CapBnd") == 0);
    EXPECT(!confine_has_net_raw());
    EXPECT(confine_capabilities(false) == SC_OK); /* once more changes nothing */
    EXPECT(confine_capabilities(true) == SC_EPERM);
}

static void all_capabilities_go(void **state)
{
    (void)state;
    in_child(child_drops_all);
}

static void child_keeps_net_raw(void)
{
    bool can_drop_bound = (status_hex("CapPrm") >> 8) & 1;
    EXPECT(confine_capabilities(true) == SC_OK);
    EXPECT(status_hex("CapPrm") == NET_RAW_BIT);
    EXPECT(status_hex("CapEff") == NET_RAW_BIT);
    EXPECT(status_hex("CapInh") == 0);
    EXPECT(status_hex("CapAmb") == 0);
    EXPECT(!can_drop_bound || status_hex("CapBnd") == 0);
    EXPECT(confine_has_net_raw());
    EXPECT(confine_capabilities(false) == SC_OK);
    EXPECT(status_hex("CapPrm") == 0);
    EXPECT(!confine_has_net_raw());
}

static void net_raw_stays_if_asked(void **state)
{
    (void)state;
    if (!confine_has_net_raw())
        SKIP_BECAUSE("no CAP_NET_RAW here");
    in_child(child_keeps_net_raw);
}

/* ---- user ---- */

static void child_becomes_nobody(void)
{
    bool can_drop_bound = (status_hex("CapPrm") >> 8) & 1; /* CAP_SETPCAP */
    EXPECT(confine_user(65534, 65534) == SC_OK);
    EXPECT(strcmp(status_line("Uid"), "65534\t65534\t65534\t65534\n") == 0);
    EXPECT(strcmp(status_line("Gid"), "65534\t65534\t65534\t65534\n") == 0);
    EXPECT(getgroups(0, NULL) == 0);
    EXPECT(!can_drop_bound || status_hex("CapBnd") == 0);
    EXPECT(setuid(0) == -1 && setgid(0) == -1);
    EXPECT(status_hex("CapEff") == 0);
    EXPECT(confine_user(65534, 65534) == SC_OK); /* already so */
    EXPECT(confine_user(0, 0) == SC_ESYS);
}

/* In a user namespace of one uid there is nobody else to become. */
static bool has_other_users(void)
{
    unsigned long inside = 0, outside = 0, count = 0;
    FILE *f = fopen("/proc/self/uid_map", "re");
    assert_non_null(f);
    int n = fscanf(f, "%lu %lu %lu", &inside, &outside, &count);
    fclose(f);
    return n == 3 && count > 65534;
}

static void root_becomes_another_user(void **state)
{
    (void)state;
    if (geteuid() != 0 || !has_other_users())
        SKIP_BECAUSE("needs root and other users");
    in_child(child_becomes_nobody);
}

static void child_stays_root_without_power(void)
{
    EXPECT(confine_user(0, 0) == SC_OK);
    EXPECT(confine_capabilities(false) == SC_OK);
    EXPECT(getuid() == 0 && status_hex("CapEff") == 0);
    EXPECT(setuid(1) == -1);
}

static void root_without_any_capability(void **state)
{
    (void)state;
    if (geteuid() != 0)
        SKIP_BECAUSE("needs root");
    in_child(child_stays_root_without_power);
}

/* ---- process ---- */

static void child_confines_itself(void)
{
    struct rlimit core;
    int death = 0;
    EXPECT(confine_process(getppid(), true) == SC_OK);
    EXPECT(atoi(status_line("NoNewPrivs")) == 1);
    EXPECT(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0);
    EXPECT(prctl(PR_GET_DUMPABLE) == 0);
    EXPECT(ignored(SIGPIPE) && ignored(SIGINT) && ignored(SIGHUP) && !ignored(SIGTERM));
    EXPECT(prctl(PR_GET_PDEATHSIG, &death) == 0 && death == SIGCONT);
}

static void a_child_is_confined(void **state)
{
    (void)state;
    in_child(child_confines_itself);
}

static void child_with_a_wrong_parent(void)
{
    EXPECT(confine_process(getpid(), true) == SC_EOF);
}

static void a_parent_that_is_gone_is_noticed(void **state)
{
    (void)state;
    in_child(child_with_a_wrong_parent);
}

static void child_plays_supervisor(void)
{
    bool interrupt = ignored(SIGINT), hangup = ignored(SIGHUP); /* as whoever runs the tests has them */
    int death = 0;
    EXPECT(confine_process(0, false) == SC_OK);
    EXPECT(atoi(status_line("NoNewPrivs")) == 1);
    EXPECT(ignored(SIGPIPE));
    EXPECT(ignored(SIGINT) == interrupt && ignored(SIGHUP) == hangup);
    EXPECT(prctl(PR_GET_PDEATHSIG, &death) == 0 && death == 0);
}

static void a_supervisor_hears_signals(void **state)
{
    (void)state;
    in_child(child_plays_supervisor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_capabilities_go),        cmocka_unit_test(net_raw_stays_if_asked),
        cmocka_unit_test(root_becomes_another_user),  cmocka_unit_test(root_without_any_capability),
        cmocka_unit_test(a_child_is_confined),        cmocka_unit_test(a_parent_that_is_gone_is_noticed),
        cmocka_unit_test(a_supervisor_hears_signals),
    };
    return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}
