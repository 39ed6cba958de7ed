/* SPDX-License-Identifier: Apache-2.0
 * See lastword.h. The handler does one store and returns: by then the signal's default is back, and the instruction
 * that raised it raises it again. It runs on a stack of its own, for the other one may be what is broken. */
#include "shard/lastword.h"

#include <signal.h>

#include "shared/log.h"

#define STACK_BYTES 65536

static struct {
    struct shard_page *page;
    uint32_t generation;
} self;

static void say(void)
{
    counter_set(&self.page->faults.own, self.generation);
}

static void on_signal(int number)
{
    (void)number;
    say();
}

void lastword_keep(struct shard_page *page, uint32_t generation)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    static uint8_t stack[STACK_BYTES];
    const stack_t own = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER | SA_ONSTACK)};
    self.page = page;
    self.generation = generation;
    (void)sigaltstack(&own, NULL); /* without it a stack that is used up is told as somebody else's kill */
    for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        (void)sigaction(signals[i], &act, NULL);
    log_before_panic(say);
}
