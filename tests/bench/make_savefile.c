/* SPDX-License-Identifier: Apache-2.0
 * Writes a savefile for the end-to-end benchmarks: `flows` TCP connections of `packets` packets each, interleaved.
 * Classic pcap, nanoseconds, Ethernet. Usage: make_savefile FILE|- [flows] [packets per flow] [first round] [pps].
 * A first round of 3 leaves the handshake out; pps > 0 writes no faster than so many packets a second. Exits 1 when the
 * file cannot be written. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/bench/frames.h"

#define START_NS (INT64_C(1732000000) * 1000000000)

/* Waits until a moment of the monotonic clock, and lets the reader have what was written before. */
static void keep_pace(FILE *f, int64_t due)
{
    int64_t left = due - bench_now();
    struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    if (left <= 0)
        return;
    fflush(f);
    nanosleep(&wait, NULL);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: make_savefile FILE [flows] [packets per flow] [first round] [pps]\n");
        return 2;
    }
    uint32_t flows = (uint32_t)bench_arg(argc, argv, 2, 1000), packets = (uint32_t)bench_arg(argc, argv, 3, 1000);
    uint32_t first = (uint32_t)bench_arg(argc, argv, 4, 0);
    uint64_t pps = bench_arg(argc, argv, 5, 0), written = 0;
    static char buffer[1 << 20];
    FILE *f = strcmp(argv[1], "-") == 0 ? stdout : fopen(argv[1], "w");
    if (!f) {
        perror(argv[1]);
        return 1;
    }
    setvbuf(f, buffer, _IOFBF, sizeof buffer);
    const uint32_t head[6] = {0xa1b23c4d, 4u << 16 | 2, 0, 0, 65535, 1};
    fwrite(head, sizeof head, 1, f);
    struct bench_frame frame = {0};
    int64_t ns = START_NS;
    int64_t start = bench_now();
    for (uint32_t round = 0; round < packets; round++)
        for (uint32_t flow = 0; flow < flows; flow++, ns += FRAME_NS_APART) {
            if (pps > 0 && written++ % 128 == 0)
                keep_pace(f, start + (int64_t)((double)written * 1e9 / (double)pps));
            frame_make(&frame, flow, first + round, ns, FRAME_MSS);
            const uint32_t record[4] = {(uint32_t)(ns / 1000000000), (uint32_t)(ns % 1000000000), frame.caplen,
                                        frame.wire_len};
            fwrite(record, sizeof record, 1, f);
            fwrite(frame.bytes, frame.caplen, 1, f);
        }
    if (ferror(f) | fclose(f)) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
