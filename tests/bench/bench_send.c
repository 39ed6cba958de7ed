/* SPDX-License-Identifier: Apache-2.0
 * Sends frames on an interface at a steady rate, as the other host of a live benchmark: 66 bytes each.
 * Usage: bench_send INTERFACE PACKETS PACKETS_PER_SECOND FLOWS [syn]. With `syn` every packet is the first of a new
 * flow beyond FLOWS. Prints what was really sent, and how fast, as one line of JSON. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/frames.h"

#define BURST 64u

static int open_interface(const char *name)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = 0, .sll_ifindex = (int)if_nametoindex(name)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1, room = 16 << 20;
    if (fd < 0 || to.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&to, sizeof to) != 0)
        return -1;
    /* Both make it faster and are not needed. */
    (void)setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    return fd;
}

/* Sends n frames; what the kernel has no room for is tried again. Returns 0, or -1 with errno. */
static int send_burst(int fd, struct mmsghdr *messages, unsigned n)
{
    for (unsigned done = 0; done < n;) {
        int sent = sendmmsg(fd, messages + done, n - done, 0);
        if (sent > 0)
            done += (unsigned)sent;
        else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
            return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct bench_frame frames[BURST];
    static struct mmsghdr messages[BURST];
    static struct iovec parts[BURST];
    uint64_t packets = bench_arg(argc, argv, 2, 100000), rate = bench_arg(argc, argv, 3, 100000);
    uint32_t flows = (uint32_t)bench_arg(argc, argv, 4, 1000);
    int syn = argc > 5 && strcmp(argv[5], "syn") == 0;
    int fd = argc > 1 ? open_interface(argv[1]) : -1;
    if (fd < 0 || rate == 0 || flows == 0) {
        perror("bench_send INTERFACE PACKETS RATE FLOWS [syn]");
        return 2;
    }
    for (unsigned i = 0; i < BURST; i++) {
        parts[i] = (struct iovec){.iov_base = frames[i].bytes, .iov_len = FRAME_HEADERS};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int64_t start = bench_now();
    for (uint64_t n = 0; n < packets;) {
        unsigned burst = packets - n < BURST ? (unsigned)(packets - n) : BURST;
        int64_t due = start + (int64_t)((double)n * 1e9 / (double)rate), now = bench_now();
        if (now < due) {
            struct timespec wait = {.tv_sec = (due - now) / 1000000000, .tv_nsec = (due - now) % 1000000000};
            nanosleep(&wait, NULL);
        }
        for (unsigned i = 0; i < burst; i++, n++)
            frame_make(&frames[i], syn ? flows + (uint32_t)n : (uint32_t)(n % flows), syn ? 0 : (uint32_t)(n / flows),
                       bench_now(), 0);
        if (send_burst(fd, messages, burst) != 0) {
            perror("sendmmsg");
            return 1;
        }
    }
    double s = (double)(bench_now() - start) / 1e9;
    printf("{\"packets\": %llu, \"packets_per_second\": %.0f}\n", (unsigned long long)packets, (double)packets / s);
    return 0;
}
