/* SPDX-License-Identifier: Apache-2.0
 * Reading back what the encoder wrote: a raw deflate stream, block by block, so that the reader knows where a cut one
 * can be ended. Implemented beside the zlib engine. Failure policy: foreign bytes are SC_EFORMAT. */
#ifndef SHARD_INFLATER_H
#define SHARD_INFLATER_H

#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"

struct inflater;

struct inflater *inflater_new(void);    /* NULL: no memory */
void inflater_free(struct inflater *i); /* NULL is fine */

enum inflater_state {
    INFLATER_MORE,  /* wants input, or room for output */
    INFLATER_BLOCK, /* a block has ended on a byte boundary: the stream could be ended here */
    INFLATER_END    /* the stream has ended; input behind it is not touched */
};

/* Inflates from in[*in_r ..in_len) into out[*out_r ..out_len), moving both. Returns an enum inflater_state, or
 * SC_EFORMAT. */
int inflater_step(struct inflater *i, const uint8_t *in, size_t in_len, size_t *in_r, uint8_t *out, size_t out_len,
                  size_t *out_r) SC_MUST_CHECK;

#endif
