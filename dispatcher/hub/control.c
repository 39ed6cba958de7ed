/* SPDX-License-Identifier: Apache-2.0
 * What the hub says to a message. Failure policy: every request gets an answer, garbage gets "error ...", and an
 * answer that outgrows its bound is cut off rather than sent without end. */
#include "dispatcher/hub/control.h"

#include <string.h>

#include "shared/bus.h"

static const char usage[] = "error usage: uuid.open {json} | {json} | status [table] | restart N|hub|dispatcher|all | "
                            "drain [N]\n";

struct span {
    const char *at;
    size_t len;
};

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool starts_with(struct span s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.len >= n && memcmp(s.at, prefix, n) == 0;
}

static bool is(struct span s, const char *word)
{
    return s.len == strlen(word) && starts_with(s, word);
}

static struct span trim(struct span s)
{
    while (s.len > 0 && blank(s.at[0])) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && blank(s.at[s.len - 1]))
        s.len--;
    return s;
}

/* The next line of *rest without its newline; false at the end. What ends with a newline has no empty line after it. */
static bool next_line(struct span *rest, struct span *line)
{
    if (rest->len == 0)
        return false;
    const char *newline = memchr(rest->at, '\n', rest->len);
    line->at = rest->at;
    line->len = newline ? (size_t)(newline - rest->at) : rest->len;
    size_t used = line->len + (newline ? 1 : 0);
    rest->at += used;
    rest->len -= used;
    return true;
}

/* The next blank-separated word of *rest; empty at the end. */
static struct span next_word(struct span *rest)
{
    *rest = trim(*rest);
    struct span word = {rest->at, 0};
    while (word.len < rest->len && !blank(rest->at[word.len]))
        word.len++;
    rest->at += word.len;
    rest->len -= word.len;
    return word;
}

static bool number(struct span word, uint64_t *value_r)
{
    uint64_t value = 0;
    for (size_t i = 0; i < word.len; i++) {
        if (word.at[i] < '0' || word.at[i] > '9')
            return false;
        unsigned digit = (unsigned)(word.at[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *value_r = value;
    return word.len > 0;
}

static const char *explain(enum flowevent_bad bad)
{
    switch (bad) {
    case FLOWEVENT_NILID:
        return "an open event needs an ID";
    case FLOWEVENT_BADIP:
        return "SrcIP or DstIP is not an address, or the two are of different families";
    case FLOWEVENT_BADJSON:
        return "not one JSON object of tcp-info's form";
    case FLOWEVENT_BADUUID:
        return "a UUID is [A-Za-z0-9][A-Za-z0-9._:-]{0,127} without \"..\"";
    case FLOWEVENT_BADPORT:
        return "SPort or DPort is not an integer from 0 to 65535";
    case FLOWEVENT_BADTIME:
        return "Timestamp is not RFC 3339";
    case FLOWEVENT_TOOLONG:
        return "a line has at most 65536 bytes";
    case FLOWEVENT_UNKNOWNEVENT:
        return "Event is neither 0 (open) nor 1 (close)";
    case FLOWEVENT_GOOD:
    case FLOWEVENT_BAD_COUNT:
        break;
    }
    return "refused";
}

static bool is_event(struct span line)
{
    return starts_with(line, "{") || starts_with(line, "uuid.open ") || starts_with(line, "uuid.close ");
}

static void one_event(struct control *c, struct span line, struct mono now, struct text *answer)
{
    static const char *const topics[] = {"uuid.open ", "uuid.close "};
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        if (starts_with(line, topics[i])) {
            line.at += strlen(topics[i]);
            line.len -= strlen(topics[i]);
            break;
        }
    }
    struct publish_receipt r;
    enum publish_result result = publish_line(c->publish, line.at, line.len, now, &r);
    if (!answer)
        return;
    if (result == PUBLISH_DONE)
        text_printf(answer, "ok shard=%u seq=%llu\n", r.shard, (unsigned long long)r.seq);
    else if (result == PUBLISH_NOTHING)
        text_printf(answer, "ok\n");
    else
        text_printf(answer, "error %s: %s\n", flowevent_bad_name(r.bad), explain(r.bad));
}

static void events(struct control *c, struct span rest, struct mono now, struct text *answer)
{
    struct span line;
    for (unsigned n = 0; next_line(&rest, &line); n++) {
        if (n == CONTROL_LINES_MAX) {
            publish_count_bad(c->publish, FLOWEVENT_TOOLONG);
            if (answer)
                text_printf(answer, "error toolong: more than %d lines in one message; the rest was ignored\n",
                            CONTROL_LINES_MAX);
            return;
        }
        one_event(c, trim(line), now, answer);
    }
}

void control_replay(struct control *c, const void *request, size_t len, struct mono now, struct text *answer)
{
    struct span words = {request, len};
    uint64_t shard, epoch, from;
    struct span command = next_word(&words);
    struct span w1 = next_word(&words), w2 = next_word(&words), w3 = next_word(&words);
    if (!is(command, "replay") || !number(w1, &shard) || !number(w2, &epoch) || !number(w3, &from) ||
        trim(words).len > 0) {
        text_printf(answer, "error usage: replay <shard> <epoch> <from-seq>\n");
        return;
    }
    if (shard >= c->shards) {
        text_printf(answer, "error usage: there are %u shards, counted from 0\n", c->shards);
        return;
    }
    char page[BUS_PAGE_MAX];
    struct mono oldest = {now.ns - c->replay_ns};
    text_add(answer, page, journal_page(c->journal, (unsigned)shard, epoch, from, oldest, page));
    counter_add(&c->counters->replays, 1);
}

/* The supervisor understands the rest of the line, or says what it would. */
static bool ask(struct control *c, struct span line, struct text *answer)
{
    char command[64];
    if (line.len >= sizeof command) {
        text_add(answer, usage, sizeof usage - 1);
        return true;
    }
    memcpy(command, line.at, line.len);
    command[line.len] = '\0';
    if (c->ask(c->ctx, command))
        return false;
    text_printf(answer, "error busy: the supervisor does not listen now; try again\n");
    return true;
}

bool control_answer(struct control *c, const void *request, size_t len, struct mono now, struct text *answer)
{
    struct span rest = {request, len};
    struct span all = rest;
    struct span line = {request, 0};
    (void)next_line(&rest, &line);
    line = trim(line);
    if (is_event(line)) {
        events(c, all, now, answer);
        if (answer)
            text_chomp(answer); /* lines are separated, not ended: a person's tool ends what it prints */
        return true;
    }
    if (!answer) { /* inject.sock takes events only */
        publish_count_bad(c->publish, FLOWEVENT_BADJSON);
        return true;
    }
    struct span words = line;
    struct span command = next_word(&words);
    struct span argument = trim(words);
    if (rest.len == 0 && is(command, "status") && (argument.len == 0 || is(argument, "table")))
        c->status(c->ctx, argument.len > 0, answer);
    else if (rest.len == 0 && (is(command, "restart") || is(command, "drain")))
        return ask(c, line, answer);
    else
        text_add(answer, usage, sizeof usage - 1);
    return true;
}
