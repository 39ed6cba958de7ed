/* SPDX-License-Identifier: Apache-2.0
 * Memory full to the brim, in every way there is to fill it: what was taken in is published all the same, at once,
 * after a restart of the shard, and at the end. */
#include "rig.h"

#define SEC NS_PER_SEC

struct full {
    struct rig *r;
    int64_t at;
    uint64_t x;
};

static uint64_t draw(struct full *f)
{
    f->x ^= f->x << 13;
    f->x ^= f->x >> 7;
    f->x ^= f->x << 17;
    return f->x;
}

static uint64_t dropped(const struct full *f)
{
    return counter_get(&f->r->page->c.drops[CAUSE_BUDGET]);
}

/* Live, named by events. */
static struct full begin(enum gzip_mode gzip)
{
    struct full f = {.r = rig_new(), .x = 88172645463325252u};
    f.r->config.savefile_count = 0;
    f.r->config.uuid_sources = UUID_SOURCE_EVENTSOCKET;
    f.r->config.gzip = gzip;
    f.r->config.syncinterval_ns = 0;
    f.r->config.captureduration_ns = 3600 * SEC;
    f.r->mono = RIG_T0;
    rig_start(f.r);
    return f;
}

static void packet(struct full *f, uint16_t flow)
{
    rig_send(f->r, &(struct rig_packet){.flow = flow, .at = f->at, .seq = (uint32_t)draw(f), .flags = TCP_ACK});
    f->at += 1000;
}

/* With 40 bytes of options, and nothing in it that can be compressed but the addresses. */
static void noise(struct full *f, uint16_t flow)
{
    const struct rig_packet p = {.flow = flow, .at = f->at, .seq = (uint32_t)draw(f), .flags = TCP_ACK, .wire_len = 94};
    struct ring_record *rec = ring_reserve(&f->r->producer, 94);
    struct flowkey key = rig_key(flow);
    assert_non_null(rec);
    rec->kind = RING_PACKET;
    rec->linktype = 1;
    rec->wire_len = rec->caplen = rec->hdr_len = 94;
    rec->l3_off = 14;
    rec->l4_off = 34;
    rec->tcp_flags = TCP_ACK;
    rec->ts_ns = rec->clock_ns = RIG_T0 + f->at;
    rec->flow_hash = flowkey_hash(&key, &f->r->config.hash_key);
    rec->tcp_seq = p.seq;
    uint8_t *h = (uint8_t *)(rec + 1);
    rig_header(h, &p);
    h[46] = 0xf0;
    for (unsigned i = 0; i < 40; i++)
        h[54 + i] = (uint8_t)draw(f);
    for (unsigned i = 42; i < 52; i++)
        h[i] = i == 46 || i == 47 ? h[i] : (uint8_t)draw(f);
    rig_commit(f->r, f->at);
    f->at += 1000 + (int64_t)(draw(f) % 100000);
    f->r->sent++;
}

static void name(struct full *f, uint16_t flow)
{
    char uuid[20];
    snprintf(uuid, sizeof(uuid), "u%u", flow);
    rig_event(f->r, flow, uuid, 20231114);
}

static void later(struct full *f, int64_t ns)
{
    f->at += ns;
    f->r->mono += ns;
    rig_mark(f->r, RING_TICK, f->at);
    rig_run(f->r);
    f->r->mono += 2 * SEC; /* whatever waits for a retry */
    rig_run(f->r);
}

/* Everybody has gone quiet: all that was taken in is published, now and of new flows, after a restart, and at the end.
 */
static void is_well(struct full *f)
{
    const struct shard_counters *c = &f->r->page->c;
    for (unsigned i = 0; i < 3; i++)
        later(f, 60 * SEC);
    assert_int_equal(counter_get(&c->flows_live), 0);
    assert_int_equal(counter_get(&c->published) + rig_sum_drops(f->r), f->r->sent);
    assert_int_equal(counter_get(&c->budget_used), 0);
    for (unsigned restarted = 0; restarted < 2; restarted++) {
        uint64_t lost = rig_sum_drops(f->r), files = counter_get(&c->files);
        for (uint16_t i = 0; i < 5; i++) {
            uint16_t flow = (uint16_t)(50000 + 10 * restarted + i);
            packet(f, flow);
            rig_run(f->r);
            name(f, flow);
        }
        later(f, 60 * SEC);
        later(f, 60 * SEC);
        assert_int_equal(rig_sum_drops(f->r), lost);
        assert_int_equal(counter_get(&c->files), files + 5);
        rig_crash(f->r);
        rig_start(f->r);
        shard_events_complete(f->r->shard);
    }
    rig_end(f->r, f->at);
    rig_check_balance(f->r);
    rig_free(f->r);
}

/* The same, but the end comes, or the shard dies and then it comes, while memory is full. */
static void ends_well(struct full *f, bool dies)
{
    if (dies) {
        rig_crash(f->r);
        rig_start(f->r);
        shard_events_complete(f->r->shard);
    }
    uint64_t lost = rig_sum_drops(f->r);
    rig_end(f->r, f->at);
    assert_int_equal(rig_sum_drops(f->r), lost);
    rig_check_balance(f->r);
    rig_free(f->r);
}

/* Each name takes a block: more of them come at once than the reserve has. */
static struct full full_of_names(void)
{
    struct full f = begin(GZIP_ZLIB);
    const uint16_t flows = ARENA_RESERVE + 100;
    for (unsigned round = 0; dropped(&f) < 200; round++) {
        for (uint16_t i = 0; i < flows; i++) {
            packet(&f, round < 3 ? i : (uint16_t)(draw(&f) % flows));
            if (i % 100 == 0)
                rig_run(f.r);
        }
        rig_run(f.r);
    }
    assert_int_equal(counter_get(&f.r->page->c.flows_unnamed), flows);
    uint64_t before = dropped(&f);
    for (uint16_t i = 0; i < flows; i++)
        name(&f, i);
    rig_run(f.r);
    /* some flows went for the names of the others; all of these have theirs */
    uint64_t named = counter_get(&f.r->page->c.flows_live);
    assert_int_equal(counter_get(&f.r->page->c.flows_unnamed), 0);
    assert_true(named > flows - 40 && dropped(&f) - before < (flows - named + 1) * 1000);
    return f;
}

static void names(void **state)
{
    (void)state;
    struct full f = full_of_names();
    is_well(&f);
}

static void names_at_the_end(void **state)
{
    (void)state;
    struct full f = full_of_names();
    ends_well(&f, false);
    f = full_of_names();
    ends_well(&f, true);
}

/* Sealed early, these flows take more than they give. */
static struct full full_of_noise(unsigned flows)
{
    struct full f = begin(GZIP_ZLIB);
    f.x += 2 * 7919; /* one of those that once took all there was */
    for (unsigned i = 0; i < flows; i++) {
        noise(&f, (uint16_t)i);
        rig_run(f.r);
        name(&f, (uint16_t)i);
    }
    for (unsigned i = 0; dropped(&f) < 20000; i++) {
        noise(&f, (uint16_t)(draw(&f) % flows));
        if (i % 50 == 0)
            rig_run(f.r);
    }
    rig_run(f.r);
    return f;
}

static void what_does_not_compress(void **state)
{
    (void)state;
    for (unsigned flows = 100; flows <= 1200; flows += 1100) {
        struct full f = full_of_noise(flows);
        is_well(&f);
        f = full_of_noise(flows);
        ends_well(&f, flows > 100);
    }
}

static void burst(struct full *f, uint16_t flow, unsigned n)
{
    while (n-- > 0) {
        packet(f, flow);
        if (n % 500 == 0)
            rig_run(f->r);
    }
    rig_run(f->r);
}

/* A large flow without compression, pressed twice, is more than the reserve if it is handed over in one go. */
static void without_gzip(void **state)
{
    (void)state;
    struct full f = begin(GZIP_NONE);
    burst(&f, 1, 40);
    name(&f, 1);
    for (unsigned i = 0; i < 57; i++)
        burst(&f, (uint16_t)(2 + i % 4), 1000);
    for (uint16_t i = 2; i < 6; i++)
        name(&f, i);
    for (unsigned i = 0; i < 8; i++) {
        later(&f, 15 * SEC);
        burst(&f, 1, 1);
    }
    burst(&f, 1, 15000);
    for (unsigned i = 0; i < 48; i++)
        burst(&f, (uint16_t)(10 + i % 4), 1000);
    for (uint16_t i = 10; i < 14; i++)
        name(&f, i);
    is_well(&f);
}

/* Streamed without compression, memory is soon free again, however full it was. */
static void without_gzip_streamed(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->config.savefile_count = 0;
    r->config.uuid_sources = UUID_SOURCE_EVENTSOCKET;
    r->config.gzip = GZIP_NONE;
    r->config.stream = true;
    r->config.syncinterval_ns = 0;
    r->config.captureduration_ns = 3600 * SEC;
    r->budget = ARENA_MIN_BUDGET;
    r->mono = RIG_T0;
    rig_start(r);
    struct full f = {.r = r, .x = 88172645463325252u};
    for (uint16_t i = 0; i < 3; i++)
        burst(&f, i, 6000);
    assert_true(dropped(&f) > 1000);
    for (uint16_t i = 0; i < 3; i++)
        name(&f, i);
    rig_run(r);
    uint64_t before = dropped(&f);
    for (uint16_t i = 0; i < 3; i++)
        burst(&f, i, 4000);
    assert_true(dropped(&f) - before < 500);
    is_well(&f);
}

/* After a flood of flows that nobody will name, those with a name get the memory they need. */
static void named_flows_go_before_others(void **state)
{
    (void)state;
    struct full f = begin(GZIP_ZLIB);
    for (uint16_t i = 0; i < 20; i++)
        packet(&f, i);
    rig_run(f.r);
    for (uint16_t i = 0; i < 20; i++)
        name(&f, i);
    for (uint16_t i = 0; dropped(&f) < 1000; i++) {
        packet(&f, (uint16_t)(1000 + i));
        if (i % 100 == 0)
            rig_run(f.r);
    }
    rig_run(f.r);
    uint64_t before = dropped(&f), unnamed = counter_get(&f.r->page->c.flows_unnamed);
    for (unsigned i = 0; i < 10000; i++) {
        packet(&f, (uint16_t)(i % 20));
        if (i % 100 == 0)
            rig_run(f.r);
    }
    rig_run(f.r);
    /* of those without a name each had one packet */
    assert_true(dropped(&f) > before);
    assert_int_equal(dropped(&f) - before, unnamed - counter_get(&f.r->page->c.flows_unnamed));
    is_well(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(names_at_the_end),
        cmocka_unit_test(what_does_not_compress),
        cmocka_unit_test(without_gzip),
        cmocka_unit_test(without_gzip_streamed),
        cmocka_unit_test(named_flows_go_before_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
