/* SPDX-License-Identifier: Apache-2.0
 * Reads every file that its date does not rule out. Failure policy: a file that cannot be read is told, the walk goes
 * on, and the status is 1. */
#include "dispatcher/ctl/find.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/ctl/capfile.h"
#include "dispatcher/ctl/endpoint.h"
#include "dispatcher/ctl/flowstat.h"
#include "dispatcher/ctl/jsontext.h"
#include "dispatcher/ctl/timearg.h"
#include "dispatcher/ctl/tree.h"
#include "shared/proto.h"

struct find {
    bool has_host, has_port, json, details;
    struct ipaddr host;
    unsigned prefix; /* bits of host */
    uint16_t port;
    struct wall since, until;
    uint64_t found;
    bool failed;
};

static bool in_prefix(const struct find *f, const uint8_t *addr, unsigned len)
{
    if (f->host.len != len)
        return false;
    unsigned whole = f->prefix / 8, rest = f->prefix % 8;
    if (memcmp(addr, f->host.bytes, whole) != 0)
        return false;
    return rest == 0 || ((addr[whole] ^ f->host.bytes[whole]) >> (8 - rest)) == 0;
}

/* Host and port are those of one end. */
static bool end_fits(const struct find *f, const struct flowkey *key, unsigned end)
{
    return (!f->has_host || in_prefix(f, key->addr[end], key->addr_len)) && (!f->has_port || key->port[end] == f->port);
}

static void format_end(const struct flowstat *s, unsigned side, char out[ENDPOINT_TEXT])
{
    unsigned at = (side == 0) == s->client_low ? 0 : 1;
    struct endpoint e = {.port = s->key.port[at]};
    ipaddr_set(&e.addr, s->key.addr[at], s->key.addr_len);
    (void)endpoint_format(&e, out);
}

/* Names of ours are harmless; others may lie there, too, and a terminal or a table is no place for their controls. */
static void write_path(const char *path, bool harmless)
{
    for (const char *p = path; *p; p++)
        (void)putchar(harmless && ((unsigned char)*p < ' ' || *p == 0x7f) ? '?' : *p);
}

static void print(const struct find *f, const struct tree_file *file, const struct flowstat *s)
{
    char client[ENDPOINT_TEXT], server[ENDPOINT_TEXT], first[CLOCK_TEXT];
    if (!f->json && !f->details) {
        write_path(file->path, isatty(STDOUT_FILENO));
        (void)putchar('\n');
        return;
    }
    format_end(s, 0, client);
    format_end(s, 1, server);
    clock_format(s->first, first);
    int64_t duration = s->last.ns - s->first.ns;
    if (f->json) {
        (void)printf("{\"path\":");
        jsontext_write(file->path, strlen(file->path), stdout);
        (void)printf(",\"uuid\":");
        jsontext_write(file->uuid, strlen(file->uuid), stdout);
        (void)printf(",\"client\":\"%s\",\"server\":\"%s\",\"first\":\"%s\",\"duration_ns\":%" PRId64
                     ",\"packets\":%" PRIu64 "}\n",
                     client, server, first, duration, s->packets);
    } else {
        write_path(file->path, true);
        (void)printf("\t%s\t%s\t%s\t%.6f\t%" PRIu64 "\n", client, server, first, (double)duration / (double)NS_PER_SEC,
                     s->packets);
    }
}

/* Sums up a file; false, with a line on stderr, if it cannot be read to its end. */
static bool read_file(const char *path, struct flowstat *s)
{
    char error[CAPFILE_ERROR];
    struct capfile_packet p;
    struct flowstat_packet what;
    struct capfile *c = capfile_open(path, error);
    int rc = c ? SC_OK : SC_EFORMAT;
    while (rc == SC_OK && (rc = capfile_next(c, &p, error)) == SC_OK)
        flowstat_add(s, p.bytes, p.caplen, p.wire_len, capfile_linktype(c), p.ts, &what);
    capfile_close(c);
    if (rc != SC_EOF)
        (void)fprintf(stderr, "shardcapctl: %s\n", error);
    return rc == SC_EOF;
}

static bool take(void *ctx, const struct tree_file *file)
{
    struct find *f = ctx;
    /* A file's directory is the date of its first packet, give or take a zone; it changes with its last. */
    int64_t day =
        clock_days((int)(file->yyyymmdd / 10000), (int)(file->yyyymmdd / 100 % 100), (int)(file->yyyymmdd % 100));
    if (file->changed.ns < f->since.ns || (day - 1) * 86400 > f->until.ns / NS_PER_SEC)
        return true;
    struct flowstat s = {.handshake_ns = {-1, -1}};
    if (!read_file(file->path, &s))
        f->failed = true;
    if (s.packets == 0 || s.last.ns < f->since.ns || s.first.ns > f->until.ns ||
        (!end_fits(f, &s.key, 0) && !end_fits(f, &s.key, 1)))
        return true;
    print(f, file, &s);
    f->found++;
    return !ferror(stdout);
}

static bool wrong(const char *option, const char *wants)
{
    (void)fprintf(stderr, "shardcapctl: -%s wants %s\n", option, wants);
    return false;
}

/* "192.0.2.0/24", "2001:db8::1" */
static bool set_host(struct find *f, const char *text)
{
    char addr[64];
    unsigned prefix = 0;
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    if (n >= sizeof addr)
        return wrong("host", "an address or ADDRESS/BITS");
    memcpy(addr, text, n);
    addr[n] = '\0';
    if (ipaddr_parse(addr, &f->host) != SC_OK)
        return wrong("host", "an address or ADDRESS/BITS");
    f->has_host = true;
    f->prefix = f->host.len * 8u;
    if (!slash)
        return true;
    size_t digits = strspn(slash + 1, "0123456789");
    for (size_t i = 1; i <= digits && i <= 3; i++)
        prefix = prefix * 10 + (unsigned)(slash[i] - '0');
    if (digits == 0 || digits > 3 || slash[1 + digits] != '\0' || prefix > f->prefix)
        return wrong("host", "no more bits than the address has");
    f->prefix = prefix;
    return true;
}

static bool set_time(const struct args *a, const char *name, struct wall fallback, struct wall *out)
{
    const struct clock *clock = clock_system();
    const char *text = args_get(a, name);
    *out = fallback;
    return !text || timearg_parse(text, clock->wall(clock->ctx), out) == SC_OK || wrong(name, TIMEARG_FORMS);
}

static int find(const struct args *a)
{
    struct find f = {.json = args_has(a, "json"), .details = args_has(a, "long"), .has_port = args_has(a, "port")};
    uint64_t port;
    const char *host = args_get(a, "host");
    if ((host && !set_host(&f, host)) || !args_number(a, "port", 0, UINT16_MAX, 0, &port) ||
        !set_time(a, "since", (struct wall){INT64_MIN}, &f.since) ||
        !set_time(a, "until", (struct wall){INT64_MAX}, &f.until))
        return EXIT_USAGE;
    f.port = (uint16_t)port;
    const char *datadir = tree_datadir(a->count ? a->operand[0] : NULL);
    int rc = tree_walk(datadir, take, &f);
    if (rc == SC_ESYS) {
        (void)fprintf(stderr, "shardcapctl: cannot read %s: %s\n", datadir, strerror(errno));
        return EXIT_FAILED;
    }
    if (rc == SC_ENOENT)
        (void)fprintf(stderr, "shardcapctl: no files of shardcap below %s: say where as an operand, or in DATADIR\n",
                      datadir);
    return f.found > 0 && !f.failed && rc == SC_OK && fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static const struct args_option options[] = {
    {"host", "ADDRESS[/BITS]", "one end has it"},
    {"port", "N", "one end has it; with -host, the same end"},
    {"since", "TIME", "packets at that time or later"},
    {"until", "TIME", "packets at that time or before\nA TIME is " TIMEARG_FORMS},
    {"long", NULL, "path, client, server, first packet, seconds, packets; with tabs between"},
    {"json", NULL, "the same as JSON, one object a line"},
    {NULL, NULL, NULL},
};

const struct command find_command = {
    .name = "find",
    .operands = "[DIR]",
    .most = 1,
    .summary = "paths of the files below DIR (default: DATADIR in the environment, else .) that match all\n"
               "that is asked for",
    .status = "0 found; 1 none, or a file or directory could not be read",
    .options = options,
    .run = find,
};
