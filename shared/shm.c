/* SPDX-License-Identifier: Apache-2.0
 * Memfds: creation, seals, mapping.
 * Failure policy: every failure is reported with errno and leaves nothing behind. A size can never change after
 * creation, so a mapping never faults with SIGBUS. */
#include "shared/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int shm_create(const char *name, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (bytes == 0 || bytes > (size_t)INT64_MAX - page) {
        errno = EINVAL;
        return SC_ESYS;
    }
    bytes = (bytes + page - 1) / page * page;
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return SC_ESYS;
    if (ftruncate(fd, (off_t)bytes) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return SC_ESYS;
    }
    return fd;
}

void *shm_map(int fd, bool writable, size_t *bytes_r)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return NULL;
    if (st.st_size <= 0) {
        errno = EINVAL;
        return NULL;
    }
    size_t bytes = (size_t)st.st_size;
    void *map = mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return NULL;
    if (madvise(map, bytes, MADV_DONTDUMP) != 0) { /* packet memory must not end up in a core file */
        int saved = errno;
        munmap(map, bytes);
        errno = saved;
        return NULL;
    }
    *bytes_r = bytes;
    return map;
}

void shm_unmap(void *map, size_t bytes)
{
    if (map)
        munmap(map, bytes);
}
