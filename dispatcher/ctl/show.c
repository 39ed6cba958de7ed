/* SPDX-License-Identifier: Apache-2.0
 * Reads the files of one connection and prints numbers, and a picture if asked for. Failure policy: a file that is cut
 * is shown as far as it goes, with status 1. */
#include "dispatcher/ctl/show.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "dispatcher/ctl/capfile.h"
#include "dispatcher/ctl/endpoint.h"
#include "dispatcher/ctl/flowstat.h"
#include "dispatcher/ctl/jsontext.h"
#include "dispatcher/ctl/named.h"
#include "dispatcher/ctl/plot.h"
#include "dispatcher/ctl/raster.h"
#include "dispatcher/ctl/svg.h"
#include "dispatcher/ctl/tree.h"
#include "shared/proto.h"

struct show {
    struct flowstat stat;
    struct plot *plot; /* NULL: none is wanted */
    char end[2][ENDPOINT_TEXT];
};

static bool complain(const char *what)
{
    (void)fprintf(stderr, "shardcapctl: %s\n", what);
    return false;
}

/* Adds all packets of a file. */
static bool read_file(struct show *s, const char *path)
{
    char error[CAPFILE_ERROR];
    struct capfile_packet p;
    struct flowstat_packet what;
    struct capfile *f = capfile_open(path, error);
    if (!f)
        return complain(error);
    int rc;
    while ((rc = capfile_next(f, &p, error)) == SC_OK) {
        flowstat_add(&s->stat, p.bytes, p.caplen, p.wire_len, capfile_linktype(f), p.ts, &what);
        if (s->plot && plot_add(s->plot, &what, p.ts) != SC_OK) {
            capfile_close(f);
            return complain("out of memory");
        }
    }
    capfile_close(f);
    return rc == SC_EOF || complain(error);
}

static void set_ends(struct show *s)
{
    const struct flowkey *key = &s->stat.key;
    for (unsigned i = 0; i < 2; i++) {
        unsigned at = (i == 0) == s->stat.client_low ? 0 : 1;
        struct endpoint e = {.port = key->port[at]};
        ipaddr_set(&e.addr, key->addr[at], key->addr_len);
        (void)endpoint_format(&e, s->end[i]);
    }
}

/* ---- for people ---- */

static double ms(int64_t ns)
{
    return (double)ns / (double)NS_PER_MS;
}

static void print_rtt(const char *to, const struct flowstat_side *side)
{
    const struct flowstat_rtt *r = &side->rtt;
    if (r->samples == 0)
        (void)printf("rtt to %s     no sample\n", to);
    else
        (void)printf("rtt to %s     min %.3f  mean %.3f  max %.3f ms  (%" PRIu64 " samples)\n", to, ms(r->min_ns),
                     ms(r->sum_ns / (int64_t)r->samples), ms(r->max_ns), r->samples);
}

static void print_side(const char *name, const struct flowstat_side *side)
{
    (void)printf("%-12s %10" PRIu64 " %14" PRIu64 " %14" PRIu64 " %8" PRIu64 " %8" PRIu64 "   SYN %" PRIu64
                 " FIN %" PRIu64 " RST %" PRIu64 "\n",
                 name, side->packets, side->wire_bytes, side->payload_bytes, side->retransmissions, side->out_of_order,
                 side->syn, side->fin, side->rst);
}

static void print(const struct show *s, const char *name)
{
    char first[CLOCK_TEXT], last[CLOCK_TEXT];
    const struct flowstat *st = &s->stat;
    clock_format(st->first, first);
    clock_format(st->last, last);
    (void)printf("%s\nclient        %s\nserver        %s\nfirst packet  %s\nlast packet   %s\nduration      %.6f s\n",
                 name, s->end[0], s->end[1], first, last, (double)(st->last.ns - st->first.ns) / (double)NS_PER_SEC);
    (void)printf("%-12s %10s %14s %14s %8s %8s\n", "from", "packets", "bytes", "payload", "again", "late");
    print_side("client", &st->side[0]);
    print_side("server", &st->side[1]);
    if (st->handshake_ns[0] >= 0)
        (void)printf("handshake     SYN to SYN-ACK %.3f ms\n", ms(st->handshake_ns[0]));
    if (st->handshake_ns[1] >= 0)
        (void)printf("handshake     SYN-ACK to ACK %.3f ms\n", ms(st->handshake_ns[1]));
    print_rtt("server", &st->side[0]);
    print_rtt("client", &st->side[1]);
    if (st->cut > 0)
        (void)printf("unread        %" PRIu64 " packets that are no TCP or are cut\n", st->cut);
    if (st->others > 0)
        (void)printf("others        %" PRIu64 " packets of other connections\n", st->others);
}

/* ---- for programs ---- */

static void json_side(const char *name, const struct flowstat_side *side)
{
    (void)printf(",\"%s\":{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"payload\":%" PRIu64
                 ",\"retransmissions\":%" PRIu64 ",\"out_of_order\":%" PRIu64 ",\"syn\":%" PRIu64 ",\"fin\":%" PRIu64
                 ",\"rst\":%" PRIu64 ",\"rtt\":",
                 name, side->packets, side->wire_bytes, side->payload_bytes, side->retransmissions, side->out_of_order,
                 side->syn, side->fin, side->rst);
    const struct flowstat_rtt *r = &side->rtt;
    if (r->samples == 0)
        (void)printf("null}");
    else
        (void)printf("{\"samples\":%" PRIu64 ",\"min_ns\":%" PRId64 ",\"mean_ns\":%" PRId64 ",\"max_ns\":%" PRId64 "}}",
                     r->samples, r->min_ns, r->sum_ns / (int64_t)r->samples, r->max_ns);
}

static void json_ns(const char *name, int64_t ns)
{
    if (ns < 0)
        (void)printf(",\"%s\":null", name);
    else
        (void)printf(",\"%s\":%" PRId64, name, ns);
}

static void print_json(const struct show *s, const char *name)
{
    char first[CLOCK_TEXT], last[CLOCK_TEXT];
    const struct flowstat *st = &s->stat;
    clock_format(st->first, first);
    clock_format(st->last, last);
    (void)printf("{\"name\":");
    jsontext_write(name, strlen(name), stdout);
    (void)printf(",\"client\":\"%s\",\"server\":\"%s\",\"first\":\"%s\",\"last\":\"%s\",\"duration_ns\":%" PRId64
                 ",\"packets\":%" PRIu64 ",\"unread\":%" PRIu64 ",\"others\":%" PRIu64,
                 s->end[0], s->end[1], first, last, st->last.ns - st->first.ns, st->packets, st->cut, st->others);
    json_ns("syn_to_synack_ns", st->handshake_ns[0]);
    json_ns("synack_to_ack_ns", st->handshake_ns[1]);
    json_side("from_client", &st->side[0]);
    json_side("from_server", &st->side[1]);
    (void)printf("}\n");
}

/* ---- the command ---- */

/* The title may hold only what a pen writes. */
static void title_of(const char *name, char out[TREE_UUID])
{
    const char *slash = strrchr(name, '/');
    (void)snprintf(out, TREE_UUID, "%.*s", TREE_UUID - 1, slash ? slash + 1 : name);
    for (char *p = out; *p; p++)
        if (*p < ' ' || *p > '~' || strchr("<>&\"'", *p))
            *p = '?';
}

static bool is_png(const char *file)
{
    size_t len = strlen(file);
    return len >= 4 && strcasecmp(file + len - 4, ".png") == 0;
}

static bool draw(const struct show *s, const char *name, const char *file)
{
    char title[TREE_UUID];
    const char *const ends[2] = {s->end[0], s->end[1]};
    title_of(name, title);
    FILE *out = fopen(file, "we");
    bool good = false;
    if (out) {
        struct pen *pen =
            is_png(file) ? raster_new(out, PLOT_WIDTH, PLOT_HEIGHT) : svg_new(out, PLOT_WIDTH, PLOT_HEIGHT, title);
        if (pen) {
            plot_draw(s->plot, title, ends, pen);
            good = pen->finish(pen) == SC_OK;
        }
        int why = errno;
        if (fclose(out) != 0 && good)
            good = false;
        else
            errno = why;
    }
    if (!good)
        (void)fprintf(stderr, "shardcapctl: cannot write %s: %s\n", file, strerror(errno));
    return good;
}

static int show(const struct args *a)
{
    const char *name = a->operand[0], *picture = args_get(a, "o");
    struct show s = {.stat = {.handshake_ns = {-1, -1}}, .plot = picture ? plot_new() : NULL};
    struct named files;
    bool good = named_find(&files, a->operand, 1, tree_datadir(args_get(a, "datadir"))) == SC_OK;
    if (picture && !s.plot)
        good = complain("out of memory");
    bool whole = !files.in_part;
    for (size_t i = 0; good && i < files.count; i++)
        whole = read_file(&s, files.paths[i]) && whole;
    if (good && s.stat.packets == 0)
        good = whole ? complain("there is no TCP packet in it") : false;
    if (good) {
        set_ends(&s);
        if (args_has(a, "json"))
            print_json(&s, name);
        else
            print(&s, name);
        good = fflush(stdout) == 0 && (!picture || draw(&s, name, picture));
    }
    plot_free(s.plot);
    named_free(&files);
    return good && whole ? EXIT_DONE : EXIT_FAILED;
}

static const struct args_option options[] = {
    {"datadir", "DIR", "where UUIDs are looked for; default: DATADIR in the environment, else ."},
    {"o", "FILE", "also draw a time-sequence plot: as PNG if FILE ends in .png, else as SVG"},
    {"json", NULL, "one JSON object"},
    {NULL, NULL, NULL},
};

const struct command show_command = {
    .name = "show",
    .operands = "FILE|UUID",
    .least = 1,
    .most = 1,
    .summary = "one connection: endpoints, duration, packets and bytes by direction, round-trip times,\n"
               "retransmissions; a UUID means all of its files",
    .status = "0 shown; 1 not found, cut, or no TCP in it",
    .options = options,
    .run = show,
};
