/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: what is not exactly an endpoint is SC_EFORMAT. */
#include "dispatcher/ctl/endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static int parse_port(const char *text, uint16_t *out)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] != '\0')
        return SC_EFORMAT;
    unsigned long value = 0;
    for (; *text; text++)
        value = value * 10 + (unsigned)(*text - '0');
    *out = (uint16_t)value;
    return value <= UINT16_MAX ? SC_OK : SC_EFORMAT;
}

int endpoint_parse(const char *text, struct endpoint *out)
{
    char addr[INET6_ADDRSTRLEN + 1];
    bool v6 = text[0] == '[';
    const char *end = v6 ? strstr(text, "]:") : strchr(text, ':');
    if (!end || (size_t)(end - text) >= sizeof addr)
        return SC_EFORMAT;
    (void)snprintf(addr, sizeof addr, "%.*s", (int)(end - text - v6), text + v6);
    if ((strchr(addr, ':') != NULL) != v6 || ipaddr_parse(addr, &out->addr) != SC_OK)
        return SC_EFORMAT;
    return parse_port(end + (v6 ? 2 : 1), &out->port);
}

const char *endpoint_format(const struct endpoint *e, char out[ENDPOINT_TEXT])
{
    char addr[INET6_ADDRSTRLEN];
    bool v6 = e->addr.len == 16;
    (void)inet_ntop(v6 ? AF_INET6 : AF_INET, e->addr.bytes, addr, sizeof addr);
    (void)snprintf(out, ENDPOINT_TEXT, v6 ? "[%s]:%u" : "%s:%u", addr, e->port);
    return out;
}
