/* SPDX-License-Identifier: Apache-2.0
 * shardcap: parses, checks, creates, runs the family, and says at the end what happened.
 * Failure policy: each failure before the start is one clear line and an exit status of shared/proto.h; nothing is
 * created before all settings are known to be good. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dispatcher/supervisor/check.h"
#include "dispatcher/supervisor/resume.h"
#include "dispatcher/supervisor/summary.h"
#include "dispatcher/supervisor/supervisor.h"
#include "shared/flags.h"
#include "shared/layout.h"
#include "shared/proto.h"
#include "shared/version.h"

static void warn_line(const char *line)
{
    log_warn("%s", line);
}

/* Room for the fds of many shards and savefiles. */
static void raise_fd_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

/* No core of ours is ever written, and nobody of the same user looks into us. */
static void hide(void)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0);
}

static double seconds_since(struct mono start)
{
    const struct clock *c = clock_system();
    return (double)(c->mono(c->ctx).ns - start.ns) / (double)NS_PER_SEC;
}

/* What happened, for people and in JSON. Returns the status, made worse if the books do not balance. */
static int report(const struct config *config, const struct memory *memory, double seconds, int status)
{
    struct totals t;
    char error[FLAGS_ERROR];
    const struct clock *clock = clock_system();
    totals_read(&t, memory->dispatcher, memory->shard, memory->shards);
    summary_table(stderr, &t, seconds, config);
    if (config->summary[0] &&
        summary_json(config->summary, &t, seconds, clock->wall(clock->ctx), config, error) != SC_OK) {
        log_error("%s", error);
        status = status ? status : EXIT_FAILED;
    }
    uint64_t unwritten = t.drops[CAUSE_DISK_FULL] + t.drops[CAUSE_DISK_ERROR];
    if (unwritten > 0 && config_reads_files(config)) {
        log_error("%llu packets could not be written below %s (disk_full, disk_error above); make room and read again",
                  (unsigned long long)unwritten, config->datadir);
        status = status ? status : EXIT_FAILED;
    }
    if (!summary_balances(&t)) {
        log_error("packets do not balance delivered=%llu saved=%llu buffered=%llu in_ring=%llu",
                  (unsigned long long)t.delivered, (unsigned long long)t.saved, (unsigned long long)t.buffered,
                  (unsigned long long)t.in_ring);
        status = status ? status : EXIT_FAILED;
    }
    return status;
}

/* Watches over the family and says at the end what happened. */
static int watch_over(const struct config *config, struct memory *memory, struct settings_fds *fds, struct mono start,
                      const struct resume *table)
{
    const char *reason;
    struct terminal *terminal = terminal_new(STDERR_FILENO, config, fds->url);
    terminal_began(terminal, start);
    hide();
    log_never_block(true);
    const struct supervisor_setup setup = {config, memory, fds, terminal, start, table};
    int status = supervisor_run(&setup, &reason);
    terminal_free(terminal);
    log_never_block(false); /* what follows is the result, and nobody waits for us any more */
    status = report(config, memory, seconds_since(start), status);
    settings_close(fds, config);
    if (reason)
        log_error("%s", reason);
    return status;
}

static int run(struct config *config)
{
    static struct settings_fds fds;
    static struct memory memory;
    char error[FLAGS_ERROR];
    int status = EXIT_FAILED;
    struct mono start = clock_system()->mono(clock_system()->ctx);
    config->started_ns = clock_system()->wall(clock_system()->ctx).ns;
    if (settings_open(config, &fds, error, &status) != SC_OK || memory_create(&memory, config, error) != SC_OK) {
        log_error("%s", error);
        settings_close(&fds, config);
        return status;
    }
    if (fds.url[0])
        log_info("listening on %s", fds.url);
    return watch_over(config, &memory, &fds, start, NULL);
}

/* Executed by an older supervisor: its children are ours, and so is all that it held. */
static int go_on(struct resume *table)
{
    const struct config *config;
    (void)prctl(PR_SET_NAME, "shardcap"); /* exec by fd has left a number */
    hide();
    supervisor_hold_signals();
    if (config_map(table->memory.config, &config) != SC_OK || memory_map(&table->memory) != SC_OK)
        log_panic("what the last program left cannot be mapped");
    log_init("shardcap", -1, config->log_level, config->log_format);
    return watch_over(config, &table->memory, &table->fds, table->started, table);
}

int main(int argc, char *argv[])
{
    static struct config config;
    static struct flags_request request;
    static struct resume table;
    char error[FLAGS_ERROR];
    int status = EXIT_USAGE;
    resume_remember(argv);
    if (resume_take(&table))
        return go_on(&table);
    if (argc == 2 && strcmp(argv[1], "-layout") == 0) { /* for another program of ours */
        char layout[LAYOUT_TEXT];
        printf("%s resume %d\n", layout_common(layout), RESUME_LAYOUT);
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
    }
    if (flags_parse(argc, argv, environ, &config, &request, warn_line, error) != SC_OK) {
        log_error("%s", error);
        return EXIT_USAGE;
    }
    if (request.help || request.version) {
        if (request.help)
            fputs(flags_help(), stdout);
        else
            printf("shardcap %s (%s) gzip by %s\n", version_text(), version_commit(), version_codecs());
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
    }
    log_init("shardcap", -1, config.log_level, config.log_format);
    config.report_files = isatty(STDOUT_FILENO) || isatty(STDERR_FILENO);
    raise_fd_limit();
    supervisor_hold_signals();
    if (settings_check(&config, &request, error, &status) != SC_OK) {
        log_error("%s", error);
        return request.check ? EXIT_CONFIG : status;
    }
    if (request.check)
        return check_run(&config);
    return run(&config);
}
