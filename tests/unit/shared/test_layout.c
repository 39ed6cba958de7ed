/* SPDX-License-Identifier: Apache-2.0
 * Do two builds understand each other? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "shared/layout.h"
#include "shared/proto.h"

static void numbers(void **state)
{
    (void)state;
    char text[LAYOUT_TEXT];
    assert_int_equal(layout_number(layout_common(text), "proto"), PROTO_VERSION);
    assert_int_equal(layout_number("proto 1 arena 12\n", "arena"), 12);
    assert_int_equal(layout_number("proto 1 arena 12\n", "aren"), -1);
    assert_int_equal(layout_number("proto arena 12", "arena"), -1); /* no layout */
    assert_int_equal(layout_number("", "proto"), -1);
}

static void differences(void **state)
{
    static const struct {
        const char *from, *to, *name;
    } rows[] = {
        {"proto 1 ring 2", "proto 1 ring 2\n", NULL},
        {"proto 1 ring 2", "arena 3 ring 2 proto 1", NULL}, /* more is fine */
        {"proto 1 ring 2", "proto 1 ring 3", "ring"},
        {"proto 1 ring 2", "proto 2 ring 3", "proto"},
        {"proto 1 ring 2", "proto 1", "ring"},
        {"proto 1 ring 2", "", "proto"},
        {"proto 1 ring", "proto 1 ring 2", "ring"},
        {"", "proto 1", ""},
        {"usage: x [-y]", "usage: x [-y]", "usage:"},
    };
    char name[LAYOUT_NAME];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(layout_differs(rows[i].from, rows[i].to, name), rows[i].name != NULL);
        if (rows[i].name)
            assert_string_equal(name, rows[i].name);
    }
    assert_true(layout_differs("a-name-that-is-longer-than-any-of-ours 1", "", name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
