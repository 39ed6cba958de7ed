/* SPDX-License-Identifier: Apache-2.0
 * The attach protocol: fds arrive under their names; whatever has not the form is refused and leaves no fd open. */
#include "shared/proto.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];
static int open_before;

static int open_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int setup(void **state)
{
    (void)state;
    open_before = open_fds();
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int teardown(void **state)
{
    (void)state;
    close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
    return open_fds() == open_before ? 0 : -1; /* nothing leaks, whatever came */
}

static int null_fd(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static struct proto_msg fds_msg(unsigned count)
{
    struct proto_msg m = {.type = PROTO_FDS, .fd_count = (uint16_t)count, .slot = 3, .generation = 9};
    for (unsigned i = 0; i < count && i < PROTO_FDS_PER_MSG; i++)
        m.names[i] = (struct proto_fd_name){.role = ROLE_RING, .index = (uint16_t)i};
    return m;
}

static void send_fds(unsigned count)
{
    int fds[PROTO_FDS_PER_MSG];
    struct proto_msg m = fds_msg(count);
    for (unsigned i = 0; i < count; i++)
        fds[i] = null_fd();
    assert_int_equal(proto_send(ends[0], &m, fds), SC_OK);
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

static void send_attached(int64_t total)
{
    struct proto_msg m = {.type = PROTO_ATTACHED, .slot = 3, .generation = 9, .value = total};
    assert_int_equal(proto_send(ends[0], &m, NULL), SC_OK);
}

static void test_message(void **state)
{
    (void)state;
    struct proto_attachment self = {.slot = 5, .generation = 6};
    struct proto_msg m;
    int fds[PROTO_FDS_PER_MSG];
    assert_int_equal(proto_recv(ends[1], &m, fds), SC_EAGAIN);
    assert_int_equal(proto_tell(ends[0], &self, PROTO_FAILED, 78, "no such interface"), SC_OK);
    assert_int_equal(proto_recv(ends[1], &m, fds), SC_OK);
    assert_int_equal(m.type, PROTO_FAILED);
    assert_int_equal(m.slot, 5);
    assert_int_equal(m.generation, 6);
    assert_int_equal(m.value, 78);
    assert_int_equal(m.fd_count, 0);
    assert_string_equal(m.text, "no such interface");
    char text[2 * PROTO_TEXT];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(proto_tell(ends[0], &self, PROTO_SAVED, 0, text), SC_OK); /* too long: cut */
    assert_int_equal(proto_recv(ends[1], &m, fds), SC_OK);
    assert_int_equal(strlen(m.text), PROTO_TEXT - 1);
    assert_int_equal(proto_tell(ends[0], &self, PROTO_READY, 0, NULL), SC_OK);
    close(ends[0]);
    ends[0] = null_fd();
    assert_int_equal(proto_recv(ends[1], &m, fds), SC_OK); /* what was sent still comes */
    assert_string_equal(m.text, "");
    assert_int_equal(proto_recv(ends[1], &m, fds), SC_EOF);
    assert_int_equal(proto_tell(ends[1], &self, PROTO_READY, 0, NULL), SC_EOF); /* and no SIGPIPE */
}

static void test_full_socket(void **state)
{
    (void)state;
    struct proto_attachment self = {0};
    struct proto_msg m;
    int fds[PROTO_FDS_PER_MSG], sent = 0, rc;
    while ((rc = proto_tell(ends[0], &self, PROTO_SAVED, sent, "x")) == SC_OK)
        sent++;
    assert_int_equal(rc, SC_EFULL);
    assert_true(sent > 10);
    for (int i = 0; i < sent; i++) {
        assert_int_equal(proto_recv(ends[1], &m, fds), SC_OK);
        assert_int_equal(m.value, i);
    }
    assert_int_equal(proto_recv(ends[1], &m, fds), SC_EAGAIN);
}

static void test_attach(void **state)
{
    (void)state;
    struct proto_attachment a;
    struct stat one, two;
    send_fds(PROTO_FDS_PER_MSG);
    send_fds(2);
    send_attached(PROTO_FDS_PER_MSG + 2);
    assert_int_equal(proto_attach(ends[1], &a), SC_OK);
    assert_int_equal(a.slot, 3);
    assert_int_equal(a.generation, 9);
    assert_int_equal(a.count, PROTO_FDS_PER_MSG + 2);
    int fd = proto_take_fd(&a, ROLE_RING, 63);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(fstat(fd, &one), 0);
    assert_int_equal(stat("/dev/null", &two), 0);
    assert_int_equal(one.st_rdev, two.st_rdev);
    assert_int_equal(proto_take_fd(&a, ROLE_RING, 63), -1);
    assert_int_equal(proto_take_fd(&a, ROLE_ARENA, 0), -1);
    proto_attachment_free(&a);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC); /* taken: ours */
    close(fd);
}

static void test_attach_refused(void **state)
{
    (void)state;
    struct proto_attachment a;
    send_fds(2);
    send_attached(3); /* one is missing */
    assert_int_equal(proto_attach(ends[1], &a), SC_EFORMAT);
    assert_int_equal(a.count, 0);
    struct proto_msg m = {.type = PROTO_START, .slot = 3, .generation = 9};
    send_fds(2);
    assert_int_equal(proto_send(ends[0], &m, NULL), SC_OK); /* not now */
    assert_int_equal(proto_attach(ends[1], &a), SC_EFORMAT);
    send_fds(2);
    close(ends[0]);
    ends[0] = null_fd();
    assert_int_equal(proto_attach(ends[1], &a), SC_EOF);
}

/* A message for another generation is ignored, its fds are closed. */
static void test_other_generation(void **state)
{
    (void)state;
    struct proto_attachment a;
    int fd = null_fd();
    struct proto_msg m = fds_msg(1);
    m.generation = 8;
    send_fds(1);
    assert_int_equal(proto_send(ends[0], &m, &fd), SC_OK);
    close(fd);
    send_attached(1);
    assert_int_equal(proto_attach(ends[1], &a), SC_OK);
    assert_int_equal(a.count, 1);
    proto_attachment_free(&a);
}

/* Sends raw bytes with `count` fds, past all checks of proto_send. */
static void send_raw(const void *bytes, size_t len, unsigned count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 2 * PROTO_FDS_PER_MSG)];
        struct cmsghdr align;
    } control;
    int fds[2 * PROTO_FDS_PER_MSG];
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    for (unsigned i = 0; i < count; i++)
        fds[i] = null_fd();
    if (count > 0) {
        memset(&control, 0, sizeof control);
        mh.msg_control = control.bytes;
        mh.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(cm), fds, sizeof(int) * count);
    }
    assert_int_equal(sendmsg(ends[0], &mh, MSG_DONTWAIT), (ssize_t)len);
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

static void expect(int rc)
{
    struct proto_msg m;
    int fds[PROTO_FDS_PER_MSG];
    assert_int_equal(proto_recv(ends[1], &m, fds), rc);
    if (rc == SC_OK)
        for (unsigned i = 0; i < m.fd_count; i++)
            close(fds[i]);
    assert_int_equal(open_fds(), open_before + 2);
}

static void test_bad_form(void **state)
{
    (void)state;
    struct proto_msg good = fds_msg(2), m;
    good.version = PROTO_VERSION;
    char large[sizeof good + 8] = {0};
    memcpy(large, &good, sizeof good);

    send_raw(&good, sizeof good, 2);
    expect(SC_OK);
    for (size_t len = 1; len < sizeof good; len += 13) { /* cut */
        send_raw(&good, len, 2);
        expect(SC_EFORMAT);
    }
    send_raw(large, sizeof large, 2);
    expect(SC_EFORMAT);
    send_raw(&good, sizeof good, 0); /* fewer, more and far more fds than said */
    expect(SC_EFORMAT);
    send_raw(&good, sizeof good, 3);
    expect(SC_EFORMAT);
    send_raw(&good, sizeof good, 2 * PROTO_FDS_PER_MSG - 1);
    expect(SC_EFORMAT);
    m = good;
    m.version++;
    send_raw(&m, sizeof m, 2);
    expect(SC_EVERSION);
    m = good;
    m.type = 0;
    send_raw(&m, sizeof m, 2);
    expect(SC_EFORMAT);
    m.type = PROTO_TYPES_END;
    send_raw(&m, sizeof m, 2);
    expect(SC_EFORMAT);
    m = good;
    m.names[1].role = ROLE_LAST + 1;
    send_raw(&m, sizeof m, 2);
    expect(SC_EFORMAT);
    m.names[1].role = 0;
    send_raw(&m, sizeof m, 2);
    expect(SC_EFORMAT);
    m = good;
    m.text[PROTO_TEXT - 1] = 'x';
    send_raw(&m, sizeof m, 2);
    expect(SC_EFORMAT);
    send_raw(&good, sizeof good, 2); /* the next good one works */
    expect(SC_OK);
    m = fds_msg(PROTO_FDS_PER_MSG + 1);
    assert_int_equal(proto_send(ends[0], &m, NULL), SC_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attach, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attach_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_generation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_form, setup, teardown),
    };
    return cmocka_run_group_tests_name("proto", tests, NULL, NULL);
}
