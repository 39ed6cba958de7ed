/* SPDX-License-Identifier: Apache-2.0
 * The shard's end of the bus without a bus: whatever pages get lost, every event is told once and in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shard/busfeed.h"

struct listener {
    struct shard_counters c;
    unsigned count, replayed;
    uint64_t last; /* number in the UUID of the last event */
};

static void on_event(void *ctx, const struct flowevent *ev, bool replayed)
{
    struct listener *l = ctx;
    unsigned long n;
    assert_int_equal(sscanf(ev->uuid.text, "u%lu", &n), 1);
    assert_true(n > l->last);
    l->last = n;
    l->count++;
    l->replayed += replayed;
}

static size_t page(char *out, uint64_t epoch, uint64_t seq, uint32_t count)
{
    size_t n = bus_page_head(out, epoch, seq, count);
    for (uint32_t i = 0; i < count; i++)
        n +=
            (size_t)sprintf(out + n,
                            "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48Z\",\"UUID\":\"u%lu\",\"ID\":{\"SPort\":1,"
                            "\"DPort\":2,\"SrcIP\":\"192.0.2.1\",\"DstIP\":\"192.0.2.2\"}}\n",
                            (unsigned long)(seq + i));
    return n;
}

static void feed(struct busfeed_state *st, struct listener *l, uint64_t epoch, uint64_t seq, uint32_t count,
                 bool replay)
{
    static char bytes[65536];
    struct busfeed_deps d = {.c = &l->c, .on_event = on_event, .ctx = l};
    busfeed_page(st, &d, bytes, page(bytes, epoch, seq, count), replay);
}

static void start_and_follow(void **state)
{
    (void)state;
    struct busfeed_state st = {0};
    struct listener l = {0};
    assert_true(busfeed_wants_replay(&st));
    feed(&st, &l, 5, 8, 0, false); /* a heartbeat before the first replay */
    feed(&st, &l, 5, 1, 4, true);
    assert_true(busfeed_wants_replay(&st));
    feed(&st, &l, 5, 5, 3, true);
    feed(&st, &l, 5, 8, 0, true);
    assert_false(busfeed_wants_replay(&st));
    assert_true(st.heard && st.started);
    assert_int_equal(l.count, 7);
    assert_int_equal(l.replayed, 7);
    feed(&st, &l, 5, 8, 2, false);
    feed(&st, &l, 5, 9, 3, false); /* overlaps: 9 is known */
    feed(&st, &l, 5, 9, 1, false); /* old */
    feed(&st, &l, 5, 12, 0, false);
    assert_false(busfeed_wants_replay(&st));
    assert_int_equal(l.last, 11);
    assert_int_equal(l.count, 11);
    assert_int_equal(l.replayed, 7);
    assert_int_equal(counter_get(&l.c.bus_replayed), 7);
    assert_int_equal(counter_get(&l.c.bus_gaps), 0);
}

static void gaps_are_healed(void **state)
{
    (void)state;
    struct busfeed_state st = {0};
    struct listener l = {0};
    feed(&st, &l, 5, 1, 0, true);
    feed(&st, &l, 5, 1, 1, false);
    feed(&st, &l, 5, 4, 2, false); /* 2 and 3 are missing */
    assert_true(busfeed_wants_replay(&st));
    assert_int_equal(l.count, 1);
    st.asked = true;
    feed(&st, &l, 5, 6, 1, false); /* while the request is on its way */
    feed(&st, &l, 5, 2, 5, true);
    assert_false(busfeed_wants_replay(&st)); /* the heard end is reached */
    assert_int_equal(l.last, 6);
    feed(&st, &l, 5, 9, 0, false); /* a heartbeat ahead */
    assert_true(busfeed_wants_replay(&st));
    assert_int_equal(counter_get(&l.c.bus_lost), 0);
    feed(&st, &l, 5, 8, 1, true); /* the journal has lost 7 */
    assert_int_equal(counter_get(&l.c.bus_lost), 1);
    assert_false(busfeed_wants_replay(&st));
    assert_int_equal(l.count, 7);
    assert_int_equal(counter_get(&l.c.bus_gaps), 2);
    assert_int_equal(l.replayed, 0); /* none of them was told before */
}

static void a_new_epoch(void **state)
{
    (void)state;
    struct busfeed_state st = {0};
    struct listener l = {0};
    feed(&st, &l, 5, 1, 0, true);
    feed(&st, &l, 5, 1, 3, false);
    feed(&st, &l, 6, 1, 0, false);
    assert_true(busfeed_wants_replay(&st));
    l.last = 0;
    feed(&st, &l, 6, 1, 2, true);
    feed(&st, &l, 6, 3, 0, true);
    assert_false(busfeed_wants_replay(&st));
    feed(&st, &l, 6, 3, 1, false);
    assert_int_equal(l.count, 6);
}

static void rubbish(void **state)
{
    (void)state;
    struct busfeed_state st = {0};
    struct listener l = {0};
    struct busfeed_deps d = {.c = &l.c, .on_event = on_event, .ctx = &l};
    static const char *const bad[] = {"", "error usage: there are 2 shards\n", "1 2", "1 1 3\n{}\n",
                                      "1 1 1\nno event\n"};
    st.asked = true;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        busfeed_page(&st, &d, bad[i], strlen(bad[i]), false);
        busfeed_page(&st, &d, bad[i], strlen(bad[i]), true);
    }
    assert_int_equal(l.count, 0);
    assert_false(st.asked);
}

/* ---- with sockets, at which nobody speaks ---- */

static struct mono time_now;

static struct mono fake_mono(void *ctx)
{
    (void)ctx;
    return time_now;
}

static int listen_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    memcpy(a.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

/* The next connection: there is one within the time. It is answered as a nanomsg peer of that kind would, or nanomsg
 * would try again by itself; then nothing is said. */
static void comes(int listener, char protocol)
{
    const char header[8] = {0, 'S', 'P', 0, 0, protocol, 0, 0};
    struct pollfd p = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0); /* kept open: it is silence, not an end, that is to be noticed */
    assert_int_equal(write(fd, header, sizeof(header)), sizeof(header));
}

static void a_silent_hub_is_connected_to_anew(void **state)
{
    char dir[] = "/tmp/test_busfeed.XXXXXX", name[64], sub[BUS_PATH], req[BUS_PATH], error[BUS_ERROR];
    const struct clock clock = {.mono = fake_mono};
    struct listener l = {0};
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(name, sizeof(name), "%s/bus", dir);
    assert_int_equal(mkdir(name, 0700), 0);
    assert_int_equal(bus_shard_path(sub, dir, 0), SC_OK);
    assert_int_equal(bus_replay_path(req, dir), SC_OK);
    int on_sub = listen_at(sub), on_req = listen_at(req);
    struct busfeed_deps d = {.rundir = dir, .slot = 0, .clock = &clock, .c = &l.c, .on_event = on_event, .ctx = &l};
    struct busfeed *f = busfeed_new(&d, error);
    assert_non_null(f);
    comes(on_sub, 0x20);
    comes(on_req, 0x31);
    for (int i = 0; i < 3; i++) {
        busfeed_turn(f);
        time_now.ns += NS_PER_SEC;
        busfeed_turn(f);
        comes(on_sub, 0x20);
        comes(on_req, 0x31);
    }
    busfeed_free(f);
    (void)close(on_sub);
    (void)close(on_req);
    (void)unlink(sub);
    (void)unlink(req);
    (void)rmdir(name);
    (void)rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_and_follow),
        cmocka_unit_test(gaps_are_healed),
        cmocka_unit_test(a_new_epoch),
        cmocka_unit_test(rubbish),
        cmocka_unit_test(a_silent_hub_is_connected_to_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
