/* SPDX-License-Identifier: Apache-2.0
 * Packets in, files out: contents, generations, limits, names. */
#include "rig.h"
#include "shard/arena_map.h"

#define SEC NS_PER_SEC

static uint64_t drops(const struct rig *r, enum cause c)
{
    return counter_get(&r->page->c.drops[c]);
}

static struct rig *events_rig(void)
{
    struct rig *r = rig_new();
    r->config.uuid_sources = UUID_SOURCE_EVENTS;
    return r;
}

static void send_all(struct rig *r, const struct rig_packet *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rig_send(r, &p[i]);
}

static void one_flow_byte_for_byte(void **state)
{
    (void)state;
    const struct rig_packet p[] = {
        {.flow = 1, .at = 1, .flags = TCP_SYN, .wire_len = 74},
        {.flow = 1, .at = 2 * SEC + 5, .flags = TCP_SYN | TCP_ACK, .back = true},
        {.flow = 1, .at = 2 * SEC + 6, .flags = TCP_ACK, .wire_len = 1514, .caplen = 256},
        {.flow = 1, .at = 3 * SEC, .flags = TCP_ACK, .wire_len = 80},
    };
    struct rig *r = events_rig();
    rig_event_line(r, 1, "host_1_AB", 0);
    rig_start(r);
    send_all(r, p, 4);
    rig_run(r);
    rig_end(r, 4 * SEC);
    rig_check_file(r, RIG_DAY "/host_1_AB.pcap.gz", p, 4);
    rig_check_balance(r);
    assert_int_equal(rig_sum_drops(r), 0);
    assert_int_equal(counter_get(&r->page->c.files), 1);
    assert_int_equal(r->saved, 1);
    assert_string_equal(r->saved_path, RIG_DAY "/host_1_AB.pcap.gz");
    assert_int_equal(rig_count_files(r, "staging"), 0);
    struct stat st;
    assert_int_equal(fstatat(r->datadir, r->saved_path, &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(counter_get(&r->page->c.file_bytes), st.st_size);
    rig_free(r);
}

static void without_gzip(void **state)
{
    (void)state;
    const struct rig_packet p[] = {{.flow = 1, .at = 1}, {.flow = 1, .at = 2}};
    struct rig *r = events_rig();
    r->config.gzip = GZIP_NONE;
    rig_event_line(r, 1, "u", 0);
    rig_start(r);
    send_all(r, p, 2);
    rig_end(r, 4 * SEC);
    rig_check_file(r, RIG_DAY "/u.pcap", p, 2);
    rig_free(r);
}

static void generations_by_pause(void **state)
{
    (void)state;
    /* ticks of 30 s: 1700000000 is 20 s into one, so 10 s begins the next; 40 s the one after it */
    const struct rig_packet p[] = {
        {.flow = 1, .at = 0, .flags = TCP_ACK},
        {.flow = 1, .at = 39 * SEC, .flags = TCP_ACK}, /* one tick on: still the same, but past captureduration */
        {.flow = 1, .at = 100 * SEC, .flags = TCP_ACK},
    };
    struct rig *r = rig_new();
    rig_start(r);
    send_all(r, p, 3);
    rig_end(r, 100 * SEC);
    assert_int_equal(drops(r, CAUSE_CAPTURE_LIMIT), 1);
    assert_int_equal(counter_get(&r->page->c.published), 2);
    assert_int_equal(counter_get(&r->page->c.files), 2);
    assert_int_equal(counter_get(&r->page->c.flows_started), 2);
    rig_check_balance(r);
    rig_free(r);
}

/* After maxpackets, or once the next record would pass maxfilesize, the flow is complete: also for a successor. */
static void limits_of_a_flow(void **state)
{
    (void)state;
    struct rig_packet p[20];
    for (unsigned i = 0; i < 20; i++)
        p[i] = (struct rig_packet){.flow = 1, .at = i + 1, .flags = TCP_ACK, .seq = i};
    for (unsigned most = 1; most <= 20; most++) {
        for (int by_size = 0; by_size < 2; by_size++) {
            for (unsigned crash = 0; crash < 2; crash++) {
                struct rig *r = rig_new();
                r->config.uuid_sources = UUID_SOURCE_EVENTS;
                r->config.maxpackets = by_size ? 0 : most;
                r->config.maxfilesize = by_size ? 24 + 70 * most : 0; /* a record: 16 + 54 */
                rig_event_line(r, 1, "u", 0);
                rig_start(r);
                for (unsigned i = 0; i < 20; i++) {
                    rig_send(r, &p[i]);
                    rig_run(r);
                    if (crash) {
                        rig_crash(r);
                        rig_start(r);
                    }
                }
                rig_end(r, SEC);
                rig_check_file(r, RIG_DAY "/u.pcap.gz", p, most);
                assert_int_equal(drops(r, CAUSE_CAPTURE_LIMIT), 20 - most);
                assert_int_equal(rig_sum_drops(r), 20 - most);
                assert_int_equal(counter_get(&r->page->c.files), 1);
                rig_check_balance(r);
                rig_free(r);
            }
        }
    }
}

/* Hostile input 36. */
static void reuse_of_a_key(void **state)
{
    (void)state;
    const struct rig_packet p[] = {
        {.flow = 1, .at = 1, .flags = TCP_SYN, .seq = 100},
        {.flow = 1, .at = 2, .flags = TCP_SYN | TCP_ACK, .seq = 900, .back = true},
        {.flow = 1, .at = 3, .flags = TCP_FIN | TCP_ACK, .seq = 101},
        {.flow = 1, .at = 4, .flags = TCP_FIN | TCP_ACK, .seq = 901, .back = true},
        {.flow = 1, .at = 5, .flags = TCP_ACK, .seq = 102},
        {.flow = 1, .at = 6, .flags = TCP_SYN, .seq = 100}, /* an old duplicate: the same connection */
        {.flow = 1, .at = 7, .flags = TCP_SYN, .seq = 5000},
        {.flow = 1, .at = 8, .flags = TCP_RST, .seq = 5001},
        {.flow = 1, .at = 9, .flags = TCP_SYN, .seq = 7000},
    };
    struct rig *r = rig_new();
    rig_start(r);
    send_all(r, p, 9);
    rig_end(r, SEC);
    assert_int_equal(counter_get(&r->page->c.files), 3);
    assert_int_equal(rig_sum_drops(r), 0);
    rig_check_balance(r);
    rig_free(r);
}

static void no_new_generation_while_it_lives(void **state)
{
    (void)state;
    const struct rig_packet p[] = {
        {.flow = 1, .at = 1, .flags = TCP_SYN, .seq = 100},
        {.flow = 1, .at = 2, .flags = TCP_SYN, .seq = 5000}, /* no FIN, no RST was seen */
        {.flow = 1, .at = 3, .flags = TCP_FIN, .seq = 5000},
        {.flow = 1, .at = 4, .flags = TCP_SYN, .seq = 6000}, /* one FIN is not the end */
    };
    struct rig *r = rig_new();
    rig_start(r);
    send_all(r, p, 4);
    rig_end(r, SEC);
    assert_int_equal(counter_get(&r->page->c.files), 1);
    rig_free(r);
}

static void gc_by_ticks(void **state)
{
    (void)state;
    const struct rig_packet p[] = {{.flow = 1, .at = 0}, {.flow = 2, .at = 1}};
    struct rig *r = rig_new();
    r->config.captureduration_ns = 1000 * SEC;
    rig_start(r);
    send_all(r, p, 2);
    rig_mark(r, RING_TICK, 39 * SEC);
    rig_run(r);
    assert_int_equal(counter_get(&r->page->c.files), 0);
    assert_int_equal(counter_get(&r->page->c.flows_live), 2);
    rig_mark(r, RING_TICK, 40 * SEC);
    rig_run(r);
    assert_int_equal(counter_get(&r->page->c.files), 2);
    assert_int_equal(counter_get(&r->page->c.flows_live), 0);
    assert_int_equal(counter_get(&r->page->c.savers_collected), 2);
    assert_int_equal(counter_get(&r->page->c.gc_latency_count), 2);
    assert_int_equal(counter_get(&r->page->c.saver_stops), 2);
    rig_end(r, 41 * SEC);
    rig_check_balance(r);
    rig_free(r);
}

static void capture_duration(void **state)
{
    (void)state;
    const struct rig_packet p[] = {
        {.flow = 1, .at = 0},           {.flow = 1, .at = 2 * SEC}, {.flow = 1, .at = 3 * SEC},
        {.flow = 1, .at = 3 * SEC + 1}, {.flow = 1, .at = 4 * SEC},
    };
    struct rig *r = events_rig();
    r->config.captureduration_ns = 3 * SEC;
    r->config.uuidwaitduration_ns = SEC;
    rig_event_line(r, 1, "u", 0);
    rig_start(r);
    send_all(r, p, 5);
    rig_run(r);
    assert_int_equal(counter_get(&r->page->c.files), 1); /* at once, not at the end */
    assert_int_equal(counter_get(&r->page->c.saver_states[SAVER_DISCARDINGPACKETS]), 1);
    rig_end(r, 4 * SEC);
    rig_check_file(r, RIG_DAY "/u.pcap.gz", p, 3);
    assert_int_equal(drops(r, CAUSE_CAPTURE_LIMIT), 2);
    rig_check_balance(r);
    rig_free(r);
}

static void wait_for_a_uuid_ends(void **state)
{
    (void)state;
    struct rig *r = events_rig();
    rig_start(r);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 5 * SEC});
    rig_run(r);
    assert_int_equal(counter_get(&r->page->c.flows_unnamed), 1);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 5 * SEC + 1});
    rig_run(r);
    assert_int_equal(drops(r, CAUSE_NO_UUID), 3);
    assert_int_equal(counter_get(&r->page->c.saver_states[SAVER_UUIDTIMEDOUT_ERROR]), 1);
    assert_int_equal(counter_get(&r->page->c.missed_packets[SAVER_UUIDTIMEDOUT_ERROR]), 3);
    assert_int_equal(counter_get(&r->page->c.saver_errors[SAVER_UUIDTIMEDOUT_ERROR - SAVER_ERROR_FIRST]), 1);
    rig_event(r, 1, "late", 20231114);
    assert_int_equal(counter_get(&r->page->c.missed_uuids[SAVER_UUIDTIMEDOUT_ERROR]), 1);
    rig_send(r, &(struct rig_packet){.flow = 2, .at = 6 * SEC});
    rig_end(r, 6 * SEC);
    assert_int_equal(drops(r, CAUSE_NO_UUID), 4);
    assert_int_equal(counter_get(&r->page->c.missed_packets[SAVER_UUIDCHANCLOSED_ERROR]), 1);
    rig_check_balance(r);
    rig_free(r);
}

/* Hostile input 37. */
static void events_before_and_after(void **state)
{
    (void)state;
    struct rig *r = events_rig();
    rig_start(r);
    rig_event(r, 1, "before", 20231114);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
    rig_send(r, &(struct rig_packet){.flow = 2, .at = 0});
    rig_run(r);
    rig_event(r, 2, "after", 20231115);
    rig_event(r, 2, "after", 20231115); /* told again: nothing */
    rig_event(r, 2, "second", 20231115);
    assert_int_equal(counter_get(&r->page->c.missed_uuids[SAVER_UUIDFOUND]), 1);
    assert_int_equal(counter_get(&r->page->c.uuids), 4);
    rig_end(r, 1);
    assert_true(rig_exists(r, "data/" RIG_DAY "/before.pcap.gz"));
    assert_true(rig_exists(r, "data/2023/11/15/after.pcap.gz"));
    assert_int_equal(counter_get(&r->page->c.files), 2);
    rig_check_balance(r);
    rig_free(r);
}

static void second_uuid_after_the_end_waits(void **state)
{
    (void)state;
    struct rig *r = events_rig();
    rig_start(r);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0, .flags = TCP_SYN, .seq = 1});
    rig_run(r);
    rig_event(r, 1, "first", 20231114);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 1, .flags = TCP_RST});
    rig_run(r);
    rig_event(r, 1, "second", 20231114);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 2, .flags = TCP_SYN, .seq = 9});
    rig_end(r, 3);
    assert_true(rig_exists(r, "data/" RIG_DAY "/first.pcap.gz"));
    assert_true(rig_exists(r, "data/" RIG_DAY "/second.pcap.gz"));
    rig_check_balance(r);
    rig_free(r);
}

/* Hostile input 39: directory by the event. */
static void dates_of_events(void **state)
{
    (void)state;
    struct rig *r = events_rig();
    rig_start(r);
    rig_event(r, 1, "far", 20200101);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
    rig_end(r, 1);
    assert_true(rig_exists(r, "data/" RIG_DAY "/far.pcap.gz"));
    assert_int_equal(counter_get(&r->page->c.date_replaced), 1);
    rig_free(r);
}

static void file_events_take_effect_by_packet_time(void **state)
{
    (void)state;
    struct rig *r = events_rig();
    r->config.captureduration_ns = 1000 * SEC;
    rig_event_line(r, 3, "too_late", 12 * SEC);        /* due at 7 s: flow 3 (0 s) has waited in vain by then */
    rig_event_line(r, 2, "late", 9 * SEC + 900000000); /* due at 4.9 s */
    rig_event_line(r, 1, "early", -4 * SEC);
    rig_event_line(r, 4, "never_comes", 0);
    rig_start(r);
    for (uint16_t flow = 1; flow <= 3; flow++)
        rig_send(r, &(struct rig_packet){.flow = flow, .at = 0});
    rig_mark(r, RING_TICK, 29 * SEC); /* all deadlines in one go: each as of its own time */
    rig_run(r);
    rig_end(r, 29 * SEC);
    assert_true(rig_exists(r, "data/" RIG_DAY "/early.pcap.gz"));
    assert_true(rig_exists(r, "data/" RIG_DAY "/late.pcap.gz"));
    assert_int_equal(counter_get(&r->page->c.files), 2);
    assert_int_equal(drops(r, CAUSE_NO_UUID), 1);
    rig_check_balance(r);
    rig_free(r);
}

static void a_uuid_told_again_for_a_flow_that_comes_back(void **state)
{
    (void)state;
    struct rig *r = events_rig();
    r->config.flowtimeout_ns = 5 * SEC;
    rig_event_line(r, 1, "u", 0);
    rig_event_line(r, 1, "u", 12 * SEC); /* due at 7 s, when the first still lives */
    rig_event_line(r, 1, "u", 100 * SEC);
    rig_event_line(r, 2, "v", -86400 * SEC); /* told long before the capture: told at its beginning */
    rig_event_line(r, 3, "w", -86400 * SEC);
    rig_start(r);
    rig_mark(r, RING_TICK, 0);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
    rig_send(r, &(struct rig_packet){.flow = 2, .at = 4 * SEC});
    rig_send(r, &(struct rig_packet){.flow = 3, .at = 6 * SEC}); /* too late for it */
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 16 * SEC, .flags = TCP_ACK});
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 17 * SEC, .flags = TCP_RST});
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 100 * SEC, .flags = TCP_ACK});
    rig_end(r, 100 * SEC);
    assert_true(rig_exists(r, "data/" RIG_DAY "/u.pcap.gz"));
    assert_true(rig_exists(r, "data/" RIG_DAY "/u.1.pcap.gz"));
    assert_true(rig_exists(r, "data/" RIG_DAY "/u.2.pcap.gz"));
    assert_true(rig_exists(r, "data/2023/11/13/v.pcap.gz"));
    assert_int_equal(counter_get(&r->page->c.files), 4);
    assert_int_equal(drops(r, CAUSE_NO_UUID), 1);
    rig_check_balance(r);
    rig_free(r);
}

/* Hostile input 37. */
/* The name of a flow that went quiet is for what goes on within two hours, and only if nobody tells another. */
static void names_of_quiet_flows_end(void **state)
{
    (void)state;
    const struct {
        int64_t pause;
        const char *told, *file;
    } cases[] = {
        {110 * 60 * SEC, NULL, RIG_DAY "/alice.1.pcap.gz"},
        {110 * 60 * SEC, "bob", "2023/11/15/bob.pcap.gz"},
        {130 * 60 * SEC, NULL, NULL},
        {30 * 86400 * SEC, "bob", "2023/12/14/bob.pcap.gz"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig *r = rig_new();
        r->config.savefile_count = 0;
        r->config.uuid_sources = UUID_SOURCE_EVENTSOCKET;
        r->mono = RIG_T0;
        rig_start(r);
        rig_send(r, &(struct rig_packet){.flow = 1, .flags = TCP_ACK});
        rig_run(r);
        rig_event(r, 1, "alice", 20231114);
        int64_t at = 0;
        for (unsigned k = 0; k < 3; k++) {
            at = k < 2 ? 60 * SEC * (k + 1) : cases[i].pause;
            r->mono = RIG_T0 + at;
            rig_mark(r, RING_TICK, at);
            rig_run(r);
        }
        assert_true(rig_exists(r, "data/" RIG_DAY "/alice.pcap.gz"));
        rig_send(r, &(struct rig_packet){.flow = 1, .at = at, .flags = TCP_ACK, .seq = 99});
        rig_run(r);
        if (cases[i].told)
            rig_event(r, 1, cases[i].told, i == 1 ? 20231115 : 20231214);
        rig_mark(r, RING_TICK, at + 10 * SEC);
        rig_run(r);
        rig_end(r, at + 10 * SEC);
        assert_int_equal(rig_count_files(r, "data"), cases[i].file ? 2 : 1);
        assert_string_equal(r->saved_path, cases[i].file ? cases[i].file : RIG_DAY "/alice.pcap.gz");
        assert_int_equal(drops(r, CAUSE_NO_UUID), cases[i].file ? 0 : 1);
        rig_check_balance(r);
        rig_free(r);
    }
}

static void same_uuid_gets_suffixes(void **state)
{
    (void)state;
    struct rig *r = events_rig();
    rig_start(r);
    for (uint16_t flow = 1; flow <= 3; flow++) {
        rig_event(r, flow, "u.x", 20231114);
        rig_send(r, &(struct rig_packet){.flow = flow, .at = 0});
        rig_run(r);
    }
    rig_end(r, 1);
    assert_true(rig_exists(r, "data/" RIG_DAY "/u.x.pcap.gz"));
    assert_true(rig_exists(r, "data/" RIG_DAY "/u.x.1.pcap.gz"));
    assert_true(rig_exists(r, "data/" RIG_DAY "/u.x.2.pcap.gz"));
    assert_int_equal(counter_get(&r->page->c.suffixed), 2);
    rig_free(r);
}

static void hash_names_hide_masked_bits(void **state)
{
    (void)state;
    char names[2][256];
    for (int i = 0; i < 2; i++) {
        struct rig *r = rig_new();
        r->config.anonymizer.mode = ANONYMIZE_NETBLOCK;
        rig_start(r);
        /* 10.1.0.5:1029 and its header; only the last byte of the address differs in the second round */
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(5 + i * 60000), .at = 0});
        rig_end(r, 1);
        assert_int_equal(r->saved, 1);
        snprintf(names[i], sizeof(names[i]), "%s", r->saved_path);
        size_t len;
        uint8_t *bytes = rig_read(r, r->saved_path, &len);
        assert_int_equal(len, 24 + 16 + 54);
        assert_int_equal(bytes[24 + 16 + 29], 0);
        assert_int_equal(bytes[24 + 16 + 33], 0);
        assert_int_equal(bytes[24 + 16 + 50], 0); /* the TCP checksum */
        free(bytes);
        rig_free(r);
    }
    assert_non_null(strstr(names[0], "/hash_"));
    assert_string_not_equal(names[0], names[1]); /* 10.1.0.x and 10.1.234.x are different blocks */
}

static void addresses_are_exempt(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->config.anonymizer.mode = ANONYMIZE_NETBLOCK;
    rig_start(r);
    struct ring_record *rec = ring_reserve(&r->producer, sizeof(struct ring_address));
    struct ring_address a = {.len = 4, .bytes = {192, 0, 2, 77}};
    rec->kind = RING_ADDRESSES;
    rec->hdr_len = sizeof(a);
    memcpy(rec + 1, &a, sizeof(a));
    rig_commit(r, 0);
    rig_run(r);
    rig_crash(r);
    rig_start(r); /* they outlive the process */
    rig_send(r, &(struct rig_packet){.flow = 5, .at = 0});
    rig_end(r, 1);
    size_t len;
    uint8_t *bytes = rig_read(r, r->saved_path, &len);
    assert_int_equal(bytes[24 + 16 + 29], 0);
    assert_int_equal(bytes[24 + 16 + 33], 77);
    free(bytes);
    rig_free(r);
}

static void linktype_change(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_start(r);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 1, .linktype = 113});
    rig_end(r, 1);
    assert_int_equal(drops(r, CAUSE_LINKTYPE_CHANGED), 1);
    rig_check_balance(r);
    rig_free(r);
}

/* Hostile input 29. */
static void odd_times(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_start(r);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = -RIG_T0 - 1}); /* 1 ns before 1970 */
    rig_end(r, 0);
    size_t len;
    uint8_t *bytes = rig_read(r, r->saved_path, &len), want[8];
    rig_put32(want, UINT32_MAX);
    rig_put32(want + 4, 999999999);
    assert_memory_equal(bytes + 24, want, 8);
    assert_memory_equal(r->saved_path, "1969/12/31/", 11);
    free(bytes);
    rig_free(r);
}

static void maxflows(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->config.maxflows = 2;
    rig_start(r);
    for (uint16_t flow = 1; flow <= 4; flow++)
        rig_send(r, &(struct rig_packet){.flow = flow, .at = flow, .flags = TCP_ACK});
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 9, .flags = TCP_ACK});
    rig_run(r);
    assert_int_equal(counter_get(&r->page->c.flows_counted), 2);
    rig_end(r, 10);
    assert_int_equal(drops(r, CAUSE_MAXFLOWS), 2);
    assert_int_equal(counter_get(&r->page->c.ignored), 2);
    rig_check_balance(r);
    rig_free(r);
}

static void bad_records(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_start(r);
    struct ring_record *rec = ring_reserve(&r->producer, 54);
    rec->kind = RING_PACKET; /* offsets that do not lie in the header */
    rec->hdr_len = 54;
    rig_commit(r, 0);
    r->sent++;
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
    rig_run(r);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 1});
    rig_end(r, 1);
    assert_int_equal(drops(r, CAUSE_BAD_RECORD), 2); /* the bad one, and what was published with it */
    rig_check_balance(r);
    rig_free(r);
}

/* Its room in the ring is given back although there was no packet in it, and a successor does not look at it again. */
static void a_bad_record_without_a_packet(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_start(r);
    struct ring_record *rec = ring_reserve(&r->producer, 0);
    rec->kind = RING_TICK;
    rec->zero[0] = 1;
    rig_commit(r, 0);
    rig_run(r);
    assert_int_equal(atomic_load(&r->page->ring.cons), r->producer.prod);
    rec->zero[0] = 0;
    rec->kind = RING_END;
    rig_crash(r);
    rig_start(r);
    assert_int_equal(rig_run(r), SHARD_IDLE);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
    rig_end(r, 1);
    assert_int_equal(rig_sum_drops(r), 0);
    rig_check_balance(r);
    rig_free(r);
}

static void no_room(void **state)
{
    (void)state;
    struct rig *r = events_rig();
    r->budget = ARENA_MIN_BUDGET;
    r->config.uuidwaitduration_ns = 20 * SEC;
    rig_start(r);
    for (unsigned i = 0; i < 6000; i++) {
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)i, .at = i});
        rig_run(r);
    }
    assert_true(counter_get(&r->page->c.budget_used) <= counter_get(&r->page->c.budget_limit));
    assert_true(drops(r, CAUSE_BUDGET) > 1000);
    assert_int_equal(counter_get(&r->page->c.saver_skipped), drops(r, CAUSE_BUDGET));
    rig_end(r, SEC);
    rig_check_balance(r);
    rig_free(r);
}

/* The first to go are half-open flows, oldest first; the named one keeps all its packets. */
static void half_open_flows_give_way(void **state)
{
    (void)state;
    static struct rig_packet mine[500];
    struct rig *r = events_rig();
    r->budget = ARENA_MIN_BUDGET;
    r->config.uuidwaitduration_ns = 20 * SEC;
    rig_event_line(r, 9999, "mine", 0);
    rig_start(r);
    for (unsigned i = 0; i < 10000; i++) {
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(i % 9000), .at = i, .flags = TCP_SYN, .seq = i});
        if (i % 20 == 0) {
            mine[i / 20] =
                (struct rig_packet){.flow = 9999, .at = i, .flags = TCP_ACK, .wire_len = 900, .seq = i * 9999};
            rig_send(r, &mine[i / 20]);
        }
        rig_run(r);
    }
    assert_int_equal(rig_sum_drops(r), drops(r, CAUSE_HALFOPEN_EVICTED));
    assert_true(rig_sum_drops(r) > 4000);
    rig_end(r, SEC);
    rig_check_file(r, RIG_DAY "/mine.pcap.gz", mine, 500);
    assert_int_equal(drops(r, CAUSE_BUDGET), 0);
    rig_check_balance(r);
    rig_free(r);
}

static void pressure_seals_early(void **state)
{
    (void)state;
    struct rig *r = events_rig();
    r->budget = ARENA_MIN_BUDGET;
    r->config.uuidwaitduration_ns = 20 * SEC;
    rig_start(r);
    /* 250 flows of 3.9 KiB raw each do not fit; sealed they do */
    for (unsigned i = 0; i < 250 * 35; i++) {
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(i % 250), .at = i, .wire_len = 1400});
        if (i % 100 == 0)
            rig_run(r);
    }
    rig_run(r);
    assert_int_equal(rig_sum_drops(r), 0);
    rig_free(r);
}

/* The same input buffered and streamed gives the same bytes. */
static void stream_equals_buffered(void **state)
{
    (void)state;
    static struct rig_packet p[3000];
    for (unsigned i = 0; i < 3000; i++)
        p[i] = (struct rig_packet){.flow = 7, .at = i * 1000, .seq = i * 77777, .wire_len = 60 + i % 1400};
    for (int mode = 0; mode < 4; mode++) {
        struct rig *r = events_rig();
        r->config.stream = mode & 1;
        r->config.gzip = mode & 2 ? GZIP_NONE : GZIP_ZLIB;
        rig_event_line(r, 7, "u", 0);
        rig_start(r);
        for (unsigned i = 0; i < 3000; i++) {
            rig_send(r, &p[i]);
            if (i % 50 == 0)
                rig_run(r);
            if (i == 2999 && r->config.stream)
                assert_int_equal(counter_get(&r->page->c.saver_states[SAVER_STREAMING]), 1);
        }
        rig_end(r, SEC);
        rig_check_file(r, mode & 2 ? RIG_DAY "/u.pcap" : RIG_DAY "/u.pcap.gz", p, 3000);
        assert_int_equal(rig_count_files(r, "staging"), 0);
        rig_check_balance(r);
        rig_free(r);
    }
}

/* Whatever its length: of one of whole blocks nothing is left to be written at the end. */
static void streamed_without_gzip_at_every_length(void **state)
{
    (void)state;
    static struct rig_packet p[58];
    for (uint32_t wire_len = 60; wire_len < 72; wire_len++) { /* 24 + 57 * 70 + 16 + 66 = 16 * 256 */
        struct rig *r = events_rig();
        r->config.stream = true;
        r->config.gzip = GZIP_NONE;
        rig_event_line(r, 7, "u", 0);
        rig_start(r);
        for (unsigned i = 0; i < 58; i++) {
            p[i] = (struct rig_packet){.flow = 7, .at = i * 1000, .seq = i, .wire_len = i < 57 ? 54 : wire_len};
            rig_send(r, &p[i]);
            rig_run(r);
        }
        rig_end(r, SEC);
        rig_check_file(r, RIG_DAY "/u.pcap", p, 58);
        assert_int_equal(counter_get(&r->page->c.file_errors), 0);
        rig_check_balance(r);
        rig_free(r);
    }
}

static void group_commit(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->config.syncinterval_ns = SEC;
    r->config.captureduration_ns = 5 * SEC;
    rig_start(r);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
    rig_mark(r, RING_TICK, 6 * SEC);
    rig_run(r);
    assert_int_equal(rig_count_files(r, "data"), 0);
    assert_int_equal(rig_count_files(r, "staging"), 1);
    r->mono += SEC;
    rig_run(r);
    assert_int_equal(rig_count_files(r, "data"), 1);
    assert_int_equal(rig_count_files(r, "staging"), 0);
    rig_end(r, 7 * SEC);
    rig_free(r);
}

/* Somebody cleans up in staging: what is still in memory is written again. */
static void a_staged_file_that_is_removed(void **state)
{
    (void)state;
    for (int crash = 0; crash < 2; crash++) {
        char cmd[256];
        struct rig *r = rig_new();
        r->config.syncinterval_ns = SEC;
        r->config.captureduration_ns = 5 * SEC;
        rig_start(r);
        rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
        rig_mark(r, RING_TICK, 6 * SEC);
        rig_run(r);
        assert_int_equal(rig_count_files(r, "staging"), 1);
        snprintf(cmd, sizeof(cmd), "rm %s/staging/*", r->root);
        assert_int_equal(system(cmd), 0);
        if (crash) { /* then it may have been published */
            rig_crash(r);
            rig_start(r);
        }
        for (unsigned i = 0; i < 4; i++) {
            r->mono += SEC;
            rig_run(r);
        }
        assert_int_equal(counter_get(&r->page->c.published), 1);
        assert_int_equal(rig_count_files(r, "data"), !crash);
        rig_end(r, 7 * SEC);
        rig_check_balance(r);
        rig_free(r);
    }
}

static void stop_without_an_end_record(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_start(r);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
    shard_stop(r->shard);
    assert_int_equal(rig_run(r), SHARD_DONE);
    assert_int_equal(rig_count_files(r, "data"), 1);
    rig_check_balance(r);
    rig_free(r);
}

static void live_waits_for_the_replay(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->config.savefile_count = 0;
    r->config.uuid_sources = UUID_SOURCE_EVENTSOCKET;
    r->hold = true;
    rig_start(r);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
    rig_send(r, &(struct rig_packet){.flow = 2, .at = 0});
    r->mono = RIG_T0 + 20 * SEC;
    rig_mark(r, RING_TICK, 20 * SEC);
    rig_run(r);
    assert_int_equal(rig_sum_drops(r), 0);
    rig_event(r, 1, "u", 20231114);
    shard_events_complete(r->shard);
    rig_run(r);
    assert_int_equal(drops(r, CAUSE_NO_UUID), 1);
    assert_true(rig_exists(r, "data/" RIG_DAY)); /* today's and tomorrow's are there */
    assert_true(rig_exists(r, "data/2023/11/15"));
    rig_end(r, 21 * SEC);
    assert_true(rig_exists(r, "data/" RIG_DAY "/u.pcap.gz"));
    rig_check_balance(r);
    rig_free(r);
}

/* A record, or a word of the arena, with a time far ahead: flows end when their own time has come all the same. */
static void a_clock_far_ahead(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->config.savefile_count = 0;
    r->config.uuid_sources = UUID_SOURCE_HASH;
    r->config.syncinterval_ns = 0;
    r->mono = RIG_T0;
    rig_start(r);
    for (unsigned damage = 0; damage < 3; damage++) {
        uint64_t files = counter_get(&r->page->c.files);
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(2 * damage), .at = r->mono - RIG_T0});
        rig_run(r);
        if (damage == 1) {
            rig_mark(r, RING_TICK, INT64_C(1) << 62);
            rig_run(r);
        } else if (damage == 2) {
            rig_crash(r);
            struct arena_head *h = r->arena_map;
            h->state.clock_ns = h->redo.next.clock_ns = INT64_MAX;
            rig_start(r);
        }
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(2 * damage + 1), .at = r->mono - RIG_T0});
        rig_run(r);
        for (unsigned i = 0; i < 40; i++) {
            r->mono += 10 * SEC;
            rig_mark(r, RING_TICK, r->mono - RIG_T0);
            rig_run(r);
        }
        assert_int_equal(counter_get(&r->page->c.files) - files, 2);
    }
    rig_end(r, r->mono - RIG_T0);
    rig_check_balance(r);
    rig_free(r);
}

/* A dispatcher that is killed behind its RING_END has a successor: what that one writes is taken, and its end is the
 * end, whether the records come in one batch, after the shard has begun to finish, or to another process. */
static void records_behind_an_end(void **state)
{
    (void)state;
    for (unsigned when = 0; when < 3; when++) {
        struct rig *r = rig_new();
        r->config.savefile_count = 0;
        r->config.uuid_sources = UUID_SOURCE_EVENTSOCKET;
        rig_start(r);
        rig_send(r, &(struct rig_packet){.flow = 1, .at = 0});
        rig_run(r);
        rig_event(r, 1, "first", 20231114);
        rig_mark(r, RING_END, 10);
        if (when == 1)
            rig_run(r);
        rig_mark(r, RING_TICK, 20);
        rig_send(r, &(struct rig_packet){.flow = 2, .at = 21});
        if (when == 2) {
            rig_run(r);
            rig_crash(r);
            rig_start(r);
        }
        rig_run(r);
        rig_event(r, 2, "second", 20231114);
        rig_end(r, 22);
        assert_int_equal(rig_sum_drops(r), 0);
        assert_true(rig_exists(r, "data/" RIG_DAY "/first.pcap.gz"));
        assert_true(rig_exists(r, "data/" RIG_DAY "/second.pcap.gz"));
        rig_check_balance(r);
        rig_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_flow_byte_for_byte),
        cmocka_unit_test(without_gzip),
        cmocka_unit_test(generations_by_pause),
        cmocka_unit_test(limits_of_a_flow),
        cmocka_unit_test(reuse_of_a_key),
        cmocka_unit_test(no_new_generation_while_it_lives),
        cmocka_unit_test(gc_by_ticks),
        cmocka_unit_test(capture_duration),
        cmocka_unit_test(wait_for_a_uuid_ends),
        cmocka_unit_test(events_before_and_after),
        cmocka_unit_test(second_uuid_after_the_end_waits),
        cmocka_unit_test(dates_of_events),
        cmocka_unit_test(file_events_take_effect_by_packet_time),
        cmocka_unit_test(a_uuid_told_again_for_a_flow_that_comes_back),
        cmocka_unit_test(names_of_quiet_flows_end),
        cmocka_unit_test(same_uuid_gets_suffixes),
        cmocka_unit_test(hash_names_hide_masked_bits),
        cmocka_unit_test(addresses_are_exempt),
        cmocka_unit_test(linktype_change),
        cmocka_unit_test(odd_times),
        cmocka_unit_test(maxflows),
        cmocka_unit_test(bad_records),
        cmocka_unit_test(a_bad_record_without_a_packet),
        cmocka_unit_test(no_room),
        cmocka_unit_test(half_open_flows_give_way),
        cmocka_unit_test(pressure_seals_early),
        cmocka_unit_test(stream_equals_buffered),
        cmocka_unit_test(streamed_without_gzip_at_every_length),
        cmocka_unit_test(group_commit),
        cmocka_unit_test(a_staged_file_that_is_removed),
        cmocka_unit_test(stop_without_an_end_record),
        cmocka_unit_test(a_clock_far_ahead),
        cmocka_unit_test(records_behind_an_end),
        cmocka_unit_test(live_waits_for_the_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
