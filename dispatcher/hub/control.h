/* SPDX-License-Identifier: Apache-2.0
 * What ctl.sock, inject.sock and the shards' bus/replay.sock are told and answer: a message in, an answer out. Knows
 * nothing of sockets. Only the shards are told events as they came: ctl.sock, which people may open, never answers with
 * an address. */
#ifndef HUB_CONTROL_H
#define HUB_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "dispatcher/hub/journal.h"
#include "dispatcher/hub/publish.h"
#include "dispatcher/hub/text.h"
#include "shared/clock.h"

/* More event lines in one message are refused with one last answer line: answers must stay bounded, too. */
#define CONTROL_LINES_MAX 131072

struct control {
    struct publish *publish;
    const struct journal *journal;
    unsigned shards;
    int64_t replay_ns; /* how far back a replay reaches */
    struct hub_page *counters;
    void (*status)(void *ctx, bool table, struct text *out); /* appends the JSON of `status`, or the table */
    bool (*ask)(void *ctx, const char *command);             /* hands it to the supervisor; false: not now */
    void *ctx;
};

/* Answers one request:
 *   uuid.open {json}, or bare JSON lines   one answer line per event line: "ok shard=3 seq=17", "ok" (a close event
 *                                          without an ID), "error <reason>: text"
 *   status [table]                         JSON, or "fine" or "degraded" on a line and a table for people
 *   restart .., drain ..                   the supervisor's answer, which comes later
 *   anything else                          "error usage: ..."
 * Events are in the journal when this returns. answer is appended to; it may be NULL (inject.sock). false: the answer
 * comes later, because `ask` took the command. */
bool control_answer(struct control *c, const void *request, size_t len, struct mono now, struct text *answer);

/* Answers a shard: "replay <shard> <epoch> <from-seq>" with one bus page, anything else with "error usage: ...". */
void control_replay(struct control *c, const void *request, size_t len, struct mono now, struct text *answer);

#endif
