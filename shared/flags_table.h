/* SPDX-License-Identifier: Apache-2.0
 * The one table of flags: parsing, defaults, environment names and -help all come from it. Private to flags.c and its
 * tests. */
#ifndef SHARED_FLAGS_TABLE_H
#define SHARED_FLAGS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/flags.h"

#define FLAGS_WHY 256 /* bytes of a reason */

/* Headings of -help. */
enum flag_group { FLAG_INPUT, FLAG_FLOWS, FLAG_NAMES, FLAG_FILES, FLAG_RESOURCES, FLAG_PROCESS, FLAG_GROUP_COUNT };
extern const char *const flag_group_titles[FLAG_GROUP_COUNT];

enum flag_repeat {
    FLAG_LAST,   /* given twice, the last one counts */
    FLAG_APPEND, /* each adds one; in the environment a comma list */
    FLAG_COMMA   /* each adds a comma list */
};

struct flag;

/* One value on its way into the settings. */
struct flag_value {
    const struct flag *flag;
    const char *text;
    struct config *config;
    struct flags_request *request;
    char *why; /* FLAGS_WHY bytes: what is wrong, and what would be right */
};

struct flag {
    const char *name;
    const char *arg;      /* its word in -help; NULL = a bool */
    const char *fallback; /* the default, set like any value; NULL = none */
    const char *shown;    /* the default in words where fallback does not say it; NULL = show fallback */
    const char *help;
    enum flag_group group;
    enum flag_repeat repeat;
    bool own; /* not the reference's: its variable is SHARDCAP_<NAME> */

    int (*set)(const struct flag_value *v); /* SC_OK, or SC_EINVAL with *why */
    bool in_request;                        /* offset is into struct flags_request, not struct config */
    size_t offset, size;
    uint64_t min, max;   /* numbers: bounds; texts: min 1 = may not be empty */
    const char *choices; /* blank-separated; the index is stored */
    size_t given;        /* offset + 1 of a bool in struct flags_request, set when named; 0 = none */
};

/* All flags in the order of -help. */
const struct flag *flags_table(size_t *count);

/* The flag of that name (len bytes; "h" is help), or NULL. */
const struct flag *flags_find(const char *name, size_t len);

/* The known name nearest to it by typing errors, or NULL if none is near. */
const char *flags_nearest(const char *name, size_t len);

/* Name of its environment variable. Returns out. */
#define FLAGS_VARIABLE 64
const char *flags_variable(const struct flag *flag, char out[FLAGS_VARIABLE]);

/* Cores that this process may use less one, at most 4, at least 1. */
uint32_t flags_default_shards(void);

#endif
