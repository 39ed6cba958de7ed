/* SPDX-License-Identifier: Apache-2.0
 * Command line and environment -> struct config. Go's flag syntax: -x v, -x=v, --x; bool -x or -x=false. Knows nothing
 * about files or the machine: what must be looked up there is the caller's (dispatcher/supervisor/settings.c). */
#ifndef SHARED_FLAGS_H
#define SHARED_FLAGS_H

#include <stdint.h>

#include "shared/config.h"
#include "shared/err.h"

/* What was asked for beside a run. */
struct flags_request {
    bool help, version, check;
    char user[64]; /* -user, "" = not given */
    char prefix_file[CONFIG_PATH];
    char anonymize_ip[32];
    char uuid_source[256]; /* as given; "auto" by default */
    bool listen_given;     /* -prometheusx.listen-address was named: else -read leaves config.listen_address empty */
    bool shards_given, rundir_given, stagingdir_given, maxheap_given;
};

/* Fills *config with defaults, then the environment (reference.md section 2), then argv[1..argc). -help and -version
 * need nothing else to be right. Numbers are within their ranges afterwards, ringsize is a power of two, uuid_sources
 * is resolved. What the machine must tell stays as given or empty: rundir, stagingdir, user, uuid_prefix. Returns
 * SC_OK; SC_EINVAL with one clear line in error (naming flag or variable, value and remedy), for which the exit status
 * is 2. Warnings (command line wins over environment) are passed to warn, which may be NULL. Also does the checks that
 * need nothing but the values: uuidwait <= captureduration, -read with -interface, stdin twice, sources that make no
 * sense with -read. */
#define FLAGS_ERROR 1024
int flags_parse(int argc, char *const argv[], char *const envp[], struct config *config, struct flags_request *request,
                void (*warn)(const char *line), char error[FLAGS_ERROR]) SC_MUST_CHECK;

/* The text of -help: one line per flag with its default, ends with a newline. Static storage. */
const char *flags_help(void);

/* Go duration: "1h2m3.5s", "10ms", "-1s" is refused, "0" is fine. SC_OK or SC_EFORMAT (also on overflow). */
int flags_duration(const char *text, int64_t *ns_r) SC_MUST_CHECK;
/* [0-9]+([KMG]?B?), decimal. SC_OK or SC_EFORMAT (also on overflow). */
int flags_size(const char *text, uint64_t *bytes_r) SC_MUST_CHECK;
/* Writes a duration (ns >= 0) as Go prints it ("1m30s", "10ms", "0s"). Returns out. */
const char *flags_duration_text(int64_t ns, char out[40]);

#endif
