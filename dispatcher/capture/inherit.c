/* SPDX-License-Identifier: Apache-2.0
 * See inherit.h. Cannot fail. */
#include "dispatcher/capture/inherit.h"

static bool is_captured(const struct interface_counters *c)
{
    /* acquire: pairs with slot_of in sources.c, the rest of the slot is whole */
    return atomic_load_explicit(&c->used, memory_order_acquire) != 0 &&
           atomic_load_explicit(&c->capturing, memory_order_relaxed) != 0;
}

static int index_of(const struct interface_counters *c)
{
    return (int)atomic_load_explicit(&c->index, memory_order_relaxed);
}

int inherit_group(const struct dispatcher_page *page, int if_index)
{
    for (unsigned i = 0; i < INTERFACES_MAX; i++) {
        const struct interface_counters *c = &page->interfaces[i];
        if (is_captured(c) && index_of(c) == if_index) /* acquire: pairs with inherit_tell, the group is there */
            return (int)atomic_load_explicit(&c->group, memory_order_acquire) - 1;
    }
    return -1;
}

void inherit_tell(struct dispatcher_page *page, struct interface_counters *c, int group)
{
    bool shared = c == &page->interfaces[INTERFACES_MAX - 1];
    /* seq_cst: none of a capture's closing comes before it */
    atomic_store(&c->group, group < 0 || shared ? 0 : (uint32_t)group + 1);
}

bool inherit_all(const struct dispatcher_page *page, bool (*has)(void *ctx, int if_index), void *ctx)
{
    for (unsigned i = 0; i < INTERFACES_MAX; i++)
        if (is_captured(&page->interfaces[i]) && !has(ctx, index_of(&page->interfaces[i])))
            return false;
    return true;
}

/* seq_cst, all three: what a dispatcher sees of the word and what the kernel does with packets are in one order. */
void inherit_begin(struct dispatcher_page *page)
{
    atomic_store(&page->handing, 1);
}

void inherit_end(struct dispatcher_page *page)
{
    atomic_store(&page->handing, 0);
}

bool inherit_begun(const struct dispatcher_page *page)
{
    return atomic_load(&page->handing) != 0;
}
