/* SPDX-License-Identifier: Apache-2.0
 * Each message is flushed, so that what was received is in the file whatever ends us. Failure policy: what cannot be
 * written ends it. */
#include "dispatcher/ctl/record.h"

#include <errno.h>
#include <string.h>

#include "dispatcher/ctl/events.h"
#include "shared/proto.h"

struct record {
    const struct args *a;
    FILE *out;
    bool failed;
    uint64_t left; /* 0 = no limit */
};

static bool take(void *ctx, const struct event_message *m)
{
    struct record *r = ctx;
    if (!events_wanted(m, r->a->operand, r->a->count))
        return true;
    events_write(m, r->out);
    r->failed = fflush(r->out) != 0 || ferror(r->out);
    return !r->failed && !(r->left > 0 && --r->left == 0);
}

static int record(const struct args *a)
{
    char error[CLIENT_ERROR];
    const char *file = args_get(a, "o");
    bool to_stdout = !file || strcmp(file, "-") == 0;
    struct record r = {.a = a};
    if (!args_number(a, "count", 1, UINT64_MAX, 0, &r.left))
        return EXIT_USAGE;
    r.out = to_stdout ? stdout : fopen(file, "ae");
    if (!r.out) {
        (void)fprintf(stderr, "shardcapctl: cannot write %s: %s\n", file, strerror(errno));
        return EXIT_FAILED;
    }
    if (events_listen(a->rundir, take, &r, error) != SC_OK) {
        (void)fprintf(stderr, "shardcapctl: %s\n", error);
        r.failed = true;
    } else if (r.failed) {
        (void)fprintf(stderr, "shardcapctl: cannot write %s\n", to_stdout ? "the output" : file);
    }
    if (!to_stdout && fclose(r.out) != 0)
        r.failed = true;
    return r.failed ? EXIT_FAILED : EXIT_DONE;
}

static const struct args_option options[] = {
    {"o", "FILE", "append to FILE; '-', the default, is standard output"},
    {"count", "N", "end after N messages; default: go on until it is stopped"},
    {NULL, NULL, NULL},
};

const struct command record_command = {
    .name = "record",
    .operands = "[TOPIC ..]",
    .most = -1,
    .summary = "write what happens to a file, one JSON object a line with its time, for replay",
    .status = "0 N messages were written; 1 the file cannot be written",
    .options = options,
    .run = record,
};
