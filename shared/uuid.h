/* SPDX-License-Identifier: Apache-2.0
 * Flow UUIDs. Foreign ones are untrusted and become file names, hence the narrow rule:
 * [A-Za-z0-9][A-Za-z0-9._:-]{0,127}, and no "..". */
#ifndef SHARED_UUID_H
#define SHARED_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"

#define UUID_MAX 128                    /* characters, without the NUL */
#define UUID_PREFIX_MAX (UUID_MAX - 17) /* so that "_" and 16 digits fit behind it */

struct uuid {
    char text[UUID_MAX + 1]; /* NUL-terminated */
};

bool uuid_valid(const char *text, size_t len);

/* Copies a valid text. Returns SC_OK or SC_EFORMAT (out is then empty). */
int uuid_set(struct uuid *out, const char *text, size_t len) SC_MUST_CHECK;

/* "<prefix>_%016X". The prefix is valid by itself and has at most UUID_PREFIX_MAX characters; else SC_EFORMAT
 * or SC_ETOOLONG (out is then empty). */
int uuid_from_cookie(struct uuid *out, const char *prefix, uint64_t cookie) SC_MUST_CHECK;

/* The cookie of a UUID of that form (16 hexadecimal digits in capitals behind a "_"). SC_OK, or SC_EFORMAT: another
 * form, and *cookie_r is 0. */
int uuid_cookie(const struct uuid *uuid, uint64_t *cookie_r);

/* What stands before the "_" and the cookie; likewise. */
int uuid_prefix_of(const struct uuid *uuid, struct uuid *prefix_r);

/* "<host>_<boot_s>_unsafe": characters outside the rule become '-', a first one that may not stand first gets an 'x'
 * before it, and the host is cut so that the whole fits. host: any text, empty is "unknown". */
void uuid_compose_prefix(struct uuid *out, const char *host, int64_t boot_s);

/* The default prefix "<POD_NAME or hostname>_<boot time, unix s>_unsafe". SC_ESYS.
 * Boot time = now - uptime jitters by a second: call once per family and pass the text on. */
int uuid_default_prefix(struct uuid *out) SC_MUST_CHECK;

/* Reads the prefix file: verbatim less one final newline. SC_ESYS, SC_EFORMAT (breaks the rule), SC_ETOOLONG. */
int uuid_prefix_from_file(struct uuid *out, const char *path) SC_MUST_CHECK;

#endif
