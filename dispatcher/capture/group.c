/* SPDX-License-Identifier: Apache-2.0
 * See group.h. The kernel waits, whenever it replaces a program, until nobody runs the old one any more
 * (synchronize_net in net/packet/af_packet.c); what is said about "from now on" stands on that. A group without a
 * program gives all to its first member, at 45 ns a packet instead of 70, so there is none before the first hand-over.
 */
#include "dispatcher/capture/group.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define FORGET_NS NS_PER_SEC /* many times what the kernel keeps a block for, CAPTURE_TIMEOUT_MS */
#define QUIET_NS (FORGET_NS / 4)
#define FORGET_PAUSE_NS NS_PER_MS
#define FORGET_BURST 4096

/* Members are numbered in the order in which they joined, modulo how many there are. */
static bool name_member(struct capture *c, uint32_t member)
{
    struct sock_filter one = {.code = BPF_RET | BPF_K, .k = member};
    struct sock_fprog program;
    memset(&program, 0, sizeof program); /* its gap, too, which the kernel copies */
    program.len = 1;
    program.filter = &one;
    return setsockopt(capture_fd(c), SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof program) == 0;
}

static int failed(char error[CAPTURE_ERROR], const char *what)
{
    (void)snprintf(error, CAPTURE_ERROR, "%s: %s", what, strerror(errno));
    return SC_ESYS;
}

static bool enter(struct capture *c, unsigned group, unsigned flags)
{
    unsigned what = group | (PACKET_FANOUT_CBPF | flags) << 16;
    return setsockopt(capture_fd(c), SOL_PACKET, PACKET_FANOUT, &what, sizeof what) == 0;
}

int group_new(struct capture *c, int *group_r, char error[CAPTURE_ERROR])
{
    int made = 0;
    socklen_t len = sizeof made;
    if (!enter(c, 0, PACKET_FANOUT_FLAG_UNIQUEID) ||
        getsockopt(capture_fd(c), SOL_PACKET, PACKET_FANOUT, &made, &len) != 0)
        return failed(error, "no group for a hand-over");
    *group_r = made & 0xffff;
    return SC_OK;
}

static void count(void *ctx, const struct captured *p)
{
    uint64_t *n = ctx;
    (void)p;
    ++*n;
}

/* The kernel counts what goes out of it and what comes in, which is the same; libpcap leaves the former out. */
static bool is_loopback(const struct capture *c)
{
    struct sockaddr_ll at = {0};
    socklen_t len = sizeof at;
    return getsockname(capture_fd(c), (struct sockaddr *)&at, &len) == 0 && at.sll_hatype == ARPHRD_LOOPBACK;
}

/* Nothing more comes: what the kernel has counted is all there is. */
static int forget(struct capture *c, char error[CAPTURE_ERROR])
{
    const struct clock *clock = clock_system();
    struct capture_stats had = capture_stats(c);
    struct mono since = clock->mono(clock->ctx);
    bool loopback = is_loopback(c);
    uint64_t n = 0;
    while (n < had.received - had.dropped) {
        struct timespec pause = {.tv_nsec = FORGET_PAUSE_NS};
        int got = capture_dispatch(c, FORGET_BURST, count, &n, error);
        if (got < 0)
            return got;
        int64_t waited = clock->mono(clock->ctx).ns - since.ns;
        if (got > 0)
            since = clock->mono(clock->ctx);
        else if (loopback && waited > QUIET_NS)
            return SC_OK;
        else if (waited > FORGET_NS) {
            errno = ETIMEDOUT;
            return failed(error, "packets of before the hand-over do not come");
        }
        if (got == 0)
            nanosleep(&pause, NULL);
    }
    return SC_OK;
}

int group_join(struct capture *c, int group, char error[CAPTURE_ERROR])
{
    /* Both programs say what holds already; once the second is there, no packet is on its way to us any more. */
    if (!enter(c, (unsigned)group, 0) || !name_member(c, 0) || !name_member(c, 0))
        return failed(error, "cannot join the predecessor's group");
    return forget(c, error);
}

bool group_take(struct capture *c)
{
    return name_member(c, 1);
}

bool group_settle(struct capture *c)
{
    return name_member(c, 0); /* alone, any number means us */
}
