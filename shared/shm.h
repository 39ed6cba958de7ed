/* SPDX-License-Identifier: Apache-2.0
 * Shared memory as memfds: created by the supervisor, mapped by the others. Never a name in a file system: /dev/shm
 * may be 64 MiB. */
#ifndef SHARED_SHM_H
#define SHARED_SHM_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/err.h"

/* A memfd of `bytes` zeros (rounded up to pages), close-on-exec, sealed GROW|SHRINK|SEAL (never FUTURE_WRITE: it
 * forbids a restarted writer its mapping). Returns the fd or SC_ESYS. */
int shm_create(const char *name, size_t bytes) SC_MUST_CHECK;

/* Maps the whole fd shared, MADV_DONTDUMP. *bytes_r gets its size. NULL on failure (errno). */
void *shm_map(int fd, bool writable, size_t *bytes_r) SC_MUST_CHECK;
void shm_unmap(void *map, size_t bytes); /* NULL is fine */

#endif
