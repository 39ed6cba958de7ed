/* SPDX-License-Identifier: Apache-2.0
 * See reporter.h. */
#include "shard/reporter.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "shared/log.h"
#include "shared/report.h"

/* Somebody listens, or each flow's end goes to the log. */
static bool heard(const struct reporter *r)
{
    return r && (r->fd >= 0 || log_debug_enabled());
}

static void send_or_count(struct reporter *r, struct report *m)
{
    if (r->fd < 0)
        return;
    m->left_out = counter_get(&r->c->reports_left_out);
    if (report_send(r->fd, m) != SC_OK)
        counter_add(&r->c->reports_left_out, 1);
}

static struct report masked(const struct reporter *r, enum report_kind kind, const struct flowkey *key,
                            uint64_t packets)
{
    struct report m = {.kind = (uint16_t)kind, .key = *key, .packets = packets};
    anonymize_key(r->anonymizer, &m.key);
    return m;
}

/* m->key is masked. what: the path of its file, or the cause. */
static void note(const struct report *m, const char *fate, const char *what)
{
    char flow[FLOWKEY_TEXT];
    if (log_debug_enabled())
        log_debug("flow %s flow=%s uuid=%s packets=%llu %s=%s", fate, flowkey_format(&m->key, flow),
                  m->uuid.text[0] ? m->uuid.text : "none", (unsigned long long)m->packets,
                  m->kind == REPORT_SAVED ? "file" : "cause", what);
}

void reporter_saved(struct reporter *r, const struct flowkey *key, const struct uuid *uuid, const char *path,
                    uint64_t packets, uint64_t bytes)
{
    if (!heard(r))
        return;
    struct report m = masked(r, REPORT_SAVED, key, packets);
    m.uuid = *uuid;
    m.bytes = bytes;
    (void)snprintf(m.path, sizeof m.path, "%s", path);
    note(&m, "saved", m.path);
    send_or_count(r, &m);
}

/* False once this second has had its share. */
static bool may_tell_loss(struct reporter *r)
{
    int64_t second = r->clock->mono(r->clock->ctx).ns / NS_PER_SEC;
    if (second != r->second) {
        r->second = second;
        r->lost = 0;
    }
    return r->lost < REPORTER_LOST_PER_SECOND;
}

void reporter_lost(struct reporter *r, const struct flowkey *key, const struct uuid *uuid, enum cause cause,
                   uint64_t packets)
{
    if (!heard(r))
        return;
    if (!may_tell_loss(r)) {
        counter_add(&r->c->reports_left_out, 1);
        return;
    }
    r->lost++;
    struct report m = masked(r, REPORT_LOST, key, packets);
    m.cause = (uint16_t)cause;
    if (uuid)
        m.uuid = *uuid;
    note(&m, "lost", cause_name(cause));
    send_or_count(r, &m);
}

static bool is_local(const struct reporter *r, const struct flowkey *key, int end)
{
    struct ipaddr ip;
    ipaddr_set(&ip, key->addr[end], key->addr_len);
    for (uint32_t i = r->given; i < r->anonymizer->exempt_count; i++)
        if (ipaddr_equal(&r->anonymizer->exempt[i], &ip))
            return true;
    return false;
}

void reporter_named(struct reporter *r, const struct flowkey *key, const struct uuid *uuid, uint64_t cookie,
                    struct wall first)
{
    if (!r || r->fd < 0)
        return;
    struct report m = {.kind = REPORT_NAMED,
                       .key = *key,
                       .uuid = *uuid,
                       .cookie = cookie,
                       .first_ns = first.ns,
                       /* 0 where neither is, or both */
                       .local = is_local(r, key, 1) && !is_local(r, key, 0)};
    send_or_count(r, &m);
}
