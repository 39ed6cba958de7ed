/* SPDX-License-Identifier: Apache-2.0
 * Open interfaces, in a network namespace of this test's own: the filter is the kernel's and nobody else's, also where
 * the kernel has little room for it, and no packet is lost when addresses change. What is fed stops at doubles here. */
#include "dispatcher/capture/sources.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "dispatcher/capture/group.h"
#include "tests/unit/dispatcher/capture/ownnet.h"

#define TCP 6
#define UDP 17
#define LITTLE_ROOM 20480 /* net.core.optmem_max of kernels before 6.8 */
#define MUCH_ROOM 131072  /* .. since */
#define NO_ROOM 2500
#define HOSTS 64

static unsigned fed;

void feed_burst(struct feed *f, struct mono now, struct wall wall)
{
    (void)f, (void)now, (void)wall;
}

void feed_packet(struct feed *f, const struct feed_packet *p)
{
    (void)f, (void)p;
    fed++;
}

void feed_flush(struct feed *f, struct instant until)
{
    (void)f, (void)until;
}

/* ---- the namespace ---- */

static void set_optmem(int bytes)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%d", bytes);
    assert_true(ownnet_write("/proc/sys/net/core/optmem_max", text));
}

/* Is there one of our own, i.e. would writing to it change nothing for others? */
static bool optmem_is_ours(void)
{
    return access("/proc/sys/net/core/optmem_max", W_OK) == 0;
}

/* ---- packets ---- */

static unsigned put_ip(uint8_t *p, uint8_t protocol, const char *to)
{
    memset(p, 0, 40);
    p[0] = 0x45;
    p[3] = 40;
    p[8] = 64;
    p[9] = protocol;
    memcpy(p + 12, (uint8_t[]){10, 9, 0, 200}, 4);
    assert_int_equal(inet_pton(AF_INET, to, p + 16), 1);
    p[21] = 80; /* source port, and a header of 20 bytes */
    p[32] = 0x50;
    return 40;
}

/* Sends n packets into v1, so that v0 receives them. */
static void send_to(const char *to, uint8_t protocol, unsigned n)
{
    uint8_t frame[54] = {2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 8, 0};
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("v1"), .sll_halen = 6};
    int s = socket(AF_PACKET, SOCK_RAW, 0);
    assert_true(s >= 0);
    (void)put_ip(frame + 14, protocol, to);
    for (unsigned i = 0; i < n; i++) {
        frame[14 + 21] = (uint8_t)i; /* another flow */
        assert_int_equal(sendto(s, frame, sizeof frame, 0, (struct sockaddr *)&at, sizeof at), sizeof frame);
    }
    close(s);
}

/* ---- what is tested ---- */

struct rig {
    struct config config;
    struct evloop *loop;
    struct sources *sources;
    struct link link;
    struct ipaddr host[HOSTS];
};
static struct rig rig;
static struct dispatcher_page page;

/* The hosts 10.9.<net>.1, fd00:<net>::2, 10.9.<net>.3 .. */
static void hosts(unsigned net, size_t n)
{
    memset(rig.host, 0, sizeof rig.host);
    for (size_t i = 0; i < n; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, i % 2 ? "fd00:%u::%zu" : "10.9.%u.%zu", net, i + 1);
        assert_int_equal(ipaddr_parse(text, &rig.host[i]), SC_OK);
    }
    sources_hosts(rig.sources, rig.host, n);
}

static void open_interface(const char *name)
{
    char error[CAPTURE_ERROR] = "";
    rig.link = (struct link){.index = (int)if_nametoindex(name), .up = true};
    (void)snprintf(rig.link.name, sizeof rig.link.name, "%s", name);
    if (sources_open(rig.sources, &rig.link, 1, error) != SC_OK)
        fail_msg("%s: %s", name, error);
}

static void begin(void)
{
    if (optmem_is_ours())
        set_optmem(MUCH_ROOM);
    memset(&page, 0, sizeof page);
    memset(&rig, 0, sizeof rig);
    config_init(&rig.config);
    rig.config.maxheadersize = 256;
    rig.config.capturebuffer = 64000000;
    rig.config.dispatchers = 1;
    rig.loop = evloop_new();
    const struct sources_settings s = {.loop = rig.loop, .config = &rig.config, .page = &page, .clock = clock_system()};
    rig.sources = sources_new(&s);
    assert_non_null(rig.loop);
    assert_non_null(rig.sources);
}

static void end(void)
{
    sources_free(rig.sources);
    evloop_free(rig.loop);
}

static uint64_t received(void)
{
    sources_stats(rig.sources);
    return counter_get(&page.interfaces[0].kernel_received);
}

/* Reads until `want` more have been fed than `before`; they come within milliseconds, or the test fails. */
static void wait_fed(unsigned before, unsigned want)
{
    struct mono limit = {clock_system()->mono(NULL).ns + 20 * NS_PER_SEC};
    while (fed - before < want && clock_system()->mono(NULL).ns < limit.ns) {
        (void)sources_read_all(rig.sources);
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    }
    assert_int_equal(fed - before, want);
}

/* The kernel lets in one address, and neither UDP nor another address. */
static void assert_exact(const char *address, const char *other)
{
    unsigned before = fed;
    uint64_t had = received();
    send_to(address, UDP, 50);
    send_to(other, TCP, 50);
    send_to(address, TCP, 3);
    wait_fed(before, 3);
    assert_int_equal(received() - had, 3);
}

/* UDP stays out, and so does all that came to a foreign address behind a tag; TCP comes in. */
static void assert_in_kernel(const char *address)
{
    unsigned before = fed;
    uint64_t had = received();
    send_to(address, UDP, 50);
    send_to(address, TCP, 3);
    wait_fed(before, 3);
    assert_int_equal(received() - had, 3);
}

static void test_little_room_for_filters(void **state)
{
    static const size_t counts[] = {1, 10, 11, 12, 20, HOSTS};
    (void)state;
    NEED_NAMESPACE();
    if (!optmem_is_ours())
        SKIP_BECAUSE("net.core.optmem_max is the whole machine's here");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        begin();
        set_optmem(LITTLE_ROOM);
        hosts(1, counts[i]);
        open_interface("v0");
        assert_in_kernel("10.9.1.1");
        end();
    }
    /* and while it runs: there has to be room for the old one beside the new one */
    begin();
    set_optmem(LITTLE_ROOM);
    hosts(1, 1);
    open_interface("v0");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        hosts(2, counts[i]);
        assert_in_kernel("10.9.2.1");
        hosts(3, 10);
        assert_in_kernel("10.9.3.9");
    }
    hosts(4, 1);
    assert_exact("10.9.4.1", "10.9.3.9");
    assert_false(sources_lost_one(rig.sources));
    end();
}

static void test_no_room_at_all_for_another(void **state)
{
    (void)state;
    NEED_NAMESPACE();
    if (!optmem_is_ours())
        SKIP_BECAUSE("net.core.optmem_max is the whole machine's here");
    begin();
    hosts(1, 2);
    open_interface("v0");
    send_to("10.9.1.1", TCP, 3);
    nanosleep(&(struct timespec){.tv_nsec = 100 * NS_PER_MS}, NULL);
    unsigned before = fed;
    set_optmem(NO_ROOM);
    hosts(2, 2);
    assert_int_equal(sources_count(rig.sources), 0);
    assert_true(sources_lost_one(rig.sources));
    assert_int_equal(fed - before, 3); /* what it held is fed */
    assert_int_equal(counter_get(&page.interfaces[0].kernel_received), 3);
    set_optmem(MUCH_ROOM);
    open_interface("v0");
    assert_exact("10.9.2.1", "10.9.1.1");
    end();
}

static void test_flap_while_addresses_change(void **state)
{
    (void)state;
    NEED_NAMESPACE();
    begin();
    hosts(1, 1);
    open_interface("v0");
    assert_exact("10.9.1.1", "10.9.2.1");
    assert_true(ownnet_command("ip link set v0 down && ip link set v0 up"));
    hosts(2, 1); /* before anybody has read that it was down */
    for (int i = 0; i < 50; i++)
        (void)sources_read_all(rig.sources);
    if (sources_lost_one(rig.sources))
        open_interface("v0");
    assert_exact("10.9.2.1", "10.9.1.1");
    end();
}

static atomic_bool stop;

static void *sender(void *ctx)
{
    unsigned *sent = ctx;
    while (!atomic_load(&stop)) {
        send_to("10.9.1.1", TCP, 100);
        *sent += 100;
    }
    return NULL;
}

static void test_no_packet_is_lost_by_a_change(void **state)
{
    unsigned sent = 0, before = fed;
    pthread_t thread;
    (void)state;
    NEED_NAMESPACE();
    begin();
    hosts(1, 1);
    open_interface("v0");
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, sender, &sent), 0);
    for (size_t i = 0; i < 100; i++) {
        hosts(1, 1 + (i + 1) % 2);
        (void)sources_read_all(rig.sources);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    wait_fed(before, sent);
    assert_int_equal(received(), sent);
    assert_int_equal(counter_get(&page.interfaces[0].kernel_dropped), 0);
    end();
}

/* ---- kernel buffers ---- */

/* MB that all open interfaces have. */
static unsigned buffers_mb(void)
{
    unsigned long long from, to;
    uint64_t sum = 0;
    char line[512];
    FILE *f = fopen("/proc/self/maps", "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (strstr(line, "socket:") && sscanf(line, "%llx-%llx", &from, &to) == 2)
            sum += to - from;
    (void)fclose(f);
    return (unsigned)((sum + 500000) / 1000000);
}

static void assert_buffer(const char *name, size_t expected, unsigned mb)
{
    char error[CAPTURE_ERROR] = "";
    struct link l = {.index = (int)if_nametoindex(name), .up = true};
    unsigned before = buffers_mb();
    (void)snprintf(l.name, sizeof l.name, "%s", name);
    if (sources_open(rig.sources, &l, expected, error) != SC_OK)
        fail_msg("%s: %s", name, error);
    assert_in_range(buffers_mb() - before, mb - 1, mb + 1); /* whole blocks */
}

static void test_buffers_of_named_interfaces(void **state)
{
    (void)state;
    NEED_NAMESPACE();
    begin();
    rig.config.interface_count = 3;
    assert_buffer("v0", 1, 21); /* the others are down */
    assert_buffer("v1", 2, 21);
    assert_buffer("lo", 3, 21);
    end();
}

static void test_buffers_of_all_that_are_up(void **state)
{
    (void)state;
    NEED_NAMESPACE();
    begin();
    assert_buffer("v0", 1, 48);
    assert_buffer("v1", 2, 8);
    assert_buffer("lo", 3, 4);
    end();
    begin();
    assert_buffer("v0", 2, 24);
    assert_buffer("v1", 2, 24);
    assert_buffer("lo", 3, 16);
    end();
}

/* ---- groups ---- */

static int64_t ahead; /* of the wall clock, before somebody sets it back */

static struct mono read_mono(void *ctx)
{
    return clock_system()->mono(ctx);
}

static struct wall read_wall(void *ctx)
{
    return (struct wall){clock_system()->wall(ctx).ns + ahead};
}

static const struct clock wrong_clock = {.mono = read_mono, .wall = read_wall};

static struct sources *member(struct fanout *fanout, unsigned thread, const struct clock *clock)
{
    char error[CAPTURE_ERROR] = "";
    const struct sources_settings s = {
        .loop = rig.loop, .config = &rig.config, .page = &page, .clock = clock, .fanout = fanout, .thread = thread};
    struct sources *m = sources_new(&s);
    assert_non_null(m);
    sources_hosts(m, rig.host, 1);
    if (sources_open(m, &rig.link, 1, error) != SC_OK)
        fail_msg("%s", error);
    return m;
}

/* Whoever joins a group leaves out what came before, which the others have. Each packet is fed once, or counted. */
static void test_a_packet_at_the_moment_of_joining(void **state)
{
    unsigned sent = 0, before = fed;
    pthread_t thread;
    (void)state;
    NEED_NAMESPACE();
    begin();
    rig.config.dispatchers = 2;
    hosts(1, 1);
    rig.link = (struct link){.index = (int)if_nametoindex("v0"), .name = "v0", .up = true};
    struct fanout *fanout = fanout_new();
    struct sources *first = member(fanout, 1, clock_system()), *second[20];
    const size_t seconds = sizeof second / sizeof second[0];
    uint64_t dropped, took;
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, sender, &sent), 0);
    for (size_t i = 0; i < seconds; i++) {
        second[i] = member(fanout, 0, clock_system());
        for (size_t k = 0; k <= i; k++)
            (void)sources_read_all(second[k]);
        (void)sources_read_all(first);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    struct mono limit = {clock_system()->mono(NULL).ns + 20 * NS_PER_SEC};
    do { /* how many the kernel gave to these is told when nothing of before is left */
        for (size_t k = 0; k < seconds; k++) {
            (void)sources_read_all(second[k]);
            sources_stats(second[k]);
        }
        (void)sources_read_all(first);
        sources_stats(first);
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
        dropped = counter_get(&page.interfaces[0].kernel_dropped);
        took = counter_get(&page.interfaces[0].kernel_received);
    } while ((fed - before + dropped < sent || took != fed - before + dropped) &&
             clock_system()->mono(NULL).ns < limit.ns);
    assert_in_range(fed - before, 1, sent);
    assert_true(fed - before + dropped >= sent);
    assert_int_equal(took, fed - before + dropped);
    for (size_t k = 0; k < seconds; k++)
        sources_free(second[k]);
    sources_free(first);
    fanout_free(fanout);
    end();
}

static void test_a_clock_set_back_in_a_group(void **state)
{
    static const int64_t steps[] = {3600, -3600, 1};
    (void)state;
    NEED_NAMESPACE();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        begin();
        rig.config.dispatchers = 2;
        hosts(1, 1);
        rig.link = (struct link){.index = (int)if_nametoindex("v0"), .name = "v0", .up = true};
        struct fanout *fanout = fanout_new();
        ahead = steps[i] * NS_PER_SEC;
        struct sources *m = member(fanout, 0, &wrong_clock);
        ahead = 0;
        unsigned before = fed;
        send_to("10.9.1.1", TCP, 50);
        struct mono limit = {clock_system()->mono(NULL).ns + 20 * NS_PER_SEC};
        while (fed - before < 50 && clock_system()->mono(NULL).ns < limit.ns)
            (void)sources_read_all(m);
        assert_int_equal(fed - before, 50);
        assert_true(sources_until(m).ns <= clock_system()->mono(NULL).ns);
        assert_true(sources_until(m).ns > clock_system()->mono(NULL).ns - 20 * NS_PER_SEC);
        sources_free(m);
        assert_int_equal(counter_get(&page.interfaces[0].kernel_received), 50);
        assert_int_equal(counter_get(&page.interfaces[0].kernel_dropped), 0);
        fanout_free(fanout);
        end();
    }
}

/* libpcap leaves out one of the two that the kernel counts for each packet on lo. */
static void test_a_hand_over_on_loopback(void **state)
{
    struct capture *old = NULL, *heir = NULL;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = 9, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char error[CAPTURE_ERROR] = "";
    int group = -1;
    (void)state;
    NEED_NAMESPACE();
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(capture_open_interface("lo", 256, 4000000, &old, error), SC_OK);
    assert_int_equal(group_new(old, &group, error), SC_OK);
    assert_int_equal(capture_open_interface("lo", 256, 4000000, &heir, error), SC_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(sendto(s, "x", 1, 0, (struct sockaddr *)&to, sizeof to), 1);
    if (group_join(heir, group, error) != SC_OK)
        fail_msg("%s", error);
    close(s);
    capture_close(heir);
    capture_close(old);
}

/* ---- an interface whose link layer libpcap makes up ---- */

static void send_up(int tun, const char *to, uint8_t protocol, unsigned n)
{
    uint8_t packet[40];
    (void)put_ip(packet, protocol, to);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(write(tun, packet, sizeof packet), sizeof packet);
}

static void test_cooked_interface(void **state)
{
    (void)state;
    NEED_NAMESPACE();
    int tun = ownnet_tun("ppp7", ARPHRD_PPP);
    if (tun < 0)
        SKIP_BECAUSE("there is no /dev/net/tun");
    begin();
    hosts(1, 1);
    open_interface("ppp7");
    for (unsigned net = 1; net < 4; net++) {
        char here[32], there[32];
        (void)snprintf(here, sizeof here, "10.9.%u.1", net);
        (void)snprintf(there, sizeof there, "10.9.%u.1", net + 1);
        hosts(net, 1);
        assert_false(sources_lost_one(rig.sources));
        unsigned before = fed;
        uint64_t had = received();
        send_up(tun, there, TCP, 20);
        send_up(tun, here, UDP, 20);
        send_up(tun, here, TCP, 3);
        wait_fed(before, 3);
        assert_int_equal(received() - had, 3);
    }
    end();
    close(tun);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_little_room_for_filters),
        cmocka_unit_test(test_no_room_at_all_for_another),
        cmocka_unit_test(test_flap_while_addresses_change),
        cmocka_unit_test(test_no_packet_is_lost_by_a_change),
        cmocka_unit_test(test_cooked_interface),
        cmocka_unit_test(test_a_packet_at_the_moment_of_joining),
        cmocka_unit_test(test_a_clock_set_back_in_a_group),
        cmocka_unit_test(test_a_hand_over_on_loopback),
        cmocka_unit_test(test_buffers_of_named_interfaces),
        cmocka_unit_test(test_buffers_of_all_that_are_up),
    };
    return cmocka_run_group_tests(tests, ownnet_enter, NULL);
}
