/* SPDX-License-Identifier: Apache-2.0
 * A disk that gets full pauses new flows and lets them in again; what is published is measured, and removed only where
 * -keep says so. */
#include <time.h>

#include "rig.h"
#include "shard/retention.h"

#define SEC NS_PER_SEC
#define HOUR (3600 * SEC)

static struct rig *live_rig(void)
{
    struct rig *r = rig_new();
    r->config.savefile_count = 0;
    return r;
}

static void turn(struct rig *r)
{
    r->mono += SEC;
    rig_run(r);
    rig_run(r);
}

static uint64_t drops(const struct rig *r, enum cause c)
{
    return counter_get(&r->page->c.drops[c]);
}

static void new_flows_pause(void **state)
{
    (void)state;
    for (int bytes = 0; bytes < 2; bytes++) {
        struct rig *r = live_rig();
        if (bytes)
            r->config.mindiskfree = 50000;
        else
            r->config.mindiskfree_percent = 5;
        rig_start(r);
        turn(r);
        assert_int_equal(counter_get(&r->page->c.disk_total), 1000000);
        rig_send(r, &(struct rig_packet){.flow = 1, .at = 1});
        turn(r);
        r->free_blocks = 49;
        turn(r);
        assert_int_equal(counter_get(&r->page->c.disk_paused), 1);
        assert_int_equal(counter_get(&r->page->c.disk_free), 49000);
        rig_send(r, &(struct rig_packet){.flow = 2, .at = 2}); /* not let in */
        rig_send(r, &(struct rig_packet){.flow = 1, .at = 3}); /* goes on */
        turn(r);
        assert_int_equal(drops(r, CAUSE_DISK_FULL), 1);
        r->free_blocks = 52; /* hovers */
        turn(r);
        assert_int_equal(counter_get(&r->page->c.disk_paused), 1);
        r->free_blocks = 54;
        turn(r);
        assert_int_equal(counter_get(&r->page->c.disk_paused), 0);
        r->free_blocks = 50;
        turn(r);
        assert_int_equal(counter_get(&r->page->c.disk_paused), 0);
        rig_send(r, &(struct rig_packet){.flow = 2, .at = 4});
        rig_end(r, 5);
        assert_int_equal(counter_get(&r->page->c.published), 3);
        assert_int_equal(rig_sum_drops(r), 1);
        rig_check_balance(r);
        rig_free(r);
    }
}

/* All blocks are free, but hardly another file can be made. A size speaks of bytes: there the last file counts. */
static void new_flows_pause_for_want_of_files(void **state)
{
    (void)state;
    for (int bytes = 0; bytes < 2; bytes++) {
        struct rig *r = live_rig();
        if (bytes)
            r->config.mindiskfree = 50000;
        else
            r->config.mindiskfree_percent = 5;
        rig_start(r);
        r->free_files = bytes ? 1 : 50;
        turn(r);
        assert_int_equal(counter_get(&r->page->c.disk_paused), 0);
        r->free_files = bytes ? 0 : 49;
        turn(r);
        assert_int_equal(counter_get(&r->page->c.disk_paused), 1);
        r->free_files = bytes ? 1 : 54;
        turn(r);
        assert_int_equal(counter_get(&r->page->c.disk_paused), 0);
        rig_end(r, 5);
        rig_free(r);
    }
}

/* What can never be free pauses for good, and nothing at all pauses nothing. */
static void limits_at_the_ends(void **state)
{
    (void)state;
    struct rig *r = live_rig();
    r->config.mindiskfree = 0;
    r->free_blocks = r->free_files = 0;
    rig_start(r);
    turn(r);
    assert_int_equal(counter_get(&r->page->c.disk_paused), 0);
    r->config.mindiskfree_percent = 100;
    r->free_blocks = r->free_files = 999;
    turn(r);
    assert_int_equal(counter_get(&r->page->c.disk_paused), 1);
    r->free_blocks = r->free_files = 1000;
    turn(r);
    assert_int_equal(counter_get(&r->page->c.disk_paused), 0);
    rig_end(r, 5);
    rig_free(r);
}

static void savefiles_do_not_pause(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->config.mindiskfree_percent = 5;
    r->free_blocks = 0;
    rig_start(r);
    turn(r);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 1});
    rig_end(r, 5);
    assert_int_equal(counter_get(&r->page->c.published), 1);
    rig_free(r);
}

/* A savefile's head as ours is, and the same deflated (one stored block), in 4096 bytes. */
static void begin(char block[4096], bool gzip)
{
    static const uint8_t head[24] = {0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 94, 0, 0, 0, 1};
    static const uint8_t front[15] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0, 24, 0, 0xe7, 0xff};
    memset(block, 1, 4096);
    memcpy(block, front, gzip ? sizeof front : 0);
    memcpy(block + (gzip ? sizeof front : 0), head, sizeof head);
}

/* A file of 4096 bytes, written so long before RIG_T0. */
static void put_bytes(const struct rig *r, const char *path, int64_t age_ns, const char block[4096])
{
    char full[256];
    snprintf(full, sizeof full, "%s/data/%s", r->root, path);
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, block, 4096), 4096);
    int64_t t = RIG_T0 - age_ns;
    const struct timespec when[2] = {{t / SEC, t % SEC}, {t / SEC, t % SEC}};
    assert_int_equal(futimens(fd, when), 0);
    close(fd);
}

/* A file of ours. */
static void put(const struct rig *r, const char *path, int64_t age_ns)
{
    char block[4096];
    begin(block, strstr(path, ".gz") != NULL);
    put_bytes(r, path, age_ns, block);
}

static void make(const struct rig *r, const char *day)
{
    char cmd[256];
    snprintf(cmd, sizeof cmd, "mkdir -p %s/data/%s", r->root, day);
    assert_int_equal(system(cmd), 0);
}

static struct retention_step pass(struct retention *t, struct rig *r, bool remove, int64_t later)
{
    struct retention_step s, sum = {0};
    for (int i = 0; i < 100 && !sum.done; i++) {
        retention_step(t, &r->sys, r->datadir, &r->config, remove, (struct wall){RIG_T0 + later},
                       &(struct retention_spared){.from.ns = 1}, &s);
        sum.files += s.files;
        sum.bytes += s.bytes;
        sum.used = s.used;
        sum.done = s.done;
    }
    assert_true(sum.done);
    return sum;
}

static void measured_and_kept(void **state)
{
    (void)state;
    struct rig *r = live_rig();
    struct retention t = {0};
    make(r, "2023/11/12");
    make(r, "2023/11/14");
    put(r, "2023/11/12/a.pcap.gz", 50 * HOUR);
    put(r, "2023/11/12/b.pcap", 40 * HOUR);
    put(r, "2023/11/14/c.pcap.gz", HOUR / 2);
    put(r, "2023/11/14/d.pcap.gz", 2 * HOUR);
    put(r, "2023/11/14/notes.txt", 90 * HOUR);
    put(r, "2023/notes.pcap", 90 * HOUR);
    struct retention_step s = pass(&t, r, true, 0);
    assert_int_equal(s.files, 0); /* no -keep: nothing is ever removed */
    assert_int_equal(s.used, 4 * 4096);
    r->config.maxdisk = 4096;
    (void)pass(&t, r, true, 0);
    s = pass(&t, r, true, 0);
    assert_int_equal(s.files, 0);
    retention_free(&t);
    r->config.maxdisk = 0;
    r->config.keep_ns = 45 * HOUR;
    s = pass(&t, r, false, 0); /* not this shard's business */
    assert_int_equal(s.files, 0);
    s = pass(&t, r, true, 0);
    assert_int_equal(s.files, 1);
    assert_int_equal(s.bytes, 4096);
    assert_int_equal(s.used, 3 * 4096);
    assert_false(rig_exists(r, "data/2023/11/12/a.pcap.gz"));
    s = pass(&t, r, true, 6 * HOUR); /* the directory is known, but its oldest file is due now */
    assert_int_equal(s.files, 1);
    assert_false(rig_exists(r, "data/2023/11/12/b.pcap"));
    assert_true(rig_exists(r, "data/2023/11/14/notes.txt"));
    assert_true(rig_exists(r, "data/2023/notes.pcap"));
    retention_free(&t);
    rig_free(r);
}

/* What others have put into a day stays, whatever its name and its age: it is measured, and no pass after another asks
 * it again what it is. */
static void what_is_not_ours_stays(void **state)
{
    (void)state;
    struct rig *r = live_rig();
    struct retention t = {0};
    char block[4096];
    make(r, "2023/11/12");
    put(r, "2023/11/12/ours.pcap.gz", 50 * HOUR);
    put(r, "2023/11/12/ours.1.pcap", 50 * HOUR);
    put(r, "2023/11/12/with space.pcap", 50 * HOUR); /* no UUID */
    put(r, "2023/11/12/.hidden.pcap", 50 * HOUR);
    put(r, "2023/11/12/-.pcap.gz", 50 * HOUR);
    char name[300] = "2023/11/12/", longest[300] = "2023/11/12/";
    memset(name + 11, 'x', UUID_MAX + 1);
    memcpy(name + 11 + UUID_MAX + 1, ".pcap", 6);
    put(r, name, 50 * HOUR);
    memset(longest + 11, 'x', UUID_MAX);
    memcpy(longest + 11 + UUID_MAX, ".12.pcap", 9);
    put(r, longest, 50 * HOUR);
    memset(block, 0, sizeof block);
    put_bytes(r, "2023/11/12/zeros.pcap.gz", 50 * HOUR, block);
    put_bytes(r, "2023/11/12/zeros.pcap", 50 * HOUR, block);
    begin(block, false);
    block[0] = (char)0xd4; /* microseconds, as tcpdump */
    put_bytes(r, "2023/11/12/tcpdump.pcap", 50 * HOUR, block);
    begin(block, false);
    block[18] = 4; /* snaplen 262,144, as tcpdump --nano */
    put_bytes(r, "2023/11/12/nano.pcap", 50 * HOUR, block);
    begin(block, true);
    block[4] = 1; /* gzip notes the time */
    put_bytes(r, "2023/11/12/gzip.pcap.gz", 50 * HOUR, block);
    begin(block, true);
    block[15] = 0x0a; /* pcapng inside */
    put_bytes(r, "2023/11/12/inside.pcap.gz", 50 * HOUR, block);
    begin(block, true);
    put_bytes(r, "2023/11/12/gz.pcap", 50 * HOUR, block); /* says it is plain */
    make(r, "elsewhere");
    put(r, "elsewhere/a.pcap", 50 * HOUR);
    char cmd[256];
    snprintf(cmd, sizeof cmd, "cd %s/data/2023/11/12 && ln -s ../../../elsewhere/a.pcap link.pcap && mkdir dir.pcap",
             r->root);
    assert_int_equal(system(cmd), 0);
    r->config.keep_ns = 10 * HOUR;
    struct retention_step s = pass(&t, r, true, 0);
    assert_int_equal(s.files, 3); /* ours, ours.1, the longest with its suffix */
    assert_false(rig_exists(r, "data/2023/11/12/ours.pcap.gz"));
    assert_false(rig_exists(r, "data/2023/11/12/ours.1.pcap"));
    assert_true(rig_exists(r, "data/elsewhere/a.pcap"));
    assert_int_equal(rig_count_files(r, "data/2023/11/12"), 11); /* and a link, and a directory */
    assert_int_equal(s.used, 7 * 4096);                          /* those whose names could be ours */
    assert_true(t.day[0].oldest_ns == INT64_MAX);
    retention_free(&t);
    rig_free(r);
}

/* -maxdisk with -keep: the oldest day gives way, never what is younger than an hour. */
static unsigned years_opened;

/* A year becomes a link to somewhere else once its days have been listed. */
static void swap_year(const struct rig *r)
{
    char cmd[256];
    if (years_opened++ != 1)
        return;
    snprintf(cmd, sizeof cmd, "cd %s/data && mv 2023 was && ln -s elsewhere 2023", r->root);
    assert_int_equal(system(cmd), 0);
}

static int swapping_openat(void *ctx, int dir, const char *path, int flags, mode_t mode)
{
    if (strcmp(path, "2023") == 0)
        swap_year(ctx);
    return rig_openat(ctx, dir, path, flags, mode);
}

static int swapping_fstatat(void *ctx, int dir, const char *path, struct stat *st, int flags)
{
    if (strcmp(path, "2023/11/12") == 0)
        swap_year(ctx);
    return rig_fstatat(ctx, dir, path, st, flags);
}

static void links_in_place_of_directories_are_not_followed(void **state)
{
    (void)state;
    struct rig *r = live_rig();
    struct retention t = {0};
    years_opened = 0;
    make(r, "2023/11/12");
    make(r, "elsewhere/11/12");
    put(r, "elsewhere/11/12/a.pcap", 50 * HOUR);
    r->sys.openat = swapping_openat;
    r->sys.fstatat = swapping_fstatat;
    r->config.keep_ns = 10 * HOUR;
    assert_int_equal(pass(&t, r, true, 0).files, 0);
    assert_int_equal(years_opened, 2);
    assert_true(rig_exists(r, "data/elsewhere/11/12/a.pcap"));
    retention_free(&t);
    rig_free(r);
}

static void too_much(void **state)
{
    (void)state;
    struct rig *r = live_rig();
    struct retention t = {0};
    char path[64];
    make(r, "2023/11/12");
    make(r, "2023/11/14");
    for (int i = 0; i < 1500; i++) { /* several steps */
        snprintf(path, sizeof path, "2023/11/12/f%d.pcap.gz", i);
        put(r, path, 48 * HOUR);
    }
    for (int i = 0; i < 10; i++) {
        snprintf(path, sizeof path, "2023/11/14/f%d.pcap.gz", i);
        put(r, path, i < 5 ? 2 * HOUR : HOUR / 2);
    }
    r->config.keep_ns = 1000 * HOUR;
    r->config.maxdisk = 1000 * 4096;
    struct retention_step s = pass(&t, r, true, 0);
    assert_int_equal(s.used, 1510 * 4096);
    assert_int_equal(s.files, 0);
    s = pass(&t, r, true, 0);
    assert_int_equal(s.files, 510);
    assert_int_equal(s.used, 1000 * 4096);
    assert_int_equal(rig_count_files(r, "data/2023/11/14"), 10); /* the oldest day first */
    r->config.maxdisk = 1;
    (void)pass(&t, r, true, 0);
    s = pass(&t, r, true, 0);
    assert_int_equal(s.used, 5 * 4096);
    assert_int_equal(rig_count_files(r, "data/2023/11/14"), 5); /* too young */
    assert_int_equal(rig_count_files(r, "data/2023/11/12"), 0);
    retention_free(&t);
    rig_free(r);
}

static void too_much_pauses_new_flows(void **state)
{
    (void)state;
    struct rig *r = live_rig();
    r->config.maxdisk = 3 * 4096;
    make(r, "2023/11/12");
    put(r, "2023/11/12/a.pcap.gz", 48 * HOUR);
    rig_start(r);
    turn(r);
    assert_int_equal(counter_get(&r->page->c.disk_used), 4096);
    assert_int_equal(counter_get(&r->page->c.disk_paused), 0);
    put(r, "2023/11/12/b.pcap.gz", 48 * HOUR);
    put(r, "2023/11/12/c.pcap.gz", 48 * HOUR);
    r->mono += 5 * SEC;
    turn(r);
    assert_int_equal(counter_get(&r->page->c.disk_paused), 1);
    rig_send(r, &(struct rig_packet){.flow = 2, .at = 2});
    turn(r);
    assert_int_equal(drops(r, CAUSE_CAPTURE_LIMIT), 1);
    assert_int_equal(rig_count_files(r, "data"), 3);
    unlinkat(r->datadir, "2023/11/12/b.pcap.gz", 0); /* the uploader */
    r->mono += 5 * SEC;
    turn(r);
    assert_int_equal(counter_get(&r->page->c.disk_paused), 0);
    r->config.maxdisk = 4096; /* and with -keep there is room at once */
    r->config.keep_ns = 1000 * HOUR;
    for (int i = 0; i < 4; i++) {
        r->mono += 5 * SEC;
        turn(r);
    }
    assert_int_equal(counter_get(&r->page->c.removed_files), 1);
    assert_int_equal(counter_get(&r->page->c.removed_bytes), 4096);
    rig_end(r, 5);
    rig_check_balance(r);
    rig_free(r);
}

/* A machine that gets its time late: what was written a moment before looks older than -keep, and stays until it is. */
static void a_clock_set_forward(void **state)
{
    (void)state;
    struct rig *r = live_rig();
    r->config.keep_ns = 48 * HOUR;
    r->wall = RIG_T0;
    make(r, "2023/11/12");
    put(r, "2023/11/12/before.pcap.gz", 24 * HOUR); /* of another life: by the same clock as the network's */
    rig_start(r);
    turn(r);
    put(r, "2023/11/12/old-clock.pcap.gz", 0);
    r->mono += 600 * SEC;
    r->wall += 600 * SEC + 40 * 24 * HOUR;
    turn(r);
    r->mono += 5 * SEC;
    r->wall += 5 * SEC;
    turn(r);
    assert_false(rig_exists(r, "data/2023/11/12/before.pcap.gz"));
    assert_true(rig_exists(r, "data/2023/11/12/old-clock.pcap.gz"));
    for (unsigned i = 0; i < 3; i++) {
        r->mono += 24 * HOUR;
        r->wall += 24 * HOUR;
        turn(r);
        assert_int_equal(rig_exists(r, "data/2023/11/12/old-clock.pcap.gz"), i == 0);
    }
    rig_end(r, 1);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_flows_pause),
        cmocka_unit_test(savefiles_do_not_pause),
        cmocka_unit_test(new_flows_pause_for_want_of_files),
        cmocka_unit_test(limits_at_the_ends),
        cmocka_unit_test(a_clock_set_forward),
        cmocka_unit_test(what_is_not_ours_stays),
        cmocka_unit_test(measured_and_kept),
        cmocka_unit_test(links_in_place_of_directories_are_not_followed),
        cmocka_unit_test(too_much),
        cmocka_unit_test(too_much_pauses_new_flows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
