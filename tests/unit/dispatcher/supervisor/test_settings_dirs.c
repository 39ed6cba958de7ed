/* SPDX-License-Identifier: Apache-2.0
 * What is created and for whom, and what a supervisor that is root does not trust. What only root can see is skipped
 * without it. */
#include "tests/unit/dispatcher/supervisor/settings_fixture.h"
#include "tests/unit/skip.h"

#include <sys/file.h>

#include "dispatcher/supervisor/settings_dirs.h"

/* ---- directories ---- */

static void test_everything_is_created_for_the_user(void **state)
{
    (void)state;
    bool root = geteuid() == 0;
    if (root) {
        need_root_with_users();
        setenv("SUDO_UID", "65534", 1);
        setenv("SUDO_GID", "65534", 1);
    }
    assert_int_equal(open_all(FLAGS(with("datadir", in("new/data")))), SC_OK);
    uid_t owner = root ? NOBODY : geteuid();
    const char *const made[] = {in("new"), in("new/data"), in("new/data.staging"), in("run"), in("run/bus")};
    for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++) {
        struct stat st = about(made[i]);
        assert_true(S_ISDIR(st.st_mode));
        assert_int_equal(st.st_uid, owner);
    }
    assert_int_equal(about(in("new/data")).st_mode & 0777, 0755); /* 0775 less the umask */
    assert_int_equal(about(in("run")).st_mode & 0777, root ? 0750 : 0700);
    assert_int_equal(about(in("run/bus")).st_mode & 0777, 0750);
    assert_string_equal(config.datadir, in("new/data"));
    assert_string_equal(config.stagingdir, in("new/data.staging"));
    assert_false(config.staging_inside);
    assert_int_equal(fcntl(fds.datadir, F_GETFL) & O_PATH, O_PATH);
    assert_int_equal(entries(in("new/data")) + entries(in("new/data.staging")), 0); /* the trial left nothing */
    assert_int_equal(fds.http, -1);
    assert_int_equal(fds.events, -1);
    assert_string_equal(fds.url, "");
    settings_close(&fds, &config);
    assert_true(S_ISDIR(about(in("run")).st_mode)); /* it was named */
}

static void test_staging(void **state)
{
    (void)state;
    put("data.staging", "in the way");
    assert_int_equal(open_all(NO_FLAGS), SC_OK);
    assert_true(config.staging_inside);
    assert_string_equal(config.stagingdir, in("data/.staging"));
    close(fds.lock);
    close(fds.stagingdir);
    assert_int_equal(open_all(FLAGS(with("stagingdir", in("elsewhere")))), SC_OK);
    assert_false(config.staging_inside);
    assert_string_equal(config.stagingdir, in("elsewhere"));
    close(fds.lock);
    close(fds.stagingdir);
    assert_int_equal(open_all(FLAGS(with("stagingdir", in("data/below")))), SC_OK);
    assert_true(config.staging_inside);
    close(fds.lock);
    close(fds.stagingdir);
    assert_int_equal(open_all(FLAGS(with("stagingdir", in("data")))), SC_OK);
    assert_true(config.staging_inside); /* so that names get their dot */
    close(fds.lock);
    close(fds.stagingdir);
    assert_int_equal(symlink(in("elsewhere"), in("data2.staging")), 0);
    assert_int_equal(symlink(in("data"), in("data2")), 0);
    assert_int_equal(open_all(FLAGS(with("datadir", in("data2")))), SC_OK);
    assert_string_equal(config.datadir, in("data")); /* the real one */
}

static void test_staging_on_another_file_system(void **state)
{
    char other[] = "/dev/shm/shardcap-settings-XXXXXX";
    (void)state;
    if (!mkdtemp(other))
        SKIP_BECAUSE("/dev/shm is not writable");
    bool differs = about(other).st_dev != about(dir).st_dev;
    int err = SC_OK;
    if (differs)
        err = open_all(FLAGS(with("stagingdir", other)));
    bool kept = S_ISDIR(about(other).st_mode); /* it is not ours to remove */
    rmdir(other);
    if (!differs)
        SKIP_BECAUSE("/dev/shm is on the same file system");
    assert_int_equal(err, SC_ESYS);
    assert_int_equal(status, EXIT_FAILED);
    assert_non_null(strstr(error, "-stagingdir"));
    assert_true(kept);
}

static void test_a_datadir_that_the_user_may_not_write_to(void **state)
{
    (void)state;
    need_root_with_users();
    make("data");
    assert_int_equal(open_all(FLAGS("-user=nobody")), SC_ESYS);
    assert_int_equal(status, EXIT_FAILED);
    assert_non_null(strstr(error, "-datadir: uid 65534 cannot create files in"));
    assert_non_null(strstr(error, "Permission denied"));
    assert_int_equal(entries(in("data")), 0);
}

static bool is_there(int fd, const char *name)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(in(name), &b) == 0 && a.st_ino == b.st_ino && a.st_nlink > 0;
}

/* Whatever was removed is made again, whole, and stands under the same numbers; what is there stays what it is. */
static void test_what_was_removed_is_opened_again(void **state)
{
    (void)state;
    bool again;
    assert_int_equal(open_all(FLAGS(with("datadir", in("new/data")))), SC_OK);
    int datadir = fds.datadir, staging = fds.stagingdir;
    assert_int_equal(dirs_open_again(&config, &fds, &again, error), SC_OK);
    assert_false(again);
    for (int what = 1; what <= 3; what++) {
        if (what & 1)
            assert_int_equal(rmdir(in("new/data")), 0);
        if (what & 2)
            assert_int_equal(rmdir(in("new/data.staging")), 0);
        if (what == 3)
            assert_int_equal(rmdir(in("new")), 0);
        assert_int_equal(dirs_open_again(&config, &fds, &again, error), SC_OK);
        assert_true(again);
        assert_true(fds.datadir == datadir && is_there(datadir, "new/data"));
        assert_true(fds.stagingdir == staging && is_there(staging, "new/data.staging"));
        assert_int_equal(fcntl(datadir, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(fcntl(staging, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        int other = open(in("new/data.staging"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1); /* the lock came along */
        close(other);
        assert_int_equal(entries(in("new/data")) + entries(in("new/data.staging")), 0);
        assert_int_equal(dirs_open_again(&config, &fds, &again, error), SC_OK);
        assert_false(again);
    }
    settings_close(&fds, &config);
}

/* What now stands in its place is not taken for it; once that is gone, all is well. */
static void test_what_was_removed_cannot_be_made(void **state)
{
    (void)state;
    bool again;
    assert_int_equal(open_all(NO_FLAGS), SC_OK);
    make("elsewhere");
    for (int link = 0; link < 2; link++) {
        assert_int_equal(rmdir(in("data")), 0);
        if (link)
            assert_int_equal(symlink(in("elsewhere"), in("data")), 0);
        else
            put("data", "in the way");
        assert_int_equal(dirs_open_again(&config, &fds, &again, error), SC_ESYS);
        assert_false(again);
        assert_non_null(strstr(error, in("data")));
        assert_int_equal(unlink(in("data")), 0);
        assert_int_equal(dirs_open_again(&config, &fds, &again, error), SC_OK);
        assert_true(again);
        assert_true(is_there(fds.datadir, "data"));
    }
    assert_int_equal(entries(in("elsewhere")), 0);
    settings_close(&fds, &config);
}

/* ---- rundir ---- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_everything_is_created_for_the_user), TEST(test_staging),
        TEST(test_staging_on_another_file_system),     TEST(test_a_datadir_that_the_user_may_not_write_to),
        TEST(test_what_was_removed_is_opened_again),   TEST(test_what_was_removed_cannot_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
