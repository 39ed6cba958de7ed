/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: without `wait` the first question without an answer ends it; with it, the hub is asked again for
 * ever. A line may then be taken twice (an answer that got lost on its way), which names the same flow the same. */
#include "dispatcher/ctl/sender.h"

#include <string.h>
#include <time.h>

#include "dispatcher/ctl/jsontext.h"
#include "shared/clock.h"

#define RETRY_NS (100 * NS_PER_MS)

static size_t line_length(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline ? (size_t)(newline - at) : (size_t)(end - at);
}

/* Behind the line at `at` and its newline. */
static const char *next_line(const char *at, const char *end)
{
    const char *newline = at + line_length(at, end);
    return newline < end ? newline + 1 : end;
}

static bool begins(const char *line, size_t len, const char *word)
{
    size_t n = strlen(word);
    return len >= n && memcmp(line, word, n) == 0;
}

static bool is_ok(const char *line, size_t len)
{
    return len == 2 ? begins(line, len, "ok") : begins(line, len, "ok ");
}

/* "name=123" in the line: 123; false if it is not there. */
static bool number_of(const char *line, size_t len, const char *name, unsigned long long *out)
{
    const char *at = memmem(line, len, name, strlen(name));
    *out = 0;
    if (!at)
        return false;
    for (at += strlen(name); at < line + len && *at >= '0' && *at <= '9'; at++)
        *out = *out * 10 + (unsigned)(*at - '0');
    return true;
}

void sender_print_json(const char *line, size_t len, FILE *out)
{
    if (is_ok(line, len)) {
        unsigned long long shard, seq;
        (void)fprintf(out, "{\"ok\":true");
        if (number_of(line, len, " shard=", &shard) && number_of(line, len, " seq=", &seq))
            (void)fprintf(out, ",\"shard\":%llu,\"seq\":%llu", shard, seq);
        (void)fprintf(out, "}\n");
        return;
    }
    const char *end = line + len;
    if (begins(line, len, "error "))
        line += 6;
    const char *colon = memchr(line, ':', (size_t)(end - line));
    const char *text = colon ? colon + 1 : line;
    while (text < end && *text == ' ')
        text++;
    (void)fprintf(out, "{\"ok\":false,\"reason\":");
    jsontext_write(line, colon ? (size_t)(colon - line) : 0, out);
    (void)fprintf(out, ",\"text\":");
    jsontext_write(text, (size_t)(end - text), out);
    (void)fprintf(out, "}\n");
}

static void take_answer(struct sender *s, const char *line, size_t len)
{
    if (is_ok(line, len))
        s->taken++;
    else
        s->refused++;
    if (!s->answers)
        return;
    if (s->json) {
        sender_print_json(line, len, s->answers);
        return;
    }
    for (size_t i = 0; i < len; i++)
        (void)fputc(line[i] < ' ' || line[i] > '~' ? '?' : line[i], s->answers);
    (void)fputc('\n', s->answers);
}

/* Shows the answers; returns what is left of the request. */
static const char *take_answers(struct sender *s, const char *answer, size_t len, const char *request, const char *end)
{
    const char *answer_end = answer + len;
    while (answer < answer_end && request < end) {
        take_answer(s, answer, line_length(answer, answer_end));
        answer = next_line(answer, answer_end);
        request = next_line(request, end);
    }
    return request;
}

/* Asks once. NULL if there was no answer; else its bytes, to be freed by bus_free. */
static void *ask(struct sender *s, const char *request, size_t len, size_t *len_r, char error[CLIENT_ERROR])
{
    void *answer = NULL;
    if (!s->client)
        s->client = client_open(s->rundir, error);
    if (s->client && client_ask(s->client, request, len, &answer, len_r, error) != SC_OK) {
        client_close(s->client); /* the next one may be another shardcap */
        s->client = NULL;
        answer = NULL;
    }
    return answer;
}

static void pause_briefly(void)
{
    struct timespec t = {.tv_nsec = RETRY_NS};
    (void)nanosleep(&t, NULL);
}

static bool give_up(struct sender *s, const char *why)
{
    (void)fprintf(stderr, "shardcapctl: %s\n", why);
    s->failed = true;
    return false;
}

bool sender_send(void *ctx, const char *request, size_t len)
{
    struct sender *s = ctx;
    char error[CLIENT_ERROR] = "";
    size_t n = 0;
    void *answer;
    while (!(answer = ask(s, request, len, &n, error))) {
        if (!s->wait)
            return give_up(s, error);
        if (!s->said)
            (void)fprintf(stderr, "shardcapctl: %s; waiting\n", error);
        s->said = true;
        pause_briefly();
    }
    s->said = false;
    const char *left = take_answers(s, answer, n, request, request + len);
    bus_free(answer);
    if (left < request + len)
        return give_up(s, "the answer has fewer lines than there were events");
    if (s->answers && (fflush(s->answers) != 0 || ferror(s->answers)))
        return give_up(s, "cannot show the answers");
    return true;
}

void sender_close(struct sender *s)
{
    client_close(s->client);
    s->client = NULL;
}
