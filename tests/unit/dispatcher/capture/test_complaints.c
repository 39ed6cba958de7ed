/* SPDX-License-Identifier: Apache-2.0
 * Complaints about interfaces: each once, until it is over or becomes another. */
#include "dispatcher/capture/complaints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "shared/err.h"

static void test_once(void **state)
{
    struct complaints c = {0};
    (void)state;
    assert_false(complaints_known(&c, "eth0", 1, SC_ESYS));
    assert_true(complaints_news(&c, "eth0", 1, SC_ESYS));
    assert_false(complaints_news(&c, "eth0", 1, SC_ESYS));
    assert_true(complaints_known(&c, "eth0", 1, SC_ESYS));
    assert_true(complaints_news(&c, "eth1", 1, SC_ESYS)); /* another interface */
    assert_true(complaints_news(&c, "eth0", 2, SC_ESYS)); /* a new one of that name */
    assert_false(complaints_known(&c, "eth0", 1, SC_ESYS));
    assert_true(complaints_news(&c, "eth0", 2, SC_EVERSION)); /* another reason */
    assert_false(complaints_news(&c, "eth0", 2, SC_EVERSION));
    complaints_forget(&c, "eth0");
    complaints_forget(&c, "eth0");
    assert_false(complaints_known(&c, "eth0", 2, SC_EVERSION));
    assert_true(complaints_news(&c, "eth0", 2, SC_EVERSION)); /* again */
    assert_true(complaints_known(&c, "eth1", 1, SC_ESYS));
}

static void test_full(void **state)
{
    struct complaints c = {0};
    char name[INTERFACE_NAME];
    (void)state;
    for (int i = 0; i < 2 * INTERFACES_MAX; i++) {
        (void)snprintf(name, sizeof name, "if%d", i);
        assert_true(complaints_news(&c, name, i, SC_ESYS));
    }
    assert_false(complaints_news(&c, "more", 1, SC_ESYS)); /* silence, not a flood */
    assert_false(complaints_known(&c, "more", 1, SC_ESYS));
    assert_true(complaints_news(&c, "if3", 3, SC_EPERM));
    complaints_forget(&c, "if0");
    assert_true(complaints_news(&c, "more", 1, SC_ESYS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
