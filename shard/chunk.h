/* SPDX-License-Identifier: Apache-2.0
 * A flow's bytes on their way: raw pcap records -> sealed (deflated) chunks. Raw blocks that hold the last 1 KiB before
 * `sealed` stay as the dictionary of the next chunk; the rest is freed once the new image is committed.
 * Failure policy: SC_ENOMEM leaves the flow where it got to, and a later call goes on there. A flow's end is sealed out
 * of ARENA_RESERVE, in pieces that fit into what is left of it, so it fails only when next to nothing is left. */
#ifndef SHARD_CHUNK_H
#define SHARD_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "shard/arena.h"
#include "shard/encoder.h"
#include "shared/counters.h"

/* Raw bytes at which a chunk is sealed. Larger ones cost fewer cycles and give fewer bytes: so they are wide while
 * there is memory (less than 1/CHUNK_WIDE_SHARE of the budget in use); else a flow's first ones are small. */
#define CHUNK_WIDE 32768u
#define CHUNK_WIDE_SMALL 24576u /* at small effort: a turn of the loop is to stay below a millisecond */
#define CHUNK_WIDE_SHARE 4u
#define CHUNK_FIRST 4096u
#define CHUNK_LATER 16384u
#define CHUNK_GROWS 32768u /* from this many sealed bytes on, chunks are CHUNK_LATER */

struct sealer; /* the engine and its buffers */

/* stream: packed bytes are wanted early, even with GZIP_NONE. NULL: no memory. */
struct sealer *sealer_new(struct arena *a, enum gzip_mode mode, bool stream);
void sealer_free(struct sealer *s); /* NULL is fine */

/* From now on the stage word in `page` tells which flow is in work. */
void sealer_watched(struct sealer *s, struct shard_page *page);

/* With GZIP_AUTO: what chunks may cost from now on; EFFORT_FAST before the first call. */
void sealer_effort(struct sealer *s, enum effort effort);
/* Raw bytes that took EFFORT_SMALL since the last call. */
uint64_t sealer_small_bytes(struct sealer *s);

/* True when [sealed, total) has grown enough to be sealed. */
bool chunk_ripe(const struct sealer *s, const struct flow *f);

/* Seals the raw bytes of a committed flow piece by piece, each with its commit; with `last` ends the deflate stream,
 * frees the whole raw chain and sets FLOW_FINISHED (also when there are no new bytes). SC_OK; SC_ENOMEM: there are no
 * blocks for it, or, without `last`, it would leave fewer than before and fewer than ARENA_RESERVE; SC_EFORMAT: the
 * chain does not check (only possible after an adoption): the caller drops the flow as CAUSE_ARENA_LOST. */
int chunk_seal(struct sealer *s, uint32_t idx, bool last) SC_MUST_CHECK;

/* Bytes of the finished file: head + packed_len + tail. */
uint64_t chunk_file_bytes(const struct flow *f, enum gzip_mode mode);

/* Fills iov with the packed bytes of flow idx from packed offset `from` (packed_base <= from <= packed_len) on, at most
 * iov_max pieces; *block_r carries the walk from call to call (start with ARENA_NONE). Returns the number of pieces and
 * their sum in *bytes_r, or SC_EFORMAT if the chain does not check. Safe on the file thread while the main thread does
 * not change the flow. */
int chunk_gather(const struct arena *a, uint32_t idx, uint64_t from, uint32_t *block_r, struct iovec *iov, int iov_max,
                 size_t *bytes_r);

/* Stream mode: the packed bytes below `written` are in the file: frees their whole blocks and commits. */
void chunk_drop_written(struct sealer *s, uint32_t idx, uint64_t written);

#endif
