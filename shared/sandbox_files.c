/* SPDX-License-Identifier: Apache-2.0
 * Landlock by its raw system calls (linux/landlock.h, Documentation/userspace-api/landlock.rst).
 * Failure policy: a kernel without it, or with the first version, under which every rename across directories is
 * EXDEV, is SC_EVERSION and the caller's to judge; any other failure is an error. What newer kernels can refuse is
 * asked for by number, since the header of the build may be older than the kernel of the run. */
#include "shared/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ABI_REFER 2
#define ABI_TRUNCATE 3
#define ABI_NETWORK 4
#define ABI_DEVICES 5
#define ABI_SCOPES 6

#define FS_FIRST (LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1) /* all 13 of the first version */
#define FS_REFER (UINT64_C(1) << 13)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)
#define NET_BIND_AND_CONNECT_TCP UINT64_C(3)
#define SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS UINT64_C(3)

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static const uint64_t rights[] = {
    [SANDBOX_READS] = READ,
    [SANDBOX_BINDS] = LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE,
    [SANDBOX_SAVES] = READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
                      LANDLOCK_ACCESS_FS_REMOVE_FILE | FS_REFER | FS_TRUNCATE,
};
#define OF_A_FILE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE) /* among them */

struct ruleset { /* landlock_ruleset_attr of version 6 */
    uint64_t files, network, scopes;
};

static struct ruleset ruleset_of(long abi)
{
    struct ruleset r = {.files = FS_FIRST | FS_REFER};
    if (abi >= ABI_TRUNCATE)
        r.files |= FS_TRUNCATE;
    if (abi >= ABI_NETWORK)
        r.network = NET_BIND_AND_CONNECT_TCP;
    if (abi >= ABI_DEVICES)
        r.files |= FS_IOCTL_DEV;
    if (abi >= ABI_SCOPES)
        r.scopes = SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS;
    return r;
}

static int add_tree(int ruleset, const struct ruleset *r, const struct sandbox_tree *tree)
{
    int fd = tree->path ? open(tree->path, O_PATH | O_CLOEXEC) : tree->fd;
    if (fd < 0 && tree->path)
        return SC_OK;
    struct stat st;
    int rc = fstat(fd, &st) == 0 ? SC_OK : SC_ESYS;
    if (rc == SC_OK) {
        uint64_t access = rights[tree->use] & r->files & (S_ISDIR(st.st_mode) ? UINT64_MAX : OF_A_FILE);
        struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
        if (access != 0 && syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
            rc = SC_ESYS;
    }
    int why = errno;
    if (tree->path)
        (void)close(fd);
    errno = why;
    return rc;
}

/* An older kernel takes a longer struct as long as what it does not know is zero. */
static int restrict_to(const struct sandbox_tree *trees, size_t count, const struct ruleset *r)
{
    int fd = (int)syscall(SYS_landlock_create_ruleset, r, sizeof *r, 0);
    if (fd < 0)
        return SC_ESYS;
    int rc = SC_OK;
    for (size_t i = 0; i < count && rc == SC_OK; i++)
        rc = add_tree(fd, r, &trees[i]);
    /* A sanitizer looks for leaks at the end, by what /proc says of the process. */
    const struct sandbox_tree proc = {SANDBOX_READS, -1, "/proc"};
    if (rc == SC_OK && SANDBOX_SANITIZED)
        rc = add_tree(fd, r, &proc);
    if (rc == SC_OK && syscall(SYS_landlock_restrict_self, fd, 0) != 0)
        rc = SC_ESYS;
    int why = errno;
    (void)close(fd);
    errno = why;
    return rc;
}

int sandbox_files(const struct sandbox_tree *trees, size_t count)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < ABI_REFER) /* -1: none, or switched off */
        return SC_EVERSION;
    const struct ruleset r = ruleset_of(abi);
    return restrict_to(trees, count, &r);
}
