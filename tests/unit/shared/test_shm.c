/* SPDX-License-Identifier: Apache-2.0
 * Shared memory: size, seals, shared view, read-only mapping. */
#include "shared/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void test_create_and_map(void **state)
{
    (void)state;
    size_t a_bytes = 0, b_bytes = 0;
    int fd = shm_create("test", 5000);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    char *a = shm_map(fd, true, &a_bytes);
    const char *b = shm_map(fd, false, &b_bytes);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a_bytes, 8192);
    assert_int_equal(b_bytes, 8192);
    for (size_t i = 0; i < a_bytes; i++)
        assert_int_equal(a[i], 0);
    strcpy(a + 8000, "seen");
    assert_string_equal(b + 8000, "seen");
    shm_unmap(a, a_bytes);
    assert_string_equal(b + 8000, "seen"); /* a mapping outlives the others */
    a = shm_map(fd, true, &a_bytes);       /* a restarted writer gets its mapping */
    assert_non_null(a);
    assert_string_equal(a + 8000, "seen");
    shm_unmap(a, a_bytes);
    shm_unmap((void *)(uintptr_t)b, b_bytes);
    shm_unmap(NULL, 0);
    close(fd);
}

static void test_size_is_sealed(void **state)
{
    (void)state;
    int fd = shm_create("test", 4096);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 8192), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    close(fd);
}

static void test_failures(void **state)
{
    (void)state;
    size_t bytes;
    assert_int_equal(shm_create("test", 0), SC_ESYS);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(shm_create("test", SIZE_MAX), SC_ESYS);
    assert_null(shm_map(-1, false, &bytes));
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_null(shm_map(pipes[0], false, &bytes));
    close(pipes[0]);
    close(pipes[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_and_map),
        cmocka_unit_test(test_size_is_sealed),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests_name("shm", tests, NULL, NULL);
}
