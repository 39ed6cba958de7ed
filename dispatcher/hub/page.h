/* SPDX-License-Identifier: Apache-2.0
 * What stands behind each path of the HTTP server. No address and no UUID in any of it. */
#ifndef HUB_PAGE_H
#define HUB_PAGE_H

#include "dispatcher/hub/pages.h"
#include "dispatcher/hub/text.h"
#include "shared/clock.h"

struct page_source {
    const struct pages *pages;
    pid_t supervisor;
    const struct clock *clock;
};

/* An http_handler; ctx is a struct page_source. */
int page_serve(void *ctx, const char *path, const char *accept, struct text *body, const char **type);

#endif
