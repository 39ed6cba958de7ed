/* SPDX-License-Identifier: Apache-2.0
 * What a picture is drawn with. plot.c draws, svg.c and raster.c are the two kinds of paper. Coordinates are units of a
 * page whose size the paper was made with; y grows downwards. All lines run along an axis. */
#ifndef CTL_PEN_H
#define CTL_PEN_H

enum pen_text {
    PEN_TITLE,
    PEN_HEAD,
    PEN_NOTE, /* these three begin at x */
    PEN_X,    /* in the middle of x */
    PEN_Y,    /* ends at x */
};

enum pen_ink { PEN_DATA, PEN_AGAIN, PEN_LATE, PEN_ACK, PEN_INKS };

struct pen {
    /* Text is printable ASCII without <>&"' and stands on the line y. */
    void (*text)(struct pen *pen, enum pen_text kind, int x, int y, const char *text);
    void (*frame)(struct pen *pen, int x, int y, int width, int height);
    /* A path: begin, any number of moves and lines, end. Lines go on from where the last one ended. */
    void (*begin)(struct pen *pen, enum pen_ink ink);
    void (*move)(struct pen *pen, int x, int y);
    void (*across)(struct pen *pen, int x);
    void (*upright)(struct pen *pen, int y);
    void (*end)(struct pen *pen);
    /* Ends the picture and frees the pen: SC_OK, or SC_ESYS with errno if it could not be written. */
    int (*finish)(struct pen *pen);
};

#endif
