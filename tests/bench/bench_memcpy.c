/* SPDX-License-Identifier: Apache-2.0
 * The measure of P8: a bare loop that copies 128 bytes per packet from one 16 MiB area to another.
 * Usage: bench_memcpy [packets]. Prints one line of JSON. */
#include <stdio.h>
#include <string.h>

#include "tests/bench/frames.h"

#define AREA (16u << 20)

int main(int argc, char **argv)
{
    uint64_t packets = bench_arg(argc, argv, 1, 20000000);
    uint8_t *from = bench_memory(AREA), *to = bench_memory(AREA);
    int64_t start = bench_thread_cpu();
    for (uint64_t i = 0; i < packets; i++) {
        size_t at = i * 128 & (AREA - 1);
        memcpy(to + at, from + at, 128);
        __asm__ volatile("" : : "r"(to + at) : "memory"); /* the copy must happen */
    }
    int64_t ns = bench_thread_cpu() - start;
    printf("{\"packets\": %llu, \"ns_per_packet\": %.3f}\n", (unsigned long long)packets, (double)ns / (double)packets);
    return 0;
}
