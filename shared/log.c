/* SPDX-License-Identifier: Apache-2.0
 * Log lines of all processes on one stderr. A line is at most PIPE_BUF bytes and goes out in one write(2), so lines of
 * several processes never mix; what is longer is cut and ends in "...". Control bytes are escaped here once more, so
 * that a message is one line whatever it holds.
 * Failure policy: a line that cannot be written is lost, and counted in the next one that can; after log_never_block
 * nobody who stops reading (Ctrl-S, a pager) stops the process. */
#include "shared/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES PIPE_BUF /* pipe(7): a write up to this size is atomic */
#define STATUS_PANIC 70         /* EXIT_PANIC of proto.h, which stands above this file */

enum severity { SEV_DEBUG, SEV_INFO, SEV_WARN, SEV_ERROR, SEV_FATAL, SEV_PANIC };
static const char *const severity_text[] = {"DEBUG", "INFO", "WARNING", "ERROR", "FATAL", "PANIC"};
static const char *const severity_json[] = {"debug", "info", "warning", "error", "fatal", "panic"};

static struct {
    const char *process;
    int slot;
    enum log_level level;
    enum log_format format;
    void (*before)(void *ctx);
    void (*after)(void *ctx);
    void *hook_ctx;
    bool impatient;      /* what cannot be written at once is dropped */
    bool own;            /* stderr is a description of our own, which we made non-blocking */
    const char *wipe;    /* before each line: takes away another process's status line */
    atomic_ulong unread; /* lines dropped since the last one that went out; threads log, too */
} logger = {.process = "shardcap", .slot = -1, .level = LOG_INFO_LEVEL, .wipe = ""};

void log_init(const char *process, int slot, enum log_level level, enum log_format format)
{
    logger.process = process;
    logger.slot = slot;
    logger.level = level;
    logger.format = format;
}

/* A description that nobody shares with us, so that its O_NONBLOCK is nobody else's. A file and a socket stay as they
 * are: the one never blocks, the other cannot be opened anew. */
static bool own_stderr(void)
{
    struct stat st;
    if (fstat(STDERR_FILENO, &st) != 0 || !(S_ISFIFO(st.st_mode) || isatty(STDERR_FILENO)))
        return false;
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool done = dup2(fd, STDERR_FILENO) == STDERR_FILENO;
    close(fd);
    return done;
}

void log_never_block(bool on)
{
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    logger.impatient = on;
    if (flags < 0)
        return;
    if (on)
        logger.own = (flags & O_NONBLOCK) || own_stderr(); /* done already by the program before us, or the parent */
    else if (logger.own)
        (void)fcntl(STDERR_FILENO, F_SETFL, flags & ~O_NONBLOCK);
}

void log_wipe_status(void)
{
    const char *kind = getenv("TERM");
    if (isatty(STDERR_FILENO) && !(kind && strcmp(kind, "dumb") == 0))
        logger.wipe = "\r\033[K";
}

bool log_debug_enabled(void)
{
    return logger.level <= LOG_DEBUG_LEVEL;
}

void log_set_hooks(void (*before)(void *ctx), void (*after)(void *ctx), void *ctx)
{
    logger.before = before;
    logger.after = after;
    logger.hook_ctx = ctx;
}

/* A line under construction. `end` leaves room for what must follow the message. */
struct line {
    char bytes[LINE_MAX_BYTES];
    size_t len;
    size_t end;
    bool cut;
};

/* Appends all of it or nothing: an escape is never split. */
static void put(struct line *l, const char *text, size_t n)
{
    if (l->cut || n > l->end - l->len) {
        l->cut = true;
        return;
    }
    memcpy(l->bytes + l->len, text, n);
    l->len += n;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

static void put_escape(struct line *l, const char *fmt, unsigned char byte)
{
    char e[8];
    int n = snprintf(e, sizeof e, fmt, byte);
    put(l, e, (size_t)n);
}

/* Length of the UTF-8 character at s (RFC 3629, without overlong forms and surrogates); 0 if there is none. */
static size_t utf8_length(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static void put_message_text(struct line *l, const char *message)
{
    for (const char *p = message; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f)
            put_escape(l, "\\x%02x", c);
        else
            put(l, p, 1);
    }
}

static void put_message_json(struct line *l, const char *message)
{
    for (const unsigned char *p = (const unsigned char *)message; *p;) {
        size_t n = utf8_length(p);
        if (n == 0)
            put_text(l, "\\ufffd");
        else if (*p == '"' || *p == '\\')
            put(l, (const char[]){'\\', (char)*p}, 2);
        else if (*p < 0x20 || *p == 0x7f)
            put_escape(l, "\\u%04x", *p);
        else
            put(l, (const char *)p, n);
        p += n ? n : 1;
    }
}

static void compose(struct line *l, enum severity sev, const char *message)
{
    char time[CLOCK_TEXT];
    clock_format(clock_system()->wall(NULL), time);
    memcpy(time + 23, "Z", 2); /* milliseconds are enough for people */
    bool json = logger.format == LOG_JSON;
    const char *tail = json ? "\"}\n" : "\n";
    char head[160], slot[24] = "";
    if (logger.slot >= 0)
        (void)snprintf(slot, sizeof slot, json ? ",\"slot\":%d" : "[%d]", logger.slot);
    if (json)
        (void)snprintf(head, sizeof head, "{\"time\":\"%s\",\"level\":\"%s\",\"process\":\"%.32s\"%s,\"message\":\"",
                       time, severity_json[sev], logger.process, slot);
    else
        (void)snprintf(head, sizeof head, "%s %s %.32s%s ", time, severity_text[sev], logger.process, slot);

    l->len = 0;
    l->cut = false;
    l->end = sizeof l->bytes - strlen(tail) - 3;
    put_text(l, logger.wipe);
    put_text(l, head);
    if (json)
        put_message_json(l, message);
    else
        put_message_text(l, message);
    const char *dots = l->cut ? "..." : "";
    l->cut = false;
    l->end = sizeof l->bytes;
    put_text(l, dots);
    put_text(l, tail);
}

/* poll(2) says so for terminals and sockets; a pipe that it calls writable takes PIPE_BUF bytes unless another process
 * is faster, which O_NONBLOCK covers. */
static bool takes_now(void)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

static bool write_all(const char *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(STDERR_FILENO, bytes + done, len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            return done > 0; /* what is torn was at least begun */
    }
    return true;
}

static void write_line(const struct line *l)
{
    unsigned long unread = logger.impatient && !takes_now() ? ULONG_MAX : atomic_exchange(&logger.unread, 0);
    if (unread == ULONG_MAX) {
        atomic_fetch_add(&logger.unread, 1);
        return;
    }
    if (unread > 0) {
        char message[96];
        struct line note;
        (void)snprintf(message, sizeof message, "log lines were dropped: nobody read them lines=%lu", unread);
        compose(&note, SEV_WARN, message);
        (void)write_all("\n", 1); /* the last one may be torn */
        (void)write_all(note.bytes, note.len);
    }
    if (!write_all(l->bytes, l->len))
        atomic_fetch_add(&logger.unread, unread + 1);
}

static void emit(enum severity sev, const char *fmt, va_list args) SC_PRINTF(2, 0);
static void emit(enum severity sev, const char *fmt, va_list args)
{
    int saved_errno = errno;
    char message[LINE_MAX_BYTES];
    struct line line;
    if (vsnprintf(message, sizeof message, fmt, args) < 0)
        (void)snprintf(message, sizeof message, "(message could not be formatted)");
    compose(&line, sev, message);

    if (logger.before)
        logger.before(logger.hook_ctx);
    write_line(&line);
    if (logger.after)
        logger.after(logger.hook_ctx);
    errno = saved_errno;
}

void log_text(const char *text, size_t len)
{
    struct line line = {.end = sizeof line.bytes};
    put(&line, text, len < sizeof line.bytes ? len : sizeof line.bytes);
    if (logger.before)
        logger.before(logger.hook_ctx);
    write_line(&line);
    if (logger.after)
        logger.after(logger.hook_ctx);
}

#define EMIT(severity, fmt)                                                                                            \
    do {                                                                                                               \
        va_list args;                                                                                                  \
        va_start(args, fmt);                                                                                           \
        emit(severity, fmt, args);                                                                                     \
        va_end(args);                                                                                                  \
    } while (0)

void log_debug(const char *fmt, ...)
{
    if (logger.level <= LOG_DEBUG_LEVEL)
        EMIT(SEV_DEBUG, fmt);
}

void log_info(const char *fmt, ...)
{
    if (logger.level <= LOG_INFO_LEVEL)
        EMIT(SEV_INFO, fmt);
}

void log_warn(const char *fmt, ...)
{
    if (logger.level <= LOG_WARN_LEVEL)
        EMIT(SEV_WARN, fmt);
}

void log_error(const char *fmt, ...)
{
    EMIT(SEV_ERROR, fmt);
}

_Noreturn void log_fatal(int status, const char *fmt, ...)
{
    EMIT(SEV_FATAL, fmt);
    exit(status);
}

static void (*before_panic)(void);

/* No exit handlers: our own tables are known to be wrong. */
_Noreturn void log_panic(const char *fmt, ...)
{
    EMIT(SEV_PANIC, fmt);
    if (before_panic)
        before_panic();
    _exit(STATUS_PANIC);
}

void log_before_panic(void (*call)(void))
{
    before_panic = call;
}

const char *log_quote(const void *text, size_t len, char out[LOG_QUOTED])
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *s = text;
    size_t n = len < 64 ? len : 64;
    char *p = out;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = s[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\'' && c != '\\') {
            *p++ = (char)c;
        } else {
            *p++ = '\\';
            *p++ = 'x';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    memcpy(p, len > n ? "..." : "", len > n ? 4 : 1);
    return out;
}

bool log_allow(struct log_limit *limit, struct mono now, unsigned long *suppressed)
{
    if (now.ns < limit->next.ns) {
        limit->refused++;
        return false;
    }
    *suppressed = limit->refused;
    limit->refused = 0;
    limit->next.ns = now.ns + NS_PER_SEC;
    return true;
}
