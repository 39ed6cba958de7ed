/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: an answer is foreign: one of another form is an error, and what is not printable is not printed. */
#include "dispatcher/ctl/status.h"

#include <stdbool.h>
#include <string.h>

#include "shared/proto.h"

/* Takes a first line off the answer if it is the given word. */
static bool takes_line(const char **answer, size_t *len, const char *word)
{
    size_t n = strlen(word);
    if (*len <= n || memcmp(*answer, word, n) != 0 || (*answer)[n] != '\n')
        return false;
    *answer += n + 1;
    *len -= n + 1;
    return true;
}

int status_print(const char *answer, size_t len, FILE *out, char error[CLIENT_ERROR])
{
    error[0] = '\0';
    bool fine = takes_line(&answer, &len, "fine");
    if (!fine && !takes_line(&answer, &len, "degraded")) {
        (void)snprintf(error, CLIENT_ERROR, "the answer is not a status: is shardcap of another version?");
        return 1;
    }
    for (size_t i = 0; i < len; i++)
        (void)fputc((answer[i] >= ' ' && answer[i] < 0x7f) || answer[i] == '\n' ? answer[i] : '?', out);
    return fine ? 0 : 1;
}

/* The JSON as it came; degraded is what its table would say. */
static int print_json(const char *answer, size_t len, char error[CLIENT_ERROR])
{
    struct jsontext status;
    if (jsontext_open(&status, answer, len) != SC_OK) {
        (void)snprintf(error, CLIENT_ERROR, "the answer is not a status: is shardcap of another version?");
        return EXIT_FAILED;
    }
    (void)fwrite(status.at, 1, (size_t)(status.end - status.at), stdout);
    (void)fputc('\n', stdout);
    return status_fine(status) ? EXIT_DONE : EXIT_FAILED;
}

bool status_fine(struct jsontext status)
{
    struct jsontext processes, one;
    bool fine = jsontext_true_of(status, "ready") && !jsontext_true_of(status, "draining") &&
                jsontext_member(status, "processes", &processes);
    while (fine && jsontext_next(&processes, NULL, &one))
        fine = jsontext_true_of(one, "up");
    return fine;
}

static int status(const struct args *a)
{
    char error[CLIENT_ERROR] = "";
    void *answer = NULL;
    size_t len = 0;
    bool json = args_has(a, "json");
    const char *request = json ? "status" : "status table";
    struct client *c = client_open(a->rundir, error);
    int rc = EXIT_FAILED;
    if (c && client_ask(c, request, strlen(request), &answer, &len, error) == SC_OK)
        rc = json ? print_json(answer, len, error) : status_print(answer, len, stdout, error);
    if (error[0])
        (void)fprintf(stderr, "shardcapctl: %s\n", error);
    bus_free(answer);
    client_close(c);
    return rc;
}

static const struct args_option options[] = {
    {"json", NULL, "one JSON object with all of it, and more"},
    {NULL, NULL, NULL},
};

const struct command status_command = {
    .name = "status",
    .operands = "",
    .summary = "processes (pids, restarts, generations, heartbeats), ring fill, packets, drops, flows, interfaces",
    .status = "0 all is up; 1 degraded (a process is down, not ready, or stopping), or no answer",
    .options = options,
    .run = status,
};
