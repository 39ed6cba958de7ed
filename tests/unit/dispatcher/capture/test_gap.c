/* SPDX-License-Identifier: Apache-2.0
 * What interfaces received between two dispatchers, over pages and tables without processes. */
#include "dispatcher/capture/gap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct dispatcher_page page;
static struct links links;

static int setup(void **state)
{
    (void)state;
    memset(&page, 0, sizeof page);
    memset(&links, 0, sizeof links);
    links.count = 2;
    for (unsigned i = 0; i < 2; i++) {
        links.link[i] = (struct link){.index = (int)i + 5, .up = true, .rx_packets = 100};
        (void)snprintf(links.link[i].name, INTERFACE_NAME, "eth%u", i);
        page.interfaces[i].used = page.interfaces[i].capturing = 1;
        page.interfaces[i].index = i + 5;
    }
    return 0;
}

static uint64_t gap(unsigned i)
{
    return counter_get(&page.interfaces[i].gap_rx);
}

static void test_only_between_two_dispatchers(void **state)
{
    (void)state;
    gap_look(&page, &links, true); /* the first one ever */
    links.link[0].rx_packets = 150;
    gap_look(&page, &links, false);
    links.link[0].rx_packets = 170;
    gap_look(&page, &links, true);
    assert_int_equal(gap(0), 20);
    assert_int_equal(gap(1), 0);
    links.link[0].rx_packets = 175;
    gap_look(&page, &links, true);
    assert_int_equal(gap(0), 25); /* a sum */
}

static void test_what_cannot_be_known(void **state)
{
    (void)state;
    gap_look(&page, &links, false);
    links.link[0].rx_packets = 40; /* counts anew */
    links.link[1].index = 9;       /* another one of that name */
    links.link[1].rx_packets = 900;
    page.interfaces[1].index = 9;
    gap_look(&page, &links, true);
    assert_int_equal(gap(0), 0);
    assert_int_equal(gap(1), 0);
    page.interfaces[0].capturing = 0; /* down for a while */
    gap_look(&page, &links, false);
    page.interfaces[0].capturing = 1;
    links.link[0].rx_packets = 500;
    gap_look(&page, &links, true);
    assert_int_equal(gap(0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_only_between_two_dispatchers, setup),
        cmocka_unit_test_setup(test_what_cannot_be_known, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
