/* SPDX-License-Identifier: Apache-2.0
 * Maps the pages. Failure policy: all or an error that names the missing one; nothing is unmapped, the process ends. */
#include "dispatcher/hub/pages.h"

#include <unistd.h>

#include "shared/shm.h"

/* Every page begins with {magic, layout}; both are 0 until its writer has started for the first time. */
struct page_head {
    uint32_t magic, layout;
};

static int map_page(struct proto_attachment *a, enum proto_role role, unsigned index, bool writable, size_t bytes,
                    uint32_t magic, void **map_r)
{
    int fd = proto_take_fd(a, role, index);
    if (fd < 0)
        return SC_ENOENT;
    size_t len = 0;
    *map_r = shm_map(fd, writable, &len);
    (void)close(fd);
    if (!*map_r)
        return SC_ESYS;
    const struct page_head *head = *map_r;
    bool fresh = len >= bytes && head->magic == 0 && head->layout == 0;
    bool ours = len >= bytes && head->magic == magic && head->layout == COUNTERS_LAYOUT;
    return fresh || ours ? SC_OK : SC_EVERSION;
}

static int map_config(struct pages *out, struct proto_attachment *a)
{
    int fd = proto_take_fd(a, ROLE_CONFIG, 0);
    if (fd < 0)
        return SC_ENOENT;
    int rc = config_map(fd, &out->config);
    (void)close(fd);
    if (rc == SC_OK && (out->config->shards == 0 || out->config->shards > SHARDS_MAX))
        rc = SC_EVERSION;
    return rc;
}

int pages_map(struct pages *out, struct proto_attachment *a, const char **what_r)
{
    *out = (struct pages){0};
    *what_r = "configuration";
    int rc = map_config(out, a);
    void *map = NULL;
    if (rc == SC_OK) {
        *what_r = "supervisor page";
        rc = map_page(a, ROLE_SUPERVISOR_PAGE, 0, false, sizeof *out->supervisor, SUPERVISOR_PAGE_MAGIC, &map);
        out->supervisor = map;
    }
    if (rc == SC_OK) {
        *what_r = "dispatcher page";
        rc = map_page(a, ROLE_DISPATCHER_PAGE, 0, false, sizeof *out->dispatcher, DISPATCHER_PAGE_MAGIC, &map);
        out->dispatcher = map;
    }
    if (rc == SC_OK) {
        *what_r = "hub page";
        rc = map_page(a, ROLE_HUB_PAGE, 0, true, sizeof *out->hub, HUB_PAGE_MAGIC, &map);
        out->hub = map;
    }
    for (unsigned i = 0; rc == SC_OK && i < out->config->shards; i++) {
        *what_r = "shard page";
        rc = map_page(a, ROLE_SHARD_PAGE, i, false, sizeof *out->shard[i], SHARD_PAGE_MAGIC, &map);
        out->shard[i] = map;
    }
    return rc;
}
