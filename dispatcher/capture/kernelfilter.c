/* SPDX-License-Identifier: Apache-2.0
 * See kernelfilter.h.
 * Failure policy: a socket keeps the filter it has unless it gets the new one whole. */
#include "dispatcher/capture/kernelfilter.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "shared/frame.h"

/* An interface without a link layer of its own comes "cooked": libpcap puts a header before each packet (LINUX_SLL,
 * tcpdump.org/linktypes), which the socket does not see. What it holds the kernel knows by other names. */
#define COOKED_HEADER 16
#define COOKED_TYPE 0 /* sent to us, by us, to all .. */
#define COOKED_PROTOCOL 14

static bool reads_packet(const struct sock_filter *i)
{
    unsigned mode = BPF_MODE(i->code);
    bool load = BPF_CLASS(i->code) == BPF_LD || BPF_CLASS(i->code) == BPF_LDX;
    return load && (mode == BPF_ABS || mode == BPF_IND || mode == BPF_MSH);
}

static bool without_header(struct sock_filter *i)
{
    if ((int32_t)i->k < 0)
        return true; /* no place in the packet */
    if (i->k >= COOKED_HEADER)
        i->k -= COOKED_HEADER;
    else if (i->k == COOKED_TYPE)
        i->k = (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE);
    else if (i->k == COOKED_PROTOCOL)
        i->k = (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL);
    else
        return false;
    return true;
}

int kernelfilter_make(struct kernelfilter *out, const struct sock_filter *insn, size_t len, int linktype)
{
    if (len > FILTER_KERNEL_MAX)
        return SC_ETOOLONG;
    memcpy(out->insn, insn, len * sizeof *insn);
    out->len = (unsigned short)len;
    for (size_t i = 0; i < len && linktype == LINKTYPE_LINUX_SLL; i++)
        if (reads_packet(&out->insn[i]) && !without_header(&out->insn[i]))
            return SC_ETOOLONG;
    return SC_OK;
}

int kernelfilter_attach(int fd, const struct kernelfilter *f)
{
    struct sock_fprog program;
    memset(&program, 0, sizeof program); /* its gap, too, which the kernel copies */
    program.len = f->len;
    program.filter = (struct sock_filter *)(uintptr_t)f->insn; /* which is only read */
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0)
        return SC_OK;
    return errno == ENOMEM || errno == EINVAL ? SC_ETOOLONG : SC_ESYS;
}
