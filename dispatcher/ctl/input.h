/* SPDX-License-Identifier: Apache-2.0
 * Bytes of a file or of standard input, as they come. */
#ifndef CTL_INPUT_H
#define CTL_INPUT_H

#include <stdbool.h>
#include <stddef.h>

/* Reads file ("-" is standard input) and hands over what each read gives until take returns false or it ends. Returns
 * false, with a line on stderr, if it cannot be read. */
bool input_read(const char *file, bool (*take)(void *ctx, const char *bytes, size_t n), void *ctx);

#endif
