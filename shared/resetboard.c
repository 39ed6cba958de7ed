/* SPDX-License-Identifier: Apache-2.0
 * A sequence lock for each slot, of atomic words only. Failure policy: see resetboard.h. */
#include "shared/resetboard.h"

#include <string.h>

#define WORDS 9u
_Static_assert(sizeof(struct flowkey) == 5 * sizeof(uint64_t), "four words and a key");

void reset_board_tell(struct reset_board *b, const struct reset_note *note)
{
    uint64_t n = atomic_load_explicit(&b->told, memory_order_relaxed); /* single writer */
    uint64_t words[WORDS] = {(uint64_t)note->flow << 32 | note->generation, (uint64_t)note->at.ns, note->cookie,
                             note->side & 1};
    memcpy(&words[4], &note->key, sizeof(note->key));
    _Atomic uint64_t *number = &b->slot[n % RESET_NOTES].number;
    atomic_store_explicit(number, 0, memory_order_relaxed);
    for (unsigned i = 0; i < WORDS; i++) /* release: who sees a new word sees the 0 */
        atomic_store_explicit(&b->slot[n % RESET_NOTES].words[i], words[i], memory_order_release);
    atomic_store_explicit(number, n + 1, memory_order_release); /* who sees the number sees the words */
    atomic_store_explicit(&b->told, n + 1, memory_order_release);
}

void reset_board_settle(struct reset_board *b, struct mono settled)
{
    /* release: who sees this time sees the notes before it */
    atomic_store_explicit(&b->settled_ns, settled.ns, memory_order_release);
}

struct mono reset_board_settled(const struct reset_board *b)
{
    return (struct mono){atomic_load_explicit(&b->settled_ns, memory_order_acquire)};
}

static bool read_slot(const struct reset_board *b, uint64_t n, struct reset_note *out)
{
    uint64_t words[WORDS];
    const _Atomic uint64_t *number = &b->slot[n % RESET_NOTES].number;
    if (atomic_load_explicit(number, memory_order_acquire) != n + 1)
        return false;
    for (unsigned i = 0; i < WORDS;
         i++) /* acquire, pairs with the writer's release: a newer word shows in the number */
        words[i] = atomic_load_explicit(&b->slot[n % RESET_NOTES].words[i], memory_order_acquire);
    if (atomic_load_explicit(number, memory_order_relaxed) != n + 1)
        return false;
    *out = (struct reset_note){.flow = (uint32_t)(words[0] >> 32),
                               .generation = (uint32_t)words[0],
                               .at = {(int64_t)words[1]},
                               .cookie = words[2],
                               .side = words[3] & 1};
    memcpy(&out->key, &words[4], sizeof(out->key));
    return out->key.addr_len == 4 || out->key.addr_len == 16; /* it becomes an address of that many bytes */
}

bool reset_board_read(const struct reset_board *b, uint64_t *next, uint64_t *missed, struct reset_note *out)
{
    uint64_t told = atomic_load_explicit(&b->told, memory_order_acquire);
    if (told > RESET_NOTES && *next < told - RESET_NOTES) {
        *missed += told - RESET_NOTES - *next;
        *next = told - RESET_NOTES;
    }
    while (*next < told) {
        if (read_slot(b, (*next)++, out))
            return true;
        (*missed)++;
    }
    return false;
}
