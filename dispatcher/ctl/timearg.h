/* SPDX-License-Identifier: Apache-2.0
 * Times as people give them to a command. Pure. */
#ifndef CTL_TIMEARG_H
#define CTL_TIMEARG_H

#include "shared/clock.h"
#include "shared/err.h"

#define TIMEARG_FORMS "2024-11-19T16:51:48Z, 2024-11-19T16:51, 2024-11-19 (UTC), or 90s, 30m, 2h, 7d ago"

/* One of TIMEARG_FORMS. SC_OK or SC_EFORMAT. */
int timearg_parse(const char *text, struct wall now, struct wall *out) SC_MUST_CHECK;

#endif
