/* SPDX-License-Identifier: Apache-2.0
 * Every row of the table of hostile inputs is parsed whole and cut at every byte, in front of an untouchable page; a
 * row that is accepted must give its key, its header copy and not one canary byte. (Lengths and times that only the
 * savefile reader sees are the capture tests' business; what netblock wipes is test_anonymize's.) */
#include "tests/unit/shared/frame_rows.h"

static void right_key(const struct row *r, const struct flowkey *key)
{
    static const char *const text[] = {
        [KEY4] = "192.0.2.1:12345<->198.51.100.7:80", [KEY6] = "2001:db8::1:12345<->2001:db8:1::2:80"};
    char got[FLOWKEY_TEXT];
    if (r->key != ANY_KEY)
        assert_string_equal(flowkey_format(key, got), text[r->key]);
}

/* A frame that is accepted stays accepted, and the same, as long as its header is whole; one that is dropped, or cut
 * inside its header, is dropped. */
static void cut_at_every_byte(const struct row *r, const struct guard *g, const struct bytes *b,
                              const struct frame *whole)
{
    uint32_t wire = r->wire_len ? r->wire_len : b->len;
    for (uint32_t caplen = 0; caplen < b->len; caplen++) {
        struct frame f;
        enum cause got = frame_parse(guard_put(g, b->at, caplen), caplen, wire, r->linktype, &f);
        bool saved = r->outcome == SAVED && caplen >= whole->hdr_len;
        if ((got == CAUSE_NONE) != saved)
            fail_msg("%s, cut to %u: %s", r->name, caplen, cause_name(got));
        if (saved) {
            assert_memory_equal(&f.key, &whole->key, sizeof(f.key));
            assert_int_equal(f.hdr_len, whole->hdr_len);
            assert_int_equal(f.clean_len, whole->clean_len);
        }
    }
}

static void row_holds(const struct row *r, const struct guard *g)
{
    struct bytes b;
    struct frame f;
    uint8_t copy[KIT_MAX];
    memset(&f, 0xa5, sizeof(f));
    kit_hex(r->hex, &b);
    const uint8_t *at = guard_put(g, b.at, b.len);
    enum cause got = frame_parse(at, b.len, r->wire_len ? r->wire_len : b.len, r->linktype, &f);
    if (got != r->outcome)
        fail_msg("%s: %s, not %s", r->name, cause_name(got), cause_name(r->outcome));
    if (got == CAUSE_NONE) {
        const uint8_t *canary = memchr(b.at, CANARY, b.len);
        uint32_t end = r->hdr_len ? r->hdr_len : canary ? (uint32_t)(canary - b.at) : b.len;
        if (f.hdr_len != end)
            fail_msg("%s: a header of %u bytes, not %u", r->name, f.hdr_len, end);
        right_key(r, &f.key);
        kit_accepted(&f, at, b.len);
        frame_copy_header(&f, at, copy);
        if (memchr(copy, CANARY, f.hdr_len))
            fail_msg("%s: a canary got into the copy", r->name);
    }
    cut_at_every_byte(r, g, &b, &f);
}

static void every_row_has_its_outcome(void **state)
{
    (void)state;
    struct guard g = guard_new(KIT_MAX);
    for (size_t i = 0; i < LENGTH(frame_rows); i++)
        row_holds(&frame_rows[i], &g);
    guard_free(&g);
}

/* A valid packet in its parts, each with the cause of a cut inside it (up to, not including, its end). */
struct part {
    const char *hex;
    enum cause cut;
};
#define PARTS_MAX 8

static const struct {
    const char *name;
    int linktype;
    struct part parts[PARTS_MAX];
} stacks[] = {
    {"27 IPv4",
     ETH,
     {{E4, CAUSE_SHORT_FRAME},
      {IP4("0034"), CAUSE_BAD_IP4},
      {OPTIONS12, CAUSE_TCP_SHORT},
      {"0101 080a 8*(01)", CAUSE_TCP_BAD_OFFSET}}},
    {"27 IPv4 options",
     ETH,
     {{E4, CAUSE_SHORT_FRAME},
      {"4f00 0050 0001 0000 4006 0000 " SRC4 DST4 "40*(01)", CAUSE_BAD_IP4},
      {TCP, CAUSE_TCP_SHORT}}},
    {"27 IPv6 chain",
     ETH,
     {{E6, CAUSE_SHORT_FRAME},
      {IP6("005c", "00"), CAUSE_BAD_IP6},
      {"3c00 " PAD6 "2b01 " PAD6 "8*(00) 2c02 0400 00000000 " DST6 "3300 0000 00000009 0602 0000 12*(11)",
       CAUSE_EXT_CHAIN},
      {TCP, CAUSE_TCP_SHORT}}},
    {"27 tags, PPPoE, labels",
     ETH,
     {{MACS "4*(8100 0005) 8864 1100 0001 0050 0281 " LABEL BOTTOM, CAUSE_SHORT_FRAME},
      {"45", CAUSE_SHORT_FRAME}, /* without the version nibble there is no IP header to be bad */
      {"00 0028 0001 0000 4006 0000 " SRC4 DST4, CAUSE_BAD_IP4},
      {TCP, CAUSE_TCP_SHORT}}},
    {"27 SNAP",
     ETH,
     {{MACS "0030 aaaa03 000000 86dd", CAUSE_SHORT_FRAME}, {IP6("0014", "06"), CAUSE_BAD_IP6}, {TCP, CAUSE_TCP_SHORT}}},
    {"27 raw",
     LINKTYPE_RAW,
     {{"45", CAUSE_SHORT_FRAME}, {"00 0028 0001 0000 4006 0000 " SRC4 DST4, CAUSE_BAD_IP4}, {TCP, CAUSE_TCP_SHORT}}},
    {"27 SLL2",
     LINKTYPE_LINUX_SLL2,
     {{"8100 0000 00000002 0001 00 06 020000000001 0000 0005 0800", CAUSE_SHORT_FRAME},
      {IP4("0028"), CAUSE_BAD_IP4},
      {TCP, CAUSE_TCP_SHORT}}},
    {"27 PPP", LINKTYPE_PPP, {{"ff03 0021", CAUSE_SHORT_FRAME}, {IP4("0028"), CAUSE_BAD_IP4}, {TCP, CAUSE_TCP_SHORT}}},
    {"27 NULL",
     LINKTYPE_NULL,
     {{"1e000000", CAUSE_SHORT_FRAME}, {IP6("0014", "06"), CAUSE_BAD_IP6}, {TCP, CAUSE_TCP_SHORT}}},
};

/* Hostile input 27. */
static void a_cut_has_its_cause(void **state)
{
    (void)state;
    struct guard g = guard_new(KIT_MAX);
    for (size_t s = 0; s < LENGTH(stacks); s++) {
        struct bytes whole = {.len = 0}, part;
        enum cause cause[KIT_MAX];
        for (size_t i = 0; i < PARTS_MAX && stacks[s].parts[i].hex; i++) {
            kit_hex(stacks[s].parts[i].hex, &part);
            memcpy(whole.at + whole.len, part.at, part.len);
            for (uint32_t n = 0; n < part.len; n++)
                cause[whole.len++] = stacks[s].parts[i].cut;
        }
        cause[whole.len] = CAUSE_NONE;
        for (uint32_t caplen = 0; caplen <= whole.len; caplen++) {
            struct frame f;
            enum cause got = frame_parse(guard_put(&g, whole.at, caplen), caplen, whole.len, stacks[s].linktype, &f);
            if (got != cause[caplen])
                fail_msg("%s, cut to %u: %s, not %s", stacks[s].name, caplen, cause_name(got),
                         cause_name(cause[caplen]));
        }
    }
    guard_free(&g);
}

/* Hostile inputs 6, 20, 26: what must give one key, and both directions of it. */
static void one_connection_one_key(void **state)
{
    (void)state;
    static const char *const same[] = {
        E4 TCP4,
        MACS "8100 0005 0800 " TCP4,
        MACS "8100 0006 0800 " TCP4,
        MACS "8847 " BOTTOM TCP4,
        E6 "60000000 001c 06 40 10*(00) ffff " SRC4 "10*(00) ffff " DST4 TCP DATA,
        E4 "4500 0030 0001 0000 4006 0000 " DST4 SRC4 "0050 3039 00000001 00000002 5018 0100 0000 0000 " DATA,
        E6 "60000000 001c 06 40 10*(00) ffff " DST4 "10*(00) ffff " SRC4
           "0050 3039 00000001 00000002 5018 0100 0000 0000 " DATA,
    };
    struct frame first, f;
    struct bytes b;
    for (size_t i = 0; i < LENGTH(same); i++) {
        kit_hex(same[i], &b);
        assert_int_equal(frame_parse(b.at, b.len, b.len, ETH, &f), CAUSE_NONE);
        if (i == 0)
            first = f;
        assert_memory_equal(&f.key, &first.key, sizeof(f.key));
        assert_int_equal(f.from_low, i < 5);
    }
}

/* Hostile input 28: a caplen that nobody can have is no reason to read on, nor is the wire length one to trust.
 */
static void impossible_lengths(void **state)
{
    (void)state;
    static const uint32_t wire_lens[] = {0, 1, 0x7fffffff, 0xffffffff};
    struct guard g = guard_new(FRAME_MAX_CAPLEN);
    struct bytes b;
    struct frame f;
    uint8_t *at = guard_put(&g, NULL, FRAME_MAX_CAPLEN);
    memset(at, 0, FRAME_MAX_CAPLEN);
    kit_hex(E6 IP6("0000", "00") "3cff", &b);
    memcpy(at, b.at, b.len);
    for (uint32_t off = 54; off + 2 < FRAME_MAX_CAPLEN; off += 2048) {
        at[off] = 60; /* destination options for ever */
        at[off + 1] = 255;
    }
    assert_int_equal(frame_parse(at, 0x7fffffff, 0x7fffffff, ETH, &f), CAUSE_EXT_CHAIN);
    kit_hex(E4 TCP4, &b);
    for (size_t i = 0; i < LENGTH(wire_lens); i++) {
        assert_int_equal(frame_parse(guard_put(&g, b.at, b.len), b.len, wire_lens[i], ETH, &f), CAUSE_NONE);
        assert_int_equal(f.hdr_len, 54);
    }
    guard_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_its_outcome),
        cmocka_unit_test(a_cut_has_its_cause),
        cmocka_unit_test(one_connection_one_key),
        cmocka_unit_test(impossible_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
