/* SPDX-License-Identifier: Apache-2.0
 * The same lines come out whatever pieces the stream comes in; the bound holds to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "shared/lines.h"

#define MAX 8

/* What was delivered, one '|' after each line, '!' for a line that was too long. */
struct seen {
    char text[512];
};

static void on_line(void *ctx, const char *line, size_t len)
{
    struct seen *s = ctx;
    strncat(s->text, line, len);
    strcat(s->text, "|");
}

static void on_too_long(void *ctx)
{
    strcat(((struct seen *)ctx)->text, "!");
}

static const char stream[] = "a\n\n12345678\n123456789\nok\r\n1234567890123456789012345\n\nb\nlast";
static const char expected[] = "a||12345678|!ok\r|!|b|last|";

static void any_pieces_give_the_same_lines(void **state)
{
    (void)state;
    size_t total = strlen(stream);
    for (size_t piece = 1; piece <= total; piece++) {
        struct seen s = {""};
        struct lines *l = lines_new(MAX, on_line, on_too_long, &s);
        assert_non_null(l);
        for (size_t at = 0; at < total; at += piece) {
            size_t n = total - at < piece ? total - at : piece;
            char *exact = malloc(n); /* so that a sanitizer sees an over-read */
            assert_non_null(exact);
            memcpy(exact, stream + at, n);
            lines_feed(l, exact, n);
            free(exact);
        }
        lines_end(l);
        assert_string_equal(s.text, expected);
        lines_free(l);
    }
}

static void end_resets(void **state)
{
    (void)state;
    struct seen s = {""};
    struct lines *l = lines_new(MAX, on_line, on_too_long, &s);
    assert_non_null(l);
    lines_end(l);
    assert_string_equal(s.text, "");
    lines_feed(l, "1234567890", 10);
    lines_end(l); /* the rest of a long line is not a line */
    assert_string_equal(s.text, "!");
    lines_feed(l, "x\n", 2);
    lines_end(l);
    assert_string_equal(s.text, "!x|");
    lines_free(l);
}

static void too_long_is_told_at_once_and_only_once(void **state)
{
    (void)state;
    struct seen s = {""};
    struct lines *l = lines_new(MAX, on_line, on_too_long, &s);
    assert_non_null(l);
    lines_feed(l, "123456789", 9);
    assert_string_equal(s.text, "!");
    for (int i = 0; i < 1000; i++)
        lines_feed(l, "123456789", 9);
    lines_feed(l, "\nok\n", 4);
    assert_string_equal(s.text, "!ok|");
    lines_free(l);
    lines_free(NULL);
}

static void nul_bytes_pass(void **state)
{
    (void)state;
    struct seen s = {""};
    struct lines *l = lines_new(MAX, on_line, on_too_long, &s);
    assert_non_null(l);
    lines_feed(l, "\0\0\n", 3);
    assert_string_equal(s.text, "|");
    lines_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_pieces_give_the_same_lines),
        cmocka_unit_test(end_resets),
        cmocka_unit_test(too_long_is_told_at_once_and_only_once),
        cmocka_unit_test(nul_bytes_pass),
    };
    return cmocka_run_group_tests_name("lines", tests, NULL, NULL);
}
