/* SPDX-License-Identifier: Apache-2.0
 * The ring in one process: order and contents over every wrap, indices near 2^32 and 2^64, a full ring, both sides
 * starting anew, a hostile consumer index, and every bit of every record head flipped. */
#include "shared/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct pair {
    uint8_t *map;
    size_t bytes;
    struct ring_peer peer;
    struct ring_producer p;
    struct ring_consumer c;
};

static const uint64_t starts[] = {
    0, (UINT64_C(1) << 32) - 4096, UINT64_MAX - 4095, UINT64_MAX - 15, INT64_MAX - UINT64_C(4095), 0x7ffffffffffffff0,
};
#define STARTS (sizeof starts / sizeof starts[0])

static void pair_open(struct pair *t, uint64_t size, uint64_t start)
{
    memset(t, 0, sizeof *t);
    t->bytes = ring_map_bytes(size);
    t->map = aligned_alloc(RING_PAGE, t->bytes);
    assert_non_null(t->map);
    memset(t->map, 0, t->bytes);
    assert_int_equal(ring_format(t->map, size, 7, start), SC_OK);
    assert_int_equal(ring_consumer_attach(&t->c, t->map, t->bytes, &t->peer, start, 0), SC_OK);
    assert_int_equal(ring_producer_attach(&t->p, t->map, t->bytes, &t->peer), SC_OK);
    assert_false(t->p.peer_bad);
}

static void pair_close(struct pair *t)
{
    free(t->map);
}

static bool publish(struct pair *t)
{
    return ring_publish(&t->p, (struct instant){1}, (struct instant){2});
}

/* A valid packet record whose payload is made from n. Returns false when there is no room. */
static bool put(struct pair *t, uint32_t n, uint16_t payload)
{
    struct ring_record *r = ring_reserve(&t->p, payload);
    if (!r)
        return false;
    r->kind = RING_PACKET;
    r->linktype = 1;
    r->hdr_len = payload;
    r->caplen = r->wire_len = payload;
    r->l3_off = 14;
    r->l4_off = 34;
    r->tcp_seq = n;
    memset(r + 1, (int)(n & 0xff), payload);
    ring_commit(&t->p);
    return true;
}

static void take(struct pair *t, uint32_t n, uint16_t payload)
{
    struct ring_record r;
    const uint8_t *bytes;
    uint64_t lost = 0;
    assert_int_equal(ring_next(&t->c, &r, &bytes, &lost), SC_OK);
    assert_int_equal(r.kind, RING_PACKET);
    assert_int_equal(r.tcp_seq, n);
    assert_int_equal(r.hdr_len, payload);
    for (unsigned i = 0; i < payload; i++)
        assert_int_equal(bytes[i], n & 0xff);
}

static void take_nothing(struct pair *t)
{
    struct ring_record r;
    const uint8_t *bytes;
    uint64_t lost = 0;
    assert_int_equal(ring_next(&t->c, &r, &bytes, &lost), SC_EAGAIN);
}

static uint16_t size_of(uint32_t n)
{
    return (uint16_t)(54 + n * 7 % 67);
}

static void test_format(void **state)
{
    (void)state;
    uint8_t *map = aligned_alloc(RING_PAGE, ring_map_bytes(RING_MIN_SIZE));
    struct ring_peer peer = {0};
    struct ring_producer p;
    struct ring_consumer c;
    size_t bytes = ring_map_bytes(RING_MIN_SIZE);
    memset(map, 0, bytes);
    assert_int_equal(ring_producer_attach(&p, map, bytes, &peer), SC_EVERSION);
    assert_int_equal(ring_format(map, 1, 1, 0), SC_EINVAL);
    assert_int_equal(ring_format(map, RING_MIN_SIZE / 2, 1, 0), SC_EINVAL);
    assert_int_equal(ring_format(map, RING_MIN_SIZE + 16, 1, 0), SC_EINVAL);
    assert_int_equal(ring_format(map, RING_MIN_SIZE, 1, 8), SC_EINVAL);
    assert_int_equal(ring_format(map, RING_MIN_SIZE, 1, 0), SC_OK);
    assert_int_equal(ring_producer_attach(&p, map, bytes - 1, &peer), SC_EFORMAT);
    assert_int_equal(ring_producer_attach(&p, map, 100, &peer), SC_EFORMAT);
    assert_int_equal(ring_consumer_attach(&c, map, bytes - 1, &peer, 0, 0), SC_EFORMAT);
    assert_int_equal(ring_consumer_attach(&c, map, bytes, &peer, 16, 0), SC_EFORMAT); /* beyond prod */
    assert_int_equal(ring_consumer_attach(&c, map, bytes, &peer, 8, 0), SC_EFORMAT);
    assert_int_equal(ring_consumer_attach(&c, map, bytes, &peer, 0, 0), SC_OK);
    struct ring_shared *s = (struct ring_shared *)(void *)map;
    s->size = RING_MIN_SIZE * 2; /* claims more than there is */
    assert_int_equal(ring_consumer_attach(&c, map, bytes, &peer, 0, 0), SC_EFORMAT);
    s->size = 0;
    assert_int_equal(ring_consumer_attach(&c, map, bytes, &peer, 0, 0), SC_EFORMAT);
    s->size = RING_MIN_SIZE;
    s->layout++;
    assert_int_equal(ring_consumer_attach(&c, map, bytes, &peer, 0, 0), SC_EVERSION);
    free(map);
}

/* Every start and two sizes: fill, drain, several times round. */
static void test_order_over_wraps(void **state)
{
    (void)state;
    for (size_t i = 0; i < STARTS; i++)
        for (uint64_t size = RING_MIN_SIZE; size <= RING_MIN_SIZE * 16; size *= 16) {
            struct pair t;
            pair_open(&t, size, starts[i]);
            uint32_t in = 0, out = 0;
            while (t.p.prod - starts[i] < size * 5) {
                while (put(&t, in, size_of(in)))
                    in++;
                assert_false(t.p.peer_bad);
                if (out == 0)
                    take_nothing(&t); /* not published yet */
                publish(&t);
                assert_true(ring_backlog(&t.c) > size - 256);
                for (uint32_t half = out + (in - out) / 2; out < half; out++)
                    take(&t, out, size_of(out));
                ring_release(&t.c);
            }
            for (; out < in; out++)
                take(&t, out, size_of(out));
            take_nothing(&t);
            ring_release(&t.c);
            assert_int_equal(t.c.packets, in);
            assert_int_equal(ring_fill(&t.p), 0);
            pair_close(&t);
        }
}

static void test_other_kinds(void **state)
{
    (void)state;
    struct pair t;
    struct ring_record rec;
    const uint8_t *bytes = NULL;
    uint64_t lost;
    pair_open(&t, RING_MIN_SIZE, 0);
    struct ring_record *r = ring_reserve(&t.p, 0);
    r->kind = RING_TICK;
    r->clock_ns = 5;
    ring_commit(&t.p);
    r = ring_reserve(&t.p, 3 * sizeof(struct ring_address));
    r->kind = RING_ADDRESSES;
    r->hdr_len = 3 * sizeof(struct ring_address);
    for (unsigned i = 0; i < 3; i++) {
        struct ring_address a = {.len = i == 1 ? 16 : 4, .bytes = {9, 9, 9, 9}};
        memcpy((uint8_t *)(r + 1) + i * sizeof a, &a, sizeof a);
    }
    ring_commit(&t.p);
    r = ring_reserve(&t.p, 0);
    r->kind = RING_END;
    ring_commit(&t.p);
    publish(&t);
    assert_int_equal(ring_next(&t.c, &rec, &bytes, &lost), SC_OK);
    assert_int_equal(rec.kind, RING_TICK);
    assert_int_equal(rec.clock_ns, 5);
    assert_int_equal(ring_next(&t.c, &rec, &bytes, &lost), SC_OK);
    assert_int_equal(rec.kind, RING_ADDRESSES);
    assert_int_equal(bytes[20], 16);
    assert_int_equal(bytes[63], 0); /* rounding bytes show nothing old */
    assert_int_equal(ring_next(&t.c, &rec, &bytes, &lost), SC_OK);
    assert_int_equal(rec.kind, RING_END);
    assert_int_equal(t.c.packets, 0);
    assert_int_equal(atomic_load(&t.p.shared->slot[1].packets), 0);
    pair_close(&t);
}

/* A record as large as fits wherever it falls, and larger ones. */
static void test_large_records(void **state)
{
    (void)state;
    struct pair t;
    pair_open(&t, RING_MIN_SIZE, 0);
    uint32_t most = RING_MIN_SIZE / 2 - 64;
    assert_true(ring_can_hold(&t.p, most));
    assert_false(ring_can_hold(&t.p, most + 1));
    assert_false(ring_can_hold(&t.p, RING_MIN_SIZE - 64));
    assert_false(ring_can_hold(&t.p, UINT32_MAX));
    assert_null(ring_reserve(&t.p, most + 1));
    assert_null(ring_reserve(&t.p, RING_MIN_SIZE));
    assert_null(ring_reserve(&t.p, UINT32_MAX));
    assert_null(ring_reserve(&t.p, UINT32_MAX - 15));
    for (uint32_t n = 0; n < 200; n++) { /* at many offsets, always into an empty ring */
        assert_true(put(&t, n, (uint16_t)most));
        (void)put(&t, n, 54); /* moves the offset, if it fits */
        publish(&t);
        take(&t, n, (uint16_t)most);
        struct ring_record rec;
        const uint8_t *bytes;
        uint64_t lost;
        while (ring_next(&t.c, &rec, &bytes, &lost) == SC_OK)
            ;
        ring_release(&t.c);
    }
    assert_false(t.p.peer_bad);
    pair_close(&t);
}

/* Reserving and not committing leaves nothing behind. */
static void test_abandoned_reservation(void **state)
{
    (void)state;
    struct pair t;
    pair_open(&t, RING_MIN_SIZE, 0);
    assert_non_null(ring_reserve(&t.p, 100));
    assert_true(put(&t, 1, 60));
    ring_commit(&t.p); /* nothing is reserved: no effect */
    publish(&t);
    take(&t, 1, 60);
    take_nothing(&t);
    pair_close(&t);
}

static void test_producer_restart(void **state)
{
    (void)state;
    for (size_t i = 0; i < STARTS; i++) {
        struct pair t;
        pair_open(&t, RING_MIN_SIZE, starts[i]);
        uint32_t n = 0;
        for (int life = 0; life < 50; life++) {
            for (int batch = 0; batch < 1 + life % 3; batch++) {
                for (int k = 0; k < 10; k++, n++)
                    assert_true(put(&t, n, size_of(n)));
                publish(&t);
            }
            assert_true(put(&t, 0xdead, 60)); /* never published */
            if (life % 2) {                   /* dies between the two stores of a slot */
                struct ring_shared *s = t.p.shared;
                int64_t ahead = (int64_t)(atomic_load(&s->slot[1].prod) - atomic_load(&s->slot[0].prod));
                atomic_store(&s->slot[ahead > 0 ? 0 : 1].packets, 999999);
            }
            uint64_t published = t.p.published;
            assert_int_equal(ring_producer_attach(&t.p, t.map, t.bytes, &t.peer), SC_OK);
            assert_int_equal(t.p.prod, published);
            assert_int_equal(t.p.packets, n);
            for (uint32_t k = (uint32_t)t.c.packets; k < n; k++)
                take(&t, k, size_of(k));
            ring_release(&t.c);
            take_nothing(&t);
        }
        pair_close(&t);
    }
}

/* The consumer dies after applying some records and releasing fewer. */
static void test_consumer_restart(void **state)
{
    (void)state;
    for (size_t i = 0; i < STARTS; i++) {
        struct pair t;
        pair_open(&t, RING_MIN_SIZE, starts[i]);
        uint32_t in = 0;
        for (int life = 0; life < 100; life++) {
            for (int k = 0; k < 20; k++, in++)
                assert_true(put(&t, in, size_of(in)));
            publish(&t);
            uint32_t out = (uint32_t)t.c.packets;
            for (int k = 0; k < 10; k++)
                take(&t, out + (uint32_t)k, size_of(out + (uint32_t)k));
            ring_release(&t.c);
            for (int k = 10; k < 20; k++)
                take(&t, out + (uint32_t)k, size_of(out + (uint32_t)k));
            uint64_t applied = t.c.pos, packets = t.c.packets;
            atomic_store(&t.peer.sleeping, 1);
            assert_int_equal(ring_consumer_attach(&t.c, t.map, t.bytes, &t.peer, applied, packets), SC_OK);
            assert_int_equal(atomic_load(&t.peer.sleeping), 0);
            assert_int_equal(atomic_load(&t.peer.cons), applied);
        }
        assert_int_equal(t.c.packets, in);
        /* A position that the ring no longer holds, or does not hold yet, is refused. */
        uint64_t prod = t.p.published;
        struct ring_consumer c;
        assert_int_equal(ring_consumer_attach(&c, t.map, t.bytes, &t.peer, prod + 16, 0), SC_EFORMAT);
        assert_int_equal(ring_consumer_attach(&c, t.map, t.bytes, &t.peer, prod - RING_MIN_SIZE - 16, 0), SC_EFORMAT);
        uint64_t lost = 0;
        assert_int_equal(ring_consumer_attach_end(&c, t.map, t.bytes, &t.peer, in - 5, &lost), SC_OK);
        assert_int_equal(lost, 5);
        assert_int_equal(c.packets, in);
        assert_int_equal(c.pos, prod);
        pair_close(&t);
    }
}

/* Hostile input 40. Whatever the consumer writes, the producer keeps to itself: nothing is overwritten that it has not
 * been given. */
static void test_hostile_index(void **state)
{
    (void)state;
    for (size_t i = 0; i < STARTS; i++) {
        struct pair t;
        pair_open(&t, RING_MIN_SIZE, starts[i]);
        for (uint32_t n = 0; n < 20; n++)
            assert_true(put(&t, n, 60));
        publish(&t);
        for (uint32_t n = 0; n < 10; n++)
            take(&t, n, 60);
        ring_release(&t.c);
        (void)ring_fill(&t.p);
        uint64_t good = t.c.pos, prod = t.p.published;
        assert_true(put(&t, 20, 60)); /* not published: an index there is a lie, too */
        const uint64_t bad[] = {good - 16,
                                prod + 16,
                                prod + 1,
                                good + 1,
                                good + RING_MIN_SIZE * 2,
                                good ^ UINT64_C(1) << 63,
                                prod - RING_MIN_SIZE,
                                t.p.prod};
        for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
            atomic_store(&t.peer.cons, bad[k]);
            uint64_t fill = ring_fill(&t.p);
            assert_true(t.p.peer_bad);
            assert_int_equal(fill, t.p.prod - good);
            assert_null(ring_reserve(&t.p, 60));
        }
        atomic_store(&t.peer.cons, good); /* the shard was killed and its index put back */
        assert_true(put(&t, 21, 60));
        assert_false(t.p.peer_bad);
        publish(&t);
        for (uint32_t n = 10; n < 22; n++)
            take(&t, n, 60);
        pair_close(&t);
    }
}

static void fill_three(struct pair *t)
{
    for (uint32_t n = 0; n < 3; n++)
        assert_true(put(t, n, 60));
    publish(t);
}

/* Hostile input 40: each bit of the head of a record that stands first, in the middle, or
 * last. What the ring can check is refused with the exact count, and the next records are read; the rest is no harm. */
static void test_flipped_bits(void **state)
{
    (void)state;
    struct pair t;
    pair_open(&t, RING_MIN_SIZE, UINT64_MAX - 1023);
    unsigned refused = 0;
    for (unsigned which = 0; which < 3; which++)
        for (unsigned bit = 0; bit < sizeof(struct ring_record) * 8; bit++) {
            uint64_t at = t.p.prod;
            fill_three(&t);
            uint64_t len = (t.p.prod - at) / 3;
            if (t.p.prod - at != 3 * 128) { /* a PAD came between: next round */
                struct ring_record rec;
                const uint8_t *bytes;
                uint64_t lost;
                while (ring_next(&t.c, &rec, &bytes, &lost) == SC_OK)
                    ;
                ring_release(&t.c);
                bit--;
                continue;
            }
            t.p.data[(at + which * len + bit / 8) & (t.p.size - 1)] ^= (uint8_t)(1u << bit % 8);
            uint64_t before = t.c.packets, sum = 0;
            for (;;) {
                struct ring_record rec;
                const uint8_t *bytes;
                uint64_t lost = 0;
                int rc = ring_next(&t.c, &rec, &bytes, &lost);
                if (rc == SC_EAGAIN)
                    break;
                if (rc == SC_EFORMAT) {
                    assert_true(lost >= 1 && lost <= 3);
                    assert_int_equal(t.c.pos, t.p.published);
                    refused++;
                    sum += lost;
                    continue;
                }
                assert_int_equal(rc, SC_OK);
                assert_true(bytes + rec.hdr_len <= t.p.data + t.p.size);
                sum += rec.kind == RING_PACKET;
            }
            assert_int_equal(sum, 3);
            assert_int_equal(t.c.packets - before, 3);
            ring_release(&t.c);
        }
    assert_true(refused > 3 * 32);
    pair_close(&t);
}

/* Hostile input 40. Fields one by one with the values that matter. */
static void test_bad_fields(void **state)
{
    (void)state;
    struct pair t;
    pair_open(&t, RING_MIN_SIZE, 0);
    for (int k = 0; k < 18; k++) {
        struct ring_record *r = ring_reserve(&t.p, 60);
        ring_commit(&t.p);
        r->kind = RING_PACKET;
        r->hdr_len = 54;
        r->caplen = r->wire_len = 54;
        r->l3_off = 14;
        r->l4_off = 34;
        t.p.packets++; /* committed before the kind was set */
        bool good = false;
        switch (k) {
        case 0:
            r->len = 0;
            break;
        case 1:
            r->len = 48;
            break;
        case 2:
            r->len = 120;
            break;
        case 3:
            r->len = 0xfffffff0;
            break;
        case 4:
            r->len += 16;
            break; /* past the published end */
        case 5:
            r->kind = 0;
            break;
        case 6:
            r->kind = RING_PAD;
            break; /* not at the end of the data */
        case 7:
            r->kind = 99;
            break;
        case 8:
            r->hdr_len = 65;
            break;
        case 9:
            r->caplen = 53;
            break;
        case 10:
            r->wire_len = 53;
            break;
        case 11:
            r->l3_off = 34;
            break;
        case 12:
            r->l4_off = 35;
            break;
        case 13:
            r->l4_off = 0xffff;
            break;
        case 14:
            r->kind = RING_TICK;
            break; /* with a payload */
        case 15:
            r->kind = RING_ADDRESSES;
            break; /* 54 is no multiple of 20 */
        case 16:
            r->from_low = 2;
            break;
        default:
            good = true;
            break;
        }
        publish(&t);
        struct ring_record rec;
        const uint8_t *bytes;
        uint64_t lost = 0;
        assert_int_equal(ring_next(&t.c, &rec, &bytes, &lost), good ? SC_OK : SC_EFORMAT);
        if (!good)
            assert_int_equal(lost, 1);
        take_nothing(&t);
        ring_release(&t.c);
    }
    pair_close(&t);
}

/* Hostile input 40. The published index itself is damaged: never out of the mapping, and back in order with the next
 * good one. */
static void test_damaged_prod(void **state)
{
    (void)state;
    struct pair t;
    struct ring_record rec;
    const uint8_t *bytes;
    uint64_t lost = 0;
    pair_open(&t, RING_MIN_SIZE, 1 << 20);
    fill_three(&t);
    struct ring_slot *slot = &t.p.shared->slot[1];
    uint64_t good = atomic_load(&slot->prod);
    assert_int_equal(good, t.p.published);
    atomic_store(&slot->prod, good + 1);
    for (uint32_t n = 0; n < 3; n++)
        take(&t, n, 60);
    take_nothing(&t);
    atomic_store(&slot->prod, good + (UINT64_C(1) << 62));
    assert_int_equal(ring_next(&t.c, &rec, &bytes, &lost), SC_EFORMAT);
    assert_int_equal(lost, 0);
    take_nothing(&t);
    assert_int_equal(ring_backlog(&t.c), 0);
    atomic_store(&slot->prod, good);
    assert_int_equal(ring_backlog(&t.c), RING_MIN_SIZE); /* behind us: out of range, cut */
    assert_int_equal(ring_next(&t.c, &rec, &bytes, &lost), SC_EFORMAT);
    take_nothing(&t);
    fill_three(&t);
    for (uint32_t n = 0; n < 3; n++)
        take(&t, n, 60);
    pair_close(&t);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Rings full of noise that looks like records here and there: whatever stands in them, every record handed out lies
 * inside, and the end is reached in as many steps as fit. The allocation has no byte behind the ring. */
static void test_random_contents(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    struct pair t;
    pair_open(&t, RING_MIN_SIZE, 0);
    unsigned good = 0, refused = 0;
    for (unsigned round = 0; round < 300; round++) {
        for (uint64_t off = 0; off < t.p.size; off += sizeof(uint64_t)) {
            uint64_t word = next_random(&random) & (round % 3 ? UINT64_MAX : 0x0000000100ff0010u);
            memcpy(t.p.data + off, &word, sizeof word);
        }
        for (uint64_t off = 0; off + 128 <= t.p.size;) { /* heads that are nearly right */
            struct ring_record r = {.len = 80 + 16 * (uint32_t)(next_random(&random) % 4), .hdr_len = 54};
            r.kind = (uint16_t)(next_random(&random) % 7);
            r.caplen = r.wire_len = 54;
            r.l3_off = 14;
            r.l4_off = (uint16_t)(30 + next_random(&random) % 6);
            if (next_random(&random) % 8)
                r.len = 128, r.kind = RING_PACKET, r.l4_off = 34;
            memcpy(t.p.data + off, &r, sizeof r);
            off += r.len;
        }
        uint64_t start = t.c.pos, end = start + (next_random(&random) % (t.p.size + 1)) / 16 * 16;
        atomic_store(&t.p.shared->slot[round % 2].prod, end);
        for (unsigned steps = 0;; steps++) {
            struct ring_record r;
            const uint8_t *bytes;
            uint64_t lost = 0;
            int rc = ring_next(&t.c, &r, &bytes, &lost);
            assert_true(steps <= t.p.size / 64 + 1);
            if (rc == SC_EAGAIN)
                break;
            assert_true(lost <= t.p.size / 64);
            if (rc == SC_OK) {
                assert_true(bytes >= t.p.data && bytes + r.hdr_len <= t.p.data + t.p.size);
                good++;
            } else {
                refused++;
            }
        }
        assert_int_equal(t.c.pos, end);
        ring_release(&t.c);
    }
    assert_true(good > 100);
    assert_true(refused > 100);
    pair_close(&t);
}

static void test_sleep_handshake(void **state)
{
    (void)state;
    struct pair t;
    int bell[2];
    pair_open(&t, RING_MIN_SIZE, 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, bell), 0);
    put(&t, 0, 60);
    assert_false(publish(&t)); /* awake */
    assert_false(ring_consumer_will_sleep(&t.c));
    assert_int_equal(atomic_load(&t.peer.sleeping), 0);
    take(&t, 0, 60);
    assert_true(ring_consumer_will_sleep(&t.c));
    assert_false(publish(&t)); /* nothing new: no bell */
    assert_int_equal(atomic_load(&t.p.shared->captured_until_ns), 1);
    assert_int_equal(atomic_load(&t.p.shared->clock_ns), 2);
    put(&t, 1, 60);
    assert_true(publish(&t));
    doorbell_ring(bell[0]);
    assert_int_equal(doorbell_drain(bell[1]), SC_OK);
    ring_consumer_woke(&t.c);
    take(&t, 1, 60);
    for (int i = 0; i < 100000; i++)
        doorbell_ring(bell[0]); /* never blocks, however full */
    assert_int_equal(doorbell_drain(bell[1]), SC_OK);
    close(bell[0]);
    while (doorbell_drain(bell[1]) == SC_OK)
        ;
    doorbell_ring(bell[1]); /* no SIGPIPE */
    close(bell[1]);
    pair_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_order_over_wraps),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_large_records),
        cmocka_unit_test(test_abandoned_reservation),
        cmocka_unit_test(test_producer_restart),
        cmocka_unit_test(test_consumer_restart),
        cmocka_unit_test(test_hostile_index),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_bad_fields),
        cmocka_unit_test(test_damaged_prod),
        cmocka_unit_test(test_random_contents),
        cmocka_unit_test(test_sleep_handshake),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
