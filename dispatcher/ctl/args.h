/* SPDX-License-Identifier: Apache-2.0
 * The command line of one command: what it takes is a table, from which it is parsed and its help is made, so that
 * help cannot tell of options that are not there.
 * Failure policy: what the table does not name is wrong usage, with a text. */
#ifndef CTL_ARGS_H
#define CTL_ARGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "shared/err.h"

#define ARGS_OPTIONS_MAX 12
#define ARGS_ERROR 256

struct args;

struct args_option {
    const char *name;  /* without '-'; NULL ends a table */
    const char *value; /* how help names it; NULL: a switch */
    const char *text;  /* one line; further lines after '\n' */
};

struct command {
    const char *name;
    const char *operands; /* as help shows them, "" = none */
    int least, most;      /* number of operands; most -1: any */
    const char *summary;  /* one line */
    const char *status;   /* exit statuses, one line, beyond "2 wrong usage" */
    const struct args_option *options;
    int (*run)(const struct args *a); /* returns the exit status */
};

struct args {
    const struct command *command;
    const char *rundir;                  /* -rundir, which every command takes; NULL if not given */
    const char *value[ARGS_OPTIONS_MAX]; /* by place in the table; "" for a switch that is on */
    char **operand;                      /* count of them, of argv, which is reordered */
    int count;
    bool help; /* -help was asked for; nothing else is checked then */
};

/* Parses what follows the command's name. Options are -name VALUE, -name=VALUE, or with "--", anywhere; "--" ends them;
 * "-" is an operand. The last of two values counts. SC_OK or SC_EINVAL with a text in error. */
int args_parse(struct args *out, const struct command *command, int argc, char **argv,
               char error[ARGS_ERROR]) SC_MUST_CHECK;

/* The value of an option of the command's table, "" for a switch; NULL if it was not given. */
const char *args_get(const struct args *a, const char *name);
bool args_has(const struct args *a, const char *name);

/* An option's value as a whole number in [min, max]; fallback if it was not given. Returns false, with a line on
 * stderr, if it is no such number. */
bool args_number(const struct args *a, const char *name, uint64_t min, uint64_t max, uint64_t fallback,
                 uint64_t *value_r) SC_MUST_CHECK;

/* Takes "-name value" or "-name=value" at *at of argv, either with one '-' or two, and moves *at behind it. Returns 1,
 * 0 if it is not there, -1 if its value is missing. For options before the command. */
int args_take(int argc, char **argv, int *at, const char *name, const char **value_r);

/* The usage of one command with its options and exit statuses. */
void args_help(const struct command *command, FILE *out);
/* Its line in the list of all. */
void args_summary(const struct command *command, FILE *out);

#endif
