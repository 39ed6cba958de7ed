/* SPDX-License-Identifier: Apache-2.0
 * A child comes to be: process, socket, attachment. */
#ifndef SUPERVISOR_STARTING_H
#define SUPERVISOR_STARTING_H

#include "dispatcher/supervisor/family.h"

/* Opens the programs that stand beside our own. SC_OK, or SC_ESYS with a line in *reason_r (static storage). */
int starting_open_programs(struct family *f, const char **reason_r) SC_MUST_CHECK;

/* The child's process is there, with its socket: hands over what is its own, as a new generation. */
void starting_attach(struct child *c);

/* Spawns and attaches the child of a slot that is due. What fails is the slot's business: it is tried again later.
 * False when that makes no sense: it has failed STARTING_TRIES times, and this child was never there; the reason is
 * set. */
#define STARTING_TRIES 4
bool starting_spawn(struct child *c);

#endif
