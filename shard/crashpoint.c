/* SPDX-License-Identifier: Apache-2.0
 * See crashpoint.h. Empty in an ordinary build. */
#include "shard/crashpoint.h"

#ifdef SHARDCAP_CRASHPOINTS

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

#endif
