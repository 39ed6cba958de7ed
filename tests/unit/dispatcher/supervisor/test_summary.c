/* SPDX-License-Identifier: Apache-2.0
 * The table, the JSON and its file; the books; the worst case of -check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dispatcher/supervisor/check.h"
#include "dispatcher/supervisor/summary.h"
#include "shared/flags.h"

static char dir[64], path[96];
static struct config config; /* live, nobody to give a file to */
static const struct wall ended = {INT64_C(1700000013000000000)};

static struct totals example(void)
{
    struct totals t = {.delivered = 5120, .saved = 5000, .lost = 70, .limits = 50, .kernel_received = 5125};
    t.drops[CAUSE_RING_FULL] = 70;
    t.drops[CAUSE_NOT_TCP] = 50;
    t.kernel_dropped = 5;
    t.flows_started = 14;
    t.flows_saved = 9;
    t.files = 9;
    t.file_bytes = 123456;
    t.salvaged_files = 2;
    t.salvaged_packets = 30;
    t.removed_files = 4;
    return t;
}

static const char *slurp(const char *name)
{
    static char text[8192];
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
    return text;
}

static void test_books(void **state)
{
    struct totals t = example();
    (void)state;
    assert_true(summary_balances(&t));
    t.delivered++;
    assert_false(summary_balances(&t));
    memset(&t, 0, sizeof(t));
    assert_true(summary_balances(&t));
}

static void test_json_is_the_agreed_one(void **state)
{
    struct totals t = example();
    char error[FLAGS_ERROR];
    (void)state;
    config.started_ns = INT64_C(1700000000500000000);
    assert_int_equal(summary_json(path, &t, 12.5, ended, &config, error), SC_OK);
    assert_string_equal(slurp(path), "{\"packets\":{\"delivered\":5120,\"saved\":5000,\"lost\":70,\"limits\":50},"
                                     "\"drops\":{\"ring_full\":70,\"not_tcp\":50},"
                                     "\"flows\":{\"started\":14,\"saved\":9},\"files\":9,\"bytes\":123456,"
                                     "\"kernel\":{\"received\":5125,\"dropped\":5},\"seconds\":12.500,"
                                     "\"salvaged\":{\"files\":2,\"packets\":30},\"removed\":4,"
                                     "\"started\":1700000000.500,\"ended\":1700000013.000}\n");
    /* and replaces what was there; no cause at all is {} */
    memset(&t, 0, sizeof(t));
    assert_int_equal(summary_json(path, &t, 0, ended, &config, error), SC_OK);
    assert_non_null(strstr(slurp(path), "\"drops\":{},"));
}

/* Whoever may write to the directory cannot turn the file into another one. */
static void test_json_follows_no_link(void **state)
{
    struct totals t = example();
    struct stat st;
    char error[FLAGS_ERROR], victim[96], temp[128];
    (void)state;
    unlink(path);
    snprintf(victim, sizeof(victim), "%s/victim", dir);
    snprintf(temp, sizeof(temp), "%s.%d.tmp", path, (int)getpid());
    int fd = open(victim, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(symlink(victim, temp), 0);
    assert_int_equal(summary_json(path, &t, 1, ended, &config, error), SC_OK);
    assert_string_equal(slurp(victim), "");
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(lstat(temp, &st), -1);
    unlink(victim);
}

static void test_json_to_a_pipe_is_written_in_place(void **state)
{
    struct totals t = example();
    struct stat st;
    char error[FLAGS_ERROR], fifo[96], buf[1024] = "";
    (void)state;
    snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int fd = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(summary_json(fifo, &t, 1, ended, &config, error), SC_OK);
    assert_true(read(fd, buf, sizeof(buf) - 1) > 0);
    assert_non_null(strstr(buf, "\"delivered\":5120"));
    assert_int_equal(lstat(fifo, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    close(fd);
    unlink(fifo);
}

/* Standard output that leads to a file: the file grows, and what stands in /dev is not touched. */
static void test_json_in_dev_is_written_in_place(void **state)
{
    struct totals t = example();
    char error[FLAGS_ERROR], file[96], in_dev[32];
    (void)state;
    snprintf(file, sizeof(file), "%s/out", dir);
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "before\n", 7), 7);
    snprintf(in_dev, sizeof(in_dev), "/dev/fd/%d", fd);
    assert_int_equal(summary_json(in_dev, &t, 1, ended, &config, error), SC_OK);
    close(fd);
    assert_non_null(strstr(slurp(file), "before\n{\"packets\""));
    unlink(file);
}

static void test_json_that_cannot_be_written_names_flag_and_file(void **state)
{
    struct totals t = example();
    char error[FLAGS_ERROR] = "";
    (void)state;
    char in_shm[64];
    struct stat st;
    snprintf(in_shm, sizeof(in_shm), "/dev/shm/shardcap-summary-%d.json", (int)getpid());
    assert_int_equal(summary_json(in_shm, &t, 1, ended, &config, error), SC_OK);
    assert_int_equal(stat(in_shm, &st), 0);
    assert_int_equal(unlink(in_shm), 0);
    assert_int_equal(summary_json("/nonexistent/summary.json", &t, 1, ended, &config, error), SC_ESYS);
    assert_non_null(strstr(error, "-summary"));
    assert_non_null(strstr(error, "/nonexistent/summary.json: No such file"));
}

static const char *printed(void (*print)(FILE *out))
{
    static char text[65536];
    memset(text, 0, sizeof(text));
    FILE *out = fmemopen(text, sizeof(text) - 1, "w");
    assert_non_null(out);
    print(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void table(FILE *out)
{
    struct totals t = example();
    summary_table(out, &t, 12.5, &config);
}

/* The line that starts with this, without its leading blanks. */
static bool has_line(const char *text, const char *name, const char *value)
{
    for (const char *at = strstr(text, name); at; at = strstr(at + 1, name)) {
        const char *v = at + strlen(name);
        v += strspn(v, " ");
        if (strncmp(v, value, strlen(value)) == 0)
            return true;
    }
    return false;
}

static void test_table_keeps_trouble_and_limits_apart(void **state)
{
    (void)state;
    const char *text = printed(table);
    assert_true(has_line(text, "packets delivered", "5120\n"));
    assert_true(has_line(text, "saved", "5000\n"));
    assert_true(has_line(text, "lost", "70\n"));
    assert_true(has_line(text, "limits", "50 "));
    assert_true(has_line(text, "kernel dropped", "5\n"));
    const char *lost = strstr(text, "  lost"), *full = strstr(text, "ring_full");
    const char *limits = strstr(text, "  limits"), *not_tcp = strstr(text, "not_tcp");
    assert_true(lost && full && limits && not_tcp);
    assert_true(lost < full && full < limits && limits < not_tcp);
    assert_null(strstr(text, "bad_ip4")); /* no line for what did not happen */
    config.savefile_count = 1;
    assert_null(strstr(printed(table), "kernel")); /* a savefile has none */
    config.savefile_count = 0;
}

static uint64_t machine_bytes;

static void check(FILE *out)
{
    check_print(out, &config, machine_bytes);
}

static void test_check_adds_up(void **state)
{
    char *argv[] = {(char *)(uintptr_t) "shardcap", NULL};
    static struct config c, keep;
    static struct flags_request rq;
    char error[FLAGS_ERROR];
    (void)state;
    assert_int_equal(flags_parse(1, argv, NULL, &c, &rq, NULL, error), SC_OK);
    keep = config;
    config = c;
    uint64_t live = check_worst_case(&config);
    assert_true(live > config.maxheap + config.capturebuffer + config.shards * config.ringsize);
    machine_bytes = live;
    assert_non_null(strstr(printed(check), "configuration ok"));
    machine_bytes = live - 1;
    assert_non_null(strstr(printed(check), "does not fit: lower -maxheap"));
    machine_bytes = 0; /* unknown: no verdict */
    assert_non_null(strstr(printed(check), "configuration ok"));
    config.savefile_count = 1;
    assert_int_equal(check_worst_case(&config), live - config.capturebuffer);
    config = keep;
}

/* Every flag of -help but those that are no setting of a run. */
static void test_check_prints_every_flag(void **state)
{
    static struct config keep;
    char name[64], wanted[80];
    const char *text, *at = flags_help();
    (void)state;
    keep = config;
    strcpy(config.uuid_prefix.text, "host_1700000000");
    text = printed(check);
    config = keep;
    unsigned seen = 0;
    for (; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
        if (sscanf(at, " -%63[a-z.-]", name) != 1)
            continue;
        if (!strcmp(name, "check") || !strcmp(name, "version") || !strcmp(name, "help") || !strcmp(name, "filter.raw"))
            continue;
        snprintf(wanted, sizeof(wanted), "\n-%s = ", name);
        if (strcmp(name, "datadir") != 0 && !strstr(text, wanted))
            fail_msg("-check does not print -%s", name);
        seen++;
    }
    assert_true(seen > 25);
    assert_non_null(strstr(text, "-uuid-prefix-file = prefix host_1700000000\n"));
}

static int make(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/shardcap-summary-XXXXXX");
    config_init(&config);
    strcpy(config.datadir, "/somewhere/data");
    snprintf(path, sizeof(path), "%s/summary.json", mkdtemp(dir) ? dir : "");
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_books),
        cmocka_unit_test(test_json_is_the_agreed_one),
        cmocka_unit_test(test_json_follows_no_link),
        cmocka_unit_test(test_json_to_a_pipe_is_written_in_place),
        cmocka_unit_test(test_json_in_dev_is_written_in_place),
        cmocka_unit_test(test_json_that_cannot_be_written_names_flag_and_file),
        cmocka_unit_test(test_table_keeps_trouble_and_limits_apart),
        cmocka_unit_test(test_check_adds_up),
        cmocka_unit_test(test_check_prints_every_flag),
    };
    return cmocka_run_group_tests(tests, make, remove_all);
}
