/* SPDX-License-Identifier: Apache-2.0
 * "192.0.2.1:443", "[2001:db8::1]:443" and back. */
#ifndef CTL_ENDPOINT_H
#define CTL_ENDPOINT_H

#include <stdint.h>

#include "shared/err.h"
#include "shared/flowkey.h"

struct endpoint {
    struct ipaddr addr; /* IPv4-mapped folded to IPv4 */
    uint16_t port;
};

/* SC_OK or SC_EFORMAT. IPv6 stands in brackets; ports are 0 to 65535. */
int endpoint_parse(const char *text, struct endpoint *out) SC_MUST_CHECK;

#define ENDPOINT_TEXT 56
const char *endpoint_format(const struct endpoint *e, char out[ENDPOINT_TEXT]);

#endif
