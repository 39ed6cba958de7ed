/* SPDX-License-Identifier: Apache-2.0
 * The form of a log line, byte for byte, read from a pipe in place of stderr; quoting; rate limit; exit statuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/log.h"
#include "shared/proto.h"

#include <jansson.h>

static int saved_stderr, reader;

/* From here on lines go into a pipe. */
static void catch_lines(void)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(saved_stderr >= 0);
    assert_true(dup2(p[1], STDERR_FILENO) >= 0);
    close(p[1]);
    reader = p[0];
}

/* Gives stderr back and returns what was written. */
static size_t caught(char *out, size_t cap)
{
    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    close(saved_stderr);
    size_t len = 0;
    ssize_t n;
    while ((n = read(reader, out + len, cap - 1 - len)) > 0)
        len += (size_t)n;
    close(reader);
    out[len] = '\0';
    return len;
}

/* "2024-11-19T16:51:48.123Z " */
static void assert_time(const char *line)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; form[i]; i++) {
        if (form[i] == 'd')
            assert_in_range(line[i], '0', '9');
        else
            assert_int_equal(line[i], form[i]);
    }
}

static void text_line(void **state)
{
    (void)state;
    char out[4096];
    catch_lines();
    log_init("shard", 3, LOG_INFO_LEVEL, LOG_TEXT);
    errno = ENOENT;
    log_info("flow saved key=%d", 7);
    assert_int_equal(errno, ENOENT);
    log_debug("not shown");
    log_init("hub", -1, LOG_DEBUG_LEVEL, LOG_TEXT);
    log_debug("shown");
    log_warn("line\nbreak\tand \x7f");
    log_error("e");
    caught(out, sizeof out);

    char *line = strtok(out, "\n");
    assert_time(line);
    assert_string_equal(line + 24, " INFO shard[3] flow saved key=7");
    assert_string_equal(strtok(NULL, "\n") + 24, " DEBUG hub shown");
    assert_string_equal(strtok(NULL, "\n") + 24, " WARNING hub line\\x0abreak\\x09and \\x7f");
    assert_string_equal(strtok(NULL, "\n") + 24, " ERROR hub e");
    assert_null(strtok(NULL, "\n"));
}

static void levels(void **state)
{
    (void)state;
    static const int lines[] = {
        [LOG_DEBUG_LEVEL] = 4, [LOG_INFO_LEVEL] = 3, [LOG_WARN_LEVEL] = 2, [LOG_ERROR_LEVEL] = 1};
    for (enum log_level level = LOG_DEBUG_LEVEL; level <= LOG_ERROR_LEVEL; level++) {
        char out[4096];
        catch_lines();
        log_init("shard", 0, level, LOG_TEXT);
        log_debug("d");
        log_info("i");
        log_warn("w");
        log_error("e");
        caught(out, sizeof out);
        int n = 0;
        for (const char *p = out; *p; p++)
            n += *p == '\n';
        assert_int_equal(n, lines[level]);
        assert_int_equal(log_debug_enabled(), level == LOG_DEBUG_LEVEL);
    }
}

static void json_line_is_json(void **state)
{
    (void)state;
    char out[4096];
    catch_lines();
    log_init("shard", 12, LOG_INFO_LEVEL, LOG_JSON);
    log_warn("q\" b\\ n\n t\x01 ok\xc3\xa9 bad\xff\xc0\xaf\xed\xa0\x80 end\xe2");
    caught(out, sizeof out);
    json_t *o = json_loads(out, 0, NULL);
    assert_non_null(o);
    assert_time(json_string_value(json_object_get(o, "time")));
    assert_string_equal(json_string_value(json_object_get(o, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(o, "process")), "shard");
    assert_int_equal(json_integer_value(json_object_get(o, "slot")), 12);
    const char *message = json_string_value(json_object_get(o, "message"));
    assert_string_equal(message, "q\" b\\ n\n t\x01 ok\xc3\xa9 bad\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                                 "\xef\xbf\xbd\xef\xbf\xbd end\xef\xbf\xbd");
    json_decref(o);

    catch_lines();
    log_init("shardcap", -1, LOG_INFO_LEVEL, LOG_JSON);
    log_info("m");
    caught(out, sizeof out);
    o = json_loads(out, 0, NULL);
    assert_non_null(o);
    assert_null(json_object_get(o, "slot"));
    json_decref(o);
}

static void long_message_stays_one_atomic_write(void **state)
{
    (void)state;
    static char big[9000], out[20000];
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        for (size_t i = 0; i < 3; i++) {
            memset(big, "\"\na"[i], sizeof big - 1); /* two that are escaped, one that is not */
            catch_lines();
            log_init("shard", 1, LOG_INFO_LEVEL, (enum log_format)format);
            log_info("%s", big);
            size_t n = caught(out, sizeof out);
            assert_in_range(n, PIPE_BUF - 16, PIPE_BUF);
            assert_ptr_equal(strchr(out, '\n'), out + n - 1);
            assert_non_null(strstr(out + n - 8, "..."));
            json_t *o = format == LOG_JSON ? json_loads(out, 0, NULL) : NULL;
            assert_int_equal(o != NULL, format == LOG_JSON);
            json_decref(o);
        }
    }
}

static void count_before(void *ctx)
{
    ((int *)ctx)[0]++;
}
static void count_after(void *ctx)
{
    ((int *)ctx)[1]++;
}

static void hooks_frame_each_line(void **state)
{
    (void)state;
    char out[4096];
    int calls[2] = {0, 0};
    log_init("shardcap", -1, LOG_INFO_LEVEL, LOG_TEXT);
    log_set_hooks(count_before, count_after, calls);
    catch_lines();
    log_info("one");
    log_debug("none");
    log_warn("two");
    caught(out, sizeof out);
    log_set_hooks(NULL, NULL, NULL);
    assert_int_equal(calls[0], 2);
    assert_int_equal(calls[1], 2);
}

static int status_of(void (*end)(void))
{
    char out[4096];
    int status;
    catch_lines();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        end();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    caught(out, sizeof out);
    assert_non_null(strstr(out, " why 5\n"));
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void end_fatal(void)
{
    log_fatal(EXIT_TEMPFAIL, "why %d", 5);
}
static void end_panic(void)
{
    log_panic("why %d", 5);
}

static void fatal_and_panic_exit(void **state)
{
    (void)state;
    log_init("shard", 0, LOG_ERROR_LEVEL, LOG_TEXT);
    assert_int_equal(status_of(end_fatal), EXIT_TEMPFAIL);
    assert_int_equal(status_of(end_panic), EXIT_PANIC);
}

static void quoting(void **state)
{
    (void)state;
    char out[LOG_QUOTED], big[100], zeros[65] = {0};
    assert_string_equal(log_quote("plain text", 10, out), "plain text");
    assert_string_equal(log_quote("a\"b\\c\n\0\xff", 8, out), "a\\x22b\\x5cc\\x0a\\x00\\xff");
    assert_string_equal(log_quote("", 0, out), "");
    memset(big, 'x', sizeof big);
    assert_int_equal(strlen(log_quote(big, 64, out)), 64);
    assert_string_equal(log_quote(big, 65, out) + 64, "...");
    assert_int_equal(strlen(log_quote(zeros, 65, out)), LOG_QUOTED - 1);
}

/* A pipe of one page that nobody reads: the writer goes on, and later says how much was not seen. */
static void nobody_reads(void **state)
{
    (void)state;
    static char out[65536];
    enum { LINES = 300 };
    catch_lines();
    assert_true(fcntl(STDERR_FILENO, F_SETPIPE_SZ, 4096) >= 4096);
    log_init("shardcap", -1, LOG_INFO_LEVEL, LOG_TEXT);
    log_never_block(true);
    bool alone = (fcntl(saved_stderr, F_GETFL) & O_NONBLOCK) == 0;
    for (int i = 0; i < LINES; i++)
        log_info("line %d", i);
    ssize_t got = read(reader, out, sizeof out - 1);
    assert_true(got > 0);
    out[got] = '\0';
    unsigned long seen = 0, dropped = 0;
    for (char *p = out; (p = strstr(p, " INFO shardcap line ")); p++)
        seen++;
    assert_in_range(seen, 1, LINES - 1);
    log_info("again");
    log_never_block(false);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    caught(out, sizeof out);
    const char *note = strstr(out, "WARNING shardcap log lines were dropped: nobody read them lines=");
    assert_non_null(note);
    assert_int_equal(sscanf(strchr(note, '='), "=%lu", &dropped), 1);
    assert_int_equal(seen + dropped, LINES);
    assert_non_null(strstr(note, " INFO shardcap again\n"));
    assert_true(alone);
}

static void rate_limit(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    unsigned long suppressed = 99;
    assert_true(log_allow(&limit, (struct mono){5}, &suppressed));
    assert_int_equal(suppressed, 0);
    for (int i = 0; i < 7; i++)
        assert_false(log_allow(&limit, (struct mono){4 + NS_PER_SEC}, &suppressed));
    assert_true(log_allow(&limit, (struct mono){5 + NS_PER_SEC}, &suppressed));
    assert_int_equal(suppressed, 7);
    assert_true(log_allow(&limit, (struct mono){5 + 9 * NS_PER_SEC}, &suppressed));
    assert_int_equal(suppressed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_line),
        cmocka_unit_test(levels),
        cmocka_unit_test(json_line_is_json),
        cmocka_unit_test(long_message_stays_one_atomic_write),
        cmocka_unit_test(hooks_frame_each_line),
        cmocka_unit_test(fatal_and_panic_exit),
        cmocka_unit_test(quoting),
        cmocka_unit_test(nobody_reads),
        cmocka_unit_test(rate_limit),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
