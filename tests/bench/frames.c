/* SPDX-License-Identifier: Apache-2.0
 * Makes frames, reads clocks. Exits 1 with a line when the machine does not give what a benchmark needs. */
#include "tests/bench/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FLAG_SYN = 2, FLAG_PUSH = 8, FLAG_ACK = 16 };

static void put16(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

static void put32(uint8_t *at, uint32_t v)
{
    put16(at, v >> 16);
    put16(at + 2, v & 0xffff);
}

static uint32_t mix(uint32_t v)
{
    v = (v ^ v >> 16) * 0x7feb352d;
    v = (v ^ v >> 15) * 0x846ca68b;
    return v ^ v >> 16;
}

static void put_ip4(uint8_t *ip, uint32_t total, uint32_t id, uint32_t src, uint32_t dst)
{
    uint32_t sum = 0;
    ip[0] = 0x45;
    put16(ip + 2, total);
    put16(ip + 4, id & 0xffff);
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = 6;
    put32(ip + 12, src);
    put32(ip + 16, dst);
    for (int i = 0; i < 20; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, ~(sum + (sum >> 16)) & 0xffff);
}

void frame_make(struct bench_frame *out, uint32_t flow, uint32_t round, int64_t ns, uint32_t mss)
{
    uint32_t seed = mix(flow + 1);
    uint32_t client = 0x0a000001 + flow / 50000, server = 0xc0000201; /* 10.0.0.1 .., 192.0.2.1 */
    uint32_t client_port = 10000 + flow % 50000, server_port = 443;
    int from_server = round == 1 || (round > 2 && round % 2 == 1);
    uint32_t sent = round > 2 ? (round - 2) / 2 * mss : 0; /* bytes of the server before this packet */
    uint32_t payload = round > 2 && from_server ? mss : 0;
    uint8_t *b = out->bytes, *ip = b + 14, *tcp = b + 34;

    memset(out, 0, sizeof *out);
    out->wire_len = FRAME_HEADERS + payload;
    out->caplen = out->wire_len < FRAME_CAPTURED ? out->wire_len : FRAME_CAPTURED;
    b[5] = from_server ? 1 : 2;
    b[0] = b[6] = 0x02;
    b[11] = from_server ? 2 : 1;
    put16(b + 12, 0x0800);
    put_ip4(ip, 52 + payload, (seed >> 3) + round / 2, from_server ? server : client, from_server ? client : server);
    put16(tcp, from_server ? server_port : client_port);
    put16(tcp + 2, from_server ? client_port : server_port);
    put32(tcp + 4, from_server ? mix(seed) + (round > 1) + sent : seed + (round > 0));
    put32(tcp + 8, round == 0 ? 0 : from_server ? seed + 1 : mix(seed) + 1 + sent);
    tcp[12] = 0x80;
    tcp[13] = (uint8_t)(round == 0   ? FLAG_SYN
                        : round == 1 ? FLAG_SYN | FLAG_ACK
                                     : FLAG_ACK | (payload ? FLAG_PUSH : 0));
    put16(tcp + 14, from_server ? 509 : 4096 - (round & 31));
    put16(tcp + 16, mix(seed + round)); /* a checksum is as good as random */
    put32(tcp + 20, 0x0101080a);
    put32(tcp + 24, seed / 2 + (uint32_t)(ns / 1000000));
    put32(tcp + 28, mix(seed) / 2 + (uint32_t)(ns / 1000000) - 11);
    for (uint32_t i = FRAME_HEADERS; i < out->caplen; i++)
        b[i] = 0xca; /* canary: payload is never to be saved */
}

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0) {
        perror("clock_gettime");
        exit(1);
    }
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t bench_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t bench_cpu(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t bench_thread_cpu(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t bench_arg(int argc, char **argv, int i, uint64_t otherwise)
{
    return i < argc ? strtoull(argv[i], NULL, 0) : otherwise;
}

void *bench_memory(size_t bytes)
{
    void *p = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!p) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(1);
    }
    memset(p, 1, bytes); /* touches the pages even where the allocator knows them to be zero */
    memset(p, 0, bytes);
    return p;
}
