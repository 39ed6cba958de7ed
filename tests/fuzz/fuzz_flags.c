/* SPDX-License-Identifier: Apache-2.0
 * Any words as command line and environment: accepted within their ranges, or refused with one line. Input: words cut
 * at NUL bytes; one that holds '=' and no leading '-' goes to the environment. */
#include <string.h>

#include "shared/flags.h"
#include "shared/frame.h"
#include "tests/fuzz/fuzz.h"

#define WORDS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    static struct flags_request request;
    char *argv[WORDS + 2] = {(char[]){"shardcap"}}, *envp[WORDS + 1] = {0};
    char error[FLAGS_ERROR] = "";
    int argc = 1, envc = 0;
    char *text = malloc(size + 1);
    FUZZ_CHECK(text);
    memcpy(text, data, size);
    text[size] = 0;
    for (size_t off = 0; off < size && argc < WORDS && envc < WORDS; off += strlen(text + off) + 1) {
        if (text[off] != '-' && strchr(text + off, '='))
            envp[envc++] = text + off;
        else
            argv[argc++] = text + off;
    }
    argv[argc] = NULL;
    int err = flags_parse(argc, argv, envp, &config, &request, NULL, error);
    FUZZ_CHECK(err == SC_OK || err == SC_EINVAL);
    if (err == SC_EINVAL) {
        FUZZ_CHECK(error[0] && !strchr(error, '\n') && strlen(error) < sizeof(error));
    } else if (!request.help && !request.version) {
        FUZZ_CHECK(config.shards >= 1 && config.shards <= SHARDS_MAX);
        FUZZ_CHECK(config.ringsize >= RING_MIN_SIZE && !(config.ringsize & (config.ringsize - 1)));
        FUZZ_CHECK(config.maxheadersize >= 1 && config.maxheadersize <= FRAME_MAX_CAPLEN);
        FUZZ_CHECK(config.uuidwaitduration_ns <= config.captureduration_ns && config.flowtimeout_ns > 0);
        FUZZ_CHECK(config.savefile_count <= SAVEFILES_MAX && config.interface_count <= INTERFACES_MAX);
    }
    free(text);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t out[FUZZ_SEED_MAX])
{
    static const char live[] =
        "-datadir=/d\0-interface\0eth0,eth1\0-flowtimeout=1m2.5s\0-maxheap\0002GB\0FLOWTIMEOUT=5s\0-shards=7";
    static const char read[] =
        "--read=-\0-uuid.source=hash\0-ringsize=1MB\0-anonymize.ip=netblock\0-gzip=none\0-stream";
    if (i > 1)
        return 0;
    const char *seed = i ? read : live;
    size_t n = i ? sizeof(read) : sizeof(live);
    memcpy(out, seed, n);
    return n;
}
