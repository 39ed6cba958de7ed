/* SPDX-License-Identifier: Apache-2.0
 * A pass: list the days, then read those that have changed or hold something that is old enough, a slice a step.
 * Failure policy: see retention.h. */
#include "shard/retention.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shard/encoder.h"
#include "shard/inflater.h"
#include "shared/frame.h"
#include "shared/uuid.h"

#define PCAP_HEAD 24u
#define LOOK_BYTES 512u  /* of a file: more than the deflated head of a savefile takes */
#define BLOCK_BYTES 512u /* unit of st_blocks, stat(2) */

static int open_directory(const struct sysops *sys, int at, const char *name)
{
    return sys->openat(sys->ctx, at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
}

static DIR *read_directory(const struct sysops *sys, int at, const char *name)
{
    int fd = open_directory(sys, at, name);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0)
        (void)sys->close(sys->ctx, fd);
    return d;
}

static int64_t ns_of(struct timespec t)
{
    return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

/* ---- days ---- */

static struct retention_day *find_day(struct retention *r, uint32_t yyyymmdd)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->day[i].yyyymmdd == yyyymmdd)
            return &r->day[i];
    return NULL;
}

static void see_day(struct retention *r, uint32_t yyyymmdd)
{
    struct retention_day *d = find_day(r, yyyymmdd);
    if (!d && r->count == r->room) {
        size_t room = r->room ? r->room * 2 : 64;
        struct retention_day *more = reallocarray(r->day, room, sizeof *more);
        if (!more)
            return;
        r->day = more;
        r->room = room;
    }
    if (!d) {
        d = &r->day[r->count++];
        *d = (struct retention_day){.yyyymmdd = yyyymmdd};
    }
    d->seen = true;
}

static bool is_number(const char *name, size_t digits)
{
    return strlen(name) == digits && strspn(name, "0123456789") == digits;
}

/* level 0: years, 1: months, 2: days. */
static void list_level(struct retention *r, const struct sysops *sys, int at, const char *name, unsigned level,
                       uint32_t date)
{
    DIR *d = read_directory(sys, at, name);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (!is_number(e->d_name, level == 0 ? 4 : 2))
            continue;
        uint32_t more = date * (level == 0 ? 10000u : 100u) + (uint32_t)strtoul(e->d_name, NULL, 10);
        if (level == 2)
            see_day(r, more);
        else
            list_level(r, sys, dirfd(d), e->d_name, level + 1, more); /* NOLINT(misc-no-recursion): two levels */
    }
    (void)closedir(d);
}

static int by_date(const void *a, const void *b)
{
    const struct retention_day *x = a, *y = b;
    return (x->yyyymmdd > y->yyyymmdd) - (x->yyyymmdd < y->yyyymmdd);
}

static void begin(struct retention *r, const struct sysops *sys, int datadir)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++)
        r->day[i].seen = false;
    list_level(r, sys, datadir, ".", 0, 0);
    for (size_t i = 0; i < r->count; i++)
        if (r->day[i].seen)
            r->day[kept++] = r->day[i];
    r->count = kept;
    if (kept > 0)
        qsort(r->day, kept, sizeof *r->day, by_date);
    r->at = 0;
    r->pass = true;
}

/* ---- files ---- */

/* <uuid>[.n].pcap[.gz] */
static bool has_our_name(const char *name, bool *gzip_r)
{
    size_t n = strlen(name), stem = n;
    *gzip_r = n > 8 && strcmp(name + n - 8, ".pcap.gz") == 0;
    if (!*gzip_r && !(n > 5 && strcmp(name + n - 5, ".pcap") == 0))
        return false;
    stem -= *gzip_r ? 8 : 5;
    if (stem > UUID_MAX) { /* only a suffix makes it longer than a UUID */
        while (stem > 0 && name[stem - 1] >= '0' && name[stem - 1] <= '9')
            stem--;
        stem -= stem > 0 && name[stem - 1] == '.';
    }
    return uuid_valid(name, stem);
}

/* The head of a savefile as saver.c writes it: little endian, nanoseconds, a snaplen that is a header's length. */
static bool is_our_head(const uint8_t p[PCAP_HEAD])
{
    static const uint8_t begin[16] = {0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4};
    uint32_t snaplen = (uint32_t)p[16] | (uint32_t)p[17] << 8 | (uint32_t)p[18] << 16 | (uint32_t)p[19] << 24;
    return memcmp(p, begin, sizeof begin) == 0 && snaplen > 0 && snaplen <= FRAME_MAX_CAPLEN;
}

static bool inflates_to_our_head(const uint8_t *in, size_t len)
{
    uint8_t want[GZIP_HEAD], head[PCAP_HEAD];
    size_t at = encoder_gzip_head(GZIP_ZLIB, want), made = 0;
    if (len <= at || memcmp(in, want, at) != 0)
        return false;
    struct inflater *z = inflater_new();
    while (z && made < sizeof head && at < len) {
        size_t before = at + made;
        if (inflater_step(z, in, len, &at, head, sizeof head, &made) < 0 || at + made == before)
            break;
    }
    inflater_free(z);
    return made == sizeof head && is_our_head(head);
}

/* Does it begin as what we write? Only asked of what is to be removed. */
static bool is_our_file(const struct sysops *sys, int dir, const char *name, bool gzip)
{
    uint8_t in[LOOK_BYTES];
    int fd = sys->openat(sys->ctx, dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    ssize_t n = pread(fd, in, sizeof in, 0);
    (void)sys->close(sys->ctx, fd);
    if (gzip)
        return n > 0 && inflates_to_our_head(in, (size_t)n);
    return n >= (ssize_t)PCAP_HEAD && is_our_head(in);
}

static bool is_due(const struct retention *r, const struct config *c, int64_t age_ns)
{
    return age_ns >= RETENTION_YOUNG_NS && c->keep_ns > 0 && (age_ns > c->keep_ns || r->excess > 0);
}

static void look_at(struct retention *r, const struct sysops *sys, const struct config *c, bool remove, struct wall now,
                    const struct retention_spared *spared, const char *name, struct retention_step *out)
{
    struct stat st;
    bool gzip, due;
    if (!has_our_name(name, &gzip) || sys->fstatat(sys->ctx, dirfd(r->dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(st.st_mode))
        return;
    uint64_t bytes = (uint64_t)st.st_blocks * BLOCK_BYTES;
    int64_t written = ns_of(st.st_mtim);
    due = remove && is_due(r, c, now.ns - written) && !(written >= spared->from.ns && written <= spared->to.ns);
    bool ours = !due || is_our_file(sys, dirfd(r->dir), name, gzip);
    if (due && ours && sys->unlinkat(sys->ctx, dirfd(r->dir), name, 0) == 0) {
        out->files++;
        out->bytes += bytes;
        r->excess -= bytes < r->excess ? bytes : r->excess;
        return;
    }
    r->bytes += bytes;
    if (ours)
        r->oldest_ns = written < r->oldest_ns ? written : r->oldest_ns;
}

/* Year and month of the day, as the listing came there: through no symbolic link that has been put in their place. */
static int open_month(const struct sysops *sys, int datadir, uint32_t yyyymmdd)
{
    char name[16];
    snprintf(name, sizeof name, "%04u", yyyymmdd / 10000);
    int year = open_directory(sys, datadir, name);
    if (year < 0)
        return -1;
    snprintf(name, sizeof name, "%02u", yyyymmdd / 100 % 100);
    int month = open_directory(sys, year, name);
    (void)sys->close(sys->ctx, year);
    return month;
}

static void open_day_at(struct retention *r, const struct sysops *sys, int month, const struct config *c,
                        struct wall now)
{
    const struct retention_day *d = &r->day[r->at];
    struct stat st;
    char name[16];
    snprintf(name, sizeof name, "%02u", d->yyyymmdd % 100);
    if (sys->fstatat(sys->ctx, month, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    bool changed = !d->known || ns_of(st.st_mtim) != d->changed_ns;
    if (!changed && !(d->oldest_ns < now.ns && is_due(r, c, now.ns - d->oldest_ns)))
        return;
    r->changed_ns = ns_of(st.st_mtim); /* before the reading: what comes in between shows in the next pass */
    r->dir = read_directory(sys, month, name);
    r->bytes = 0;
    r->oldest_ns = INT64_MAX;
}

/* Opens the day in work if it has to be read. */
static bool open_day(struct retention *r, const struct sysops *sys, int datadir, const struct config *c,
                     struct wall now)
{
    int month = open_month(sys, datadir, r->day[r->at].yyyymmdd);
    if (month < 0)
        return false;
    open_day_at(r, sys, month, c, now);
    (void)sys->close(sys->ctx, month);
    return r->dir != NULL;
}

static void close_day(struct retention *r)
{
    struct retention_day *d = &r->day[r->at];
    (void)closedir(r->dir);
    r->dir = NULL;
    d->known = true;
    d->changed_ns = r->changed_ns;
    d->bytes = r->bytes;
    d->oldest_ns = r->oldest_ns;
}

static void end(struct retention *r, const struct config *c, struct retention_step *out)
{
    out->done = true;
    for (size_t i = 0; i < r->count; i++)
        out->used += r->day[i].bytes;
    r->excess = c->maxdisk > 0 && out->used > c->maxdisk ? out->used - c->maxdisk : 0;
    r->pass = false;
}

void retention_step(struct retention *r, const struct sysops *sys, int datadir, const struct config *config,
                    bool remove, struct wall now, const struct retention_spared *spared, struct retention_step *out)
{
    memset(out, 0, sizeof *out);
    if (!r->pass)
        begin(r, sys, datadir);
    for (unsigned n = 0; n < RETENTION_ENTRIES; n++) {
        if (r->at == r->count) {
            end(r, config, out);
            return;
        }
        if (!r->dir && !open_day(r, sys, datadir, config, now)) {
            r->at++;
            continue;
        }
        struct dirent *e = readdir(r->dir);
        if (e) {
            look_at(r, sys, config, remove, now, spared, e->d_name, out);
            continue;
        }
        close_day(r);
        r->at++;
    }
}

void retention_free(struct retention *r)
{
    if (r->dir)
        (void)closedir(r->dir);
    free(r->day);
    memset(r, 0, sizeof *r);
}
