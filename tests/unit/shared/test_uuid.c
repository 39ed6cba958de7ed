/* SPDX-License-Identifier: Apache-2.0
 * Which texts may become file names; names of cookies; prefixes by default and from files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/uuid.h"

#define LIT(s) (s), sizeof(s) - 1

static void good_uuids(void **state)
{
    (void)state;
    char full[UUID_MAX + 1];
    memset(full, 'a', sizeof full);
    struct uuid u;
    assert_int_equal(uuid_set(&u, LIT("ndt-4c6fb_1625899199_00000000013A4623")), SC_OK);
    assert_string_equal(u.text, "ndt-4c6fb_1625899199_00000000013A4623");
    assert_true(uuid_valid(LIT("0")));
    assert_true(uuid_valid(LIT("a.b:c-d_e.")));
    assert_true(uuid_valid(full, UUID_MAX));
    assert_false(uuid_valid(full, UUID_MAX + 1));
}

static void hostile_uuids(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
    } bad[] = {{LIT("../../etc/x")}, {LIT("/abs")}, {LIT("a/b")},      {LIT(".")},     {LIT("..")},  {LIT("")},
               {LIT("a\0b")},        {LIT("a\n")},  {LIT("\xc0\xaf")}, {LIT("a\xc0")}, {LIT("%2e")}, {LIT("a%2e")},
               {LIT("a\\\\b")},      {LIT("-rf")},  {LIT("_a")},       {LIT(":a")},    {LIT(".a")},  {LIT("a..b")},
               {LIT("a..")},         {LIT("a b")},  {LIT(" a")},       {LIT("a\x7f")}, {LIT("a*")}};
    char big[300];
    struct uuid u;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memset(&u, 'x', sizeof u);
        assert_int_equal(uuid_set(&u, bad[i].text, bad[i].len), SC_EFORMAT);
        assert_string_equal(u.text, "");
    }
    memset(big, 'a', sizeof big);
    assert_int_equal(uuid_set(&u, big, sizeof big), SC_EFORMAT);
}

static void every_byte_alone(void **state)
{
    (void)state;
    int first = 0, later = 0;
    for (int c = 0; c < 256; c++) {
        char one = (char)c, two[2] = {'a', (char)c};
        first += uuid_valid(&one, 1);
        later += uuid_valid(two, 2);
    }
    assert_int_equal(first, 62);
    assert_int_equal(later, 66);
}

static void cookie_names(void **state)
{
    (void)state;
    struct uuid u;
    assert_int_equal(uuid_from_cookie(&u, "ndt-4c6fb_1625899199", 20596259), SC_OK);
    assert_string_equal(u.text, "ndt-4c6fb_1625899199_00000000013A4623");
    assert_int_equal(uuid_from_cookie(&u, "h", UINT64_MAX), SC_OK);
    assert_string_equal(u.text, "h_FFFFFFFFFFFFFFFF");
    assert_int_equal(uuid_from_cookie(&u, "../x", 1), SC_EFORMAT);
    assert_string_equal(u.text, "");

    char prefix[UUID_PREFIX_MAX + 2];
    memset(prefix, 'p', sizeof prefix);
    prefix[UUID_PREFIX_MAX + 1] = '\0';
    assert_int_equal(uuid_from_cookie(&u, prefix, 1), SC_ETOOLONG);
    prefix[UUID_PREFIX_MAX] = '\0';
    assert_int_equal(uuid_from_cookie(&u, prefix, 1), SC_OK);
    assert_int_equal(strlen(u.text), UUID_MAX);
    assert_true(uuid_valid(u.text, UUID_MAX));
}

static void composed_prefixes(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"ndt-x7k2p", "ndt-x7k2p_1625899199_unsafe"},
        {"web.example.net", "web.example.net_1625899199_unsafe"},
        {"a/b c", "a-b-c_1625899199_unsafe"},
        {"a..b...c", "a.-b.-.c_1625899199_unsafe"},
        {"-dash", "x-dash_1625899199_unsafe"},
        {"", "unknown_1625899199_unsafe"},
        {"..", "x.-_1625899199_unsafe"},
        {"\xc3\xbc", "x--_1625899199_unsafe"},
    };
    struct uuid u, named;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uuid_compose_prefix(&u, cases[i][0], 1625899199);
        assert_string_equal(u.text, cases[i][1]);
        assert_int_equal(uuid_from_cookie(&named, u.text, 1), SC_OK);
    }
    char host[300];
    memset(host, 'h', sizeof host);
    host[sizeof host - 1] = '\0';
    uuid_compose_prefix(&u, host, INT64_MIN);
    assert_int_equal(strlen(u.text), UUID_PREFIX_MAX);
    assert_int_equal(uuid_from_cookie(&named, u.text, 1), SC_OK);
}

static void default_prefix(void **state)
{
    (void)state;
    struct uuid u;
    assert_int_equal(setenv("POD_NAME", "ndt pod", 1), 0);
    assert_int_equal(uuid_default_prefix(&u), SC_OK);
    assert_memory_equal(u.text, "ndt-pod_", 8);
    assert_non_null(strstr(u.text, "_unsafe"));
    assert_true(strtoll(u.text + 8, NULL, 10) > 1000000000);
    assert_int_equal(setenv("POD_NAME", "", 1), 0); /* as good as unset: the host's name */
    assert_int_equal(uuid_default_prefix(&u), SC_OK);
    assert_true(uuid_valid(u.text, strlen(u.text)));
    assert_null(strstr(u.text, "ndt-pod"));
    assert_int_equal(unsetenv("POD_NAME"), 0);
}

static int prefix_of(struct uuid *u, const char *bytes, size_t len)
{
    char path[] = "/tmp/test_uuid.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
    int rc = uuid_prefix_from_file(u, path);
    assert_int_equal(unlink(path), 0);
    return rc;
}

static void prefix_files(void **state)
{
    (void)state;
    struct uuid u;
    char big[4096];
    assert_int_equal(prefix_of(&u, LIT("ndt-4c6fb_1625899199\n")), SC_OK);
    assert_string_equal(u.text, "ndt-4c6fb_1625899199");
    assert_int_equal(prefix_of(&u, LIT("ndt-4c6fb_1625899199")), SC_OK);
    assert_string_equal(u.text, "ndt-4c6fb_1625899199");
    assert_int_equal(prefix_of(&u, LIT("a\n\n")), SC_EFORMAT); /* only the final newline goes */
    assert_int_equal(prefix_of(&u, LIT("a\r\n")), SC_EFORMAT);
    assert_int_equal(prefix_of(&u, LIT("a\0")), SC_EFORMAT);
    assert_int_equal(prefix_of(&u, LIT("../a\n")), SC_EFORMAT);
    assert_int_equal(prefix_of(&u, LIT("")), SC_EFORMAT);
    assert_int_equal(prefix_of(&u, LIT("\n")), SC_EFORMAT);
    memset(big, 'p', sizeof big);
    assert_int_equal(prefix_of(&u, big, UUID_PREFIX_MAX), SC_OK);
    assert_int_equal(prefix_of(&u, big, UUID_PREFIX_MAX + 1), SC_ETOOLONG);
    assert_int_equal(prefix_of(&u, big, sizeof big), SC_ETOOLONG);
}

static void prefix_files_that_cannot_be_read(void **state)
{
    (void)state;
    struct uuid u;
    errno = 0;
    assert_int_equal(uuid_prefix_from_file(&u, "/nonexistent/prefix"), SC_ESYS);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(uuid_prefix_from_file(&u, "/"), SC_ESYS);
    assert_int_equal(errno, EISDIR);
    char dir[] = "/tmp/test_uuid.XXXXXX", fifo[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(fifo, sizeof fifo, "%s/fifo", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(uuid_prefix_from_file(&u, fifo), SC_EFORMAT); /* and does not wait for a writer */
    assert_int_equal(unlink(fifo), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void cookies_of_names(void **state)
{
    (void)state;
    struct uuid u, prefix;
    uint64_t cookie = 1;
    assert_int_equal(uuid_from_cookie(&u, "p_1", UINT64_C(0x8000000013A4623F)), SC_OK);
    assert_int_equal(uuid_cookie(&u, &cookie), SC_OK);
    assert_true(cookie == UINT64_C(0x8000000013A4623F));
    assert_int_equal(uuid_prefix_of(&u, &prefix), SC_OK);
    assert_string_equal(prefix.text, "p_1");
    static const char *const others[] = {"short", "p_00000000013A462", "p-00000000013A4623", "p_00000000013a4623",
                                         "p_00000000013A4623.1"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(uuid_set(&u, others[i], strlen(others[i])), SC_OK);
        assert_int_equal(uuid_cookie(&u, &cookie), SC_EFORMAT);
        assert_int_equal(cookie, 0);
        assert_int_equal(uuid_prefix_of(&u, &prefix), SC_EFORMAT);
        assert_string_equal(prefix.text, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_uuids),        cmocka_unit_test(hostile_uuids),
        cmocka_unit_test(every_byte_alone),  cmocka_unit_test(cookie_names),
        cmocka_unit_test(composed_prefixes), cmocka_unit_test(default_prefix),
        cmocka_unit_test(prefix_files),      cmocka_unit_test(prefix_files_that_cannot_be_read),
        cmocka_unit_test(cookies_of_names),
    };
    return cmocka_run_group_tests_name("uuid", tests, NULL, NULL);
}
