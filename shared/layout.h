/* SPDX-License-Identifier: Apache-2.0
 * What -layout prints: the numbers of all memory and messages that processes share, so that programs of two builds find
 * out beforehand whether they understand each other. A text is "name number name number .."; each program adds what
 * only it and its successor share ("arena 2"). */
#ifndef SHARED_LAYOUT_H
#define SHARED_LAYOUT_H

#include <stdbool.h>

#define LAYOUT_TEXT 160
#define LAYOUT_NAME 16

/* The part that every program has. Returns out. */
const char *layout_common(char out[LAYOUT_TEXT]);

/* The number of a name in a text; -1 if the text does not have it in the form above. */
long layout_number(const char *text, const char *name);

/* True if some name of `from` has another number, or none, in `to`: then it is in name_r. Foreign texts are fine; one
 * that is no layout at all differs in its first word. */
bool layout_differs(const char *from, const char *to, char name_r[LAYOUT_NAME]);

#endif
