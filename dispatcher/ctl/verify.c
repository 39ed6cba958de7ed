/* SPDX-License-Identifier: Apache-2.0
 * Walk, judge, command. Failure policy: what is wrong with one file is one line, and the walk goes on; what cannot be
 * read at all is an error, never a pass. Nothing is followed that is a symbolic link. */
#include "dispatcher/ctl/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dispatcher/ctl/client.h"
#include "dispatcher/ctl/jsontext.h"
#include "dispatcher/ctl/savefile.h"
#include "shared/proto.h"

#define LEVELS 3 /* YYYY/MM/DD */
#define JSON_MAX (1 << 20)
/* A dispatcher moves `delivered` after the fates of at most so many packets (PUBLISH_EVERY of dispatcher/capture). */
#define IN_HAND 64

#define ROUNDING 0.001 /* of the times in the JSON */

/* ---- files ---- */

struct walk {
    struct verify_files *v;
    double started, ended;
    FILE *out;
    char path[64];
};

static void bad(struct walk *w, const char *name, const char *why)
{
    w->v->bad++;
    (void)fprintf(w->out, "bad file %s%s: %s\n", w->path, name, why);
}

/* 1 = .pcap.gz, 0 = .pcap, -1 = neither. */
static int kind_of(const char *name)
{
    size_t n = strlen(name);
    if (name[0] == '.')
        return -1;
    if (n > 8 && strcmp(name + n - 8, ".pcap.gz") == 0)
        return 1;
    return n > 5 && strcmp(name + n - 5, ".pcap") == 0 ? 0 : -1;
}

static bool of_run(const struct walk *w, const struct stat *st)
{
    double changed = (double)st->st_ctim.tv_sec + (double)st->st_ctim.tv_nsec / 1e9;
    return changed >= w->started && (w->ended <= 0 || changed <= w->ended + ROUNDING);
}

static void take_file(struct walk *w, int dir, const char *name)
{
    struct savefile file;
    struct stat st;
    char why[SAVEFILE_ERROR];
    int gzip = kind_of(name);
    if (gzip < 0) {
        bad(w, name, "this is no name of ours");
        return;
    }
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        bad(w, name, fd < 0 ? strerror(errno) : "this is no plain file");
    } else if (savefile_read(fd, gzip != 0, &file, why) != SC_OK) {
        bad(w, name, why);
    } else if (!of_run(w, &st)) {
        w->v->others++;
    } else {
        w->v->files++;
        w->v->packets += file.packets;
        w->v->bytes += file.bytes;
        w->v->unkeyed += file.unkeyed;
    }
    if (fd >= 0)
        (void)close(fd);
}

static bool is_part_of_date(const char *name, int level)
{
    return strlen(name) == (level == 0 ? 4 : 2) && strspn(name, "0123456789") == strlen(name);
}

static int take_directory(struct walk *w, int fd, int level);

static int enter(struct walk *w, int dir, const char *name, int level)
{
    size_t n = strlen(w->path);
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        bad(w, name, strerror(errno));
        return SC_OK;
    }
    (void)snprintf(w->path + n, sizeof w->path - n, "%s/", name);
    int err = take_directory(w, fd, level + 1);
    w->path[n] = '\0';
    return err;
}

/* fd becomes ours. */
static int take_directory(struct walk *w, int fd, int level)
{
    DIR *d = fdopendir(fd);
    int err = SC_OK;
    if (!d) {
        (void)close(fd);
        return SC_ESYS;
    }
    errno = 0;
    for (struct dirent *e; !err && (e = readdir(d)) != NULL; errno = 0) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (level == LEVELS)
            take_file(w, dirfd(d), e->d_name);
        else if (is_part_of_date(e->d_name, level))
            err = enter(w, dirfd(d), e->d_name, level);
        else if (level > 0)
            bad(w, e->d_name, "this is no name of ours"); /* beside the years stands what others put there */
    }
    if (!err && errno != 0)
        err = SC_ESYS;
    (void)closedir(d);
    return err;
}

int verify_files(const char *datadir, double started, double ended, FILE *out, struct verify_files *v)
{
    struct walk w = {.v = v, .started = started, .ended = ended, .out = out};
    memset(v, 0, sizeof *v);
    int fd = open(datadir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd < 0 ? SC_ESYS : take_directory(&w, fd, 0);
    if (err)
        (void)fprintf(stderr, "shardcapctl: cannot read %s: %s\n", datadir, strerror(errno));
    return err;
}

/* ---- judgement ---- */

static uint64_t fates(const struct counts *c)
{
    return c->saved + c->buffered + c->in_ring + c->drops;
}

static bool at_rest(const struct counts *before, const struct counts *after)
{
    return before->delivered == after->delivered && before->saved == after->saved && after->buffered == 0 &&
           after->in_ring == 0;
}

static bool fails(FILE *out, const char *what)
{
    (void)fprintf(out, "WRONG: %s\n", what);
    return false;
}

/* Every packet has one fate. */
static bool judge_counters(const struct counts *before, const struct counts *after, FILE *out)
{
    if (at_rest(before, after))
        return fates(after) == after->delivered || fails(out, "the counters do not balance");
    uint64_t in_hand = IN_HAND * (after->dispatchers ? after->dispatchers : 1);
    bool fine = fates(before) <= before->delivered + in_hand && fates(after) <= after->delivered + in_hand;
    return (fine && fates(after) >= before->delivered) ||
           fails(out, "the counters are farther apart than packets can be in flight");
}

/* What is in the files is what was counted as saved. */
static bool judge_files(const struct counts *before, const struct counts *after, const struct verify_files *v,
                        FILE *out)
{
    uint64_t least = before->saved + before->salvaged_packets, most = after->saved + after->salvaged_packets;
    uint64_t files_least = before->files + before->salvaged_files, files_most = after->files + after->salvaged_files;
    if (!at_rest(before, after)) /* a file appears before it is counted */
        return (v->packets >= least && v->packets <= most + after->buffered) || after->removed_files > 0 ||
               fails(out, "files and counters are farther apart than packets can be in flight");
    if (after->removed_files > 0) /* nobody knows how many packets the removed ones held */
        return (v->packets <= most && v->files + after->removed_files >= files_least) ||
               fails(out, "the files that are left do not fit what was saved and removed");
    if (v->packets != most)
        return fails(out, v->packets < most ? "packets that were counted as saved are in no file"
                                            : "there are more packets in files than were counted as saved");
    if (v->files != files_most)
        return fails(out, "the number of files is not what was counted");
    return after->salvaged_files > 0 || v->bytes == after->bytes || fails(out, "the bytes are not what was counted");
}

bool verify_judge(const struct counts *before, const struct counts *after, const struct verify_files *v, FILE *out)
{
    (void)fprintf(out,
                  "files    %" PRIu64 " with %" PRIu64 " packets, %" PRIu64 " bytes (of other runs: %" PRIu64
                  "; bad: %" PRIu64 ")\n",
                  v->files, v->packets, v->bytes, v->others, v->bad);
    (void)fprintf(out,
                  "counters delivered %" PRIu64 " = saved %" PRIu64 " + buffered %" PRIu64 " + in ring %" PRIu64
                  " + lost %" PRIu64 " + limits %" PRIu64 "\n",
                  after->delivered, after->saved, after->buffered, after->in_ring, after->lost, after->limits);
    if (after->salvaged_files > 0)
        (void)fprintf(out, "salvaged %" PRIu64 " packets in %" PRIu64 " files of a predecessor\n",
                      after->salvaged_packets, after->salvaged_files);
    if (after->removed_files > 0)
        (void)fprintf(out, "removed  %" PRIu64 " files by -keep or -maxdisk\n", after->removed_files);
    if (v->unkeyed > 0)
        (void)fprintf(out, "unkeyed  %" PRIu64 " packets that their file's header length has cut\n", v->unkeyed);
    bool fine = judge_counters(before, after, out);
    fine = judge_files(before, after, v, out) && fine;
    fine = (v->bad == 0 || fails(out, "there are bad files")) && fine;
    if (fine)
        (void)fprintf(out, "ok: %s\n", at_rest(before, after) ? "exactly" : "as far as packets in flight allow");
    return fine;
}

/* ---- the command ---- */

static int complain(const char *what, const char *why)
{
    (void)fprintf(stderr, "shardcapctl: %s: %s\n", what, why);
    return SC_EFORMAT;
}

static int ask_live(struct client *c, struct counts *out)
{
    static const char request[] = "status";
    char error[CLIENT_ERROR];
    void *answer = NULL;
    size_t len = 0;
    int err = client_ask(c, request, sizeof request - 1, &answer, &len, error);
    if (!err)
        err = counts_parse(answer, len, out, error);
    if (err)
        (void)complain("status", error);
    bus_free(answer);
    return err;
}

static int read_summary(const char *path, struct counts *out)
{
    static char text[JSON_MAX];
    char error[COUNTS_ERROR];
    FILE *f = fopen(path, "re");
    if (!f)
        return complain(path, strerror(errno));
    size_t n = fread(text, 1, sizeof text, f);
    bool failed = ferror(f) != 0;
    (void)fclose(f);
    if (failed)
        return complain(path, "cannot be read");
    int err = counts_parse(text, n, out, error);
    return err ? complain(path, error) : SC_OK;
}

/* What a comparison is made of. */
struct comparison {
    struct counts before, after;
    struct verify_files files;
};

static bool compare_live(const char *rundir, const char *datadir, struct comparison *x, FILE *out)
{
    char error[CLIENT_ERROR];
    struct client *c = client_open(rundir, error);
    if (!c) {
        (void)complain("verify", error);
        return false;
    }
    bool asked = ask_live(c, &x->before) == SC_OK &&
                 verify_files(datadir, x->before.started, 0, out, &x->files) == SC_OK &&
                 ask_live(c, &x->after) == SC_OK;
    client_close(c);
    return asked && verify_judge(&x->before, &x->after, &x->files, out);
}

static bool compare_summary(const char *summary, const char *datadir, struct comparison *x, FILE *out)
{
    if (read_summary(summary, &x->before) != SC_OK)
        return false;
    x->after = x->before;
    return verify_files(datadir, x->before.started, x->before.ended, out, &x->files) == SC_OK &&
           verify_judge(&x->before, &x->after, &x->files, out);
}

static void print_json(bool fine, const struct comparison *x, const char *text, size_t len)
{
    (void)printf("{\"ok\":%s,\"files\":%" PRIu64 ",\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"bad\":%" PRIu64
                 ",\"delivered\":%" PRIu64 ",\"saved\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"limits\":%" PRIu64
                 ",\"text\":",
                 fine ? "true" : "false", x->files.files, x->files.packets, x->files.bytes, x->files.bad,
                 x->after.delivered, x->after.saved, x->after.lost, x->after.limits);
    jsontext_write(text, len, stdout);
    (void)printf("}\n");
}

static int verify(const struct args *a)
{
    const char *summary = args_get(a, "summary"), *datadir = a->operand[0];
    struct comparison x = {0};
    char *text = NULL;
    size_t len = 0;
    bool json = args_has(a, "json");
    FILE *out = json ? open_memstream(&text, &len) : stdout;
    if (!out)
        return complain("verify", "out of memory"), EXIT_FAILED;
    bool fine = summary ? compare_summary(summary, datadir, &x, out) : compare_live(a->rundir, datadir, &x, out);
    if (json && fclose(out) == 0)
        print_json(fine, &x, text, len);
    free(text);
    return fine && fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static const struct args_option options[] = {
    {"summary", "FILE", "against the counters of a run that has ended and wrote them by -summary FILE"},
    {"json", NULL, "both sides as one JSON object"},
    {NULL, NULL, NULL},
};

const struct command verify_command = {
    .name = "verify",
    .operands = "DATADIR",
    .least = 1,
    .most = 1,
    .summary = "read every file of a run, the one that is under way by default, and hold the packets\n"
               "in them against its counters",
    .status = "0 they agree; 1 they differ, a file is bad, or no answer",
    .options = options,
    .run = verify,
};
