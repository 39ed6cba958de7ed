/* SPDX-License-Identifier: Apache-2.0
 * The printable ASCII letters as dots, for pictures that are made of pixels. */
#ifndef CTL_GLYPHS_H
#define CTL_GLYPHS_H

#include <stdint.h>

enum {
    GLYPHS_COLUMNS = 5,
    GLYPHS_ROWS = 9,
    GLYPHS_BASE = 7,  /* rows above the line on which letters stand */
    GLYPHS_PITCH = 6, /* columns from one letter to the next */
};

/* GLYPHS_ROWS rows from the top, whose lowest GLYPHS_COLUMNS bits are the dots, the leftmost being the highest bit. A
 * character that is not printable ASCII is a question mark. */
const uint8_t *glyphs_rows(char c);

#endif
