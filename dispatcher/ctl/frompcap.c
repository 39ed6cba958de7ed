/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: frames that are no TCP packets are passed over; a file that is cut gives the flows before. */
#include "dispatcher/ctl/frompcap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "shared/flowevent.h"
#include "shared/frame.h"
#include "shared/siphash.h"

struct entry {
    struct flowkey key;
    uint32_t syn_seq;
    bool used, ended;
};

struct table {
    struct siphash_key secret; /* a file may be made to collide under a known one */
    struct entry *entries;
    size_t size, used; /* size is a power of two */
};

static struct entry *slot_of(const struct table *t, const struct flowkey *key)
{
    size_t i = (size_t)flowkey_hash(key, &t->secret) & (t->size - 1);
    while (t->entries[i].used && !flowkey_equal(&t->entries[i].key, key))
        i = (i + 1) & (t->size - 1);
    return &t->entries[i];
}

static int grow(struct table *t)
{
    struct table bigger = {.secret = t->secret, .size = t->size ? t->size * 2 : 1024, .used = t->used};
    bigger.entries = calloc(bigger.size, sizeof *bigger.entries);
    if (!bigger.entries)
        return SC_ENOMEM;
    for (size_t i = 0; i < t->size; i++)
        if (t->entries[i].used)
            *slot_of(&bigger, &t->entries[i].key) = t->entries[i];
    free(t->entries);
    *t = bigger;
    return SC_OK;
}

/* True if the packet opens a flow. */
static bool opens(struct table *t, const struct frame *f)
{
    struct entry *e = slot_of(t, &f->key);
    bool syn = (f->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
    bool is_new = !e->used || (syn && e->ended && e->syn_seq != f->tcp_seq);
    if (!e->used) {
        e->key = f->key;
        e->used = true;
        t->used++;
    }
    if (is_new) {
        e->ended = false;
        e->syn_seq = syn ? f->tcp_seq : 0;
    }
    e->ended = e->ended || f->tcp_flags & (TCP_FIN | TCP_RST);
    return is_new;
}

static int name(const struct frame *f, struct wall ts, const char *prefix, struct uuid *out)
{
    static const struct siphash_key zero = {0, 0};
    uint8_t text[sizeof f->key + 8];
    memcpy(text, &f->key, sizeof f->key); /* fully initialised, so it has no padding of chance */
    for (int i = 0; i < 8; i++)
        text[sizeof f->key + (size_t)i] = (uint8_t)((uint64_t)ts.ns >> (8 * i));
    return uuid_from_cookie(out, prefix, siphash_2_4(&zero, text, sizeof text));
}

static struct flowevent event_of(const struct frame *f, struct wall ts, const struct uuid *uuid)
{
    unsigned sender = f->from_low ? 0 : 1, local;
    if ((f->tcp_flags & TCP_SYN) != 0)
        local = f->tcp_flags & TCP_ACK ? sender : 1 - sender;
    else
        local = f->key.port[0] <= f->key.port[1] ? 0 : 1;
    struct flowevent ev = {
        .kind = FLOWEVENT_OPEN,
        .time = ts,
        .yyyymmdd = clock_yyyymmdd(ts),
        .uuid = *uuid,
        .has_id = true,
        .key = f->key,
        .sport = f->key.port[local],
        .dport = f->key.port[1 - local],
    };
    ipaddr_set(&ev.src, f->key.addr[local], f->key.addr_len);
    ipaddr_set(&ev.dst, f->key.addr[1 - local], f->key.addr_len);
    return ev;
}

/* Hands over the event of a flow that opens here. Returns false to stop. */
static bool tell(const struct frame *f, struct wall ts, const char *prefix,
                 bool (*take)(void *ctx, const char *line, size_t len), void *ctx)
{
    struct uuid uuid;
    char line[FLOWEVENT_TEXT + 1];
    if (name(f, ts, prefix, &uuid) != SC_OK)
        return false; /* the prefix was tried before */
    struct flowevent ev = event_of(f, ts, &uuid);
    int n = flowevent_format(&ev, line, FLOWEVENT_TEXT);
    if (n < 0)
        return false; /* the longest of ours is shorter */
    line[n] = '\n';
    return take(ctx, line, (size_t)n + 1);
}

int frompcap_read(struct capfile *file, const char *prefix, bool (*take)(void *ctx, const char *line, size_t len),
                  void *ctx, char error[CAPFILE_ERROR])
{
    struct table t = {0};
    struct uuid tried;
    struct capfile_packet p;
    if (uuid_from_cookie(&tried, prefix, 0) != SC_OK) {
        (void)snprintf(error, CAPFILE_ERROR, "a prefix is [A-Za-z0-9][A-Za-z0-9._:-]*, at most %d bytes, without ..",
                       UUID_PREFIX_MAX);
        return SC_EINVAL;
    }
    (void)snprintf(error, CAPFILE_ERROR, "out of memory");
    int rc = getrandom(&t.secret, sizeof t.secret, 0) == sizeof t.secret ? grow(&t) : SC_ENOMEM;
    while (rc == SC_OK && (rc = capfile_next(file, &p, error)) == SC_OK) {
        struct frame f;
        if (frame_parse(p.bytes, p.caplen, p.wire_len, capfile_linktype(file), &f) != CAUSE_NONE)
            continue;
        if (t.used * 2 >= t.size)
            rc = grow(&t);
        if (rc == SC_OK && opens(&t, &f) && !tell(&f, p.ts, prefix, take, ctx))
            rc = SC_EOF;
    }
    free(t.entries);
    return rc == SC_EOF ? SC_OK : rc;
}
