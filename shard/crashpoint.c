/* SPDX-License-Identifier: Apache-2.0
 * See crashpoint.h. Empty in an ordinary build. */
#include "shard/crashpoint.h"

#ifdef SHARDCAP_CRASHPOINTS

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "shared/counters.h"

#define ORDERS 16

struct order {
    char name[32];
    int has_value;
    unsigned long long value;
    char how; /* first letter */
    unsigned once_in;
};

static struct order orders[ORDERS];
static unsigned order_count;
static _Atomic int loaded;

void crashpoint_read(void)
{
    const char *text = getenv("SHARDCAP_CRASH");
    unsigned n = 0;
    for (; text && *text && n < ORDERS; text += strcspn(text, ","), text += *text == ',') {
        struct order o = {.how = 'k', .once_in = 1};
        int at = 0, more = 0;
        if (sscanf(text, "%31[^=:/,]%n", o.name, &at) != 1)
            continue;
        o.has_value = text[at] == '=' && sscanf(text + at, "=%llu%n", &o.value, &more) == 1;
        at += more;
        if (text[at] == ':') {
            o.how = text[at + 1];
            at += (int)strcspn(text + at, "/,");
        }
        if (text[at] == '/')
            (void)sscanf(text + at, "/%u", &o.once_in);
        orders[n++] = o;
    }
    order_count = n;
    atomic_store(&loaded, 1);
}

/* Not the library's: its state is locked, and this may be any place. */
static unsigned draw(unsigned once_in)
{
    static _Atomic unsigned long long state;
    struct timespec t;
    if (once_in < 2)
        return 0;
    if (atomic_load(&state) == 0) {
        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        atomic_store(&state, (unsigned long long)t.tv_nsec * 2654435761u + 1);
    }
    unsigned long long x = atomic_load(&state);
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    atomic_store(&state, x);
    return (unsigned)((x >> 33) % once_in);
}

static void die(char how)
{
    if (how == 'h')
        for (volatile unsigned i = 0;; i++)
            ;
    if (how == 'f')
        __builtin_trap();
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("int3");
#elif defined(__aarch64__)
    __asm__ volatile("brk #0");
#else
    __builtin_trap();
#endif
}

void crashpoint(const char *name, uint64_t value)
{
    if (!atomic_load(&loaded))
        crashpoint_read();
    for (unsigned i = 0; i < order_count; i++)
        if (strcmp(orders[i].name, name) == 0 && (!orders[i].has_value || orders[i].value == value) &&
            draw(orders[i].once_in) == 0)
            die(orders[i].how);
}

/* Half of the lies are about the one word that others rely on: near the truth, and wild. */
void crashpoint_scribble(uint64_t slot, void *memory, size_t bytes, int doorbell)
{
    struct shard_page *page = memory;
    volatile uint64_t *words = memory;
    uint64_t x = 88172645463325252u + slot;
    unsigned i = 0;
    if (!atomic_load(&loaded))
        crashpoint_read();
    while (i < order_count && (strcmp(orders[i].name, "scribble") != 0 || orders[i].value != slot))
        i++;
    while (i < order_count) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        if (x % 2 == 0)
            atomic_store(&page->ring.cons, x % 4 == 0 ? x : atomic_load(&page->ring.cons) + (x >> 8) % 8192);
        else
            words[(x >> 8) % (bytes / sizeof(*words))] = x;
        (void)send(doorbell, &x, sizeof(x), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

#endif
