/* SPDX-License-Identifier: Apache-2.0
 * See dedup.h. Failure policy: after dedup_new nothing can fail. */
#include "dispatcher/capture/dedup.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 65536u /* power of two */
#define WAYS 4u

struct sighting {
    uint64_t packet; /* 0 = none */
    uint32_t if_index;
    uint32_t ms; /* of the last sighting; wraps in 49 days, which the difference survives */
};

struct dedup {
    struct siphash_key secret;
    struct sighting bucket[BUCKETS][WAYS];
};

struct dedup *dedup_new(const struct siphash_key *secret)
{
    struct dedup *d = calloc(1, sizeof *d);
    if (d)
        d->secret = *secret;
    return d;
}

void dedup_free(struct dedup *d)
{
    free(d);
}

/* What a router leaves alone. f's offsets were checked: a whole IP and TCP header lie behind them. */
static uint64_t fingerprint(const struct dedup *d, const struct frame *f, const uint8_t *bytes, uint64_t flow_hash)
{
    struct {
        uint64_t flow;
        uint8_t from_low, ip[8], tcp[FRAME_TCP_MAX];
    } what;
    const uint8_t *ip = bytes + f->l3_off, *tcp = bytes + f->l4_off;
    size_t len = (size_t)(f->hdr_len - f->l4_off);
    memset(&what, 0, sizeof what);
    what.flow = flow_hash;
    what.from_low = f->from_low;
    if (ip[0] >> 4 == 4)
        memcpy(what.ip, ip + 2, 6); /* total length, identification, fragment */
    else {
        memcpy(what.ip, ip, 6); /* version, class, label, payload length */
        what.ip[0] &= 0xf0;     /* the traffic class may be changed on the way */
        what.ip[1] &= 0x0f;
    }
    memcpy(what.tcp, tcp, len);
    memset(what.tcp + 16, 0, 2); /* checksum */
    uint64_t hash = siphash_1_3(&d->secret, &what, sizeof what);
    return hash ? hash : 1;
}

bool dedup_seen(struct dedup *d, const struct frame *f, const uint8_t *bytes, uint64_t flow_hash, uint32_t if_index,
                struct instant now)
{
    uint64_t packet = fingerprint(d, f, bytes, flow_hash);
    struct sighting *way = d->bucket[packet & (BUCKETS - 1)], *oldest = way;
    uint32_t ms = (uint32_t)(now.ns / NS_PER_MS);
    for (unsigned i = 0; i < WAYS; i++) {
        struct sighting *s = &way[i];
        if (s->packet == packet && ms - s->ms <= (uint32_t)(DEDUP_WINDOW_NS / NS_PER_MS)) {
            s->ms = ms;
            return s->if_index != if_index;
        }
        if (oldest->packet != 0 && (s->packet == 0 || ms - s->ms > ms - oldest->ms))
            oldest = s;
    }
    *oldest = (struct sighting){packet, if_index, ms};
    return false;
}
