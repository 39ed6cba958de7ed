/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: what is not JSON to its last byte, and a number that is missing, is an error by name. */
#include "dispatcher/ctl/counts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/ctl/jsontext.h"

#define NUMBER_MAX_LEN 40

struct field {
    const char *object; /* NULL = top level */
    const char *name;
    size_t offset;
    bool optional; /* a summary, written at rest, has no need of it */
};

#define FIELD(o, n, f, opt)                                                                                            \
    {                                                                                                                  \
        (o), (n), offsetof(struct counts, f), (opt)                                                                    \
    }
static const struct field fields[] = {
    FIELD(NULL, "dispatchers", dispatchers, true),
    FIELD("packets", "delivered", delivered, false),
    FIELD("packets", "saved", saved, false),
    FIELD("packets", "buffered", buffered, true),
    FIELD("packets", "in_ring", in_ring, true),
    FIELD("packets", "lost", lost, false),
    FIELD(NULL, "files", files, false),
    FIELD(NULL, "bytes", bytes, false),
    FIELD("salvaged", "files", salvaged_files, false),
    FIELD("salvaged", "packets", salvaged_packets, false),
    FIELD(NULL, "removed", removed_files, false),
};

static int missing(const char *object, const char *name, char error[COUNTS_ERROR])
{
    (void)snprintf(error, COUNTS_ERROR, "no number %s%s%s in it: is it of another version?", object ? object : "",
                   object ? "." : "", name);
    return SC_EFORMAT;
}

/* One number into its place in out. */
static int take_field(struct jsontext root, const struct field *f, struct counts *out, char error[COUNTS_ERROR])
{
    struct jsontext in = root, value;
    uint64_t n = 0;
    bool there = (!f->object || jsontext_member(root, f->object, &in)) && jsontext_member(in, f->name, &value) &&
                 jsontext_u64(value, &n);
    if (!there && !f->optional)
        return missing(f->object, f->name, error);
    memcpy((char *)out + f->offset, &n, sizeof n);
    return SC_OK;
}

static uint64_t sum_of_drops(struct jsontext root)
{
    struct jsontext drops, value;
    uint64_t sum = 0, n;
    if (jsontext_member(root, "drops", &drops))
        while (jsontext_next(&drops, NULL, &value))
            if (jsontext_u64(value, &n))
                sum += n;
    return sum;
}

/* Unix seconds with a fraction; 0 if there are none. */
static double seconds_of(struct jsontext root, const char *name)
{
    struct jsontext value;
    char text[NUMBER_MAX_LEN];
    if (!jsontext_member(root, name, &value) || (size_t)(value.end - value.at) >= sizeof text)
        return 0;
    (void)snprintf(text, sizeof text, "%.*s", (int)(value.end - value.at), value.at);
    return strtod(text, NULL);
}

int counts_parse(const char *json, size_t len, struct counts *out, char error[COUNTS_ERROR])
{
    struct jsontext root;
    memset(out, 0, sizeof *out);
    if (jsontext_open(&root, json, len) != SC_OK || *root.at != '{') {
        (void)snprintf(error, COUNTS_ERROR, "it is not the JSON that shardcap writes");
        return SC_EFORMAT;
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        int err = take_field(root, &fields[i], out, error);
        if (err)
            return err;
    }
    out->drops = sum_of_drops(root);
    out->started = seconds_of(root, "started");
    out->ended = seconds_of(root, "ended");
    if (out->started <= 0) {
        (void)snprintf(error, COUNTS_ERROR, "no time `started` in it: is it of another version?");
        return SC_EFORMAT;
    }
    out->limits = out->drops - out->lost;
    return SC_OK;
}
