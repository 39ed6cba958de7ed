/* SPDX-License-Identifier: Apache-2.0
 * A growing piece of text for answers and pages. The error is sticky: after a failed allocation, or beyond TEXT_MAX,
 * nothing more is added and `failed` stays true, so that a writer checks once at the end. */
#ifndef HUB_TEXT_H
#define HUB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/err.h"

#define TEXT_MAX ((size_t)16 * 1024 * 1024)

struct text {
    char *data; /* NULL while empty; not NUL-terminated */
    size_t len, cap;
    bool failed;
};

void text_add(struct text *t, const void *bytes, size_t len);
void text_printf(struct text *t, const char *fmt, ...) SC_PRINTF(2, 3);
void text_clear(struct text *t); /* keeps the memory */
void text_free(struct text *t);

/* Takes a final newline off. */
void text_chomp(struct text *t);

#endif
