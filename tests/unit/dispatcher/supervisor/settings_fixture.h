/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the settings share: a directory of its own for each test, and flags that point into it. */
#ifndef TEST_SETTINGS_FIXTURE_H
#define TEST_SETTINGS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dispatcher/supervisor/settings.h"
#include "shared/proto.h"
#include "tests/unit/skip.h"

#define NOBODY 65534
#define PATH_ROOM 160

static char dir[64];
static struct config config;
static struct flags_request request;
static struct settings_fds fds;
static char error[FLAGS_ERROR];
static int status;

static inline const char *in(const char *name)
{
    static char ring[8][PATH_ROOM];
    static unsigned next;
    char *out = ring[next++ % 8];
    snprintf(out, PATH_ROOM, "%s/%s", dir, name);
    return out;
}

static inline void put(const char *name, const char *text)
{
    FILE *f = fopen(in(name), "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline void make(const char *name)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s", in(name));
    for (char *slash = strchr(path + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0755);
        *slash = '/';
    }
    assert_int_equal(mkdir(path, 0755), 0);
}

static inline unsigned entries(const char *path)
{
    unsigned n = 0;
    DIR *d = opendir(path);
    if (!d)
        return 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

static inline struct stat about(const char *path)
{
    struct stat st;
    memset(&st, 0, sizeof(st));
    if (lstat(path, &st) != 0)
        st.st_mode = 0;
    return st;
}

static inline int setup(void **state)
{
    (void)state;
    unsetenv("SUDO_UID");
    unsetenv("SUDO_GID");
    unsetenv("XDG_RUNTIME_DIR");
    umask(022);
    strcpy(dir, "/tmp/shardcap-settings-XXXXXX");
    memset(&fds, 0, sizeof(fds));
    return mkdtemp(dir) && chmod(dir, 0755) == 0 ? 0 : -1;
}

static inline int teardown(void **state)
{
    char command[128];
    (void)state;
    if (fds.lock > 2) {
        close(fds.lock);
        close(fds.datadir);
        close(fds.stagingdir);
    }
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) == 0 ? 0 : -1; /* a name of our own: nothing to quote */
}

/* The flags, with datadir and rundir in the test's directory unless named. */
static inline int parse(const char *const *flags)
{
    char data[PATH_ROOM + 16], run[PATH_ROOM + 16];
    char *argv[24] = {(char *)(uintptr_t) "shardcap", data, run, (char *)(uintptr_t) "-prometheusx.listen-address="};
    int argc = 4;
    snprintf(data, sizeof(data), "-datadir=%s", in("data"));
    snprintf(run, sizeof(run), "-rundir=%s", in("run"));
    for (; *flags; flags++)
        argv[argc++] = (char *)(uintptr_t)*flags;
    return flags_parse(argc, argv, NULL, &config, &request, NULL, error);
}

static inline int check(const char *const *flags)
{
    assert_int_equal(parse(flags), SC_OK);
    status = -1;
    error[0] = '\0';
    return settings_check(&config, &request, error, &status);
}

static inline int open_all(const char *const *flags)
{
    assert_int_equal(check(flags), SC_OK);
    return settings_open(&config, &fds, error, &status);
}

#define NO_FLAGS ((const char *const[]){NULL})
#define FLAGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline const char *with(const char *flag, const char *value)
{
    static char ring[8][PATH_ROOM * 2];
    static unsigned next;
    char *out = ring[next++ % 8];
    snprintf(out, PATH_ROOM * 2, "-%s=%s", flag, value);
    return out;
}

static inline void refused(const char *const *flags, int expected, const char *flag, const char *word)
{
    assert_int_not_equal(check(flags), SC_OK);
    assert_int_equal(status, expected);
    if (!strstr(error, flag) || !strstr(error, word) || strchr(error, '\n'))
        fail_msg("\"%s\" should name %s and %s on one line", error, flag, word);
}

/* A user namespace may know root alone. */
static inline bool root_with_users(void)
{
    struct stat st;
    put("trial", "");
    bool is = geteuid() == 0 && chown(in("trial"), NOBODY, NOBODY) == 0 && stat(in("trial"), &st) == 0;
    unlink(in("trial"));
    return is;
}

#define need_root_with_users()                                                                                         \
    do {                                                                                                               \
        if (!root_with_users())                                                                                        \
            SKIP_BECAUSE("needs root and other users");                                                                \
    } while (0)

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
