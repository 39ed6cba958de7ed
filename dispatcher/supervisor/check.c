/* SPDX-License-Identifier: Apache-2.0
 * See check.h. Creates nothing. */
#include "dispatcher/supervisor/check.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/supervisor/memory.h"
#include "dispatcher/supervisor/settings.h"
#include "dispatcher/supervisor/spawn.h"
#include "shared/flags.h"
#include "shared/proto.h"

/* Code, heap and stacks of one process, and its counters; measured, rounded up. */
#define PROCESS_BYTES (4u << 20)
/* Names that wait for a packet, flows that wait for names: as many as may be of each. */
#define SHARD_BYTES (64u << 20)

static uint64_t rings(const struct config *c)
{
    return (uint64_t)c->shards * config_dispatchers(c) * ring_map_bytes(c->ringsize);
}

static uint64_t capture(const struct config *c)
{
    return config_reads_files(c) ? 0 : c->capturebuffer;
}

static uint64_t fixed(const struct config *c)
{
    return (c->shards + UINT64_C(3)) * PROCESS_BYTES + (uint64_t)c->shards * SHARD_BYTES;
}

uint64_t check_worst_case(const struct config *c)
{
    return c->maxheap + rings(c) + capture(c) + BUS_JOURNAL_BYTES + fixed(c);
}

static void duration(FILE *out, const char *flag, int64_t ns)
{
    char text[40];
    fprintf(out, "%s = %s\n", flag, flags_duration_text(ns, text));
}

static void list(FILE *out, const char *flag, const char *none, unsigned count, const char *first, size_t stride)
{
    fprintf(out, "%s = ", flag);
    for (unsigned i = 0; i < count; i++)
        fprintf(out, "%s%s", i ? "," : "", first + i * stride);
    fprintf(out, "%s\n", count ? "" : none);
}

static void exempt(FILE *out, const struct anonymizer *a)
{
    char text[INET6_ADDRSTRLEN];
    fputs("-anonymize.exempt = ", out);
    for (uint32_t i = 0; i < a->exempt_count; i++) {
        const struct ipaddr *ip = &a->exempt[i];
        fprintf(out, "%s%s", i ? "," : "", inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->bytes, text, sizeof(text)));
    }
    fprintf(out, "%s\n", a->exempt_count ? "" : "local addresses, none with -read");
}

static void sources(FILE *out, uint32_t bits)
{
    static const char *const names[] = {"eventsocket", "kernel", "hash", "events"};
    const char *comma = "";
    fputs("-uuid.source = ", out);
    for (unsigned i = 0; i < 4; i++)
        if (bits & (1u << i)) {
            fprintf(out, "%s%s", comma, names[i]);
            comma = ",";
        }
    fprintf(out, "%s\n", bits ? "" : "none");
}

static void kernel_parts(FILE *out, const struct config *c)
{
    bool both = c->kernel_lookup && c->kernel_destroy;
    fprintf(out, "-uuid.kernel = %s\n", both ? "lookup,destroy" : c->kernel_lookup ? "lookup" : "destroy");
}

static void cpus(FILE *out, const struct cpu_list *list)
{
    fputs("-cpus = ", out);
    for (uint32_t i = 0; i < list->count; i++)
        fprintf(out, "%s%u", i ? "," : "", list->cpu[i]);
    fprintf(out, "%s\n", list->count ? "" : "as the system chooses");
}

static void settings(FILE *out, const struct config *c)
{
    static const char *const gzip[] = {"auto", "small", "fast", "zlib", "none"};
    static const char *const level[] = {"debug", "info", "warn", "error"};
    static const char *const format[] = {"text", "json"};
    static const char *const seccomp[] = {"kill", "log", "none"};
    fprintf(out, "-datadir = %s\n", c->datadir);
    duration(out, "-captureduration", c->captureduration_ns);
    duration(out, "-uuidwaitduration", c->uuidwaitduration_ns);
    duration(out, "-flowtimeout", c->flowtimeout_ns);
    duration(out, "-sigtermwait", c->sigtermwait_ns);
    fprintf(out, "-maxheadersize = %u\n-stream = %s\n-maxflows = %u\n", c->maxheadersize, c->stream ? "true" : "false",
            c->maxflows);
    fprintf(out, "-maxpackets = %u\n-maxfilesize = %" PRIu64 "\n-sample = 1/%u\n", c->maxpackets, c->maxfilesize,
            c->sample ? c->sample : 1);
    fprintf(out, "-shards.external = %s\n", c->shards_external ? "true" : "false");
    fprintf(out, "-dedup = %s\n", c->dedup ? "true" : "false");
    list(out, "-interface", "all that are up", c->interface_count, c->interfaces[0], INTERFACE_NAME);
    fprintf(out, "-maxidleram = %" PRIu64 "\n-maxheap = %" PRIu64 "\n", c->maxidleram, c->maxheap);
    fprintf(out, "-anonymize.ip = %s\n", c->anonymizer.mode == ANONYMIZE_NONE ? "none" : "netblock");
    exempt(out, &c->anonymizer);
    fprintf(out, "-tcpinfo.eventsocket = %s\n", c->eventsocket[0] ? c->eventsocket : "none");
    fprintf(out, "-events.serve = %s\n", c->serve[0] ? c->serve : "none");
    fprintf(out, "-prometheusx.listen-address = %s\n", c->listen_address[0] ? c->listen_address : "none");
    list(out, "-read", "none (live capture)", c->savefile_count, c->savefiles[0], CONFIG_PATH);
    fprintf(out, "-shards = %u\n-dispatchers = %u\n", c->shards, config_dispatchers(c));
    cpus(out, &c->cpus);
    sources(out, c->uuid_sources);
    kernel_parts(out, c);
    fprintf(out, "-uuid.events = %s\n", c->uuid_events[0] ? c->uuid_events : "none");
    fprintf(out, "-uuid-prefix-file = %s%s\n", c->uuid_prefix.text[0] ? "prefix " : "none", c->uuid_prefix.text);
    fprintf(out, "-rundir = %s\n-stagingdir = %s\n", c->rundir[0] ? c->rundir : "a temporary one",
            c->stagingdir[0] ? c->stagingdir : "beside -datadir");
    fprintf(out, "-ringsize = %" PRIu64 "\n-capturebuffer = %" PRIu64 "\n", c->ringsize, c->capturebuffer);
    fprintf(out, "-filter%s = %s\n", c->filter_raw ? ".raw" : "", c->filter[0] ? c->filter : "none");
    fprintf(out, "-gzip = %s\n", gzip[c->gzip]);
    duration(out, "-syncinterval", c->syncinterval_ns);
    if (c->mindiskfree_percent > 0)
        fprintf(out, "-mindiskfree = %u%%\n", c->mindiskfree_percent);
    else
        fprintf(out, "-mindiskfree = %" PRIu64 "\n", c->mindiskfree);
    fprintf(out, "-maxdisk = %" PRIu64 "\n", c->maxdisk);
    duration(out, "-keep", c->keep_ns);
    fprintf(out, "-user = uid %u gid %u%s\n", (unsigned)c->uid, (unsigned)c->gid,
            c->user_switch ? "" : " (the caller)");
    fprintf(out, "-seccomp = %s\n", seccomp[c->seccomp]);
    fprintf(out, "-summary = %s\n", c->summary[0] ? c->summary : "none");
    fprintf(out, "-log.level = %s\n-log.format = %s\n", level[c->log_level], format[c->log_format]);
}

static void amount(FILE *out, const char *what, uint64_t bytes)
{
    fprintf(out, "  %-28s %10.1f MiB\n", what, (double)bytes / (1 << 20));
}

void check_print(FILE *out, const struct config *c, uint64_t machine_bytes)
{
    uint64_t worst = check_worst_case(c);
    settings(out, c);
    fputs("memory in the worst case:\n", out);
    amount(out, "arenas (-maxheap)", c->maxheap);
    amount(out, "rings (-ringsize x -shards x -dispatchers)", rings(c));
    amount(out, "capture (-capturebuffer)", capture(c));
    amount(out, "event journal", BUS_JOURNAL_BYTES);
    amount(out, "processes", fixed(c));
    amount(out, "sum", worst);
    if (machine_bytes)
        amount(out, "machine or cgroup", machine_bytes);
    fprintf(out, "%s\n", machine_bytes && worst > machine_bytes ? "does not fit: lower -maxheap" : "configuration ok");
}

/* This program captures nothing, so the one that does is asked. It is no matter of the configuration: who checks may be
 * another user than the one who will run it. */
static void capture_permission(const struct config *c)
{
    struct program dispatcher;
    char why[512] = "shardcap-dispatcher beside this program does not run";
    if (config_reads_files(c))
        return;
    int rc = spawn_open(&dispatcher, "shardcap-dispatcher");
    if (rc == SC_OK) {
        rc = spawn_ask(&dispatcher, "-check-capture", NULL, why, sizeof why);
        close(dispatcher.fd);
    }
    if (rc != EXIT_DONE)
        printf("but started like this it would fail: %s\n", why);
}

int check_run(const struct config *c)
{
    uint64_t machine = settings_memory("/");
    check_print(stdout, c, machine);
    capture_permission(c);
    if (fflush(stdout) != 0)
        return EXIT_FAILED;
    return machine && check_worst_case(c) > machine ? EXIT_CONFIG : EXIT_DONE;
}
