/* SPDX-License-Identifier: Apache-2.0
 * The settings cross a process border whole, and those of another build do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "shared/config.h"
#include "shared/shm.h"

static int config_fd(struct config **writable)
{
    size_t bytes;
    int fd = shm_create("config", sizeof(struct config));
    assert_true(fd >= 0);
    *writable = shm_map(fd, true, &bytes);
    assert_non_null(*writable);
    config_init(*writable);
    return fd;
}

static void maps_what_was_sent(void **state)
{
    (void)state;
    struct config *mine;
    const struct config *theirs;
    int fd = config_fd(&mine);
    mine->shards = 7;
    assert_int_equal(config_map(fd, &theirs), SC_OK);
    assert_int_equal(close(fd), 0);
    assert_int_equal(theirs->shards, 7);
    assert_false(config_reads_files(theirs));
    shm_unmap(mine, sizeof *mine);
    shm_unmap((void *)theirs, sizeof *theirs);
}

static void refuses_another_build(void **state)
{
    (void)state;
    struct config *c;
    const struct config *theirs;
    int fd = config_fd(&c);
    c->magic++;
    assert_int_equal(config_map(fd, &theirs), SC_EVERSION);
    assert_null(theirs);
    config_init(c);
    c->layout++;
    assert_int_equal(config_map(fd, &theirs), SC_EVERSION);
    config_init(c);
    c->bytes--;
    assert_int_equal(config_map(fd, &theirs), SC_EVERSION);
    shm_unmap(c, sizeof *c);
    close(fd);

    fd = shm_create("short", 4096);
    assert_true(fd >= 0);
    assert_int_equal(config_map(fd, &theirs), SC_EVERSION);
    close(fd);
    assert_int_equal(config_map(-1, &theirs), SC_ESYS);
    assert_null(theirs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_what_was_sent),
        cmocka_unit_test(refuses_another_build),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
