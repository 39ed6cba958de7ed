/* SPDX-License-Identifier: Apache-2.0
 * A network namespace of a unit test's own, with v0 and v1 joined and up, and interfaces of any kind. Include after
 * cmocka.h; ownnet_enter is the group's setup. */
#ifndef TESTS_UNIT_OWNNET_H
#define TESTS_UNIT_OWNNET_H

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/unit/skip.h"

static bool ownnet_there;

static inline bool ownnet_command(const char *text)
{
    return system(text) == 0;
}

static inline bool ownnet_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

/* In a user namespace: so that a command has the right to make interfaces, too. */
static inline bool ownnet_become_root(unsigned user)
{
    char map[32];
    (void)snprintf(map, sizeof map, "0 %u 1", user);
    return ownnet_write("/proc/self/uid_map", map);
}

static inline int ownnet_enter(void **state)
{
    unsigned user = (unsigned)geteuid();
    (void)state;
    if (unshare(CLONE_NEWNET) != 0 && (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 || !ownnet_become_root(user)))
        return 0;
    /* no router solicitations of the kernel's own: every packet is one of the test's */
    ownnet_there = ownnet_command(
        "for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done 2>/dev/null;"
        "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
    return 0;
}

#define NEED_NAMESPACE()                                                                                               \
    do {                                                                                                               \
        if (!ownnet_there)                                                                                             \
            SKIP_BECAUSE("network namespaces cannot be made here");                                                    \
    } while (0)

/* An interface with this link layer (ARPHRD_), up; it lives as long as the descriptor. -1: there is no /dev/net/tun. */
static inline int ownnet_tun(const char *name, int link_layer)
{
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    char command[64];
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -1;
    (void)snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    (void)snprintf(command, sizeof command, "ip link set %s up", name);
    assert_int_equal(ioctl(fd, TUNSETIFF, &r), 0);
    assert_int_equal(ioctl(fd, TUNSETLINK, link_layer), 0);
    assert_true(ownnet_command(command));
    return fd;
}

#endif
