/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: no connection or no answer ends the command, unless it is to wait; a refused event does not. */
#include "dispatcher/ctl/inject.h"

#include <stdio.h>
#include <string.h>

#include "dispatcher/ctl/batch.h"
#include "dispatcher/ctl/frompcap.h"
#include "dispatcher/ctl/input.h"
#include "dispatcher/ctl/sender.h"
#include "shared/flowevent.h"
#include "shared/proto.h"

/* Instead of sending: the lines as they are. */
static bool show(void *ctx, const char *request, size_t len)
{
    static const char topic[] = "uuid.open ";
    size_t skip = len >= sizeof topic - 1 && memcmp(request, topic, sizeof topic - 1) == 0 ? sizeof topic - 1 : 0;
    struct sender *s = ctx;
    s->failed = fwrite(request + skip, 1, len - skip, stdout) != len - skip || fflush(stdout) != 0;
    return !s->failed;
}

static bool on_bytes(void *ctx, const char *bytes, size_t n)
{
    return batch_feed(ctx, bytes, n);
}

static bool pump_lines(struct batch *b, const char *file)
{
    bool good = input_read(file, on_bytes, b);
    (void)batch_end(b);
    return good;
}

static bool pump_flows(struct batch *b, const char *file, const char *prefix)
{
    char error[CAPFILE_ERROR];
    struct capfile *s = capfile_open(file, error);
    bool good = s && frompcap_read(s, prefix, on_bytes, b, error) == SC_OK;
    if (!good)
        (void)fprintf(stderr, "shardcapctl: %s\n", error);
    capfile_close(s);
    (void)batch_end(b);
    return good;
}

static int inject(const struct args *a)
{
    const char *file = args_get(a, "f"), *pcap = args_get(a, "from-pcap"), *prefix = args_get(a, "prefix");
    struct sender s = {a->rundir, args_has(a, "wait"), stdout, .json = args_has(a, "json")};
    uint64_t rate;
    if (!args_number(a, "rate", 1, 1000000, 0, &rate))
        return EXIT_USAGE;
    if (file && pcap) {
        (void)fprintf(stderr, "shardcapctl: one of -f and -from-pcap\n");
        return EXIT_USAGE;
    }
    struct batch *b = batch_new(args_has(a, "dry-run") ? show : sender_send, &s, rate);
    if (!b) {
        (void)fprintf(stderr, "shardcapctl: out of memory\n");
        return EXIT_FAILED;
    }
    bool good = pcap ? pump_flows(b, pcap, prefix ? prefix : FROMPCAP_PREFIX) : pump_lines(b, file ? file : "-");
    if (batch_too_long(b) > 0) {
        (void)fprintf(stderr, "shardcapctl: %lu lines above %d bytes were not sent\n", batch_too_long(b),
                      FLOWEVENT_LINE_MAX);
        good = false;
    }
    batch_free(b);
    sender_close(&s);
    return good && !s.failed && s.refused == 0 ? EXIT_DONE : EXIT_FAILED;
}

static const struct args_option options[] = {
    {"f", "FILE", "FlowEvent lines, one JSON object a line; '-', the default, is standard input"},
    {"from-pcap", "FILE", "instead: one event for each flow of a capture file (pcap, pcapng, also .gz)"},
    {"prefix", "TEXT",
     "with -from-pcap: UUIDs are TEXT_ and 16 hex digits, a hash of addresses, ports and first\n"
     "time (default: " FROMPCAP_PREFIX ")"},
    {"rate", "N", "at most N events a second; default: as fast as they are taken"},
    {"wait", NULL,
     "wait for a shardcap that is not there, and through its restarts, until every event has\n"
     "its answer; what had none is sent again"},
    {"dry-run", NULL, "send nothing: print the lines, as -uuid.events of shardcap takes them"},
    {"json", NULL, "answers as JSON, one object a line"},
    {NULL, NULL, NULL},
};

const struct command inject_command = {
    .name = "inject",
    .operands = "",
    .summary = "send FlowEvent lines to name flows; prints one answer per line",
    .status = "0 all taken; 1 an event was refused, had no answer, or the input could not be read",
    .options = options,
    .run = inject,
};
