/* SPDX-License-Identifier: Apache-2.0
 * The table of flags, and one setter for each kind of value.
 * Failure policy: a setter stores a value that is within its bounds or stores nothing and says why. */
#include "shared/flags_table.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/frame.h"

#define HEADER_MIN 54 /* Ethernet, IPv4 and TCP without options: below it no flow could be told from another */
#define CENTURY_NS (INT64_C(876000) * 3600 * NS_PER_SEC) /* durations are added to clocks of 63 bits */
#define RING_MAX_SIZE (UINT64_C(4) << 30)
#define SOCKET_PATH_MAX 107 /* sun_path of unix(7) */

const char *const flag_group_titles[FLAG_GROUP_COUNT] = {
    [FLAG_INPUT] = "Where packets come from",
    [FLAG_FLOWS] = "What is saved of a flow",
    [FLAG_NAMES] = "UUIDs",
    [FLAG_FILES] = "Files",
    [FLAG_RESOURCES] = "Resources",
    [FLAG_PROCESS] = "The run",
};

static void *target(const struct flag_value *v)
{
    return (char *)(v->flag->in_request ? (void *)v->request : (void *)v->config) + v->flag->offset;
}

#define REFUSE(v, ...) (snprintf((v)->why, FLAGS_WHY, __VA_ARGS__), SC_EINVAL)

static int set_bool(const struct flag_value *v)
{
    static const char *const words[2][6] = {{"0", "f", "F", "false", "FALSE", "False"},
                                            {"1", "t", "T", "true", "TRUE", "True"}};
    for (size_t i = 0; i < 12; i++) {
        if (strcmp(v->text, words[i / 6][i % 6]) == 0) {
            *(bool *)target(v) = i >= 6;
            return SC_OK;
        }
    }
    return REFUSE(v, "must be true or false");
}

static int set_text(const struct flag_value *v)
{
    size_t len = strlen(v->text);
    if (len < v->flag->min)
        return REFUSE(v, "may not be empty");
    if (len >= v->flag->size)
        return REFUSE(v, "has more than %zu bytes", v->flag->size - 1);
    memcpy(target(v), v->text, len + 1);
    return SC_OK;
}

static int set_duration(const struct flag_value *v)
{
    int64_t ns;
    if (flags_duration(v->text, &ns) != SC_OK)
        return REFUSE(v, "must be a duration such as 500ms, 30s or 1h30m, not negative");
    if (ns < (int64_t)v->flag->min || ns > CENTURY_NS) {
        char low[40], high[40];
        return REFUSE(v, "must be a duration from %s to %s", flags_duration_text((int64_t)v->flag->min, low),
                      flags_duration_text(CENTURY_NS, high));
    }
    memcpy(target(v), &ns, sizeof ns);
    return SC_OK;
}

#define KEEP_MIN_NS (3600 * NS_PER_SEC) /* time for an uploader */

static int set_keep(const struct flag_value *v)
{
    int64_t ns;
    if (flags_duration(v->text, &ns) != SC_OK || (ns > 0 && ns < KEEP_MIN_NS) || ns > CENTURY_NS)
        return REFUSE(v, "must be a duration of 1h or more, such as 24h or 720h; 0 keeps all files");
    v->config->keep_ns = ns;
    return SC_OK;
}

static int set_size(const struct flag_value *v)
{
    uint64_t bytes;
    if (flags_size(v->text, &bytes) != SC_OK)
        return REFUSE(v, "must be a size such as 65536, 64KB, 16MB or 3GB");
    if (bytes < v->flag->min || bytes > v->flag->max)
        return REFUSE(v, "must be a size from %llu to %llu bytes", (unsigned long long)v->flag->min,
                      (unsigned long long)v->flag->max);
    memcpy(target(v), &bytes, sizeof bytes);
    return SC_OK;
}

static int set_ringsize(const struct flag_value *v)
{
    uint64_t power = RING_MIN_SIZE;
    int rc = set_size(v);
    while (rc == SC_OK && power < v->config->ringsize)
        power *= 2;
    if (rc == SC_OK)
        v->config->ringsize = power;
    return rc;
}

static int set_number(const struct flag_value *v)
{
    uint64_t n = 0;
    const char *p = v->text;
    while (*p >= '0' && *p <= '9' && n <= UINT32_MAX)
        n = n * 10 + (uint64_t)(*p++ - '0');
    if (p == v->text || *p != '\0' || n < v->flag->min || n > v->flag->max)
        return REFUSE(v, "must be a whole number from %llu to %llu", (unsigned long long)v->flag->min,
                      (unsigned long long)v->flag->max);
    uint32_t narrow = (uint32_t)n;
    memcpy(target(v), &narrow, sizeof narrow);
    return SC_OK;
}

/* "5%" or a size; "0" is off. */
static int set_diskfree(const struct flag_value *v)
{
    struct config *c = v->config;
    size_t n = strspn(v->text, "0123456789");
    unsigned long percent = n > 0 && n < 4 ? strtoul(v->text, NULL, 10) : 100;
    uint64_t bytes = 0;
    if (strcmp(v->text + n, "%") == 0 ? percent > 99 : flags_size(v->text, &bytes) != SC_OK)
        return REFUSE(v,
                      "must be a share of the file system such as 5%% (at most 99%%), or a size such as 2GB; 0 is off");
    c->mindiskfree_percent = v->text[n] == '%' ? (uint32_t)percent : 0;
    c->mindiskfree = bytes;
    return SC_OK;
}

static int set_sample(const struct flag_value *v)
{
    const char *digits = v->text + 2;
    size_t n = strncmp(v->text, "1/", 2) == 0 ? strspn(digits, "0123456789") : 0;
    unsigned long many = n > 0 && n < 10 && digits[n] == '\0' ? strtoul(digits, NULL, 10) : 0;
    if (many == 0)
        return REFUSE(v, "must be 1/N with a whole number N from 1 to 999999999");
    v->config->sample = many == 1 ? 0 : (uint32_t)many;
    return SC_OK;
}

static int set_choice(const struct flag_value *v)
{
    size_t len = strlen(v->text);
    unsigned index = 0;
    for (const char *word = v->flag->choices; *word; index++) {
        size_t n = strcspn(word, " ");
        if (n == len && memcmp(word, v->text, n) == 0) {
            memcpy(target(v), &index, sizeof index);
            return SC_OK;
        }
        word += n + (word[n] == ' ');
    }
    return REFUSE(v, "must be one of: %s", v->flag->choices);
}
_Static_assert(sizeof(enum gzip_mode) == sizeof(unsigned) && sizeof(enum log_level) == sizeof(unsigned) &&
                   sizeof(enum log_format) == sizeof(unsigned) && sizeof(enum anonymize_mode) == sizeof(unsigned) &&
                   sizeof(enum sandbox_mode) == sizeof(unsigned),
               "set_choice stores an unsigned");

static int set_anonymize(const struct flag_value *v)
{
    int rc = set_choice(v);
    if (rc == SC_OK)
        (void)snprintf(v->request->anonymize_ip, sizeof v->request->anonymize_ip, "%s", v->text);
    return rc;
}

static int set_kernel(const struct flag_value *v)
{
    struct config *c = v->config;
    c->kernel_lookup = c->kernel_destroy = false;
    for (const char *word = v->text;; word++) {
        size_t n = strcspn(word, ",");
        if (n == 6 && memcmp(word, "lookup", n) == 0)
            c->kernel_lookup = true;
        else if (n == 7 && memcmp(word, "destroy", n) == 0)
            c->kernel_destroy = true;
        else
            return REFUSE(v, "must be lookup, destroy, or both with a comma between them");
        word += n;
        if (*word == '\0')
            return SC_OK;
    }
}

static int set_interface(const struct flag_value *v)
{
    struct config *c = v->config;
    if (*v->text == '\0' || strlen(v->text) >= INTERFACE_NAME || strpbrk(v->text, "/ \t\r\n"))
        return REFUSE(v, "is not the name of an interface (1 to %d characters, no blank, no slash)",
                      INTERFACE_NAME - 1);
    for (uint32_t i = 0; i < c->interface_count; i++)
        if (strcmp(c->interfaces[i], v->text) == 0)
            return SC_OK;
    if (c->interface_count == INTERFACES_MAX)
        return REFUSE(v, "is one interface too many: at most %d", INTERFACES_MAX);
    (void)stpcpy(c->interfaces[c->interface_count++], v->text);
    return SC_OK;
}

static int set_read(const struct flag_value *v)
{
    struct config *c = v->config;
    if (*v->text == '\0' || strlen(v->text) >= CONFIG_PATH)
        return REFUSE(v, "is not a file name");
    if (c->savefile_count == SAVEFILES_MAX)
        return REFUSE(v, "is one savefile too many: at most %d", SAVEFILES_MAX);
    if (strcmp(v->text, "-") == 0) {
        if (c->savefile_stdin)
            return REFUSE(v, "reads standard input twice: name it once");
        c->savefile_stdin = true;
    }
    (void)stpcpy(c->savefiles[c->savefile_count++], v->text);
    return SC_OK;
}

static int set_exempt(const struct flag_value *v)
{
    struct anonymizer *a = &v->config->anonymizer;
    struct ipaddr ip;
    if (ipaddr_parse(v->text, &ip) != SC_OK)
        return REFUSE(v, "is not an IPv4 or IPv6 address");
    if (a->exempt_count == ANONYMIZE_EXEMPT_MAX)
        return REFUSE(v, "is one address too many: at most %d", ANONYMIZE_EXEMPT_MAX);
    a->exempt[a->exempt_count++] = ip;
    return SC_OK;
}

static int set_cpus(const struct flag_value *v)
{
    unsigned cpu;
    switch (cpus_add(&v->config->cpus, v->text, &cpu)) {
    case SC_OK:
        return SC_OK;
    case SC_EPERM:
        return REFUSE(v, "asks for core %u, which this process may not use (taskset -p $$ shows those it may)", cpu);
    case SC_EFULL:
        return REFUSE(v, "is one core too many: at most %d", CPUS_MAX);
    default:
        return REFUSE(v, "is neither a core such as 3 nor a range such as 0-7");
    }
}

static int set_filter(const struct flag_value *v)
{
    bool raw = strcmp(v->flag->name, "filter.raw") == 0;
    if (v->config->filter[0] && v->config->filter_raw != raw)
        return REFUSE(v, "does not go together with -filter%s: give one of them", raw ? "" : ".raw");
    int rc = set_text(v);
    if (rc == SC_OK)
        v->config->filter_raw = raw && *v->text;
    return rc;
}

static int set_listen(const struct flag_value *v)
{
    const char *colon = strrchr(v->text, ':');
    const char *end = colon ? colon + 1 : v->text;
    long port = 0;
    while (*end >= '0' && *end <= '9' && port <= UINT16_MAX)
        port = port * 10 + (*end++ - '0');
    if (*v->text && (!colon || end == colon + 1 || *end != '\0' || port > UINT16_MAX))
        return REFUSE(v, "must be HOST:PORT or :PORT with a port from 0 to 65535; empty for no HTTP");
    return set_text(v);
}

#define IN_CONFIG(field) .offset = offsetof(struct config, field), .size = sizeof(((struct config *)0)->field)
#define IN_REQUEST(field)                                                                                              \
    .in_request = true, .offset = offsetof(struct flags_request, field),                                               \
    .size = sizeof(((struct flags_request *)0)->field)
#define GIVEN(field) .given = offsetof(struct flags_request, field) + 1
#define FLAG(n, a, f, h, g, s) .name = (n), .arg = (a), .fallback = (f), .help = (h), .group = (g), .set = (s)

static const struct flag table[] = {
    {FLAG("interface", "NAME,..", NULL, "capture on these interfaces, and wait for one that is down", FLAG_INPUT,
          set_interface),
     .repeat = FLAG_COMMA, .shown = "all that are up"},
    {FLAG("read", "FILE", NULL, "read a pcap or pcapng savefile instead, - is standard input; repeatable", FLAG_INPUT,
          set_read),
     .repeat = FLAG_APPEND, .own = true},
    {FLAG("filter", "EXPR", NULL, "only packets that match this pcap filter, too", FLAG_INPUT, set_filter), .own = true,
     IN_CONFIG(filter)},
    {FLAG("filter.raw", "EXPR", NULL, "this pcap filter in place of the built-in one", FLAG_INPUT, set_filter),
     .own = true, IN_CONFIG(filter)},
    {FLAG("maxheadersize", "BYTES", "256", "capture at most this much of a packet", FLAG_INPUT, set_number),
     IN_CONFIG(maxheadersize), .min = HEADER_MIN, .max = FRAME_MAX_CAPLEN},
    {FLAG("dedup", NULL, "false", "save a packet that crosses two of the interfaces once", FLAG_INPUT, set_bool),
     .own = true, IN_CONFIG(dedup)},
    {FLAG("capturebuffer", "SIZE", "64MB", "kernel buffer, shared by all interfaces", FLAG_INPUT, set_size),
     .own = true, IN_CONFIG(capturebuffer), .min = 1000000, .max = 2000000000},

    {FLAG("captureduration", "DURATION", "30s", "save only this much of each flow", FLAG_FLOWS, set_duration),
     IN_CONFIG(captureduration_ns), .min = 1},
    {FLAG("flowtimeout", "DURATION", "30s", "a flow without a packet is closed after one to two of these", FLAG_FLOWS,
          set_duration),
     IN_CONFIG(flowtimeout_ns), .min = NS_PER_MS},
    {FLAG("maxflows", "N", "0", "ignore new flows above this many; 0 is no limit", FLAG_FLOWS, set_number),
     IN_CONFIG(maxflows), .max = UINT32_MAX},
    {FLAG("maxpackets", "N", "0", "save only so many packets of each flow; 0 is no limit", FLAG_FLOWS, set_number),
     .own = true, IN_CONFIG(maxpackets), .max = UINT32_MAX},
    {FLAG("maxfilesize", "SIZE", "0", "save only this much of each flow, before compression; 0 is no limit", FLAG_FLOWS,
          set_size),
     .own = true, IN_CONFIG(maxfilesize), .max = UINT64_C(1) << 50},
    {FLAG("sample", "1/N", "1/1", "save one flow of N, chosen by a hash of its addresses and ports", FLAG_FLOWS,
          set_sample),
     .own = true, IN_CONFIG(sample)},
    {FLAG("anonymize.ip", "HOW", "none", "none, or netblock: keep /24 of IPv4 and /48 of IPv6", FLAG_FLOWS,
          set_anonymize),
     IN_CONFIG(anonymizer.mode), .choices = "none netblock"},
    {FLAG("anonymize.exempt", "ADDR,..", NULL, "addresses that are never hidden", FLAG_FLOWS, set_exempt), .own = true,
     .repeat = FLAG_COMMA, .shown = "those of this machine; with -read none"},

    {FLAG("uuid.source", "LIST", "auto", "who names flows: auto, none, or a list of eventsocket, kernel, hash",
          FLAG_NAMES, set_text),
     .own = true, IN_REQUEST(uuid_source), .min = 1},
    {FLAG("uuid.kernel", "LIST", "lookup,destroy", "how kernel learns of sockets: by questions, by news of their end",
          FLAG_NAMES, set_kernel),
     .own = true},
    {FLAG("uuidwaitduration", "DURATION", "5s", "how long a flow may wait for its UUID", FLAG_NAMES, set_duration),
     IN_CONFIG(uuidwaitduration_ns)},
    {FLAG("tcpinfo.eventsocket", "PATH", "", "unix socket of tcp-info, which tells UUIDs", FLAG_NAMES, set_text),
     .size = SOCKET_PATH_MAX + 1, .offset = offsetof(struct config, eventsocket), .shown = "none"},
    {FLAG("events.serve", "PATH", "", "unix socket to make: tells other clients of tcp-info the UUIDs, as it does",
          FLAG_NAMES, set_text),
     .own = true, .size = SOCKET_PATH_MAX + 1, .offset = offsetof(struct config, serve), .shown = "none"},
    {FLAG("uuid.events", "FILE", NULL, "with -read: a file of events as tcp-info writes them, one a line", FLAG_NAMES,
          set_text),
     .own = true, IN_CONFIG(uuid_events)},
    {FLAG("uuid-prefix-file", "FILE", NULL, "file with the prefix of names that are made here", FLAG_NAMES, set_text),
     IN_REQUEST(prefix_file), .shown = "host name and boot time"},

    {FLAG("datadir", "DIR", ".", "files go to DIR/YYYY/MM/DD/UUID.pcap.gz; made if missing", FLAG_FILES, set_text),
     IN_CONFIG(datadir), .min = 1},
    {FLAG("stagingdir", "DIR", NULL, "unfinished files; same file system", FLAG_FILES, set_text), .own = true,
     IN_CONFIG(stagingdir), GIVEN(stagingdir_given), .shown = "DATADIR.staging or DATADIR/.staging"},
    {FLAG("gzip", "HOW", "auto", "compression: auto (follows the load), small, fast, zlib (level 6) or none",
          FLAG_FILES, set_choice),
     .own = true, IN_CONFIG(gzip), .choices = "auto small fast zlib none"},
    {FLAG("syncinterval", "DURATION", "1s", "sync finished files to disk this often before they appear; 0 is never",
          FLAG_FILES, set_duration),
     .own = true, IN_CONFIG(syncinterval_ns)},
    {FLAG("mindiskfree", "N%|SIZE", "5%", "live, no new flow while less of the disk is free; 0 is off", FLAG_FILES,
          set_diskfree),
     .own = true, IN_CONFIG(mindiskfree)},
    {FLAG("maxdisk", "SIZE", "0", "live, no new flow while -datadir takes more; with -keep the oldest go; 0 is off",
          FLAG_FILES, set_size),
     .own = true, IN_CONFIG(maxdisk), .max = UINT64_C(1) << 60},
    {FLAG("keep", "DURATION", "0", "live, remove published files that are older, at least 1h; 0 keeps them", FLAG_FILES,
          set_keep),
     .own = true, IN_CONFIG(keep_ns)},
    {FLAG("stream", NULL, "false", "write while packets come, not when the flow ends", FLAG_FILES, set_bool),
     IN_CONFIG(stream)},

    {FLAG("shards", "N", NULL, "processes that save flows, 1 to 64", FLAG_RESOURCES, set_number), .own = true,
     IN_CONFIG(shards), .min = 1, .max = SHARDS_MAX, GIVEN(shards_given), .shown = "cores less one, 1 to 4"},
    {FLAG("dispatchers", "N", "1", "threads that capture, each with a core, 1 to 8; not with -read", FLAG_RESOURCES,
          set_number),
     .own = true, IN_CONFIG(dispatchers), .min = 1, .max = DISPATCHERS_MAX},
    {FLAG("cpus", "CORE,..", NULL, "a core for each dispatcher, then for each shard, such as 2-5", FLAG_RESOURCES,
          set_cpus),
     .own = true, .repeat = FLAG_COMMA, .shown = "the system chooses"},
    {FLAG("shards.external", NULL, "false", "other supervisors start the shards: shardcap-shard -slot N -rundir DIR",
          FLAG_RESOURCES, set_bool),
     .own = true, IN_CONFIG(shards_external)},
    {FLAG("ringsize", "SIZE", "16MB", "memory between capture and each shard, rounded up to a power of two",
          FLAG_RESOURCES, set_ringsize),
     .own = true, IN_CONFIG(ringsize), .min = 1, .max = RING_MAX_SIZE},
    {FLAG("maxheap", "SIZE", "8GB", "memory for flows, of all shards; no new flow above it", FLAG_RESOURCES, set_size),
     IN_CONFIG(maxheap), .min = 1, .max = UINT64_C(1) << 50, GIVEN(maxheap_given)},
    {FLAG("maxidleram", "SIZE", "3GB", "give memory back to the system when more than this is idle", FLAG_RESOURCES,
          set_size),
     IN_CONFIG(maxidleram), .max = UINT64_C(1) << 50},

    {FLAG("prometheusx.listen-address", "ADDR", ":9990", "serve /metrics and a status page; empty: nowhere",
          FLAG_PROCESS, set_listen),
     IN_CONFIG(listen_address), GIVEN(listen_given), .shown = ":9990; with -read nowhere"},
    {FLAG("sigtermwait", "DURATION", "1s", "go on capturing this long after the first SIGTERM or Ctrl-C", FLAG_PROCESS,
          set_duration),
     IN_CONFIG(sigtermwait_ns)},
    {FLAG("rundir", "DIR", NULL, "sockets and lock; one instance for each", FLAG_PROCESS, set_text), .own = true,
     IN_CONFIG(rundir), GIVEN(rundir_given), .shown = "/run/shardcap as root"},
    {FLAG("user", "NAME", NULL, "runs hub and shards, owns the files", FLAG_PROCESS, set_text), .own = true,
     IN_REQUEST(user), .shown = "sudo's, else datadir's, else shardcap, nobody"},
    {FLAG("seccomp", "HOW", "kill", "system calls that are not needed: kill the process, log, or none: no filter",
          FLAG_PROCESS, set_choice),
     .own = true, IN_CONFIG(seccomp), .choices = "kill log none"},
    {FLAG("summary", "FILE", NULL, "write the counts at the end there, as JSON", FLAG_PROCESS, set_text), .own = true,
     IN_CONFIG(summary)},
    {FLAG("log.level", "LEVEL", "info", "debug, info, warn or error; single flows are at debug", FLAG_PROCESS,
          set_choice),
     .own = true, IN_CONFIG(log_level), .choices = "debug info warn error"},
    {FLAG("log.format", "FORMAT", "text", "text or json", FLAG_PROCESS, set_choice), .own = true, IN_CONFIG(log_format),
     .choices = "text json"},
    {FLAG("check", NULL, "false", "print all settings and the worst-case memory, and end", FLAG_PROCESS, set_bool),
     .own = true, IN_REQUEST(check)},
    {FLAG("version", NULL, "false", "print version and commit, and end", FLAG_PROCESS, set_bool), .own = true,
     IN_REQUEST(version)},
    {FLAG("help", NULL, "false", "print this, and end", FLAG_PROCESS, set_bool), .own = true, IN_REQUEST(help)},
};
#define TABLE_COUNT (sizeof table / sizeof table[0])

const struct flag *flags_table(size_t *count)
{
    *count = TABLE_COUNT;
    return table;
}

const struct flag *flags_find(const char *name, size_t len)
{
    if (len == 1 && *name == 'h') /* as in Go */
        return flags_find("help", 4);
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
            return &table[i];
    return NULL;
}

/* Levenshtein distance, case-blind: a wrong case is no error that needs a hint's budget. */
static size_t typing_errors(const char *a, size_t na, const char *b, size_t nb)
{
    size_t row[64];
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = diagonal + ((a[i - 1] | 0x20) != (b[j - 1] | 0x20));
            diagonal = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row[nb];
}

const char *flags_nearest(const char *name, size_t len)
{
    const char *nearest = NULL;
    size_t least = len / 3 + 1; /* what differs by more is another word */
    if (len >= 64)
        return NULL;
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        size_t d = typing_errors(name, len, table[i].name, strlen(table[i].name));
        if (d < least) {
            least = d;
            nearest = table[i].name;
        }
    }
    return nearest;
}

const char *flags_variable(const struct flag *flag, char out[FLAGS_VARIABLE])
{
    char *p = stpcpy(out, flag->own ? "SHARDCAP_" : "");
    for (const char *s = flag->name; *s && p < out + FLAGS_VARIABLE - 1; s++) {
        if (*s >= 'a' && *s <= 'z')
            *p++ = (char)(*s - 'a' + 'A');
        else
            *p++ = (*s >= '0' && *s <= '9') ? *s : '_';
    }
    *p = '\0';
    return out;
}

uint32_t flags_default_shards(void)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    int n = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1024; /* EINVAL: more than 1024 */
    return n <= 2 ? 1 : n >= 5 ? 4 : (uint32_t)(n - 1);
}
