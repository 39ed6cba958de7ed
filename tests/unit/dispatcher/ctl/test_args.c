/* SPDX-License-Identifier: Apache-2.0
 * The command line against a table, and the help that is made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/ctl/args.h"

static const struct args_option options[] = {
    {"f", "FILE", "a file"},
    {"rate", "N", "so many\na second"},
    {"wait", NULL, "wait"},
    {NULL, NULL, NULL},
};
static const struct command try_it = {.name = "try",
                                      .operands = "A [B]",
                                      .least = 1,
                                      .most = 2,
                                      .summary = "tries",
                                      .status = "0 fine",
                                      .options = options};

static struct args a;
static char error[ARGS_ERROR];
static char *words[16];

static int parse(const char *line)
{
    static char copy[256];
    int n = 0;
    (void)snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok(copy, " "); w; w = strtok(NULL, " ")) /* NOLINT(concurrency-mt-unsafe): one thread */
        words[n++] = w;
    error[0] = '\0';
    return args_parse(&a, &try_it, n, words, error);
}

static void forms(void **state)
{
    (void)state;
    static const char *const lines[] = {"-f x --rate=5 one -wait two", "one --f=x two -rate 5 --wait",
                                        "-rate 7 -wait -f y -f x one -rate=5 two"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(parse(lines[i]), SC_OK);
        assert_string_equal(args_get(&a, "f"), "x");
        assert_string_equal(args_get(&a, "rate"), "5");
        assert_true(args_has(&a, "wait"));
        assert_int_equal(a.count, 2);
        assert_string_equal(a.operand[0], "one");
        assert_string_equal(a.operand[1], "two");
        assert_null(a.rundir);
    }
    assert_int_equal(parse("-rundir /r - -- -wait"), SC_OK);
    assert_string_equal(a.rundir, "/r");
    assert_string_equal(a.operand[0], "-");
    assert_string_equal(a.operand[1], "-wait");
    assert_false(args_has(&a, "wait"));
    assert_null(args_get(&a, "nothing of the table"));
}

static void wrong_usage(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } rows[] = {{"", "A [B]"},        {"1 2 3", "A [B]"},         {"1 -x", "-x"},          {"1 -f", "FILE"},
                {"1 -rundir", "DIR"}, {"1 -wait=3", "no value"},  {"1 -ratee 3", "ratee"}, {"1 -rat 3", "-rat"},
                {"1 ---f x", "---f"}, {"1 -rundirs x", "rundirs"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(parse(rows[i].line), SC_EINVAL);
        assert_non_null(strstr(error, rows[i].says));
    }
    assert_int_equal(parse("-help"), SC_OK);
    assert_true(a.help);
}

static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uint64_t value;
    } rows[] = {{"1", true, 1},
                {"18446744073709551615", true, UINT64_MAX},
                {"18446744073709551616", false, 0},
                {"184467440737095516150", false, 0},
                {"0", false, 0},
                {"-1", false, 0},
                {"1x", false, 0},
                {" 1", false, 0}};
    uint64_t value;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(parse("one -rate 2"), SC_OK);
        a.value[1] = rows[i].text;
        assert_int_equal(args_number(&a, "rate", 1, UINT64_MAX, 9, &value), rows[i].good);
        if (rows[i].good)
            assert_true(value == rows[i].value);
    }
    assert_int_equal(parse("one -rate 11"), SC_OK);
    assert_false(args_number(&a, "rate", 1, 10, 9, &value));
    assert_int_equal(parse("one"), SC_OK);
    assert_true(args_number(&a, "rate", 1, 10, 9, &value));
    assert_int_equal(value, 9);
}

static void help_names_all(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    args_help(&try_it, f);
    (void)fclose(f);
    assert_non_null(strstr(text, "try [-f FILE] [-rate N] [-wait] A [B]\ntries\n"));
    assert_non_null(strstr(text, "\n  -rate N             so many\n                      a second\n"));
    assert_non_null(strstr(text, "exit status: 0 fine; 2 wrong usage\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(wrong_usage),
        cmocka_unit_test(numbers),
        cmocka_unit_test(help_names_all),
    };
    return cmocka_run_group_tests_name("ctl/args", tests, NULL, NULL);
}
