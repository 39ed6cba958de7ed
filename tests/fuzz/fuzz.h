/* SPDX-License-Identifier: Apache-2.0
 * One fuzz target per program: libFuzzer drives it under `make fuzz`, replay.c drives it over the kept corpus in
 * `make test`. A target aborts when a property is broken. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Optional: a few seed inputs that replay.c writes with -seeds DIR; returns false when i is past the last one. */
#define FUZZ_SEED_MAX 4096
size_t fuzz_seed(unsigned i, uint8_t out[FUZZ_SEED_MAX]);

#define FUZZ_CHECK(cond)                                                                                               \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #cond);                                         \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
