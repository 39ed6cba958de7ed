/* SPDX-License-Identifier: Apache-2.0
 * JSON as text: values are looked up in place, strings are written with escapes. For what the hub says and what we
 * print; events of others are read by shared/flowevent, which alone knows jansson. Allocates nothing.
 * Failure policy: a text that is not JSON is refused as a whole at jsontext_open; what is not there is false. */
#ifndef CTL_JSONTEXT_H
#define CTL_JSONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "shared/err.h"

/* One value inside a text that must stay; no surrounding blanks. */
struct jsontext {
    const char *at, *end;
};

/* The one value that text is, blanks around it aside. SC_OK or SC_EFORMAT (not JSON, nested deeper than 16). */
int jsontext_open(struct jsontext *out, const char *text, size_t len) SC_MUST_CHECK;

/* The first member of an object with that name (which holds no escapes). False if there is none or it is no object. */
bool jsontext_member(struct jsontext object, const char *name, struct jsontext *value_r);

/* Goes through an object or an array: *iterator begins as the value itself and is moved; name_r, with its quotes, may
 * be NULL. False at the end. */
bool jsontext_next(struct jsontext *iterator, struct jsontext *name_r, struct jsontext *value_r);

bool jsontext_u64(struct jsontext value, uint64_t *out); /* a whole number; else false and 0 */
bool jsontext_true(struct jsontext value);
/* A string without escapes that fits cap with its NUL; else false and "". */
bool jsontext_string(struct jsontext value, char *out, size_t cap);

/* The three above by name of a member; 0, false and "" if it is not there. */
uint64_t jsontext_u64_of(struct jsontext object, const char *name);
bool jsontext_true_of(struct jsontext object, const char *name);
bool jsontext_string_of(struct jsontext object, const char *name, char *out, size_t cap);

/* Writes a string with its quotes; control bytes, quotes, backslashes and all beyond ASCII as \u00XX. */
void jsontext_write(const char *text, size_t len, FILE *out);

#endif
