/* SPDX-License-Identifier: Apache-2.0
 * The only user of jansson in this program. Failure policy: an answer is foreign: what is missing in it prints as 0,
 * what is no JSON object is an error, and text from it is printed only if it is printable. */
#include "dispatcher/ctl/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

static long long number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* A word of the answer; "?" if it is missing or not printable ASCII. */
static const char *word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    for (const char *p = text; p && *p; p++)
        if (*p <= ' ' || *p >= 0x7f)
            return "?";
    return text && text[0] ? text : "?";
}

static long long percent(long long part, long long whole)
{
    return whole > 0 ? (long long)(100.0 * (double)part / (double)whole + 0.5) : 0;
}

/* Returns true if every process is up. */
static bool print_processes(const json_t *root, FILE *out)
{
    bool all_up = true;
    size_t i;
    const json_t *p;
    (void)fprintf(out, "%-12s %8s %-5s %8s %9s %9s %6s %8s\n", "process", "pid", "state", "restarts", "flows",
                  "unnamed", "ring%", "memory%");
    json_array_foreach(json_object_get(root, "processes"), i, p)
    {
        bool up = flag(p, "up");
        all_up = all_up && up;
        const char *name = word(p, "process");
        const json_t *shard = json_object_get(p, "shard");
        char label[64];
        if (shard)
            (void)snprintf(label, sizeof label, "%.20s[%lld]", name, (long long)json_integer_value(shard));
        else
            (void)snprintf(label, sizeof label, "%.20s", name);
        (void)fprintf(out, "%-12s %8lld %-5s %8lld", label, number(p, "pid"), up ? "up" : "down",
                      number(p, "restarts"));
        if (shard)
            (void)fprintf(out, " %9lld %9lld %6lld %8lld", number(p, "flows"), number(p, "unnamed"),
                          percent(number(p, "ring_used"), number(p, "ring_size")),
                          percent(number(p, "budget_used"), number(p, "budget_limit")));
        (void)fprintf(out, "\n");
    }
    return all_up && i > 0;
}

static void print_sums(const json_t *root, FILE *out)
{
    const json_t *packets = json_object_get(root, "packets"), *flows = json_object_get(root, "flows");
    const json_t *kernel = json_object_get(root, "kernel"), *events = json_object_get(root, "events");
    (void)fprintf(out, "packets   delivered %lld  saved %lld  buffered %lld  lost %lld  limits %lld\n",
                  number(packets, "delivered"), number(packets, "saved"), number(packets, "buffered"),
                  number(packets, "lost"), number(packets, "limits"));
    (void)fprintf(out, "kernel    received %lld  dropped %lld\n", number(kernel, "received"),
                  number(kernel, "dropped"));
    (void)fprintf(out, "flows     live %lld (%lld unnamed)  started %lld  saved %lld\n", number(flows, "live"),
                  number(flows, "unnamed"), number(flows, "started"), number(flows, "saved"));
    (void)fprintf(out, "files     %lld (%lld bytes)\n", number(root, "files"), number(root, "bytes"));
    (void)fprintf(out, "events    accepted %lld  bad %lld  event socket %s\n", number(events, "accepted"),
                  number(events, "bad"), word(events, "eventsocket"));
    const char *cause;
    json_t *count;
    json_object_foreach(json_object_get(root, "drops"), cause, count) /* our own words */
        (void) fprintf(out, "drops     %s %lld\n", cause, (long long)json_integer_value(count));
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(root, "interfaces"), i, one)(void)
        fprintf(out, "interface %s %s  delivered %lld  kernel dropped %lld\n", word(one, "interface"),
                flag(one, "up") ? "up" : "down", number(one, "delivered"), number(one, "kernel_dropped"));
}

int status_print(const char *json, size_t len, FILE *out, char error[CLIENT_ERROR])
{
    json_t *root = json_loadb(json, len, 0, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        (void)snprintf(error, CLIENT_ERROR, "shardcap's answer is not a status: is it another version?");
        return 1;
    }
    error[0] = '\0';
    bool ready = flag(root, "ready");
    (void)fprintf(out, "shardcap %s: %s\n", word(root, "version"),
                  flag(root, "draining") ? "stopping"
                  : ready                ? "ready"
                                         : "not ready");
    bool all_up = print_processes(root, out);
    print_sums(root, out);
    json_decref(root);
    return ready && all_up ? 0 : 1;
}

int status_command(const char *rundir)
{
    char error[CLIENT_ERROR] = "";
    void *answer = NULL;
    size_t len = 0;
    struct client *c = client_open(rundir, error);
    int status = 1;
    if (c && client_ask(c, "status", 6, &answer, &len, error) == SC_OK)
        status = status_print(answer, len, stdout, error);
    if (error[0])
        (void)fprintf(stderr, "shardcapctl: %s\n", error);
    bus_free(answer);
    client_close(c);
    return status;
}
