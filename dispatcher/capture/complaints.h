/* SPDX-License-Identifier: Apache-2.0
 * What was last said about interfaces that are not captured, so that it is said once. Pure. */
#ifndef CAPTURE_COMPLAINTS_H
#define CAPTURE_COMPLAINTS_H

#include <stdbool.h>

#include "shared/counters.h"

/* All zero: nothing was said. */
struct complaints {
    struct {
        char name[INTERFACE_NAME];
        int index, reason; /* reason: an sc_err; 0 = this entry is free */
    } entry[2 * INTERFACES_MAX];
};

/* True if this is news, which is then known. With the table full, nothing more is said about further interfaces. */
bool complaints_news(struct complaints *c, const char *name, int index, int reason);

/* Is it known of this interface, of that index? */
bool complaints_known(const struct complaints *c, const char *name, int index, int reason);

/* There is no reason to complain any more. */
void complaints_forget(struct complaints *c, const char *name);

#endif
