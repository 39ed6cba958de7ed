/* SPDX-License-Identifier: Apache-2.0
 * The machine's interfaces as a table, and which of them are to be captured. Pure: the table is filled by interfaces.c,
 * or by a test. */
#ifndef CAPTURE_LINKS_H
#define CAPTURE_LINKS_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/counters.h"
#include "shared/flowkey.h"

#define LINKS_MAX 1024
#define LINK_ADDRESSES_MAX 2048

struct link {
    int index; /* of the kernel; 0 never */
    char name[INTERFACE_NAME];
    bool up; /* administratively: IFF_UP */
    bool loopback;
    bool joins;          /* a bridge or bond: what its members carry is seen on it, too */
    uint64_t rx_packets; /* received since it exists, as it counts them */
    int master;          /* index of the interface it is a member of; 0 = none */
};

struct link_address {
    int index; /* of the interface it belongs to */
    struct ipaddr ip;
};

struct links {
    size_t count;
    struct link link[LINKS_MAX];
    size_t address_count;
    struct link_address address[LINK_ADDRESSES_MAX];
    bool cut; /* the machine has more than fits here */
};

/* NULL if there is none. */
const struct link *links_by_name(const struct links *t, const char *name);
const struct link *links_by_index(const struct links *t, int index);

/* The default set: every interface that is up, without loopback and without members of a bridge or bond that is in the
 * set itself (each packet would be saved twice). With names (count > 0): those of them that exist and are up, in the
 * order given. At most max are stored in chosen; returns how many belong in, which may be more. */
size_t links_select(const struct links *t, const char (*names)[INTERFACE_NAME], size_t name_count,
                    const struct link **chosen, size_t max);

/* The addresses of the non-loopback ones among these interfaces, without duplicates: at most max; returns how many
 * there are. */
size_t links_addresses(const struct links *t, const struct link *const *chosen, size_t count, struct ipaddr *out,
                       size_t max);

/* All addresses of the machine, loopback included, without duplicates: at most max; returns how many there are. */
size_t links_all_addresses(const struct links *t, struct ipaddr *out, size_t max);

/* The name with '?' for every byte that is not plain (the kernel lets almost any byte into a name): for people. */
const char *link_shown(const struct link *l, char out[INTERFACE_NAME]);

/* "eth0 (down) lo v0": every name, for an error message; cut with ".." if it does not fit. Returns out. */
const char *links_names(const struct links *t, char *out, size_t cap);

#endif
