/* SPDX-License-Identifier: Apache-2.0
 * The other threads of -dispatchers, in a network namespace of this test's own: what they cannot open, and what they
 * say and send when they are told the same again. What is fed stops at doubles here. */
#include "dispatcher/capture/workers.h"

#include <net/if_arp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "tests/unit/dispatcher/capture/ownnet.h"

static atomic_uint addresses_sent;

void feed_burst(struct feed *f, struct mono now, struct wall wall)
{
    (void)f, (void)now, (void)wall;
}

void feed_packet(struct feed *f, const struct feed_packet *p)
{
    (void)f, (void)p;
}

void feed_flush(struct feed *f, struct instant until)
{
    (void)f, (void)until;
}

void feed_housekeep(struct feed *f, struct instant now, struct instant until)
{
    (void)f, (void)now, (void)until;
}

void feed_addresses(struct feed *f, const struct ipaddr *addresses, size_t count)
{
    (void)f, (void)addresses, (void)count;
    atomic_fetch_add(&addresses_sent, 1);
}

unsigned feed_end(struct feed *f)
{
    (void)f;
    return 0;
}

static struct config config;
static struct dispatcher_page page;
static struct fanout *fanout;
static struct workers *workers;
static struct ipaddr address[2];

static void begin(void)
{
    static struct feed *const feeds[2];
    memset(&page, 0, sizeof page);
    config_init(&config);
    config.maxheadersize = 256;
    config.capturebuffer = 4000000;
    config.dispatchers = 2;
    fanout = fanout_new();
    const struct workers_settings s = {
        .feeds = feeds, .count = 2, .config = &config, .page = &page, .clock = clock_system(), .fanout = fanout};
    workers = workers_new(&s);
    assert_non_null(workers);
    atomic_store(&addresses_sent, 0);
    assert_int_equal(ipaddr_parse("10.9.0.1", &address[0]), SC_OK);
    assert_int_equal(ipaddr_parse("10.9.0.2", &address[1]), SC_OK);
}

static void end(void)
{
    workers_stop(workers, true);
    workers_free(workers);
    fanout_free(fanout);
}

static struct link link_of(const char *name)
{
    struct link l = {.index = (int)if_nametoindex(name), .up = true};
    (void)snprintf(l.name, sizeof l.name, "%s", name);
    return l;
}

/* What is written to stderr while `times` orders are followed. */
static unsigned told_again(const struct link *const *links, size_t count, unsigned times, char *text, size_t cap)
{
    FILE *log = tmpfile();
    assert_non_null(log);
    int saved = dup(STDERR_FILENO);
    assert_true(dup2(fileno(log), STDERR_FILENO) >= 0);
    for (unsigned i = 0; i < times; i++)
        workers_set(workers, links, count, address, 1, address, 1);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(log);
    size_t n = fread(text, 1, cap - 1, log);
    text[n] = '\0';
    (void)fclose(log);
    unsigned lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    return lines;
}

static void test_addresses_are_sent_when_they_change(void **state)
{
    (void)state;
    NEED_NAMESPACE();
    begin();
    struct link v0 = link_of("v0");
    const struct link *links[] = {&v0};
    for (int i = 0; i < 3; i++)
        workers_set(workers, links, 1, address, 1, address, 0);
    assert_int_equal(atomic_load(&addresses_sent), 1);
    for (int i = 0; i < 3; i++)
        workers_set(workers, links, 1, address, 1, address, 1);
    assert_int_equal(atomic_load(&addresses_sent), 2);
    workers_set(workers, links, 1, address, 1, address + 1, 1);
    workers_set(workers, links, 1, address, 1, address, 2);
    assert_int_equal(atomic_load(&addresses_sent), 4);
    assert_false(workers_unmet(workers));
    end();
}

static void test_an_unknown_link_type_is_left_out_for_good(void **state)
{
    char said[4096];
    (void)state;
    NEED_NAMESPACE();
    int tun = ownnet_tun("odd0", ARPHRD_IEEE80211);
    if (tun < 0)
        SKIP_BECAUSE("there is no /dev/net/tun");
    begin();
    struct link odd = link_of("odd0"), v0 = link_of("v0");
    const struct link *links[] = {&odd, &v0};
    assert_int_equal(told_again(links, 2, 3, said, sizeof said), 0); /* the first thread says it */
    assert_false(workers_unmet(workers));
    assert_string_equal(page.interfaces[0].name, "v0");
    end();
    close(tun);
}

static void test_what_cannot_be_opened_is_named_once(void **state)
{
    char said[4096];
    (void)state;
    NEED_NAMESPACE();
    begin();
    struct link v0 = link_of("v0");
    const struct link *links[] = {&v0};
    (void)snprintf(config.filter, sizeof config.filter, "no such word here");
    assert_int_equal(told_again(links, 1, 3, said, sizeof said), 1);
    assert_non_null(strstr(said, "dispatcher 1 does not capture interface v0: "));
    assert_true(workers_unmet(workers));
    config.filter[0] = '\0';
    assert_int_equal(told_again(links, 1, 1, said, sizeof said), 0);
    assert_false(workers_unmet(workers));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_sent_when_they_change),
        cmocka_unit_test(test_an_unknown_link_type_is_left_out_for_good),
        cmocka_unit_test(test_what_cannot_be_opened_is_named_once),
    };
    return cmocka_run_group_tests(tests, ownnet_enter, NULL);
}
