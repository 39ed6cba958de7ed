/* SPDX-License-Identifier: Apache-2.0
 * What a parsed frame says, what its copy holds, which copies are refused; and 200,000 damaged frames, the same ones in
 * every run, before a page that must not be touched. Outcomes of hostile inputs stand in frame_rows.h. */
#include "tests/unit/shared/frame_rows.h"

static void linktypes(void **state)
{
    (void)state;
    static const int known[] = {0, 1, 9, 101, 108, 113, 228, 229, 276};
    static const int unknown[] = {-1, 2, 6, 12, 104, 105, 127, 147, 277, 65536 + 1};
    struct bytes b;
    struct frame f;
    kit_hex(E4 TCP4, &b);
    for (size_t i = 0; i < LENGTH(known); i++)
        assert_true(frame_linktype_known(known[i]));
    for (size_t i = 0; i < LENGTH(unknown); i++) {
        assert_false(frame_linktype_known(unknown[i]));
        assert_int_equal(frame_parse(b.at, b.len, b.len, unknown[i], &f), CAUSE_NOT_TCP);
    }
}

static const struct {
    const char *name;
    int linktype;
    const char *hex;
    uint32_t l3, l4, hdr, clean, payload;
} fields[] = {
    {"plain", ETH, E4 TCP4, 14, 34, 54, 54, 8},
    {"IPv6", ETH, E6 TCP6, 14, 54, 74, 74, 8},
    {"tag", ETH, MACS "8100 0005 0800 " TCP4, 18, 38, 58, 58, 8},
    {"raw", LINKTYPE_RAW, TCP4, 0, 20, 40, 40, 8},
    {"SLL2", LINKTYPE_LINUX_SLL2, "0800 0000 00000002 0001 00 06 020000000001 0000 " TCP4, 20, 40, 60, 60, 8},
    {"IPv4 options", ETH, E4 "4600 0034 0001 0000 4006 0000 " SRC4 DST4 "01010101 " TCP DATA, 14, 38, 58, 58, 8},
    {"extension header", ETH, E6 IP6("0024", "00") "0600 " PAD6 TCP DATA, 14, 62, 82, 82, 8},
    {"payload behind the snaplen", ETH, E4 IP4("05dc") TCP, 14, 34, 54, 54, 1460},
    {"no payload", ETH, E4 IP4("0028") TCP, 14, 34, 54, 54, 0},
    {"trailer is no payload", ETH, E4 IP4("0028") TCP "6*(ca)", 14, 34, 54, 54, 0},
    {"segmentation offload", ETH, E4 IP4("0000") TCP DATA, 14, 34, 54, 54, 0},
    {"big TCP", ETH, E6 IP6("0000", "06") TCP DATA, 14, 54, 74, 74, 0},
    {"clean options", ETH, E4 IP4("003c") OPTIONS12 "0101 080a 8*(11) " DATA, 14, 34, 66, 66, 8},
    {"all padding", ETH, E4 IP4("003c") OPTIONS12 "12*(00) " DATA, 14, 34, 66, 54, 8},
    {"end of options", ETH, E4 IP4("003c") OPTIONS12 "020405b4 0101 00 5*(ca) " DATA, 14, 34, 66, 60, 8},
    {"bad option", ETH, E4 IP4("003c") OPTIONS12 "020405b4 0101 fd 5*(00) " DATA, 14, 34, 66, 60, 8},
    {"bad first option", ETH, E4 IP4("003c") OPTIONS12 "fd01 10*(ca) " DATA, 14, 34, 66, 54, 8},
    {"lone kind at the end", ETH, E4 IP4("003c") OPTIONS12 "11*(01) fd " DATA, 14, 34, 66, 65, 8},
};

static void fields_are_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(fields); i++) {
        struct bytes b;
        struct frame f;
        memset(&f, 0xa5, sizeof(f));
        kit_hex(fields[i].hex, &b);
        assert_int_equal(frame_parse(b.at, b.len, b.len, fields[i].linktype, &f), CAUSE_NONE);
        if (f.l3_off != fields[i].l3 || f.l4_off != fields[i].l4 || f.hdr_len != fields[i].hdr ||
            f.clean_len != fields[i].clean || f.payload_len != fields[i].payload)
            fail_msg("%s: l3 %u l4 %u hdr %u clean %u payload %u", fields[i].name, f.l3_off, f.l4_off, f.hdr_len,
                     f.clean_len, f.payload_len);
        assert_true(f.from_low);
        assert_int_equal(f.tcp_seq, 1);
        assert_int_equal(f.tcp_flags, TCP_ACK | 8);
        kit_accepted(&f, b.at, b.len);
    }
}

static void flags_and_sequence(void **state)
{
    (void)state;
    struct bytes b;
    struct frame f;
    kit_hex(E4 IP4("0028") "3039 0050 fedcba98 00000002 5117 0100 0000 0000 ", &b);
    assert_int_equal(frame_parse(b.at, b.len, b.len, ETH, &f), CAUSE_NONE);
    assert_int_equal(f.tcp_flags, TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK);
    assert_true(f.tcp_seq == 0xfedcba98);
}

/* A shard trusts the offsets of a ring record no further than this. */
static void bad_copies_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t hdr_len, l3, l4;
    } bad[] = {
        {54, 34, 34},         {54, 35, 34},         {54, 54, 14},
        {54, 14, 33},         {54, 15, 34},         {54, 14, 35},
        {53, 14, 34},         {54, 14, 54},         {54, 14, 55},
        {54, 0xffffffff, 34}, {54, 14, 0xffffffff}, {0, 0, 0},
        {0, 0, 20},           {19, 0, 20},          {54, 0xfffffff0, 0xffffffff},
        {65536, 14, 34},      {0xffffffff, 14, 34}, {54, 14, 0x80000022},
        {20, 0, 20},          {54, 0, 34},
    };
    struct guard g = guard_new(KIT_MAX);
    struct bytes b;
    struct frame f;
    kit_hex(E4 IP4("0028") TCP, &b);
    const uint8_t *at = guard_put(&g, b.at, b.len);
    assert_true(frame_from_copy(at, 54, 14, 34, &f));
    for (size_t i = 0; i < LENGTH(bad); i++)
        if (frame_from_copy(at, bad[i].hdr_len, bad[i].l3, bad[i].l4, &f))
            fail_msg("accepted: length %u, offsets %u and %u", bad[i].hdr_len, bad[i].l3, bad[i].l4);
    b.at[14] = 0x65; /* IPv6: 20 bytes are no header */
    assert_false(frame_from_copy(guard_put(&g, b.at, b.len), 54, 14, 34, &f));
    b.at[14] = 0x55;
    assert_false(frame_from_copy(guard_put(&g, b.at, b.len), 54, 14, 34, &f));
    guard_free(&g);
}

/* ---- damaged frames ---- */

static uint64_t dice_state;

/* xorshift64 (Marsaglia 2003): the same numbers everywhere. */
static uint32_t dice(uint32_t sides)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return (uint32_t)(dice_state >> 33) % sides;
}

static void damage(struct bytes *b)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x04, 0x05, 0x0f, 0x40, 0x45, 0x4f, 0x60, 0x7f, 0x80, 0xff};
    if (b->len == 0)
        return;
    uint32_t at = dice(b->len < 120 ? b->len : 120), rest = b->len - at, n;
    switch (dice(6)) {
    case 0:
        b->at[at] = (uint8_t)dice(256);
        break;
    case 1:
        b->at[at] ^= (uint8_t)(1 << dice(8));
        break;
    case 2:
        b->at[at] = edges[dice(LENGTH(edges))];
        break;
    case 3:
        b->len = at;
        break;
    case 4: /* a few bytes twice: tags, labels, headers within headers */
        n = 1 + dice(rest < 40 ? rest : 40);
        if (b->len + n <= KIT_MAX) {
            memmove(b->at + at + n, b->at + at, rest);
            b->len += n;
        }
        break;
    default: /* a few bytes lost */
        n = 1 + dice(rest < 40 ? rest : 40);
        memmove(b->at + at, b->at + at + n, rest - n);
        b->len -= n;
    }
}

/* No byte behind the header has a say in anything, and none gets into the copy. */
static void payload_has_no_say(const struct frame *f, uint8_t *at, uint32_t caplen, uint32_t wire, int linktype)
{
    struct frame again;
    memset(&again, 0, sizeof(again));
    memset(at + f->hdr_len, CANARY, caplen - f->hdr_len);
    assert_int_equal(frame_parse(at, caplen, wire, linktype, &again), CAUSE_NONE);
    assert_memory_equal(&again, f, sizeof(again));
    memset(at + f->hdr_len, 0, caplen - f->hdr_len);
    memset(&again, 0, sizeof(again));
    assert_int_equal(frame_parse(at, caplen, wire, linktype, &again), CAUSE_NONE);
    assert_memory_equal(&again, f, sizeof(again));
    kit_accepted(f, at, caplen);
}

static void damaged_frames(void **state)
{
    (void)state;
    enum { ROUNDS = 200000 };
    static const int linktypes_of[] = {ETH,          ETH,          ETH, ETH, LINKTYPE_RAW, LINKTYPE_LINUX_SLL,
                                       LINKTYPE_PPP, LINKTYPE_NULL};
    static struct bytes seeds[LENGTH(frame_rows)];
    struct guard g = guard_new(KIT_MAX);
    uint32_t outcomes[CAUSE_COUNT + 1] = {0};
    dice_state = UINT64_C(0x5eed5eed5eed5eed);
    for (size_t i = 0; i < LENGTH(frame_rows); i++)
        kit_hex(frame_rows[i].hex, &seeds[i]);
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t row = dice(LENGTH(frame_rows));
        struct bytes b;
        struct frame f;
        b.len = seeds[row].len;
        memcpy(b.at, seeds[row].at, b.len);
        for (uint32_t n = dice(4); n > 0; n--)
            damage(&b);
        int linktype = dice(8) ? frame_rows[row].linktype : linktypes_of[dice(LENGTH(linktypes_of))];
        uint8_t *at = guard_put(&g, b.at, b.len);
        uint32_t wire = b.len + dice(3) * 1000;
        memset(&f, 0, sizeof(f));
        enum cause cause = frame_parse(at, b.len, wire, linktype, &f);
        assert_in_range(cause, 0, CAUSE_NONE);
        outcomes[cause]++;
        if (cause == CAUSE_NONE)
            payload_has_no_say(&f, at, b.len, wire, linktype);
    }
    /* The damage must not be so great that the frames tell nothing: every outcome of the parser is met often. */
    static const enum cause met[] = {CAUSE_SHORT_FRAME,    CAUSE_BAD_IP4,   CAUSE_BAD_IP6, CAUSE_EXT_CHAIN,
                                     CAUSE_TCP_SHORT,      CAUSE_NOT_TCP,   CAUSE_TUNNEL,  CAUSE_FRAG_NONINITIAL,
                                     CAUSE_TCP_BAD_OFFSET, CAUSE_VLAN_DEPTH};
    for (size_t i = 0; i < LENGTH(met); i++)
        assert_true(outcomes[met[i]] > 500);
    assert_true(outcomes[CAUSE_NONE] > ROUNDS / 4);
    guard_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linktypes),          cmocka_unit_test(fields_are_right),
        cmocka_unit_test(flags_and_sequence), cmocka_unit_test(bad_copies_are_refused),
        cmocka_unit_test(damaged_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
