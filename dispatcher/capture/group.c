/* SPDX-License-Identifier: Apache-2.0
 * See group.h. The kernel waits, whenever it replaces a program, until nobody runs the old one any more
 * (synchronize_net in net/packet/af_packet.c); what is said about "from now on" stands on that. A group without a
 * program gives all to its first member, at 45 ns a packet instead of 70, so there is none before the first hand-over.
 */
#include "dispatcher/capture/group.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define FORGET_NS NS_PER_SEC /* many times what the kernel keeps a block for, CAPTURE_TIMEOUT_MS */
#define FORGET_PAUSE_NS NS_PER_MS
#define FORGET_BURST 4096

/* Members are numbered in the order in which they joined, modulo how many there are. */
static bool name_member(struct capture *c, uint32_t member)
{
    struct sock_filter one = {.code = BPF_RET | BPF_K, .k = member};
    struct sock_fprog program = {.len = 1, .filter = &one};
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

/* Nothing more comes: what the kernel has counted is all there is. */
static int forget(struct capture *c, char error[CAPTURE_ERROR])
{
    const struct clock *clock = clock_system();
    struct capture_stats had = capture_stats(c);
    struct mono limit = {clock->mono(clock->ctx).ns + FORGET_NS};
    uint64_t n = 0;
    while (n < had.received - had.dropped) {
        struct timespec pause = {.tv_nsec = FORGET_PAUSE_NS};
        int got = capture_dispatch(c, FORGET_BURST, count, &n, error);
        if (got < 0)
            return got;
        if (got == 0 && clock->mono(clock->ctx).ns > limit.ns) {
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
