/* SPDX-License-Identifier: Apache-2.0
 * What interfaces the machine has and when that changes, by rtnetlink (rtnetlink(7)); needs no privilege. Bound to the
 * network namespace it was opened in. */
#ifndef CAPTURE_INTERFACES_H
#define CAPTURE_INTERFACES_H

#include <stdbool.h>

#include "dispatcher/capture/links.h"
#include "shared/err.h"

struct interfaces;

/* NULL on failure (errno). Listening starts here: a change after this call is never missed. */
struct interfaces *interfaces_open(void);
void interfaces_close(struct interfaces *i); /* NULL is fine */

/* Readable when something may have changed; then call interfaces_changed. */
int interfaces_fd(const struct interfaces *i);

/* Reads away the notices. True if there was one, or some were lost. */
bool interfaces_changed(struct interfaces *i);

/* Fills the table anew with two dumps. SC_OK; on SC_ESYS or SC_EFORMAT the table is unchanged. Takes well below a
 * millisecond, up to 1 s if the kernel is stuck. */
int interfaces_list(struct interfaces *i, struct links *out) SC_MUST_CHECK;

#endif
