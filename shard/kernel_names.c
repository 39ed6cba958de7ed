/* SPDX-License-Identifier: Apache-2.0
 * See kernel_names.h. Questions wait in one FIFO for each gap, news in two: not yet settled, and held. All of it is
 * private: a successor asks again, and the bus replays what was destroyed. */
#include "shard/kernel_names.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shard/cookies.h"
#include "shard/fifo.h"
#include "shared/log.h"
#include "shared/steps.h"

#define ASKS_PER_STEP 32u
#define BINDS_PER_STEP 64u
#define GENERATIONS_LOOKED_AT 4096u /* of one key that wait for names: bounds a slice, far above what 5 s bring */
#define NEWS_MAX 65536u
#define HELD_GAP_NS (50 * NS_PER_MS)
#define SETTLE_GAP_NS (20 * NS_PER_MS) /* answers wait for packets, or for word that there are none */
#define PAUSE_MIN_NS NS_PER_MS         /* what is due may still have to wait for its turn (KERNEL_ASKS_PER_SECOND) */
#define VERDICT_NS NS_PER_SEC          /* how long the hub may take at the end */

/* Waits between the questions for one flow; the last one repeats. */
static const int64_t gaps_ns[] = {0, 10 * NS_PER_MS, 100 * NS_PER_MS, 400 * NS_PER_MS, NS_PER_SEC};
#define GAPS (sizeof(gaps_ns) / sizeof(*gaps_ns))
#define MIDSTREAM GAPS /* the queue of first questions for flows that began without a SYN: after all others */
#define QUESTIONS_MAX (UINT32_C(1) << 18) /* in one queue */
#define DEAD_PER_STEP 4096u               /* questions for flows that have gone cost nothing but a look */

enum asking { ASKING_NO, ASKING_YES, ASKING_ANSWERED };

struct question {
    uint32_t idx, generation;
    int64_t due_ns; /* struct mono */
};

struct news {
    struct flowkey key;
    uint64_t hash;
    uint64_t cookie;
    struct mono seen;
    int64_t due_ns, until_ns; /* struct mono; of held ones */
    bool destroyed, closing;
    uint32_t asked, generation; /* the flow that an answer was asked for */
};

struct kernel_names {
    struct kernel_names_deps d;
    struct fifo questions[GAPS + 1]; /* by gap; MIDSTREAM */
    struct fifo unsettled, held;
    struct mono settled;       /* everything captured up to here is consumed */
    struct mono mark_captured; /* will be settled once the position is reached */
    uint64_t mark_pos[DISPATCHERS_MAX];
    bool marked;
    int64_t tokens_at_ns;
    int64_t finish_until; /* struct mono; 0 = not yet finishing */
    uint32_t tokens;
    struct uuid prefix;   /* empty: not known yet */
    int64_t held_back_ns; /* struct mono: the first name waits for it since; 0 = none does */
    struct log_limit limit;
    struct cookies recent; /* have named a flow */
    struct steps steps;    /* of the wall clock */
};

static int64_t mono_now(const struct kernel_names *k)
{
    return k->d.clock->mono(k->d.clock->ctx).ns;
}

static uint64_t hash_of(const struct kernel_names *k, const struct flowkey *key)
{
    return flowkey_hash(key, &k->d.savers->config->hash_key);
}

static bool is_recent(const struct kernel_names *k, const struct news *n)
{
    return cookies_known(&k->recent, n->hash, n->cookie, mono_now(k));
}

static void remember(struct kernel_names *k, uint64_t hash, uint64_t cookie)
{
    const struct config *c = k->d.savers->config;
    /* a flow lives for captureduration or until GC after its last packet; then two flow timeouts more */
    cookies_remember(&k->recent, hash, cookie, mono_now(k) + c->captureduration_ns + 4 * c->flowtimeout_ns);
}

/* ---- life ---- */

static const struct flow *flow_at(const struct kernel_names *k, uint32_t idx)
{
    return arena_flow(k->d.savers->flows->arena, idx);
}

static void remember_name(void *ctx, uint32_t idx, const struct flow *f)
{
    struct kernel_names *k = ctx;
    uint64_t cookie;
    (void)idx;
    if (f->name != ARENA_NONE && uuid_cookie(&arena_name(k->d.savers->flows->arena, f->name)->uuid, &cookie) == SC_OK)
        remember(k, hash_of(k, &f->key), cookie);
}

struct kernel_names *kernel_names_new(const struct kernel_names_deps *deps)
{
    struct kernel_names *k = calloc(1, sizeof(*k));
    if (!k)
        return NULL;
    k->d = *deps;
    (void)snprintf(k->prefix.text, sizeof(k->prefix.text), "%s", deps->prefix);
    for (unsigned i = 0; i <= MIDSTREAM; i++)
        k->questions[i].size = sizeof(struct question);
    k->unsettled.size = k->held.size = sizeof(struct news);
    k->settled.ns = INT64_MIN;
    reset_board_settle(k->d.board, k->settled);
    k->tokens_at_ns = mono_now(k);
    k->tokens = ASKS_PER_STEP;
    const struct flows *fs = deps->savers->flows;
    arena_each(fs->arena, remember_name, k); /* what the bus tells again names nobody else */
    for (uint32_t idx = fs->list[LIST_WAITING].head; idx != ARENA_NONE; idx = fs->priv[idx].link[LANE_WORK].next)
        kernel_names_seen(k, idx, (struct wall){flow_at(k, idx)->first_ns}, /* when a RST came is not known */
                          (struct instant){flow_at(k, idx)->first_clock});
    return k;
}

void kernel_names_free(struct kernel_names *k)
{
    if (!k)
        return;
    for (unsigned i = 0; i <= MIDSTREAM; i++)
        fifo_free(&k->questions[i]);
    fifo_free(&k->unsettled);
    fifo_free(&k->held);
    free(k);
}

/* ---- questions ---- */

static bool nameless(const struct flow *f)
{
    return f->stage != FLOW_FREE && f->name == ARENA_NONE && !(f->flags & FLOW_EMPTY);
}

static void ask_later(struct kernel_names *k, const struct question *q, unsigned queue)
{
    struct question next = *q;
    next.due_ns = mono_now(k) + (queue < GAPS ? gaps_ns[queue] : 0);
    if (k->questions[queue].count == QUESTIONS_MAX || !fifo_put(&k->questions[queue], &next))
        k->d.savers->flows->priv[q->idx].asking = ASKING_NO; /* its next packet asks again */
}

/* The flow may still get a cookie. */
static bool open_to_names(const struct kernel_names *k, uint32_t idx)
{
    return nameless(flow_at(k, idx)) && k->d.savers->flows->priv[idx].cookie == 0;
}

/* The hub is told which sides of idx have sent a RST: of those in `sides`. */
static void tell_reset(struct kernel_names *k, uint32_t idx, unsigned sides, struct mono at, uint64_t cookie)
{
    const struct flow *f = flow_at(k, idx);
    for (unsigned side = 0; side < 2; side++) {
        struct reset_note note = {
            .flow = idx, .generation = f->generation, .at = at, .cookie = cookie, .side = side, .key = f->key};
        if (sides & (1u << side))
            reset_board_tell(k->d.board, &note);
    }
}

static void note_reset(struct kernel_names *k, uint32_t idx, struct wall at, struct instant clock)
{
    const struct flow *f = flow_at(k, idx);
    struct flow_private *priv = &k->d.savers->flows->priv[idx];
    unsigned sides = (f->wire & FLOW_WIRE_RST_LOW ? 1u : 0) | (f->wire & FLOW_WIRE_RST_HIGH ? 2u : 0);
    uint64_t cookie = 0;
    sides &= ~(unsigned)priv->reset;
    if (sides == 0 || !(f->wire & FLOW_WIRE_HANDSHAKE))
        return;
    if (f->name != ARENA_NONE)
        (void)uuid_cookie(&arena_name(k->d.savers->flows->arena, f->name)->uuid, &cookie);
    priv->reset |= (uint8_t)sides;
    (void)steps_look(&k->steps, k->d.clock);
    tell_reset(k, idx, sides, steps_mono(&k->steps, at, (struct mono){clock.ns}), cookie);
}

void kernel_names_seen(struct kernel_names *k, uint32_t idx, struct wall at, struct instant clock)
{
    const struct flow *f = flow_at(k, idx);
    struct flow_private *priv = &k->d.savers->flows->priv[idx];
    if (f->wire & FLOW_WIRE_RST)
        note_reset(k, idx, at, clock);
    if (priv->asking != ASKING_NO || !k->d.ask || !open_to_names(k, idx) || !(f->wire & FLOW_WIRE_HANDSHAKE) ||
        f->wire & FLOW_WIRE_RST)
        return;
    priv->asking = ASKING_YES;
    struct question q = {.idx = idx, .generation = f->generation};
    ask_later(k, &q, f->wire & FLOW_WIRE_SYN ? 0 : MIDSTREAM);
}

/* An answer has had its chance, or gets none: its flow may be asked for again. */
static void done_with(struct kernel_names *k, const struct news *n)
{
    uint8_t *asking = &k->d.savers->flows->priv[n->asked].asking;
    if (!n->destroyed && flow_at(k, n->asked)->generation == n->generation && *asking == ASKING_ANSWERED)
        *asking = ASKING_YES;
}

static void take_news(struct kernel_names *k, const struct news *n)
{
    if (k->unsettled.count == NEWS_MAX) { /* the oldest makes room */
        done_with(k, fifo_at(&k->unsettled, 0));
        fifo_drop(&k->unsettled);
    }
    if (!fifo_put(&k->unsettled, n))
        done_with(k, n); /* no memory: as if it had not come */
}

static bool take_token(struct kernel_names *k, int64_t now)
{
    int64_t fresh = (now - k->tokens_at_ns) / (NS_PER_SEC / KERNEL_ASKS_PER_SECOND);
    if (fresh > 0) {
        k->tokens_at_ns += fresh * (NS_PER_SEC / KERNEL_ASKS_PER_SECOND);
        k->tokens = fresh + k->tokens > ASKS_PER_STEP ? ASKS_PER_STEP : (uint32_t)(fresh + k->tokens);
    }
    if (k->tokens == 0)
        return false;
    k->tokens--;
    return true;
}

/* What is left of a socket in TIME_WAIT may have another cookie than the socket, whose end the hub tells, or has told:
 * time for that. */
static bool better_is_to_come(const struct kernel_names *k, const struct flow *f)
{
    const struct config *c = k->d.savers->config;
    return c->kernel_destroy && k->finish_until == 0 && mono_now(k) - f->first_clock < c->uuidwaitduration_ns / 2;
}

static void ask(struct kernel_names *k, uint32_t idx)
{
    const struct flow *f = flow_at(k, idx);
    struct uuid_answer answer;
    if (k->d.ask(k->d.ctx, &f->key, f->if_index, &answer) != SC_OK)
        return;
    if (answer.timewait && better_is_to_come(k, f))
        return;
    struct news n = {.key = f->key,
                     .hash = hash_of(k, &f->key),
                     .asked = idx,
                     .generation = f->generation,
                     .cookie = answer.cookie,
                     .seen = answer.read,
                     .closing = answer.closing};
    k->d.savers->flows->priv[idx].asking = ASKING_ANSWERED;
    take_news(k, &n);
}

/* May the flow of this question still get a name by it? */
static bool is_alive(const struct kernel_names *k, const struct question *q)
{
    const struct flow *f = flow_at(k, q->idx);
    return f->generation == q->generation && open_to_names(k, q->idx) && !(f->wire & FLOW_WIRE_RST);
}

/* Asks what is due, at most `most` flows. Returns how many there were. */
static unsigned ask_due(struct kernel_names *k, unsigned most)
{
    int64_t now = mono_now(k);
    unsigned n = 0, dead = 0;
    for (unsigned queue = 0; queue <= MIDSTREAM; queue++) {
        struct fifo *fifo = &k->questions[queue];
        while (n < most && dead < DEAD_PER_STEP && fifo->count > 0) {
            struct question q = *(const struct question *)fifo_at(fifo, 0);
            if (q.due_ns > now)
                break;
            if (is_alive(k, &q)) {
                if (k->d.savers->flows->priv[q.idx].asking == ASKING_YES) {
                    if (!take_token(k, now))
                        return n + dead;
                    ask(k, q.idx);
                }
                ask_later(k, &q, queue >= GAPS ? 1 : queue + 1 < GAPS ? queue + 1 : GAPS - 1);
                n++;
            } else {
                dead++;
            }
            fifo_drop(fifo);
        }
    }
    return n + dead;
}

/* ---- binding ---- */

/* The cookie is known to be this flow's; without the prefix it waits. */
static void name_flow(struct kernel_names *k, uint32_t idx, uint64_t cookie, enum name_source source)
{
    const struct flow *f = flow_at(k, idx);
    struct uuid uuid;
    if (k->prefix.text[0] == '\0') {
        k->d.savers->flows->priv[idx].cookie = cookie;
        if (k->held_back_ns == 0)
            k->held_back_ns = mono_now(k);
        remember(k, hash_of(k, &f->key), cookie);
        return;
    }
    if (uuid_from_cookie(&uuid, k->prefix.text, cookie) != SC_OK)
        return; /* a prefix that is too long is refused at the start, or by the hub */
    struct savers *s = k->d.savers;
    counter_add(&s->c->uuids, 1);
    if (!saver_name(s, idx, &uuid, clock_yyyymmdd((struct wall){f->first_ns}), true, (struct instant){f->last_clock})) {
        savers_refused_uuid(s); /* no room: the next answer may find some */
        return;
    }
    savers_note_name(s, idx, source, (struct instant){mono_now(k)});
    tell_reset(k, idx, s->flows->priv[idx].reset, (struct mono){mono_now(k)}, cookie);
    reporter_named(s->flows->reporter, &f->key, &uuid, cookie, (struct wall){f->first_ns});
    remember(k, hash_of(k, &f->key), cookie);
}

/* The first packet of f was captured at or before `seen`. */
static bool begun_by(const struct kernel_names *k, const struct flow *f, struct mono seen)
{
    return steps_mono(&k->steps, (struct wall){f->first_ns}, (struct mono){f->first_clock}).ns <= seen.ns;
}

/* An answer to a question. */
static void bind_answer(struct kernel_names *k, const struct news *n)
{
    const struct flows *fs = k->d.savers->flows;
    uint32_t idx = flows_find(fs, n->hash, &n->key);
    done_with(k, n); /* if this names nothing, the next question may */
    for (unsigned i = 0; idx != ARENA_NONE && !begun_by(k, flow_at(k, idx), n->seen); i++)
        idx = i < GENERATIONS_LOOKED_AT ? fs->priv[idx].older : ARENA_NONE;
    if (idx == ARENA_NONE)
        return;
    const struct flow *f = flow_at(k, idx);
    if (!open_to_names(k, idx) || is_recent(k, n) || (saver_ended_on_wire(f) && !n->closing))
        return;
    name_flow(k, idx, n->cookie, NAME_BY_LOOKUP);
}

/* A destroyed socket. True if nothing is left to wait for. */
static bool bind_destroyed(struct kernel_names *k, const struct news *n)
{
    const struct flows *fs = k->d.savers->flows;
    uint32_t found = ARENA_NONE, idx = flows_find(fs, n->hash, &n->key);
    bool may_end_yet = false;
    if (is_recent(k, n))
        return true;
    for (unsigned i = 0; idx != ARENA_NONE && i < GENERATIONS_LOOKED_AT; i++, idx = fs->priv[idx].older) {
        const struct flow *f = flow_at(k, idx);
        if (!open_to_names(k, idx) || !begun_by(k, f, n->seen))
            continue;
        if (saver_ended_on_wire(f) || f->flags & FLOW_GONE)
            found = idx;
        else
            may_end_yet = true;
    }
    if (found == ARENA_NONE)
        return !may_end_yet; /* all that was captured until then is here: its connection was not captured */
    name_flow(k, found, n->cookie, NAME_BY_DESTROY);
    return true;
}

/* All packets up to the mark have been taken. */
static bool reached(const struct kernel_names *k)
{
    const struct arena_state *state = arena_state(k->d.savers->flows->arena);
    for (unsigned i = 0; i < k->d.ring_count; i++)
        if ((int64_t)(state->applied[i].position - k->mark_pos[i]) < 0)
            return false;
    return true;
}

static void mark(struct kernel_names *k)
{
    for (unsigned i = 0; i < k->d.ring_count; i++) {
        struct ring_consumer *r = &k->d.rings[i];
        /* acquire: pairs with the release store in ring_publish; all packets up to this time are published */
        int64_t until = atomic_load_explicit(&r->shared->captured_until_ns, memory_order_acquire);
        if (i == 0 || until < k->mark_captured.ns)
            k->mark_captured.ns = until;
        k->mark_pos[i] = r->pos + ring_backlog(r);
    }
    k->marked = true;
}

static void settle(struct kernel_names *k)
{
    if (k->marked && reached(k)) {
        k->settled = k->mark_captured;
        k->marked = false;
        reset_board_settle(k->d.board, k->settled);
    }
    if (!k->marked)
        mark(k);
}

static void hold(struct kernel_names *k, struct news *n, int64_t now)
{
    if (n->until_ns == 0)
        n->until_ns = now + k->d.savers->config->uuidwaitduration_ns;
    n->due_ns = now + HELD_GAP_NS;
    if (n->until_ns > now && k->held.count < NEWS_MAX)
        (void)fifo_put(&k->held, n); /* no memory: as if it had not come */
}

static unsigned bind_settled(struct kernel_names *k, unsigned most)
{
    int64_t now = mono_now(k);
    unsigned done = 0;
    for (; done < most && k->unsettled.count > 0; done++) {
        struct news n = *(const struct news *)fifo_at(&k->unsettled, 0);
        if (n.seen.ns > k->settled.ns)
            break;
        fifo_drop(&k->unsettled);
        if (!n.destroyed)
            bind_answer(k, &n);
        else if (!bind_destroyed(k, &n))
            hold(k, &n, now);
    }
    for (; done < most && k->held.count > 0; done++) {
        struct news n = *(const struct news *)fifo_at(&k->held, 0);
        if (n.due_ns > now)
            break;
        fifo_drop(&k->held);
        if (!bind_destroyed(k, &n))
            hold(k, &n, now);
    }
    return done;
}

void kernel_names_destroyed(struct kernel_names *k, const struct flowkey *key, uint64_t cookie, struct mono seen)
{
    struct news n = {.key = *key, .hash = hash_of(k, key), .cookie = cookie, .seen = seen, .destroyed = true};
    take_news(k, &n);
}

void kernel_names_known(struct kernel_names *k, uint64_t hash, uint64_t cookie)
{
    remember(k, hash, cookie);
}

void kernel_names_prefix(struct kernel_names *k, const struct uuid *shows)
{
    const struct flows *fs = k->d.savers->flows;
    struct uuid prefix;
    if (k->d.prefix[0] != '\0' || uuid_prefix_of(shows, &prefix) != SC_OK)
        return;
    k->prefix = prefix;
    k->held_back_ns = 0;
    for (uint32_t next, idx = fs->list[LIST_WAITING].head; idx != ARENA_NONE; idx = next) {
        next = fs->priv[idx].link[LANE_WORK].next; /* a name takes it out of the list */
        uint64_t cookie = fs->priv[idx].cookie;
        if (cookie != 0 && nameless(flow_at(k, idx)))
            name_flow(k, idx, cookie, NAME_BY_LOOKUP); /* or by destroy: that is not known any more */
    }
}

static void say_what_is_held_back(struct kernel_names *k)
{
    int64_t now = mono_now(k);
    unsigned long suppressed;
    if (k->held_back_ns != 0 && now - k->held_back_ns > k->d.savers->config->uuidwaitduration_ns / 2 &&
        log_allow(&k->limit, (struct mono){now}, &suppressed))
        log_warn("names from the kernel wait for the prefix of UUIDs: tcp-info has shown none yet, "
                 "-uuid-prefix-file FILE gives it suppressed=%lu",
                 suppressed);
}

bool kernel_names_step(struct kernel_names *k)
{
    say_what_is_held_back(k);
    (void)steps_look(&k->steps, k->d.clock);
    settle(k);
    unsigned n = bind_settled(k, BINDS_PER_STEP);
    return ask_due(k, ASKS_PER_STEP) + n > 0;
}

static int64_t sooner(const struct fifo *news, size_t due_at, int64_t now, int64_t most)
{
    int64_t due;
    if (news->count == 0)
        return most;
    memcpy(&due, (const char *)fifo_at(news, 0) + due_at, sizeof due);
    return due - now < most ? due - now : most;
}

int64_t kernel_names_pause(const struct kernel_names *k, int64_t most)
{
    int64_t now = mono_now(k);
    if (k->unsettled.count > 0 && SETTLE_GAP_NS < most)
        most = SETTLE_GAP_NS;
    for (unsigned i = 0; i <= MIDSTREAM; i++)
        most = sooner(&k->questions[i], offsetof(struct question, due_ns), now, most);
    most = sooner(&k->held, offsetof(struct news, due_ns), now, most);
    return most > PAUSE_MIN_NS ? most : PAUSE_MIN_NS;
}

static void ask_for_the_last(struct kernel_names *k)
{
    const struct flows *fs = k->d.savers->flows;
    for (uint32_t idx = fs->list[LIST_WAITING].head; idx != ARENA_NONE; idx = fs->priv[idx].link[LANE_WORK].next)
        if (k->d.ask && !(flow_at(k, idx)->wire & FLOW_WIRE_RST) && fs->priv[idx].asking != ASKING_ANSWERED &&
            fs->priv[idx].cookie == 0)
            ask(k, idx);
}

static bool nobody_was_reset(const struct kernel_names *k)
{
    const struct flows *fs = k->d.savers->flows;
    for (uint32_t idx = fs->list[LIST_WAITING].head; idx != ARENA_NONE; idx = fs->priv[idx].link[LANE_WORK].next)
        if (fs->priv[idx].reset)
            return false;
    return true;
}

bool kernel_names_finish(struct kernel_names *k)
{
    int64_t now = steps_look(&k->steps, k->d.clock).ns;
    if (k->finish_until == 0) {
        k->finish_until = now + VERDICT_NS;
        ask_for_the_last(k);
        k->settled.ns = INT64_MAX;
        reset_board_settle(k->d.board, k->settled);
    }
    while (k->unsettled.count > 0)
        (void)bind_settled(k, BINDS_PER_STEP);
    for (; k->held.count > 0; fifo_drop(&k->held))
        (void)bind_destroyed(k, fifo_at(&k->held, 0));
    return now >= k->finish_until || nobody_was_reset(k);
}
