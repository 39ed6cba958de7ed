/* SPDX-License-Identifier: Apache-2.0
 * Why a packet is not in a file: the closed list. Every packet that libpcap delivers ends in a file or under
 * exactly one of these names; there is no "other". */
#ifndef SHARED_CAUSE_H
#define SHARED_CAUSE_H

#include <stdbool.h>

/* X(NAME, "label", is_trouble). Trouble is summed as `lost`; the rest was asked for or is not ours (`limits`). */
#define CAUSE_LIST(X)                                                                                                  \
    X(SHORT_FRAME, "short_frame", true)                                                                                \
    X(BAD_IP4, "bad_ip4", true)                                                                                        \
    X(BAD_IP6, "bad_ip6", true)                                                                                        \
    X(EXT_CHAIN, "ext_chain", true)                                                                                    \
    X(TCP_SHORT, "tcp_short", true)                                                                                    \
    X(TCP_BAD_OFFSET, "tcp_bad_offset", true)                                                                          \
    X(VLAN_DEPTH, "vlan_depth", true)                                                                                  \
    X(BAD_RECORD, "bad_record", true)                                                                                  \
    X(RING_FULL, "ring_full", true)                                                                                    \
    X(BUDGET, "budget", true)                                                                                          \
    X(HALFOPEN_EVICTED, "halfopen_evicted", true)                                                                      \
    X(NO_UUID, "no_uuid", true)                                                                                        \
    X(DISK_FULL, "disk_full", true)                                                                                    \
    X(DISK_ERROR, "disk_error", true)                                                                                  \
    X(POISON, "poison", true)                                                                                          \
    X(ARENA_LOST, "arena_lost", true)                                                                                  \
    X(LINKTYPE_CHANGED, "linktype_changed", true)                                                                      \
    X(NOT_TCP, "not_tcp", false)                                                                                       \
    X(TUNNEL, "tunnel", false)                                                                                         \
    X(FRAG_NONINITIAL, "frag_noninitial", false)                                                                       \
    X(FILTERED, "filtered", false)                                                                                     \
    X(CAPTURE_LIMIT, "capture_limit", false)                                                                           \
    X(MAXFLOWS, "maxflows", false)                                                                                     \
    X(SAMPLED, "sampled", false)                                                                                       \
    X(DUPLICATE, "duplicate", false)

enum cause {
#define CAUSE_ENUM(name, label, trouble) CAUSE_##name,
    CAUSE_LIST(CAUSE_ENUM)
#undef CAUSE_ENUM
        CAUSE_COUNT,
    CAUSE_NONE = CAUSE_COUNT /* the packet is fine */
};

/* Label of a cause as metrics and summaries print it; "none" for CAUSE_NONE. */
const char *cause_name(enum cause c);
/* True when the cause counts as loss, false when it is a limit that was asked for. */
bool cause_is_trouble(enum cause c);

#endif
