/* SPDX-License-Identifier: Apache-2.0
 * A picture as PNG: two pixels for a unit of the page, lines and letters of a few colours on white. */
#ifndef CTL_RASTER_H
#define CTL_RASTER_H

#include <stdio.h>

#include "dispatcher/ctl/pen.h"

/* A page of width x height units, written to out when it is finished; out stays the caller's. What is drawn beside the
 * page is left out. NULL: no memory. */
struct pen *raster_new(FILE *out, int width, int height);

#endif
