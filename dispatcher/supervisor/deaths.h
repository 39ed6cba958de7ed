/* SPDX-License-Identifier: Apache-2.0
 * What follows from the end of a child: a successor, or the end of the family. */
#ifndef SUPERVISOR_DEATHS_H
#define SUPERVISOR_DEATHS_H

#include "dispatcher/supervisor/family.h"

#define DEATHS_FINISH_TRIES 5 /* faults of a child while the family ends */

/* ctx: struct child. Reaps it if it has ended, and acts on it. */
void deaths_reap(void *ctx);

#endif
