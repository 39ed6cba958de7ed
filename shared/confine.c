/* SPDX-License-Identifier: Apache-2.0
 * Users, capabilities and process attributes, given up for good. The only user of libcap.
 * Failure policy: a power that cannot be given up is an error of the call, and the caller must not go on; only the
 * bounding set is dropped as far as possible, since it cannot be without CAP_SETPCAP and matters only across an exec.
 */
#include "shared/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* user_namespaces(7): where it says so, no capability helps. */
static bool setgroups_forbidden(void)
{
    char word[8] = "";
    int fd = open("/proc/self/setgroups", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, word, sizeof word - 1);
    close(fd);
    return n >= 4 && memcmp(word, "deny", 4) == 0;
}

static int drop_groups(void)
{
    if (setgroups(0, NULL) == 0)
        return SC_OK;
    int why = errno;
    if (why == EPERM && (getgroups(0, NULL) == 0 || setgroups_forbidden()))
        return SC_OK;
    errno = why;
    return SC_ESYS;
}

/* Raises a permitted capability. SC_EPERM if it is not permitted. */
static int raise_capability(cap_t caps, cap_value_t which)
{
    cap_flag_value_t permitted = CAP_CLEAR;
    if (cap_get_flag(caps, which, CAP_PERMITTED, &permitted) != 0)
        return SC_ESYS;
    if (permitted != CAP_SET)
        return SC_EPERM;
    return cap_set_flag(caps, CAP_EFFECTIVE, 1, &which, CAP_SET) == 0 ? SC_OK : SC_ESYS;
}

/* caps: the process's own, with CAP_SETPCAP raised if that could be done. */
static int drop_bounding_set(cap_t caps)
{
    cap_flag_value_t can = CAP_CLEAR;
    if (cap_get_flag(caps, CAP_SETPCAP, CAP_EFFECTIVE, &can) != 0)
        return SC_ESYS;
    if (can != CAP_SET)
        return SC_OK;
    if (cap_set_proc(caps) != 0)
        return SC_ESYS;
    for (cap_value_t c = 0; c < cap_max_bits(); c++)
        if (cap_get_bound(c) == 1 && cap_drop_bound(c) != 0)
            return SC_ESYS;
    return SC_OK;
}

/* While CAP_SETPCAP is there: the change of user takes it away. */
static int bound_nothing(void)
{
    cap_t caps = cap_get_proc();
    if (!caps)
        return SC_ESYS;
    int rc = raise_capability(caps, CAP_SETPCAP);
    if (rc == SC_OK)
        rc = drop_bounding_set(caps);
    int why = errno;
    (void)cap_free(caps);
    errno = why;
    return rc == SC_EPERM ? SC_OK : rc;
}

int confine_user(uid_t uid, gid_t gid)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    int rc = drop_groups();
    if (rc == SC_OK)
        rc = bound_nothing();
    if (rc != SC_OK)
        return rc;
    if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0 || getresuid(&ruid, &euid, &suid) != 0 ||
        getresgid(&rgid, &egid, &sgid) != 0)
        return SC_ESYS;
    if (ruid != uid || euid != uid || suid != uid || rgid != gid || egid != gid || sgid != gid) {
        errno = EPERM;
        return SC_ESYS;
    }
    return SC_OK;
}

/* With the process's capabilities in caps. */
static int reduce(cap_t caps, bool keep_net_raw)
{
    cap_value_t net_raw = CAP_NET_RAW;
    int rc = keep_net_raw ? raise_capability(caps, CAP_NET_RAW) : SC_OK;
    if (rc != SC_OK)
        return rc;
    if (cap_reset_ambient() != 0)
        return SC_ESYS;
    rc = raise_capability(caps, CAP_SETPCAP);
    if (rc == SC_OK)
        rc = drop_bounding_set(caps);
    if (rc != SC_OK && rc != SC_EPERM)
        return rc;
    if (cap_clear(caps) != 0)
        return SC_ESYS;
    if (keep_net_raw && (cap_set_flag(caps, CAP_PERMITTED, 1, &net_raw, CAP_SET) != 0 ||
                         cap_set_flag(caps, CAP_EFFECTIVE, 1, &net_raw, CAP_SET) != 0))
        return SC_ESYS;
    return cap_set_proc(caps) == 0 ? SC_OK : SC_ESYS;
}

int confine_capabilities(bool keep_net_raw)
{
    cap_t caps = cap_get_proc();
    if (!caps)
        return SC_ESYS;
    int rc = reduce(caps, keep_net_raw);
    int why = errno;
    (void)cap_free(caps);
    errno = why;
    return rc;
}

static int ignore(int signal_number)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    return sigaction(signal_number, &action, NULL) == 0 ? SC_OK : SC_ESYS;
}

int confine_process(pid_t parent, bool child)
{
    const struct rlimit none = {0, 0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0 || setrlimit(RLIMIT_CORE, &none) != 0 ||
        prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL) != 0 || ignore(SIGPIPE) != SC_OK)
        return SC_ESYS;
    if (!child)
        return SC_OK;
    if (ignore(SIGINT) != SC_OK || ignore(SIGHUP) != SC_OK ||
        prctl(PR_SET_PDEATHSIG, (unsigned long)SIGCONT, 0UL, 0UL, 0UL) != 0)
        return SC_ESYS;
    return parent != 0 && getppid() != parent ? SC_EOF : SC_OK;
}

bool confine_has_net_raw(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: receives nothing */
    if (fd < 0)
        return false;
    close(fd);
    return true;
}
