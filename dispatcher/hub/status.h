/* SPDX-License-Identifier: Apache-2.0
 * The JSON of `status`: readiness, processes, packets, flows. No address and no UUID in it. */
#ifndef HUB_STATUS_H
#define HUB_STATUS_H

#include "dispatcher/hub/pages.h"
#include "dispatcher/hub/text.h"

/* Appends one JSON object and a newline. */
void status_render(const struct pages *pages, struct text *out);

#endif
