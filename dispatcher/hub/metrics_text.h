/* SPDX-License-Identifier: Apache-2.0
 * The exposition format, line by line: HELP and TYPE once per family, then its samples. */
#ifndef HUB_METRICS_TEXT_H
#define HUB_METRICS_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "dispatcher/hub/pages.h"
#include "dispatcher/hub/text.h"

#define METRIC_COUNTER "counter"
#define METRIC_GAUGE "gauge"
#define METRIC_HISTOGRAM "histogram"

void metric_family(struct text *out, const char *name, const char *type, const char *help);
/* labels without braces, values escaped by metric_escape where they are foreign; NULL = none. */
void metric_sample(struct text *out, const char *name, const char *labels, uint64_t value);
void metric_sample_real(struct text *out, const char *name, const char *labels, double value);

/* A family of one sample. */
void metric_single(struct text *out, const char *name, const char *type, const char *help, uint64_t value);

/* One counter per shard: offset into struct shard_counters. */
uint64_t metric_sum(const struct pages *pages, size_t offset);
uint64_t metric_of_shard(const struct pages *pages, unsigned shard, size_t offset);

/* Escapes backslash, quote and newline, and replaces bytes that are not ASCII by '?'. out holds 2 * len + 1. */
void metric_escape(char *out, const char *bytes, size_t len);

#endif
