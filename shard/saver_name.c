/* SPDX-License-Identifier: Apache-2.0
 * Names: by an event, by the hash source, or none in time. Failure policy: see saver.h. */
#include <string.h>

#include "shard/saver_parts.h"
#include "shared/log.h"

/* A connection that is alive shows a keep-alive every two hours (RFC 1122, 4.2.3.6), and those that do not are cut by
 * translators after little more (RFC 5382, REQ-5): what comes later on the same ports is taken for another. */
#define SAVER_QUIET_NS (INT64_C(124) * 60 * NS_PER_SEC)

/* ---- the hash source: unkeyed, over what the file shows, so that it gives no masked bit away ---- */

static uint8_t *put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return p + 2;
}

static int hash_name(const struct savers *s, const struct flow *f, struct uuid *out)
{
    static const struct siphash_key zero = {0, 0};
    struct flowkey key = f->key;
    uint8_t text[1 + 32 + 4 + 8], *p = text;
    anonymize_key(&s->anonymizer, &key);
    *p++ = key.addr_len;
    for (int i = 0; i < 2; i++) {
        memcpy(p, key.addr[i], key.addr_len);
        p += key.addr_len;
    }
    p = put_be16(put_be16(p, key.port[0]), key.port[1]);
    for (int i = 0; i < 8; i++)
        *p++ = (uint8_t)((uint64_t)f->first_ns >> (8 * i));
    const char *prefix = s->config->uuid_prefix.text[0] ? s->config->uuid_prefix.text : "hash";
    return uuid_from_cookie(out, prefix, siphash_2_4(&zero, text, (size_t)(p - text)));
}

/* ---- naming ---- */

static int64_t days_of(uint32_t yyyymmdd)
{
    return clock_days((int)(yyyymmdd / 10000), (int)(yyyymmdd / 100 % 100), (int)(yyyymmdd % 100));
}

static bool near(uint32_t a, uint32_t b)
{
    int64_t d = days_of(a) - days_of(b);
    return d >= -1 && d <= 1;
}

void savers_note_name(struct savers *s, uint32_t idx, enum name_source source, struct instant now)
{
    sli_add(&s->c->uuid_delay[source], now.ns - arena_flow(s->flows->arena, idx)->first_clock);
}

/* What is remembered of quiet flows of the key is of no more use. */
static void forget_quiet(struct savers *s, const struct flowkey *key, uint64_t hash)
{
    struct claim kept;
    while (pending_count(s->quiet) > 0 && pending_take(s->quiet, key, hash, (struct instant){INT64_MIN}, false, &kept))
        ;
}

static void forget_quiet_of(struct savers *s, const struct flow *f)
{
    if (pending_count(s->quiet) > 0)
        forget_quiet(s, &f->key, flowkey_hash(&f->key, &s->config->hash_key));
}

/* evict: other flows without a name may go for it. */
static bool set_name(struct savers *s, uint32_t idx, const struct flow_name *name, struct instant now, bool evict)
{
    struct flows *fs = s->flows;
    saver_room_for_name(s, idx, evict); /* first: it may seal this flow, too */
    struct arena_change ch = flows_change(fs, idx);
    if (ch.image.flags & FLOW_EMPTY)
        return false;
    if (arena_set_name(fs->arena, idx, &ch.image, name) != SC_OK)
        return false;
    if (!(ch.image.flags & FLOW_DISCARD))
        ch.image.saver = SAVER_UUIDFOUND;
    flows_take(fs, LANE_WORK, idx);
    flows_commit(fs, &ch);
    forget_quiet_of(s, &ch.image);
    saver_touch(s, idx, now);
    if (ch.image.flags & FLOW_GONE) /* named after GC has ended it */
        saver_keep_name(s, idx);
    else
        saver_count_flow(s, idx, (struct instant){arena_flow(fs->arena, idx)->last_clock});
    if (ch.image.stage == FLOW_CLOSED)
        publish_closed(s->publisher, idx);
    else if (s->config->stream)
        publish_stream(s->publisher, idx);
    return true;
}

bool saver_name(struct savers *s, uint32_t idx, const struct uuid *uuid, uint32_t yyyymmdd, bool date_ok,
                struct instant now)
{
    const struct flow *f = arena_flow(s->flows->arena, idx);
    struct flow_name name = {.uuid = *uuid, .yyyymmdd = yyyymmdd};
    if (!date_ok && !near(yyyymmdd, clock_yyyymmdd(s->wall))) {
        name.yyyymmdd = clock_yyyymmdd((struct wall){f->first_ns});
        counter_add(&s->c->date_replaced, 1);
    }
    return set_name(s, idx, &name, now, true);
}

/* Beside live sources the hash names only what has shown data both ways: else a SYN flood would be a flood of files. */
static bool may_be_named_by_hash(const struct savers *s, const struct flow *f)
{
    uint32_t sources = s->config->uuid_sources;
    uint8_t both = FLOW_DATA_LOW | FLOW_DATA_HIGH;
    if (!(sources & UUID_SOURCE_HASH))
        return false;
    return !(sources & (UUID_SOURCE_KERNEL | UUID_SOURCE_EVENTSOCKET)) || (f->flags & both) == both;
}

void saver_keep_name(struct savers *s, uint32_t idx)
{
    const struct flow *f = arena_flow(s->flows->arena, idx);
    if (f->name == ARENA_NONE || saver_ended_on_wire(f))
        return;
    const struct flow_name *name = arena_name(s->flows->arena, f->name);
    struct claim kept = {.key = f->key,
                         .hash = flowkey_hash(&f->key, &s->config->hash_key),
                         .uuid = name->uuid,
                         .yyyymmdd = name->yyyymmdd,
                         .until = {f->last_clock + SAVER_QUIET_NS}};
    if (!name->hashed)
        (void)pending_put(s->quiet, &kept); /* the oldest makes room */
}

void saver_opened(struct savers *s, uint32_t idx, uint64_t hash)
{
    const struct flow *f = arena_flow(s->flows->arena, idx);
    if (f->wire & (FLOW_WIRE_SYN | FLOW_WIRE_SYNACK))
        forget_quiet(s, &f->key, hash);
}

/* Nobody has told a name in time: so it is, most likely, the connection that was quiet before. */
static bool name_again(struct savers *s, uint32_t idx)
{
    const struct flow *f = arena_flow(s->flows->arena, idx);
    struct instant first = {f->first_clock};
    struct claim kept;
    bool again = false;
    if (pending_count(s->quiet) == 0 || f->wire & (FLOW_WIRE_SYN | FLOW_WIRE_SYNACK))
        return false;
    uint64_t hash = flowkey_hash(&f->key, &s->config->hash_key);
    while (pending_take(s->quiet, &f->key, hash, first, false, &kept))
        again = true; /* the last one is the newest */
    struct flow_name name = {.uuid = kept.uuid, .yyyymmdd = kept.yyyymmdd};
    if (!again || !set_name(s, idx, &name, (struct instant){f->last_clock}, false))
        return false;
    savers_note_name(s, idx, NAME_BY_EVENT, (struct instant){arena_state(s->flows->arena)->clock_ns});
    return true;
}

bool saver_wait_over(struct savers *s, uint32_t idx, enum saver_state state)
{
    const struct flow *f = arena_flow(s->flows->arena, idx);
    if (name_again(s, idx) || (may_be_named_by_hash(s, f) && saver_name_by_hash(s, idx)))
        return true;
    counter_add(&s->c->nameless, f->wire & FLOW_WIRE_HANDSHAKE ? 1 : 0);
    struct arena_change ch = flows_change(s->flows, idx);
    flows_count(s->flows, &ch, ARENA_COUNTER(drops) + CAUSE_NO_UUID, f->packets);
    flows_count(s->flows, &ch, ARENA_COUNTER(missed_packets) + state, f->packets);
    ch.image.saver = (uint8_t)state;
    counter_add(&s->c->saver_errors[state - SAVER_ERROR_FIRST], 1);
    flows_tell_lost(s->flows, &ch.image, CAUSE_NO_UUID);
    return flows_empty(s->flows, &ch);
}

bool saver_name_by_hash(struct savers *s, uint32_t idx)
{
    const struct flow *f = arena_flow(s->flows->arena, idx);
    struct flow_name name = {.hashed = 1, .yyyymmdd = clock_yyyymmdd((struct wall){f->first_ns})};
    if (hash_name(s, f, &name.uuid) != SC_OK)
        return false;
    if (!set_name(s, idx, &name, (struct instant){f->last_clock}, false))
        return false;
    savers_note_name(s, idx, NAME_BY_HASH, (struct instant){arena_state(s->flows->arena)->clock_ns});
    return true;
}
