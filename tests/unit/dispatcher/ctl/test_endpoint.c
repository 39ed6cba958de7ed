/* SPDX-License-Identifier: Apache-2.0
 * Endpoints as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatcher/ctl/endpoint.h"

static void good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } rows[] = {{"192.0.2.1:443", "192.0.2.1:443"},
                {"192.0.2.1:0", "192.0.2.1:0"},
                {"[2001:db8:0::1]:65535", "[2001:db8::1]:65535"},
                {"[::ffff:192.0.2.1]:80", "192.0.2.1:80"},
                {"[::]:1", "[::]:1"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct endpoint e;
        char text[ENDPOINT_TEXT];
        assert_int_equal(endpoint_parse(rows[i].text, &e), SC_OK);
        assert_string_equal(endpoint_format(&e, text), rows[i].shown);
    }
}

static void bad(void **state)
{
    (void)state;
    static const char *const rows[] = {"",
                                       "192.0.2.1",
                                       "192.0.2.1:",
                                       "192.0.2.1:65536",
                                       "192.0.2.1:1x",
                                       "::1:443",
                                       "[192.0.2.1]:443",
                                       "[::1]443",
                                       "[::1:443",
                                       "[::1]:",
                                       "host:80",
                                       "192.0.2.1:-1",
                                       "192.0.2.1:00080x",
                                       "[::1]:000001",
                                       "[11111111111111111111111111111111111111111111111111111]:1"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct endpoint e;
        assert_int_equal(endpoint_parse(rows[i], &e), SC_EFORMAT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(bad)};
    return cmocka_run_group_tests_name("ctl/endpoint", tests, NULL, NULL);
}
