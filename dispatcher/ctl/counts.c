/* SPDX-License-Identifier: Apache-2.0
 * A walk over the JSON that our own programs write, and no more: jansson is the wire format's (shared/flowevent.c).
 * Failure policy: what does not parse to its last byte, and a number that is missing, is an error by name. */
#include "dispatcher/ctl/counts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 8
#define NAME_MAX_LEN 32
#define NUMBER_MAX_LEN 40

struct walk {
    const char *p, *end;
    struct counts *out;
    uint32_t seen; /* bit = index into fields */
    unsigned depth;
    char name[DEPTH_MAX][NAME_MAX_LEN]; /* the keys that lead here; "" inside an array */
};

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
#define FIELDS (sizeof fields / sizeof *fields)

static bool is_at(const struct walk *w, const char *object, const char *name)
{
    if (w->depth != (object ? 2u : 1u))
        return false;
    return (!object || strcmp(w->name[0], object) == 0) && strcmp(w->name[w->depth - 1], name) == 0;
}

static void take_number(struct walk *w, const char *text)
{
    if (is_at(w, NULL, "started"))
        w->out->started = strtod(text, NULL);
    if (is_at(w, NULL, "ended"))
        w->out->ended = strtod(text, NULL);
    if (strspn(text, "0123456789") != strlen(text))
        return;
    uint64_t n = strtoull(text, NULL, 10);
    if (w->depth == 2 && strcmp(w->name[0], "drops") == 0)
        w->out->drops += n;
    for (size_t i = 0; i < FIELDS; i++) {
        if (!is_at(w, fields[i].object, fields[i].name))
            continue;
        memcpy((char *)w->out + fields[i].offset, &n, sizeof n);
        w->seen |= 1u << i;
    }
}

/* ---- JSON ---- */

static char peek(struct walk *w)
{
    while (w->p < w->end && (*w->p == ' ' || *w->p == '\n' || *w->p == '\t' || *w->p == '\r'))
        w->p++;
    return w->p < w->end ? *w->p : '\0';
}

static bool take(struct walk *w, char c)
{
    if (peek(w) != c)
        return false;
    w->p++;
    return true;
}

/* Copies at most size - 1 bytes; escapes stay as they are: none of our keys has one. */
static bool string(struct walk *w, char *out, size_t size)
{
    size_t n = 0;
    if (!take(w, '"'))
        return false;
    for (; w->p < w->end && *w->p != '"'; w->p++) {
        if (*w->p == '\\' && w->p + 1 < w->end)
            w->p++;
        if (n + 1 < size)
            out[n++] = *w->p;
    }
    out[n] = '\0';
    return w->p < w->end && *w->p++ == '"';
}

/* A number, true, false or null. */
static bool word(struct walk *w)
{
    char text[NUMBER_MAX_LEN];
    size_t n = 0;
    (void)peek(w);
    while (w->p < w->end && n + 1 < sizeof text && *w->p && strchr("+-.0123456789aeflnrstu", *w->p))
        text[n++] = *w->p++;
    text[n] = '\0';
    if (n > 0 && text[0] >= '0' && text[0] <= '9')
        take_number(w, text);
    return n > 0;
}

static bool value(struct walk *w);

static bool members(struct walk *w, char close)
{
    w->p++;
    if (take(w, close))
        return true;
    if (w->depth == DEPTH_MAX)
        return false;
    w->depth++;
    bool fine = true;
    do {
        char *name = w->name[w->depth - 1];
        name[0] = '\0';
        if (close == '}')
            fine = string(w, name, NAME_MAX_LEN) && take(w, ':');
        fine = fine && value(w); /* NOLINT(misc-no-recursion): DEPTH_MAX */
    } while (fine && take(w, ','));
    w->depth--;
    return fine && take(w, close);
}

static bool value(struct walk *w)
{
    char ignored[2];
    switch (peek(w)) {
    case '{':
        return members(w, '}');
    case '[':
        return members(w, ']');
    case '"':
        return string(w, ignored, sizeof ignored);
    default:
        return word(w);
    }
}

int counts_parse(const char *json, size_t len, struct counts *out, char error[COUNTS_ERROR])
{
    struct walk w = {.p = json, .end = json + len, .out = out};
    memset(out, 0, sizeof *out);
    if (peek(&w) != '{' || !value(&w) || peek(&w) != '\0') {
        (void)snprintf(error, COUNTS_ERROR, "it is not the JSON that shardcap writes");
        return SC_EFORMAT;
    }
    for (size_t i = 0; i < FIELDS; i++) {
        const struct field *f = &fields[i];
        if (w.seen & 1u << i || f->optional)
            continue;
        (void)snprintf(error, COUNTS_ERROR, "no number %s%s%s in it: is it of another version?",
                       f->object ? f->object : "", f->object ? "." : "", f->name);
        return SC_EFORMAT;
    }
    if (out->started <= 0) {
        (void)snprintf(error, COUNTS_ERROR, "no time `started` in it: is it of another version?");
        return SC_EFORMAT;
    }
    out->limits = out->drops - out->lost;
    return SC_OK;
}
