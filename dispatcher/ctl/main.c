/* SPDX-License-Identifier: Apache-2.0
 * shardcapctl: the command line for people. Parses, calls one command, exits with its status: 0 fine, 1 could not or
 * was refused, 2 wrong usage. */
#include <stdio.h>
#include <string.h>

#include "dispatcher/ctl/client.h"
#include "dispatcher/ctl/inject.h"
#include "dispatcher/ctl/status.h"
#include "dispatcher/ctl/verify.h"
#include "shared/proto.h"
#include "shared/version.h"

static const char help[] =
    "usage: shardcapctl [-rundir DIR] COMMAND\n"
    "  status              processes, packets, flows; exit status 1 when something is down\n"
    "  inject [-f FILE|-]  send FlowEvent lines (standard input by default), print one answer per line;\n"
    "                      exit status 1 if one was refused\n"
    "  verify [-summary FILE] DATADIR\n"
    "                      read every file of this run and hold the packets in them against the counters of the\n"
    "                      running shardcap, or of a run that has written -summary FILE; exit status 1 if they\n"
    "                      differ or a file is bad\n"
    "  version             version and commit of this program\n"
    "  help                this text\n"
    "-rundir DIR           where shardcap's sockets are; default: SHARDCAP_RUNDIR, else /run/shardcap for root, else\n"
    "                      $XDG_RUNTIME_DIR/shardcap, else /tmp/shardcap-UID\n";

struct arguments {
    int argc, at;
    char **argv;
};

static const char *next(struct arguments *a)
{
    return a->at < a->argc ? a->argv[a->at++] : NULL;
}

/* Takes "-name value", "-name=value" or either with "--" if it is next. Returns 1 with *value_r, 0, or -1 if the value
 * is missing. */
static int option(struct arguments *a, const char *name, const char **value_r)
{
    const char *word = a->at < a->argc ? a->argv[a->at] : "";
    size_t n = strlen(name);
    if (word[0] != '-')
        return 0;
    word += word[1] == '-' ? 2 : 1;
    if (strncmp(word, name, n) != 0 || (word[n] != '\0' && word[n] != '='))
        return 0;
    a->at++;
    *value_r = word[n] == '=' ? word + n + 1 : next(a);
    return *value_r ? 1 : -1;
}

static int wrong(const char *what)
{
    (void)fprintf(stderr, "shardcapctl: %s\n%s", what, help);
    return EXIT_USAGE;
}

static int inject(struct arguments *a, const char *rundir)
{
    const char *file = NULL;
    if (option(a, "f", &file) < 0)
        return wrong("-f wants a file");
    return a->at < a->argc ? wrong("inject takes -f FILE only") : inject_command(rundir, file);
}

static int verify(struct arguments *a, const char *rundir)
{
    const char *summary = NULL;
    if (option(a, "summary", &summary) < 0)
        return wrong("-summary wants a file");
    const char *datadir = next(a);
    if (!datadir || datadir[0] == '-' || a->at < a->argc)
        return wrong("verify wants [-summary FILE] and one directory");
    return verify_command(rundir, summary, datadir);
}

static int plain_command(const char *command)
{
    if (strcmp(command, "version") == 0 || strcmp(command, "-version") == 0 || strcmp(command, "--version") == 0) {
        printf("shardcapctl %s (%s)\n", version_text(), version_commit());
        return EXIT_DONE;
    }
    if (strcmp(command, "help") == 0 || strcmp(command, "-help") == 0 || strcmp(command, "--help") == 0 ||
        strcmp(command, "-h") == 0) {
        printf("%s", help);
        return EXIT_DONE;
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct arguments a = {.argc = argc, .at = 1, .argv = argv};
    const char *given = NULL;
    if (option(&a, "rundir", &given) < 0)
        return wrong("-rundir wants a directory");
    const char *command = next(&a);
    if (!command)
        return wrong("which command?");
    int status = plain_command(command);
    if (status >= 0)
        return a.at < argc ? wrong("one argument too many") : status;
    bool is_inject = strcmp(command, "inject") == 0;
    bool is_verify = strcmp(command, "verify") == 0;
    if (!is_inject && !is_verify && strcmp(command, "status") != 0)
        return wrong("unknown command");
    char rundir[BUS_PATH];
    if (client_rundir(given, rundir) != SC_OK)
        return wrong("-rundir is too long: a socket's path has at most 107 bytes");
    if (is_inject)
        return inject(&a, rundir);
    if (is_verify)
        return verify(&a, rundir);
    return a.at < argc ? wrong("status takes no argument") : status_command(rundir);
}
