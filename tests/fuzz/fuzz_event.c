/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as an event stream: cut into lines, each accepted or refused with one reason; an accepted one is a valid
 * file name, and formatted and parsed again it is the same event. */
#include <string.h>

#include "shared/flowevent.h"
#include "shared/lines.h"
#include "tests/fuzz/fuzz.h"

static void on_line(void *ctx, const char *line, size_t len)
{
    struct flowevent ev, again;
    char text[FLOWEVENT_TEXT];
    (void)ctx;
    enum flowevent_bad bad = flowevent_parse(line, len, &ev);
    FUZZ_CHECK(bad >= FLOWEVENT_GOOD && bad < FLOWEVENT_BAD_COUNT);
    if (bad != FLOWEVENT_GOOD)
        return;
    FUZZ_CHECK(uuid_valid(ev.uuid.text, strlen(ev.uuid.text)));
    FUZZ_CHECK(!strchr(ev.uuid.text, '/') && !strstr(ev.uuid.text, "..") && ev.uuid.text[0] != '.');
    FUZZ_CHECK(ev.kind == FLOWEVENT_CLOSE || ev.has_id);
    int n = flowevent_format(&ev, text, sizeof(text));
    FUZZ_CHECK(n > 0 && (size_t)n < sizeof(text));
    FUZZ_CHECK(flowevent_parse(text, (size_t)n, &again) == FLOWEVENT_GOOD);
    FUZZ_CHECK(again.time.ns == ev.time.ns && strcmp(again.uuid.text, ev.uuid.text) == 0 && again.has_id == ev.has_id);
    if (ev.has_id)
        FUZZ_CHECK(flowkey_equal(&again.key, &ev.key) && again.cookie == ev.cookie);
}

static void on_too_long(void *ctx)
{
    (void)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lines *l = lines_new(1024, on_line, on_too_long, NULL);
    FUZZ_CHECK(l);
    size_t half = size / 2;
    lines_feed(l, (const char *)data, half); /* a read may end anywhere */
    lines_feed(l, (const char *)data + half, size - half);
    lines_end(l);
    lines_free(l);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t out[FUZZ_SEED_MAX])
{
    static const char *const seeds[] = {
        "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48.123456789Z\",\"UUID\":\"ndt-4c6fb_1625899199_"
        "00000000013A4623\","
        "\"ID\":{\"SPort\":443,\"DPort\":51234,\"SrcIP\":\"192.0.2.10\",\"DstIP\":\"198.51.100.7\",\"Interface\":0,"
        "\"Cookie\":20596259}}\n",
        "{\"Event\":1,\"Timestamp\":\"2024-11-19T16:51:48.123456789Z\",\"UUID\":\"a_1_00000000013A4623\",\"ID\":null}"
        "\r\n",
        "{\"event\":0,\"timestamp\":\"0001-01-01T00:00:60+14:00\",\"uuid\":\"a\",\"id\":{\"sport\":0,\"dport\":65535,"
        "\"srcip\":\"::ffff:192.0.2.1\",\"dstip\":\"::ffff:192.0.2.2\",\"cookie\":-1}}",
    };
    if (i >= sizeof(seeds) / sizeof(*seeds))
        return 0;
    memcpy(out, seeds[i], strlen(seeds[i]));
    return strlen(seeds[i]);
}
