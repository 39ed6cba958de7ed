/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: none; cannot fail. */
#include "shared/pcaptime.h"

struct wall pcaptime_wall(const struct timeval *tv, int64_t fraction_ns)
{
    const int64_t max_s = INT64_C(9000000000);
    int64_t s = tv->tv_sec, fraction = tv->tv_usec > 0 ? tv->tv_usec : 0;
    if (s < 0 && s >= INT32_MIN)
        s += INT64_C(1) << 32;
    else if (s < 0 || s > max_s)
        s = max_s;
    return (struct wall){s * NS_PER_SEC + fraction * fraction_ns};
}
