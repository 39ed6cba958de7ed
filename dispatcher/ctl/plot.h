/* SPDX-License-Identifier: Apache-2.0
 * A time-sequence plot of a connection as SVG: for each direction what was sent (a stroke from its first to its last
 * byte; red if it was sent before), and below it the staircase of what the other side has acknowledged. */
#ifndef CTL_PLOT_H
#define CTL_PLOT_H

#include <stdio.h>

#include "dispatcher/ctl/flowstat.h"
#include "shared/err.h"

struct plot;

struct plot *plot_new(void);    /* NULL: no memory */
void plot_free(struct plot *p); /* NULL is fine */

/* Takes what flowstat_add said of a packet. SC_OK or SC_ENOMEM. */
int plot_add(struct plot *p, const struct flowstat_packet *what, struct wall ts) SC_MUST_CHECK;

/* Writes the picture. title: printable ASCII, shown as it is. ends: the two endpoints, client first. Strokes that fall
 * on the same pixels are drawn once, so that the size of the picture is bounded. SC_OK or SC_ESYS (errno). */
int plot_write(const struct plot *p, const char *title, const char *const ends[2], FILE *out) SC_MUST_CHECK;

#endif
