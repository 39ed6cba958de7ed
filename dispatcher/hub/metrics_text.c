/* SPDX-License-Identifier: Apache-2.0
 * The exposition format. Failure policy: the text's sticky flag. */
#include "dispatcher/hub/metrics_text.h"

#include <inttypes.h>

void metric_family(struct text *out, const char *name, const char *type, const char *help)
{
    text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void name_and_labels(struct text *out, const char *name, const char *labels)
{
    if (labels)
        text_printf(out, "%s{%s} ", name, labels);
    else
        text_printf(out, "%s ", name);
}

void metric_sample(struct text *out, const char *name, const char *labels, uint64_t value)
{
    name_and_labels(out, name, labels);
    text_printf(out, "%" PRIu64 "\n", value);
}

void metric_sample_real(struct text *out, const char *name, const char *labels, double value)
{
    name_and_labels(out, name, labels);
    text_printf(out, "%.15g\n", value);
}

void metric_single(struct text *out, const char *name, const char *type, const char *help, uint64_t value)
{
    metric_family(out, name, type, help);
    metric_sample(out, name, NULL, value);
}

uint64_t metric_of_shard(const struct pages *pages, unsigned shard, size_t offset)
{
    return counter_get((const counter *)((const char *)&pages->shard[shard]->c + offset));
}

uint64_t metric_sum(const struct pages *pages, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < pages->config->shards; i++)
        sum += metric_of_shard(pages, i, offset);
    return sum;
}

void metric_escape(char *out, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\\' || c == '"') {
            *out++ = '\\';
            *out++ = (char)c;
        } else {
            *out++ = (char)(c < 0x20 || c >= 0x7f ? '?' : c);
        }
    }
    *out = '\0';
}
