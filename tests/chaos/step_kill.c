/* SPDX-License-Identifier: Apache-2.0
 * kill -9 at every instruction. A process that runs the real shard code over 20 records (appends, a new flow, a seal, a
 * reuse, publications, GC, drops, END) is moved on instruction by instruction with ptrace. At step k the process is
 * cloned, so that there is something to go on with, and killed with SIGKILL. A successor then gets what a killed
 * process leaves: ring, arena, page and files as of that instruction. It adopts, takes the rest of the records and
 * publishes; files and counters must be those of a run that nobody disturbed. In the middle of the first seal the
 * process is replaced by a successor of that kind itself, so that the adoption of a half-done seal is stepped through,
 * too.
 *
 * STEP_STRIDE (7): every so many instructions. The compressor is a million of them that touch private memory alone: it
 * counts as one step, and that it has changed nothing else is checked; STEP_ENCODER=1 goes into it. STEP_ALL=1: also
 * where since the last kill no instruction has changed the shared memory or called the system, so that a kill leaves
 * byte for byte what the last one left; else those are counted and not followed again. Failure policy: the first step
 * whose successor ends differently fails the test and is named; no step tried is a failure, too. */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "shard/arena_map.h"
#include "shard/encoder.h"
#include "tests/chaos/workload.h"
#include "tests/unit/skip.h"

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#define CUT_SEAL 150u        /* instructions after the first packed byte of the first seal: before its commit */
#define STEPS_MAX 20000000ul /* a subject that runs longer does not end */
#define PARTS 5u             /* of the shared memory */
#define PART_MAX ((size_t)1 << 19)

struct proof {
    struct rig *r;
    struct outcome want;
    pid_t subject;
    unsigned long stride, steps, tried, same;
    unsigned long until_cut; /* steps; 0 = not in the seal yet */
    unsigned record;         /* records sent so far */
    unsigned syscalls, packed, adoptions;
    bool all, encoder, fresh; /* fresh: something has changed since the last kill */
    uint8_t *seen;            /* copy of the shared memory */
};

/* ---- the subject ---- */

/* Reached by the subject when it wants the next record; the tracer knows the address. */
#ifndef __clang__
__attribute__((noclone)) /* clang makes no clones, and knows no such word */
#endif
__attribute__((noinline)) static void
next_record(void)
{
    __asm__ volatile("" ::: "memory");
}

/* A place with a system call instruction, for the clone. */
__asm__(".text\nstep_kill_syscall: syscall\nint3\n");
extern const char step_kill_syscall[];

static _Noreturn void subject(struct rig *r, bool first)
{
    (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    if (first) { /* up to the first record nobody steps */
        rig_start(r);
        rig_run(r);
    }
    (void)raise(SIGSTOP);
    if (!first) {
        rig_start(r);
        rig_run(r);
    }
    enum shard_step_result result;
    do {
        next_record();
        r->mono += NS_PER_SEC; /* so that syncs become due */
        result = rig_run(r);
    } while (result != SHARD_DONE);
    _exit(0);
}

static void wait_for(pid_t pid, int *status_r)
{
    pid_t got;
    do
        got = waitpid(pid, status_r, __WALL);
    while (got < 0 && errno == EINTR);
    assert_int_equal(got, pid);
}

static void start_subject(struct proof *p, bool first)
{
    int status;
    p->subject = fork();
    assert_true(p->subject >= 0);
    if (p->subject == 0)
        subject(p->r, first);
    wait_for(p->subject, &status);
    assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, p->subject, NULL, PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL), 0);
}

/* SIGKILL, and nothing of it runs any more. */
static void kill_subject(pid_t pid)
{
    int status;
    assert_int_equal(kill(pid, SIGKILL), 0);
    do
        wait_for(pid, &status);
    while (!WIFSIGNALED(status));
}

/* Lets the subject fork at the instruction where it stands, and kills the one that has stood there. Its clone stands at
 * the same instruction with the same registers. */
static void kill_and_keep_clone(struct proof *p)
{
    struct user_regs_struct saved, regs;
    unsigned long clone = 0;
    int status;
    assert_int_equal(ptrace(PTRACE_GETREGS, p->subject, NULL, &saved), 0);
    regs = saved;
    regs.rip = (unsigned long long)(uintptr_t)step_kill_syscall;
    regs.rax = SYS_fork;
    regs.orig_rax = ~0ull;
    regs.rsp -= 256; /* below the red zone */
    assert_int_equal(ptrace(PTRACE_SETREGS, p->subject, NULL, &regs), 0);
    assert_int_equal(ptrace(PTRACE_SINGLESTEP, p->subject, NULL, NULL), 0);
    wait_for(p->subject, &status);
    assert_int_equal(status >> 8, SIGTRAP | PTRACE_EVENT_FORK << 8);
    assert_int_equal(ptrace(PTRACE_GETEVENTMSG, p->subject, NULL, &clone), 0);
    kill_subject(p->subject);
    p->subject = (pid_t)clone;
    wait_for(p->subject, &status);
    assert_true(WIFSTOPPED(status));
    saved.orig_rax = ~0ull;
    assert_int_equal(ptrace(PTRACE_SETREGS, p->subject, NULL, &saved), 0);
}

/* ---- the successor ---- */

static _Noreturn void successor(struct proof *p)
{
    struct outcome got;
    workload_private_copy(p->r);
    rig_start(p->r);
    rig_run(p->r);
    for (unsigned i = p->record; i < WORKLOAD_RECORDS; i++) {
        workload_send(p->r, i);
        rig_run(p->r);
    }
    workload_rest(p->r);
    take_outcome(p->r, &got);
    assert_same(&p->want, &got);
    workload_remove(p->r);
    _exit(0);
}

static void follow(struct proof *p)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        successor(p);
    wait_for(pid, &status);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("killed at step %lu (record %u): its successor ends differently", p->steps, p->record);
    p->tried++;
}

/* ---- stepping ---- */

/* Compares what outlives the process with the copy, and moves the copy. */
static bool changed(struct proof *p)
{
    const struct rig *r = p->r;
    struct arena_geometry g = arena_geometry(r->budget);
    const struct arena_head *h = r->arena_map;
    const uint8_t *arena = r->arena_map;
    const struct {
        const void *at;
        size_t bytes;
    } part[PARTS] = {
        {r->page, sizeof(*r->page)},
        {arena, g.flows_off + (h->flow_top + 1) * sizeof(struct flow)},
        {arena + g.owners_off, (h->block_top + 1) * sizeof(uint32_t)},
        {arena + g.nexts_off, (h->block_top + 1) * sizeof(uint32_t)},
        {arena + g.blocks_off, (h->block_top + 1) * (size_t)ARENA_BLOCK},
    };
    bool any = false;
    for (unsigned i = 0; i < PARTS; i++) {
        uint8_t *seen = p->seen + i * PART_MAX;
        assert_true(part[i].bytes <= PART_MAX);
        if (memcmp(seen, part[i].at, part[i].bytes) == 0)
            continue;
        memcpy(seen, part[i].at, part[i].bytes);
        any = true;
    }
    return any;
}

static uintptr_t where(const struct proof *p)
{
    return (uintptr_t)ptrace(PTRACE_PEEKUSER, p->subject, offsetof(struct user_regs_struct, rip), NULL);
}

/* Runs the function at whose first instruction the subject stands, up to its return. */
static void run_function(struct proof *p)
{
    struct user_regs_struct regs;
    int status;
    bool before = changed(p);
    assert_int_equal(ptrace(PTRACE_GETREGS, p->subject, NULL, &regs), 0);
    errno = 0;
    long back = ptrace(PTRACE_PEEKDATA, p->subject, regs.rsp, NULL);
    long text = ptrace(PTRACE_PEEKTEXT, p->subject, back, NULL);
    assert_int_equal(errno, 0);
    assert_int_equal(ptrace(PTRACE_POKETEXT, p->subject, back, (text & ~0xffl) | 0xcc), 0); /* int3 */
    assert_int_equal(ptrace(PTRACE_CONT, p->subject, NULL, NULL), 0);
    wait_for(p->subject, &status);
    assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    assert_int_equal(ptrace(PTRACE_POKETEXT, p->subject, back, text), 0);
    assert_int_equal(ptrace(PTRACE_GETREGS, p->subject, NULL, &regs), 0);
    regs.rip = (unsigned long long)back;
    assert_int_equal(ptrace(PTRACE_SETREGS, p->subject, NULL, &regs), 0);
    if (changed(p))
        fail_msg("the compressor wrote into memory that outlives the process");
    p->fresh |= before;
    p->steps++;
}

/* One instruction. False: the subject has ended. */
static bool step(struct proof *p, uintptr_t rip)
{
    const uint8_t *text = (const uint8_t *)rip; /* the subject was forked: its text is ours */
    int status;
    if (rip == (uintptr_t)encoder_chunk && !p->encoder) {
        run_function(p);
        return true;
    }
    if (text[0] == 0x0f && text[1] == 0x05) {
        p->fresh = true; /* a file may have changed */
        p->syscalls++;
    }
    assert_int_equal(ptrace(PTRACE_SINGLESTEP, p->subject, NULL, NULL), 0);
    wait_for(p->subject, &status);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
        fail_msg("the subject met something else than a step: status %#x", (unsigned)status);
    p->steps++;
    assert_true(p->steps < STEPS_MAX);
    return true;
}

/* The first subject dies in its first seal for good: its successor is the next subject. */
static void cut_in_seal(struct proof *p, uintptr_t rip)
{
    if (rip == (uintptr_t)arena_append_packed) {
        p->packed++;
        if (p->until_cut == 0)
            p->until_cut = p->steps + CUT_SEAL;
    }
    if (p->adoptions > 0 || p->until_cut == 0 || p->steps < p->until_cut)
        return;
    assert_int_equal(p->record, 4); /* a seal between two packets, not the last one of a flow */
    kill_subject(p->subject);
    start_subject(p, false);
    p->adoptions++;
}

static void run_proof(struct proof *p)
{
    uintptr_t rip;
    start_subject(p, true);
    do {
        rip = where(p);
        if (rip == (uintptr_t)next_record && p->record < WORKLOAD_RECORDS) {
            workload_send(p->r, p->record++);
            p->fresh = true;
        }
        cut_in_seal(p, rip);
        rip = where(p);
        if (p->steps % p->stride != 0)
            continue;
        p->fresh |= changed(p);
        if (p->fresh || p->all) {
            kill_and_keep_clone(p);
            follow(p);
        } else {
            p->same++;
        }
        p->fresh = false;
    } while (step(p, rip));
}

static unsigned long number_from(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

/* One CPU for all of them: each step is a hand-over, and that is several times dearer between two. */
static void stay_on_one_cpu(void)
{
    cpu_set_t set;
    int cpu = sched_getcpu();
    CPU_ZERO(&set);
    CPU_SET((unsigned)(cpu < 0 ? 0 : cpu), &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

static void killed_at_every_step(void **state)
{
    (void)state;
    struct proof p = {.stride = number_from("STEP_STRIDE", 7),
                      .all = number_from("STEP_ALL", 0) != 0,
                      .encoder = number_from("STEP_ENCODER", 0) != 0,
                      .fresh = true};
    assert_true(p.stride > 0);
    stay_on_one_cpu();
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* clones of a killed subject are ours to reap */
    workload_undisturbed(&p.want);
    p.r = workload_new();
    p.seen = calloc(PARTS, PART_MAX);
    assert_non_null(p.seen);
    run_proof(&p);
    print_message(
        "NOTE step_kill: %lu steps, %u system calls; stride %lu: %lu kills followed to the end, %lu left what the "
        "one before had left; %u packed pieces and %u adoption stepped through\n",
        p.steps, p.syscalls, p.stride, p.tried, p.same, p.packed, p.adoptions);
    assert_true(p.tried > 0);
    assert_int_equal(p.record, WORKLOAD_RECORDS);
    assert_true(p.adoptions == 1 && p.packed > 2 && p.syscalls > 10);
    free(p.seen);
    free_outcome(&p.want);
    workload_close();
    rig_free(p.r);
}

/* A string instruction counts as one step for each byte: long copies are to be made of ordinary ones. The C library
 * takes that from the environment when it starts. */
static void without_string_instructions(char **argv)
{
    const char *const name = "GLIBC_TUNABLES";
    if (getenv(name))
        return;
    (void)setenv(name, "glibc.cpu.x86_rep_stosb_threshold=1000000000:glibc.cpu.x86_rep_movsb_threshold=1000000000", 1);
    (void)execv("/proc/self/exe", argv);
}

#else

static void killed_at_every_step(void **state)
{
    (void)state;
#ifdef __x86_64__
    SKIP_BECAUSE("a sanitizer's own instructions make the steps too many");
#else
    SKIP_BECAUSE("the clone of a stepped process is made with x86-64 registers");
#endif
}

static void without_string_instructions(char **argv)
{
    (void)argv;
}

#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_at_every_step)};
    (void)argc;
    without_string_instructions(argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
