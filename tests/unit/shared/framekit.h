/* SPDX-License-Identifier: Apache-2.0
 * Frames for the parser's tests: written as hex text, put right before a page that must not be touched. A test that
 * reads one byte too many dies of SIGSEGV, with or without a sanitizer. */
#ifndef TESTS_UNIT_SHARED_FRAMEKIT_H
#define TESTS_UNIT_SHARED_FRAMEKIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/frame.h"

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))
#define KIT_MAX 4096

/* A payload or trailer byte; no header below holds it. */
#define CANARY 0xca
#define DATA "8*(ca) "

#define MACS "020000000001 020000000002 "
#define E4 MACS "0800 "
#define E6 MACS "86dd "
#define SRC4 "c0000201 " /* 192.0.2.1 */
#define DST4 "c6336407 " /* 198.51.100.7 */
#define IP4_OF(total, fragment, protocol) "4500 " total " 0001 " fragment " 40 " protocol " 0000 " SRC4 DST4
#define IP4(total) IP4_OF(total, "0000", "06")
#define SRC6 "20010db8 8*(00) 00000001 "
#define DST6 "20010db8 0001 8*(00) 0002 "
#define IP6(payload, next) "60000000 " payload " " next " 40 " SRC6 DST6
#define TCP_OF(offset_and_flags) "3039 0050 00000001 00000002 " offset_and_flags " 0100 0000 0000 "
#define TCP TCP_OF("5018")
/* Whole datagrams: 8 payload bytes. */
#define TCP4 IP4("0030") TCP DATA
#define TCP6 IP6("001c", "06") TCP DATA

struct bytes {
    uint8_t at[KIT_MAX];
    uint32_t len;
};

/* Hex digits with blanks where one likes; `N*(digits)` repeats them N times (not nested). */
static inline void kit_hex(const char *text, struct bytes *out)
{
    const char *repeat_from = NULL;
    unsigned long times = 1;
    out->len = 0;
    for (const char *p = text; *p;) {
        char *end;
        unsigned long n = isdigit((unsigned char)*p) ? strtoul(p, &end, 10) : 0;
        if (n > 0 && end[0] == '*' && end[1] == '(') {
            times = n;
            p = repeat_from = end + 2;
        } else if (*p == ')' && repeat_from) {
            p = --times > 0 ? repeat_from : p + 1;
        } else if (*p == ' ') {
            p++;
        } else {
            char pair[3] = {p[0], p[1], 0};
            assert_true(isxdigit((unsigned char)p[0]) && isxdigit((unsigned char)p[1]));
            assert_true(out->len < KIT_MAX);
            out->at[out->len++] = (uint8_t)strtoul(pair, NULL, 16);
            p += 2;
        }
    }
}

/* Room for one frame, with an untouchable page right behind it. */
struct guard {
    uint8_t *map;
    size_t room, page;
};

static inline struct guard guard_new(size_t max)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct guard g = {.room = (max + page - 1) / page * page, .page = page};
    void *map = mmap(NULL, g.room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    g.map = map;
    assert_int_equal(mprotect(g.map + g.room, page, PROT_NONE), 0);
    return g;
}

static inline void guard_free(struct guard *g)
{
    munmap(g->map, g->room + g->page);
}

/* Where len bytes end at the guard; bytes may be NULL to leave the place as it is. */
static inline uint8_t *guard_put(const struct guard *g, const uint8_t *bytes, uint32_t len)
{
    uint8_t *at = g->map + g->room - len;
    assert_true(len <= g->room);
    if (bytes)
        memmove(at, bytes, len);
    return at;
}

/* The properties of every frame that is accepted: offsets in order and inside the frame; a copy that holds the clean
 * header bytes, zeros behind them and not a byte more; the same key from that copy. */
static inline void kit_accepted(const struct frame *f, const uint8_t *bytes, uint32_t caplen)
{
    static uint8_t copy[FRAME_MAX_CAPLEN + 1];
    struct frame again;
    assert_true(f->l3_off + 20u <= f->l4_off);
    assert_true(f->l4_off + 20u <= f->clean_len && f->clean_len <= f->hdr_len);
    assert_true(f->hdr_len <= caplen && f->hdr_len <= f->l4_off + (uint32_t)FRAME_TCP_MAX);
    copy[f->hdr_len] = 0x5a;
    frame_copy_header(f, bytes, copy);
    assert_memory_equal(copy, bytes, f->clean_len);
    for (uint32_t i = f->clean_len; i < f->hdr_len; i++)
        assert_int_equal(copy[i], 0);
    assert_int_equal(copy[f->hdr_len], 0x5a);
    memset(&again, 0xa5, sizeof(again));
    assert_true(frame_from_copy(copy, f->hdr_len, f->l3_off, f->l4_off, &again));
    assert_memory_equal(&again.key, &f->key, sizeof(f->key));
    assert_int_equal(again.from_low, f->from_low);
    assert_int_equal(again.tcp_flags, f->tcp_flags);
    assert_int_equal(again.tcp_seq, f->tcp_seq);
    assert_int_equal(again.l3_off, f->l3_off);
    assert_int_equal(again.l4_off, f->l4_off);
    assert_int_equal(again.hdr_len, f->hdr_len);
}

#endif
