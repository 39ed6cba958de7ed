/* SPDX-License-Identifier: Apache-2.0
 * The text of -help, made from the table of flags, so that it cannot tell of flags that are not there.
 * Failure policy: none; the buffer is far larger than the text (a test holds it to that). */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shared/flags_table.h"

#define HELP_BYTES 16384
#define HELP_INDENT 34 /* where the explanations begin */

struct text {
    char bytes[HELP_BYTES];
    size_t len;
};

static void add(struct text *t, const char *fmt, ...) SC_PRINTF(2, 3);
static void add(struct text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(t->bytes + t->len, sizeof t->bytes - t->len, fmt, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof t->bytes - t->len)
        t->len += (size_t)n;
}

static void add_flag(struct text *t, const struct flag *flag)
{
    char head[64];
    (void)snprintf(head, sizeof head, "  -%s%s%s", flag->name, flag->arg ? " " : "", flag->arg ? flag->arg : "");
    add(t, "%-*s %s", HELP_INDENT, head, flag->help);
    const char *fallback = flag->shown ? flag->shown : flag->fallback;
    if (fallback && flag->arg)
        add(t, " (%s)", fallback);
    add(t, "\n");
}

const char *flags_help(void)
{
    static struct text t;
    size_t count;
    const struct flag *table = flags_table(&count);
    t.len = 0;
    add(&t, "Usage: shardcap [-flag value | -flag=value | --flag=value] ...\n"
            "Saves the packet headers of every TCP flow, one UUID.pcap.gz per flow. Defaults stand in parentheses.\n");
    for (int group = 0; group < FLAG_GROUP_COUNT; group++) {
        add(&t, "\n%s:\n", flag_group_titles[group]);
        for (size_t i = 0; i < count; i++)
            if (table[i].group == (enum flag_group)group)
                add_flag(&t, &table[i]);
    }
    add(&t, "\nDURATION is 500ms, 30s, 1h30m ..; SIZE is 65536, 64KB, 16MB, 3GB .., powers of ten. A flag without a "
            "value is\n"
            "false by default and takes none, or =true, =false.\n"
            "-uuid.source=auto is, live, kernel, and eventsocket where -tcpinfo.eventsocket is given; with -read, "
            "events where\n"
            "-uuid.events is given, else hash.\n"
            "Environment variables set what the command line leaves out; lists are separated by commas:\n ");
    size_t column = 1;
    for (size_t i = 0; i < count; i++) {
        char name[FLAGS_VARIABLE];
        size_t n = strlen(flags_variable(&table[i], name)) + 1;
        if (column + n > 118) {
            add(&t, "\n ");
            column = 1;
        }
        add(&t, " %s", name);
        column += n;
    }
    add(&t, "\nExit status: 0 done; 1 could not go on, the last line says why; 2 wrong usage; 70 a bug of ours; 75 try "
            "again\n"
            "later; 78 configuration.\n");
    return t.bytes;
}
