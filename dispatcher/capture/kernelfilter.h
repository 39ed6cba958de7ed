/* SPDX-License-Identifier: Apache-2.0
 * A compiled filter as the kernel wants it, and the way into a socket. libpcap's own way (pcap_setfilter) lets
 * nothing through while it changes a filter, leaves none if the interface goes down in that moment, and where the
 * kernel has no room for one it filters in the process, after the copy, and tells nobody. The kernel itself changes
 * filters from one packet to the next. */
#ifndef CAPTURE_KERNELFILTER_H
#define CAPTURE_KERNELFILTER_H

#include <linux/filter.h>
#include <stddef.h>

#include "dispatcher/capture/filter.h"
#include "shared/err.h"

struct kernelfilter {
    unsigned short len;
    struct sock_filter insn[FILTER_KERNEL_MAX];
};

/* Fits a program that was compiled for a LINKTYPE_ value to what a socket of such an interface sees. SC_OK, or
 * SC_ETOOLONG: too many instructions, or it reads something of a packet that the kernel does not have. */
int kernelfilter_make(struct kernelfilter *out, const struct sock_filter *insn, size_t len, int linktype) SC_MUST_CHECK;

/* In place of what the socket has now, from one packet to the next. SC_OK; SC_ETOOLONG: the kernel does not take it,
 * alone or beside the one it has now (net.core.optmem_max), which stays; SC_ESYS (errno), likewise. */
int kernelfilter_attach(int fd, const struct kernelfilter *f) SC_MUST_CHECK;

#endif
