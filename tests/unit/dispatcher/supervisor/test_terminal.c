/* SPDX-License-Identifier: Apache-2.0
 * The status line, on a pseudo-terminal and without one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/supervisor/terminal.h"
#include "shared/log.h"

#define URL "http://127.0.0.1:9990"

static struct config config;

static struct totals example(void)
{
    struct totals t = {.flows_started = 14, .flows_unnamed = 3, .files = 9, .delivered = 5120};
    return t;
}

static void test_line(void **state)
{
    struct totals t = example();
    char out[512], small[16];
    (void)state;
    assert_string_equal(terminal_line(out, sizeof(out), &t, 12000000, 12, URL),
                        "0:12 flows 14 (3 unnamed) files 9 packets 5,120 lost 0 mem 12 MB " URL);
    t.lost = 1000;
    t.kernel_dropped = 234567;
    t.limits = 99; /* asked for: not lost */
    t.delivered = UINT64_MAX;
    assert_string_equal(terminal_line(out, sizeof(out), &t, 0, 3599, ""),
                        "59:59 flows 14 (3 unnamed) files 9 packets 18,446,744,073,709,551,615 lost 235,567 mem 0 MB");
    t.disk_paused = 1;
    assert_non_null(strstr(terminal_line(out, sizeof(out), &t, 0, 1, URL), "DISK FULL: new flows pause"));
    t.disk_paused = 0;
    terminal_line(out, sizeof(out), &t, 0, 360061, "");
    assert_memory_equal(out, "100:01:01 ", 10);
    t.delivered = 999;
    assert_string_equal(terminal_line(small, sizeof(small), &t, 0, 0, URL), "0:00 flows 14 (");
}

/* ---- on a terminal ---- */

static int master, slave;
static int held; /* stderr of the test run while ours is the terminal */

static int open_terminal(void **state)
{
    char name[64];
    (void)state;
    setenv("TERM", "xterm", 1);
    config_init(&config);
    strcpy(config.datadir, "/data");
    master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0 || ptsname_r(master, name, sizeof(name)) != 0)
        return -1;
    slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    held = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    return slave < 0 || held < 0 || dup2(slave, STDERR_FILENO) < 0 ? -1 : 0;
}

static int close_terminal(void **state)
{
    (void)state;
    dup2(held, STDERR_FILENO);
    close(held);
    close(slave);
    close(master);
    return 0;
}

/* What the terminal was sent since the last call. */
static const char *seen(void)
{
    static char text[16384];
    int flags = fcntl(master, F_GETFL);
    size_t n = 0;
    fcntl(master, F_SETFL, flags | O_NONBLOCK);
    for (ssize_t got; n < sizeof(text) - 1 && (got = read(master, text + n, sizeof(text) - 1 - n)) > 0;)
        n += (size_t)got;
    text[n] = '\0';
    return text;
}

static struct mono after(const struct mono *start, int64_t s)
{
    return (struct mono){start->ns + s * NS_PER_SEC};
}

static struct mono now_plus_a_bit(void)
{
    struct mono now = clock_system()->mono(clock_system()->ctx);
    now.ns += NS_PER_SEC / 2; /* past the terminal's own start, whenever this runs */
    return now;
}

static void test_status_line_is_redrawn_in_place(void **state)
{
    struct totals t = example();
    (void)state;
    struct terminal *term = terminal_new(STDERR_FILENO, &config, URL);
    struct mono start = now_plus_a_bit();
    struct mono early = {start.ns - NS_PER_SEC};
    terminal_tick(term, &t, 12000000, early);
    assert_string_equal(seen(), ""); /* from the second second on */
    terminal_tick(term, &t, 12000000, after(&start, 12));
    const char *text = seen();
    assert_non_null(strstr(text, ":12 flows 14 (3 unnamed) files 9 packets 5,120 lost 0 mem 12 MB " URL));
    assert_null(strchr(text, '\n'));
    t.files = 10;
    terminal_tick(term, &t, 12000000, after(&start, 13));
    text = seen();
    assert_memory_equal(text, "\r\033[K", 4); /* the old one goes first */
    assert_non_null(strstr(text, "files 10 "));
    assert_null(strchr(text, '\n'));
    terminal_free(term);
    assert_string_equal(seen(), "\r\033[K");
}

static void test_says_why_flows_have_no_names(void **state)
{
    struct totals t = example();
    (void)state;
    uint32_t sources = config.uuid_sources;
    config.uuid_sources = UUID_SOURCE_KERNEL;
    struct terminal *term = terminal_new(STDERR_FILENO, &config, URL);
    struct mono start = now_plus_a_bit();
    terminal_tick(term, &t, 0, after(&start, 2));
    assert_null(strstr(seen(), "no UUID"));
    t.flows_nameless = 20;
    terminal_tick(term, &t, 0, after(&start, 3));
    const char *text = seen(), *warning = strstr(text, "WARN");
    assert_non_null(warning);
    assert_non_null(strstr(warning, "set -uuid.source=hash"));
    assert_non_null(strstr(text, " MB most flows have no UUID: ")); /* in the line itself */
    terminal_tick(term, &t, 0, after(&start, 4));
    text = seen();
    assert_null(strstr(text, "WARN")); /* once */
    assert_non_null(strstr(text, "most flows have no UUID: "));
    terminal_free(term);
    config.uuid_sources = sources;
}

static void test_log_lines_do_not_collide(void **state)
{
    struct totals t = example();
    (void)state;
    struct terminal *term = terminal_new(STDERR_FILENO, &config, URL);
    struct mono start = now_plus_a_bit();
    terminal_tick(term, &t, 0, after(&start, 2));
    (void)seen();
    log_warn("something happened");
    const char *text = seen(), *line = strstr(text, "something happened"), *again = strstr(text, "flows 14");
    assert_memory_equal(text, "\r\033[K", 4);
    assert_true(line && again && line < again);
    terminal_free(term);
    (void)seen();
    log_warn("and after the end");
    text = seen();
    assert_non_null(strstr(text, "and after the end"));
    assert_null(strstr(text, "flows 14")); /* the hooks are gone */
}

static void test_hint_comes_once_and_only_in_silence(void **state)
{
    struct totals t = {0};
    (void)state;
    struct terminal *term = terminal_new(STDERR_FILENO, &config, URL);
    struct mono start = now_plus_a_bit();
    terminal_watching(term, "eth0 wlan0");
    terminal_tick(term, &t, 0, after(&start, 8));
    assert_null(strstr(seen(), "curl"));
    terminal_tick(term, &t, 0, after(&start, 10));
    const char *text = seen();
    assert_non_null(strstr(text, "eth0 wlan0"));
    assert_non_null(strstr(text, "loopback"));
    assert_non_null(strstr(text, "curl http://"));
    terminal_tick(term, &t, 0, after(&start, 20));
    assert_null(strstr(seen(), "curl"));
    terminal_free(term);

    term = terminal_new(STDERR_FILENO, &config, URL);
    start = now_plus_a_bit();
    t.delivered = 1;
    terminal_tick(term, &t, 0, after(&start, 2));
    terminal_tick(term, &t, 0, after(&start, 60));
    assert_null(strstr(seen(), "curl"));
    terminal_free(term);
}

static void test_a_savefile_needs_no_hint(void **state)
{
    struct totals t = {0};
    (void)state;
    config.savefile_count = 1;
    struct terminal *term = terminal_new(STDERR_FILENO, &config, "");
    struct mono start = now_plus_a_bit();
    terminal_tick(term, &t, 0, after(&start, 30));
    assert_null(strstr(seen(), "curl"));
    terminal_free(term);
}

static void test_a_dumb_terminal_gets_no_status_line(void **state)
{
    struct totals t = example();
    (void)state;
    setenv("TERM", "dumb", 1);
    struct terminal *term = terminal_new(STDERR_FILENO, &config, URL);
    struct mono start = now_plus_a_bit();
    terminal_tick(term, &t, 0, after(&start, 2));
    terminal_free(term);
    assert_string_equal(seen(), "");
}

static void test_no_terminal_no_control_byte(void **state)
{
    struct totals t = example();
    char buf[256];
    int ends[2];
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    struct terminal *term = terminal_new(ends[1], &config, URL);
    struct mono start = now_plus_a_bit();
    for (int s = 1; s < 20; s++)
        terminal_tick(term, &t, 0, after(&start, s));
    terminal_free(term);
    close(ends[1]);
    assert_int_equal(read(ends[0], buf, sizeof(buf)), 0);
    close(ends[0]);
    terminal_free(NULL);
}

/* Paths go to standard output, which is a pipe here. */
static void test_paths(void **state)
{
    char buf[256] = "";
    int ends[2];
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    fflush(stdout);
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    assert_true(out >= 0 && dup2(ends[1], STDOUT_FILENO) >= 0);
    struct terminal *term = terminal_new(STDERR_FILENO, &config, URL); /* report_files is not set */
    terminal_saved(term, "2024/01/02/unseen.pcap.gz");
    terminal_free(term);
    config.report_files = true;
    term = terminal_new(STDERR_FILENO, &config, URL);
    terminal_saved(term, "2024/01/02/a_1.pcap.gz");
    terminal_free(term);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    close(ends[1]);
    ssize_t n = read(ends[0], buf, sizeof(buf) - 1);
    close(ends[0]);
    assert_true(n > 0);
    assert_string_equal(buf, "/data/2024/01/02/a_1.pcap.gz\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test_setup_teardown(test_status_line_is_redrawn_in_place, open_terminal, close_terminal),
        cmocka_unit_test_setup_teardown(test_says_why_flows_have_no_names, open_terminal, close_terminal),
        cmocka_unit_test_setup_teardown(test_log_lines_do_not_collide, open_terminal, close_terminal),
        cmocka_unit_test_setup_teardown(test_hint_comes_once_and_only_in_silence, open_terminal, close_terminal),
        cmocka_unit_test_setup_teardown(test_a_savefile_needs_no_hint, open_terminal, close_terminal),
        cmocka_unit_test_setup_teardown(test_a_dumb_terminal_gets_no_status_line, open_terminal, close_terminal),
        cmocka_unit_test_setup_teardown(test_no_terminal_no_control_byte, open_terminal, close_terminal),
        cmocka_unit_test_setup_teardown(test_paths, open_terminal, close_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
