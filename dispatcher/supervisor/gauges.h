/* SPDX-License-Identifier: Apache-2.0
 * The supervisor's page: what hub, scrapers and people see of the processes. */
#ifndef SUPERVISOR_GAUGES_H
#define SUPERVISOR_GAUGES_H

#include "dispatcher/supervisor/family.h"

/* Writes states and pids of all children. */
void gauges_set(struct family *f);

/* The counter of a child's restarts. */
counter *gauges_restarts(const struct child *c);

/* The status line for a service manager: "STATUS=capturing: 3 of 3 processes up, ...". Returns out. */
#define GAUGES_STATUS 200
const char *gauges_status(const struct family *f, const struct totals *totals, char out[GAUGES_STATUS]);

#endif
