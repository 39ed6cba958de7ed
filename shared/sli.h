/* SPDX-License-Identifier: Apache-2.0
 * How long users wait, as histograms in shared counters: single writer, 64 bit, relaxed atomics (counters.h). */
#ifndef SHARED_SLI_H
#define SHARED_SLI_H

#include <stdatomic.h>
#include <stdint.h>

#define SLI_BUCKETS 18 /* upper bounds 2^i ms, 1 ms to 131 s; one more word holds the rest */

struct sli {
    _Atomic uint64_t bucket[SLI_BUCKETS + 1];
    _Atomic uint64_t sum_ns;
};

/* Who gave a flow its UUID. X(NAME, "label") */
#define NAME_SOURCE_LIST(X)                                                                                            \
    X(LOOKUP, "lookup")   /* the kernel, asked */                                                                      \
    X(DESTROY, "destroy") /* the kernel, by the end of the socket */                                                   \
    X(EVENT, "event")     /* tcp-info, or injected */                                                                  \
    X(HASH, "hash")

enum name_source {
#define NAME_SOURCE_ENUM(name, label) NAME_BY_##name,
    NAME_SOURCE_LIST(NAME_SOURCE_ENUM)
#undef NAME_SOURCE_ENUM
        NAME_SOURCE_COUNT
};

static inline void sli_bump(_Atomic uint64_t *word, uint64_t n)
{
    /* relaxed, single writer */
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + n, memory_order_relaxed);
}

/* A wait of ns; one below 0 (the UUID was known before the first packet) is none. */
static inline void sli_add(struct sli *s, int64_t ns)
{
    unsigned i = 0;
    ns = ns > 0 ? ns : 0;
    while (i < SLI_BUCKETS && ns > INT64_C(1000000) << i)
        i++;
    sli_bump(&s->bucket[i], 1);
    sli_bump(&s->sum_ns, (uint64_t)ns);
}

/* Waits so far. */
static inline uint64_t sli_count(const struct sli *s)
{
    uint64_t n = 0;
    for (unsigned i = 0; i <= SLI_BUCKETS; i++)
        n += atomic_load_explicit(&s->bucket[i], memory_order_relaxed);
    return n;
}

#endif
