/* SPDX-License-Identifier: Apache-2.0
 * Drives a fuzz target without a fuzzer: over its seeds, over the files of the directories given, and over a fixed
 * number of mutations of both (a fixed generator: the same on every run). `-seeds DIR` writes the seeds out for
 * libFuzzer. Prints the totals line. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (1u << 20)
#define MUTATIONS 2000u

static unsigned inputs;
static uint64_t state = 88172645463325252u;

static uint64_t next_random(void) /* xorshift64 */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void feed(const uint8_t *bytes, size_t n)
{
    if (!bytes)
        abort();
    uint8_t *copy = malloc(n ? n : 1); /* an own allocation of exactly n, so that a sanitizer sees an over-read */
    if (!copy)
        abort();
    memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    inputs++;
}

static void feed_mutations(const uint8_t *bytes, size_t n, unsigned count)
{
    uint8_t buf[FUZZ_SEED_MAX];
    if (n == 0 || n > sizeof(buf))
        return;
    for (unsigned i = 0; i < count; i++) {
        memcpy(buf, bytes, n);
        for (unsigned flips = 1 + (unsigned)(next_random() % 6); flips > 0; flips--)
            buf[next_random() % n] = (uint8_t)next_random();
        size_t len = next_random() % 4 ? n : 1 + next_random() % n;
        feed(buf, len);
    }
}

static int feed_file(const char *dir, const char *name, uint8_t *buf)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    size_t n = fread(buf, 1, INPUT_MAX, f);
    fclose(f);
    feed(buf, n);
    feed_mutations(buf, n, 20);
    return 0;
}

static int feed_dir(const char *dir)
{
    uint8_t *buf = malloc(INPUT_MAX);
    DIR *d = dir ? opendir(dir) : NULL;
    int failed = 0;
    if (!buf || !d) {
        fprintf(stderr, "%s: %s\n", dir, strerror(errno));
        free(buf);
        return 1;
    }
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            failed |= feed_file(dir, e->d_name, buf);
    closedir(d);
    free(buf);
    return failed;
}

static int write_seed(const char *dir, unsigned i, const uint8_t *bytes, size_t n)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/seed-%03u", dir, i);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        if (f)
            fclose(f);
        return 1;
    }
    return fclose(f) != 0;
}

int main(int argc, char **argv)
{
    uint8_t seed[FUZZ_SEED_MAX];
    const char *out = argc == 3 && !strcmp(argv[1], "-seeds") ? argv[2] : NULL;
    unsigned seeds = 0;
    for (size_t n; (n = fuzz_seed(seeds, seed)) > 0; seeds++) {
        if (out && write_seed(out, seeds, seed, n))
            return 1;
        if (!out) {
            feed(seed, n);
            feed_mutations(seed, n, MUTATIONS);
        }
    }
    if (out)
        return 0;
    feed(seed, 0);
    int failed = 0;
    for (int i = 1; i < argc && argv[i]; i++)
        failed |= feed_dir(argv[i]);
    printf("%s: %u seeds, %u inputs replayed\n", argv[0], seeds, inputs);
    printf("%d passed, %d failed\n", failed ? 0 : 1, failed ? 1 : 0);
    return failed;
}
