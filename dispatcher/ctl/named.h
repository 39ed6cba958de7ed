/* SPDX-License-Identifier: Apache-2.0
 * Files as people name them: by path or by UUID. */
#ifndef CTL_NAMED_H
#define CTL_NAMED_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/err.h"

struct named {
    char **paths; /* count of them */
    size_t count;
    bool in_part; /* something below datadir could not be read, which was told: there may be more files */
};

/* Each word is a path if something is there, else a UUID: all files of it below datadir. First come the paths as they
 * were named, then the files of the UUIDs in the order of tree_walk, each once. SC_OK; SC_ENOENT (a word is neither,
 * told on stderr), SC_ESYS (datadir cannot be read, told), SC_ENOMEM (told). Free with named_free whatever it was. */
int named_find(struct named *out, char *const *words, int count, const char *datadir) SC_MUST_CHECK;
void named_free(struct named *n);

#endif
