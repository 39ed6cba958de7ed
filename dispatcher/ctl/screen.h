/* SPDX-License-Identifier: Apache-2.0
 * A terminal that shows lines of text. The only user of ncurses. */
#ifndef CTL_SCREEN_H
#define CTL_SCREEN_H

#include <stdbool.h>

#include "shared/err.h"

/* Takes the terminal over. SC_OK, or SC_EINVAL if it is none that can be drawn on. */
int screen_open(void) SC_MUST_CHECK;
void screen_close(void);

/* Draws the text from the top, as far as it fits; the first line and what is wrong (`alert`, "" = nothing) stand out.
 */
void screen_draw(const char *text, const char *alert);

/* Waits at most ms for a key. True: the person wants to go (q, Q, Escape). A resized terminal returns at once. */
bool screen_wait(int ms);

#endif
