/* SPDX-License-Identifier: Apache-2.0
 * The page at /: the family and its last hour, for a person. No script and nothing fetched: HTML, one style sheet and
 * SVG, light or dark as the browser asks, readable on a phone. No address, no UUID, no action. */
#ifndef HUB_OVERVIEW_H
#define HUB_OVERVIEW_H

#include "dispatcher/hub/pages.h"
#include "dispatcher/hub/text.h"
#include "shared/clock.h"

/* Appends the whole page. Numbers that /metrics has too carry its name in data-metric and the exact value in
 * data-value. */
void overview_html(const struct pages *pages, struct mono now, struct text *out);

#endif
