/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: see lowset.h. */
#include "shard/lowset.h"

#include <string.h>
#include <sys/mman.h>

int lowset_init(struct lowset *s, uint32_t limit)
{
    size_t words[LOWSET_LEVELS] = {0}, all = 0, n = limit;
    memset(s, 0, sizeof(*s));
    do {
        n = (n + 63) / 64;
        words[s->levels++] = n;
        all += n;
    } while (n > 1);
    uint64_t *at =
        mmap(NULL, all * sizeof(*at), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return SC_ENOMEM;
    s->bytes = all * sizeof(*at);
    for (unsigned l = 0; l < s->levels; at += words[l++])
        s->level[l] = at;
    return SC_OK;
}

void lowset_free(struct lowset *s)
{
    if (s->bytes > 0)
        munmap(s->level[0], s->bytes);
    memset(s, 0, sizeof(*s));
}

void lowset_add(struct lowset *s, uint32_t n)
{
    if (lowset_has(s, n))
        return;
    s->count++;
    for (unsigned l = 0; l < s->levels; l++, n /= 64) {
        uint64_t before = s->level[l][n / 64];
        s->level[l][n / 64] = before | UINT64_C(1) << n % 64;
        if (before)
            break; /* known above */
    }
}

void lowset_remove(struct lowset *s, uint32_t n)
{
    if (!lowset_has(s, n))
        return;
    s->count--;
    for (unsigned l = 0; l < s->levels; l++, n /= 64) {
        s->level[l][n / 64] &= ~(UINT64_C(1) << n % 64);
        if (s->level[l][n / 64])
            break;
    }
}

uint32_t lowset_first(const struct lowset *s)
{
    uint32_t n = 0;
    if (s->count == 0)
        return LOWSET_NONE;
    for (unsigned l = s->levels; l > 0; l--)
        n = n * 64 + (uint32_t)__builtin_ctzll(s->level[l - 1][n]);
    return n;
}
