/* SPDX-License-Identifier: Apache-2.0
 * A picture as SVG, for light and dark pages. */
#ifndef CTL_SVG_H
#define CTL_SVG_H

#include <stdio.h>

#include "dispatcher/ctl/pen.h"

/* A page of width x height units that is written to out as it is drawn; out stays the caller's. title as pen's texts.
 * NULL: no memory. */
struct pen *svg_new(FILE *out, int width, int height, const char *title);

#endif
