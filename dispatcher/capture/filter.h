/* SPDX-License-Identifier: Apache-2.0
 * The text of the kernel filter. Pure. The filter's job is to keep foreign traffic out of the kernel's buffer; the
 * packet parser decides. So it may let through a little too much, but must not miss a TCP packet that the parser would
 * take: TCP behind IPv6 extension headers, and behind VLAN tags that stand in the bytes. (The kernel moves the
 * outermost tag of most frames into metadata, where plain `tcp` matches; a second tag, and the tag of frames sent by a
 * device without tag offload, stay in the bytes.) */
#ifndef CAPTURE_FILTER_H
#define CAPTURE_FILTER_H

#include <stddef.h>

#include "shared/err.h"
#include "shared/flowkey.h"

/* How exact: the kernel takes 4096 instructions, an address costs up to 40 of them, and all have to fit into
 * net.core.optmem_max (20480 bytes before Linux 6.8: ten addresses). In this order, until it fits. */
enum filter_detail {
    FILTER_EXACT,      /* addresses also behind a tag */
    FILTER_TAGS_LOOSE, /* tagged TCP whatever its addresses */
    FILTER_NO_HOSTS,   /* no addresses at all */
    FILTER_DETAILS
};

#define FILTER_KERNEL_MAX 4096 /* instructions: BPF_MAXINSNS of <linux/bpf_common.h> */

/* Writes the built-in filter for a LINKTYPE_ value and the addresses of the captured interfaces (count 0 = no
 * restriction) into out. SC_OK, or SC_ETOOLONG if it does not fit cap bytes with its NUL. */
int filter_builtin(char *out, size_t cap, int linktype, const struct ipaddr *hosts, size_t count,
                   enum filter_detail detail) SC_MUST_CHECK;

/* "(builtin) and (user)"; user "" or NULL = the built-in alone. The user's text must have been compiled by itself
 * before, or a stray parenthesis could undo the built-in. SC_OK or SC_ETOOLONG. */
int filter_and(char *out, size_t cap, const char *builtin, const char *user) SC_MUST_CHECK;

#endif
