/* SPDX-License-Identifier: Apache-2.0
 * Command line and environment into settings, by the table of flags_table.c; then the checks that need nothing but the
 * values. The command line is read twice: first for its form and for what it names, because that hides the environment,
 * then for its values.
 * Failure policy: the first thing that is wrong ends it with one line that names flag or variable, value and remedy. */
#include "shared/flags.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shared/flags_table.h"
#include "shared/log.h"

#define FLAGS_MAX 64 /* more than the table has */

enum origin { FROM_DEFAULT, FROM_ENVIRONMENT, FROM_COMMAND_LINE };

struct parse {
    struct config *config;
    struct flags_request *request;
    void (*warn)(const char *line);
    char *error;
    const struct flag *table;
    size_t count;
    enum origin origin[FLAGS_MAX];
};

static int refuse(const struct parse *p, const char *fmt, ...) SC_PRINTF(2, 3);
static int refuse(const struct parse *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(p->error, FLAGS_ERROR, fmt, args);
    va_end(args);
    return SC_EINVAL;
}

static void warn(const struct parse *p, const char *fmt, ...) SC_PRINTF(2, 3);
static void warn(const struct parse *p, const char *fmt, ...)
{
    char line[FLAGS_ERROR];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (p->warn)
        p->warn(line);
}

/* How the user knows the flag: by its name or by its variable. */
#define SPELLED (FLAGS_VARIABLE + 32)
static const char *spelled(const struct flag *flag, enum origin from, char out[SPELLED])
{
    char variable[FLAGS_VARIABLE];
    if (from == FROM_ENVIRONMENT)
        (void)snprintf(out, SPELLED, "%s in the environment", flags_variable(flag, variable));
    else
        (void)snprintf(out, SPELLED, "-%s", flag->name);
    return out;
}

/* ---- values ---- */

static int set_one(const struct parse *p, const struct flag *flag, const char *text, enum origin from)
{
    char why[FLAGS_WHY], name[SPELLED], quoted[LOG_QUOTED];
    struct flag_value v = {flag, text, p->config, p->request, why};
    if (flag->set(&v) == SC_OK)
        return SC_OK;
    return refuse(p, "%s: \"%s\" %s", spelled(flag, from, name), log_quote(text, strlen(text), quoted), why);
}

/* Sets each element of a comma list; an empty text is an empty list. */
static int set_list(const struct parse *p, const struct flag *flag, const char *text, enum origin from)
{
    char piece[CONFIG_PATH], name[SPELLED];
    while (*text) {
        size_t n = strcspn(text, ",");
        if (n >= sizeof piece)
            return refuse(p, "%s: an element has more than %zu bytes", spelled(flag, from, name), sizeof piece - 1);
        memcpy(piece, text, n);
        piece[n] = '\0';
        int rc = set_one(p, flag, piece, from);
        if (rc != SC_OK)
            return rc;
        text += n;
        if (*text == ',' && *++text == '\0')
            return set_one(p, flag, "", from); /* "a,": the setter says what is wrong with nothing */
    }
    return SC_OK;
}

static int set_value(struct parse *p, const struct flag *flag, const char *text, enum origin from)
{
    bool split = flag->repeat == FLAG_COMMA || (flag->repeat == FLAG_APPEND && from == FROM_ENVIRONMENT);
    int rc = split ? set_list(p, flag, text, from) : set_one(p, flag, text, from);
    if (from != FROM_DEFAULT) {
        p->origin[flag - p->table] = from;
        if (flag->given && *text)
            *((bool *)(void *)((char *)p->request + flag->given - 1)) = true;
    }
    return rc;
}

static int set_defaults(struct parse *p)
{
    config_init(p->config);
    memset(p->request, 0, sizeof *p->request);
    p->config->shards = flags_default_shards();
    for (size_t i = 0; i < p->count; i++) {
        const struct flag *flag = &p->table[i];
        int rc = flag->fallback ? set_value(p, flag, flag->fallback, FROM_DEFAULT) : SC_OK;
        if (rc != SC_OK)
            return rc;
    }
    return SC_OK;
}

/* ---- command line ---- */

struct argument {
    const struct flag *flag; /* NULL at the end */
    const char *value;
};

static int unknown_flag(const struct parse *p, const char *name, size_t len)
{
    char quoted[LOG_QUOTED];
    const char *near = flags_nearest(name, len);
    log_quote(name, len, quoted);
    if (near)
        return refuse(p, "unknown flag -%s: did you mean -%s? -help lists all", quoted, near);
    return refuse(p, "unknown flag -%s: -help lists all", quoted);
}

/* The argument at argv[*i], moving *i past it and its value. */
static int next_argument(const struct parse *p, int argc, char *const argv[], int *i, struct argument *out)
{
    char quoted[LOG_QUOTED];
    out->flag = NULL;
    if (*i >= argc)
        return SC_OK;
    const char *arg = argv[(*i)++];
    if (strcmp(arg, "--") == 0 && *i >= argc)
        return SC_OK;
    bool flag_like = arg[0] == '-' && arg[1] != '\0' && strcmp(arg, "--") != 0;
    if (!flag_like) {
        if (strcmp(arg, "--") == 0)
            arg = argv[*i];
        return refuse(p, "unexpected argument \"%s\": only flags are taken; a bool is written -flag=false",
                      log_quote(arg, strlen(arg), quoted));
    }
    const char *name = arg + 1 + (arg[1] == '-');
    size_t len = strcspn(name, "=");
    const struct flag *flag = flags_find(name, len);
    if (!flag)
        return unknown_flag(p, name, len);
    if (name[len] == '=')
        out->value = name + len + 1;
    else if (!flag->arg)
        out->value = "true";
    else if (*i < argc)
        out->value = argv[(*i)++];
    else
        return refuse(p, "-%s needs a value: -%s %s", flag->name, flag->name, flag->arg);
    out->flag = flag;
    return SC_OK;
}

/* Calls what for each argument. */
static int each_argument(struct parse *p, int argc, char *const argv[],
                         int (*what)(struct parse *p, const struct argument *a))
{
    struct argument a;
    for (int i = 1;;) {
        int rc = next_argument(p, argc, argv, &i, &a);
        if (rc != SC_OK || !a.flag)
            return rc;
        rc = what(p, &a);
        if (rc != SC_OK)
            return rc;
    }
}

static int note_named(struct parse *p, const struct argument *a)
{
    p->origin[a->flag - p->table] = FROM_COMMAND_LINE;
    return SC_OK;
}

static int set_argument(struct parse *p, const struct argument *a)
{
    return set_value(p, a->flag, a->value, FROM_COMMAND_LINE);
}

/* ---- environment ---- */

static const char *variable_value(char *const envp[], const char *name)
{
    size_t len = strlen(name);
    for (; envp && *envp; envp++)
        if (strncmp(*envp, name, len) == 0 && (*envp)[len] == '=')
            return *envp + len + 1;
    return NULL;
}

static int set_environment(struct parse *p, char *const envp[])
{
    for (size_t i = 0; i < p->count; i++) {
        char name[FLAGS_VARIABLE];
        const struct flag *flag = &p->table[i];
        const char *text = variable_value(envp, flags_variable(flag, name));
        if (!text)
            continue;
        if (p->origin[i] == FROM_COMMAND_LINE) {
            warn(p, "%s in the environment is ignored: -%s on the command line wins", name, flag->name);
            continue;
        }
        int rc = set_value(p, flag, text, FROM_ENVIRONMENT);
        if (rc != SC_OK)
            return rc;
    }
    return SC_OK;
}

/* ---- checks across flags ---- */

/* How the user gave the flag of that name. */
static const char *given_as(const struct parse *p, const char *name, char out[SPELLED])
{
    const struct flag *flag = flags_find(name, strlen(name));
    return spelled(flag, p->origin[flag - p->table], out);
}

/* The bits of one word of -uuid.source; *alone if it takes no company. */
static int source_bits(const struct parse *p, const char *word, uint32_t *bits, bool *alone)
{
    char name[SPELLED], quoted[LOG_QUOTED];
    const char *as = given_as(p, "uuid.source", name);
    *alone = strcmp(word, "auto") == 0 || strcmp(word, "none") == 0;
    if (strcmp(word, "eventsocket") == 0)
        *bits |= UUID_SOURCE_EVENTSOCKET;
    else if (strcmp(word, "hash") == 0)
        *bits |= UUID_SOURCE_HASH;
    else if (strcmp(word, "kernel") == 0)
        *bits |= UUID_SOURCE_KERNEL;
    else if (!*alone)
        return refuse(p, "%s: \"%s\" is no source; choose auto, eventsocket, kernel, hash or none", as,
                      log_quote(word, strlen(word), quoted));
    return SC_OK;
}

static int parse_sources(const struct parse *p, uint32_t *bits, bool *automatic)
{
    char list[sizeof p->request->uuid_source], name[SPELLED];
    bool alone_seen = false;
    size_t words = 0;
    *bits = 0;
    memcpy(list, p->request->uuid_source, sizeof list);
    char *rest = list, *word;
    while ((word = strsep(&rest, ",")) != NULL) {
        bool alone;
        int rc = source_bits(p, word, bits, &alone);
        if (rc != SC_OK)
            return rc;
        alone_seen |= alone;
        words++;
    }
    if (alone_seen && words > 1)
        return refuse(p, "%s: auto and none stand alone", given_as(p, "uuid.source", name));
    *automatic = strcmp(p->request->uuid_source, "auto") == 0;
    return SC_OK;
}

static int check_sources(struct parse *p)
{
    struct config *c = p->config;
    bool automatic = false, read = config_reads_files(c), socket = c->eventsocket[0] != '\0',
         events = c->uuid_events[0] != '\0';
    char a[SPELLED], b[SPELLED];
    int rc = parse_sources(p, &c->uuid_sources, &automatic);
    if (rc != SC_OK)
        return rc;
    if (events && !read)
        return refuse(p, "%s goes with -read only: live events come by -tcpinfo.eventsocket",
                      given_as(p, "uuid.events", a));
    if (strcmp(c->uuid_events, "-") == 0)
        return refuse(p, "%s: every shard reads the events, so they must be in a file, not standard input",
                      given_as(p, "uuid.events", a));
    if (read && (c->uuid_sources & (UUID_SOURCE_EVENTSOCKET | UUID_SOURCE_KERNEL)))
        return refuse(p, "%s: with -read the sources are hash and none; a file of events is named by -uuid.events",
                      given_as(p, "uuid.source", a));
    if (read && socket)
        return refuse(p, "%s does not go together with %s: events of a savefile are named by -uuid.events",
                      given_as(p, "tcpinfo.eventsocket", a), given_as(p, "read", b));
    if (read && c->serve[0])
        return refuse(p, "%s does not go together with %s: there is nothing live to tell",
                      given_as(p, "events.serve", a), given_as(p, "read", b));
    if (socket && strcmp(c->serve, c->eventsocket) == 0)
        return refuse(p, "%s and %s name the same socket", given_as(p, "events.serve", a),
                      given_as(p, "tcpinfo.eventsocket", b));
    if ((c->uuid_sources & UUID_SOURCE_EVENTSOCKET) && !socket)
        return refuse(p, "%s: eventsocket needs -tcpinfo.eventsocket PATH", given_as(p, "uuid.source", a));

    if (automatic && !events)
        c->uuid_sources = read ? UUID_SOURCE_HASH : UUID_SOURCE_KERNEL | (socket ? UUID_SOURCE_EVENTSOCKET : 0u);
    if (events)
        c->uuid_sources |= UUID_SOURCE_EVENTS;
    if (socket && !(c->uuid_sources & UUID_SOURCE_EVENTSOCKET))
        warn(p, "%s is not used: %s leaves eventsocket out", given_as(p, "tcpinfo.eventsocket", a),
             given_as(p, "uuid.source", b));
    return SC_OK;
}

static int check_together(struct parse *p)
{
    struct config *c = p->config;
    char a[SPELLED], b[SPELLED], wait[40], capture[40];
    if (config_reads_files(c) && c->interface_count > 0)
        return refuse(p, "%s does not go together with %s: drop one of them", given_as(p, "read", a),
                      given_as(p, "interface", b));
    if (config_reads_files(c) && c->shards_external)
        return refuse(p, "%s does not go together with %s: drop one of them", given_as(p, "read", a),
                      given_as(p, "shards.external", b));
    if (config_reads_files(c) && c->dispatchers > 1)
        return refuse(p, "%s does not go together with %s: a savefile is read by one", given_as(p, "dispatchers", a),
                      given_as(p, "read", b));
    if (c->dedup && c->dispatchers > 1)
        return refuse(p, "%s does not go together with %s: the twin may have come to another dispatcher",
                      given_as(p, "dedup", a), given_as(p, "dispatchers", b));
    if (config_reads_files(c) && c->dedup)
        return refuse(p,
                      "%s does not go together with %s: the packets of a savefile do not say which interface saw them",
                      given_as(p, "dedup", a), given_as(p, "read", b));
    if (c->uuidwaitduration_ns > c->captureduration_ns)
        return refuse(p, "%s (%s) is larger than %s (%s): lower the former or raise the latter",
                      given_as(p, "uuidwaitduration", a), flags_duration_text(c->uuidwaitduration_ns, wait),
                      given_as(p, "captureduration", b), flags_duration_text(c->captureduration_ns, capture));
    if (config_reads_files(c) && !p->request->listen_given)
        c->listen_address[0] = '\0';
    c->maxheap_asked = c->maxheap;
    return check_sources(p);
}

int flags_parse(int argc, char *const argv[], char *const envp[], struct config *config, struct flags_request *request,
                void (*warn_line)(const char *line), char error[FLAGS_ERROR])
{
    struct parse p = {.config = config, .request = request, .warn = warn_line, .error = error};
    p.table = flags_table(&p.count);
    error[0] = '\0';
    int rc = set_defaults(&p);
    if (rc == SC_OK)
        rc = each_argument(&p, argc, argv, note_named);
    if (rc == SC_OK)
        rc = set_environment(&p, envp);
    if (rc == SC_OK)
        rc = each_argument(&p, argc, argv, set_argument);
    if (rc == SC_OK && !request->help && !request->version)
        rc = check_together(&p);
    return rc;
}
