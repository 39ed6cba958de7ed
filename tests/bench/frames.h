/* SPDX-License-Identifier: Apache-2.0
 * Traffic for the benchmarks: TCP over IPv4 over Ethernet as two hosts exchange it, made from numbers alone, so that
 * every run measures the same bytes; and the clock and the one line of JSON in which a program reports. */
#ifndef TESTS_BENCH_FRAMES_H
#define TESTS_BENCH_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADERS 66 /* Ethernet 14, IPv4 20, TCP 32 with timestamps */
#define FRAME_CAPTURED 94
#define FRAME_NS_APART 20000 /* 50,000 packets a second of packet time */

struct bench_frame {
    uint32_t caplen, wire_len;
    uint8_t bytes[FRAME_CAPTURED];
};

/* Packet number `round` (0 = SYN, 1 = SYN+ACK, 2 = ACK, then data from the server and acknowledgements in turn) of flow
 * number `flow`, captured at `ns`; a data packet carries `payload` bytes. Flows differ in addresses and ports: client
 * 10.0.0.1 + flow / 50000 port 10000 + flow % 50000, server 192.0.2.1 port 443. */
void frame_make(struct bench_frame *out, uint32_t flow, uint32_t round, int64_t ns, uint32_t payload);
#define FRAME_MSS 1448

/* CLOCK_MONOTONIC and the CPU time of this process, in nanoseconds. */
int64_t bench_now(void);
int64_t bench_cpu(void);
/* Of this thread: what a stage costs, whatever else runs on the machine. */
int64_t bench_thread_cpu(void);

/* argv[i] as a number, or the default when it is not there. */
uint64_t bench_arg(int argc, char **argv, int i, uint64_t otherwise);

/* Memory that is zero and already touched, so that page faults stay out of the figures. Exits 1 without memory. */
void *bench_memory(size_t bytes);

#endif
