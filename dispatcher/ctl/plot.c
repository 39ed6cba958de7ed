/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: see plot.h; numbers are drawn inside the frame whatever they are. */
#include "dispatcher/ctl/plot.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PANEL = 300, /* height of one direction */
    LEFT = 90,
    RIGHT = 45,
    TOP = 50,
    GAP = 60,
    FIELD = PLOT_WIDTH - LEFT - RIGHT,
    TICKS = 4,
    LABEL = 160, /* two endpoints and a word */
};

static_assert(PLOT_HEIGHT == TOP + 2 * PANEL + 2 * GAP, "two panels, and a line below each");

struct point {
    int64_t ns;
    int64_t from, to; /* from == to: an acknowledgement */
    uint8_t side;     /* whose bytes */
    uint8_t kind;     /* enum flowstat_kind; EMPTY = acknowledgement */
};

struct plot {
    struct point *points;
    size_t count, size;
    int64_t first_ns, last_ns;
    int64_t top[2]; /* highest byte of each direction */
};

struct plot *plot_new(void)
{
    return calloc(1, sizeof(struct plot));
}

void plot_free(struct plot *p)
{
    if (!p)
        return;
    free(p->points);
    free(p);
}

static int push(struct plot *p, struct point point)
{
    if (p->count == p->size) {
        size_t size = p->size ? p->size * 2 : 256;
        struct point *more = realloc(p->points, size * sizeof *more);
        if (!more)
            return SC_ENOMEM;
        p->points = more;
        p->size = size;
    }
    if (point.to > p->top[point.side])
        p->top[point.side] = point.to;
    p->points[p->count++] = point;
    return SC_OK;
}

int plot_add(struct plot *p, const struct flowstat_packet *what, struct wall ts)
{
    if (!what->mine)
        return SC_OK;
    if (p->count == 0 || ts.ns < p->first_ns)
        p->first_ns = ts.ns;
    if (p->count == 0 || ts.ns > p->last_ns)
        p->last_ns = ts.ns;
    int rc = SC_OK;
    if (what->len > 0 || !what->has_ack)
        rc = push(p, (struct point){ts.ns, what->seq, what->seq + (int64_t)what->len, (uint8_t)what->side,
                                    (uint8_t)what->kind});
    if (rc == SC_OK && what->has_ack)
        rc = push(p, (struct point){ts.ns, what->ack, what->ack, (uint8_t)(1 - what->side), FLOWSTAT_EMPTY});
    return rc;
}

/* ---- from numbers to pixels ---- */

/* value of [0, whole] as pixels of [0, pixels], clamped. */
static int scale(int64_t value, int64_t whole, int pixels)
{
    if (value <= 0 || whole <= 0)
        return 0;
    return value >= whole ? pixels : (int)((double)value / (double)whole * pixels);
}

static int panel_bottom(unsigned side)
{
    return TOP + PANEL + (int)side * (PANEL + GAP);
}

static int x_of(const struct plot *p, int64_t ns)
{
    return LEFT + scale(ns - p->first_ns, p->last_ns - p->first_ns, FIELD);
}

static int y_of(const struct plot *p, unsigned side, int64_t byte)
{
    return panel_bottom(side) - scale(byte, p->top[side], PANEL);
}

/* ---- the picture ---- */

static void axes(const struct plot *p, unsigned side, const char *const ends[2], struct pen *pen)
{
    char text[LABEL];
    int bottom = panel_bottom(side);
    (void)snprintf(text, sizeof text, "%s to %s", ends[side], ends[1 - side]);
    pen->text(pen, PEN_HEAD, LEFT, bottom - PANEL - 10, text);
    pen->frame(pen, LEFT, bottom - PANEL, FIELD, PANEL);
    for (int i = 0; i <= TICKS; i++) {
        double seconds = (double)(p->last_ns - p->first_ns) / (double)NS_PER_SEC * i / TICKS;
        (void)snprintf(text, sizeof text, "%.4g s", seconds);
        pen->text(pen, PEN_X, LEFT + FIELD * i / TICKS, bottom + 18, text);
        (void)snprintf(text, sizeof text, "%" PRId64, p->top[side] / TICKS * i + p->top[side] % TICKS * i / TICKS);
        pen->text(pen, PEN_Y, LEFT - 6, bottom - PANEL * i / TICKS + 4, text);
    }
}

static enum pen_ink ink_of(uint8_t kind)
{
    switch (kind) {
    case FLOWSTAT_RETRANSMISSION:
        return PEN_AGAIN;
    case FLOWSTAT_OUT_OF_ORDER:
        return PEN_LATE;
    default:
        return PEN_DATA;
    }
}

/* All strokes of one ink as one path. A stroke equal to the one before is left out. */
static void strokes(const struct plot *p, unsigned side, enum pen_ink ink, struct pen *pen)
{
    int x = -1, from = -1, to = -1;
    bool any = false;
    for (size_t i = 0; i < p->count; i++) {
        const struct point *point = &p->points[i];
        if (point->side != side || point->kind == FLOWSTAT_EMPTY || ink_of(point->kind) != ink)
            continue;
        int x1 = x_of(p, point->ns), y0 = y_of(p, side, point->from), y1 = y_of(p, side, point->to);
        if (any && x1 == x && y0 == from && y1 == to)
            continue;
        if (!any)
            pen->begin(pen, ink);
        pen->move(pen, x1, y0);
        pen->upright(pen, y1 < y0 ? y1 : y0 - 1);
        any = true;
        x = x1;
        from = y0;
        to = y1;
    }
    if (any)
        pen->end(pen);
}

/* The highest acknowledged byte over time. */
static void staircase(const struct plot *p, unsigned side, struct pen *pen)
{
    int64_t top = 0;
    int y = -1;
    bool any = false;
    for (size_t i = 0; i < p->count; i++) {
        const struct point *point = &p->points[i];
        if (point->side != side || point->kind != FLOWSTAT_EMPTY || point->to < top)
            continue;
        top = point->to;
        int x1 = x_of(p, point->ns), y1 = y_of(p, side, top);
        if (any && y1 == y)
            continue;
        if (any) {
            pen->across(pen, x1);
            pen->upright(pen, y1);
        } else {
            pen->begin(pen, PEN_ACK);
            pen->move(pen, x1, y1);
        }
        any = true;
        y = y1;
    }
    if (any) {
        pen->across(pen, x_of(p, p->last_ns));
        pen->end(pen);
    }
}

void plot_draw(const struct plot *p, const char *title, const char *const ends[2], struct pen *pen)
{
    pen->text(pen, PEN_TITLE, LEFT, 20, title);
    for (unsigned side = 0; side < 2; side++) {
        axes(p, side, ends, pen);
        staircase(p, side, pen);
        strokes(p, side, PEN_DATA, pen);
        strokes(p, side, PEN_LATE, pen);
        strokes(p, side, PEN_AGAIN, pen);
    }
    pen->text(pen, PEN_NOTE, LEFT, PLOT_HEIGHT - 8,
              "bytes over time; blue: sent, green: acknowledged, red: sent again, orange: out of order");
}
