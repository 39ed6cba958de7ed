/* SPDX-License-Identifier: Apache-2.0
 * shardcapctl: the command line for people. Finds the command, parses what follows by the command's table, calls it and
 * exits with its status: 0 fine, 1 could not or was refused, 2 wrong usage. */
#include <stdio.h>
#include <string.h>

#include "dispatcher/ctl/args.h"
#include "dispatcher/ctl/cat.h"
#include "dispatcher/ctl/find.h"
#include "dispatcher/ctl/inject.h"
#include "dispatcher/ctl/lookup.h"
#include "dispatcher/ctl/record.h"
#include "dispatcher/ctl/replay.h"
#include "dispatcher/ctl/restart.h"
#include "dispatcher/ctl/show.h"
#include "dispatcher/ctl/status.h"
#include "dispatcher/ctl/top.h"
#include "dispatcher/ctl/verify.h"
#include "dispatcher/ctl/watch.h"
#include "shared/proto.h"
#include "shared/version.h"

static const struct command *const commands[] = {
    &status_command, &top_command,    &restart_command, &drain_command,  &watch_command,
    &lookup_command, &inject_command, &record_command,  &replay_command, &verify_command,
    &find_command,   &show_command,   &cat_command,
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void help(FILE *out)
{
    (void)fprintf(out, "usage: shardcapctl [-rundir DIR] COMMAND [OPTION ..]\nCommands:\n");
    for (size_t i = 0; i < COMMANDS; i++)
        args_summary(commands[i], out);
    (void)fprintf(
        out, "  version             version and commit of this program\n"
             "  help [COMMAND]      this text, or what a command takes, as does COMMAND -help\n"
             "Options begin with one '-' or two and take their value as -name VALUE or -name=VALUE.\n"
             "  -rundir DIR         where shardcap's sockets are, before or after the command; default:\n"
             "                      SHARDCAP_RUNDIR, else /run/shardcap for root, else $XDG_RUNTIME_DIR/shardcap,\n"
             "                      else /tmp/shardcap-UID, or /run/shardcap if only that one is there and usable\n");
}

static int wrong(const char *what, const struct command *command)
{
    (void)fprintf(stderr, "shardcapctl: %s\n", what);
    if (command)
        args_help(command, stderr);
    else
        help(stderr);
    return EXIT_USAGE;
}

/* Two lines: what was meant is found by its name. */
static int unknown(const char *word)
{
    (void)fprintf(stderr, "shardcapctl: there is no command %.64s; there are:", word);
    for (size_t i = 0; i < COMMANDS; i++)
        (void)fprintf(stderr, " %s", commands[i]->name);
    (void)fprintf(stderr, "\nshardcapctl help [COMMAND] says more\n");
    return EXIT_USAGE;
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* True for the word, also as an option. */
static bool is(const char *word, const char *name)
{
    if (word[0] == '-')
        word += word[1] == '-' ? 2 : 1;
    return strcmp(word, name) == 0;
}

/* `help` and `version`; -1 if it is neither. */
static int plain_command(const char *word, int argc, char **argv)
{
    if (is(word, "version") && argc == 0) {
        printf("shardcapctl %s (%s)\n", version_text(), version_commit());
        return EXIT_DONE;
    }
    if (!is(word, "help") && !is(word, "h"))
        return is(word, "version") ? wrong("version takes no argument", NULL) : -1;
    if (argc > 1)
        return wrong("help takes one command", NULL);
    const struct command *command = argc ? find(argv[0]) : NULL;
    if (argc && !command)
        return unknown(argv[0]);
    if (command)
        args_help(command, stdout);
    else
        help(stdout);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    const char *rundir = NULL;
    char error[ARGS_ERROR];
    int at = 1;
    if (args_take(argc, argv, &at, "rundir", &rundir) < 0)
        return wrong("-rundir wants a directory", NULL);
    if (at >= argc)
        return wrong("which command?", NULL);
    const char *word = argv[at++];
    int status = plain_command(word, argc - at, argv + at);
    if (status >= 0)
        return status;
    const struct command *command = find(word);
    if (!command)
        return unknown(word);
    struct args a;
    if (args_parse(&a, command, argc - at, argv + at, error) != SC_OK)
        return wrong(error, command);
    if (a.help) {
        args_help(command, stdout);
        return EXIT_DONE;
    }
    if (!a.rundir)
        a.rundir = rundir;
    return command->run(&a);
}
