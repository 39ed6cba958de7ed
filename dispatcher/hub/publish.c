/* SPDX-License-Identifier: Apache-2.0
 * Event -> owning shard. Journal first, then page: what a shard has seen is always in the journal.
 * Failure policy: a bad line is counted by reason and refused; sending never fails from here (a lost page shows as a
 * gap, which the shard heals by a replay). */
#include "dispatcher/hub/publish.h"

#include <stdlib.h>
#include <string.h>

#include "shared/bus.h"

struct outgoing {
    char *page; /* BUS_PAGE_MAX; lines from BUS_PAGE_HEAD on */
    size_t len; /* bytes of lines */
    uint32_t count;
    uint64_t first;
};

struct publish {
    struct publish_setup s;
    struct outgoing out[SHARDS_MAX];
};

struct publish *publish_new(const struct publish_setup *setup)
{
    struct publish *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->s = *setup;
    for (unsigned i = 0; i < p->s.shards; i++) {
        p->out[i].page = malloc(BUS_PAGE_MAX);
        if (!p->out[i].page) {
            publish_free(p);
            return NULL;
        }
    }
    return p;
}

void publish_free(struct publish *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < p->s.shards; i++)
        free(p->out[i].page);
    free(p);
}

static void flush_shard(struct publish *p, unsigned shard)
{
    struct outgoing *o = &p->out[shard];
    if (o->count == 0)
        return;
    char head[BUS_PAGE_HEAD];
    size_t head_len = bus_page_head(head, journal_epoch(p->s.journal), o->first, o->count);
    char *start = o->page + BUS_PAGE_HEAD - head_len;
    memcpy(start, head, head_len);
    p->s.send(p->s.ctx, shard, start, head_len + o->len);
    counter_add(&p->s.counters->pages, 1);
    o->count = 0;
    o->len = 0;
}

static void add_to_page(struct publish *p, unsigned shard, uint64_t seq, const char *line, size_t len)
{
    struct outgoing *o = &p->out[shard];
    if (len + 1 > BUS_PAGE_MAX - BUS_PAGE_HEAD - o->len)
        flush_shard(p, shard);
    if (o->count++ == 0)
        o->first = seq;
    char *at = o->page + BUS_PAGE_HEAD + o->len;
    memcpy(at, line, len);
    at[len] = '\n';
    o->len += len + 1;
}

/* The form that travels: the line as it came while it is short; a long one (unknown keys, blanks) is rewritten, so
 * that padding cannot push other events out of the journal. */
static const char *travelling_form(const char *line, size_t *len, const struct flowevent *ev, char text[FLOWEVENT_TEXT])
{
    if (*len < FLOWEVENT_TEXT)
        return line;
    int n = flowevent_format(ev, text, FLOWEVENT_TEXT);
    if (n < 0)
        return line;
    *len = (size_t)n;
    return text;
}

void publish_count_bad(struct publish *p, enum flowevent_bad bad)
{
    counter_add(&p->s.counters->bad_events[bad], 1);
}

static enum publish_result refuse(struct publish *p, enum flowevent_bad bad, struct publish_receipt *receipt)
{
    publish_count_bad(p, bad);
    receipt->bad = bad;
    return PUBLISH_REFUSED;
}

/* Journal, then page. line is the event in the form that travels. */
static enum publish_result take(struct publish *p, const struct flowevent *ev, const char *line, size_t len,
                                struct mono now, struct publish_receipt *receipt)
{
    unsigned shard = flowkey_shard(flowkey_hash(&ev->key, p->s.hash_key), p->s.shards);
    if (journal_append(p->s.journal, shard, now, line, len, &receipt->seq) != SC_OK)
        return refuse(p, FLOWEVENT_TOOLONG, receipt);
    receipt->shard = shard;
    counter_add(&p->s.counters->events, 1);
    add_to_page(p, shard, receipt->seq, line, len);
    p->s.on_event(p->s.ctx, ev);
    return PUBLISH_DONE;
}

enum publish_result publish_line(struct publish *p, const char *line, size_t len, struct mono now,
                                 struct publish_receipt *receipt)
{
    struct flowevent ev;
    *receipt = (struct publish_receipt){.bad = FLOWEVENT_GOOD};
    if (len > FLOWEVENT_LINE_MAX)
        return refuse(p, FLOWEVENT_TOOLONG, receipt);
    enum flowevent_bad bad = flowevent_parse(line, len, &ev);
    if (bad != FLOWEVENT_GOOD)
        return refuse(p, bad, receipt);
    if (!ev.has_id) {
        counter_add(&p->s.counters->events, 1);
        p->s.on_event(p->s.ctx, &ev);
        return PUBLISH_NOTHING;
    }
    if (ev.destroyed || ev.prefix) { /* only the hub itself says so; from outside it is an open like any other */
        ev.destroyed = ev.prefix = false;
        return publish_event(p, &ev, now, receipt);
    }
    char text[FLOWEVENT_TEXT];
    line = travelling_form(line, &len, &ev, text);
    return take(p, &ev, line, len, now, receipt);
}

enum publish_result publish_event(struct publish *p, const struct flowevent *ev, struct mono now,
                                  struct publish_receipt *receipt)
{
    char text[FLOWEVENT_TEXT];
    *receipt = (struct publish_receipt){.bad = FLOWEVENT_GOOD};
    int n = flowevent_format(ev, text, sizeof(text));
    if (n < 0)
        return refuse(p, FLOWEVENT_TOOLONG, receipt);
    return take(p, ev, text, (size_t)n, now, receipt);
}

void publish_to(struct publish *p, unsigned shard, const struct flowevent *ev, struct mono now)
{
    char text[FLOWEVENT_TEXT];
    uint64_t seq;
    int n = flowevent_format(ev, text, sizeof(text));
    if (n >= 0 && journal_append(p->s.journal, shard, now, text, (size_t)n, &seq) == SC_OK)
        add_to_page(p, shard, seq, text, (size_t)n);
}

void publish_to_all(struct publish *p, const struct flowevent *ev, struct mono now)
{
    for (unsigned i = 0; i < p->s.shards; i++)
        publish_to(p, i, ev, now);
}

void publish_flush(struct publish *p)
{
    for (unsigned i = 0; i < p->s.shards; i++)
        flush_shard(p, i);
}

void publish_heartbeat(struct publish *p)
{
    for (unsigned i = 0; i < p->s.shards; i++) {
        char head[BUS_PAGE_HEAD];
        size_t len = bus_page_head(head, journal_epoch(p->s.journal), journal_next_seq(p->s.journal, i), 0);
        p->s.send(p->s.ctx, i, head, len);
    }
}
