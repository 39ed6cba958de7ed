/* SPDX-License-Identifier: Apache-2.0
 * A merge of as many files as there are, each in its own order; within one time, in the order they were named. A file
 * is open only from its first packet's turn to its last, so that thousands of short ones can be named. Failure policy:
 * a file that is cut gives what it has, with status 1; files of two link types do not fit into one capture, which is
 * said before anything is written. */
#include "dispatcher/ctl/cat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dispatcher/ctl/capfile.h"
#include "dispatcher/ctl/named.h"
#include "dispatcher/ctl/tree.h"
#include "shared/proto.h"

struct source {
    const char *path;
    struct capfile *file;         /* NULL while it is not its turn */
    struct capfile_packet packet; /* the next one, of a file that is open */
    struct wall first;
    size_t number; /* in which order it was named */
};

struct merge {
    struct source *sources; /* count of them, by first packet */
    size_t count, next;     /* next: the first whose turn has not come */
    size_t *heap;           /* open of them, as places in sources; [0] has the earliest packet */
    size_t open;
    uint32_t snaplen;
    int linktype;
    bool failed;
    bool crowded; /* it has been said that too many are open at once */
};

static bool complain(const char *text)
{
    (void)fprintf(stderr, "shardcapctl: %s\n", text);
    return false;
}

/* ---- the heap ---- */

/* The source at a place of the heap. */
static struct source *at(const struct merge *m, size_t i)
{
    return &m->sources[m->heap[i]];
}

static bool earlier(const struct merge *m, size_t i, size_t j)
{
    const struct source *a = at(m, i), *b = at(m, j);
    if (a->packet.ts.ns != b->packet.ts.ns)
        return a->packet.ts.ns < b->packet.ts.ns;
    return a->number < b->number;
}

static void swap(struct merge *m, size_t i, size_t j)
{
    size_t other = m->heap[i];
    m->heap[i] = m->heap[j];
    m->heap[j] = other;
}

static void sink(struct merge *m, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < m->open; child++)
            if (earlier(m, child, least))
                least = child;
        if (least == i)
            return;
        swap(m, i, least);
        i = least;
    }
}

static void push(struct merge *m, size_t source)
{
    size_t i = m->open++;
    m->heap[i] = source;
    for (; i > 0 && earlier(m, i, (i - 1) / 2); i = (i - 1) / 2)
        swap(m, i, (i - 1) / 2);
}

/* ---- sources ---- */

/* Takes the source's next packet; false if there is none, and its file is closed. */
static bool advance(struct merge *m, struct source *s)
{
    char error[CAPFILE_ERROR];
    int rc = capfile_next(s->file, &s->packet, error);
    if (rc == SC_OK)
        return true;
    if (rc != SC_EOF)
        m->failed = !complain(error);
    capfile_close(s->file);
    s->file = NULL;
    return false;
}

static void close_source(struct source *s)
{
    capfile_close(s->file);
    s->file = NULL;
}

/* A pipe, "-" among them, gives its bytes once. */
static bool can_be_opened_again(const char *path)
{
    struct stat st;
    return strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Looks at a file: its link type, and its first packet. False if it cannot be part of it. */
static bool look(struct merge *m, const char *path)
{
    char error[CAPFILE_ERROR];
    struct source s = {.path = path, .file = capfile_open(path, error), .number = m->count};
    if (!s.file)
        return complain(error);
    int linktype = capfile_linktype(s.file);
    if (m->snaplen > 0 && linktype != m->linktype) {
        (void)snprintf(error, sizeof error, "%.300s is of another link type than the one before: a capture has one",
                       path);
        close_source(&s);
        return complain(error);
    }
    m->linktype = linktype;
    if (capfile_snaplen(s.file) > m->snaplen)
        m->snaplen = capfile_snaplen(s.file);
    if (!advance(m, &s))
        return true; /* it holds no packet */
    s.first = s.packet.ts;
    m->sources[m->count] = s;
    if (can_be_opened_again(path)) /* else its turn begins now */
        close_source(&m->sources[m->count]);
    m->count++;
    return true;
}

static int by_first(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->first.ns != y->first.ns)
        return x->first.ns < y->first.ns ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static bool look_at_all(struct merge *m, const struct named *files)
{
    m->sources = calloc(files->count, sizeof *m->sources);
    m->heap = calloc(files->count, sizeof *m->heap);
    if (!m->sources || !m->heap)
        return complain("out of memory");
    for (size_t i = 0; i < files->count; i++)
        if (!look(m, files->paths[i]))
            return false;
    qsort(m->sources, m->count, sizeof *m->sources, by_first);
    return true;
}

/* Every connection of a busy hour may overlap with every other. */
static void allow_many_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* A file whose turn has come cannot be opened. */
static void miss(struct merge *m, const char *error, int why)
{
    m->failed = true;
    if (why != EMFILE)
        (void)complain(error);
    else if (!m->crowded)
        (void)complain("more files overlap in time than may be open at once, so some are left out: raise ulimit -n");
    m->crowded = m->crowded || why == EMFILE;
}

/* Opens all whose first packet is not later than the earliest that waits. */
static void open_next(struct merge *m)
{
    char error[CAPFILE_ERROR];
    while (m->next < m->count && (m->open == 0 || m->sources[m->next].first.ns <= at(m, 0)->packet.ts.ns)) {
        size_t i = m->next++;
        struct source *s = &m->sources[i];
        bool waits = s->file != NULL; /* with its first packet */
        if (!waits)
            s->file = capfile_open(s->path, error);
        if (!s->file)
            miss(m, error, errno);
        else if (waits || advance(m, s))
            push(m, i);
    }
}

/* ---- the capture ---- */

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

static bool write_all(struct merge *m)
{
    if (!write_head(m))
        return false;
    for (open_next(m); m->open > 0; open_next(m)) {
        struct source *s = at(m, 0);
        if (!write_packet(&s->packet))
            return false;
        if (!advance(m, s))
            m->heap[0] = m->heap[--m->open];
        sink(m, 0);
    }
    return fflush(stdout) == 0;
}

static int cat(const struct args *a)
{
    struct merge m = {0};
    struct named files;
    if (isatty(STDOUT_FILENO)) {
        (void)complain("a capture is not for a terminal: cat .. | wireshark -k -i -");
        return EXIT_USAGE;
    }
    allow_many_files();
    bool good = named_find(&files, a->operand, a->count, tree_datadir(args_get(a, "datadir"))) == SC_OK &&
                look_at_all(&m, &files);
    if (good && !write_all(&m)) {
        (void)fprintf(stderr, "shardcapctl: cannot write: %s\n", strerror(errno));
        good = false;
    }
    for (size_t i = 0; i < m.count; i++)
        close_source(&m.sources[i]);
    free(m.sources);
    free(m.heap);
    named_free(&files);
    return good && !m.failed && !files.in_part ? EXIT_DONE : EXIT_FAILED;
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
