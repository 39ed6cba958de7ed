/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: see plot.h; numbers are drawn inside the frame whatever they are. */
#include "dispatcher/ctl/plot.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    WIDTH = 1000,
    PANEL = 300, /* height of one direction */
    LEFT = 90,
    RIGHT = 20,
    TOP = 50,
    GAP = 60,
    PLOT_WIDTH = WIDTH - LEFT - RIGHT,
    HEIGHT = TOP + 2 * PANEL + 2 * GAP,
    TICKS = 4,
};

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
    return LEFT + scale(ns - p->first_ns, p->last_ns - p->first_ns, PLOT_WIDTH);
}

static int y_of(const struct plot *p, unsigned side, int64_t byte)
{
    return panel_bottom(side) - scale(byte, p->top[side], PANEL);
}

/* ---- the picture ---- */

static void axes(const struct plot *p, unsigned side, const char *const ends[2], FILE *out)
{
    int bottom = panel_bottom(side);
    (void)fprintf(out, "<text class=\"head\" x=\"%d\" y=\"%d\">%s to %s</text>\n", LEFT, bottom - PANEL - 10,
                  ends[side], ends[1 - side]);
    (void)fprintf(out, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", LEFT, bottom - PANEL,
                  PLOT_WIDTH, PANEL);
    for (int i = 0; i <= TICKS; i++) {
        double seconds = (double)(p->last_ns - p->first_ns) / (double)NS_PER_SEC * i / TICKS;
        (void)fprintf(out, "<text class=\"x\" x=\"%d\" y=\"%d\">%.6g s</text>\n", LEFT + PLOT_WIDTH * i / TICKS,
                      bottom + 18, seconds);
        (void)fprintf(out, "<text class=\"y\" x=\"%d\" y=\"%d\">%" PRId64 "</text>\n", LEFT - 6,
                      bottom - PANEL * i / TICKS + 4, p->top[side] / TICKS * i + p->top[side] % TICKS * i / TICKS);
    }
}

static const char *class_of(uint8_t kind)
{
    switch (kind) {
    case FLOWSTAT_RETRANSMISSION:
        return "again";
    case FLOWSTAT_OUT_OF_ORDER:
        return "late";
    default:
        return "data";
    }
}

/* All strokes of one class as one path: moves and lines. A stroke equal to the one before is left out. */
static void strokes(const struct plot *p, unsigned side, const char *class, FILE *out)
{
    int x = -1, from = -1, to = -1;
    bool any = false;
    for (size_t i = 0; i < p->count; i++) {
        const struct point *point = &p->points[i];
        if (point->side != side || point->kind == FLOWSTAT_EMPTY || strcmp(class_of(point->kind), class) != 0)
            continue;
        int x1 = x_of(p, point->ns), y0 = y_of(p, side, point->from), y1 = y_of(p, side, point->to);
        if (any && x1 == x && y0 == from && y1 == to)
            continue;
        if (!any)
            (void)fprintf(out, "<path class=\"%s\" d=\"", class);
        (void)fprintf(out, "M%d %dV%d", x1, y0, y1 < y0 ? y1 : y0 - 1);
        any = true;
        x = x1;
        from = y0;
        to = y1;
    }
    if (any)
        (void)fprintf(out, "\"/>\n");
}

/* The highest acknowledged byte over time. */
static void staircase(const struct plot *p, unsigned side, FILE *out)
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
        if (any)
            (void)fprintf(out, "H%dV%d", x1, y1);
        else
            (void)fprintf(out, "<path class=\"ack\" d=\"M%d %d", x1, y1);
        any = true;
        y = y1;
    }
    if (any)
        (void)fprintf(out, "H%d\"/>\n", x_of(p, p->last_ns));
}

static const char style[] =
    "<style>\n"
    "svg { background: #fff; font: 12px sans-serif; fill: #222; }\n"
    ".title { font-size: 15px; font-weight: bold; } .head { font-weight: bold; }\n"
    ".x { text-anchor: middle; } .y { text-anchor: end; }\n"
    ".frame { fill: none; stroke: #999; } path { fill: none; stroke-width: 2; }\n"
    ".data { stroke: #2563eb; } .again { stroke: #dc2626; stroke-width: 4; } .late { stroke: #d97706; stroke-width: 3; "
    "}\n"
    ".ack { stroke: #16a34a; stroke-width: 1.2; }\n"
    "@media (prefers-color-scheme: dark) { svg { background: #111; fill: #ddd; } .frame { stroke: #555; } }\n"
    "</style>\n";

int plot_write(const struct plot *p, const char *title, const char *const ends[2], FILE *out)
{
    (void)fprintf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n%s"
                  "<title>%s</title>\n<text class=\"title\" x=\"%d\" y=\"20\">%s</text>\n",
                  WIDTH, HEIGHT, style, title, LEFT, title);
    for (unsigned side = 0; side < 2; side++) {
        axes(p, side, ends, out);
        staircase(p, side, out);
        strokes(p, side, "data", out);
        strokes(p, side, "late", out);
        strokes(p, side, "again", out);
    }
    (void)fprintf(out,
                  "<text x=\"%d\" y=\"%d\">bytes over time; blue: sent, green: acknowledged, red: sent again, "
                  "orange: out of order</text>\n</svg>\n",
                  LEFT, HEIGHT - 8);
    return fflush(out) == 0 && !ferror(out) ? SC_OK : SC_ESYS;
}
