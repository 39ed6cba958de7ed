/* SPDX-License-Identifier: Apache-2.0
 * A time-sequence plot of a connection: for each direction what was sent (a stroke from its first to its last
 * byte; red if it was sent before), and below it the staircase of what the other side has acknowledged. */
#ifndef CTL_PLOT_H
#define CTL_PLOT_H

#include "dispatcher/ctl/flowstat.h"
#include "dispatcher/ctl/pen.h"
#include "shared/err.h"

struct plot;

struct plot *plot_new(void);    /* NULL: no memory */
void plot_free(struct plot *p); /* NULL is fine */

/* Takes what flowstat_add said of a packet. SC_OK or SC_ENOMEM. */
int plot_add(struct plot *p, const struct flowstat_packet *what, struct wall ts) SC_MUST_CHECK;

enum { PLOT_WIDTH = 1000, PLOT_HEIGHT = 770 }; /* of the page, in its units */

/* Draws the picture. title: as pen's texts. ends: the two endpoints, client first. Strokes that fall on the same place
 * are drawn once, so that the size of the picture is bounded. */
void plot_draw(const struct plot *p, const char *title, const char *const ends[2], struct pen *pen);

#endif
