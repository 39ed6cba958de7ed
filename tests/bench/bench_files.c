/* SPDX-License-Identifier: Apache-2.0
 * The measure of P11: a bare loop of open, one write, close, rename, as a finished flow costs at least.
 * Usage: bench_files DIR [files] [bytes per file]. Makes DIR/a and DIR/b, which must not exist. One line of JSON. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/frames.h"

int main(int argc, char **argv)
{
    if (argc < 2 || chdir(argv[1]) != 0 || mkdir("a", 0777) != 0 || mkdir("b", 0777) != 0) {
        perror("bench_files DIR");
        return 2;
    }
    uint64_t files = bench_arg(argc, argv, 2, 10000);
    size_t bytes = (size_t)bench_arg(argc, argv, 3, 200);
    void *contents = bench_memory(bytes);
    int a = open("a", O_PATH | O_DIRECTORY | O_CLOEXEC), b = open("b", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int64_t start = bench_now();
    for (uint64_t i = 0; i < files; i++) {
        char name[32];
        snprintf(name, sizeof name, "%llu", (unsigned long long)i);
        int fd = openat(a, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 || write(fd, contents, bytes) != (ssize_t)bytes || close(fd) != 0 ||
            renameat(a, name, b, name) != 0) {
            perror(name);
            return 1;
        }
    }
    double ns = (double)(bench_now() - start);
    printf("{\"files\": %llu, \"files_per_second\": %.0f}\n", (unsigned long long)files, (double)files * 1e9 / ns);
    return 0;
}
