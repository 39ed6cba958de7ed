/* SPDX-License-Identifier: Apache-2.0
 * Lines out of memory that outlives a process: any pieces, and a death before or behind any line or read. A death is
 * played by a second object on the same memory, or on a copy of it that was taken in the middle. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dispatcher/hub/halfline.h"

static uint64_t memory[HALFLINE_BYTES / 8], copy[HALFLINE_BYTES / 8];
static struct halfline *h;
static int pair[2];
static struct {
    unsigned lines, too_long, copy_at;
    size_t longest;
    char last[64], all[4096];
    size_t all_len;
} got;

static void on_line(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    got.lines++;
    got.longest = len > got.longest ? len : got.longest;
    (void)snprintf(got.last, sizeof got.last, "%.*s", (int)(len < 60 ? len : 60), line);
    if (len < 64 && got.all_len + len + 1 < sizeof got.all) {
        memcpy(got.all + got.all_len, line, len);
        got.all_len += len;
        got.all[got.all_len++] = ' ';
    }
    if (got.lines == got.copy_at) /* killed while this line was handed on */
        memcpy(copy, memory, sizeof copy);
}

static void on_too_long(void *ctx)
{
    (void)ctx;
    got.too_long++;
}

static int set_up(void **state)
{
    (void)state;
    memset(memory, 0, sizeof memory);
    memset(&got, 0, sizeof got);
    h = halfline_open(memory, on_line, on_too_long, NULL);
    return h ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) : -1;
}

static int tear_down(void **state)
{
    (void)state;
    halfline_close(h);
    (void)close(pair[0]);
    (void)close(pair[1]);
    return 0;
}

static void put(const char *text, size_t len)
{
    assert_int_equal(write(pair[0], text, len), len);
}

static void says(const char *text)
{
    put(text, strlen(text));
    assert_int_equal(halfline_read(h, pair[1]), strlen(text));
}

static void succeed(void)
{
    halfline_close(h);
    h = halfline_open(memory, on_line, on_too_long, NULL);
    assert_non_null(h);
    halfline_resume(h);
}

static void pieces(void **state)
{
    (void)state;
    assert_int_equal(halfline_read(h, pair[1]), -1);
    says("one\ntwo\nth");
    assert_int_equal(got.lines, 2);
    says("re");
    says("e\n\n");
    assert_int_equal(got.lines, 4);
    says("end");
    halfline_end(h);
    assert_string_equal(got.all, "one two three  end ");
    halfline_end(h);
    assert_int_equal(got.lines, 5);
    says("lost");
    halfline_reset(h);
    says("next\n");
    assert_string_equal(got.last, "next");
    assert_int_equal(got.too_long, 0);
}

/* Megabytes of lines of all lengths, in pieces of all sizes, with a successor now and then. */
static void the_memory_goes_round(void **state)
{
    (void)state;
    static char bytes[HALFLINE_LINE + 1];
    unsigned want = 0, seed = 1;
    memset(bytes, 'x', sizeof bytes);
    for (unsigned i = 0; i < 2000; i++) {
        size_t len = i % 50 == 0 ? HALFLINE_LINE : (seed = seed * 1103515245u + 12345u) >> 8 & 0x1fff;
        bytes[len] = '\n';
        for (size_t at = 0; at < len + 1;) {
            size_t piece = len + 1 - at < 30000 ? len + 1 - at : 30000;
            put(bytes + at, piece);
            at += piece;
            while (halfline_read(h, pair[1]) > 0)
                continue;
            if ((seed >> 9 & 15) == 0)
                succeed();
        }
        bytes[len] = 'x';
        assert_int_equal(got.lines, ++want);
    }
    assert_int_equal(got.longest, HALFLINE_LINE);
    assert_int_equal(got.too_long, 0);
}

static void too_long(void **state)
{
    (void)state;
    static char bytes[3 * HALFLINE_LINE];
    memset(bytes, 'x', sizeof bytes);
    for (int i = 0; i < 6; i++) {
        put(bytes, HALFLINE_LINE / 2);
        (void)halfline_read(h, pair[1]);
        if (i == 4)
            succeed(); /* in the middle of what is skipped */
    }
    assert_int_equal(got.too_long, 1);
    says("rest\nnext\n");
    assert_string_equal(got.all, "next ");
    bytes[HALFLINE_LINE + 1] = '\n'; /* one too many, and its newline is there at once */
    put(bytes, HALFLINE_LINE + 2);
    while (halfline_read(h, pair[1]) > 0)
        continue;
    says("after\n");
    assert_int_equal(got.too_long, 2);
    assert_string_equal(got.all, "next after ");
}

static void killed_while_a_line_is_handed_on(void **state)
{
    (void)state;
    got.copy_at = 2;
    says("one\ntwo\nthree\nfo");
    assert_int_equal(got.lines, 3);
    memcpy(memory, copy, sizeof memory);
    got.all_len = 0;
    memset(got.all, 0, sizeof got.all);
    succeed();
    assert_string_equal(got.all, "two three "); /* again rather than not at all */
    says("ur\n");
    assert_string_equal(got.last, "four");
}

/* A read that copied its bytes and never returned: the process is stopped inside the call, which cannot be had at will,
 * so the memory is made to look so: the word of before, the bytes of after. */
static void killed_inside_a_read(void **state)
{
    (void)state;
    says("one\nha");
    put("lf\ntwo\nthr", 10);
    memcpy(copy, memory, sizeof copy);
    copy[1] |= UINT64_C(1) << 62; /* READING */
    assert_int_equal(halfline_read(h, pair[1]), 10);
    assert_int_equal(got.lines, 3);
    memory[1] = copy[1];
    got.lines = 0;
    got.all_len = 0;
    memset(got.all, 0, sizeof got.all);
    succeed();
    assert_string_equal(got.all, "half two ");
    says("ee\n");
    assert_string_equal(got.last, "three");
}

/* A process that is killed while it waits in the call has said before that it reads. */
static void a_read_is_announced(void **state)
{
    (void)state;
    int pipe_fd[2], status;
    uint64_t *shared = mmap(NULL, HALFLINE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct halfline *mine = halfline_open(shared, on_line, on_too_long, NULL);
        (void)halfline_read(mine, pipe_fd[0]);
        _exit(0);
    }
    bool reading = false;
    for (int i = 0; i < 5000 && !reading; i++) {
        (void)poll(NULL, 0, 1);
        reading = *(volatile uint64_t *)&shared[1] >> 62 & 1;
    }
    assert_true(reading);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    struct halfline *next = halfline_open(shared, on_line, on_too_long, NULL);
    assert_int_equal(write(pipe_fd[1], "one\n", 4), 4);
    assert_int_equal(halfline_read(next, pipe_fd[0]), 4);
    assert_string_equal(got.all, "one ");
    halfline_close(next);
    (void)munmap(shared, HALFLINE_BYTES);
    (void)close(pipe_fd[0]);
    (void)close(pipe_fd[1]);
}

static void memory_that_does_not_check(void **state)
{
    (void)state;
    says("one\ntwo");
    for (size_t bit = 0; bit < 128; bit++) { /* magic and word */
        memcpy(copy, memory, sizeof copy);
        copy[bit / 64] ^= UINT64_C(1) << bit % 64;
        struct halfline *other = halfline_open(copy, on_line, on_too_long, NULL);
        assert_non_null(other);
        halfline_resume(other);
        put("x\n", 2);
        assert_int_equal(halfline_read(other, pair[1]), 2);
        halfline_end(other);
        halfline_close(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_memory_goes_round, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_while_a_line_is_handed_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_inside_a_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_read_is_announced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_that_does_not_check, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hub/halfline", tests, NULL, NULL);
}
