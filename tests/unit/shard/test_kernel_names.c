/* SPDX-License-Identifier: Apache-2.0
 * The kernel source on a fake kernel: who is asked for, when, and to which generation of a key an answer or the end of
 * a socket is bound. Each rule of kernel_names.h has a test that fails without it. */
#include "rig.h"

#define SEC NS_PER_SEC
#define MS NS_PER_MS

/* What the fake kernel says. */
static struct {
    int result;
    struct uuid_answer answer;
    unsigned asked, asked_for_1; /* flow 1: with which question first */
    struct flowkey key;
} kernel;

static int fake_ask(void *ctx, const struct flowkey *key, uint32_t if_index, struct uuid_answer *out)
{
    (void)ctx;
    (void)if_index;
    kernel.asked++;
    kernel.key = *key;
    struct flowkey one = rig_key(1);
    if (kernel.asked_for_1 == 0 && flowkey_equal(key, &one))
        kernel.asked_for_1 = kernel.asked;
    *out = kernel.answer;
    return kernel.result;
}

/* Both clocks begin at RIG_T0; the test sets the wall clock by r->step. */
static struct wall stepped_wall(void *ctx)
{
    const struct rig *r = ctx;
    return (struct wall){r->mono + r->step};
}

static struct rig *kernel_rig_with(const char *prefix)
{
    struct rig *r = rig_new();
    memset(&kernel, 0, sizeof(kernel));
    kernel.result = SC_ENOENT;
    r->config.savefile_count = 0; /* live */
    r->config.uuid_sources = UUID_SOURCE_KERNEL;
    strcpy(r->config.kernel_prefix.text, prefix);
    r->ask = fake_ask;
    r->config.kernel_destroy = true;
    r->mono = RIG_T0;
    r->clock.wall = stepped_wall;
    rig_start(r);
    return r;
}

static struct rig *kernel_rig(void)
{
    return kernel_rig_with("p_1");
}

static void answers(uint64_t cookie, int64_t at, bool closing)
{
    kernel.result = SC_OK;
    kernel.answer = (struct uuid_answer){.cookie = cookie, .closing = closing, .read = {RIG_T0 + at}};
}

/* Everything captured up to `at` is published. */
static void captured_until(struct rig *r, int64_t at)
{
    r->mono = RIG_T0 + at;
    rig_mark(r, RING_TICK, at);
    rig_run(r);
    rig_run(r); /* what a turn marks, the next may settle */
    rig_run(r);
}

static void packet(struct rig *r, int64_t at, uint32_t seq, uint8_t flags, bool back)
{
    struct rig_packet p = {.flow = 1, .at = at, .seq = seq, .flags = flags, .back = back};
    rig_send(r, &p);
}

static void handshake(struct rig *r, int64_t at, uint32_t seq)
{
    packet(r, at, seq, TCP_SYN, false);
    packet(r, at + 1, 900, TCP_SYN | TCP_ACK, true);
    packet(r, at + 2, seq + 1, TCP_ACK, false);
}

static void fins(struct rig *r, int64_t at)
{
    packet(r, at, 50, TCP_FIN | TCP_ACK, false);
    packet(r, at + 1, 950, TCP_FIN | TCP_ACK, true);
}

static void destroyed(struct rig *r, uint64_t cookie, int64_t at)
{
    struct flowevent ev = {.kind = FLOWEVENT_OPEN,
                           .has_id = true,
                           .destroyed = true,
                           .key = rig_key(1),
                           .dport = 443,
                           .cookie = (int64_t)cookie,
                           .seen = {RIG_T0 + at}};
    shard_event(r->shard, &ev, false);
}

static bool has_file(const struct rig *r, uint64_t cookie)
{
    char path[64];
    snprintf(path, sizeof(path), "data/" RIG_DAY "/p_1_%016llX.pcap.gz", (unsigned long long)cookie);
    return rig_exists(r, path);
}

static void finish(struct rig *r, int64_t at)
{
    kernel.result = SC_ENOENT;
    rig_end(r, at);
    rig_check_balance(r);
}

static void asked_when_the_handshake_is_complete(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    packet(r, 0, 7, TCP_SYN, false);
    rig_run(r);
    assert_int_equal(kernel.asked, 0);
    packet(r, 1, 9, TCP_SYN | TCP_ACK, true);
    rig_run(r);
    assert_int_equal(kernel.asked, 0);
    answers(0xab, 2, false);
    packet(r, 2, 8, TCP_ACK, false);
    rig_run(r);
    assert_int_equal(kernel.asked, 1);
    captured_until(r, 10);
    finish(r, SEC);
    assert_true(has_file(r, 0xab));
    rig_free(r);
}

/* A shard that sleeps is up again for the next question, and to bind an answer. */
static void sleep_ends_when_the_next_question_is_due(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    assert_int_equal(shard_pause(r->shard, 20 * MS), 20 * MS);
    handshake(r, 0, 7);
    r->mono = RIG_T0 + 10 * MS;
    rig_run(r); /* asked: the next time in 10 ms, then in 100 */
    assert_int_equal(kernel.asked, 1);
    assert_int_equal(shard_pause(r->shard, 20 * MS), 10 * MS);
    assert_int_equal(shard_pause(r->shard, 6 * MS), 6 * MS);
    r->mono += 10 * MS;
    assert_int_equal(shard_pause(r->shard, 20 * MS), MS); /* due, and yet never without a pause */
    rig_run(r);
    assert_int_equal(kernel.asked, 2);
    assert_int_equal(shard_pause(r->shard, 20 * MS), 20 * MS);
    answers(0xab, 120 * MS, false);
    r->mono = RIG_T0 + 120 * MS;
    rig_run(r);
    assert_int_equal(kernel.asked, 3);
    assert_int_equal(shard_pause(r->shard, 50 * MS), 20 * MS); /* until the packets of that time have come */
    captured_until(r, 130 * MS);
    assert_int_equal(shard_pause(r->shard, 50 * MS), 50 * MS);
    finish(r, SEC);
    assert_true(has_file(r, 0xab));
    rig_free(r);
}

static void asked_when_first_seen_in_mid_stream(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    answers(0xab, 2, false);
    packet(r, 2, 8, TCP_ACK, false);
    captured_until(r, 10);
    assert_int_equal(kernel.asked, 1);
    finish(r, SEC);
    assert_true(has_file(r, 0xab));
    rig_free(r);
}

static void asked_again_with_gaps_until_named(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    rig_run(r);
    assert_int_equal(kernel.asked, 1);
    captured_until(r, 9 * MS);
    assert_int_equal(kernel.asked, 1);
    captured_until(r, 11 * MS);
    assert_int_equal(kernel.asked, 2);
    answers(0xcd, 100 * MS, false);
    captured_until(r, 200 * MS);
    assert_int_equal(kernel.asked, 3);
    captured_until(r, 4 * SEC);
    assert_int_equal(kernel.asked, 3); /* named: nobody asks any more */
    finish(r, 4 * SEC + 1);
    assert_true(has_file(r, 0xcd));
    rig_free(r);
}

/* Whoever sends bare ACKs from many addresses keeps nobody else from being asked for, and no memory. */
static void flood_of_streams_without_a_begin(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    for (uint16_t i = 0; i < 2000; i++)
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(100 + i), .at = i, .seq = 7, .flags = TCP_ACK});
    rig_run(r);
    assert_true(kernel.asked > 0 && kernel.asked < 1000); /* as many as a burst may have */
    handshake(r, 5000, 7);
    unsigned before = kernel.asked;
    r->mono += MS;
    rig_run(r);
    assert_true(kernel.asked > before + 1);
    assert_int_equal(kernel.asked_for_1, before + 1); /* the next one, whoever waits */
    finish(r, SEC);
    rig_free(r);
}

static void never_asked_after_a_reset(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    packet(r, 5, 2, TCP_RST, true);
    for (int64_t at = 0; at < 5 * SEC; at += 300 * MS)
        captured_until(r, at);
    assert_int_equal(kernel.asked, 0);
    rig_free(r);
}

/* The answer was read after a new connection of the tuple had come up, whose packets are still on their way. */
static void answer_waits_for_the_packets_of_its_time(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    answers(0xb, 100 * MS, false);
    rig_run(r);
    assert_int_equal(kernel.asked, 1);
    fins(r, 40 * MS);
    handshake(r, 50 * MS, 70001);
    captured_until(r, 101 * MS);
    destroyed(r, 0xa, 102 * MS);
    captured_until(r, 300 * MS);
    finish(r, SEC);
    assert_true(has_file(r, 0xa) && has_file(r, 0xb));
    const struct rig_packet want[] = {
        {.flow = 1, .at = 50 * MS, .seq = 70001, .flags = TCP_SYN},
        {.flow = 1, .at = 50 * MS + 1, .seq = 900, .flags = TCP_SYN | TCP_ACK, .back = true},
        {.flow = 1, .at = 50 * MS + 2, .seq = 70002, .flags = TCP_ACK}};
    rig_check_file(r, RIG_DAY "/p_1_000000000000000B.pcap.gz", want, 3);
    rig_free(r);
}

/* A connection that has ended on the wire: an established socket of the tuple is already the next one. */
static void ended_flow_takes_the_answer_of_a_closing_socket_only(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    fins(r, 10);
    answers(0xb, 20, false);
    captured_until(r, 30);
    assert_int_equal(counter_get(&r->page->c.uuids), 0);
    answers(0xa, 40, true);
    captured_until(r, 20 * MS);
    captured_until(r, 40 * MS);
    finish(r, SEC);
    assert_true(has_file(r, 0xa));
    assert_false(has_file(r, 0xb));
    rig_free(r);
}

static void destroyed_socket_names_the_oldest_unnamed_that_has_ended(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    fins(r, 10);
    handshake(r, 20, 70001);
    fins(r, 30);
    handshake(r, 40, 140001);
    destroyed(r, 0xa, 50);
    destroyed(r, 0xb, 51);
    captured_until(r, 60);
    finish(r, SEC);
    assert_true(has_file(r, 0xa) && has_file(r, 0xb));
    const struct rig_packet first[] = {{.flow = 1, .at = 0, .seq = 1, .flags = TCP_SYN},
                                       {.flow = 1, .at = 1, .seq = 900, .flags = TCP_SYN | TCP_ACK, .back = true},
                                       {.flow = 1, .at = 2, .seq = 2, .flags = TCP_ACK},
                                       {.flow = 1, .at = 10, .seq = 50, .flags = TCP_FIN | TCP_ACK},
                                       {.flow = 1, .at = 11, .seq = 950, .flags = TCP_FIN | TCP_ACK, .back = true}};
    rig_check_file(r, RIG_DAY "/p_1_000000000000000A.pcap.gz", first, 5);
    assert_int_equal(rig_sum_drops(r), 3); /* the third was never named: its 3 packets */
    rig_free(r);
}

static void destroyed_before_its_end_was_seen_is_held(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    destroyed(r, 0xa, 5);
    captured_until(r, 6);
    assert_int_equal(counter_get(&r->page->c.uuids), 0);
    fins(r, 10);
    captured_until(r, 200 * MS);
    finish(r, SEC);
    assert_true(has_file(r, 0xa));
    rig_free(r);
}

/* Sockets whose packets nobody captures, by the thousand: their ends are looked at once. */
static void destroyed_without_a_flow_is_not_held(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    rig_crash(r);
    r->ask = NULL; /* nothing else is to be done */
    rig_start(r);
    for (int with_flow = 0; with_flow < 2; with_flow++) {
        if (with_flow)
            handshake(r, 70 * MS, 1);
        destroyed(r, 0xa, with_flow * 100 * MS + 5);
        captured_until(r, with_flow * 100 * MS + 6);
        r->mono += 60 * MS; /* a held one is looked at again */
        assert_int_equal(shard_step(r->shard), with_flow ? SHARD_BUSY : SHARD_IDLE);
    }
    finish(r, SEC);
    rig_free(r);
}

/* The old socket's end is told after a new connection of the tuple has come and gone. */
static void cookie_of_a_named_generation_names_no_other(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    answers(0xa, 3, false);
    captured_until(r, 10);
    kernel.result = SC_ENOENT;
    fins(r, 20);
    handshake(r, 30, 70001);
    fins(r, 40);
    captured_until(r, 50);
    destroyed(r, 0xa, 60);
    captured_until(r, 100 * MS);
    destroyed(r, 0xb, 101 * MS);
    captured_until(r, 300 * MS);
    finish(r, SEC);
    assert_true(has_file(r, 0xa) && has_file(r, 0xb));
    assert_int_equal(rig_sum_drops(r), 0);
    rig_free(r);
}

static void end_of_the_capture_asks_once_more(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    rig_run(r);
    answers(0xa, 10, false);
    rig_end(r, 20);
    assert_true(has_file(r, 0xa));
    rig_check_balance(r);
    rig_free(r);
}

static void successor_asks_for_what_waits(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    rig_run(r);
    rig_crash(r);
    answers(0xa, 10, false);
    rig_start(r);
    captured_until(r, 20);
    finish(r, SEC);
    assert_true(has_file(r, 0xa));
    rig_free(r);
}

/* The notes of the board, oldest first; returns how many there were. */
static unsigned notes(const struct rig *r, struct reset_note out[8])
{
    uint64_t next = 0, missed = 0;
    unsigned n = 0;
    while (n < 8 && reset_board_read(&r->page->resets, &next, &missed, &out[n]))
        n++;
    assert_int_equal(missed, 0);
    return n;
}

/* The client's address is the lower one: it is side 0 of the key. */
/* The bus tells a successor of an end that had its effect in a former life. */
static void successor_gives_no_cookie_twice(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    answers(0xa, 3, false);
    captured_until(r, 10);
    kernel.result = SC_ENOENT;
    rig_crash(r);
    rig_start(r);
    fins(r, 20);
    handshake(r, 30, 70001);
    fins(r, 40);
    destroyed(r, 0xa, 50);
    captured_until(r, 60);
    destroyed(r, 0xb, 61);
    captured_until(r, 200 * MS);
    finish(r, SEC);
    assert_int_equal(rig_count_files(r, "data"), 2);
    assert_true(has_file(r, 0xa) && has_file(r, 0xb));
    assert_int_equal(rig_sum_drops(r), 0);
    rig_free(r);
}

static void hub_is_told_which_side_has_reset(void **state)
{
    struct rig *r = kernel_rig();
    struct reset_note note[8];
    (void)state;
    packet(r, 0, 7, TCP_SYN, false);
    packet(r, 1, 9, TCP_RST | TCP_ACK, true); /* a closed port: no socket */
    rig_run(r);
    assert_int_equal(notes(r, note), 0);
    handshake(r, 10, 70001);
    packet(r, 20, 950, TCP_RST, true);
    packet(r, 21, 950, TCP_RST, true); /* told once */
    rig_run(r);
    assert_int_equal(notes(r, note), 1);
    struct flowkey key = rig_key(1);
    assert_memory_equal(&note[0].key, &key, sizeof(key));
    assert_int_equal(note[0].side, 1);
    assert_int_equal(note[0].at.ns, RIG_T0 + 20);
    assert_int_equal(note[0].cookie, 0);
    packet(r, 22, 50, TCP_RST, false);
    rig_run(r);
    assert_int_equal(notes(r, note), 2);
    assert_int_equal(note[1].side, 0);
    finish(r, SEC);
    rig_free(r);
}

static void hub_is_told_the_cookies_of_flows_that_were_reset(void **state)
{
    struct rig *r = kernel_rig();
    struct reset_note note[8];
    (void)state;
    handshake(r, 0, 1);
    answers(0xa, 3, false);
    captured_until(r, 10);
    packet(r, 20, 950, TCP_RST, true); /* named before */
    kernel.result = SC_ENOENT;
    handshake(r, 30, 70001);
    packet(r, 40, 950, TCP_RST, true); /* named later */
    rig_run(r);
    destroyed(r, 0xb, 50);
    captured_until(r, 60);
    assert_int_equal(notes(r, note), 3);
    assert_int_equal(note[0].cookie, 0xa);
    assert_int_equal(note[1].cookie, 0);
    assert_int_equal(note[2].cookie, 0xb);
    assert_true(note[1].flow == note[2].flow && note[1].generation == note[2].generation);
    assert_true(note[0].flow != note[1].flow || note[0].generation != note[1].generation);
    finish(r, SEC);
    assert_int_equal(rig_sum_drops(r), 0);
    rig_free(r);
}

static void hub_is_told_what_is_consumed(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    rig_run(r);
    assert_true(reset_board_settled(&r->page->resets).ns < RIG_T0 + 10);
    captured_until(r, 10);
    assert_int_equal(reset_board_settled(&r->page->resets).ns, RIG_T0 + 10);
    rig_crash(r); /* the successor has not told what it finds yet */
    rig_start(r);
    assert_true(reset_board_settled(&r->page->resets).ns < RIG_T0);
    finish(r, SEC);
    rig_free(r);
}

static void end_waits_for_the_hub_if_a_nameless_flow_was_reset(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    packet(r, 20, 950, TCP_RST, true);
    rig_mark(r, RING_END, 30);
    assert_int_equal(rig_run(r), SHARD_IDLE);
    assert_int_equal(reset_board_settled(&r->page->resets).ns, INT64_MAX);
    destroyed(r, 0xa, 25);
    for (int i = 0; i < 10 && rig_run(r) != SHARD_DONE; i++)
        continue;
    assert_int_equal(shard_step(r->shard), SHARD_DONE);
    assert_true(has_file(r, 0xa));
    rig_check_balance(r);
    rig_free(r);
}

static void successor_tells_again_who_was_reset(void **state)
{
    struct rig *r = kernel_rig();
    struct reset_note note[8];
    (void)state;
    handshake(r, 0, 1);
    packet(r, 20, 950, TCP_RST, true);
    rig_run(r);
    rig_crash(r);
    rig_start(r);
    assert_int_equal(notes(r, note), 2);
    assert_true(note[0].flow == note[1].flow && note[0].generation == note[1].generation);
    assert_int_equal(note[1].side, 1);
    finish(r, SEC);
    rig_free(r);
}

static void prefix_is_shown(struct rig *r, const char *uuid)
{
    struct flowevent ev = {.kind = FLOWEVENT_CLOSE, .prefix = true, .time = {RIG_T0}};
    assert_int_equal(uuid_set(&ev.uuid, uuid, strlen(uuid)), SC_OK);
    shard_event(r->shard, &ev, false);
}

/* Without the prefix a file would have a wrong name. */
static void names_wait_for_the_prefix(void **state)
{
    struct rig *r = kernel_rig_with("");
    (void)state;
    handshake(r, 0, 1);
    answers(0xa, 3, false);
    captured_until(r, 10);
    assert_int_equal(kernel.asked, 1);
    captured_until(r, 15 * MS);
    assert_int_equal(kernel.asked, 1); /* the cookie is known: nobody asks any more */
    kernel.result = SC_ENOENT;
    fins(r, 20 * MS);
    handshake(r, 30 * MS, 70001);
    fins(r, 40 * MS);
    destroyed(r, 0xa, 49 * MS); /* nor is it given twice */
    destroyed(r, 0xb, 50 * MS);
    captured_until(r, 100 * MS);
    assert_int_equal(counter_get(&r->page->c.uuids), 0);
    prefix_is_shown(r, "learned_7_00000000000000FF");
    rig_run(r);
    assert_int_equal(counter_get(&r->page->c.uuids), 2);
    handshake(r, 200 * MS, 140001); /* known from now on */
    answers(0xc, 201 * MS, false);
    captured_until(r, 300 * MS);
    finish(r, SEC);
    assert_true(rig_exists(r, "data/" RIG_DAY "/learned_7_000000000000000A.pcap.gz"));
    assert_true(rig_exists(r, "data/" RIG_DAY "/learned_7_000000000000000B.pcap.gz"));
    assert_true(rig_exists(r, "data/" RIG_DAY "/learned_7_000000000000000C.pcap.gz"));
    assert_int_equal(rig_sum_drops(r), 0);
    rig_free(r);
}

static void without_a_prefix_there_is_no_file(void **state)
{
    struct rig *r = kernel_rig_with("");
    (void)state;
    handshake(r, 0, 1);
    answers(0xa, 3, false);
    captured_until(r, 10);
    captured_until(r, 6 * SEC);
    prefix_is_shown(r, "late_7_00000000000000FF");
    finish(r, 7 * SEC);
    assert_int_equal(rig_count_files(r, "data"), 0);
    assert_int_equal(counter_get(&r->page->c.drops[CAUSE_NO_UUID]), 3);
    rig_free(r);
}

static void given_prefix_stands(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    prefix_is_shown(r, "other_7_00000000000000FF");
    handshake(r, 0, 1);
    answers(0xa, 3, false);
    captured_until(r, 10);
    finish(r, SEC);
    assert_true(has_file(r, 0xa));
    rig_free(r);
}

/* tcp-info and the kernel name the same socket: whoever comes first, there is one file. */
static void event_and_cookie_of_one_socket_make_one_file(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        struct rig *r = kernel_rig();
        struct flowevent ev = {
            .kind = FLOWEVENT_OPEN, .has_id = true, .key = rig_key(1), .cookie = 0xa, .time = {RIG_T0}};
        assert_int_equal(uuid_from_cookie(&ev.uuid, "p_1", 0xa), SC_OK);
        ev.yyyymmdd = 20231114;
        handshake(r, 0, 1);
        if (first == 0) {
            rig_run(r);
            shard_event(r->shard, &ev, false);
        }
        answers(0xa, 3, false);
        captured_until(r, 10 * MS);
        if (first == 1)
            shard_event(r->shard, &ev, false);
        fins(r, 11 * MS);
        handshake(r, 12 * MS, 70001); /* and the next connection gets a name of its own */
        fins(r, 13 * MS);
        kernel.result = SC_ENOENT;
        destroyed(r, 0xa, 14 * MS);
        captured_until(r, 15 * MS);
        destroyed(r, 0xb, 16 * MS);
        captured_until(r, 200 * MS);
        finish(r, SEC);
        assert_int_equal(rig_count_files(r, "data"), 2);
        assert_true(has_file(r, 0xa) && has_file(r, 0xb));
        assert_int_equal(rig_sum_drops(r), 0);
        rig_free(r);
    }
}

static void event_is_told(struct rig *r, uint16_t flow, const char *uuid, uint64_t cookie)
{
    struct flowevent ev = {.kind = FLOWEVENT_OPEN, .has_id = true, .cookie = (int64_t)cookie, .yyyymmdd = 20231114};
    ev.key = rig_key(flow);
    ev.time.ns = RIG_T0;
    assert_int_equal(uuid_set(&ev.uuid, uuid, strlen(uuid)), SC_OK);
    shard_event(r->shard, &ev, false);
}

/* Somebody injects an event with the cookie of another connection's socket. */
static void foreign_cookie_keeps_nobody_from_a_name(void **state)
{
    struct rig *r = kernel_rig();
    struct rig_packet other = {.flow = 2, .seq = 5, .flags = TCP_ACK};
    (void)state;
    rig_send(r, &other);
    rig_run(r);
    event_is_told(r, 2, "by_hand", 0xa);
    handshake(r, 10, 1);
    answers(0xa, 13, false);
    captured_until(r, 20);
    finish(r, SEC);
    assert_true(has_file(r, 0xa));
    assert_true(rig_exists(r, "data/" RIG_DAY "/by_hand.pcap.gz"));
    rig_free(r);
}

static void event_that_names_nothing_takes_no_cookie(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    answers(0xa, 3, false);
    captured_until(r, 10);
    event_is_told(r, 1, "too_late", 0xb);
    assert_int_equal(counter_get(&r->page->c.missed_uuids[SAVER_UUIDFOUND]), 1);
    fins(r, 20);
    handshake(r, 30, 70001);
    answers(0xb, 40, false);
    captured_until(r, 50);
    finish(r, SEC);
    assert_true(has_file(r, 0xa) && has_file(r, 0xb));
    assert_int_equal(rig_sum_drops(r), 0);
    rig_free(r);
}

static void what_is_left_answers(uint64_t cookie, int64_t at)
{
    answers(cookie, at, true);
    kernel.answer.timewait = true;
}

/* Nobody had read the cookie of the socket: what is left of it in TIME_WAIT has got another. */
static void cookie_of_the_destroyed_socket_goes_before_that_of_timewait(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    fins(r, 10);
    what_is_left_answers(0xc2, 20);
    captured_until(r, 30);
    captured_until(r, 20 * MS);
    assert_int_equal(kernel.asked, 2);
    assert_int_equal(counter_get(&r->page->c.uuids), 0);
    destroyed(r, 0xc1, 21 * MS);
    captured_until(r, 30 * MS);
    captured_until(r, 4 * SEC);
    finish(r, 5 * SEC);
    assert_int_equal(rig_count_files(r, "data"), 1);
    assert_true(has_file(r, 0xc1));
    rig_free(r);
}

/* The feed may have overrun, or there is none. */
static void timewait_names_what_has_no_better_name(void **state)
{
    enum { LATE, NO_FEED, AT_THE_END, CASES };
    (void)state;
    for (int at = LATE; at < CASES; at++) {
        struct rig *r = kernel_rig();
        r->config.kernel_destroy = at != NO_FEED;
        handshake(r, 0, 1);
        fins(r, 10);
        what_is_left_answers(0xc2, 20);
        captured_until(r, 30);
        captured_until(r, 40);
        assert_int_equal(counter_get(&r->page->c.uuids), at == NO_FEED);
        for (int64_t t = SEC; at == LATE && t <= 2 * SEC; t += 200 * MS)
            captured_until(r, t);
        assert_int_equal(counter_get(&r->page->c.uuids), at == NO_FEED);
        for (int64_t t = 2 * SEC; at == LATE && t <= 4 * SEC; t += 200 * MS)
            captured_until(r, t);
        assert_int_equal(counter_get(&r->page->c.uuids), at != AT_THE_END);
        rig_end(r, 4 * SEC + MS);
        assert_true(has_file(r, 0xc2));
        rig_check_balance(r);
        rig_free(r);
    }
}

/* More news than there is room for, while a shard catches up: the oldest is an answer, and goes. */
static void flow_whose_answer_was_dropped_is_asked_for_again(void **state)
{
    struct rig *r = kernel_rig();
    struct flowevent ev = {
        .kind = FLOWEVENT_OPEN, .has_id = true, .destroyed = true, .dport = 443, .seen = {RIG_T0 + 5 * MS}};
    (void)state;
    ev.key = rig_key(2);
    handshake(r, 0, 1);
    answers(0xa, 4 * MS, false);
    rig_run(r);
    assert_int_equal(kernel.asked, 1);
    for (unsigned i = 0; i < 65536; i++) {
        ev.cookie = 1000 + i;
        shard_event(r->shard, &ev, false);
    }
    answers(0xa, 20 * MS, false);
    captured_until(r, 15 * MS);
    assert_int_equal(kernel.asked, 2);
    captured_until(r, 30 * MS);
    assert_int_equal(counter_get(&r->page->c.uuids), 1);
    finish(r, SEC);
    assert_true(has_file(r, 0xa));
    rig_free(r);
}

/* An answer for a flow that has been followed by another connection of its tuple: the latter is asked for, too. */
static void answer_for_a_former_flow_leaves_the_next_its_question(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    answers(0xa, 3, false);
    captured_until(r, 10);
    destroyed(r, 0xa, 11);
    fins(r, 20);
    captured_until(r, 25);
    packet(r, 30, 70001, TCP_SYN, false);
    fins(r, 31);
    packet(r, 40, 140001, TCP_ACK, false); /* joins the second: no new SYN */
    captured_until(r, 50);
    packet(r, 20 * MS, 210001, TCP_SYN, false);
    answers(0xa, 21 * MS, false); /* of the socket that was */
    captured_until(r, 22 * MS);
    packet(r, 23 * MS, 950, TCP_SYN | TCP_ACK, true);
    packet(r, 24 * MS, 210002, TCP_ACK, false);
    answers(0xb, 25 * MS, false);
    captured_until(r, 26 * MS);
    finish(r, SEC);
    assert_true(has_file(r, 0xa) && has_file(r, 0xb));
    rig_free(r);
}

static void set_clock(struct rig *r, int64_t at, int64_t by)
{
    r->mono = RIG_T0 + at;
    rig_run(r);
    r->step += by;
    rig_run(r);
}

/* Back, forward, by much and by little: names come as if nothing had happened. */
static void clock_that_is_set_delays_no_name(void **state)
{
    static const int64_t steps[] = {-3600 * SEC, -SEC, -20 * MS, 20 * MS, SEC, 3600 * SEC};
    (void)state;
    for (unsigned i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct rig *r = kernel_rig();
        handshake(r, 0, 1);
        captured_until(r, 1 * MS);
        set_clock(r, 5 * MS, steps[i]);
        answers(0xa, 10 * MS, false);
        captured_until(r, 11 * MS); /* asked before the step, and again after it */
        captured_until(r, 12 * MS);
        assert_int_equal(counter_get(&r->page->c.uuids), 1);
        kernel.result = SC_ENOENT;
        fins(r, 20 * MS);
        handshake(r, 30 * MS, 70001); /* after the step */
        fins(r, 40 * MS);
        captured_until(r, 45 * MS);
        destroyed(r, 0xb, 46 * MS);
        captured_until(r, 50 * MS);
        assert_int_equal(counter_get(&r->page->c.uuids), 2);
        set_clock(r, 200 * MS, -steps[i]);
        handshake(r, 210 * MS, 140001);
        answers(0xc, 215 * MS, false);
        captured_until(r, 220 * MS);
        assert_int_equal(counter_get(&r->page->c.uuids), 3);
        kernel.result = SC_ENOENT;
        rig_end(r, SEC);
        assert_int_equal(rig_sum_drops(r), 0);
        assert_int_equal(rig_count_files(r, "data"), 3);
        rig_free(r);
    }
}

/* The clock is set while an answer waits: what begins after it was read is not meant, whatever time it carries. */
static void clock_that_is_set_gives_no_name_to_a_later_flow(void **state)
{
    static const int64_t steps[] = {-3600 * SEC, -SEC, SEC};
    (void)state;
    for (unsigned i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct rig *r = kernel_rig();
        handshake(r, 0, 1);
        r->mono = RIG_T0 + 20 * MS;
        answers(0xa, 20 * MS, true);
        rig_run(r);
        assert_int_equal(kernel.asked, 1);
        kernel.result = SC_ENOENT;
        fins(r, 25 * MS);
        set_clock(r, 30 * MS, steps[i]);
        handshake(r, 40 * MS, 70001);
        fins(r, 42 * MS);
        captured_until(r, 50 * MS);
        destroyed(r, 0xb, 51 * MS);
        captured_until(r, 60 * MS);
        finish(r, SEC);
        assert_true(has_file(r, 0xa));
        const struct rig_packet first[] = {
            {.flow = 1, .at = 0, .seq = 1, .flags = TCP_SYN},
            {.flow = 1, .at = 1, .seq = 900, .flags = TCP_SYN | TCP_ACK, .back = true},
            {.flow = 1, .at = 2, .seq = 2, .flags = TCP_ACK},
            {.flow = 1, .at = 25 * MS, .seq = 50, .flags = TCP_FIN | TCP_ACK},
            {.flow = 1, .at = 25 * MS + 1, .seq = 950, .flags = TCP_FIN | TCP_ACK, .back = true}};
        rig_check_file(r, RIG_DAY "/p_1_000000000000000A.pcap.gz", first, 5);
        assert_int_equal(rig_sum_drops(r), 0);
        rig_free(r);
    }
}

static void hub_is_told_resets_by_the_clock_that_nobody_sets(void **state)
{
    struct rig *r = kernel_rig();
    struct reset_note note[8];
    (void)state;
    handshake(r, 0, 1);
    set_clock(r, 10 * MS, -3600 * SEC);
    packet(r, 20 * MS, 950, TCP_RST, true);
    r->mono = RIG_T0 + 25 * MS;
    rig_run(r);
    assert_int_equal(notes(r, note), 1);
    assert_int_equal(note[0].at.ns, RIG_T0 + 20 * MS);
    finish(r, SEC);
    rig_free(r);
}

static void without_lookup_nobody_is_asked(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    rig_crash(r);
    r->ask = NULL;
    rig_start(r);
    handshake(r, 0, 1);
    fins(r, 5);
    captured_until(r, 10);
    destroyed(r, 0xa, 11);
    captured_until(r, 200 * MS);
    finish(r, SEC);
    assert_int_equal(kernel.asked, 0);
    assert_true(has_file(r, 0xa));
    rig_free(r);
}

/* kernel,hash: a SYN flood, or a scan that is answered, makes no files. */
static void hash_names_what_has_data_both_ways_after_the_wait(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    r->config.uuid_sources = UUID_SOURCE_KERNEL | UUID_SOURCE_HASH;
    handshake(r, 0, 1);
    struct rig_packet there = {.flow = 1, .at = 10, .seq = 2, .flags = TCP_ACK, .wire_len = 80};
    struct rig_packet back = {.flow = 1, .at = 11, .seq = 901, .flags = TCP_ACK, .wire_len = 80, .back = true};
    struct rig_packet syn = {.flow = 2, .at = 12, .seq = 1, .flags = TCP_SYN};
    struct rig_packet one_way = {.flow = 3, .at = 13, .seq = 1, .flags = TCP_ACK, .wire_len = 80};
    rig_send(r, &there);
    rig_send(r, &back);
    rig_send(r, &syn);
    rig_send(r, &one_way);
    captured_until(r, 4 * SEC);
    assert_int_equal(counter_get(&r->page->c.flows_unnamed), 3);
    captured_until(r, 6 * SEC);
    finish(r, 7 * SEC);
    assert_int_equal(rig_count_files(r, "data"), 1);
    assert_non_null(strstr(r->saved_path, "/hash_"));
    assert_int_equal(rig_sum_drops(r), 2);
    rig_free(r);
}

/* A connection that is quiet for longer than GC waits, and goes on. */
static void flow_that_comes_back_gets_its_name_again(void **state)
{
    struct rig *r = kernel_rig();
    (void)state;
    handshake(r, 0, 1);
    answers(0xa, 3, false);
    captured_until(r, 10);
    kernel.result = SC_ENOENT;
    captured_until(r, 95 * SEC);
    assert_int_equal(counter_get(&r->page->c.flows_live), 0);
    unsigned asked = kernel.asked;
    packet(r, 96 * SEC, 2, TCP_ACK, false);
    rig_run(r);
    assert_true(kernel.asked > asked); /* first it may be another's */
    assert_int_equal(counter_get(&r->page->c.flows_unnamed), 1);
    captured_until(r, 110 * SEC);
    assert_int_equal(counter_get(&r->page->c.flows_unnamed), 0);
    captured_until(r, 195 * SEC);
    packet(r, 196 * SEC, 3, TCP_ACK, false); /* and a second time */
    captured_until(r, 210 * SEC);
    assert_true(has_file(r, 0xa));
    assert_true(rig_exists(r, "data/" RIG_DAY "/p_1_000000000000000A.1.pcap.gz"));
    /* and a third and fourth time, gone by GC before the wait for another name is over */
    r->config.uuidwaitduration_ns = 150 * SEC;
    packet(r, 300 * SEC, 4, TCP_ACK, false);
    captured_until(r, 500 * SEC);
    packet(r, 501 * SEC, 5, TCP_ACK, false);
    finish(r, 502 * SEC);
    assert_true(rig_exists(r, "data/" RIG_DAY "/p_1_000000000000000A.2.pcap.gz"));
    assert_true(rig_exists(r, "data/" RIG_DAY "/p_1_000000000000000A.3.pcap.gz"));
    assert_true(rig_exists(r, "data/" RIG_DAY "/p_1_000000000000000A.4.pcap.gz"));
    assert_int_equal(rig_sum_drops(r), 0);
    rig_free(r);
}

/* Another connection of the tuple, whose begin was missed: the kernel knows better. */
static void answer_goes_before_the_name_it_had(void **state)
{
    (void)state;
    struct rig *r = kernel_rig();
    handshake(r, 0, 1);
    answers(0xa, 3, false);
    captured_until(r, 10);
    kernel.result = SC_ENOENT;
    captured_until(r, 95 * SEC);
    packet(r, 96 * SEC, 70001, TCP_ACK, false);
    answers(0xb, 96 * SEC, false);
    captured_until(r, 97 * SEC);
    finish(r, 98 * SEC);
    assert_true(has_file(r, 0xa));
    assert_true(has_file(r, 0xb));
    assert_int_equal(rig_sum_drops(r), 0);
    rig_free(r);
}

/* A new connection of the tuple is another flow, and so is what comes after an end. */
static void name_does_not_come_back_to_another_connection(void **state)
{
    (void)state;
    for (int ended = 0; ended < 2; ended++) {
        struct rig *r = kernel_rig();
        handshake(r, 0, 1);
        answers(0xa, 3, false);
        captured_until(r, 10);
        kernel.result = SC_ENOENT;
        if (ended)
            fins(r, 20);
        captured_until(r, 95 * SEC);
        if (!ended)
            packet(r, 96 * SEC, 70001, TCP_SYN, false);
        packet(r, 97 * SEC, 70002, TCP_ACK, false);
        finish(r, 98 * SEC);
        assert_int_equal(rig_count_files(r, "data"), 1);
        assert_int_equal(rig_sum_drops(r), ended ? 1 : 2);
        rig_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_when_the_handshake_is_complete),
        cmocka_unit_test(sleep_ends_when_the_next_question_is_due),
        cmocka_unit_test(asked_when_first_seen_in_mid_stream),
        cmocka_unit_test(asked_again_with_gaps_until_named),
        cmocka_unit_test(flood_of_streams_without_a_begin),
        cmocka_unit_test(never_asked_after_a_reset),
        cmocka_unit_test(answer_waits_for_the_packets_of_its_time),
        cmocka_unit_test(ended_flow_takes_the_answer_of_a_closing_socket_only),
        cmocka_unit_test(destroyed_socket_names_the_oldest_unnamed_that_has_ended),
        cmocka_unit_test(destroyed_before_its_end_was_seen_is_held),
        cmocka_unit_test(destroyed_without_a_flow_is_not_held),
        cmocka_unit_test(cookie_of_a_named_generation_names_no_other),
        cmocka_unit_test(end_of_the_capture_asks_once_more),
        cmocka_unit_test(successor_asks_for_what_waits),
        cmocka_unit_test(names_wait_for_the_prefix),
        cmocka_unit_test(without_a_prefix_there_is_no_file),
        cmocka_unit_test(given_prefix_stands),
        cmocka_unit_test(event_and_cookie_of_one_socket_make_one_file),
        cmocka_unit_test(foreign_cookie_keeps_nobody_from_a_name),
        cmocka_unit_test(event_that_names_nothing_takes_no_cookie),
        cmocka_unit_test(cookie_of_the_destroyed_socket_goes_before_that_of_timewait),
        cmocka_unit_test(timewait_names_what_has_no_better_name),
        cmocka_unit_test(flow_whose_answer_was_dropped_is_asked_for_again),
        cmocka_unit_test(answer_for_a_former_flow_leaves_the_next_its_question),
        cmocka_unit_test(clock_that_is_set_delays_no_name),
        cmocka_unit_test(clock_that_is_set_gives_no_name_to_a_later_flow),
        cmocka_unit_test(hub_is_told_resets_by_the_clock_that_nobody_sets),
        cmocka_unit_test(without_lookup_nobody_is_asked),
        cmocka_unit_test(hash_names_what_has_data_both_ways_after_the_wait),
        cmocka_unit_test(flow_that_comes_back_gets_its_name_again),
        cmocka_unit_test(answer_goes_before_the_name_it_had),
        cmocka_unit_test(name_does_not_come_back_to_another_connection),
        cmocka_unit_test(successor_gives_no_cookie_twice),
        cmocka_unit_test(hub_is_told_which_side_has_reset),
        cmocka_unit_test(hub_is_told_the_cookies_of_flows_that_were_reset),
        cmocka_unit_test(hub_is_told_what_is_consumed),
        cmocka_unit_test(end_waits_for_the_hub_if_a_nameless_flow_was_reset),
        cmocka_unit_test(successor_tells_again_who_was_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
