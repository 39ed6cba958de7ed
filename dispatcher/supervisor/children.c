/* SPDX-License-Identifier: Apache-2.0
 * See children.h. Cannot fail in ways that matter: a child that cannot be reached is found dead. */
#include "dispatcher/supervisor/children.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shared/log.h"

const char *child_name(const struct child *c, char out[CHILD_NAME])
{
    if (c->kind == CHILD_SHARD)
        snprintf(out, CHILD_NAME, "shard[%u]", c->index);
    else
        snprintf(out, CHILD_NAME, "%s", c->kind == CHILD_HUB ? "hub" : "dispatcher");
    return out;
}

void child_tell(const struct child *c, enum proto_type type, int64_t value)
{
    struct proto_msg msg;
    char name[CHILD_NAME];
    if (c->sock < 0)
        return;
    memset(&msg, 0, sizeof(msg));
    msg.type = (uint16_t)type;
    msg.slot = c->index;
    msg.generation = c->slot.generation;
    msg.value = value;
    int err = proto_send(c->sock, &msg, NULL);
    if (err)
        log_debug("message not sent child=%s type=%d error=%s", child_name(c, name), (int)type, sc_strerror(err));
}

void child_answer(const struct child *hub, int64_t number, const char *text)
{
    struct proto_msg msg = {.type = PROTO_ANSWER, .generation = hub->slot.generation, .value = number};
    snprintf(msg.text, sizeof(msg.text), "%s", text);
    if (hub->sock < 0 || proto_send(hub->sock, &msg, NULL) != SC_OK)
        log_warn("an answer did not reach the hub answer=\"%.40s\"", text);
}

void child_kill(const struct child *c)
{
    if (c->pidfd >= 0)
        spawn_kill(c->pidfd);
    else if (c->pid > 0 && !c->slot.external)
        kill(c->pid, SIGKILL); /* a kernel without pidfds; not reaped, so the number is still its own */
}

bool child_there(const struct child *c)
{
    return c->pid > 0 || c->sock >= 0;
}

void child_close(struct child *c)
{
    evsource_remove(c->on_message);
    evsource_remove(c->on_exit);
    c->on_message = c->on_exit = NULL;
    if (c->sock >= 0)
        close(c->sock);
    if (c->pidfd >= 0)
        close(c->pidfd);
    c->sock = c->pidfd = -1;
    c->pid = 0;
}
