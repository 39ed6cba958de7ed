/* SPDX-License-Identifier: Apache-2.0
 * What is refused before anything is created, who the user is, and the inputs that are opened. */
#include "tests/unit/dispatcher/supervisor/settings_fixture.h"
#include "tests/unit/skip.h"
#include <sys/wait.h>

/* ---- what is refused ---- */

static void test_inputs(void **state)
{
    (void)state;
    refused(FLAGS("-read", in("none.pcap")), EXIT_FAILED, "-read", "none.pcap: No such file");
    refused(FLAGS("-read", dir), EXIT_FAILED, "-read", "is a directory");
    put("in.pcap", "x");
    refused(FLAGS("-read", in("in.pcap"), "-uuid.events", in("events")), EXIT_FAILED, "-uuid.events", "/events: No ");
    refused(FLAGS("-interface=nosuch0"), EXIT_FAILED, "-interface", "nosuch0; there are: ");
    assert_non_null(strstr(error, "lo"));
    assert_int_equal(check(FLAGS("-interface=lo")), SC_OK);
    assert_int_equal(check(FLAGS("-read=-")), SC_OK);
}

static void test_outputs(void **state)
{
    (void)state;
    put("file", "");
    refused(FLAGS(with("datadir", in("file"))), EXIT_FAILED, "-datadir", "is not a directory");
    refused(FLAGS(with("stagingdir", in("file"))), EXIT_FAILED, "-stagingdir", "is not a directory");
    refused(FLAGS(with("summary", dir)), EXIT_FAILED, "-summary", "is a directory");
    refused(FLAGS(with("summary", in("none/s.json"))), EXIT_FAILED, "-summary", "none/s.json: No such file");
    assert_int_equal(check(FLAGS(with("summary", in("s.json")))), SC_OK);
    assert_int_equal(check(FLAGS("-summary=/dev/null")), SC_OK);
    refused(FLAGS(with("datadir", in("file/below/it"))), EXIT_FAILED, "-datadir", "Not a directory");
    refused(FLAGS("-datadir=/proc/self/data"), EXIT_FAILED, "-datadir", "/proc/self");
    assert_int_equal(check(FLAGS(with("datadir", in("new/a/b/")))), SC_OK);
    assert_int_equal(check(FLAGS("-datadir=new")), SC_OK);
    assert_int_equal(check(FLAGS("-datadir=.")), SC_OK);
    assert_int_equal(entries(in("new")), 0);
    refused(FLAGS("-prometheusx.listen-address=::1:80"), EXIT_USAGE, "-prometheusx.listen-address", "::1:80");
}

static void test_prefix(void **state)
{
    static const char *const bad[] = {"", "\n", "../x", "a/b", "a b", "a\n\n", "-a"};
    (void)state;
    put("prefix", "ndt-4c6fb_1625899199\n");
    assert_int_equal(check(FLAGS(with("uuid-prefix-file", in("prefix")))), SC_OK);
    assert_string_equal(config.uuid_prefix.text, "ndt-4c6fb_1625899199");
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        put("prefix", bad[i]);
        refused(FLAGS(with("uuid-prefix-file", in("prefix"))), EXIT_CONFIG, "-uuid-prefix-file", "prefix");
    }
    refused(FLAGS(with("uuid-prefix-file", in("none"))), EXIT_FAILED, "-uuid-prefix-file", "none: No such file");
    assert_int_equal(check(NO_FLAGS), SC_OK);
    assert_string_equal(config.uuid_prefix.text, "");
}

static void test_socket_paths_have_107_bytes(void **state)
{
    char name[128];
    (void)state;
    memset(name, 'r', sizeof(name));
    name[0] = '/';
    name[91] = '\0'; /* and /bus/replay.sock makes 107 */
    assert_int_equal(check(FLAGS(with("rundir", name))), SC_OK);
    name[91] = 'r';
    name[92] = '\0';
    refused(FLAGS(with("rundir", name)), EXIT_USAGE, "-rundir", "107");
}

static void test_rundir_by_default(void **state)
{
    char expected[64], longer[128];
    (void)state;
    put("in.pcap", "x");
    assert_int_equal(check(FLAGS("-rundir=", "-read", in("in.pcap"))), SC_OK);
    assert_string_equal(config.rundir, ""); /* a temporary one, made later */
    assert_int_equal(check(FLAGS("-rundir=")), SC_OK);
    snprintf(expected, sizeof(expected), "/tmp/shardcap-%u", (unsigned)geteuid());
    assert_string_equal(config.rundir, geteuid() == 0 ? "/run/shardcap" : expected);
    if (geteuid() == 0)
        return;
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    assert_int_equal(check(FLAGS("-rundir=")), SC_OK);
    assert_string_equal(config.rundir, "/run/user/7/shardcap");
    memset(longer, 'x', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    setenv("XDG_RUNTIME_DIR", longer, 1);
    refused(FLAGS("-rundir="), EXIT_USAGE, "-rundir", "107");
}

static void test_nothing_is_created_by_a_check(void **state)
{
    (void)state;
    assert_int_equal(check(FLAGS(with("summary", in("s.json")), with("stagingdir", in("staging")))), SC_OK);
    assert_int_equal(entries(dir), 0);
    struct siphash_key first = config.hash_key;
    assert_int_equal(check(NO_FLAGS), SC_OK);
    assert_memory_not_equal(&first, &config.hash_key, sizeof(first));
    assert_int_equal(config.umask, 022);
}

static void test_maxheap_fits_machine_and_shards(void **state)
{
    (void)state;
    assert_int_equal(check(FLAGS("-maxheap=90000GB", "-shards=2")), SC_OK);
    assert_true(config.maxheap == settings_memory("/") / 2);
    assert_true(config.maxheap_asked == UINT64_C(90000000000000));
    assert_int_equal(check(FLAGS("-maxheap=4194304", "-shards=4")), SC_OK);
    assert_true(config.maxheap == 4194304);
    refused(FLAGS("-maxheap=4194303", "-shards=4"), EXIT_CONFIG, "-maxheap", "-shards");
}

/* ---- users ---- */

static void test_without_root_the_caller_is_the_user(void **state)
{
    (void)state;
    if (geteuid() == 0)
        SKIP_BECAUSE("only for users other than root");
    assert_int_equal(check(NO_FLAGS), SC_OK);
    assert_false(config.user_switch);
    assert_int_equal(config.uid, geteuid());
    refused(FLAGS("-user=nobody"), EXIT_FAILED, "-user", "only root");
}

static void test_who_the_user_is(void **state)
{
    (void)state;
    need_root_with_users();
    assert_int_equal(check(NO_FLAGS), SC_OK); /* shardcap or nobody: not root */
    assert_true(config.user_switch && config.uid != 0);
    make("data");
    assert_int_equal(check(NO_FLAGS), SC_OK); /* root's datadir */
    assert_true(config.user_switch && config.uid == 0);
    assert_int_equal(chown(in("data"), 1234, 2345), 0);
    assert_int_equal(check(NO_FLAGS), SC_OK);
    assert_true(config.uid == 1234 && config.gid == 2345);
    setenv("SUDO_UID", "1000", 1); /* both or none */
    assert_int_equal(check(NO_FLAGS), SC_OK);
    assert_int_equal(config.uid, 1234);
    setenv("SUDO_GID", "1001", 1);
    assert_int_equal(check(NO_FLAGS), SC_OK);
    assert_true(config.uid == 1000 && config.gid == 1001);
    assert_int_equal(chown(in("data"), 0, 1001), 0); /* root's: the caller of sudo could not write there .. */
    assert_int_equal(check(NO_FLAGS), SC_OK);
    assert_int_equal(config.uid, 0);
    assert_int_equal(chmod(in("data"), 0775), 0); /* .. unless it may */
    assert_int_equal(check(NO_FLAGS), SC_OK);
    assert_int_equal(config.uid, 1000);
    assert_int_equal(chown(in("data"), 1234, 2345), 0);
    static const char *const nonsense[] = {"-1", "4294967295", "99999999999", "1x", "", " 1"};
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(*nonsense); i++) {
        setenv("SUDO_UID", nonsense[i], 1);
        assert_int_equal(check(NO_FLAGS), SC_OK);
        assert_int_equal(config.uid, 1234);
    }
    setenv("SUDO_UID", "1000", 1);
    assert_int_equal(check(FLAGS("-user=nobody")), SC_OK);
    assert_int_equal(config.uid, NOBODY);
    refused(FLAGS("-user=nosuchuser"), EXIT_CONFIG, "-user", "nosuchuser");
}

/* ---- inputs that are opened ---- */

static void test_events_from_a_pipe_can_be_read_by_every_shard(void **state)
{
    char text[64] = "";
    (void)state;
    put("in.pcap", "x");
    assert_int_equal(mkfifo(in("events"), 0600), 0);
    pid_t writer = fork();
    if (writer == 0) {
        int fd = open(in("events"), O_WRONLY | O_CLOEXEC);
        _exit(fd >= 0 && write(fd, "first\n", 6) == 6 && write(fd, "second\n", 7) == 7 ? 0 : 1);
    }
    assert_true(writer > 0);
    assert_int_equal(open_all(FLAGS("-read", in("in.pcap"), "-uuid.events", in("events"))), SC_OK);
    int end = 1;
    assert_int_equal(waitpid(writer, &end, 0), writer);
    assert_int_equal(end, 0);
    for (int shard = 0; shard < 2; shard++) {
        assert_int_equal(pread(fds.events, text, sizeof(text) - 1, 0), 13);
        assert_string_equal(text, "first\nsecond\n");
    }
    close(fds.events);
    close(fds.savefiles[0]);
}

static void test_standard_input_is_a_savefile(void **state)
{
    char byte = 0;
    (void)state;
    put("in.pcap", "x");
    int held = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), fd = open(in("in.pcap"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO);
    int err = open_all(FLAGS("-read=-"));
    if (held >= 0) {
        dup2(held, STDIN_FILENO);
        close(held);
    }
    close(fd);
    assert_int_equal(err, SC_OK);
    assert_true(fds.savefiles[0] > 2);
    assert_int_equal(read(fds.savefiles[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(fds.savefiles[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_inputs),
        TEST(test_outputs),
        TEST(test_prefix),
        TEST(test_socket_paths_have_107_bytes),
        TEST(test_rundir_by_default),
        TEST(test_nothing_is_created_by_a_check),
        TEST(test_maxheap_fits_machine_and_shards),
        TEST(test_without_root_the_caller_is_the_user),
        TEST(test_who_the_user_is),
        TEST(test_events_from_a_pipe_can_be_read_by_every_shard),
        TEST(test_standard_input_is_a_savefile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
