/* SPDX-License-Identifier: Apache-2.0
 * Sends frames on an interface at a steady rate, as the other host of a live benchmark: 66 bytes each, by way of a
 * PACKET_TX_RING, so that one system call moves a burst.
 * Usage: bench_send INTERFACE PACKETS PACKETS_PER_SECOND FLOWS [syn]. With `syn` every packet is the first of a new
 * flow beyond FLOWS, so each has a source of its own: a SYN flood. Prints what was really sent, how fast, and
 * what CPU time a packet took (with the kernel's receive path, which runs in the sender's), as one line of JSON. Exits
 * 1 when a frame could not be sent, 2 when the interface cannot be opened. */
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "tests/bench/frames.h"

#define BURST 64u
#define SLOT 128u
#define SLOTS 4096u
#define BLOCK 65536u
#define DATA_AT 32u /* TPACKET2_HDRLEN - sizeof(struct sockaddr_ll), see packet_mmap.rst */
/* Before each frame stands a virtio header, which says how much of it the kernel copies into the packet itself: all.
 * Else it hands on the ring's page, for which veth makes a copy in a page of its own: a third more CPU time for each
 * packet. */
#define FRAME_AT (DATA_AT + sizeof(struct virtio_net_hdr))

_Static_assert(sizeof(struct tpacket2_hdr) == DATA_AT, "a frame begins behind the aligned header");

struct sender {
    int fd;
    uint8_t *ring;
    uint32_t next;
};

static int open_interface(struct sender *s, const char *name)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = 0, .sll_ifindex = (int)if_nametoindex(name)};
    struct tpacket_req ring = {
        .tp_block_size = BLOCK, .tp_block_nr = SLOTS * SLOT / BLOCK, .tp_frame_size = SLOT, .tp_frame_nr = SLOTS};
    int version = TPACKET_V2, on = 1;
    s->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || to.sll_ifindex == 0)
        return -1;
    (void)setsockopt(s->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on); /* makes it faster, is not needed */
    if (setsockopt(s->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0 ||
        setsockopt(s->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0 ||
        setsockopt(s->fd, SOL_PACKET, PACKET_TX_RING, &ring, sizeof ring) != 0 ||
        bind(s->fd, (struct sockaddr *)&to, sizeof to) != 0)
        return -1;
    s->ring = mmap(NULL, (size_t)SLOTS * SLOT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, s->fd, 0);
    return s->ring == MAP_FAILED ? -1 : 0;
}

static int flush(const struct sender *s)
{
    while (send(s->fd, NULL, 0, MSG_DONTWAIT) < 0)
        if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
            return -1;
    return 0;
}

/* The next slot once the kernel is done with it; NULL with errno. */
static struct tpacket2_hdr *next_slot(struct sender *s)
{
    struct tpacket2_hdr *h = (struct tpacket2_hdr *)(void *)(s->ring + (size_t)(s->next % SLOTS) * SLOT);
    /* acquire: pairs with the kernel's store of the status; the frame is out */
    while (atomic_load_explicit((_Atomic uint32_t *)&h->tp_status, memory_order_acquire) != TP_STATUS_AVAILABLE) {
        if (h->tp_status & TP_STATUS_WRONG_FORMAT) {
            errno = EINVAL;
            return NULL;
        }
        if (flush(s) != 0)
            return NULL;
    }
    s->next++;
    return h;
}

static void wait_until(int64_t due)
{
    int64_t left = due - bench_now();
    struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    if (left > 0)
        nanosleep(&wait, NULL);
}

/* All frames are out. */
static int drain(struct sender *s)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (!next_slot(s))
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    struct sender s = {0};
    struct bench_frame frame = {0};
    const struct virtio_net_hdr copied = {.hdr_len = FRAME_HEADERS};
    uint64_t packets = bench_arg(argc, argv, 2, 100000), rate = bench_arg(argc, argv, 3, 100000);
    uint32_t flows = (uint32_t)bench_arg(argc, argv, 4, 1000);
    int syn = argc > 5 && strcmp(argv[5], "syn") == 0;
    if (argc < 2 || rate == 0 || flows == 0 || open_interface(&s, argv[1]) != 0) {
        perror("bench_send INTERFACE PACKETS RATE FLOWS [syn]");
        return 2;
    }
    int64_t start = bench_now();
    for (uint64_t n = 0; n < packets;) {
        unsigned burst = packets - n < BURST ? (unsigned)(packets - n) : BURST;
        wait_until(start + (int64_t)((double)n * 1e9 / (double)rate));
        int64_t now = bench_now();
        for (unsigned i = 0; i < burst; i++, n++) {
            struct tpacket2_hdr *h = next_slot(&s);
            if (!h) {
                perror("send");
                return 1;
            }
            frame_make(&frame, syn ? flows + (uint32_t)n : (uint32_t)(n % flows), syn ? 0 : (uint32_t)(n / flows), now,
                       0);
            memcpy((uint8_t *)h + DATA_AT, &copied, sizeof copied);
            memcpy((uint8_t *)h + FRAME_AT, frame.bytes, FRAME_HEADERS);
            h->tp_len = FRAME_HEADERS + sizeof copied;
            /* release: pairs with the kernel's load of the status; the frame is whole */
            atomic_store_explicit((_Atomic uint32_t *)&h->tp_status, TP_STATUS_SEND_REQUEST, memory_order_release);
        }
        if (flush(&s) != 0) {
            perror("send");
            return 1;
        }
    }
    if (drain(&s) != 0) {
        perror("send");
        return 1;
    }
    double seconds = (double)(bench_now() - start) / 1e9;
    printf("{\"packets\": %llu, \"packets_per_second\": %.0f, \"cpu_ns_per_packet\": %.0f}\n",
           (unsigned long long)packets, (double)packets / seconds, (double)bench_cpu() / (double)packets);
    return 0;
}
