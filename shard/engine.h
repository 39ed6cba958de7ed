/* SPDX-License-Identifier: Apache-2.0
 * The seam between the encoder and one compression library. Each encoder_*.c offers its library in this form; one that
 * this build lacks (its development package was absent, or make NO_ISAL=1 / NO_LIBDEFLATE=1) offers NULL. */
#ifndef SHARD_ENGINE_H
#define SHARD_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine {
    const char *name;         /* "zlib", "libdeflate", "ISA-L" */
    void *(*open)(int level); /* NULL: no memory */
    void (*close)(void *state);
    size_t (*bound)(size_t n);
    /* encoder_chunk's contract; libdeflate takes only chunks that end their stream, and leaves the dictionary out. */
    size_t (*chunk)(void *state, const uint8_t *dict, size_t dict_len, const uint8_t *in, size_t n, bool last,
                    uint8_t *out, size_t cap);
    uint32_t (*crc)(uint32_t crc, const uint8_t *in, size_t n);
};

const struct engine *engine_zlib(void); /* never NULL */
const struct engine *engine_isal(void);
const struct engine *engine_libdeflate(void);

#endif
