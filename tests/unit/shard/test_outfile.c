/* SPDX-License-Identifier: Apache-2.0
 * The file thread itself: jobs from one side, results to the other, nothing lost, and the ways a rename may go. */
#include "rig.h"

#include <poll.h>

#include "shard/outfile.h"

#define FILES 300u

static struct outfile *open_out(struct rig *r, bool threaded)
{
    struct outfile_deps d = {
        .sys = &r->sys, .config = &r->config, .datadir = r->datadir, .staging = r->staging, .threaded = threaded};
    struct outfile *o = outfile_new(&d);
    assert_non_null(o);
    return o;
}

static struct outfile_job job_of(enum outfile_kind kind, uint32_t n)
{
    struct outfile_job j = {.kind = kind, .idx = n, .number = n, .yyyymmdd = 20240229};
    snprintf(j.uuid.text, sizeof(j.uuid.text), "u%u", n);
    return j;
}

static struct outfile_job write_job(uint32_t n, const char *text)
{
    struct outfile_job j = job_of(OUTFILE_WRITE, n);
    j.create = j.finish = true;
    j.iov = malloc(2 * sizeof(*j.iov)); /* and one for the tail */
    j.iov[0] = (struct iovec){(void *)(uintptr_t)text, strlen(text)};
    j.iov_count = 1;
    memcpy(j.tail, "tail", 4);
    j.tail_len = 4;
    return j;
}

static struct outfile_result result_of(struct outfile *o)
{
    struct outfile_result res;
    while (outfile_work(o))
        continue;
    assert_int_equal(outfile_result(o, &res), SC_OK);
    return res;
}

static void threaded_life(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct outfile *o = open_out(r, true);
    struct outfile_result res;
    unsigned submitted = 0, written = 0, published = 0;
    while (published < FILES) {
        struct outfile_job j = write_job(submitted, "some text ");
        int err = submitted < FILES ? outfile_submit(o, &j) : SC_EFULL;
        if (err == SC_OK)
            submitted++;
        else
            free(j.iov);
        struct pollfd p = {.fd = outfile_fd(o), .events = POLLIN};
        outfile_wake(o);
        if (err != SC_OK)
            assert_int_equal(poll(&p, 1, 10000), 1);
        while (outfile_result(o, &res) == SC_OK) {
            assert_int_equal(res.error, 0);
            if (res.job.kind == OUTFILE_PUBLISH) {
                published++;
                continue;
            }
            assert_int_equal(res.job.idx, written++); /* in order */
            struct outfile_job next = job_of(OUTFILE_PUBLISH, res.job.idx);
            assert_int_equal(outfile_submit(o, &next), SC_OK); /* a result was taken, so there is room */
        }
    }
    assert_int_equal(outfile_under_way(o), 0);
    outfile_free(o);
    assert_int_equal(rig_count_files(r, "data/2024/02/29"), FILES);
    assert_int_equal(rig_count_files(r, "staging"), 0);
    rig_free(r);
}

static void contents(const struct rig *r, const char *path, const char *want)
{
    char full[256], got[64] = "";
    snprintf(full, sizeof(full), "%s/%s", r->root, path);
    int fd = open(full, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, got, sizeof(got) - 1) >= 0);
    close(fd);
    assert_string_equal(got, want);
}

static void leftovers_are_cut(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct outfile *o = open_out(r, false);
    int fd = openat(r->staging, "20240229.u1.0.1.part", O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "a much longer leftover", 22), 22);
    close(fd);
    struct outfile_job j = write_job(1, "short ");
    assert_int_equal(outfile_submit(o, &j), SC_OK);
    assert_int_equal(result_of(o).error, 0);
    contents(r, "staging/20240229.u1.0.1.part", "short tail");
    outfile_free(o);
    rig_free(r);
}

/* The file system knows no RENAME_NOREPLACE. */
static int old_renameat2(void *ctx, int d1, const char *p1, int d2, const char *p2, unsigned flags)
{
    (void)ctx;
    if (flags != 0) {
        errno = EINVAL;
        return -1;
    }
    return renameat2(d1, p1, d2, p2, 0);
}

static void without_noreplace(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->sys.renameat2 = old_renameat2;
    struct outfile *o = open_out(r, false);
    for (uint32_t i = 0; i < 2; i++) { /* twice the same name */
        struct outfile_job j = write_job(1, i ? "second " : "first ");
        struct outfile_job p = job_of(OUTFILE_PUBLISH, 1);
        assert_int_equal(outfile_submit(o, &j), SC_OK);
        assert_int_equal(result_of(o).error, 0);
        assert_int_equal(outfile_submit(o, &p), SC_OK);
        struct outfile_result res = result_of(o);
        assert_int_equal(res.error, 0);
        assert_int_equal(res.suffix, i);
    }
    contents(r, "data/2024/02/29/u1.pcap.gz", "first tail");
    contents(r, "data/2024/02/29/u1.1.pcap.gz", "second tail");
    assert_int_equal(rig_count_files(r, "staging"), 0);
    outfile_free(o);
    rig_free(r);
}

static unsigned names_tried;

static int counting_renameat2(void *ctx, int d1, const char *p1, int d2, const char *p2, unsigned flags)
{
    names_tried++;
    return rig_renameat2(ctx, d1, p1, d2, p2, flags);
}

static int counting_fstatat(void *ctx, int dir, const char *path, struct stat *st, int flags)
{
    names_tried++;
    return rig_fstatat(ctx, dir, path, st, flags);
}

/* A connection that pauses again and again: its thousandth file costs little more than its second. */
static void many_files_of_one_name(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->sys.renameat2 = counting_renameat2;
    r->sys.fstatat = counting_fstatat;
    struct outfile *o = open_out(r, false);
    for (uint32_t i = 0; i < 1000; i++) {
        struct outfile_job j = write_job(1, "x "), p = job_of(OUTFILE_PUBLISH, 1);
        assert_int_equal(outfile_submit(o, &j), SC_OK);
        assert_int_equal(result_of(o).error, 0);
        names_tried = 0;
        assert_int_equal(outfile_submit(o, &p), SC_OK);
        struct outfile_result res = result_of(o);
        assert_int_equal(res.error, 0);
        assert_int_equal(res.suffix, i);
        assert_true(names_tried <= 25);
    }
    struct outfile_job gone = job_of(OUTFILE_PUBLISH, 1);
    assert_int_equal(outfile_submit(o, &gone), SC_OK);
    struct outfile_result res = result_of(o);
    assert_true(res.was_published);
    assert_int_equal(res.suffix, 999);
    assert_int_equal(unlinkat(r->datadir, "2024/02/29/u1.700.pcap.gz", 0), 0); /* an uploader's gap may be filled */
    struct outfile_job j = write_job(1, "x "), p = job_of(OUTFILE_PUBLISH, 1);
    assert_int_equal(outfile_submit(o, &j), SC_OK);
    assert_int_equal(result_of(o).error, 0);
    assert_int_equal(outfile_submit(o, &p), SC_OK);
    res = result_of(o);
    assert_int_equal(res.error, 0);
    assert_true(res.suffix == 700 || res.suffix == 1000);
    outfile_free(o);
    rig_free(r);
}

static void a_vanished_day_is_made_again(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct outfile *o = open_out(r, false);
    char day[128];
    snprintf(day, sizeof(day), "%s/data/2024/02/29", r->root);
    for (uint32_t i = 0; i < 2; i++) {
        struct outfile_job j = write_job(i, "x "), p = job_of(OUTFILE_PUBLISH, i);
        assert_int_equal(outfile_submit(o, &j), SC_OK);
        assert_int_equal(outfile_submit(o, &p), SC_OK);
        while (outfile_work(o))
            continue;
        char path[256];
        snprintf(path, sizeof(path), "%s/u%u.pcap.gz", day, i);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rmdir(day), 0);
    }
    outfile_free(o);
    rig_free(r);
}

static void published_before(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct outfile *o = open_out(r, false);
    struct outfile_job p = job_of(OUTFILE_PUBLISH, 1);
    assert_int_equal(outfile_submit(o, &p), SC_OK);
    struct outfile_result res = result_of(o);
    assert_int_equal(res.error, 0);
    assert_true(res.was_published);
    outfile_free(o);
    rig_free(r);
}

static struct outfile_result do_one(struct outfile *o, const struct outfile_job *job)
{
    assert_int_equal(outfile_submit(o, job), SC_OK);
    return result_of(o);
}

/* A directory that was removed under us is told from other failures; a staged file that went with it was not published.
 */
static void removed_directories(void **state)
{
    (void)state;
    for (int staging = 0; staging < 2; staging++) {
        char cmd[256];
        struct rig *r = rig_new();
        struct outfile *o = open_out(r, false);
        struct outfile_job w = write_job(1, "x "), p = job_of(OUTFILE_PUBLISH, 1), again = write_job(2, "y ");
        assert_int_equal(do_one(o, &w).error, 0);
        snprintf(cmd, sizeof cmd, "rm -r %s/%s", r->root, staging ? "staging" : "data");
        assert_int_equal(system(cmd), 0);
        struct outfile_result res = do_one(o, &p);
        assert_int_equal(res.error, ENOENT);
        assert_int_equal(res.step, staging ? STEP_OPEN : STEP_MKDIR);
        assert_true(res.removed);
        assert_false(res.was_published);
        res = do_one(o, &again);
        assert_int_equal(res.error, staging ? ENOENT : 0);
        assert_int_equal(res.removed, staging);
        outfile_free(o);
        rig_free(r);
    }
    struct rig *r = rig_new(); /* a file that is not there says nothing of the directory */
    struct outfile *o = open_out(r, false);
    struct outfile_job w = write_job(3, "z ");
    w.create = false;
    struct outfile_result res = do_one(o, &w);
    assert_int_equal(res.error, ENOENT);
    assert_false(res.removed);
    outfile_free(o);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threaded_life),
        cmocka_unit_test(leftovers_are_cut),
        cmocka_unit_test(without_noreplace),
        cmocka_unit_test(many_files_of_one_name),
        cmocka_unit_test(a_vanished_day_is_made_again),
        cmocka_unit_test(published_before),
        cmocka_unit_test(removed_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
