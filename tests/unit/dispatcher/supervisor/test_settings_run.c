/* SPDX-License-Identifier: Apache-2.0
 * rundir: one instance in it, and what a supervisor that is root does not trust. What only root can see is skipped
 * without it. */
#include "tests/unit/dispatcher/supervisor/settings_fixture.h"
#include "tests/unit/skip.h"

static void test_a_second_instance_names_the_first(void **state)
{
    char pid[32];
    (void)state;
    assert_int_equal(open_all(NO_FLAGS), SC_OK);
    struct settings_fds first = fds;
    snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
    assert_int_equal(open_all(NO_FLAGS), SC_EEXIST);
    assert_int_equal(status, EXIT_FAILED);
    assert_non_null(strstr(error, pid));
    assert_non_null(strstr(error, in("run")));
    close(fds.lock);
    close(first.lock);
    close(first.stagingdir);
    assert_int_equal(open_all(NO_FLAGS), SC_OK); /* the locks went with their process */
    close(first.datadir);
}

static void rundir_refused(const char *word)
{
    assert_int_not_equal(open_all(NO_FLAGS), SC_OK);
    assert_int_equal(status, EXIT_FAILED);
    if (!strstr(error, "-rundir") || !strstr(error, word))
        fail_msg("\"%s\" should name -rundir and %s", error, word);
    assert_int_equal(about(in("data")).st_mode, 0); /* and nothing more was created */
    if (fds.lock >= 0)
        close(fds.lock);
    fds.lock = -1;
}

static void test_a_rundir_that_others_command(void **state)
{
    (void)state;
    make("run");
    assert_int_equal(chmod(in("run"), 01777), 0);
    rundir_refused("everybody");
    rmdir(in("run"));
    make("target");
    assert_int_equal(symlink(in("target"), in("run")), 0);
    rundir_refused("not a link");
    unlink(in("run"));
    put("run", "");
    rundir_refused("Not a directory");
}

static void test_a_rundir_of_another_user(void **state)
{
    (void)state;
    need_root_with_users();
    make("run");
    assert_int_equal(chown(in("run"), 4321, 4321), 0);
    rundir_refused("another user");
    assert_int_equal(about(in("run")).st_uid, 4321);
    assert_int_equal(chown(in("run"), 0, 0), 0);
    put("run/something", "");
    rundir_refused("other things"); /* -rundir=/run would give it away */
    assert_int_equal(about(in("run")).st_uid, 0);
    unlink(in("run/something"));
    assert_int_equal(open_all(NO_FLAGS), SC_OK);
    assert_int_equal(about(in("run")).st_uid, config.uid);
    close(fds.lock);
    close(fds.stagingdir);
    assert_int_equal(open_all(NO_FLAGS), SC_OK); /* one of ours is taken again */
    close(fds.lock);
    close(fds.stagingdir);
    assert_int_equal(chown(in("run"), 4321, 4321), 0); /* also what one of another user has left */
    assert_int_equal(open_all(NO_FLAGS), SC_OK);
    assert_int_equal(about(in("run")).st_uid, config.uid);
    close(fds.lock);
    close(fds.stagingdir);
    assert_int_equal(chmod(dir, 0700), 0);
    assert_int_not_equal(open_all(NO_FLAGS), SC_OK);
    assert_non_null(strstr(error, "cannot reach"));
}

/* What the user of hub and shards could put there for a supervisor that is root. */
static void test_planted_links(void **state)
{
    (void)state;
    make("run");
    make("victim");
    put("victim/file", "precious");
    assert_int_equal(symlink(in("victim"), in("run/bus")), 0);
    assert_int_equal(symlink(in("victim/file"), in("run/lock")), 0);
    rundir_refused("lock");
    unlink(in("run/lock"));
    assert_int_equal(link(in("victim/file"), in("run/lock")), 0);
    rundir_refused("no lock file");
    unlink(in("run/lock"));
    put("run/lock", "");
    rundir_refused("bus");
    assert_int_equal(about(in("victim")).st_uid, geteuid());
    assert_int_equal(about(in("victim/file")).st_size, 8);
}

static void test_a_temporary_rundir_goes_with_the_run(void **state)
{
    char made[CONFIG_PATH], path[CONFIG_PATH + 16];
    (void)state;
    put("in.pcap", "x");
    assert_int_equal(open_all(FLAGS("-rundir=", "-read", in("in.pcap"), "-shards=2")), SC_OK);
    snprintf(made, sizeof(made), "%s", config.rundir);
    assert_true(fds.temp_rundir);
    assert_memory_equal(made, "/tmp/shardcap-", 14);
    assert_int_equal(about(made).st_mode & 0777, 0700);
    assert_int_equal(about(made).st_uid, config.uid);
    static const char *const left[] = {"ctl.sock", "inject.sock", "events.sock", "bus/00.sock", "bus/01.sock"};
    for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++) {
        snprintf(path, sizeof(path), "%s/%s", made, left[i]);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    settings_close(&fds, &config);
    assert_int_equal(about(made).st_mode, 0);
    assert_true(fds.savefiles[0] >= 0);
    close(fds.savefiles[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_second_instance_names_the_first),
        TEST(test_a_rundir_that_others_command),
        TEST(test_a_rundir_of_another_user),
        TEST(test_planted_links),
        TEST(test_a_temporary_rundir_goes_with_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
