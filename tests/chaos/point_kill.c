/* SPDX-License-Identifier: Apache-2.0
 * kill -9 at each place with a name in consume, seal, publish and adopt: a process runs the
 * whole workload out of a ring that is full from the start, in batches, and dies at the place, at random; the next goes
 * on, dies there, too, .. until the work is done. Files and counters must be those of a run that nobody disturbed.
 *
 * POINT_KILLS (10; make chaos: 100): kills at each place. Failure policy: a place that is never reached fails the test.
 */
#include <signal.h>
#include <sys/wait.h>

#include "shard/crashpoint.h"
#include "tests/chaos/workload.h"
#include "tests/unit/skip.h"

#ifdef SHARDCAP_CRASHPOINTS

#define LIVES 60u      /* of one round; the last of them die no more */
#define ROUNDS_MAX 400 /* without enough kills: the place is hardly ever reached */

static const char *const places[] = {
    "consume.taken",  "consume.record",  "consume.applied", "consume.released", "commit.written",
    "commit.valid",   "commit.applied",  "seal.packed",     "seal.flipped",     "seal.freed",
    "publish.staged", "publish.written", "publish.whole",   "publish.renamed",  "publish.counted",
    "adopt.judged",   "adopt.redone",    "adopt.checked",   "adopt.attached",
};

static void run_to_the_end(struct rig *r)
{
    rig_start(r);
    for (int i = 0; i < 1000; i++) {
        if (rig_run(r) == SHARD_DONE)
            return;
        r->mono += NS_PER_SEC;
    }
    fail_msg("the work does not end");
}

/* One life. Returns the signal that ended it, or 0: done. */
static int live(struct rig *r, const char *orders)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGILL, SIG_DFL); /* not cmocka's to catch */
        (void)setenv("SHARDCAP_CRASH", orders, 1);
        crashpoint_read();
        run_to_the_end(r);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        return WTERMSIG(status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 0;
}

/* The whole workload once. Returns how often a process died at the place. */
static unsigned round_of(const char *place, unsigned once_in, const struct outcome *want)
{
    char orders[96];
    unsigned kills = 0;
    struct outcome got;
    struct rig *r = workload_new();
    for (unsigned i = 0; i < WORKLOAD_RECORDS; i++)
        workload_send(r, i);
    /* Now and then it dies elsewhere, in another way, so that there is something to adopt. */
    snprintf(orders, sizeof(orders), "%s:kill/%u,consume.applied:fault/60", place, once_in);
    for (unsigned i = 0;; i++) {
        int signo = live(r, i < LIVES ? orders : "");
        if (signo == 0)
            break;
        assert_true(signo == SIGTRAP || signo == SIGILL);
        kills += signo == SIGTRAP;
    }
    take_outcome(r, &got);
    assert_same(want, &got);
    free_outcome(&got);
    workload_close();
    rig_free(r);
    return kills;
}

static void killed_at_each_place(void **state)
{
    (void)state;
    static const unsigned once_in[] = {2, 1, 5, 3, 30};
    struct outcome want;
    const char *text = getenv("POINT_KILLS");
    unsigned total = 0, wanted = text && *text ? (unsigned)strtoul(text, NULL, 10) : 10;
    workload_undisturbed(&want);
    for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
        unsigned kills = 0;
        for (unsigned n = 0; kills < wanted; n++) {
            if (n == ROUNDS_MAX)
                fail_msg("killed only %u times at %s", kills, places[i]);
            kills += round_of(places[i], once_in[n % 5], &want);
        }
        total += kills;
    }
    print_message("NOTE point_kill: %u kills at %zu places\n", total, sizeof(places) / sizeof(*places));
    free_outcome(&want);
}

#else

static void killed_at_each_place(void **state)
{
    (void)state;
    SKIP_BECAUSE("this build has no crash points (make crashpoints)");
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_at_each_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
