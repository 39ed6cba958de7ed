/* SPDX-License-Identifier: Apache-2.0
 * One gzip member, piece by piece. The only user of zlib in this program. */
#ifndef CTL_GUNZIP_H
#define CTL_GUNZIP_H

#include <stddef.h>
#include <stdint.h>

struct gunzip;

enum gunzip_state {
    GUNZIP_MORE, /* wants more input, or more room */
    GUNZIP_END,  /* the member has ended; input that is left does not belong to it */
    GUNZIP_BAD,  /* it is no gzip member: gunzip_why */
};

struct gunzip *gunzip_new(void);    /* NULL: no memory */
void gunzip_free(struct gunzip *g); /* NULL is fine */

/* Inflates from *in_r (of *len_r bytes; both are moved) to out, at most cap bytes, of which *made_r were written. */
enum gunzip_state gunzip_step(struct gunzip *g, const uint8_t **in_r, size_t *len_r, uint8_t *out, size_t cap,
                              size_t *made_r);
/* A further member may follow the one that has ended. */
void gunzip_again(struct gunzip *g);
const char *gunzip_why(const struct gunzip *g);

#endif
