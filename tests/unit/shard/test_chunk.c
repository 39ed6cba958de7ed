/* SPDX-License-Identifier: Apache-2.0
 * Sealing: whatever is appended and however it is cut into chunks, the file is one gzip member of exactly those bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>

#include "shard/chunk.h"

#define BUDGET (4u << 20)

struct fixture {
    struct shard_counters counters;
    void *map;
    size_t bytes;
    struct arena *a;
};

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));
    bool adopted;
    int err;
    fx->bytes = arena_map_bytes(BUDGET);
    fx->map = mmap(NULL, fx->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fx->a = arena_open(fx->map, fx->bytes, BUDGET, &fx->counters, &adopted, &err);
    *state = fx;
    return fx->a == NULL;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    arena_close(fx->a);
    munmap(fx->map, fx->bytes);
    free(fx);
    return 0;
}

static uint32_t open_flow(struct arena *a)
{
    struct arena_change c = {0};
    assert_int_equal(arena_flow_take(a, &c.flow, &c.image), SC_OK);
    c.image.stage = FLOW_OPEN;
    c.image.key.addr_len = 4;
    arena_commit(a, &c);
    return c.flow;
}

static void append(struct arena *a, uint32_t idx, const uint8_t *bytes, uint32_t n)
{
    struct arena_change c = {.flow = idx, .image = *arena_flow(a, idx)};
    assert_int_equal(arena_append(a, idx, &c.image, bytes, n), SC_OK);
    arena_commit(a, &c);
}

/* Collects packed bytes from *at on behind out. */
static size_t collect(const struct arena *a, uint32_t idx, uint64_t *at, uint8_t *out)
{
    uint32_t block = ARENA_NONE;
    struct iovec iov[7];
    size_t total = 0;
    for (;;) {
        size_t bytes;
        int n = chunk_gather(a, idx, *at, &block, iov, 7, &bytes);
        assert_true(n >= 0);
        if (n == 0)
            return total;
        for (int i = 0; i < n; i++) {
            memcpy(out + total, iov[i].iov_base, iov[i].iov_len);
            total += iov[i].iov_len;
        }
        *at += bytes;
    }
}

static void check_gzip(const uint8_t *file, size_t len, const uint8_t *want, size_t want_len)
{
    uint8_t *got = malloc(want_len + 1);
    z_stream z = {0};
    assert_non_null(got);
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)file;
    z.avail_in = (uInt)len;
    z.next_out = got;
    z.avail_out = (uInt)want_len + 1;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(z.total_out, want_len);
    assert_memory_equal(got, want, want_len);
    inflateEnd(&z);
    free(got);
}

/* Something like headers: repetitive, with a counter. */
static uint8_t *make_data(size_t n)
{
    uint8_t *d = malloc(n);
    assert_non_null(d);
    for (size_t i = 0; i < n; i++)
        d[i] = (uint8_t)(i % 90 < 4 ? (i / 90) >> 8 * (i % 90) : i % 90 * 3);
    return d;
}

struct plan {
    size_t total;
    uint32_t step;
    bool stream;
    bool ripe_only; /* seal when ripe; else after every append */
    bool mixed;     /* every chunk another effort */
};

static void run_plan(struct fixture *fx, enum gzip_mode mode, const struct plan *p)
{
    struct sealer *s = sealer_new(fx->a, mode, p->stream);
    uint32_t idx = open_flow(fx->a);
    uint8_t *data = make_data(p->total);
    uint8_t *file = malloc(p->total * 2 + 65536);
    size_t len = encoder_gzip_head(mode, file);
    uint64_t at = 0;
    assert_non_null(s);
    assert_non_null(file);
    for (size_t off = 0; off < p->total; off += p->step) {
        uint32_t n = p->total - off < p->step ? (uint32_t)(p->total - off) : p->step;
        append(fx->a, idx, data + off, n);
        if (p->mixed)
            sealer_effort(s, (off / p->step + off / 5000) % 3 ? EFFORT_FAST : EFFORT_SMALL);
        if (p->ripe_only && !chunk_ripe(s, arena_flow(fx->a, idx)))
            continue;
        assert_int_equal(chunk_seal(s, idx, false), SC_OK);
        if (p->stream) {
            len += collect(fx->a, idx, &at, file + len);
            chunk_drop_written(s, idx, at);
        }
    }
    assert_int_equal(chunk_seal(s, idx, true), SC_OK);
    assert_true(arena_flow(fx->a, idx)->flags & FLOW_FINISHED);
    assert_int_equal(chunk_seal(s, idx, true), SC_OK); /* a second time changes nothing */
    len += collect(fx->a, idx, &at, file + len);
    len += encoder_gzip_tail(mode, arena_flow(fx->a, idx)->crc, p->total, file + len);
    assert_int_equal(len, chunk_file_bytes(arena_flow(fx->a, idx), mode));
    if (mode == GZIP_NONE) {
        assert_int_equal(len, p->total);
        assert_memory_equal(file, data, len);
    } else {
        check_gzip(file, len, data, p->total);
    }
    arena_flow_free(fx->a, idx, NULL);
    assert_int_equal(arena_budget_used(fx->a), 0);
    sealer_free(s);
    free(data);
    free(file);
}

static void test_every_plan_gives_the_same_bytes(void **state)
{
    static const size_t totals[] = {1, 24, 114, 255, 256, 257, 1024, 4096, 5000, 40000, 300000};
    static const uint32_t steps[] = {24, 90, 256, 4096, 100000};
    static const enum gzip_mode modes[] = {GZIP_SMALL, GZIP_FAST, GZIP_ZLIB, GZIP_NONE, GZIP_AUTO};
    for (size_t t = 0; t < sizeof(totals) / sizeof(*totals); t++)
        for (size_t s = 0; s < sizeof(steps) / sizeof(*steps); s++)
            for (unsigned bits = 0; bits < 4; bits++)
                for (unsigned m = 0; m < sizeof(modes) / sizeof(*modes); m++) {
                    if (totals[t] > 50000 && steps[s] < 90)
                        continue; /* thousands of tiny chunks add nothing but time */
                    struct plan p = {totals[t], steps[s], bits & 1, bits & 2 || totals[t] > 50000,
                                     modes[m] == GZIP_AUTO};
                    run_plan(*state, modes[m], &p);
                }
}

/* Large chunks while there is memory, small ones when it is scarce. */
static void test_chunks_follow_the_budget(void **state)
{
    struct fixture *fx = *state;
    struct sealer *s = sealer_new(fx->a, GZIP_FAST, false);
    struct sealer *stream = sealer_new(fx->a, GZIP_FAST, true);
    uint32_t idx = open_flow(fx->a), hog = open_flow(fx->a);
    uint8_t *data = make_data(CHUNK_WIDE);
    append(fx->a, idx, data, CHUNK_WIDE - 1);
    assert_false(chunk_ripe(s, arena_flow(fx->a, idx)));
    assert_true(chunk_ripe(stream, arena_flow(fx->a, idx)));
    append(fx->a, idx, data, 1);
    assert_true(chunk_ripe(s, arena_flow(fx->a, idx)));
    assert_int_equal(chunk_seal(s, idx, false), SC_OK);
    append(fx->a, idx, data, CHUNK_LATER);
    assert_false(chunk_ripe(s, arena_flow(fx->a, idx)));
    while (arena_budget_used(fx->a) < BUDGET / CHUNK_WIDE_SHARE)
        append(fx->a, hog, data, CHUNK_WIDE);
    assert_true(chunk_ripe(s, arena_flow(fx->a, idx)));
    arena_flow_free(fx->a, idx, NULL);
    arena_flow_free(fx->a, hog, NULL);
    sealer_free(s);
    sealer_free(stream);
    free(data);
}

static void test_only_small_effort_is_spent(void **state)
{
    struct fixture *fx = *state;
    struct sealer *s = sealer_new(fx->a, GZIP_AUTO, false);
    uint32_t idx = open_flow(fx->a);
    uint8_t *data = make_data(8192);
    append(fx->a, idx, data, 5000);
    assert_int_equal(chunk_seal(s, idx, false), SC_OK);
    assert_int_equal(sealer_small_bytes(s), 0);
    sealer_effort(s, EFFORT_SMALL);
    append(fx->a, idx, data, 3000);
    assert_int_equal(chunk_seal(s, idx, false), SC_OK);
    append(fx->a, idx, data, 10);
    assert_int_equal(chunk_seal(s, idx, true), SC_OK);
    assert_int_equal(sealer_small_bytes(s), 3010);
    assert_int_equal(sealer_small_bytes(s), 0);
    arena_flow_free(fx->a, idx, NULL);
    sealer_free(s);
    free(data);
}

static uint8_t *make_noise(size_t n)
{
    uint8_t *noise = malloc(n);
    uint64_t x = 88172645463325252u;
    assert_non_null(noise);
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        noise[i] = (uint8_t)x;
    }
    return noise;
}

/* A flow that leaves so many blocks. */
static uint32_t take_all_but(struct arena *a, uint32_t left)
{
    static const uint8_t zeros[ARENA_BLOCK];
    uint32_t hog = open_flow(a);
    struct arena_change c = {.flow = hog, .image = *arena_flow(a, hog)};
    while (arena_blocks_left(a) > left) {
        assert_int_equal(arena_append_packed(a, hog, &c.image, zeros, ARENA_BLOCK), SC_OK);
        arena_commit(a, &c);
    }
    assert_int_equal(arena_blocks_left(a), left);
    return hog;
}

static void test_out_of_blocks_leaves_the_flow_as_it_was(void **state)
{
    struct fixture *fx = *state;
    struct sealer *s = sealer_new(fx->a, GZIP_SMALL, false);
    uint32_t idx = open_flow(fx->a);
    uint8_t *noise = make_noise(8192);
    append(fx->a, idx, noise, 8192);
    uint32_t hog = take_all_but(fx->a, 0);
    struct flow before = *arena_flow(fx->a, idx);
    assert_int_equal(chunk_seal(s, idx, true), SC_ENOMEM);
    assert_memory_equal(arena_flow(fx->a, idx), &before, sizeof(before));
    assert_int_equal(arena_blocks_left(fx->a), 0);
    arena_flow_free(fx->a, hog, NULL);
    assert_int_equal(chunk_seal(s, idx, true), SC_OK);
    arena_flow_free(fx->a, idx, NULL);
    sealer_free(s);
    free(noise);
}

/* A flow of any size ends in a few blocks, compressible or not: each piece gives back before the next one takes. */
static void test_an_end_needs_few_blocks(void **state)
{
    enum { BYTES = 300000 };
    struct fixture *fx = *state;
    static const enum gzip_mode modes[] = {GZIP_SMALL, GZIP_FAST, GZIP_NONE};
    for (unsigned i = 0; i < 6; i++) {
        enum gzip_mode mode = modes[i / 2];
        struct sealer *s = sealer_new(fx->a, mode, false);
        uint8_t *data = i % 2 ? make_data(BYTES) : make_noise(BYTES), *file = malloc(BYTES * 2);
        uint32_t idx = open_flow(fx->a);
        assert_non_null(file);
        append(fx->a, idx, data, 3000);
        assert_int_equal(chunk_seal(s, idx, false), SC_OK);
        append(fx->a, idx, data + 3000, BYTES - 3000);
        uint32_t hog = take_all_but(fx->a, 50);
        assert_int_equal(chunk_seal(s, idx, true), SC_OK);
        uint64_t at = 0;
        size_t len = encoder_gzip_head(mode, file);
        len += collect(fx->a, idx, &at, file + len);
        len += encoder_gzip_tail(mode, arena_flow(fx->a, idx)->crc, BYTES, file + len);
        if (mode == GZIP_NONE)
            assert_memory_equal(file, data, BYTES);
        else
            check_gzip(file, len, data, BYTES);
        arena_flow_free(fx->a, hog, NULL);
        arena_flow_free(fx->a, idx, NULL);
        assert_int_equal(arena_budget_used(fx->a), 0);
        sealer_free(s);
        free(data);
        free(file);
    }
}

/* Before its end a flow's seal takes nothing of the reserve for good. */
static void test_sealing_in_vain_is_undone(void **state)
{
    struct fixture *fx = *state;
    struct sealer *s = sealer_new(fx->a, GZIP_FAST, false);
    uint8_t *noise = make_noise(4000), *data = make_data(8000);
    uint32_t idx = open_flow(fx->a), good = open_flow(fx->a);
    append(fx->a, idx, noise, 4000);
    append(fx->a, good, data, 8000);
    uint32_t hog = take_all_but(fx->a, ARENA_RESERVE);
    struct flow before = *arena_flow(fx->a, idx);
    assert_int_equal(chunk_seal(s, idx, false), SC_ENOMEM);
    assert_memory_equal(arena_flow(fx->a, idx), &before, sizeof(before));
    assert_int_equal(arena_blocks_left(fx->a), ARENA_RESERVE);
    assert_int_equal(chunk_seal(s, good, false), SC_OK);
    assert_true(arena_blocks_left(fx->a) > ARENA_RESERVE + 10);
    arena_flow_free(fx->a, hog, NULL);
    assert_int_equal(chunk_seal(s, idx, false), SC_OK); /* no reserve is touched */
    arena_flow_free(fx->a, idx, NULL);
    arena_flow_free(fx->a, good, NULL);
    sealer_free(s);
    free(noise);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_plan_gives_the_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunks_follow_the_budget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_small_effort_is_spent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_blocks_leaves_the_flow_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_end_needs_few_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sealing_in_vain_is_undone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
