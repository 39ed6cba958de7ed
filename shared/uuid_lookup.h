/* SPDX-License-Identifier: Apache-2.0
 * Asks the kernel for the socket cookie of exactly one 4-tuple by NETLINK_SOCK_DIAG: about 2 us a question, no
 * privilege, no dump. The kernel answers while the question is being sent, so asking is synchronous and never waits.
 *
 * Facts: the local side must stand in `src`, and which side is local is not known, so both orders are asked; a miss may
 * return the listener (other ports, state LISTEN), which is no answer; a dual-stack socket answers in family 10 with
 * mapped addresses; TIME_WAIT keeps the cookie; a SYN_RECV cookie was seen to differ from the established one.
 *
 * Failure policy: a question without an answer is SC_ENOENT; a kernel without sock_diag is found at start. */
#ifndef SHARED_UUID_LOOKUP_H
#define SHARED_UUID_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/err.h"
#include "shared/flowkey.h"

struct uuid_lookup;

/* Opens the netlink socket. NULL with errno: no sock_diag here, or out of fds. */
struct uuid_lookup *uuid_lookup_new(void);
void uuid_lookup_free(struct uuid_lookup *l); /* NULL is fine */

struct uuid_answer {
    uint64_t cookie;
    bool closing;  /* the socket has sent or received a FIN, or is in TIME_WAIT */
    bool timewait; /* it is in TIME_WAIT, or what the kernel keeps in its place after FIN_WAIT_2: no socket any more */
    struct mono read; /* the clock after the answer was read: it holds for packets captured up to here */
};

/* if_index is the interface the packet came by (0 = any). SC_OK, SC_ENOENT (no socket that may name a flow: none, a
 * listener, another tuple, or SYN_RECV), SC_ESYS. */
int uuid_lookup_ask(struct uuid_lookup *l, const struct flowkey *key, uint32_t if_index, const struct clock *clock,
                    struct uuid_answer *out) SC_MUST_CHECK;

/* The same of the socket whose local end is `local` (0 or 1) of the key, alone. A connection of this machine with
 * itself has two sockets, one in each order. */
int uuid_lookup_ask_local(struct uuid_lookup *l, const struct flowkey *key, unsigned local, uint32_t if_index,
                          const struct clock *clock, struct uuid_answer *out) SC_MUST_CHECK;

#endif
