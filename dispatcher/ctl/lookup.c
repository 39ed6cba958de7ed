/* SPDX-License-Identifier: Apache-2.0
 * Asks the kernel as a shard does. Failure policy: no socket is an answer, status 1, and says nothing on stderr but
 * that. */
#include "dispatcher/ctl/lookup.h"

#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <string.h>

#include "dispatcher/ctl/client.h"
#include "dispatcher/ctl/endpoint.h"
#include "dispatcher/ctl/jsontext.h"
#include "shared/proto.h"
#include "shared/uuid.h"
#include "shared/uuid_lookup.h"

static int wrong(const char *what, const char *text)
{
    (void)fprintf(stderr, "shardcapctl: %s: %s\n", text, what);
    return EXIT_USAGE;
}

/* The prefix that the running shardcap gives its names. False if there is none that tells. */
static bool prefix_of_running(const char *rundir, struct uuid *out)
{
    static const char request[] = "status";
    char error[CLIENT_ERROR], text[UUID_MAX + 1];
    void *answer = NULL;
    size_t len = 0;
    struct jsontext status;
    struct client *c = client_open(rundir, error);
    bool good = c && client_ask(c, request, sizeof request - 1, &answer, &len, error) == SC_OK &&
                jsontext_open(&status, answer, len) == SC_OK &&
                jsontext_string_of(status, "uuid_prefix", text, sizeof text) &&
                uuid_set(out, text, strlen(text)) == SC_OK;
    bus_free(answer);
    client_close(c);
    return good;
}

static int find_prefix(const struct args *a, struct uuid *out)
{
    const char *file = args_get(a, "uuid-prefix-file");
    int rc = SC_OK;
    if (file)
        rc = uuid_prefix_from_file(out, file);
    else if (!prefix_of_running(a->rundir, out))
        rc = uuid_default_prefix(out);
    if (rc != SC_OK)
        (void)fprintf(stderr, "shardcapctl: no prefix from %s: %s\n", file ? file : "this host",
                      rc == SC_ESYS ? strerror(errno) : sc_strerror(rc));
    return rc;
}

/* The socket whose local end is `from`, else the other order. */
static int ask(const struct endpoint *from, const struct endpoint *to, uint32_t if_index, struct uuid_answer *answer)
{
    struct flowkey key;
    bool low = flowkey_make(&key, from->addr.len, from->addr.bytes, from->port, to->addr.bytes, to->port);
    struct uuid_lookup *l = uuid_lookup_new();
    if (!l)
        return SC_ESYS;
    int rc = uuid_lookup_ask_local(l, &key, low ? 0 : 1, if_index, clock_system(), answer);
    if (rc == SC_ENOENT)
        rc = uuid_lookup_ask(l, &key, if_index, clock_system(), answer);
    uuid_lookup_free(l);
    return rc;
}

static int lookup(const struct args *a)
{
    struct endpoint end[2];
    struct uuid_answer answer;
    struct uuid prefix, uuid;
    for (int i = 0; i < 2; i++)
        if (endpoint_parse(a->operand[i], &end[i]) != SC_OK)
            return wrong("this is no ADDRESS:PORT; IPv6 stands in brackets, [::1]:443", a->operand[i]);
    if (end[0].addr.len != end[1].addr.len)
        return wrong("the two are of different families", a->operand[1]);
    const char *interface = args_get(a, "interface");
    uint32_t if_index = interface ? if_nametoindex(interface) : 0;
    if (interface && if_index == 0)
        return wrong("no such interface", interface);
    int rc = ask(&end[0], &end[1], if_index, &answer);
    if (rc == SC_ENOENT)
        (void)fprintf(stderr, "shardcapctl: no socket of this network namespace has that connection\n");
    else if (rc == SC_OK && answer.timewait)
        (void)fprintf(stderr,
                      "shardcapctl: that connection is over; what is left of its socket may have another UUID than "
                      "the socket had: shardcapctl find knows its file\n");
    else if (rc != SC_OK)
        (void)fprintf(stderr, "shardcapctl: cannot ask the kernel (NETLINK_SOCK_DIAG): %s\n", strerror(errno));
    if (rc != SC_OK || answer.timewait || find_prefix(a, &prefix) != SC_OK ||
        uuid_from_cookie(&uuid, prefix.text, answer.cookie) != SC_OK)
        return EXIT_FAILED;
    if (args_has(a, "json"))
        (void)printf("{\"uuid\":\"%s\",\"cookie\":%" PRIu64 ",\"closing\":%s}\n", uuid.text, answer.cookie,
                     answer.closing ? "true" : "false");
    else
        (void)printf("%s\n", uuid.text);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static const struct args_option options[] = {
    {"interface", "NAME", "the interface of link-local addresses"},
    {"uuid-prefix-file", "FILE",
     "first part of the name; default: that of the running shardcap, else host and\n"
     "boot time"},
    {"json", NULL, "uuid, cookie, and whether it is closing"},
    {NULL, NULL, NULL},
};

const struct command lookup_command = {
    .name = "lookup",
    .operands = "SRC:PORT DST:PORT",
    .least = 2,
    .most = 2,
    .summary = "UUID of a live connection, asked of the kernel; either end may be this machine's, SRC first",
    .status = "0 its UUID is printed; 1 there is no such connection",
    .options = options,
    .run = lookup,
};
