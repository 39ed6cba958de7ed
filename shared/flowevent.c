/* SPDX-License-Identifier: Apache-2.0
 * FlowEvent lines: JSON by jansson (a Cookie is a 64-bit integer and must never pass through a double), everything
 * else by hand. Before jansson sees a line it is copied with the letters of its keys in lower case, so that keys which
 * differ only in case are duplicates for it, too (the last wins), and nesting is measured, so that its recursion is
 * bounded by 8.
 * Failure policy: a line is accepted or refused with one reason. Want of memory refuses the line as badjson. */
#include "shared/flowevent.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#define DEPTH_MAX 8

const char *flowevent_bad_name(enum flowevent_bad reason)
{
    switch (reason) {
#define FLOWEVENT_NAME(name, label)                                                                                    \
    case FLOWEVENT_##name:                                                                                             \
        return label;
        FLOWEVENT_BAD_LIST(FLOWEVENT_NAME)
#undef FLOWEVENT_NAME
    case FLOWEVENT_GOOD:
        return "good";
    case FLOWEVENT_BAD_COUNT:
        break;
    }
    return "unknown";
}

/* ---- RFC 3339 ---- */

struct scan {
    const char *p;
    bool failed; /* sticky */
};

/* Exactly `width` decimal digits. */
static int scan_digits(struct scan *s, int width, int min, int max)
{
    int v = 0;
    for (int i = 0; i < width && !s->failed; i++) {
        if (*s->p < '0' || *s->p > '9')
            s->failed = true;
        else
            v = v * 10 + (*s->p++ - '0');
    }
    if (v < min || v > max)
        s->failed = true;
    return v;
}

static void scan_char(struct scan *s, char want)
{
    if (s->failed || *s->p != want)
        s->failed = true;
    else
        s->p++;
}

/* ".123456789123": nanoseconds; what comes after nine digits is read and cut off. */
static int64_t scan_fraction(struct scan *s)
{
    if (s->failed || *s->p != '.')
        return 0;
    s->p++;
    int64_t ns = 0, unit = NS_PER_SEC / 10;
    if (*s->p < '0' || *s->p > '9')
        s->failed = true;
    for (; *s->p >= '0' && *s->p <= '9'; s->p++, unit /= 10)
        ns += (*s->p - '0') * unit;
    return ns;
}

/* "Z", "+14:00": minutes east of UTC. */
static int scan_zone(struct scan *s)
{
    if (!s->failed && *s->p == 'Z') {
        s->p++;
        return 0;
    }
    if (s->failed || (*s->p != '+' && *s->p != '-')) {
        s->failed = true;
        return 0;
    }
    int sign = *s->p++ == '-' ? -1 : 1;
    int hours = scan_digits(s, 2, 0, 23);
    scan_char(s, ':');
    return sign * (hours * 60 + scan_digits(s, 2, 0, 59));
}

static int month_days(int year, int month)
{
    static const int days[] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month] + (month == 2 && leap);
}

/* sec and ns as nanoseconds, or the nearest that can be held. */
static struct wall wall_saturated(int64_t sec, int64_t ns)
{
    if (sec >= INT64_MAX / NS_PER_SEC)
        return (struct wall){INT64_MAX};
    if (sec < INT64_MIN / NS_PER_SEC)
        return (struct wall){INT64_MIN};
    return (struct wall){sec * NS_PER_SEC + ns};
}

static bool parse_time(const char *text, struct flowevent *out)
{
    struct scan s = {.p = text};
    int year = scan_digits(&s, 4, 1, 9999);
    scan_char(&s, '-');
    int month = scan_digits(&s, 2, 1, 12);
    scan_char(&s, '-');
    int day = scan_digits(&s, 2, 1, s.failed ? 1 : month_days(year, month));
    scan_char(&s, 'T');
    int hour = scan_digits(&s, 2, 0, 23);
    scan_char(&s, ':');
    int min = scan_digits(&s, 2, 0, 59);
    scan_char(&s, ':');
    int sec = scan_digits(&s, 2, 0, 60);
    int64_t ns = scan_fraction(&s);
    int zone = scan_zone(&s);
    if (s.failed || *s.p != '\0')
        return false;

    int64_t local = clock_days(year, month, day) * 86400 + hour * 3600 + min * 60 + sec;
    struct civil date = clock_civil_of(local, 0); /* not the fields as written: second 60 may be the next day */
    out->yyyymmdd = (uint32_t)(date.year * 10000 + date.month * 100 + date.day);
    out->zone_minutes = (int16_t)zone;
    out->time = wall_saturated(local - (int64_t)zone * 60, ns);
    return true;
}

bool flowevent_parse_time(const char *text, struct wall *out)
{
    struct flowevent ev;
    if (!parse_time(text, &ev))
        return false;
    *out = ev.time;
    return true;
}

/* ---- JSON ---- */

/* Copies the line with all keys in lower case. Returns NULL if it nests too deep, holds a newline or a NUL, or there is
 * no memory. A string is a key if ':' follows it; letters of an escape sequence stay as they are. */
static char *fold_keys(const char *line, size_t len)
{
    char *copy = malloc(len + 1);
    if (!copy)
        return NULL;
    bool in_string = false;
    size_t first = 0, last = 0; /* the last string: [first, last) */
    int depth = 0;
    for (size_t i = 0; i < len; i++) {
        char c = copy[i] = line[i];
        if (c == '\n' || c == '\0') { /* jansson takes a NUL behind the object for its end */
            free(copy);
            return NULL;
        }
        if (in_string) {
            if (c == '\\' && i + 1 < len) {
                i++;
                copy[i] = line[i];
            } else if (c == '"') {
                in_string = false;
                last = i;
            }
            continue;
        }
        if (c == '"') {
            in_string = true;
            first = i + 1;
        } else if (c == ':') {
            for (; first < last; first++) {
                if (copy[first] == '\\')
                    first++;
                else if (copy[first] >= 'A' && copy[first] <= 'Z')
                    copy[first] = (char)(copy[first] - 'A' + 'a');
            }
        } else if ((c == '{' || c == '[') && ++depth > DEPTH_MAX) {
            free(copy);
            return NULL;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    copy[len] = '\0';
    return copy;
}

/* The last member of that name (lower case); a key that was written with escapes may still have another case. */
static const json_t *member(const json_t *object, const char *name)
{
    const json_t *found = NULL;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (strcasecmp(key, name) == 0)
            found = value;
    }
    return found;
}

static bool parse_port(const json_t *value, uint16_t *out)
{
    if (!json_is_integer(value))
        return false;
    json_int_t v = json_integer_value(value);
    if (v < 0 || v > UINT16_MAX)
        return false;
    *out = (uint16_t)v;
    return true;
}

static bool parse_ip(const json_t *value, struct ipaddr *out)
{
    return json_is_string(value) && ipaddr_parse(json_string_value(value), out) == SC_OK;
}

/* An integer in [min, max]; 0 if it is missing or null, as Go reads it. */
static bool parse_optional(const json_t *value, int64_t min, int64_t max, int64_t *out)
{
    *out = 0;
    if (!value || json_is_null(value))
        return true;
    if (!json_is_integer(value))
        return false;
    *out = json_integer_value(value);
    return *out >= min && *out <= max;
}

static enum flowevent_bad parse_id(const json_t *id, struct flowevent *out)
{
    int64_t interface_index;
    if (!json_is_object(id))
        return FLOWEVENT_BADJSON;
    if (!parse_ip(member(id, "srcip"), &out->src) || !parse_ip(member(id, "dstip"), &out->dst) ||
        out->src.len != out->dst.len)
        return FLOWEVENT_BADIP;
    if (!parse_port(member(id, "sport"), &out->sport) || !parse_port(member(id, "dport"), &out->dport))
        return FLOWEVENT_BADPORT;
    if (!parse_optional(member(id, "interface"), INT32_MIN, INT32_MAX, &interface_index) ||
        !parse_optional(member(id, "cookie"), INT64_MIN, INT64_MAX, &out->cookie))
        return FLOWEVENT_BADJSON;
    out->interface_index = (int32_t)interface_index;
    (void)flowkey_make(&out->key, out->src.len, out->src.bytes, out->sport, out->dst.bytes, out->dport);
    out->has_id = true;
    return FLOWEVENT_GOOD;
}

static enum flowevent_bad parse_object(const json_t *root, struct flowevent *out)
{
    if (!json_is_object(root))
        return FLOWEVENT_BADJSON;
    const json_t *kind = member(root, "event"), *id = member(root, "id");
    const json_t *uuid = member(root, "uuid"), *time = member(root, "timestamp"), *source = member(root, "source");

    if (!json_is_integer(kind) ||
        (json_integer_value(kind) != FLOWEVENT_OPEN && json_integer_value(kind) != FLOWEVENT_CLOSE))
        return FLOWEVENT_UNKNOWNEVENT;
    out->kind = (enum flowevent_kind)json_integer_value(kind);
    bool no_id = !id || json_is_null(id);
    if (no_id && out->kind == FLOWEVENT_OPEN)
        return FLOWEVENT_NILID;
    if (!json_is_string(uuid) || uuid_set(&out->uuid, json_string_value(uuid), json_string_length(uuid)) != SC_OK)
        return FLOWEVENT_BADUUID;
    if (!json_is_string(time) || !parse_time(json_string_value(time), out))
        return FLOWEVENT_BADTIME;
    out->destroyed = json_is_string(source) && strcmp(json_string_value(source), "destroy") == 0;
    if (out->destroyed && json_is_integer(member(root, "seen")))
        out->seen.ns = json_integer_value(member(root, "seen"));
    out->prefix = json_is_string(source) && strcmp(json_string_value(source), "prefix") == 0;
    return no_id ? FLOWEVENT_GOOD : parse_id(id, out);
}

enum flowevent_bad flowevent_parse(const char *line, size_t len, struct flowevent *out)
{
    memset(out, 0, sizeof *out);
    if (len > FLOWEVENT_LINE_MAX)
        return FLOWEVENT_TOOLONG;
    char *folded = fold_keys(line, len);
    if (!folded)
        return FLOWEVENT_BADJSON;
    json_t *root = json_loadb(folded, len, 0, NULL);
    free(folded);
    enum flowevent_bad verdict = root ? parse_object(root, out) : FLOWEVENT_BADJSON;
    json_decref(root);
    return verdict;
}

/* ---- the way back ---- */

/* Go's form: no trailing zeros in the fraction; "Z" or the offset. 36 bytes suffice. */
static void format_time(const struct flowevent *ev, char out[40])
{
    int zone = ev->zone_minutes;
    if (ev->time.ns == INT64_MAX || ev->time.ns == INT64_MIN) {
        /* Only the date is known; in UTC it reads back as the same date and the same end of the range. */
        (void)snprintf(out, 40, "%04u-%02u-%02uT00:00:00Z", ev->yyyymmdd / 10000 % 10000, ev->yyyymmdd / 100 % 100,
                       ev->yyyymmdd % 100);
        return;
    }
    int64_t sec = ev->time.ns / NS_PER_SEC - (ev->time.ns % NS_PER_SEC < 0);
    struct civil c = clock_civil_of(sec + zone * 60, clock_civil(ev->time).ns);
    int n = snprintf(out, 40, "%04d-%02d-%02dT%02d:%02d:%02d.%09d", c.year, c.month, c.day, c.hour, c.min, c.sec, c.ns);
    while (out[n - 1] == '0')
        n--;
    n -= out[n - 1] == '.';
    if (zone == 0)
        memcpy(out + n, "Z", 2);
    else
        (void)snprintf(out + n, 40 - (size_t)n, "%c%02d:%02d", zone < 0 ? '-' : '+', abs(zone) / 60, abs(zone) % 60);
}

static const char *format_ip(const struct ipaddr *ip, char out[INET6_ADDRSTRLEN])
{
    return inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->bytes, out, INET6_ADDRSTRLEN);
}

int flowevent_format(const struct flowevent *ev, char *out, size_t cap)
{
    char time[40], src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], id[256] = "null";
    format_time(ev, time);
    if (ev->has_id)
        (void)snprintf(id, sizeof id,
                       "{\"SPort\":%u,\"DPort\":%u,\"SrcIP\":\"%s\",\"DstIP\":\"%s\",\"Interface\":%" PRId32
                       ",\"Cookie\":%" PRId64 "}",
                       ev->sport, ev->dport, format_ip(&ev->src, src), format_ip(&ev->dst, dst), ev->interface_index,
                       ev->cookie);
    char source[64] = "";
    if (ev->destroyed)
        (void)snprintf(source, sizeof source, ",\"Source\":\"destroy\",\"Seen\":%" PRId64, ev->seen.ns);
    else if (ev->prefix)
        (void)snprintf(source, sizeof source, ",\"Source\":\"prefix\"");
    int n = snprintf(out, cap, "{\"Event\":%d,\"Timestamp\":\"%s\",\"UUID\":\"%s\",\"ID\":%s%s}", (int)ev->kind, time,
                     ev->uuid.text, id, source);
    return n < 0 || (size_t)n >= cap ? SC_ETOOLONG : n;
}
