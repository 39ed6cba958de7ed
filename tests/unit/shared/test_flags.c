/* SPDX-License-Identifier: Apache-2.0
 * The command line as people write it: Go's syntax, defaults, environment, bounds, contradictions, hints; and that
 * table, help and parser tell the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/flags.h"
#include "shared/flags_table.h"

#define ARGS_MAX 600

static struct config config;
static struct flags_request request;
static char error[FLAGS_ERROR];
static char warnings[4096];

static void on_warning(const char *line)
{
    strcat(warnings, line);
    strcat(warnings, "\n");
}

static char *no_environment[] = {NULL};

/* Parses the arguments up to NULL, after argv[0], with an environment. */
static int parse_env(char **envp, const char *const *args)
{
    char *argv[ARGS_MAX];
    int argc = 0;
    argv[argc++] = "shardcap";
    for (; *args; args++)
        argv[argc++] = (char *)*args;
    argv[argc] = NULL;
    warnings[0] = '\0';
    memset(&config, 0xa5, sizeof config);
    memset(&request, 0xa5, sizeof request);
    return flags_parse(argc, argv, envp, &config, &request, on_warning, error);
}
#define PARSE(...) parse_env(no_environment, (const char *const[]){__VA_ARGS__, NULL})
#define ENV(...) ((char *[]){__VA_ARGS__, NULL})
#define PARSE_ENV(env, ...) parse_env(env, (const char *const[]){__VA_ARGS__, NULL})

#define assert_good(call)                                                                                              \
    do {                                                                                                               \
        if ((call) != SC_OK)                                                                                           \
            fail_msg("%s: %s", #call, error);                                                                          \
        assert_string_equal(error, "");                                                                                \
    } while (0)

/* Refused, in one line that holds each of the words (NULL-terminated). */
static void refused(int rc, const char *const *words)
{
    assert_int_equal(rc, SC_EINVAL);
    assert_null(strchr(error, '\n'));
    for (; *words; words++)
        if (!strstr(error, *words))
            fail_msg("\"%s\" does not say \"%s\"", error, *words);
}
#define assert_refused(call, ...) refused(call, (const char *const[]){__VA_ARGS__, NULL})

/* ---- values ---- */

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {{"0", 0},
                {"0s", 0},
                {"10ms", 10 * NS_PER_MS},
                {"1h2m3.5s", INT64_C(3723500000000)},
                {"1.5h", INT64_C(5400000000000)},
                {".5s", 500000000},
                {"1.s", NS_PER_SEC},
                {"+5s", 5 * NS_PER_SEC},
                {"100us", 100000},
                {"100\xc2\xb5s", 100000},
                {"100\xce\xbcs", 100000},
                {"7ns", 7},
                {"0.1s", 100000000},
                {"0.333333333333333333333333s", 333333333},
                {"0.3h", INT64_C(1080000000000)},
                {"1s1s", 2 * NS_PER_SEC},
                {"9223372036854775807ns", INT64_MAX},
                {"2562047h47m16.854775807s", INT64_MAX}};
    static const char *const bad[] = {"",
                                      "s",
                                      "1",
                                      "-1s",
                                      "1 s",
                                      "1s ",
                                      "1d",
                                      "1S",
                                      ".s",
                                      "1..5s",
                                      "1.5",
                                      "0x1s",
                                      "1e3s",
                                      "+",
                                      "++1s",
                                      "--1s",
                                      "1m-1s",
                                      "nan",
                                      "inf",
                                      "9223372036854775808ns",
                                      "2562047h47m16.854775808s",
                                      "99999999999999999999s",
                                      "5124095576030h"};
    int64_t ns;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(flags_duration(good[i].text, &ns), SC_OK);
        assert_int_equal(ns, good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (flags_duration(bad[i], &ns) != SC_EFORMAT)
            fail_msg("%s is a duration", bad[i]);
}

static void duration_texts(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {{0, "0s"},
                 {1, "1ns"},
                 {1500, "1.5\xc2\xb5s"},
                 {10 * NS_PER_MS, "10ms"},
                 {NS_PER_SEC, "1s"},
                 {30 * NS_PER_SEC, "30s"},
                 {90 * NS_PER_SEC, "1m30s"},
                 {INT64_C(3600000000000), "1h0m0s"},
                 {INT64_C(3723500000000), "1h2m3.5s"},
                 {INT64_MAX, "2562047h47m16.854775807s"}};
    char out[40];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t back;
        assert_string_equal(flags_duration_text(cases[i].ns, out), cases[i].text);
        assert_int_equal(flags_duration(out, &back), SC_OK);
        assert_int_equal(back, cases[i].ns);
    }
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"1", 1},
                {"1B", 1},
                {"1K", 1000},
                {"1KB", 1000},
                {"1500MB", 1500000000},
                {"2G", 2000000000},
                {"2GB", 2000000000},
                {"18446744073709551615", UINT64_MAX}};
    static const char *const bad[] = {"",
                                      "K",
                                      "B",
                                      "-1",
                                      "+1",
                                      "1.5G",
                                      "1k",
                                      "1kB",
                                      "1KiB",
                                      "1 K",
                                      "1T",
                                      "1BK",
                                      "1KBB",
                                      "0x1",
                                      "1e3",
                                      " 1",
                                      "1 ",
                                      "18446744073709551616",
                                      "18446744074GB"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(flags_size(good[i].text, &bytes), SC_OK);
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (flags_size(bad[i], &bytes) != SC_EFORMAT)
            fail_msg("%s is a size", bad[i]);
}

/* ---- defaults and the reference's command line ---- */

static void defaults(void **state)
{
    (void)state;
    assert_good(PARSE(NULL));
    assert_int_equal(config.magic, CONFIG_MAGIC);
    assert_int_equal(config.layout, CONFIG_LAYOUT);
    assert_int_equal(config.bytes, sizeof config);
    assert_string_equal(config.datadir, ".");
    assert_int_equal(config.captureduration_ns, 30 * NS_PER_SEC);
    assert_int_equal(config.uuidwaitduration_ns, 5 * NS_PER_SEC);
    assert_int_equal(config.flowtimeout_ns, 30 * NS_PER_SEC);
    assert_int_equal(config.maxheadersize, 256);
    assert_int_equal(config.sigtermwait_ns, NS_PER_SEC);
    assert_false(config.stream);
    assert_int_equal(config.maxflows, 0);
    assert_int_equal(config.interface_count, 0);
    assert_int_equal(config.maxidleram, 3000000000);
    assert_int_equal(config.maxheap, 8000000000);
    assert_int_equal(config.maxheap_asked, 8000000000);
    assert_int_equal(config.anonymizer.mode, ANONYMIZE_NONE);
    assert_string_equal(request.anonymize_ip, "none");
    assert_string_equal(config.eventsocket, "");
    assert_string_equal(config.listen_address, ":9990");
    assert_false(config_reads_files(&config));
    assert_int_equal(config.shards, flags_default_shards());
    assert_in_range(config.shards, 1, 4);
    assert_int_equal(config.uuid_sources, UUID_SOURCE_KERNEL);
    assert_string_equal(request.uuid_source, "auto");
    assert_int_equal(config.ringsize, 16 << 20);
    assert_int_equal(config.capturebuffer, 64000000);
    assert_int_equal(config.gzip, GZIP_AUTO);
    assert_int_equal(config.syncinterval_ns, NS_PER_SEC);
    assert_int_equal(config.log_level, LOG_INFO_LEVEL);
    assert_int_equal(config.log_format, LOG_TEXT);
    assert_int_equal(config.seccomp, SANDBOX_KILL);
    static const size_t empty[] = {offsetof(struct config, stagingdir),  offsetof(struct config, uuid_events),
                                   offsetof(struct config, uuid_prefix), offsetof(struct config, rundir),
                                   offsetof(struct config, filter),      offsetof(struct config, summary)};
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++)
        assert_string_equal((const char *)&config + empty[i], "");
    assert_string_equal(request.user, "");
    assert_string_equal(request.prefix_file, "");
    assert_false(request.help || request.version || request.check || request.listen_given || request.shards_given ||
                 request.rundir_given || request.stagingdir_given || request.maxheap_given);
}

static void a_real_deployment(void **state)
{
    (void)state;
    assert_good(PARSE("-prometheusx.listen-address=10.0.0.1:9993", "-datadir=/var/spool/ndt/pcap",
                      "-tcpinfo.eventsocket=/var/local/tcpinfoeventsocket/tcpevents.sock", "-stream=false",
                      "-anonymize.ip=netblock", "-maxidleram=1500MB", "-maxheap=2GB", "-flowtimeout=5s",
                      "-maxflows=150", "-interface=eth0", "--uuid-prefix-file", "/var/local/uuid/prefix"));
    assert_string_equal(config.listen_address, "10.0.0.1:9993");
    assert_true(request.listen_given);
    assert_string_equal(config.datadir, "/var/spool/ndt/pcap");
    assert_int_equal(config.uuid_sources, UUID_SOURCE_EVENTSOCKET | UUID_SOURCE_KERNEL);
    assert_int_equal(config.anonymizer.mode, ANONYMIZE_NETBLOCK);
    assert_string_equal(request.anonymize_ip, "netblock");
    assert_int_equal(config.maxidleram, 1500000000);
    assert_int_equal(config.maxheap, 2000000000);
    assert_true(request.maxheap_given);
    assert_int_equal(config.flowtimeout_ns, 5 * NS_PER_SEC);
    assert_int_equal(config.maxflows, 150);
    assert_string_equal(config.interfaces[0], "eth0");
    assert_string_equal(request.prefix_file, "/var/local/uuid/prefix");
    assert_string_equal(warnings, "");
}

static void all_forms_of_a_flag(void **state)
{
    (void)state;
    assert_good(PARSE("-maxflows", "1"));
    assert_int_equal(config.maxflows, 1);
    assert_good(PARSE("--maxflows", "2"));
    assert_int_equal(config.maxflows, 2);
    assert_good(PARSE("-maxflows=3"));
    assert_int_equal(config.maxflows, 3);
    assert_good(PARSE("--maxflows=4", "-maxflows=5", "--"));
    assert_int_equal(config.maxflows, 5);
    assert_good(PARSE("-stream", "-stream=F", "-stream=TRUE"));
    assert_true(config.stream);
    assert_good(PARSE("-stream", "-stream=0"));
    assert_false(config.stream);
    assert_good(PARSE("-datadir", "-odd"));
    assert_string_equal(config.datadir, "-odd");
    assert_good(PARSE("-datadir=a=b"));
    assert_string_equal(config.datadir, "a=b");
    assert_good(PARSE("-h"));
    assert_true(request.help);
}

static void what_is_no_flag(void **state)
{
    (void)state;
    assert_refused(PARSE("data"), "unexpected argument \"data\"");
    assert_refused(PARSE("-stream", "false"), "unexpected argument \"false\"", "-flag=false");
    assert_refused(PARSE("-"), "unexpected argument \"-\"");
    assert_refused(PARSE(""), "unexpected argument \"\"");
    assert_refused(PARSE("--", "-stream"), "unexpected argument \"-stream\"");
    assert_refused(PARSE("-datadir"), "-datadir needs a value", "-datadir DIR");
    assert_refused(PARSE("-maxheep=1GB"), "unknown flag -maxheep", "did you mean -maxheap?");
    assert_refused(PARSE("-Interface=x"), "did you mean -interface?");
    assert_refused(PARSE("-flowtimout", "5s"), "did you mean -flowtimeout?");
    assert_refused(PARSE("-filter_raw=x"), "did you mean -filter.raw?");
    assert_refused(PARSE("-xyzzy"), "unknown flag -xyzzy", "-help lists all");
    assert_null(strstr(error, "did you mean"));
    assert_refused(PARSE("-="), "unknown flag -:");
    assert_refused(PARSE("---stream"), "unknown flag");
    assert_refused(PARSE("-a\nb"), "unknown flag -a\\x0ab");
}

static void cpus(void **state)
{
    (void)state;
    cpu_set_t ours;
    assert_int_equal(sched_getaffinity(0, sizeof ours, &ours), 0);
    assert_good(PARSE(NULL));
    assert_int_equal(config.cpus.count, 0);
    unsigned first = 0; /* whatever cores this machine gives us */
    while (!CPU_ISSET(first, &ours))
        first++;
    char one[32], again[64], beyond[32];
    snprintf(one, sizeof one, "-cpus=%u", first);
    snprintf(again, sizeof again, "-cpus=%u,%u-%u", first, first, first);
    snprintf(beyond, sizeof beyond, "-cpus=%d", CPU_SETSIZE - 1);
    assert_good(PARSE(one));
    assert_int_equal(config.cpus.count, 1);
    assert_int_equal(config.cpus.cpu[0], first);
    assert_good(PARSE(again));
    assert_int_equal(config.cpus.count, 1);
    assert_refused(PARSE(beyond), "-cpus", "1023", "may not use");
    static const char *const bad[] = {
        "-cpus=x",  "-cpus=0,",     "-cpus=-1", "-cpus=0-", "-cpus=1-0", "-cpus=0:1", "-cpus=99999999999999999999",
        "-cpus= 0", "-cpus=0-99999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(PARSE(bad[i]), "-cpus", "neither");
    assert_refused(PARSE_ENV(ENV("SHARDCAP_CPUS=x"), "-check"), "SHARDCAP_CPUS");
}

static void dispatchers(void **state)
{
    (void)state;
    assert_good(PARSE(NULL));
    assert_int_equal(config.dispatchers, 1);
    assert_good(PARSE("-dispatchers=4"));
    assert_int_equal(config_dispatchers(&config), 4);
    assert_refused(PARSE("-dispatchers=0"), "1");
    assert_refused(PARSE("-dispatchers=9"), "8");
    assert_refused(PARSE("-dispatchers=2", "-read=x.pcap"), "-read");
    assert_good(PARSE("-dispatchers=1", "-read=x.pcap"));
    assert_refused(PARSE("-dispatchers=2", "-dedup"), "-dedup");
}

static void limits_and_disk(void **state)
{
    (void)state;
    assert_good(PARSE(NULL));
    assert_int_equal(config.maxpackets, 0);
    assert_int_equal(config.maxfilesize, 0);
    assert_int_equal(config.sample, 0);
    assert_int_equal(config.mindiskfree_percent, 5);
    assert_int_equal(config.mindiskfree, 0);
    assert_int_equal(config.maxdisk, 0);
    assert_int_equal(config.keep_ns, 0);
    assert_good(
        PARSE("-maxpackets=10", "-maxfilesize=1MB", "-sample=1/16", "-mindiskfree=2GB", "-maxdisk=50GB", "-keep=720h"));
    assert_int_equal(config.maxpackets, 10);
    assert_int_equal(config.maxfilesize, 1000000);
    assert_int_equal(config.sample, 16);
    assert_int_equal(config.mindiskfree_percent, 0);
    assert_int_equal(config.mindiskfree, 2000000000);
    assert_int_equal(config.maxdisk, 50000000000);
    assert_int_equal(config.keep_ns, 720 * 3600 * NS_PER_SEC);
    assert_good(PARSE("-mindiskfree=99%"));
    assert_int_equal(config.mindiskfree_percent, 99);
    assert_good(PARSE("-mindiskfree=0", "-keep=0"));
    assert_int_equal(config.mindiskfree_percent, 0);
    static const char *const wrong[] = {"-sample=2",        "-sample=1/0",       "-sample=1/x",     "-sample=2/3",
                                        "-sample=1/",       "-sample=1/2x",      "-mindiskfree=%",  "-mindiskfree=100%",
                                        "-mindiskfree=5%%", "-mindiskfree=-1",   "-keep=59m59s",    "-keep=-1h",
                                        "-maxpackets=many", "-maxfilesize=1TB?", "-mindiskfree=5 %"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_refused(PARSE(wrong[i]), "must be");
}

/* ---- bounds ---- */

static void bounds(void **state)
{
    (void)state;
    assert_refused(PARSE("-maxheadersize=53"), "-maxheadersize: \"53\" must be a whole number from 54 to 65535");
    assert_good(PARSE("-maxheadersize=54"));
    assert_good(PARSE("-maxheadersize=65535"));
    assert_refused(PARSE("-maxheadersize=65536"), "-maxheadersize");
    assert_refused(PARSE("-shards=0"), "from 1 to 64");
    assert_good(PARSE("-shards=64"));
    assert_int_equal(config.shards, 64);
    assert_true(request.shards_given);
    assert_refused(PARSE("-shards=65"), "from 1 to 64");
    assert_refused(PARSE("-maxflows=-1"), "-maxflows");
    assert_refused(PARSE("-maxflows=4294967296"), "-maxflows");
    assert_refused(PARSE("-maxflows=18446744073709551617"), "-maxflows");
    assert_refused(PARSE("-maxflows="), "-maxflows: \"\"");
    assert_refused(PARSE("-maxflows=1x"), "-maxflows");
    assert_good(PARSE("-maxflows=4294967295"));
    assert_refused(PARSE("-captureduration=0"), "-captureduration", "1ns");
    assert_refused(PARSE("-captureduration=-1s"), "not negative");
    assert_refused(PARSE("-captureduration=876001h"), "876000h0m0s");
    assert_good(PARSE("-captureduration=876000h"));
    assert_refused(PARSE("-flowtimeout=999us"), "-flowtimeout", "1ms");
    assert_good(PARSE("-flowtimeout=1ms", "-uuidwaitduration=0", "-sigtermwait=0", "-syncinterval=0"));
    assert_refused(PARSE("-maxheap=2XB"), "-maxheap: \"2XB\" must be a size such as");
    assert_refused(PARSE("-maxheap=0"), "-maxheap");
    assert_good(PARSE("-maxidleram=0"));
    assert_refused(PARSE("-capturebuffer=999KB"), "-capturebuffer", "1000000");
    assert_good(PARSE("-capturebuffer=1MB"));
    assert_refused(PARSE("-capturebuffer=3GB"), "2000000000");
    assert_refused(PARSE("-stream=yes"), "true or false");
    assert_refused(PARSE("-anonymize.ip=all"), "-anonymize.ip: \"all\" must be one of: none netblock");
    assert_refused(PARSE("-anonymize.ip="), "-anonymize.ip");
    assert_refused(PARSE("-gzip=9"), "auto small fast zlib none");
    assert_refused(PARSE("-gzip=auto small"), "-gzip");
    assert_refused(PARSE("-datadir="), "may not be empty");
}

static void ring_sizes_become_powers_of_two(void **state)
{
    (void)state;
    static const struct {
        const char *arg;
        uint64_t size;
    } cases[] = {{"-ringsize=1", RING_MIN_SIZE},
                 {"-ringsize=65536", 65536},
                 {"-ringsize=65537", 131072},
                 {"-ringsize=1MB", 1 << 20},
                 {"-ringsize=16777216", 1 << 24},
                 {"-ringsize=16777217", 1 << 25},
                 {"-ringsize=4294967296", UINT64_C(1) << 32}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_good(PARSE(cases[i].arg));
        assert_int_equal(config.ringsize, cases[i].size);
    }
    assert_refused(PARSE("-ringsize=0"), "-ringsize");
    assert_refused(PARSE("-ringsize=4294967297"), "-ringsize");
}

static void choices(void **state)
{
    (void)state;
    static const char *const gzip[] = {"-gzip=auto", "-gzip=small", "-gzip=fast", "-gzip=zlib", "-gzip=none"};
    for (unsigned i = 0; i < 5; i++) {
        assert_good(PARSE(gzip[i]));
        assert_int_equal(config.gzip, i);
    }
    assert_good(PARSE("-seccomp=log"));
    assert_int_equal(config.seccomp, SANDBOX_LOG);
    assert_good(PARSE_ENV(ENV("SHARDCAP_SECCOMP=none"), "-check"));
    assert_int_equal(config.seccomp, SANDBOX_NONE);
    assert_refused(PARSE("-seccomp=off"), "kill log none");
    assert_good(PARSE("-log.level=debug", "-log.format=json"));
    assert_int_equal(config.log_level, LOG_DEBUG_LEVEL);
    assert_int_equal(config.log_format, LOG_JSON);
    assert_good(PARSE("-log.level=error"));
    assert_int_equal(config.log_level, LOG_ERROR_LEVEL);
}

static void lists(void **state)
{
    (void)state;
    assert_good(PARSE("-interface=eth0,eth1", "-interface", "wg0", "-interface=eth1"));
    assert_int_equal(config.interface_count, 3);
    assert_string_equal(config.interfaces[2], "wg0");
    assert_good(PARSE("-interface="));
    assert_int_equal(config.interface_count, 0);
    assert_refused(PARSE("-interface=eth0,,eth1"), "-interface: \"\"");
    assert_refused(PARSE("-interface=eth0,"), "-interface: \"\"");
    assert_refused(PARSE("-interface=abcdefghijklmnop"), "1 to 15 characters");
    assert_good(PARSE("-interface=abcdefghijklmno"));
    assert_refused(PARSE("-interface=../x"), "slash");
    assert_good(PARSE("-anonymize.exempt=192.0.2.1,2001:db8::1", "-anonymize.exempt=::ffff:192.0.2.2"));
    assert_int_equal(config.anonymizer.exempt_count, 3);
    assert_int_equal(config.anonymizer.exempt[1].len, 16);
    assert_int_equal(config.anonymizer.exempt[2].len, 4);
    assert_refused(PARSE("-anonymize.exempt=192.0.2.0/24"), "-anonymize.exempt", "not an IPv4 or IPv6 address");
    assert_good(PARSE("-read=a,b", "-read", "-", "-read=c"));
    assert_int_equal(config.savefile_count, 3);
    assert_string_equal(config.savefiles[0], "a,b"); /* a file name may hold a comma */
    assert_true(config.savefile_stdin);
    assert_refused(PARSE("-read=-", "-read=-"), "standard input twice");
    assert_refused(PARSE("-read="), "-read");
}

static void lists_end(void **state)
{
    (void)state;
    static const char *args[ARGS_MAX];
    static char names[INTERFACES_MAX + 1][32];
    for (int i = 0; i <= SAVEFILES_MAX; i++)
        args[i] = "-read=f";
    assert_refused(parse_env(no_environment, args), "at most 256");
    args[SAVEFILES_MAX] = NULL;
    assert_good(parse_env(no_environment, args));
    for (int i = 0; i <= INTERFACES_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "-interface=e%d", i);
        args[i] = names[i];
    }
    args[INTERFACES_MAX + 1] = NULL;
    assert_refused(parse_env(no_environment, args), "at most 64");
    for (int i = 0; i <= ANONYMIZE_EXEMPT_MAX; i++)
        args[i] = "-anonymize.exempt=192.0.2.1";
    args[ANONYMIZE_EXEMPT_MAX + 1] = NULL;
    assert_refused(parse_env(no_environment, args), "at most 256");
}

static void texts_that_are_too_long(void **state)
{
    (void)state;
    static const char *const flags[] = {"datadir",
                                        "stagingdir",
                                        "uuid.events",
                                        "uuid-prefix-file",
                                        "rundir",
                                        "filter",
                                        "filter.raw",
                                        "user",
                                        "summary",
                                        "uuid.source",
                                        "interface",
                                        "read",
                                        "tcpinfo.eventsocket",
                                        "events.serve",
                                        "anonymize.exempt"};
    static char arg[2 * CONFIG_PATH];
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        memset(arg, 'x', sizeof arg - 1);
        memcpy(arg, "-", 1);
        memcpy(arg + 1, flags[i], strlen(flags[i]));
        arg[1 + strlen(flags[i])] = '=';
        assert_refused(PARSE(arg), flags[i]);
    }
    memset(arg, 'x', sizeof arg);
    memcpy(arg, "-tcpinfo.eventsocket=", 21);
    arg[21 + 108] = '\0';
    assert_refused(PARSE(arg), "more than 107 bytes");
    arg[21 + 107] = '\0';
    assert_good(PARSE(arg));
}

static void listen_addresses(void **state)
{
    (void)state;
    static const char *const good[] = {":0", ":9990", "127.0.0.1:80", "[::1]:65535", "localhost:1", ""};
    static const char *const bad[] = {"9990", ":",    ":x",  ":65536", ":-1", ":99999999999999999999",
                                      "host", ":80x", ": 80"};
    char arg[128];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        (void)snprintf(arg, sizeof arg, "-prometheusx.listen-address=%s", good[i]);
        assert_good(PARSE(arg));
        assert_string_equal(config.listen_address, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(arg, sizeof arg, "-prometheusx.listen-address=%s", bad[i]);
        assert_refused(PARSE(arg), "-prometheusx.listen-address", "HOST:PORT");
    }
    assert_good(PARSE("-read=f"));
    assert_string_equal(config.listen_address, "");
    assert_good(PARSE("-read=f", "-prometheusx.listen-address=:1"));
    assert_string_equal(config.listen_address, ":1");
    assert_good(PARSE_ENV(ENV("PROMETHEUSX_LISTEN_ADDRESS=:2"), "-read=f"));
    assert_string_equal(config.listen_address, ":2");
}

static void filters(void **state)
{
    (void)state;
    assert_good(PARSE("-filter", "port 443"));
    assert_string_equal(config.filter, "port 443");
    assert_false(config.filter_raw);
    assert_good(PARSE("-filter.raw=tcp"));
    assert_string_equal(config.filter, "tcp");
    assert_true(config.filter_raw);
    assert_refused(PARSE("-filter=a", "-filter.raw=b"), "-filter.raw: \"b\" does not go together with -filter:");
    assert_refused(PARSE("-filter.raw=a", "-filter=b"), "-filter: \"b\" does not go together with -filter.raw:");
}

/* ---- sources and contradictions ---- */

static void sources_of_live_capture(void **state)
{
    (void)state;
    assert_good(PARSE("-tcpinfo.eventsocket=/s", "-uuid.source=eventsocket,hash"));
    assert_int_equal(config.uuid_sources, UUID_SOURCE_EVENTSOCKET | UUID_SOURCE_HASH);
    assert_good(PARSE("-uuid.source=none"));
    assert_int_equal(config.uuid_sources, 0);
    assert_good(PARSE("-tcpinfo.eventsocket=/s", "-uuid.source=hash"));
    assert_int_equal(config.uuid_sources, UUID_SOURCE_HASH);
    assert_non_null(strstr(warnings, "-tcpinfo.eventsocket is not used"));
    assert_refused(PARSE("-uuid.source=eventsocket"), "-uuid.source", "needs -tcpinfo.eventsocket");
    assert_good(PARSE("-uuid.source=kernel"));
    assert_int_equal(config.uuid_sources, UUID_SOURCE_KERNEL);
    assert_good(PARSE("-uuid.source=hash,kernel"));
    assert_int_equal(config.uuid_sources, UUID_SOURCE_KERNEL | UUID_SOURCE_HASH);
    assert_good(PARSE("-tcpinfo.eventsocket=/s"));
    assert_int_equal(config.uuid_sources, UUID_SOURCE_EVENTSOCKET | UUID_SOURCE_KERNEL);
    assert_true(config.kernel_lookup && config.kernel_destroy);
    assert_good(PARSE("-uuid.kernel=lookup"));
    assert_true(config.kernel_lookup && !config.kernel_destroy);
    assert_good(PARSE("-uuid.kernel", "destroy"));
    assert_true(!config.kernel_lookup && config.kernel_destroy);
    assert_good(PARSE("-uuid.kernel=destroy,lookup"));
    assert_true(config.kernel_lookup && config.kernel_destroy);
    assert_refused(PARSE("-uuid.kernel="), "-uuid.kernel", "must be lookup, destroy");
    assert_refused(PARSE("-uuid.kernel=lookup,"), "-uuid.kernel", "must be lookup, destroy");
    assert_refused(PARSE("-uuid.kernel=lookups"), "-uuid.kernel", "must be lookup, destroy");
    assert_refused(PARSE("-uuid.source=magic"), "\"magic\"", "choose auto, eventsocket, kernel, hash or none");
    assert_refused(PARSE("-uuid.source=hash,"), "\"\" is no source");
    assert_refused(PARSE("-uuid.source=auto,hash"), "stand alone");
    assert_refused(PARSE("-uuid.source=hash,none"), "stand alone");
    assert_refused(PARSE("-uuid.source="), "may not be empty");
    assert_refused(PARSE("-uuid.events=f"), "-uuid.events goes with -read only");
}

static void sources_of_savefiles(void **state)
{
    (void)state;
    assert_good(PARSE("-read=f"));
    assert_int_equal(config.uuid_sources, UUID_SOURCE_HASH);
    assert_good(PARSE("-read=f", "-uuid.events=e"));
    assert_int_equal(config.uuid_sources, UUID_SOURCE_EVENTS);
    assert_good(PARSE("-read=f", "-uuid.events=e", "-uuid.source=hash"));
    assert_int_equal(config.uuid_sources, UUID_SOURCE_EVENTS | UUID_SOURCE_HASH);
    assert_good(PARSE("-read=f", "-uuid.source=none"));
    assert_int_equal(config.uuid_sources, 0);
    assert_good(PARSE("-read=f", "-uuid.source=none", "-uuid.events=e"));
    assert_int_equal(config.uuid_sources, UUID_SOURCE_EVENTS);
    assert_refused(PARSE("-read=f", "-uuid.source=eventsocket"), "-uuid.source", "with -read", "hash");
    assert_refused(PARSE("-read=f", "-uuid.source=kernel"), "with -read", "hash");
    assert_refused(PARSE("-read=f", "-events.serve=/s"), "-events.serve does not go together with -read");
    assert_refused(PARSE("-tcpinfo.eventsocket=/s", "-events.serve=/s"), "-events.serve", "same socket");
    assert_good(PARSE("-tcpinfo.eventsocket=/s", "-events.serve=/t"));
    assert_refused(PARSE("-read=f", "-tcpinfo.eventsocket=/s"), "-tcpinfo.eventsocket does not go together with -read");
    assert_refused(PARSE("-read=-", "-uuid.events=-"), "-uuid.events", "not standard input");
}

static void contradictions(void **state)
{
    (void)state;
    assert_refused(PARSE("-read=f", "-interface=eth0"), "-read does not go together with -interface");
    assert_refused(PARSE("-read=f", "-shards.external"), "-read does not go together with -shards.external");
    assert_refused(PARSE_ENV(ENV("INTERFACE=eth0"), "-read=f"), "INTERFACE in the environment");
    assert_refused(PARSE("-captureduration=3s"), "-uuidwaitduration (5s) is larger than -captureduration (3s)");
    assert_good(PARSE("-captureduration=5s"));
    assert_refused(PARSE("-uuidwaitduration=31s"), "-uuidwaitduration (31s)");
    /* Help and version need nothing else to be right, but what stands there must be a flag. */
    assert_good(PARSE("-help", "-read=f", "-interface=eth0"));
    assert_good(PARSE("-version", "-captureduration=3s"));
    assert_refused(PARSE("-version", "-nonsense=3"), "unknown flag");
}

/* ---- environment ---- */

static void environment_sets_what_the_command_line_leaves_out(void **state)
{
    (void)state;
    assert_good(PARSE_ENV(ENV("ANONYMIZE_IP=netblock", "TCPINFO_EVENTSOCKET=/s", "INTERFACE=eth0,eth1",
                              "UUID_PREFIX_FILE=/p", "SHARDCAP_UUID_SOURCE=eventsocket,hash", "SHARDCAP_GZIP=none",
                              "SHARDCAP_USER=daemon", "SHARDCAP_LOG_LEVEL=warn", "STREAM=true", "SHARDCAP_SHARDS=7",
                              "SHARDCAP_ANONYMIZE_EXEMPT=192.0.2.1,192.0.2.2"),
                          NULL));
    assert_int_equal(config.anonymizer.mode, ANONYMIZE_NETBLOCK);
    assert_string_equal(config.eventsocket, "/s");
    assert_int_equal(config.interface_count, 2);
    assert_string_equal(request.prefix_file, "/p");
    assert_int_equal(config.uuid_sources, UUID_SOURCE_EVENTSOCKET | UUID_SOURCE_HASH);
    assert_int_equal(config.gzip, GZIP_NONE);
    assert_string_equal(request.user, "daemon");
    assert_int_equal(config.log_level, LOG_WARN_LEVEL);
    assert_true(config.stream);
    assert_int_equal(config.shards, 7);
    assert_true(request.shards_given);
    assert_int_equal(config.anonymizer.exempt_count, 2);
    assert_good(PARSE_ENV(ENV("SHARDCAP_READ=a,b"), NULL));
    assert_int_equal(config.savefile_count, 2);
    assert_string_equal(warnings, "");
}

static void a_login_shell_sets_no_flag(void **state)
{
    (void)state;
    static struct config plain;
    assert_good(PARSE(NULL));
    plain = config;
    assert_good(
        PARSE_ENV(ENV("USER=root", "GZIP=-9", "READ=x", "FILTER=y", "SHARDS=99", "SUMMARY=z", "RUNDIR=/r", "HELP=1",
                      "CHECK=1", "VERSION=1.0", "UUID_SOURCE=magic", "LOG_LEVEL=x", "RINGSIZE=?", "STREAMS=1",
                      "XDATADIR=/x", "DATADIRX=/x", "DATADIR", "SHARDCAP_DATADIR=/x", "SHARDCAP_STREAM=true"),
                  NULL));
    assert_memory_equal(&plain, &config, sizeof config);
    assert_string_equal(request.user, "");
    assert_false(request.help || request.check || request.version);
    assert_string_equal(warnings, "");
}

static void the_command_line_wins_with_a_warning(void **state)
{
    (void)state;
    assert_good(PARSE_ENV(ENV("DATADIR=/env", "INTERFACE=eth9", "MAXHEAP=1GB"), "-datadir=/arg", "-interface=eth0"));
    assert_string_equal(config.datadir, "/arg");
    assert_int_equal(config.interface_count, 1);
    assert_string_equal(config.interfaces[0], "eth0");
    assert_int_equal(config.maxheap, 1000000000);
    assert_non_null(strstr(warnings, "DATADIR in the environment is ignored: -datadir on the command line wins\n"));
    assert_non_null(strstr(warnings, "INTERFACE in the environment is ignored"));
    assert_null(strstr(warnings, "MAXHEAP"));
    /* The same without anybody to tell. */
    char *argv[] = {"shardcap", "-datadir=/arg", NULL};
    assert_good(flags_parse(2, argv, ENV("DATADIR=/env"), &config, &request, NULL, error));
    assert_good(flags_parse(2, argv, NULL, &config, &request, NULL, error));
}

static void a_bad_value_in_the_environment(void **state)
{
    (void)state;
    assert_refused(PARSE_ENV(ENV("MAXHEAP=lots"), NULL), "MAXHEAP in the environment: \"lots\" must be a size");
    assert_refused(PARSE_ENV(ENV("FLOWTIMEOUT="), NULL), "FLOWTIMEOUT in the environment: \"\"");
    assert_refused(PARSE_ENV(ENV("SHARDCAP_GZIP=-9"), NULL), "SHARDCAP_GZIP in the environment");
    assert_refused(PARSE_ENV(ENV("SHARDCAP_UUID_SOURCE=magic"), NULL), "SHARDCAP_UUID_SOURCE in the environment");
    assert_refused(PARSE_ENV(ENV("CAPTUREDURATION=1s"), NULL), "CAPTUREDURATION in the environment (1s)");
    assert_good(PARSE_ENV(ENV("MAXHEAP=lots"), "-maxheap=1GB"));
}

/* ---- the table ---- */

static void variables_follow_the_rule(void **state)
{
    (void)state;
    static const char *const reference[] = {"datadir",
                                            "captureduration",
                                            "uuidwaitduration",
                                            "flowtimeout",
                                            "maxheadersize",
                                            "sigtermwait",
                                            "stream",
                                            "maxflows",
                                            "interface",
                                            "maxidleram",
                                            "maxheap",
                                            "anonymize.ip",
                                            "tcpinfo.eventsocket",
                                            "prometheusx.listen-address",
                                            "uuid-prefix-file"};
    size_t count, own = 0;
    char name[FLAGS_VARIABLE];
    const struct flag *table = flags_table(&count);
    for (size_t i = 0; i < count; i++) {
        own += table[i].own;
        flags_variable(&table[i], name);
        assert_int_equal(strncmp(name, "SHARDCAP_", 9) == 0, table[i].own);
        assert_int_equal(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"), strlen(name));
        assert_ptr_equal(flags_find(table[i].name, strlen(table[i].name)), &table[i]); /* no name twice */
        assert_string_equal(flags_nearest(table[i].name, strlen(table[i].name)), table[i].name);
    }
    assert_int_equal(count - own, sizeof reference / sizeof reference[0]);
    for (size_t i = 0; i < count - own; i++)
        assert_false(flags_find(reference[i], strlen(reference[i]))->own);
    assert_string_equal(flags_variable(flags_find("prometheusx.listen-address", 26), name),
                        "PROMETHEUSX_LISTEN_ADDRESS");
    assert_string_equal(flags_variable(flags_find("uuid.source", 11), name), "SHARDCAP_UUID_SOURCE");
}

/* The line of the help that begins with the flag and its word. */
static const char *help_line(const struct flag *flag)
{
    char start[128];
    (void)snprintf(start, sizeof start, "\n  -%s%s%s ", flag->name, flag->arg ? " " : "", flag->arg ? flag->arg : "");
    const char *at = strstr(flags_help(), start);
    return at ? at + 1 : NULL;
}

static void help_tells_what_the_parser_takes(void **state)
{
    (void)state;
    size_t count, lines = 0;
    const struct flag *table = flags_table(&count);
    const char *help = flags_help();
    assert_int_equal(help[strlen(help) - 1], '\n');
    assert_true(strlen(help) < 12000);
    for (size_t i = 0; i < count; i++) {
        char line[256], name[FLAGS_VARIABLE];
        const char *at = help_line(&table[i]);
        assert_non_null(at);
        size_t n = strcspn(at, "\n");
        assert_in_range(n, 40, 120);
        memcpy(line, at, n);
        line[n] = '\0';
        assert_non_null(strstr(line, table[i].help));
        if (table[i].arg && (table[i].shown || table[i].fallback))
            assert_non_null(strstr(line, table[i].shown ? table[i].shown : table[i].fallback));
        assert_non_null(strstr(help, flags_variable(&table[i], name)));
    }
    for (const char *p = help; (p = strstr(p, "\n  -")) != NULL; p++)
        lines++;
    assert_int_equal(lines, count); /* and no flag that is not in the table */
}

static void defaults_can_be_given(void **state)
{
    (void)state;
    size_t count;
    static struct config plain;
    const struct flag *table = flags_table(&count);
    assert_good(PARSE(NULL));
    plain = config;
    for (size_t i = 0; i < count; i++) {
        char arg[128], variable[FLAGS_VARIABLE], env[160];
        if (!table[i].fallback)
            continue;
        (void)snprintf(arg, sizeof arg, "-%s=%s", table[i].name, table[i].fallback);
        assert_good(PARSE(arg));
        assert_memory_equal(&plain, &config, sizeof config);
        (void)snprintf(env, sizeof env, "%s=%s", flags_variable(&table[i], variable), table[i].fallback);
        assert_good(PARSE_ENV(ENV(env), NULL));
        assert_memory_equal(&plain, &config, sizeof config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(duration_texts),
        cmocka_unit_test(sizes),
        cmocka_unit_test(defaults),
        cmocka_unit_test(a_real_deployment),
        cmocka_unit_test(all_forms_of_a_flag),
        cmocka_unit_test(what_is_no_flag),
        cmocka_unit_test(cpus),
        cmocka_unit_test(dispatchers),
        cmocka_unit_test(limits_and_disk),
        cmocka_unit_test(bounds),
        cmocka_unit_test(ring_sizes_become_powers_of_two),
        cmocka_unit_test(choices),
        cmocka_unit_test(lists),
        cmocka_unit_test(lists_end),
        cmocka_unit_test(texts_that_are_too_long),
        cmocka_unit_test(listen_addresses),
        cmocka_unit_test(filters),
        cmocka_unit_test(sources_of_live_capture),
        cmocka_unit_test(sources_of_savefiles),
        cmocka_unit_test(contradictions),
        cmocka_unit_test(environment_sets_what_the_command_line_leaves_out),
        cmocka_unit_test(a_login_shell_sets_no_flag),
        cmocka_unit_test(the_command_line_wins_with_a_warning),
        cmocka_unit_test(a_bad_value_in_the_environment),
        cmocka_unit_test(variables_follow_the_rule),
        cmocka_unit_test(help_tells_what_the_parser_takes),
        cmocka_unit_test(defaults_can_be_given),
    };
    return cmocka_run_group_tests_name("flags", tests, NULL, NULL);
}
