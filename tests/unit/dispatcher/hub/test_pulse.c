/* SPDX-License-Identifier: Apache-2.0
 * Ages of heartbeats on a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatcher/hub/pulse.h"

static struct dispatcher_page dispatcher;
static struct shard_page page[2];
static const struct shard_page *const shards[] = {&page[0], &page[1]};

static void ages(void **state)
{
    (void)state;
    struct pulses p = {0};
    assert_int_equal(pulses_age_ms(&p, &p.shard[1]), 0);
    pulses_look(&p, &dispatcher, shards, 2, (struct mono){1000 * NS_PER_SEC});
    assert_int_equal(pulses_age_ms(&p, &p.dispatcher), 0); /* not a thousand seconds */
    page[1].heartbeat = 7;
    dispatcher.heartbeat = 1;
    pulses_look(&p, &dispatcher, shards, 2, (struct mono){1001 * NS_PER_SEC});
    page[1].heartbeat = 3; /* a successor counts from its own start */
    pulses_look(&p, &dispatcher, shards, 2, (struct mono){1002 * NS_PER_SEC});
    pulses_look(&p, &dispatcher, shards, 2, (struct mono){1002 * NS_PER_SEC + 5 * NS_PER_MS});
    assert_int_equal(pulses_age_ms(&p, &p.dispatcher), 1005);
    assert_int_equal(pulses_age_ms(&p, &p.shard[0]), 2005);
    assert_int_equal(pulses_age_ms(&p, &p.shard[1]), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ages)};
    return cmocka_run_group_tests_name("hub/pulse", tests, NULL, NULL);
}
