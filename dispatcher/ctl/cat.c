/* SPDX-License-Identifier: Apache-2.0
 * A merge of as many files as there are, each in its own order; within one time, in the order they were named.
 * Failure policy: a file that is cut gives what it has, with status 1; files of two link types do not fit into one
 * capture, which is said before anything is written. */
#include "dispatcher/ctl/cat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/ctl/capfile.h"
#include "dispatcher/ctl/named.h"
#include "dispatcher/ctl/tree.h"
#include "shared/proto.h"

struct source {
    struct capfile *file;
    struct capfile_packet packet; /* the next one; valid while alive */
    size_t number;
};

struct merge {
    struct source *heap; /* count of them; [0] has the earliest packet */
    size_t count;
    uint32_t snaplen;
    int linktype;
    bool failed;
};

static bool earlier(const struct source *a, const struct source *b)
{
    if (a->packet.ts.ns != b->packet.ts.ns)
        return a->packet.ts.ns < b->packet.ts.ns;
    return a->number < b->number;
}

static void sink(struct merge *m, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < m->count; child++)
            if (earlier(&m->heap[child], &m->heap[least]))
                least = child;
        if (least == i)
            return;
        struct source other = m->heap[i];
        m->heap[i] = m->heap[least];
        m->heap[least] = other;
        i = least;
    }
}

/* Takes the source's next packet; false if there is none, and its file is closed. */
static bool advance(struct merge *m, struct source *s)
{
    char error[CAPFILE_ERROR];
    int rc = capfile_next(s->file, &s->packet, error);
    if (rc == SC_OK)
        return true;
    if (rc != SC_EOF) {
        (void)fprintf(stderr, "shardcapctl: %s\n", error);
        m->failed = true;
    }
    capfile_close(s->file);
    s->file = NULL;
    return false;
}

/* Opens all files. Returns false with a line on stderr if one cannot be part of it. */
static bool open_all(struct merge *m, const struct named *files)
{
    char error[CAPFILE_ERROR];
    m->heap = calloc(files->count, sizeof *m->heap);
    if (!m->heap) {
        (void)fprintf(stderr, "shardcapctl: out of memory\n");
        return false;
    }
    for (size_t i = 0; i < files->count; i++) {
        struct source s = {.file = capfile_open(files->paths[i], error), .number = i};
        if (!s.file) {
            (void)fprintf(stderr, "shardcapctl: %s\n", error);
            return false;
        }
        if (i > 0 && capfile_linktype(s.file) != m->linktype) {
            (void)fprintf(stderr, "shardcapctl: %s is of another link type than %s: one capture has one\n",
                          files->paths[i], files->paths[0]);
            capfile_close(s.file);
            return false;
        }
        m->linktype = capfile_linktype(s.file);
        if (capfile_snaplen(s.file) > m->snaplen)
            m->snaplen = capfile_snaplen(s.file);
        if (advance(m, &s))
            m->heap[m->count++] = s;
    }
    for (size_t i = m->count; i-- > 0;)
        sink(m, i);
    return true;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static bool write_head(const struct merge *m)
{
    uint8_t head[24] = {0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0}; /* nanoseconds, 2.4 */
    put32(head + 16, m->snaplen);
    put32(head + 20, (uint32_t)m->linktype);
    return fwrite(head, 1, sizeof head, stdout) == sizeof head;
}

static bool write_packet(const struct capfile_packet *p)
{
    uint8_t head[16];
    int64_t sec = p->ts.ns / NS_PER_SEC;
    put32(head, (uint32_t)sec);
    put32(head + 4, (uint32_t)(p->ts.ns % NS_PER_SEC));
    put32(head + 8, p->caplen);
    put32(head + 12, p->wire_len);
    return fwrite(head, 1, sizeof head, stdout) == sizeof head && fwrite(p->bytes, 1, p->caplen, stdout) == p->caplen;
}

static int cat(const struct args *a)
{
    struct merge m = {0};
    struct named files;
    if (isatty(STDOUT_FILENO)) {
        (void)fprintf(stderr, "shardcapctl: a capture is not for a terminal: cat .. | wireshark -k -i -\n");
        return EXIT_USAGE;
    }
    bool good =
        named_find(&files, a->operand, a->count, tree_datadir(args_get(a, "datadir"))) == SC_OK && open_all(&m, &files);
    bool written = good && write_head(&m);
    while (written && m.count > 0) {
        written = write_packet(&m.heap[0].packet);
        if (!advance(&m, &m.heap[0]))
            m.heap[0] = m.heap[--m.count];
        sink(&m, 0);
    }
    if (good && (!written || fflush(stdout) != 0)) {
        (void)fprintf(stderr, "shardcapctl: cannot write: %s\n", strerror(errno));
        good = false;
    }
    for (size_t i = 0; i < m.count; i++)
        capfile_close(m.heap[i].file);
    free(m.heap);
    named_free(&files);
    return good && !m.failed ? EXIT_DONE : EXIT_FAILED;
}

static const struct args_option options[] = {
    {"datadir", "DIR", "where UUIDs are looked for; default: DATADIR in the environment, else ."},
    {NULL, NULL, NULL},
};

const struct command cat_command = {
    .name = "cat",
    .operands = "FILE|UUID ..",
    .least = 1,
    .most = -1,
    .summary = "all packets of the files in the order of time, as one capture on standard output:\n"
               "shardcapctl cat UUID .. | wireshark -k -i -",
    .status = "0 all of it is written; 1 not found, cut, or of different link types",
    .options = options,
    .run = cat,
};
