/* SPDX-License-Identifier: Apache-2.0
 * The picture of pixels: what is drawn beside the page is left out, letters are all there, and a full disk is told. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/ctl/glyphs.h"
#include "dispatcher/ctl/raster.h"
#include "shared/err.h"

static void draw(struct pen *pen, int x, int y, const char *text)
{
    for (int kind = PEN_TITLE; kind <= PEN_Y; kind++)
        pen->text(pen, (enum pen_text)kind, x, y, text);
    pen->frame(pen, x, y, 400, 400);
    for (int ink = 0; ink < PEN_INKS; ink++) {
        pen->begin(pen, (enum pen_ink)ink);
        pen->move(pen, x, y);
        pen->across(pen, 300 - x);
        pen->upright(pen, 300 - y);
        pen->across(pen, x);
        pen->end(pen);
    }
}

static void test_beside_the_page(void **state)
{
    (void)state;
    char *bytes = NULL, *blank = NULL, text[4000];
    size_t len = 0, blank_len = 0;
    memset(text, 'W', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    static const int places[] = {-100000, -500, -1, 0, 99, 100, 101, 500, 100000};
    FILE *out = open_memstream(&bytes, &len);
    struct pen *pen = raster_new(out, 100, 100);
    assert_non_null(pen);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (size_t j = 0; j < sizeof places / sizeof *places; j++) {
            draw(pen, places[i], places[j], text);
            draw(pen, places[i], places[j], "");
        }
    assert_int_equal(pen->finish(pen), 0);
    fclose(out);
    out = open_memstream(&blank, &blank_len);
    pen = raster_new(out, 100, 100);
    assert_non_null(pen);
    draw(pen, -100000, 100000, "");
    assert_int_equal(pen->finish(pen), 0);
    fclose(out);
    assert_true(len > blank_len && blank_len > 50);
    assert_memory_equal(bytes, "\x89PNG\r\n\x1a\n", 8);
    assert_memory_equal(blank, "\x89PNG\r\n\x1a\n", 8);
    free(bytes);
    free(blank);
}

static void test_disk_full(void **state)
{
    (void)state;
    FILE *out = fopen("/dev/full", "w");
    assert_non_null(out);
    struct pen *pen = raster_new(out, 1000, 1000);
    assert_non_null(pen);
    errno = 0;
    assert_int_equal(pen->finish(pen), SC_ESYS);
    assert_int_equal(errno, ENOSPC);
    fclose(out);
}

static void test_letters(void **state)
{
    (void)state;
    static const uint8_t empty[GLYPHS_ROWS];
    assert_memory_equal(glyphs_rows(' '), empty, GLYPHS_ROWS);
    for (int c = '!'; c <= '~'; c++) {
        const uint8_t *rows = glyphs_rows((char)c);
        assert_memory_not_equal(rows, empty, GLYPHS_ROWS);
        for (int i = 0; i < GLYPHS_ROWS; i++)
            assert_true(rows[i] < 1 << GLYPHS_COLUMNS);
        for (int other = '!'; other < c; other++)
            assert_memory_not_equal(rows, glyphs_rows((char)other), GLYPHS_ROWS);
    }
    for (int c = CHAR_MIN; c <= CHAR_MAX; c++)
        if (c < ' ' || c > '~')
            assert_ptr_equal(glyphs_rows((char)c), glyphs_rows('?'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beside_the_page),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
