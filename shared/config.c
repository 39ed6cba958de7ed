/* SPDX-License-Identifier: Apache-2.0
 * The settings of a run as the supervisor hands them over.
 * Failure policy: what another build made is refused as a whole; within one build the supervisor is trusted. */
#include "shared/config.h"

#include <string.h>

#include "shared/shm.h"

void config_init(struct config *c)
{
    memset(c, 0, sizeof *c);
    c->magic = CONFIG_MAGIC;
    c->layout = CONFIG_LAYOUT;
    c->bytes = sizeof *c;
}

int config_map(int fd, const struct config **out)
{
    size_t bytes;
    *out = NULL;
    struct config *c = shm_map(fd, false, &bytes);
    if (!c)
        return SC_ESYS;
    if (bytes < sizeof *c || c->magic != CONFIG_MAGIC || c->layout != CONFIG_LAYOUT || c->bytes != sizeof *c) {
        shm_unmap(c, bytes);
        return SC_EVERSION;
    }
    *out = c;
    return SC_OK;
}
