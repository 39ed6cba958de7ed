/* SPDX-License-Identifier: Apache-2.0
 * Packets into flows: records, limits, ends. Names stand in saver_name.c, admission in saver_room.c.
 * Failure policy: see saver.h. */
#include "shard/saver.h"

#include <stdlib.h>
#include <string.h>

#include "shard/saver_parts.h"
#include "shared/log.h"

#define PCAP_HEAD 24u
#define RECORD_HEAD 16u

int savers_init(struct savers *s)
{
    s->scratch = malloc(PCAP_HEAD + RECORD_HEAD + FRAME_MAX_CAPLEN);
    s->pressure_at = s->current = ARENA_NONE;
    savers_room_init(s);
    s->counted = 0;
    s->tick_from = s->tick_to = 0;
    s->sealed = 0;
    s->count_tick = INT64_MIN;
    s->wall = (struct wall){0};
    s->quiet = pending_new();
    savers_addresses(s);
    return s->scratch && s->quiet ? SC_OK : SC_ENOMEM;
}

void savers_free(struct savers *s)
{
    free(s->scratch);
    pending_free(s->quiet);
    s->scratch = NULL;
    s->quiet = NULL;
}

void savers_addresses(struct savers *s)
{
    const struct arena_state *st = arena_state(s->flows->arena);
    struct anonymizer *a = &s->anonymizer;
    *a = s->config->anonymizer;
    for (uint32_t i = 0; i < st->address_count && a->exempt_count < ANONYMIZE_EXEMPT_MAX; i++)
        a->exempt[a->exempt_count++] = st->addresses[i];
}

int64_t saver_tick_anew(struct savers *s, struct instant t)
{
    int64_t q = s->config->flowtimeout_ns, n = t.ns / q;
    if (t.ns < 0) /* before 1970 in a savefile: rare enough to be left out of the memory */
        return t.ns % q < 0 ? n - 1 : n;
    s->tick_from = n * q;
    s->tick_to = n < INT64_MAX / q ? (n + 1) * q : INT64_MAX;
    return s->tick = n;
}

/* ---- records: classic pcap, little endian, nanoseconds ---- */

static uint8_t *put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    return put16(put16(p, (uint16_t)v), (uint16_t)(v >> 16));
}

static uint32_t write_pcap_head(uint8_t *p, const struct flow *f)
{
    p = put32(p, 0xa1b23c4d);
    p = put16(p, 2);
    p = put16(p, 4);
    p = put32(p, 0);
    p = put32(p, 0);
    p = put32(p, f->hdr_len);
    put32(p, f->linktype);
    return PCAP_HEAD;
}

/* min(caplen, header length of the flow) bytes: the header copy, anonymized as a whole before it is cut (a checksum can
 * only be judged whole), then zeros. */
static uint32_t write_record(const struct savers *s, uint8_t *out, const struct flow *f, const struct packet *p)
{
    const struct ring_record *rec = p->rec;
    int64_t sec = rec->ts_ns / NS_PER_SEC, ns = rec->ts_ns % NS_PER_SEC;
    uint32_t incl = rec->caplen < f->hdr_len ? rec->caplen : f->hdr_len;
    uint32_t copied = rec->hdr_len < incl ? rec->hdr_len : incl;
    if (ns < 0) {
        ns += NS_PER_SEC;
        sec--;
    }
    uint8_t *at = put32(out, (uint32_t)(uint64_t)sec);
    at = put32(at, (uint32_t)ns);
    at = put32(at, incl);
    at = put32(at, rec->wire_len);
    memcpy(at, p->hdr, rec->hdr_len);
    anonymize_header(&s->anonymizer, rec->linktype, at, rec->hdr_len, p->frame.l3_off, p->frame.l4_off);
    memset(at + copied, 0, incl - copied);
    return RECORD_HEAD + incl;
}

/* ---- what a packet changes in its flow, saved or not ---- */

static void see_packet(struct savers *s, struct flow *im, const struct packet *p)
{
    const struct frame *fr = &p->frame;
    if (p->clock.ns > im->last_clock)
        im->last_clock = p->clock.ns;
    if (fr->tcp_flags & TCP_RST)
        im->wire |= fr->from_low ? FLOW_WIRE_RST | FLOW_WIRE_RST_LOW : FLOW_WIRE_RST | FLOW_WIRE_RST_HIGH;
    if (p->rec->payload_len > 0)
        im->flags |= fr->from_low ? FLOW_DATA_LOW : FLOW_DATA_HIGH;
    if (fr->tcp_flags & TCP_FIN)
        im->wire |= fr->from_low ? FLOW_WIRE_FIN_LOW : FLOW_WIRE_FIN_HIGH;
    if ((fr->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
        im->wire |= FLOW_WIRE_SYNACK;
    if ((fr->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK)
        im->wire |= FLOW_WIRE_HANDSHAKE;
    if (im->saver == SAVER_READINGCANDIDATEPACKETS && im->wire & FLOW_WIRE_HANDSHAKE)
        im->saver = SAVER_UUIDWAIT;
    s->wall.ns = p->rec->ts_ns;
}

bool saver_ended_on_wire(const struct flow *f)
{
    uint8_t fins = FLOW_WIRE_FIN_LOW | FLOW_WIRE_FIN_HIGH;
    return f->wire & FLOW_WIRE_RST || (f->wire & fins) == fins;
}

bool saver_reused(const struct flow *f, const struct frame *frame)
{
    if ((frame->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN || !saver_ended_on_wire(f))
        return false;
    return !(f->wire & FLOW_WIRE_SYN) || f->syn_seq != frame->tcp_seq;
}

/* ---- packets ---- */

static void commit_packet(struct savers *s, struct arena_change *ch, const struct packet *p)
{
    flows_count(s->flows, ch, ARENA_COUNTER(consumed), 1);
    arena_set_applied(s->flows->arena, s->dispatcher, p->applied, p->clock.ns);
    flows_commit(s->flows, ch);
}

static void commit_drop(struct savers *s, struct arena_change *ch, const struct packet *p, enum cause cause)
{
    flows_count(s->flows, ch, ARENA_COUNTER(drops) + cause, 1);
    if (cause != CAUSE_CAPTURE_LIMIT)
        flows_count(s->flows, ch, ARENA_COUNTER(missed_packets) + ch->image.saver, 1);
    if (cause == CAUSE_BUDGET)
        flows_count(s->flows, ch, ARENA_COUNTER(saver_skipped), 1);
    commit_packet(s, ch, p);
}

void savers_drop(struct savers *s, const struct arena_applied *applied, struct instant clock, enum cause cause,
                 uint64_t packets)
{
    struct arena_change ch = {.flow = ARENA_NONE};
    flows_count(s->flows, &ch, ARENA_COUNTER(consumed), packets);
    flows_count(s->flows, &ch, ARENA_COUNTER(drops) + cause, packets);
    if (cause == CAUSE_BUDGET || cause == CAUSE_DISK_FULL) {
        flows_count(s->flows, &ch, ARENA_COUNTER(missed_packets) + SAVER_SKIPPED, packets);
        flows_count(s->flows, &ch, ARENA_COUNTER(saver_skipped), packets);
    } else if (cause == CAUSE_MAXFLOWS) {
        flows_count(s->flows, &ch, ARENA_COUNTER(ignored), packets);
    }
    arena_set_applied(s->flows->arena, s->dispatcher, *applied, clock.ns);
    arena_commit(s->flows->arena, &ch);
}

static void begin_image(struct flow *im, const struct packet *p)
{
    const struct frame *fr = &p->frame;
    uint32_t hdr_len = fr->l4_off + (uint32_t)FRAME_TCP_MAX;
    im->key = fr->key;
    im->hdr_len = (uint16_t)(hdr_len < FRAME_MAX_CAPLEN ? hdr_len : FRAME_MAX_CAPLEN);
    im->linktype = p->rec->linktype;
    im->if_index = p->rec->if_index;
    im->first_ns = p->rec->ts_ns;
    im->first_clock = im->last_clock = p->clock.ns;
    im->stage = FLOW_OPEN;
    im->saver = SAVER_READINGCANDIDATEPACKETS;
    if ((fr->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
        im->wire = FLOW_WIRE_SYN;
        im->syn_seq = fr->tcp_seq;
    } else if (!(fr->tcp_flags & TCP_SYN)) {
        im->wire = FLOW_WIRE_HANDSHAKE; /* first seen in mid-stream */
    }
}

uint32_t saver_open(struct savers *s, const struct packet *p)
{
    struct arena *a = s->flows->arena;
    struct arena_change ch = {.flow = ARENA_NONE};
    int err = arena_flow_take(a, &ch.flow, &ch.image);
    if (err && saver_evict(s, LIST_HALFOPEN, CAUSE_HALFOPEN_EVICTED)) /* all slots are taken */
        err = arena_flow_take(a, &ch.flow, &ch.image);
    if (!err) {
        begin_image(&ch.image, p);
        see_packet(s, &ch.image, p);
        uint32_t n = write_pcap_head(s->scratch, &ch.image);
        n += write_record(s, s->scratch + n, &ch.image, p);
        err = arena_append(a, ch.flow, &ch.image, s->scratch, n);
        ch.image.packets = 1;
        flows_count(s->flows, &ch, ARENA_COUNTER(consumed), 1);
        flows_count(s->flows, &ch, ARENA_COUNTER(flows_started), 1);
        flows_count(s->flows, &ch, ARENA_COUNTER(saver_starts), 1);
        arena_set_applied(a, s->dispatcher, p->applied, p->clock.ns);
        if (!err) {
            err = flows_add(s->flows, p->hash, &ch);
            if (err)
                arena_append_undo(a, ch.flow, &ch.image);
        }
        if (err)
            arena_flow_return(a, ch.flow);
    }
    if (err) {
        savers_drop(s, &p->applied, p->clock, CAUSE_BUDGET, 1);
        return ARENA_NONE;
    }
    saver_count_flow(s, ch.flow, p->clock);
    if (s->config->maxpackets == 1)
        saver_full(s, ch.flow);
    if (s->flows->list[LIST_HALFOPEN].count > saver_probation_cap(s)) /* not the new one: it is the last */
        (void)saver_evict(s, LIST_HALFOPEN, CAUSE_HALFOPEN_EVICTED);
    return ch.flow;
}

static enum cause discard_cause(const struct flow *f)
{
    switch ((enum saver_state)f->saver) {
    case SAVER_UUIDTIMEDOUT_ERROR:
    case SAVER_UUIDCHANCLOSED_ERROR:
        return CAUSE_NO_UUID;
    case SAVER_MKDIR_ERROR:
    case SAVER_FILEOPEN_ERROR:
    case SAVER_WRITEPARTIAL_ERROR:
    case SAVER_STREAMING_ERROR:
    case SAVER_WRITEFINAL_ERROR:
        return f->flags & FLOW_DISK_FULL ? CAUSE_DISK_FULL : CAUSE_DISK_ERROR;
    default:
        return CAUSE_CAPTURE_LIMIT;
    }
}

/* No further record of n bytes is asked for. (maxpackets here, too: a predecessor may have died just after the last.)
 */
static bool is_full(const struct savers *s, const struct flow *f, uint32_t n)
{
    const struct config *c = s->config;
    return (c->maxpackets > 0 && f->packets >= c->maxpackets) || (c->maxfilesize > 0 && f->total + n > c->maxfilesize);
}

/* Seals a chunk when it is time; without room it stays raw. */
static void seal_ripe(struct savers *s, uint32_t idx)
{
    if (chunk_ripe(s->sealer, arena_flow(s->flows->arena, idx)))
        (void)saver_seal(s, idx);
}

void saver_packet(struct savers *s, uint32_t idx, const struct packet *p)
{
    /* First, because it may seal this flow, too; the image is taken afterwards. */
    const struct flow *f = arena_flow(s->flows->arena, idx);
    s->current = idx;
    bool room = f->flags & FLOW_DISCARD || savers_room(s, f->name == ARENA_NONE ? ROOM_FOR_PACKET : ROOM_FOR_NAMED);
    s->current = ARENA_NONE;
    struct arena_change ch;
    flows_change_hot(s->flows, idx, &ch);
    /* The list is in order of ticks, all that expiry looks at: most packets leave it alone. */
    if (saver_tick(s, p->clock) != saver_tick(s, (struct instant){ch.image.last_clock}))
        flows_put(s->flows, LIST_ACTIVITY, idx);
    see_packet(s, &ch.image, p);
    if (s->flows->priv[idx].list[LANE_WORK] == LIST_HALFOPEN && ch.image.wire & FLOW_WIRE_HANDSHAKE)
        flows_put(s->flows, LIST_WAITING, idx);
    saver_count_flow(s, idx, p->clock);
    if (p->rec->linktype != ch.image.linktype) {
        commit_drop(s, &ch, p, CAUSE_LINKTYPE_CHANGED);
        return;
    }
    if (ch.image.flags & FLOW_DISCARD) {
        commit_drop(s, &ch, p, discard_cause(&ch.image));
        return;
    }
    uint32_t n = write_record(s, s->scratch, &ch.image, p);
    if (is_full(s, &ch.image, n)) {
        commit_drop(s, &ch, p, CAUSE_CAPTURE_LIMIT);
        saver_full(s, idx);
        return;
    }
    if (!room || arena_append(s->flows->arena, idx, &ch.image, s->scratch, n) != SC_OK) {
        commit_drop(s, &ch, p, CAUSE_BUDGET);
        return;
    }
    ch.image.packets++;
    commit_packet(s, &ch, p);
    if (s->config->maxpackets > 0 && ch.image.packets >= s->config->maxpackets)
        saver_full(s, idx);
    else
        seal_ripe(s, idx);
}

/* ---- ends ---- */

void saver_lost(struct savers *s, uint32_t idx)
{
    struct arena_change ch = flows_change(s->flows, idx);
    flows_count(s->flows, &ch, ARENA_COUNTER(drops) + CAUSE_ARENA_LOST, ch.image.packets);
    ch.image.saver = SAVER_WRITEFINAL_ERROR;
    flows_tell_lost(s->flows, &ch.image, CAUSE_ARENA_LOST);
    (void)flows_empty(s->flows, &ch);
}

/* The packets of idx are complete; the image in ch says why. */
static void complete(struct savers *s, struct arena_change *ch)
{
    bool was_open = ch->image.stage == FLOW_OPEN;
    if (was_open)
        ch->image.stage = FLOW_CLOSED;
    flows_take(s->flows, LANE_AGE, ch->flow);
    flows_commit(s->flows, ch);
    if (was_open && ch->image.name != ARENA_NONE)
        publish_closed(s->publisher, ch->flow);
}

void saver_full(struct savers *s, uint32_t idx)
{
    struct arena_change ch = flows_change(s->flows, idx);
    ch.image.flags |= FLOW_DISCARD;
    ch.image.saver = SAVER_DISCARDINGPACKETS;
    complete(s, &ch);
}

bool saver_end(struct savers *s, uint32_t idx)
{
    struct arena_change ch = flows_change(s->flows, idx);
    ch.image.flags |= FLOW_GONE;
    flows_take(s->flows, LANE_ACTIVITY, idx);
    if (ch.image.flags & FLOW_EMPTY)
        return flows_empty(s->flows, &ch);
    complete(s, &ch);
    return true;
}

bool saver_settle(struct savers *s, uint32_t idx, struct instant now)
{
    const struct flow *f = arena_flow(s->flows->arena, idx);
    if (!s->hold && f->name == ARENA_NONE && !(f->flags & FLOW_EMPTY) &&
        now.ns - f->first_clock > s->config->uuidwaitduration_ns && !saver_wait_over(s, idx, SAVER_UUIDTIMEDOUT_ERROR))
        return false;
    if (f->flags & FLOW_GONE)
        return true;
    if (saver_tick(s, now) >= saver_tick(s, (struct instant){f->last_clock}) + 2) {
        counter_add(&s->c->savers_collected, 1);
        saver_keep_name(s, idx);
        return saver_end(s, idx);
    }
    if (!(f->flags & FLOW_DISCARD) && now.ns - f->first_clock > s->config->captureduration_ns)
        saver_full(s, idx);
    return true;
}

void saver_finish(struct savers *s, uint32_t idx)
{
    const struct flow *f = arena_flow(s->flows->arena, idx);
    if (!(f->flags & FLOW_GONE) && !saver_end(s, idx))
        return;
    if (f->name == ARENA_NONE && !(f->flags & FLOW_EMPTY))
        (void)saver_wait_over(s, idx, SAVER_UUIDCHANCLOSED_ERROR);
}
