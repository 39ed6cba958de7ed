/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: what cannot be written is found out at the end. */
#include "dispatcher/ctl/svg.h"

#include <stdlib.h>

#include "shared/err.h"

struct svg {
    struct pen pen; /* first: a pen is its svg */
    FILE *out;
};

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

static FILE *out_of(struct pen *pen)
{
    return ((struct svg *)pen)->out;
}

static void text(struct pen *pen, enum pen_text kind, int x, int y, const char *text)
{
    static const char *const class[] = {"title", "head", "note", "x", "y"};
    (void)fprintf(out_of(pen), "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", class[kind], x, y, text);
}

static void frame(struct pen *pen, int x, int y, int width, int height)
{
    (void)fprintf(out_of(pen), "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", x, y, width,
                  height);
}

static void begin(struct pen *pen, enum pen_ink ink)
{
    static const char *const class[PEN_INKS] = {"data", "again", "late", "ack"};
    (void)fprintf(out_of(pen), "<path class=\"%s\" d=\"", class[ink]);
}

static void move(struct pen *pen, int x, int y)
{
    (void)fprintf(out_of(pen), "M%d %d", x, y);
}

static void across(struct pen *pen, int x)
{
    (void)fprintf(out_of(pen), "H%d", x);
}

static void upright(struct pen *pen, int y)
{
    (void)fprintf(out_of(pen), "V%d", y);
}

static void end(struct pen *pen)
{
    (void)fprintf(out_of(pen), "\"/>\n");
}

static int finish(struct pen *pen)
{
    FILE *out = out_of(pen);
    free(pen);
    (void)fprintf(out, "</svg>\n");
    return fflush(out) == 0 && !ferror(out) ? SC_OK : SC_ESYS;
}

struct pen *svg_new(FILE *out, int width, int height, const char *title)
{
    struct svg *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    *s = (struct svg){{text, frame, begin, move, across, upright, end, finish}, out};
    (void)fprintf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n%s"
                  "<title>%s</title>\n",
                  width, height, style, title);
    return &s->pen;
}
