/* SPDX-License-Identifier: Apache-2.0
 * The metrics address and its socket. */
#include "dispatcher/supervisor/settings_listen.h"
#include "tests/unit/dispatcher/supervisor/settings_fixture.h"

static void test_addresses(void **state)
{
    static const struct {
        const char *address, *host;
        unsigned port;
    } good[] = {{":9990", "", 9990}, {"127.0.0.1:9993", "127.0.0.1", 9993},   {"[::1]:9990", "::1", 9990},
                {"[::]:0", "::", 0}, {"localhost:65535", "localhost", 65535}, {"0.0.0.0:1", "0.0.0.0", 1}};
    static const char *const bad[] = {"",    ":",    "9990", "host",  "host:",   "::1:80",  ":65536", ":-1",
                                      ":+1", ": 80", ":80 ", ":0x50", ":999999", "[::1:80", ":http"};
    char host[256];
    unsigned port;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(settings_split_address(good[i].address, host, &port), SC_OK);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (settings_split_address(bad[i], host, &port) == SC_OK)
            fail_msg("\"%s\" was taken for an address", bad[i]);
}

static void test_listening(void **state)
{
    static const char *const forms[] = {":0", "127.0.0.1:0", "localhost:0", "0.0.0.0:0"};
    char url[280], address[64], port[16];
    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        int fd = settings_listen(forms[i], url, sizeof(url), error);
        assert_true(fd >= 0);
        assert_true(strncmp(url, "http://127.0.0.1:", 17) == 0 || strncmp(url, "http://[::1]:", 13) == 0);
        assert_int_not_equal(atoi(strrchr(url, ':') + 1), 0);
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        close(fd);
    }
    int first = settings_listen("127.0.0.1:0", url, sizeof(url), error);
    assert_true(first >= 0);
    snprintf(port, sizeof(port), "%s", strrchr(url, ':') + 1);
    snprintf(address, sizeof(address), "127.0.0.1:%s", port);
    assert_int_equal(settings_listen(address, url, sizeof(url), error), -1);
    assert_non_null(strstr(error, "flag -prometheusx.listen-address: port "));
    assert_non_null(strstr(error, port));
    assert_non_null(strstr(error, "is in use"));
    close(first);
    assert_int_equal(settings_listen("192.0.2.1:0", url, sizeof(url), error), -1); /* not an address of this machine */
    assert_non_null(strstr(error, "-prometheusx.listen-address"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_addresses),
        TEST(test_listening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
