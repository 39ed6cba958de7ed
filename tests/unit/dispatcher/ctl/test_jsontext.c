/* SPDX-License-Identifier: Apache-2.0
 * JSON in place: what is one, what is found in it, what is written. Texts end at the end of their memory, so that a
 * sanitizer sees a read beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/ctl/jsontext.h"

static char *tight;

static int open_tight(struct jsontext *out, const char *text)
{
    size_t n = strlen(text);
    free(tight);
    tight = malloc(n ? n : 1);
    assert_non_null(tight);
    memcpy(tight, text, n);
    return jsontext_open(out, tight, n);
}

static void what_is_json(void **state)
{
    (void)state;
    static const char *const good[] = {
        "1", " {} ", "[]", "[1, [2], {\"a\":null}]", "\"a\\\"b\"", "-1.5e+3", "{\"a\" : true , \"b\":[false]}\n"};
    static const char *const bad[] = {
        "",       "{",    "[1,]",       "{\"a\"}", "{\"a\":}", "{a:1}",
        "\"a",    "\"\\", "tru",        "1 2",     "{}}",      "[1 2]",
        "\"\n\"", "[{]}", "{\"a\":1,}", "-",       "nul",      "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]"};
    struct jsontext v;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(open_tight(&v, good[i]), SC_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(open_tight(&v, bad[i]), SC_EFORMAT);
}

static void members(void **state)
{
    (void)state;
    struct jsontext v, list, one, name;
    char text[8];
    assert_int_equal(open_tight(&v,
                                " {\"n\":12,\"up\":true,\"s\":\"abc\",\"long\":\"abcdefgh\",\"e\":\"a\\n\",\"neg\":-1,"
                                "\"max\":18446744073709551615,\"over\":18446744073709551616,\"f\":1.5,"
                                "\"list\":[{\"n\":1},{\"n\":2,\"m\":[]},3],\"n\":13} "),
                     SC_OK);
    assert_int_equal(jsontext_u64_of(v, "n"), 12);
    assert_true(jsontext_u64_of(v, "max") == UINT64_MAX);
    static const char *const zero[] = {"over", "neg", "f", "s", "list", "none", "N"};
    for (size_t i = 0; i < sizeof zero / sizeof zero[0]; i++)
        assert_int_equal(jsontext_u64_of(v, zero[i]), 0);
    assert_true(jsontext_true_of(v, "up"));
    assert_false(jsontext_true_of(v, "n"));
    assert_true(jsontext_string_of(v, "s", text, sizeof text));
    assert_string_equal(text, "abc");
    assert_false(jsontext_string_of(v, "long", text, sizeof text));
    assert_string_equal(text, "");
    assert_false(jsontext_string_of(v, "e", text, sizeof text));
    assert_false(jsontext_string_of(v, "n", text, sizeof text));

    assert_true(jsontext_member(v, "list", &list));
    assert_true(jsontext_next(&list, NULL, &one));
    assert_int_equal(jsontext_u64_of(one, "n"), 1);
    assert_true(jsontext_next(&list, NULL, &one));
    assert_int_equal(jsontext_u64_of(one, "n"), 2);
    assert_true(jsontext_next(&list, NULL, &one));
    assert_int_equal(jsontext_u64_of(one, "n"), 0);
    assert_false(jsontext_next(&list, NULL, &one));
    assert_false(jsontext_next(&list, NULL, &one));

    assert_true(jsontext_next(&v, &name, &one));
    assert_int_equal(name.end - name.at, 3);
    assert_memory_equal(name.at, "\"n\"", 3);
}

static void written(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    jsontext_write("a\"\\\n\x7f\xc3~", 7, f);
    jsontext_write("", 0, f);
    (void)fclose(f);
    assert_string_equal(text, "\"a\\u0022\\u005c\\u000a\\u007f\\u00c3~\"\"\"");
    free(text);
}

static int release(void **state)
{
    (void)state;
    free(tight);
    tight = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json),
        cmocka_unit_test(members),
        cmocka_unit_test(written),
    };
    return cmocka_run_group_tests_name("ctl/jsontext", tests, NULL, release);
}
