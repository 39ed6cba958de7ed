/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: a terminal that cannot do something shows less; ncurses gives it back on SIGINT and SIGTERM. */
#include "dispatcher/ctl/screen.h"

#include <stdio.h>
#include <string.h>

#include <ncurses.h>

#define KEY_ESCAPE 27

static SCREEN *terminal;

int screen_open(void)
{
    terminal = newterm(NULL, stdout, stdin);
    if (!terminal)
        return SC_EINVAL;
    const char *move = tigetstr("cup");
    if (!move || move == (char *)-1) { /* TERM=dumb, as in an editor's shell */
        screen_close();
        return SC_EINVAL;
    }
    (void)cbreak();
    (void)noecho();
    (void)keypad(stdscr, TRUE);
    (void)curs_set(0);
    (void)set_escdelay(25);
    return SC_OK;
}

void screen_close(void)
{
    if (!terminal)
        return;
    (void)endwin();
    delscreen(terminal);
    terminal = NULL;
}

void screen_draw(const char *text, const char *alert)
{
    int height = getmaxy(stdscr), width = getmaxx(stdscr), row = 0;
    (void)erase();
    for (; *text && row < height; row++) {
        const char *end = strchr(text, '\n');
        int n = end ? (int)(end - text) : (int)strlen(text);
        if (row == 0)
            (void)attron(A_BOLD);
        (void)mvaddnstr(row, 0, text, n < width ? n : width);
        (void)attroff(A_BOLD);
        if (!end)
            break;
        text = end + 1;
    }
    if (alert[0] && height > 0) {
        (void)attron(A_REVERSE);
        (void)mvaddnstr(height - 1, 0, alert, width);
        (void)attroff(A_REVERSE);
    }
    (void)refresh();
}

bool screen_wait(int ms)
{
    timeout(ms);
    int key = getch();
    return key == 'q' || key == 'Q' || key == KEY_ESCAPE;
}
