/* SPDX-License-Identifier: Apache-2.0
 * The time of a packet as libpcap hands it over, which trusts the file. */
#ifndef SHARED_PCAPTIME_H
#define SHARED_PCAPTIME_H

#include <sys/time.h>

#include "shared/clock.h"

/* fraction_ns: what one of tv_usec is: 1 where nanoseconds were asked for, else 1000. libpcap reads the unsigned 32-bit
 * seconds of a classic savefile as signed: beyond 2038 they come out negative. A pcapng file can claim any 64-bit time;
 * out of range it sticks to the end of ours, far from overflow. A fraction that is none (2^31 and more) counts as 0. */
struct wall pcaptime_wall(const struct timeval *tv, int64_t fraction_ns);

#endif
