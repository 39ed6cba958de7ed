/* SPDX-License-Identifier: Apache-2.0
 * What happened, at the end of every run: a table for people, JSON for programs. */
#ifndef SUPERVISOR_SUMMARY_H
#define SUPERVISOR_SUMMARY_H

#include <stdbool.h>
#include <stdio.h>

#include "shared/clock.h"
#include "shared/config.h"
#include "shared/counters.h"

/* True when every delivered packet is saved or dropped under a cause. */
bool summary_balances(const struct totals *t);

void summary_table(FILE *out, const struct totals *t, double seconds, const struct config *config);

/* Writes the JSON to path (by rename; given to the user), SC_OK or SC_ESYS with a line in error (FLAGS_ERROR bytes).
 * `started` in it is the config's. */
int summary_json(const char *path, const struct totals *t, double seconds, struct wall ended,
                 const struct config *config, char *error);

#endif
