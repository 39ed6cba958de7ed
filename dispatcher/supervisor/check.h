/* SPDX-License-Identifier: Apache-2.0
 * -check: the whole configuration as it was resolved, and whether its memory fits in the worst case. */
#ifndef SUPERVISOR_CHECK_H
#define SUPERVISOR_CHECK_H

#include <stdbool.h>
#include <stdio.h>

#include "shared/config.h"

/* Bytes in the worst case: arenas, rings, capture buffers, journal, and what the processes need besides. */
uint64_t check_worst_case(const struct config *config);

/* Prints the report; machine_bytes 0 = unknown. */
void check_print(FILE *out, const struct config *config, uint64_t machine_bytes);

/* Prints to standard output, and whether capturing would be permitted to a process that is started like this one, which
 * is no matter of the configuration; exit status 0, or 78 if it does not fit. */
int check_run(const struct config *config);

#endif
