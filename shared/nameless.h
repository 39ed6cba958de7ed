/* SPDX-License-Identifier: Apache-2.0
 * Why most flows have no name, in words for status line, log, page and shardcapctl. */
#ifndef SHARED_NAMELESS_H
#define SHARED_NAMELESS_H

#include "shared/config.h"
#include "shared/counters.h"

/* Static text: what it may come from and what to set. NULL while most flows get their names, or too few have been seen
 * to tell. Only flows with a finished handshake count: a scan is not to blame. */
const char *nameless_reason(const struct config *c, const struct totals *t);

#endif
