/* SPDX-License-Identifier: Apache-2.0
 * The journal in supervisor-owned memory. A hub can be killed between any two stores, so the ring's indices and the
 * next numbers stand in two states written in turn: serial 0 while one is being written, its serial last; the larger
 * serial counts. Before an old entry is overwritten, a state without it is committed.
 * Failure policy: what a predecessor left is checked to the last byte (bounds, numbers, checksums) and is either
 * continued or replaced by a new epoch as a whole; an inconsistency in what we wrote ourselves is a panic, after
 * which the next hub finds it broken. */
#include "dispatcher/hub/journal.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shared/counters.h"
#include "shared/log.h"
#include "shared/siphash.h"

#define JOURNAL_MAGIC 0x53434a4cu
#define DATA_OFFSET 4096u
#define ALIGN 32u
#define PAD UINT32_MAX /* as shard: the rest of the ring is unused */

struct entry {
    uint32_t len; /* bytes of the line that follows */
    uint32_t shard;
    uint64_t seq;
    int64_t mono_ns;
    uint64_t sum; /* over all of the above and the line */
};
_Static_assert(sizeof(struct entry) == ALIGN, "a pad always has room for its head");

struct state {
    uint64_t tail, head; /* bytes, free-running */
    uint64_t next_seq[SHARDS_MAX];
    uint64_t sum; /* over the above and the serial */
    _Atomic uint64_t serial;
};

struct journal_shared {
    uint32_t magic, layout;
    uint64_t size; /* bytes of the ring */
    uint64_t epoch;
    uint64_t shards;
    uint64_t sum; /* over the above */
    struct state state[2];
};
_Static_assert(sizeof(struct journal_shared) <= DATA_OFFSET, "the ring begins on a page of its own");

struct journal {
    struct journal_shared *shared;
    uint8_t *data;
    uint64_t size;
    unsigned shards;
    uint64_t serial;  /* of the current state */
    struct state now; /* private copy of it */
};

/* Checksums guard against accidents and half-written memory, not against an enemy: the key is no secret. */
static const struct siphash_key sum_key = {UINT64_C(0x6a6f75726e616c31), UINT64_C(0x7368617264636170)};

static uint64_t header_sum(const struct journal_shared *s)
{
    return siphash_1_3(&sum_key, s, offsetof(struct journal_shared, sum));
}

static uint64_t state_sum(const struct state *s, uint64_t serial)
{
    struct siphash_key key = {sum_key.k0, serial};
    return siphash_1_3(&key, s, offsetof(struct state, sum));
}

static uint64_t entry_sum(const struct entry *e, const uint8_t *line)
{
    struct siphash_key key = {sum_key.k0, siphash_1_3(&sum_key, e, offsetof(struct entry, sum))};
    return siphash_1_3(&key, line, e->len);
}

static uint64_t entry_bytes(uint32_t len)
{
    return sizeof(struct entry) + (((uint64_t)len + ALIGN - 1) & ~(uint64_t)(ALIGN - 1));
}

/* The entry at pos, if one that fits between pos and limit stands there: its bytes with padding, else 0. */
static uint64_t entry_at(const struct journal *j, uint64_t pos, uint64_t limit, struct entry *e, const uint8_t **line_r)
{
    uint64_t to_end = j->size - pos % j->size;
    if (limit - pos < sizeof *e || pos % ALIGN)
        return 0;
    const uint8_t *at = j->data + pos % j->size;
    memcpy(e, at, sizeof *e);
    *line_r = at + sizeof *e;
    uint64_t bytes = e->shard == PAD ? to_end : entry_bytes(e->len);
    if (e->shard != PAD && (e->shard >= j->shards || e->len > BUS_LINE_MAX))
        return 0;
    return bytes <= to_end && bytes <= limit - pos ? bytes : 0;
}

static void commit(struct journal *j)
{
    uint64_t serial = j->serial + 1;
    struct state *s = &j->shared->state[serial % 2];
    /* The reader is a later process, so it is the order of our own stores that counts: only the compiler is fenced. */
    atomic_store_explicit(&s->serial, 0, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    s->tail = j->now.tail;
    s->head = j->now.head;
    memcpy(s->next_seq, j->now.next_seq, sizeof s->next_seq);
    s->sum = state_sum(s, serial);
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&s->serial, serial, memory_order_relaxed);
    j->serial = serial;
}

/* The state that counts. False if one of them was damaged (rather than left half-written). */
static bool pick_state(struct journal *j)
{
    uint64_t serial[2];
    for (int i = 0; i < 2; i++) {
        const struct state *s = &j->shared->state[i];
        serial[i] = atomic_load_explicit(&s->serial, memory_order_relaxed);
        if (serial[i] != 0 && (serial[i] % 2 != (unsigned)i || s->sum != state_sum(s, serial[i])))
            return false;
    }
    int newer = serial[1] > serial[0];
    if (serial[newer] == 0 || (serial[!newer] != 0 && serial[newer] - serial[!newer] != 1))
        return false;
    j->serial = serial[newer];
    const struct state *s = &j->shared->state[newer];
    j->now.tail = s->tail;
    j->now.head = s->head;
    memcpy(j->now.next_seq, s->next_seq, sizeof s->next_seq);
    return true;
}

/* Walks everything that the state claims to be there. */
static bool entries_check(const struct journal *j)
{
    uint64_t last[SHARDS_MAX] = {0};
    if (j->now.head < j->now.tail || j->now.head - j->now.tail > j->size)
        return false;
    for (uint64_t pos = j->now.tail; pos < j->now.head;) {
        struct entry e;
        const uint8_t *line;
        uint64_t bytes = entry_at(j, pos, j->now.head, &e, &line);
        if (bytes == 0)
            return false;
        pos += bytes;
        if (e.shard == PAD)
            continue;
        if (e.sum != entry_sum(&e, line) || e.seq == 0 || (last[e.shard] != 0 && e.seq != last[e.shard] + 1))
            return false;
        last[e.shard] = e.seq;
    }
    for (unsigned i = 0; i < j->shards; i++)
        if (j->now.next_seq[i] == 0 || (last[i] != 0 && last[i] + 1 != j->now.next_seq[i]))
            return false;
    return true;
}

static bool adopt(struct journal *j)
{
    const struct journal_shared *s = j->shared;
    return s->magic == JOURNAL_MAGIC && s->layout == JOURNAL_LAYOUT && s->size == j->size && s->shards == j->shards &&
           s->sum == header_sum(s) && pick_state(j) && entries_check(j);
}

static void start_epoch(struct journal *j, uint64_t epoch)
{
    struct journal_shared *s = j->shared;
    uint64_t before = s->epoch;
    memset(s, 0, sizeof *s);
    s->layout = JOURNAL_LAYOUT;
    s->size = j->size;
    s->epoch = epoch == before ? epoch + 1 : epoch;
    s->shards = j->shards;
    s->magic = JOURNAL_MAGIC;
    s->sum = header_sum(s);
    j->serial = 0;
    j->now = (struct state){0};
    for (unsigned i = 0; i < SHARDS_MAX; i++)
        j->now.next_seq[i] = 1;
    commit(j);
}

struct journal *journal_open(void *map, size_t bytes, unsigned shards, uint64_t new_epoch,
                             enum journal_origin *origin_r)
{
    if (bytes < JOURNAL_BYTES_MIN || shards == 0 || shards > SHARDS_MAX)
        return NULL;
    struct journal *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->shared = map;
    j->data = (uint8_t *)map + DATA_OFFSET;
    j->size = (bytes - DATA_OFFSET) / ALIGN * ALIGN;
    j->shards = shards;
    static const uint8_t nothing[sizeof(struct journal_shared)];
    bool fresh = memcmp(map, &nothing, sizeof nothing) == 0;
    if (!fresh && adopt(j)) {
        *origin_r = JOURNAL_CONTINUED;
        return j;
    }
    *origin_r = fresh ? JOURNAL_NEW : JOURNAL_BROKEN;
    start_epoch(j, new_epoch);
    return j;
}

void journal_close(struct journal *j)
{
    free(j);
}

uint64_t journal_epoch(const struct journal *j)
{
    return j->shared->epoch;
}

uint64_t journal_next_seq(const struct journal *j, unsigned shard)
{
    return j->now.next_seq[shard];
}

/* Makes room for `need` more bytes by giving up the oldest entries. */
static void evict(struct journal *j, uint64_t need)
{
    uint64_t before = j->now.tail;
    while (j->now.head + need - j->now.tail > j->size) {
        struct entry e;
        const uint8_t *line;
        uint64_t bytes = entry_at(j, j->now.tail, j->now.head, &e, &line);
        if (bytes == 0)
            log_panic("event journal is inconsistent at %llu", (unsigned long long)j->now.tail);
        j->now.tail += bytes;
    }
    if (j->now.tail != before)
        commit(j);
}

int journal_append(struct journal *j, unsigned shard, struct mono now, const char *line, size_t len, uint64_t *seq_r)
{
    if (len > BUS_LINE_MAX)
        return SC_ETOOLONG;
    if (shard >= j->shards)
        return SC_EINVAL;
    uint64_t need = entry_bytes((uint32_t)len);
    uint64_t to_end = j->size - j->now.head % j->size;
    uint64_t pad = to_end < need ? to_end : 0;
    evict(j, pad + need);
    if (pad) {
        struct entry filler = {.shard = PAD};
        memcpy(j->data + j->now.head % j->size, &filler, sizeof filler);
    }
    uint64_t pos = j->now.head + pad;
    uint8_t *at = j->data + pos % j->size;
    struct entry e = {.len = (uint32_t)len, .shard = shard, .seq = j->now.next_seq[shard], .mono_ns = now.ns};
    memcpy(at + sizeof e, line, len);
    e.sum = entry_sum(&e, at + sizeof e);
    memcpy(at, &e, sizeof e);
    j->now.head = pos + need;
    j->now.next_seq[shard] = e.seq + 1;
    commit(j);
    *seq_r = e.seq;
    return SC_OK;
}

size_t journal_page(const struct journal *j, unsigned shard, uint64_t epoch, uint64_t from, struct mono oldest,
                    char *out)
{
    uint64_t first = 0;
    uint32_t count = 0;
    size_t len = BUS_PAGE_HEAD; /* the head is put before the lines when it is known */
    if (epoch != journal_epoch(j))
        from = 1;
    for (uint64_t pos = j->now.tail; pos < j->now.head && from < j->now.next_seq[shard];) {
        struct entry e;
        const uint8_t *line;
        uint64_t bytes = entry_at(j, pos, j->now.head, &e, &line);
        if (bytes == 0)
            log_panic("event journal is inconsistent at %llu", (unsigned long long)pos);
        pos += bytes;
        if (e.shard != shard || e.seq < from || e.mono_ns < oldest.ns)
            continue;
        if (e.len + 1 > BUS_PAGE_MAX - len)
            break;
        if (count++ == 0)
            first = e.seq;
        memcpy(out + len, line, e.len);
        len += e.len;
        out[len++] = '\n';
    }
    char head[BUS_PAGE_HEAD];
    size_t head_len = bus_page_head(head, journal_epoch(j), count ? first : j->now.next_seq[shard], count);
    memmove(out + head_len, out + BUS_PAGE_HEAD, len - BUS_PAGE_HEAD);
    memcpy(out, head, head_len);
    return head_len + len - BUS_PAGE_HEAD;
}
