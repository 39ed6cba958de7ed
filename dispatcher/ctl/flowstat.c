/* SPDX-License-Identifier: Apache-2.0
 * Sequence numbers are unrolled to 64 bits next to the highest seen, so that they compare.
 * Failure policy: what cannot be parsed is counted; nothing else can fail. */
#include "dispatcher/ctl/flowstat.h"

#include <string.h>

#define TCP_HEADER 20u
#define UNROLL_START (UINT64_C(1) << 40) /* so that what comes before the first packet seen is not negative */

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The unrolled number next to `near` that ends in these 32 bits. */
static uint64_t unroll(uint64_t near, uint32_t seq)
{
    return near + (uint64_t)(int64_t)(int32_t)(seq - (uint32_t)near);
}

static void add_sample(struct flowstat_rtt *r, int64_t ns)
{
    if (ns < 0)
        return;
    if (r->samples == 0 || ns < r->min_ns)
        r->min_ns = ns;
    if (ns > r->max_ns)
        r->max_ns = ns;
    r->sum_ns += ns;
    r->samples++;
}

/* ---- timestamps (RFC 7323) ---- */

/* TSval and TSecr of the options at p; false if they hold none. */
static bool timestamps(const uint8_t *p, size_t n, uint32_t *tsval, uint32_t *tsecr)
{
    while (n > 0 && p[0] != 0) {
        size_t len = p[0] == 1 ? 1 : n > 1 ? p[1] : 0;
        if (len == 0 || len > n || (p[0] != 1 && len < 2))
            return false;
        if (p[0] == 8 && len == 10) {
            *tsval = be32(p + 2);
            *tsecr = be32(p + 6);
            return true;
        }
        p += len;
        n -= len;
    }
    return false;
}

static void sent_timestamp(struct flowstat_side *s, uint32_t tsval, struct wall ts)
{
    if (s->packets > 1 && tsval == s->last_tsval)
        return; /* the first of several is what is echoed first */
    s->last_tsval = tsval;
    if (s->waiting == FLOWSTAT_TIMESTAMPS) {
        memmove(&s->sent[0], &s->sent[1], sizeof s->sent - sizeof s->sent[0]);
        s->waiting--;
    }
    s->sent[s->waiting].tsval = tsval;
    s->sent[s->waiting++].at = ts;
}

/* The other side has answered what we sent with that TSval, and all before. */
static void echoed_timestamp(struct flowstat_side *s, uint32_t tsecr, struct wall ts)
{
    for (unsigned i = s->waiting; i-- > 0;) {
        if (s->sent[i].tsval != tsecr)
            continue;
        add_sample(&s->rtt, ts.ns - s->sent[i].at.ns);
        s->waiting -= i + 1;
        memmove(&s->sent[0], &s->sent[i + 1], s->waiting * sizeof s->sent[0]);
        return;
    }
}

/* ---- sequence numbers ---- */

static void open_gap(struct flowstat_side *s, uint64_t from, uint64_t to)
{
    if (s->gaps == FLOWSTAT_GAPS) {
        memmove(&s->gap[0], &s->gap[1], sizeof s->gap - sizeof s->gap[0]);
        s->gaps--;
    }
    s->gap[s->gaps].from = from;
    s->gap[s->gaps++].to = to;
}

/* Takes [from, to) out of the gaps. True if anything of it was one. */
static bool fill_gaps(struct flowstat_side *s, uint64_t from, uint64_t to)
{
    bool filled = false;
    for (unsigned i = 0; i < s->gaps;) {
        uint64_t a = s->gap[i].from, b = s->gap[i].to;
        if (to <= a || from >= b) {
            i++;
            continue;
        }
        filled = true;
        s->gaps--;
        memmove(&s->gap[i], &s->gap[i + 1], (s->gaps - i) * sizeof s->gap[0]);
        if (from > a)
            open_gap(s, a, from);
        if (to < b)
            open_gap(s, to, b);
    }
    return filled;
}

static enum flowstat_kind take_segment(struct flowstat_side *s, uint64_t from, uint64_t len)
{
    uint64_t to = from + len;
    if (len == 0)
        return FLOWSTAT_EMPTY;
    if (to > s->top) {
        if (from > s->top)
            open_gap(s, s->top, from);
        (void)fill_gaps(s, from, s->top);
        s->top = to;
        return FLOWSTAT_NEW;
    }
    if (from < s->base || fill_gaps(s, from, to)) { /* before the first packet that we saw: it was under way */
        s->out_of_order++;
        return FLOWSTAT_OUT_OF_ORDER;
    }
    s->retransmissions++;
    return FLOWSTAT_RETRANSMISSION;
}

/* ---- packets ---- */

static void handshake(struct flowstat *s, const struct frame *f, unsigned side, struct wall ts)
{
    unsigned flags = f->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST);
    if (side == 0 && flags == TCP_SYN && s->syn_at.ns == 0) {
        s->syn_at = ts;
    } else if (side == 1 && flags == (TCP_SYN | TCP_ACK) && s->synack_at.ns == 0) {
        s->synack_at = ts;
        if (s->syn_at.ns)
            s->handshake_ns[0] = ts.ns - s->syn_at.ns;
    } else if (side == 0 && flags == TCP_ACK && s->synack_at.ns && s->handshake_ns[1] < 0) {
        s->handshake_ns[1] = ts.ns - s->synack_at.ns;
    }
}

/* The first packet decides who the client is; a SYN-ACK is the server's. */
static void begin(struct flowstat *s, const struct frame *f, struct wall ts)
{
    bool from_server = (f->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK);
    s->key = f->key;
    s->client_low = f->from_low != from_server;
    s->first = s->last = ts;
}

static void sequence(struct flowstat *s, const struct frame *f, const uint8_t *tcp, struct flowstat_packet *what)
{
    struct flowstat_side *mine = &s->side[what->side], *peer = &s->side[1 - what->side];
    if (!mine->begun) {
        mine->begun = true;
        mine->base = mine->top = unroll(UNROLL_START, f->tcp_seq);
    }
    uint64_t from = unroll(mine->top, f->tcp_seq);
    what->len = f->payload_len + ((f->tcp_flags & TCP_SYN) != 0) + ((f->tcp_flags & TCP_FIN) != 0);
    what->kind = take_segment(mine, from, what->len);
    what->seq = (int64_t)(from - mine->base);
    uint32_t ack = be32(tcp + 8);
    if (!(f->tcp_flags & TCP_ACK))
        return;
    if (!peer->begun) { /* what was sent before we looked */
        peer->begun = true;
        peer->base = peer->top = unroll(UNROLL_START, ack);
    }
    what->has_ack = true;
    what->ack = (int64_t)(unroll(peer->top, ack) - peer->base);
}

void flowstat_add(struct flowstat *s, const uint8_t *bytes, uint32_t caplen, uint32_t wire_len, int linktype,
                  struct wall ts, struct flowstat_packet *what)
{
    struct frame f;
    *what = (struct flowstat_packet){0};
    if (frame_parse(bytes, caplen, wire_len, linktype, &f) != CAUSE_NONE) {
        s->cut++;
        return;
    }
    if (s->packets == 0)
        begin(s, &f, ts);
    if (!flowkey_equal(&s->key, &f.key)) {
        s->others++;
        return;
    }
    what->mine = true;
    what->side = f.from_low == s->client_low ? 0 : 1;
    s->packets++;
    if (ts.ns < s->first.ns)
        s->first = ts;
    if (ts.ns > s->last.ns)
        s->last = ts;

    struct flowstat_side *mine = &s->side[what->side], *peer = &s->side[1 - what->side];
    mine->packets++;
    mine->wire_bytes += wire_len;
    mine->payload_bytes += f.payload_len;
    mine->syn += (f.tcp_flags & TCP_SYN) != 0;
    mine->fin += (f.tcp_flags & TCP_FIN) != 0;
    mine->rst += (f.tcp_flags & TCP_RST) != 0;
    handshake(s, &f, what->side, ts);
    sequence(s, &f, bytes + f.l4_off, what);

    uint32_t tsval, tsecr;
    size_t options = f.l4_off + TCP_HEADER;
    if (f.clean_len > options && timestamps(bytes + options, f.clean_len - options, &tsval, &tsecr)) {
        if (f.tcp_flags & TCP_ACK)
            echoed_timestamp(peer, tsecr, ts);
        sent_timestamp(mine, tsval, ts);
    }
}
