/* SPDX-License-Identifier: Apache-2.0
 * The other form of the metrics page, for those who ask for it: OpenMetrics 1.0. */
#ifndef HUB_OPENMETRICS_H
#define HUB_OPENMETRICS_H

#include "dispatcher/hub/text.h"

#define OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Does the Accept header name application/openmetrics-text before text/plain, or with more weight? Prometheus lists
 * what it likes best first and with the largest q. "" is no. */
bool openmetrics_wanted(const char *accept);

/* Appends the page in that form. In it a counter's family is named without _total, and the page ends with # EOF. A
 * failed text makes a failed one. */
void openmetrics_from(const struct text *classic, struct text *out);

#endif
