/* SPDX-License-Identifier: Apache-2.0
 * One line per message on stderr: time level process[slot] message key=value.
 * Severities: debug = per flow; info = a state changed; warn = survived; fatal = the environment does not
 * allow to go on (exits with the given status); panic = a bug of ours (exits EXIT_PANIC 70).
 * Foreign text goes through log_quote only; addresses only through anonymize + flowkey_format. */
#ifndef SHARED_LOG_H
#define SHARED_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/clock.h"
#include "shared/err.h"

enum log_level { LOG_DEBUG_LEVEL, LOG_INFO_LEVEL, LOG_WARN_LEVEL, LOG_ERROR_LEVEL };
enum log_format { LOG_TEXT, LOG_JSON };

/* Sets the prefix of all later lines. `process` is static storage ("shard"); slot -1 = not shown.
 * Before the first call: level info, text, process "shardcap". Never fails. */
void log_init(const char *process, int slot, enum log_level level, enum log_format format);

void log_debug(const char *fmt, ...) SC_PRINTF(1, 2);
void log_info(const char *fmt, ...) SC_PRINTF(1, 2);
void log_warn(const char *fmt, ...) SC_PRINTF(1, 2);
void log_error(const char *fmt, ...) SC_PRINTF(1, 2);
_Noreturn void log_fatal(int status, const char *fmt, ...) SC_PRINTF(2, 3);
_Noreturn void log_panic(const char *fmt, ...) SC_PRINTF(1, 2);

/* Calls this once a panic has been told, before it ends the process; NULL = nothing. */
void log_before_panic(void (*call)(void));
bool log_debug_enabled(void);

/* Writes text as it stands (whole lines, LOG_TEXT_MAX bytes of them at most), whatever the level, by the rules of a log
 * line. */
#define LOG_TEXT_MAX 4096
void log_text(const char *text, size_t len);

/* Called before each line is written and after it (the supervisor clears and redraws its status line).
 * NULL, NULL = none. */
void log_set_hooks(void (*before)(void *ctx), void (*after)(void *ctx), void *ctx);

/* From now on a line that cannot be written at once is dropped and counted, and the next one that can says how many:
 * a terminal stopped by Ctrl-S, or a pipe that nobody reads, stops no process. Children inherit the descriptor. false:
 * lines wait for their reader again (the default). */
void log_never_block(bool on);

/* For a child of shardcap: where stderr is a terminal, each line takes the place of the status line that the supervisor
 * draws there and draws again within a second. */
void log_wipe_status(void);

/* Escapes control bytes, quotes, backslashes and non-ASCII as \xNN, cuts after 64 source bytes ("..." then
 * follows). Always NUL-terminates. Returns out. */
#define LOG_QUOTED (64 * 4 + 4)
const char *log_quote(const void *text, size_t len, char out[LOG_QUOTED]);

/* At most one line per second and limiter. Zero-initialise. Returns true when the caller may log now and
 * stores in *suppressed how many calls were refused since the last line. */
struct log_limit {
    struct mono next;
    unsigned long refused;
};
bool log_allow(struct log_limit *limit, struct mono now, unsigned long *suppressed);

#endif
