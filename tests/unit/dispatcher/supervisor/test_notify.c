/* SPDX-License-Identifier: Apache-2.0
 * What the service manager's end of the socket sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dispatcher/supervisor/notify.h"

static int manager(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    memcpy(at.sun_path, name, n);
    if (name[0] == '@')
        at.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, len), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static void expect(int fd, const char *text)
{
    char buf[64] = "";
    ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
    assert_int_equal(n, strlen(text));
    assert_string_equal(buf, text);
}

static void test_path(void **state)
{
    char dir[] = "/tmp/shardcap-notify-XXXXXX", path[64];
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/notify", dir);
    int fd = manager(path);
    notify_send("READY=1");
    expect(fd, "READY=1");
    notify_send("STOPPING=1");
    expect(fd, "STOPPING=1");
    close(fd);
    unlink(path);
    rmdir(dir);
}

static void test_abstract_name(void **state)
{
    char name[64];
    (void)state;
    snprintf(name, sizeof(name), "@shardcap-notify-%d", (int)getpid());
    int fd = manager(name);
    notify_send("READY=1");
    expect(fd, "READY=1");
    close(fd);
}

static void test_nobody_to_tell(void **state)
{
    char longer[200];
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    notify_send("READY=1");
    memset(longer, 'x', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    const char *const useless[] = {"", "relative", "/nonexistent/notify", "@", longer};
    for (size_t i = 0; i < sizeof(useless) / sizeof(*useless); i++) {
        setenv("NOTIFY_SOCKET", useless[i], 1);
        notify_send("READY=1");
    }
}

/* A manager that does not read must not stop us. */
static void test_full_socket(void **state)
{
    char name[64];
    (void)state;
    snprintf(name, sizeof(name), "@shardcap-notify-full-%d", (int)getpid());
    int fd = manager(name);
    for (int i = 0; i < 2000; i++)
        notify_send("WATCHDOG=1");
    expect(fd, "WATCHDOG=1");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_abstract_name),
        cmocka_unit_test(test_nobody_to_tell),
        cmocka_unit_test(test_full_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
