/* SPDX-License-Identifier: Apache-2.0
 * Which deaths a process tells of: those of its own making, and it dies of them all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shard/lastword.h"
#include "shared/log.h"
#include "shared/proto.h"

static struct shard_page *page;

/* The wait status of a process that does this, and in *own_r what it has said. */
static int end_of(void (*what)(int), int arg, uint64_t *own_r)
{
    int status;
    counter_set(&page->faults.own, 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        lastword_keep(page, 7);
        what(arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    *own_r = counter_get(&page->faults.own);
    return status;
}

static void sent_to_itself(int number)
{
    raise(number);
}

static void fault(int arg)
{
    (void)arg;
    volatile int *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *nowhere = 1;
}

static void aborted(int arg)
{
    (void)arg;
    abort();
}

static void panic(int arg)
{
    log_panic("of the test %d", arg);
}

static int deeper(volatile char *above, int depth)
{
    volatile char here[4096];
    here[0] = *above;
    return depth == 0 ? here[0] : deeper(here, depth - 1) + here[0];
}

static void no_stack_left(int arg)
{
    volatile char first = (char)arg;
    exit(deeper(&first, 1 << 20)); /* 4 GiB */
}

static void its_own(void **state)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    uint64_t own;
    (void)state;
    for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        int status = end_of(sent_to_itself, signals[i], &own);
        assert_int_equal(own, 7);
        (void)status; /* a signal that is sent is over once it is handled; one that an instruction raises comes again */
    }
    int status = end_of(fault, 0, &own);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_int_equal(own, 7);
    status = end_of(aborted, 0, &own);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_int_equal(own, 7);
    status = end_of(panic, 3, &own);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_PANIC);
    assert_int_equal(own, 7);
    status = end_of(no_stack_left, 1, &own);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_int_equal(own, 7);
}

static void somebody_elses(void **state)
{
    static const int signals[] = {SIGKILL, SIGTERM, SIGHUP, SIGTRAP};
    uint64_t own;
    (void)state;
    for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        int status = end_of(sent_to_itself, signals[i], &own);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signals[i]);
        assert_int_equal(own, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_own),
        cmocka_unit_test(somebody_elses),
    };
    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
