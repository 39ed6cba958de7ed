/* SPDX-License-Identifier: Apache-2.0
 * Every engine and every mixture of engines gives one deflate stream that zlib's inflate and gzip -t accept, whatever
 * the bytes: headers, noise, one byte, nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "shard/encoder.h"
#include "shard/engine.h"
#include "tests/unit/skip.h"

#define TOTAL 200000u
#define ENGINES 3

static uint32_t random_state = 1;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

/* Records of 96 bytes: most of it constant or one of two directions', counters, and two bytes of noise. */
static uint8_t header_byte(size_t i)
{
    size_t record = i / 96, at = i % 96;
    if (at < 12)
        return (uint8_t)(record * (1 + at / 4 * 1448) >> 8 * (3 - at % 4));
    if (at % 16 == 3)
        return (uint8_t)(record / (at / 16 + 1));
    return at == 50 || at == 51 ? (uint8_t)draw(256) : (uint8_t)(at * (record % 2 ? 5 : 7));
}

/* kind 0: like headers, 1: noise, 2: all the same. */
static void fill(uint8_t *data, size_t n, unsigned kind)
{
    for (size_t i = 0; i < n; i++)
        data[i] = kind == 1 ? (uint8_t)draw(256) : kind == 2 ? 7 : header_byte(i);
}

static void check_inflates(const uint8_t *packed, size_t len, const uint8_t *want, size_t n)
{
    uint8_t *got = malloc(n + 1);
    z_stream z = {0};
    assert_non_null(got);
    assert_int_equal(inflateInit2(&z, -15), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)packed;
    z.avail_in = (uInt)len;
    z.next_out = got;
    z.avail_out = (uInt)n + 1;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(z.total_out, n);
    assert_memory_equal(got, want, n);
    inflateEnd(&z);
    free(got);
}

struct out {
    uint8_t *bytes;
    size_t len, cap;
};

static struct out out_new(void)
{
    struct out o = {.cap = TOTAL * 3};
    o.bytes = malloc(o.cap);
    assert_non_null(o.bytes);
    return o;
}

/* Chunks of random length, each by one of the engines. */
static void run_engines(const struct engine *const *engines, void *const *states, unsigned count, unsigned kind)
{
    uint8_t *data = malloc(TOTAL);
    struct out o = out_new();
    assert_non_null(data);
    fill(data, TOTAL, kind);
    for (size_t at = 0; at < TOTAL;) {
        size_t n = 1 + draw(draw(4) ? 3000 : 40000), dict = at < ENCODER_DICT ? at : ENCODER_DICT;
        unsigned pick = draw(count);
        n = n < TOTAL - at ? n : TOTAL - at;
        dict = draw(4) ? dict : 0;
        size_t len = engines[pick]->chunk(states[pick], data + at - dict, dict, data + at, n, at + n == TOTAL,
                                          o.bytes + o.len, engines[pick]->bound(n));
        assert_true(len > 0 && len <= engines[pick]->bound(n));
        o.len += len;
        at += n;
    }
    check_inflates(o.bytes, o.len, data, TOTAL);
    free(o.bytes);
    free(data);
}

/* The engines that take any chunk. */
static unsigned streaming(const struct engine *engines[ENGINES], void *states[ENGINES])
{
    unsigned n = 0;
    engines[n] = engine_zlib();
    states[n++] = engine_zlib()->open(6);
    engines[n] = engine_zlib();
    states[n++] = engine_zlib()->open(1);
    if (engine_isal()) {
        engines[n] = engine_isal();
        states[n++] = engine_isal()->open(1);
    }
    for (unsigned i = 0; i < n; i++)
        assert_non_null(states[i]);
    return n;
}

static void test_each_engine_alone_and_all_mixed(void **state)
{
    const struct engine *engines[ENGINES];
    void *states[ENGINES];
    (void)state;
    unsigned n = streaming(engines, states);
    for (unsigned kind = 0; kind < 3; kind++)
        for (unsigned i = 0; i <= n; i++) /* i == n: all */
            run_engines(i < n ? &engines[i] : engines, i < n ? &states[i] : states, i < n ? 1 : n, kind);
    for (unsigned i = 0; i < n; i++)
        engines[i]->close(states[i]);
}

static void test_an_engine_that_only_ends_streams(void **state)
{
    static const size_t lengths[] = {0, 1, 100, 4096, 65536};
    static uint8_t data[65536];
    const struct engine *engine = engine_libdeflate();
    (void)state;
    if (!engine)
        SKIP_BECAUSE("this build has no libdeflate");
    for (int level = 1; engine && level <= 7; level += 3)
        for (unsigned kind = 0; kind < 3; kind++)
            for (unsigned i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
                void *s = engine->open(level);
                struct out o = out_new();
                fill(data, lengths[i], kind);
                o.len = engine->chunk(s, NULL, 0, data, lengths[i], true, o.bytes, engine->bound(lengths[i]));
                check_inflates(o.bytes, o.len, data, lengths[i]);
                engine->close(s);
                free(o.bytes);
            }
}

/* As chunk.c does it; gzip -t has the last word. */
static void check_mode(enum gzip_mode mode, const uint8_t *data, size_t total, size_t chunk)
{
    struct encoder *e = encoder_new(mode);
    struct out o = out_new();
    uint32_t crc = 0;
    assert_non_null(e);
    o.len = encoder_gzip_head(mode, o.bytes);
    for (size_t at = 0, n; at < total; at += n) {
        size_t dict = at < ENCODER_DICT ? at : ENCODER_DICT;
        n = chunk < total - at ? chunk : total - at;
        o.len += encoder_chunk(e, draw(2) ? EFFORT_SMALL : EFFORT_FAST, data + at - dict, dict, data + at, n,
                               at + n == total, o.bytes + o.len, encoder_bound(e, n));
        crc = encoder_crc(crc, data + at, n);
    }
    assert_int_equal(crc, crc32(0, data, (uInt)total));
    o.len += encoder_gzip_tail(mode, crc, total, o.bytes + o.len);
    FILE *gzip = popen("gzip -t", "w");
    assert_non_null(gzip);
    assert_int_equal(fwrite(o.bytes, 1, o.len, gzip), o.len);
    assert_int_equal(pclose(gzip), 0);
    encoder_free(e);
    free(o.bytes);
}

static void test_gzip_accepts_every_mode(void **state)
{
    static const enum gzip_mode modes[] = {GZIP_AUTO, GZIP_SMALL, GZIP_FAST, GZIP_ZLIB};
    uint8_t *data = malloc(TOTAL);
    (void)state;
    assert_non_null(data);
    fill(data, TOTAL, 0);
    for (unsigned m = 0; m < 4; m++)
        for (size_t chunk = 1; chunk <= 65536; chunk *= 16)
            check_mode(modes[m], data, chunk == 1 ? 50 : TOTAL, chunk);
    free(data);
}

static void test_modes_take_the_engines_they_name(void **state)
{
    static uint8_t data[30000], a[40000], b[40000];
    (void)state;
    fill(data, sizeof(data), 0);
    struct encoder *zlib = encoder_new(GZIP_ZLIB), *autom = encoder_new(GZIP_AUTO), *fast = encoder_new(GZIP_FAST);
    void *six = engine_zlib()->open(6);
    /* -gzip=zlib is zlib level 6, to the byte, whatever else was built in */
    size_t n = encoder_chunk(zlib, EFFORT_FAST, NULL, 0, data, sizeof(data), true, a, sizeof(a));
    size_t m = engine_zlib()->chunk(six, NULL, 0, data, sizeof(data), true, b, sizeof(b));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    /* auto under load is fast, and idle it is smaller */
    n = encoder_chunk(autom, EFFORT_FAST, NULL, 0, data, sizeof(data), false, a, sizeof(a));
    m = encoder_chunk(fast, EFFORT_SMALL, NULL, 0, data, sizeof(data), false, b, sizeof(b));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    m = encoder_chunk(autom, EFFORT_SMALL, NULL, 0, data, sizeof(data), false, b, sizeof(b));
    assert_true(m < n);
    engine_zlib()->close(six);
    encoder_free(zlib);
    encoder_free(autom);
    encoder_free(fast);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_engine_alone_and_all_mixed),
        cmocka_unit_test(test_an_engine_that_only_ends_streams),
        cmocka_unit_test(test_gzip_accepts_every_mode),
        cmocka_unit_test(test_modes_take_the_engines_they_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
