/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: see input.h. */
#include "dispatcher/ctl/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool input_read(const char *file, bool (*take)(void *ctx, const char *bytes, size_t n), void *ctx)
{
    static char buffer[65536];
    bool from_stdin = strcmp(file, "-") == 0;
    int fd = from_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0) {
        n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0 && !take(ctx, buffer, (size_t)n))
            break;
    }
    if (n < 0)
        (void)fprintf(stderr, "shardcapctl: cannot read %s: %s\n", from_stdin ? "standard input" : file,
                      strerror(errno));
    if (fd >= 0 && !from_stdin)
        (void)close(fd);
    return n >= 0;
}
