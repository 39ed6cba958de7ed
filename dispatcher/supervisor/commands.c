/* SPDX-License-Identifier: Apache-2.0
 * See commands.h. Failure policy: what cannot be done now is refused with the reason and what to do instead. */
#include "dispatcher/supervisor/commands.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/supervisor/rollout.h"
#include "dispatcher/supervisor/stopping.h"
#include "dispatcher/supervisor/upgrade.h"
#include "shared/log.h"

#define MOST_WORDS 3
#define WORD 24

static void say(char *answer, const char *fmt, ...) SC_PRINTF(2, 3);
static void say(char *answer, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(answer, PROTO_TEXT, fmt, ap);
    va_end(ap);
}

/* Blank-separated words; more than fit, or a longer one, make the line no command. */
static unsigned split(const char *line, char words[MOST_WORDS][WORD])
{
    unsigned count = 0;
    for (const char *p = line + strspn(line, " \t"); *p; p += strspn(p, " \t")) {
        size_t n = strcspn(p, " \t");
        if (count == MOST_WORDS || n >= WORD)
            return 0;
        memcpy(words[count], p, n);
        words[count++][n] = '\0';
        p += n;
    }
    return count;
}

/* "3" or "shard[3]", "hub", "dispatcher"; NULL if there is no such process. */
static struct child *find(struct family *f, const char *word)
{
    char name[CHILD_NAME], number[16];
    if (strcmp(word, "hub") == 0)
        return &f->hub;
    if (strcmp(word, "dispatcher") == 0)
        return &f->dispatcher;
    for (unsigned i = 0; i < f->memory->shards; i++) {
        snprintf(number, sizeof(number), "%u", i);
        if (strcmp(word, number) == 0 || strcmp(word, child_name(&f->shard[i], name)) == 0)
            return &f->shard[i];
    }
    return NULL;
}

/* Refuses what cannot be restarted in this state of the family. */
static bool may_restart(const struct family *f, char *answer)
{
    if (f->phase != PHASE_RUNNING) {
        say(answer, "error not now: shardcap is %s", f->phase < PHASE_RUNNING ? "starting" : "stopping");
        return false;
    }
    if (config_reads_files(f->config)) {
        say(answer, "error not now: savefiles are read by one dispatcher from start to end");
        return false;
    }
    if (f->upgrade.asking) {
        say(answer, "error busy: the programs on disk are being asked");
        return false;
    }
    if (rollout_busy(f)) {
        say(answer, "error busy: %u processes are still to be restarted; ask `status`",
            f->rollout.count - f->rollout.next);
        return false;
    }
    return true;
}

static void restart_one(struct family *f, const char *word, enum proto_type how, char *answer)
{
    char name[CHILD_NAME];
    struct child *c = find(f, word);
    unsigned last = f->memory->shards - 1;
    if (!c || (how == PROTO_DRAIN && c->kind != CHILD_SHARD)) {
        say(answer, "error usage: there are shards 0 to %u%s", last, how == PROTO_DRAIN ? "" : ", hub and dispatcher");
        return;
    }
    rollout_add(f, c, how);
    say(answer, "ok %s %s generation=%u", how == PROTO_DRAIN ? "draining" : "restarting", child_name(c, name),
        c->slot.generation);
}

static void drain_family(struct family *f, char *answer)
{
    log_info("asked to drain");
    stopping_ask(f);
    say(answer, "ok draining grace=%lldms", (long long)(f->config->sigtermwait_ns / NS_PER_MS));
}

bool commands_run(struct family *f, const char *line, int64_t number, char answer[PROTO_TEXT])
{
    char words[MOST_WORDS][WORD];
    unsigned count = split(line, words);
    bool restart = count == 2 && strcmp(words[0], "restart") == 0;
    bool drain = (count == 1 || count == 2) && strcmp(words[0], "drain") == 0;
    if (drain && count == 1)
        drain_family(f, answer);
    else if (!restart && !drain)
        say(answer, "error usage: restart N|hub|dispatcher|all, drain [N]");
    else if (!may_restart(f, answer))
        return true;
    else if (restart && strcmp(words[1], "all") == 0)
        return upgrade_begin(f, number, answer);
    else
        restart_one(f, words[1], restart ? PROTO_LEAVE : PROTO_DRAIN, answer);
    return true;
}
