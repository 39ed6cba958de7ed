/* SPDX-License-Identifier: Apache-2.0
 * Flow UUIDs. Foreign ones are untrusted and become file names, hence the narrow rule:
 * [A-Za-z0-9][A-Za-z0-9._:-]{0,127}, and no "..". */
#ifndef SHARED_UUID_H
#define SHARED_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"

#define UUID_MAX 128 /* characters, without the NUL */

struct uuid {
    char text[UUID_MAX + 1]; /* NUL-terminated */
};

bool uuid_valid(const char *text, size_t len);

/* Copies a valid text. Returns SC_OK or SC_EFORMAT (out is then empty). */
int uuid_set(struct uuid *out, const char *text, size_t len) SC_MUST_CHECK;

/* "<prefix>_%016X". The prefix must leave room (at most UUID_MAX - 17 characters) and be valid. */
int uuid_from_cookie(struct uuid *out, const char *prefix, uint64_t cookie) SC_MUST_CHECK;

/* The default prefix "<POD_NAME or hostname>_<boot time, unix s>_unsafe". Characters outside the rule become '-'.
 * Boot time = now - uptime jitters by a second: call once per family and pass the text on. */
int uuid_default_prefix(struct uuid *out) SC_MUST_CHECK;

/* Reads the prefix file: verbatim less one final newline. SC_ESYS, SC_EFORMAT (breaks the rule), SC_ETOOLONG. */
int uuid_prefix_from_file(struct uuid *out, const char *path) SC_MUST_CHECK;

#endif
