/* SPDX-License-Identifier: Apache-2.0
 * The answers to `status` (JSON) and `status table`: readiness, processes, packets, flows. No address and no UUID in
 * it. */
#ifndef HUB_STATUS_H
#define HUB_STATUS_H

#include "dispatcher/hub/pages.h"
#include "dispatcher/hub/text.h"

/* Appends one JSON object and a newline. */
void status_json(const struct pages *pages, struct text *out);

/* Appends a first line that says STATUS_FINE (ready, nothing is down) or STATUS_DEGRADED, then a table for people. */
#define STATUS_FINE "fine"
#define STATUS_DEGRADED "degraded"
void status_table(const struct pages *pages, struct text *out);

/* "none" (not configured), "up" or "down". Static storage. */
const char *status_eventsocket(const struct pages *pages);

#endif
