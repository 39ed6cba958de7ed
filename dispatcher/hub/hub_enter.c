/* SPDX-License-Identifier: Apache-2.0
 * How a hub begins: attach, map, open what takes power, give the power away, take over the journal. Failure policy: see
 * hub.c. */
#include "dispatcher/hub/hub_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/hub/halfline.h"
#include "shared/confine.h"
#include "shared/sandbox.h"
#include "shared/shm.h"

int hub_give_up(struct hub *h, int status, const char *fmt, ...)
{
    char text[PROTO_TEXT];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    log_error("%s", text);
    (void)proto_tell(h->attach_fd, &h->self, PROTO_FAILED, status, text);
    return status;
}

struct mono hub_now(const struct hub *h)
{
    return h->clock->mono(h->clock->ctx);
}

int hub_attach(struct hub *h)
{
    int rc = proto_attach(h->attach_fd, &h->self);
    if (rc != SC_OK) {
        log_error("cannot attach: %s; this program is started by shardcap", sc_strerror(rc));
        return rc == SC_EVERSION ? EXIT_CONFIG : EXIT_TEMPFAIL;
    }
    const char *what = "";
    rc = pages_map(&h->pages, &h->self, &what);
    if (rc != SC_OK)
        return hub_give_up(h, rc == SC_EVERSION ? EXIT_CONFIG : EXIT_FAILED, "cannot map the %s: %s", what,
                           sc_strerror(rc));
    log_init("hub", -1, h->pages.config->log_level, h->pages.config->log_format);
    atomic_store_explicit(&h->pages.hub->generation, h->self.generation, memory_order_relaxed);
    return EXIT_DONE;
}

/* Its sockets, and what the metrics say of the processes. Landlock is each thread's own: before nanomsg's starts. */
static int confine_files(struct hub *h)
{
    const struct sandbox_tree trees[] = {{SANDBOX_BINDS, -1, h->pages.config->rundir}, {SANDBOX_READS, -1, "/proc"}};
    int rc = sandbox_files(trees, 2);
    if (rc == SC_EVERSION)
        log_debug("this kernel has no Landlock that could be used");
    return rc == SC_OK || rc == SC_EVERSION
               ? EXIT_DONE
               : hub_give_up(h, EXIT_FAILED, "cannot confine the process to its files: %s", strerror(errno));
}

void hub_keep(struct hub *h, enum proto_role role, int fd)
{
    int rc = proto_keep(h->attach_fd, &h->self, role, fd);
    if (rc != SC_OK)
        log_debug("a socket cannot be kept for a successor: %s", sc_strerror(rc));
}

/* While we still have the power that a large buffer takes. */
int hub_open_destroy_feed(struct hub *h)
{
    h->destroy_feed = proto_take_fd(&h->self, ROLE_DESTROYFEED, 0);
    if (h->destroy_feed >= 0 || !(h->pages.config->uuid_sources & UUID_SOURCE_KERNEL) ||
        !h->pages.config->kernel_destroy)
        return EXIT_DONE;
    h->destroy_feed = destroyfeed_open();
    if (h->destroy_feed < 0)
        return hub_give_up(h, EXIT_CONFIG,
                           "flag -uuid.source: the kernel does not tell of destroyed sockets (NETLINK_SOCK_DIAG: %s); "
                           "choose eventsocket, hash or none",
                           strerror(errno));
    hub_keep(h, ROLE_DESTROYFEED, h->destroy_feed);
    return EXIT_DONE;
}

int hub_confine(struct hub *h, pid_t parent)
{
    const struct config *c = h->pages.config;
    if (c->user_switch && confine_user(c->uid, c->gid) != SC_OK)
        return hub_give_up(h, EXIT_FAILED, "cannot become user %u", (unsigned)c->uid);
    if (confine_capabilities(false) != SC_OK)
        return hub_give_up(h, EXIT_FAILED, "cannot drop capabilities");
    int rc = confine_process(parent, true);
    if (rc == SC_EOF)
        return EXIT_TEMPFAIL;
    return rc == SC_OK ? confine_files(h)
                       : hub_give_up(h, EXIT_FAILED, "cannot confine the process: %s", sc_strerror(rc));
}

int hub_open_journal(struct hub *h)
{
    int fd = proto_take_fd(&h->self, ROLE_JOURNAL, 0);
    size_t bytes = 0;
    void *map = fd < 0 ? NULL : shm_map(fd, true, &bytes);
    if (fd >= 0)
        (void)close(fd);
    enum journal_origin origin = JOURNAL_NEW;
    uint64_t epoch = (uint64_t)h->clock->wall(h->clock->ctx).ns;
    if (map && bytes > HALFLINE_BYTES + PREFIX_BYTES) {
        h->halfline = (char *)map + bytes - HALFLINE_BYTES;
        h->learned = (char *)h->halfline - PREFIX_BYTES;
        h->journal = journal_open(map, bytes - HALFLINE_BYTES - PREFIX_BYTES, h->pages.config->shards, epoch, &origin);
    }
    if (!h->journal)
        return hub_give_up(h, EXIT_FAILED, "cannot map the event journal");
    if (origin == JOURNAL_BROKEN)
        log_warn("the event journal did not check; starting a new epoch");
    return EXIT_DONE;
}

/* Last, and for nanomsg's thread as well. */
int hub_filter_calls(struct hub *h)
{
    int rc = sandbox_calls(SANDBOX_HUB, h->pages.config->seccomp);
    return rc == SC_OK
               ? EXIT_DONE
               : hub_give_up(h, EXIT_FAILED, "cannot install the seccomp filter: %s; -seccomp=none does without",
                             strerror(errno));
}
