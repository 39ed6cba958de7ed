/* SPDX-License-Identifier: Apache-2.0
 * A line chart as inline SVG: numbers in, text out. Colours are the page's: class names only. */
#ifndef HUB_CHART_H
#define HUB_CHART_H

#include "dispatcher/hub/text.h"

#define CHART_LINES 3

struct chart {
    const char *title, *unit; /* our own words, not escaped; unit may be "" */
    double span_s;            /* width of the picture in seconds; it ends now */
    struct chart_line {
        const char *name;    /* NULL = there is no such line */
        const char *metric;  /* which number of /metrics `now` is (goes into data-metric); NULL = none */
        double now;          /* the number that stands beside the name */
        const double *value; /* of points */
    } line[CHART_LINES];
    const double *age_s; /* of points: seconds before now, falling */
    unsigned points;
};

/* Appends a <figure>. The axis starts at zero and ends at a round number above all values. A point without a value is
 * NAN: the line has a gap there. */
void chart_svg(const struct chart *c, struct text *out);

/* Appends a number as people read it: 12, 3.4, 12,345. */
void chart_number(double v, struct text *out);

#endif
