/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: damaged input is a state, told once and for all steps that follow. */
#include "dispatcher/ctl/gunzip.h"

#include <limits.h>
#include <stdlib.h>

#define ZLIB_CONST /* its input is not written to, and then says so */
#include <zlib.h>

struct gunzip {
    z_stream z;
};

struct gunzip *gunzip_new(void)
{
    struct gunzip *g = calloc(1, sizeof *g);
    if (!g || inflateInit2(&g->z, 15 + 16) == Z_OK) /* + 16: gzip only */
        return g;
    free(g);
    return NULL;
}

void gunzip_free(struct gunzip *g)
{
    if (!g)
        return;
    (void)inflateEnd(&g->z);
    free(g);
}

enum gunzip_state gunzip_step(struct gunzip *g, const uint8_t **in_r, size_t *len_r, uint8_t *out, size_t cap,
                              size_t *made_r)
{
    uInt have = *len_r < UINT_MAX ? (uInt)*len_r : UINT_MAX, room = cap < UINT_MAX ? (uInt)cap : UINT_MAX;
    g->z.next_in = *in_r;
    g->z.avail_in = have;
    g->z.next_out = out;
    g->z.avail_out = room;
    int rc = inflate(&g->z, Z_NO_FLUSH);
    *in_r += have - g->z.avail_in;
    *len_r -= have - g->z.avail_in;
    *made_r = room - g->z.avail_out;
    if (rc == Z_STREAM_END)
        return GUNZIP_END;
    return rc == Z_OK || rc == Z_BUF_ERROR ? GUNZIP_MORE : GUNZIP_BAD;
}

void gunzip_again(struct gunzip *g)
{
    (void)inflateReset(&g->z);
}

const char *gunzip_why(const struct gunzip *g)
{
    return g->z.msg ? g->z.msg : "damaged";
}
