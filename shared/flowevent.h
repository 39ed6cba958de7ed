/* SPDX-License-Identifier: Apache-2.0
 * tcp-info's FlowEvent: one JSON object per line <-> struct. Keys match without regard to case, unknown keys are
 * ignored. Failure policy: a line is accepted or refused with one reason; nothing a peer sends is fatal. */
#ifndef SHARED_FLOWEVENT_H
#define SHARED_FLOWEVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/flowkey.h"
#include "shared/uuid.h"

#define FLOWEVENT_LINE_MAX 65536 /* bytes of one line, without its newline */

/* X(NAME, "label"): reasons of pcap_tcpinfohandler_bad_events_total. */
#define FLOWEVENT_BAD_LIST(X)                                                                                          \
    X(NILID, "nilid")                                                                                                  \
    X(BADIP, "badip")                                                                                                  \
    X(BADJSON, "badjson")                                                                                              \
    X(BADUUID, "baduuid")                                                                                              \
    X(BADPORT, "badport")                                                                                              \
    X(BADTIME, "badtime")                                                                                              \
    X(TOOLONG, "toolong")                                                                                              \
    X(UNKNOWNEVENT, "unknownevent")

enum flowevent_bad {
    FLOWEVENT_GOOD = -1,
#define FLOWEVENT_ENUM(name, label) FLOWEVENT_##name,
    FLOWEVENT_BAD_LIST(FLOWEVENT_ENUM)
#undef FLOWEVENT_ENUM
        FLOWEVENT_BAD_COUNT
};

enum flowevent_kind { FLOWEVENT_OPEN = 0, FLOWEVENT_CLOSE = 1 };

struct flowevent {
    enum flowevent_kind kind;
    struct wall time;     /* the end of the range where a date is outside of 1677..2262 */
    int16_t zone_minutes; /* east of UTC, as the timestamp carries it; 0 = Z */
    uint32_t yyyymmdd;    /* the date in that zone: the directory of the file */
    struct uuid uuid;
    bool has_id; /* always true for an open event; the fields below are valid only then */
    struct flowkey key;
    struct ipaddr src, dst; /* as sent, mapped folded; src is the local side */
    uint16_t sport, dport;
    int32_t interface_index;
    int64_t cookie;
    bool prefix;      /* "Source":"prefix": the UUID shows the prefix of tcp-info's UUIDs, and nothing else is meant */
    bool destroyed;   /* "Source":"destroy": the kernel told the end of this socket; `time` is when that was read */
    struct mono seen; /* "Seen": the same by the clock that nobody sets; only if destroyed, else 0 */
};

/* Rules beyond JSON: an open event has an ID with both addresses and both ports (integers 0..65535); a missing or
 * unknown Event is unknownevent; a missing field is refused under its reason, but Interface and Cookie are then 0;
 * of keys that come twice the last one counts. Timestamp is RFC 3339 with a zone; digits past nanoseconds are cut off,
 * second 60 is the second after. Parses one line of len bytes (a final CR and surrounding blanks are accepted; no
 * newline inside; UTF-8). Depth is limited to 8. An empty or blank line is badjson. Returns FLOWEVENT_GOOD or the
 * reason. */
enum flowevent_bad flowevent_parse(const char *line, size_t len, struct flowevent *out);

/* Writes the event as one line in tcp-info's exact form, without a newline, NUL-terminated. Returns the length, or
 * SC_ETOOLONG if it does not fit in cap. */
#define FLOWEVENT_TEXT 512
int flowevent_format(const struct flowevent *ev, char *out, size_t cap);

const char *flowevent_bad_name(enum flowevent_bad reason);

/* A Timestamp alone, by the rules above. False if it is none. */
bool flowevent_parse_time(const char *text, struct wall *out);

#endif
