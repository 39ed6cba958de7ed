/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: an answer that is not "ok" is status 1. While it waits, a hub that is away is no failure: it may be
 * the one that is being restarted. */
#include "dispatcher/ctl/restart.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "dispatcher/ctl/client.h"
#include "dispatcher/ctl/status.h"
#include "shared/clock.h"
#include "shared/proto.h"

#define LOOK_NS (50 * NS_PER_MS) /* between two looks */
#define WITHIN_MAX 86400

struct question {
    void *answer; /* bus_free */
    size_t len;
    char error[CLIENT_ERROR];
};

/* Asks once on a connection of its own: the hub may be another one each time. */
static bool ask(const char *rundir, const char *request, struct question *q)
{
    struct client *c = client_open(rundir, q->error);
    bool good = c && client_ask(c, request, strlen(request), &q->answer, &q->len, q->error) == SC_OK;
    client_close(c);
    return good;
}

/* The name by which `word` may mean a process of the status: "hub", "dispatcher", or of a shard its number. */
static bool means(const char *word, struct jsontext process)
{
    char kind[16], number[24];
    struct jsontext shard;
    bool all = strcmp(word, "all") == 0;
    if (!jsontext_string_of(process, "process", kind, sizeof kind))
        return false;
    if (!jsontext_member(process, "shard", &shard))
        return strcmp(word, kind) == 0 || (all && strcmp(kind, "hub") == 0);
    (void)snprintf(number, sizeof number, "%.*s", (int)(shard.end - shard.at), shard.at);
    size_t n = strlen(number);
    return all || strcmp(word, number) == 0 ||
           (strncmp(word, "shard[", 6) == 0 && strncmp(word + 6, number, n) == 0 && strcmp(word + 6 + n, "]") == 0);
}

bool restart_is_done(struct jsontext before, struct jsontext after, const char *word)
{
    struct jsontext old_list, new_list, old, new;
    bool any = false;
    if (!status_fine(after) || jsontext_u64_of(after, "restarting") > 0 ||
        !jsontext_member(before, "processes", &old_list) || !jsontext_member(after, "processes", &new_list))
        return false;
    while (jsontext_next(&old_list, NULL, &old) && jsontext_next(&new_list, NULL, &new)) {
        if (!means(word, old))
            continue;
        any = true;
        if (jsontext_u64_of(old, "generation") == jsontext_u64_of(new, "generation"))
            return false;
    }
    return any;
}

/* What is there instead. */
static void print_new(const struct args *a, struct jsontext status, const char *word)
{
    struct jsontext list, process;
    if (!jsontext_member(status, "processes", &list))
        return;
    while (jsontext_next(&list, NULL, &process))
        if (means(word, process))
            (void)printf(args_has(a, "json") ? "{\"done\":true,\"pid\":%llu,\"generation\":%llu}\n"
                                             : "done pid=%llu generation=%llu\n",
                         (unsigned long long)jsontext_u64_of(process, "pid"),
                         (unsigned long long)jsontext_u64_of(process, "generation"));
}

static void pause_briefly(void)
{
    struct timespec t = {.tv_nsec = LOOK_NS};
    (void)nanosleep(&t, NULL);
}

/* The supervisor holds the lock of its run directory to its last moment. A hub that does not answer says nothing: it
 * may stand still, or be restarted, while shardcap publishes its flows. */
static bool is_gone(const char *given)
{
    char rundir[BUS_PATH], path[BUS_PATH];
    if (client_rundir(given, rundir) != SC_OK || bus_path(path, rundir, "lock") != SC_OK)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT;
    bool gone = flock(fd, LOCK_SH | LOCK_NB) == 0;
    (void)close(fd);
    return gone;
}

/* word NULL: until shardcap is gone. */
static int wait_until_done(const struct args *a, const struct question *before, const char *word, uint64_t within)
{
    const struct clock *clock = clock_system();
    int64_t end = clock->mono(clock->ctx).ns + (int64_t)within * NS_PER_SEC;
    struct jsontext then, now;
    if (word && jsontext_open(&then, before->answer, before->len) != SC_OK)
        end = 0; /* cannot be: it was looked at */
    while (clock->mono(clock->ctx).ns < end) {
        struct question q = {0};
        bool done = word ? ask(a->rundir, "status", &q) && jsontext_open(&now, q.answer, q.len) == SC_OK &&
                               restart_is_done(then, now, word)
                         : is_gone(a->rundir);
        if (done && word)
            print_new(a, now, word);
        bus_free(q.answer);
        if (done)
            return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
        pause_briefly();
    }
    (void)fprintf(stderr, "shardcapctl: not done within %llu s; `status` tells how far it is\n",
                  (unsigned long long)within);
    return EXIT_FAILED;
}

static void print_line(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        (void)putchar(text[i] == '\n' || (text[i] >= ' ' && text[i] <= '~') ? text[i] : '?');
    (void)putchar('\n');
}

/* The answer without its first word. */
static void print_json(bool ok, const char *text, size_t len)
{
    const char *blank = memchr(text, ' ', len), *end = text + len;
    const char *rest = blank ? blank + 1 : end;
    (void)printf("{\"ok\":%s,\"text\":", ok ? "true" : "false");
    jsontext_write(rest, (size_t)(end - rest), stdout);
    (void)printf("}\n");
}

/* Sends the request and shows its answer. */
static int tell(const struct args *a, const char *request)
{
    struct question q = {0};
    int rc = EXIT_FAILED;
    if (ask(a->rundir, request, &q)) {
        const char *text = q.answer;
        size_t line = q.len && text[q.len - 1] == '\n' ? q.len - 1 : q.len;
        bool ok = line >= 2 && memcmp(text, "ok", 2) == 0 && (line == 2 || text[2] == ' ');
        if (args_has(a, "json"))
            print_json(ok, text, line);
        else
            print_line(text, line);
        rc = ok && fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
    } else {
        (void)fprintf(stderr, "shardcapctl: %s\n", q.error);
    }
    bus_free(q.answer);
    return rc;
}

static int run(const struct args *a)
{
    const char *verb = a->command->name, *word = a->count > 0 ? a->operand[0] : NULL;
    char request[64];
    struct question before = {0};
    struct jsontext tried;
    uint64_t within;
    if (!args_number(a, "within", 1, WITHIN_MAX, 0, &within))
        return EXIT_USAGE;
    int n = snprintf(request, sizeof request, "%s%s%s", verb, word ? " " : "", word ? word : "");
    if (n < 0 || (size_t)n >= sizeof request || strchr(request, '\n')) {
        (void)fprintf(stderr, "shardcapctl: %s takes %s\n", verb, a->command->operands);
        return EXIT_USAGE;
    }
    if (within > 0 && word &&
        (!ask(a->rundir, "status", &before) || jsontext_open(&tried, before.answer, before.len) != SC_OK)) {
        (void)fprintf(stderr, "shardcapctl: %s\n", before.error[0] ? before.error : "the answer is not a status");
        bus_free(before.answer);
        return EXIT_FAILED;
    }
    int rc = tell(a, request);
    if (rc == EXIT_DONE && within > 0)
        rc = wait_until_done(a, &before, word, within);
    bus_free(before.answer);
    return rc;
}

static const struct args_option options[] = {
    {"within", "SECONDS",
     "wait until it is done, at most so long, and say what is there then; default: return once it has begun"},
    {"json", NULL, "each line as a JSON object"},
    {NULL, NULL, NULL},
};

const struct command restart_command = {
    .name = "restart",
    .operands = "N|hub|dispatcher|all",
    .least = 1,
    .most = 1,
    .summary = "replace shard N, the hub or the dispatcher; all: one after the other by the programs on disk,\n"
               "supervisor and dispatcher only if theirs have changed. Flows and files go on, no packet is lost",
    .status = "0 it has begun (-within: it is done); 1 refused, not done in time, or no answer",
    .options = options,
    .run = run,
};

const struct command drain_command = {
    .name = "drain",
    .operands = "[N]",
    .most = 1,
    .summary = "end shardcap as SIGTERM does; with N, have shard N publish all its flows and be replaced",
    .status = "0 it has begun (-within: it is done); 1 refused, not done in time, or no answer",
    .options = options,
    .run = run,
};
