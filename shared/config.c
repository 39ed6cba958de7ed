/* SPDX-License-Identifier: Apache-2.0
 * The settings of a run as the supervisor hands them over.
 * Failure policy: what another build made is refused as a whole; within one build the supervisor is trusted. */
#include "shared/config.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

void config_init(struct config *c)
{
    memset(c, 0, sizeof *c);
    c->magic = CONFIG_MAGIC;
    c->layout = CONFIG_LAYOUT;
    c->bytes = sizeof *c;
}

int config_map(int fd, const struct config **out)
{
    struct stat st;
    *out = NULL;
    if (fstat(fd, &st) != 0)
        return SC_ESYS;
    if (st.st_size < (off_t)sizeof(struct config))
        return SC_EVERSION;
    /* Private: what is sealed against writing cannot be mapped shared before Linux 6.7, not even to be read. */
    struct config *c = mmap(NULL, sizeof *c, PROT_READ, MAP_PRIVATE, fd, 0);
    if (c == MAP_FAILED)
        return SC_ESYS;
    if (c->magic != CONFIG_MAGIC || c->layout != CONFIG_LAYOUT || c->bytes != sizeof *c) {
        (void)munmap(c, sizeof *c);
        return SC_EVERSION;
    }
    (void)madvise(c, sizeof *c, MADV_DONTDUMP); /* it holds the hash key; cores are off anyway */
    *out = c;
    return SC_OK;
}
