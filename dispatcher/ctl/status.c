/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: an answer is foreign: one of another form is an error, and what is not printable is not printed. */
#include "dispatcher/ctl/status.h"

#include <stdbool.h>
#include <string.h>

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

int status_command(const char *rundir)
{
    static const char request[] = "status table";
    char error[CLIENT_ERROR] = "";
    void *answer = NULL;
    size_t len = 0;
    struct client *c = client_open(rundir, error);
    int status = 1;
    if (c && client_ask(c, request, sizeof request - 1, &answer, &len, error) == SC_OK)
        status = status_print(answer, len, stdout, error);
    if (error[0])
        (void)fprintf(stderr, "shardcapctl: %s\n", error);
    bus_free(answer);
    client_close(c);
    return status;
}
