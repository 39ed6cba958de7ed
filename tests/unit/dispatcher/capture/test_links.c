/* SPDX-License-Identifier: Apache-2.0
 * Which interfaces are captured, over tables as rtnetlink would give them. */
#include "dispatcher/capture/links.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct links t;

static void add(int index, const char *name, const char *flags, int master)
{
    struct link *l = &t.link[t.count++];
    *l = (struct link){.index = index, .master = master};
    snprintf(l->name, sizeof l->name, "%s", name);
    l->up = strchr(flags, 'u') != NULL;
    l->loopback = strchr(flags, 'l') != NULL;
    l->joins = strchr(flags, 'j') != NULL;
}

static void add_address(int index, const char *text)
{
    struct link_address *a = &t.address[t.address_count++];
    a->index = index;
    assert_int_equal(ipaddr_parse(text, &a->ip), SC_OK);
}

/* Checks the choice, names separated by blanks; want_names "" = default set. */
static void check(const char *asked, const char *want)
{
    char names[8][INTERFACE_NAME], copy[128], got[256] = "";
    const struct link *chosen[16];
    size_t asked_count = 0;
    snprintf(copy, sizeof copy, "%s", asked);
    for (char *save = NULL, *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
        memset(names[asked_count], 0, INTERFACE_NAME);
        memcpy(names[asked_count++], p, strlen(p));
    }
    size_t n = links_select(&t, names, asked_count, chosen, 16);
    assert_true(n <= 16);
    for (size_t i = 0; i < n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? " " : "", chosen[i]->name);
    assert_string_equal(got, want);
}

static int reset(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    return 0;
}

static void test_plain(void **state)
{
    (void)state;
    check("", "");
    add(1, "lo", "ul", 0);
    check("", "");
    add(2, "eth0", "u", 0);
    add(3, "eth1", "", 0);
    add(4, "wlan0", "u", 0);
    check("", "eth0 wlan0");
}

static void test_named(void **state)
{
    (void)state;
    add(1, "lo", "ul", 0);
    add(2, "br0", "uj", 0);
    add(3, "eth0", "u", 2);
    add(4, "eth1", "", 0);
    check("lo", "lo");
    check("eth0 br0", "eth0 br0"); /* obeyed, member or not */
    check("br0 eth0 br0", "br0 eth0");
    check("eth1", ""); /* down: waited for */
    check("eth7 lo", "lo");
}

static void test_members(void **state)
{
    (void)state;
    add(1, "lo", "ul", 0);
    add(2, "docker0", "uj", 0);
    add(3, "veth1", "u", 2);
    add(4, "veth2", "u", 2);
    add(5, "eth0", "u", 6);
    add(6, "bond0", "uj", 7); /* a bond in a bridge */
    add(7, "br0", "uj", 0);
    add(8, "vrf0", "u", 0);
    add(9, "eth1", "u", 8); /* its master does not join traffic */
    check("", "docker0 br0 vrf0 eth1");
    t.link[1].up = false; /* a bridge that is down is not captured, so its members are */
    check("", "veth1 veth2 br0 vrf0 eth1");
    t.link[6].up = false;
    check("", "veth1 veth2 bond0 vrf0 eth1");
    t.link[5].up = false;
    check("", "veth1 veth2 eth0 vrf0 eth1");
}

static void test_odd_masters(void **state)
{
    (void)state;
    add(1, "a", "u", 2);
    add(2, "b", "u", 1); /* a circle, from two answers that do not fit */
    add(3, "c", "u", 99);
    check("", "a b c");
}

static void test_more_than_fit(void **state)
{
    const struct link *chosen[2];
    (void)state;
    add(1, "a", "u", 0);
    add(2, "b", "u", 0);
    add(3, "c", "u", 0);
    assert_int_equal(links_select(&t, NULL, 0, chosen, 2), 3);
    assert_string_equal(chosen[1]->name, "b");
}

static void test_addresses(void **state)
{
    struct ipaddr out[4], want;
    (void)state;
    add(1, "lo", "ul", 0);
    add(2, "eth0", "u", 0);
    add(3, "eth1", "u", 0);
    add_address(1, "127.0.0.1");
    add_address(2, "192.0.2.1");
    add_address(3, "192.0.2.1");
    add_address(2, "2001:db8::1");
    add_address(3, "198.51.100.1");
    const struct link *all[] = {&t.link[0], &t.link[1], &t.link[2]};
    assert_int_equal(links_addresses(&t, all, 1, out, 4), 0); /* loopback adds none */
    assert_int_equal(links_addresses(&t, all, 2, out, 4), 2);
    assert_int_equal(links_addresses(&t, all, 3, out, 4), 3);
    assert_int_equal(ipaddr_parse("198.51.100.1", &want), SC_OK);
    assert_true(ipaddr_equal(&out[2], &want));
    assert_int_equal(links_all_addresses(&t, out, 4), 4);
    assert_true(links_all_addresses(&t, out, 2) > 2);
    assert_int_equal(links_addresses(&t, all, 0, out, 4), 0);
}

static void test_names(void **state)
{
    char out[64], tiny[12];
    (void)state;
    assert_string_equal(links_names(&t, out, sizeof out), "");
    add(1, "lo", "ul", 0);
    add(2, "eth0", "", 0);
    add(3, "e\033[1m\xff", "u", 0);
    assert_string_equal(links_names(&t, out, sizeof out), "lo eth0 (down) e?[1m?");
    assert_string_equal(links_names(&t, tiny, sizeof tiny), "lo ..");
    assert_ptr_equal(links_by_name(&t, "eth0"), &t.link[1]);
    assert_null(links_by_name(&t, "eth"));
    assert_ptr_equal(links_by_index(&t, 3), &t.link[2]);
    assert_null(links_by_index(&t, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plain, reset),         cmocka_unit_test_setup(test_named, reset),
        cmocka_unit_test_setup(test_members, reset),       cmocka_unit_test_setup(test_odd_masters, reset),
        cmocka_unit_test_setup(test_more_than_fit, reset), cmocka_unit_test_setup(test_addresses, reset),
        cmocka_unit_test_setup(test_names, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
