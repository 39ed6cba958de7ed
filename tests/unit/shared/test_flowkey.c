/* SPDX-License-Identifier: Apache-2.0
 * One key per connection whichever way a packet goes, mapped addresses folded, equal bytes for equal keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "shared/err.h"
#include "shared/flowkey.h"

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

static const struct siphash_key secret = {UINT64_C(0x1122334455667788), UINT64_C(0x99aabbccddeeff00)};

struct pair {
    const char *src;
    uint16_t sport;
    const char *dst;
    uint16_t dport;
    bool from_low;
    const char *text;
};

static const struct pair pairs[] = {
    {"192.0.2.0", 443, "198.51.100.7", 51234, true, "192.0.2.0:443<->198.51.100.7:51234"},
    {"198.51.100.7", 51234, "192.0.2.0", 443, false, "192.0.2.0:443<->198.51.100.7:51234"},
    /* addresses compare before ports, and byte by byte: 9.x is lower than 10.x, as 0x09 is lower than 0x0a */
    {"10.0.0.1", 1, "9.255.255.255", 65535, false, "9.255.255.255:65535<->10.0.0.1:1"},
    {"127.0.0.1", 80, "127.0.0.1", 1024, true, "127.0.0.1:80<->127.0.0.1:1024"},
    {"127.0.0.1", 1024, "127.0.0.1", 80, false, "127.0.0.1:80<->127.0.0.1:1024"},
    /* ports compare as numbers, not as little-endian bytes */
    {"127.0.0.1", 0x0100, "127.0.0.1", 0x00ff, false, "127.0.0.1:255<->127.0.0.1:256"},
    {"10.1.1.1", 7, "10.1.1.1", 7, true, "10.1.1.1:7<->10.1.1.1:7"},
    {"0.0.0.0", 0, "255.255.255.255", 0, true, "0.0.0.0:0<->255.255.255.255:0"},
    {"1::", 1000, "1::", 2000, true, "1:::1000<->1:::2000"},
    {"2001:db8:0:0:1::1", 1, "2001:db8::1", 2, false, "2001:db8::1:2<->2001:db8::1:0:0:1:1"},
};

static bool make(struct flowkey *key, const char *src, uint16_t sport, const char *dst, uint16_t dport)
{
    struct ipaddr a, b;
    memset(key, 0xa5, sizeof(*key));
    assert_int_equal(ipaddr_parse(src, &a), SC_OK);
    assert_int_equal(ipaddr_parse(dst, &b), SC_OK);
    assert_int_equal(a.len, b.len);
    return flowkey_make(key, a.len, a.bytes, sport, b.bytes, dport);
}

static void order_and_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(pairs); i++) {
        const struct pair *p = &pairs[i];
        struct flowkey key;
        char text[FLOWKEY_TEXT];
        assert_int_equal(make(&key, p->src, p->sport, p->dst, p->dport), p->from_low);
        assert_ptr_equal(flowkey_format(&key, text), text);
        if (strcmp(text, p->text) != 0)
            fail_msg("%s, not %s", text, p->text);
    }
}

static void both_directions_are_one_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(pairs); i++) {
        const struct pair *p = &pairs[i];
        struct flowkey there, back;
        make(&there, p->src, p->sport, p->dst, p->dport);
        make(&back, p->dst, p->dport, p->src, p->sport);
        assert_memory_equal(&there, &back, sizeof(there));
        assert_true(flowkey_equal(&there, &back));
        assert_true(flowkey_hash(&there, &secret) == flowkey_hash(&back, &secret));
    }
}

static void any_change_is_another_key(void **state)
{
    (void)state;
    struct flowkey base, other;
    static const struct pair others[] = {
        {"10.0.0.1", 1000, "10.0.0.2", 2001, true, ""},
        {"10.0.0.1", 1001, "10.0.0.2", 2000, true, ""},
        {"10.0.0.3", 1000, "10.0.0.2", 2000, false, ""},
        {"10.0.0.1", 2000, "10.0.0.2", 1000, true, ""}, /* the ports swapped: another connection */
        {"a00:1::", 1000, "a00:2::", 2000, true, ""},   /* the same leading bytes, but IPv6 */
    };
    make(&base, "10.0.0.1", 1000, "10.0.0.2", 2000);
    for (size_t i = 0; i < LENGTH(others); i++) {
        make(&other, others[i].src, others[i].sport, others[i].dst, others[i].dport);
        assert_false(flowkey_equal(&base, &other));
        assert_true(flowkey_hash(&base, &secret) != flowkey_hash(&other, &secret));
    }
    const struct siphash_key another_secret = {secret.k0, secret.k1 ^ 1};
    assert_true(flowkey_hash(&base, &secret) != flowkey_hash(&base, &another_secret));
}

static void mapped_addresses_fold(void **state)
{
    (void)state;
    const uint8_t a[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 1};
    const uint8_t b[16] = {[10] = 0xff, [11] = 0xff, 198, 51, 100, 7};
    const uint8_t native[16] = {0x20, 1, 0x0d, 0xb8};
    struct flowkey v4, mapped, mixed;

    bool low = make(&v4, "192.0.2.1", 5, "198.51.100.7", 6);
    assert_int_equal(flowkey_make(&mapped, 16, a, 5, b, 6), low);
    assert_memory_equal(&v4, &mapped, sizeof(v4));
    flowkey_make(&mixed, 16, a, 5, native, 6); /* one end alone: an IPv6 connection */
    assert_int_equal(mixed.addr_len, 16);
    assert_memory_equal(mixed.addr[0], a, 16);
}

static void every_byte_of_a_key_is_set(void **state)
{
    (void)state;
    struct flowkey key;
    make(&key, "10.0.0.1", 1, "10.0.0.2", 2); /* over 0xa5 in every byte */
    for (size_t i = 4; i < 16; i++) {
        assert_int_equal(key.addr[0][i], 0);
        assert_int_equal(key.addr[1][i], 0);
    }
    assert_int_equal(key.zero[0] | key.zero[1] | key.zero[2], 0);
}

static void longest_text_fits(void **state)
{
    (void)state;
    struct flowkey key;
    char text[FLOWKEY_TEXT];
    memset(&key, 0xff, sizeof(key));
    key.addr_len = 16;
    flowkey_format(&key, text);
    assert_string_equal(text, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:65535<->"
                              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:65535");
}

static void shard_comes_from_the_high_bits(void **state)
{
    (void)state;
    assert_int_equal(flowkey_shard(0, 7), 0);
    assert_int_equal(flowkey_shard(UINT64_MAX, 7), 6);
    assert_int_equal(flowkey_shard(UINT64_MAX, 64), 63);
    assert_int_equal(flowkey_shard(UINT64_C(0x00000000ffffffff), 2), 0);
    assert_int_equal(flowkey_shard(UINT64_C(0x8000000000000000), 2), 1);
    for (unsigned shards = 1; shards <= 64; shards++)
        for (unsigned top = 0; top < 256; top++)
            assert_true(flowkey_shard((uint64_t)top << 56, shards) < shards);
}

/* Hostile input 35: a million keys that are one to a sum or an exclusive or of their words. Keyed, they lie as evenly
 * over the slots of a table and over the shards as any others, so that a packet costs what it costs; and where they
 * lie nobody can know beforehand. */
static void keys_that_collide_unkeyed(void **state)
{
    (void)state;
    enum { KEYS = 1 << 20, SHARDS = 7 };
    static uint8_t load[2][KEYS];
    static const struct siphash_key keys[2] = {{1, 2}, {3, 4}};
    unsigned shards[SHARDS] = {0}, most[2] = {0}, same = 0;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        uint8_t a[4] = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        uint8_t b[4] = {172, (uint8_t)~a[1], (uint8_t)~a[2], (uint8_t)~a[3]};
        struct flowkey key;
        flowkey_make(&key, 4, a, 80, b, 443);
        uint32_t words = 0;
        for (int n = 0; n < 4; n++)
            words += (uint32_t)(a[n] + b[n]);
        assert_true(i == 0 || words == sum); /* what an unkeyed hash of this kind sees */
        sum = words;
        for (int k = 0; k < 2; k++) {
            uint64_t hash = flowkey_hash(&key, &keys[k]);
            uint8_t *at = &load[k][hash % KEYS];
            most[k] = ++*at > most[k] ? *at : most[k];
            if (k == 0)
                shards[flowkey_shard(hash, SHARDS)]++;
        }
        same += flowkey_hash(&key, &keys[0]) % KEYS == flowkey_hash(&key, &keys[1]) % KEYS;
    }
    assert_in_range(most[0], 5, 16); /* by chance 9 or so */
    assert_in_range(most[1], 5, 16);
    assert_true(same < 32);
    for (unsigned i = 0; i < SHARDS; i++)
        assert_in_range(shards[i], KEYS / SHARDS * 98 / 100, KEYS / SHARDS * 102 / 100);
}

static void addresses_from_text(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "1.2.3",        "1.2.3.4.5",    "256.1.1.1",
                                      "1.2.3.4 ", "::ffff:1.2.3", "fe80::1%eth0", "g::1",
                                      "1::2::3",  "[::1]",        "localhost"};
    struct ipaddr v4, mapped, v6;
    assert_int_equal(ipaddr_parse("192.0.2.1", &v4), SC_OK);
    assert_int_equal(v4.len, 4);
    assert_int_equal(ipaddr_parse("::ffff:192.0.2.1", &mapped), SC_OK);
    assert_memory_equal(&v4, &mapped, sizeof(v4)); /* bytes past len are zero */
    assert_true(ipaddr_equal(&v4, &mapped));
    assert_int_equal(ipaddr_parse("c000:201::", &v6), SC_OK);
    assert_int_equal(v6.len, 16);
    assert_false(ipaddr_equal(&v4, &v6));
    for (size_t i = 0; i < LENGTH(bad); i++)
        if (ipaddr_parse(bad[i], &v4) != SC_EFORMAT)
            fail_msg("accepted: \"%s\"", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_text),
        cmocka_unit_test(both_directions_are_one_key),
        cmocka_unit_test(any_change_is_another_key),
        cmocka_unit_test(mapped_addresses_fold),
        cmocka_unit_test(every_byte_of_a_key_is_set),
        cmocka_unit_test(longest_text_fits),
        cmocka_unit_test(shard_comes_from_the_high_bits),
        cmocka_unit_test(keys_that_collide_unkeyed),
        cmocka_unit_test(addresses_from_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
