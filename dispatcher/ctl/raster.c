/* SPDX-License-Identifier: Apache-2.0
 * Pixels are numbers of colours until the end, when libpng packs them. Failure policy: see raster.h. */
#include "dispatcher/ctl/raster.h"

#include <errno.h>
#include <png.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/ctl/glyphs.h"
#include "shared/err.h"

enum { SCALE = 2, LETTER = 3 }; /* pixels of a unit; of a dot of a letter, where the text has room for that */

enum colour { PAPER, DATA, AGAIN, LATE, ACK, FRAME, TEXT, COLOURS };

static const uint8_t palette[COLOURS][3] = {
    [PAPER] = {0xff, 0xff, 0xff}, [DATA] = {0x25, 0x63, 0xeb}, [AGAIN] = {0xdc, 0x26, 0x26},
    [LATE] = {0xd9, 0x77, 0x06},  [ACK] = {0x16, 0xa3, 0x4a},  [FRAME] = {0x99, 0x99, 0x99},
    [TEXT] = {0x22, 0x22, 0x22},
};

struct raster {
    struct pen pen; /* first: a pen is its raster */
    FILE *out;
    int width, height; /* in pixels */
    int x, y;          /* where the path stands, in pixels */
    enum colour colour;
    int thick; /* of the path, in pixels */
    uint8_t pixels[];
};

static struct raster *raster_of(struct pen *pen)
{
    return (struct raster *)pen;
}

/* What of [from, from + length) lies in [0, whole). */
static int cut(int *from, int length, int whole)
{
    int to = from[0] + length;
    *from = *from < 0 ? 0 : *from;
    to = to > whole ? whole : to;
    return to > *from ? to - *from : 0;
}

static void fill(struct raster *r, int x, int y, int width, int height, enum colour colour)
{
    width = cut(&x, width, r->width);
    height = cut(&y, height, r->height);
    for (int i = 0; i < height; i++)
        memset(&r->pixels[(size_t)(y + i) * (size_t)r->width + (size_t)x], (int)colour, (size_t)width);
}

/* ---- letters ---- */

static void letter(struct raster *r, char c, int x, int y, int dot)
{
    const uint8_t *rows = glyphs_rows(c);
    for (int row = 0; row < GLYPHS_ROWS; row++)
        for (int column = 0; column < GLYPHS_COLUMNS; column++)
            if (rows[row] >> (GLYPHS_COLUMNS - 1 - column) & 1)
                fill(r, x + column * dot, y + row * dot, dot, dot, TEXT);
}

static void text(struct pen *pen, enum pen_text kind, int x, int y, const char *text)
{
    struct raster *r = raster_of(pen);
    int letters = (int)strnlen(text, (size_t)r->width), dot = LETTER, room, width;
    x *= SCALE;
    y *= SCALE;
    /* A long text is set smaller rather than cut. */
    do {
        width = letters * GLYPHS_PITCH * dot;
        room = kind == PEN_Y ? x : kind == PEN_X ? width : r->width - x;
    } while (width > room && --dot > 1);
    if (kind == PEN_X)
        x -= width / 2;
    if (kind == PEN_Y)
        x -= width;
    for (int i = 0; i < letters; i++)
        letter(r, text[i], x + i * GLYPHS_PITCH * dot, y - GLYPHS_BASE * dot, dot);
}

/* ---- lines ---- */

static void frame(struct pen *pen, int x, int y, int width, int height)
{
    struct raster *r = raster_of(pen);
    x *= SCALE;
    y *= SCALE;
    width *= SCALE;
    height *= SCALE;
    fill(r, x, y, width, 1, FRAME);
    fill(r, x, y + height, width, 1, FRAME);
    fill(r, x, y, 1, height, FRAME);
    fill(r, x + width, y, 1, height + 1, FRAME);
}

static void begin(struct pen *pen, enum pen_ink ink)
{
    static const struct {
        enum colour colour;
        int thick;
    } looks[PEN_INKS] = {{DATA, 4}, {AGAIN, 8}, {LATE, 6}, {ACK, 2}};
    struct raster *r = raster_of(pen);
    r->colour = looks[ink].colour;
    r->thick = looks[ink].thick;
}

static void move(struct pen *pen, int x, int y)
{
    struct raster *r = raster_of(pen);
    r->x = x * SCALE;
    r->y = y * SCALE;
}

static void across(struct pen *pen, int x)
{
    struct raster *r = raster_of(pen);
    int to = x * SCALE, from = to < r->x ? to : r->x;
    fill(r, from, r->y - r->thick / 2, abs(to - r->x), r->thick, r->colour);
    r->x = to;
}

static void upright(struct pen *pen, int y)
{
    struct raster *r = raster_of(pen);
    int to = y * SCALE, from = to < r->y ? to : r->y;
    fill(r, r->x - r->thick / 2, from, r->thick, abs(to - r->y), r->colour);
    r->y = to;
}

static void end(struct pen *pen)
{
    (void)pen;
}

static int finish(struct pen *pen)
{
    struct raster *r = raster_of(pen);
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)r->width,
                       .height = (png_uint_32)r->height,
                       .format = PNG_FORMAT_RGB_COLORMAP,
                       .colormap_entries = COLOURS};
    errno = 0;
    bool good = png_image_write_to_stdio(&image, r->out, 0, r->pixels, r->width, palette) != 0;
    good = fflush(r->out) == 0 && !ferror(r->out) && good;
    if (errno == 0)
        errno = EIO; /* libpng tells what happened in words only */
    free(r);
    return good ? SC_OK : SC_ESYS;
}

struct pen *raster_new(FILE *out, int width, int height)
{
    width *= SCALE;
    height *= SCALE;
    struct raster *r = calloc(1, sizeof *r + (size_t)width * (size_t)height);
    if (!r)
        return NULL;
    r->pen = (struct pen){text, frame, begin, move, across, upright, end, finish};
    r->out = out;
    r->width = width;
    r->height = height;
    return &r->pen;
}
