/* SPDX-License-Identifier: Apache-2.0
 * The prefix of tcp-info's UUIDs: learned where none is given, told again, never from a UUID that shows none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "dispatcher/hub/prefix.h"

static struct flowevent event(const char *uuid, int64_t cookie)
{
    struct flowevent ev = {.kind = FLOWEVENT_OPEN, .has_id = true, .cookie = cookie, .time = {17}};
    assert_int_equal(uuid_set(&ev.uuid, uuid, strlen(uuid)), SC_OK);
    return ev;
}

static void learned_and_told_again(void **state)
{
    (void)state;
    struct prefix p;
    const struct uuid none = {""};
    prefix_init(&p, &none);
    assert_false(prefix_due(&p, (struct mono){0}));
    struct flowevent ev = event("ndt_5_00000000000000AB", 0xab);
    prefix_learn(&p, &ev);
    assert_string_equal(p.known.text, "ndt_5");
    assert_true(prefix_due(&p, (struct mono){0}));
    assert_true(p.shows.prefix && !p.shows.has_id && p.shows.kind == FLOWEVENT_CLOSE);
    assert_string_equal(p.shows.uuid.text, ev.uuid.text);
    assert_false(prefix_due(&p, (struct mono){1}));
    prefix_learn(&p, &ev);
    assert_false(prefix_due(&p, (struct mono){PREFIX_AGAIN_NS - 1}));
    assert_true(prefix_due(&p, (struct mono){PREFIX_AGAIN_NS}));
    ev = event("new_6_00000000000000AC", 0xac); /* tcp-info was set up anew */
    prefix_learn(&p, &ev);
    assert_string_equal(p.known.text, "new_6");
    assert_true(prefix_due(&p, (struct mono){PREFIX_AGAIN_NS + 1}));
}

static void what_shows_no_prefix_teaches_none(void **state)
{
    (void)state;
    struct prefix p;
    const struct uuid none = {""};
    prefix_init(&p, &none);
    struct flowevent others[] = {event("ndt_5_00000000000000AB", 0xac), event("flow-1", 1), event("flow-1", 0),
                                 event("ndt_5_00000000000000ab", 0xab)};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        prefix_learn(&p, &others[i]);
    struct flowevent closed = event("ndt_5_00000000000000AB", 0xab);
    closed.kind = FLOWEVENT_CLOSE;
    prefix_learn(&p, &closed);
    assert_string_equal(p.known.text, "");
    assert_false(prefix_due(&p, (struct mono){1}));
}

static void given_one_stands(void **state)
{
    (void)state;
    struct prefix p;
    const struct uuid given = {"file_4"};
    prefix_init(&p, &given);
    struct flowevent ev = event("ndt_5_00000000000000AB", 0xab);
    prefix_learn(&p, &ev);
    assert_string_equal(p.known.text, "file_4");
    assert_true(p.warned);
    assert_false(prefix_due(&p, (struct mono){1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learned_and_told_again),
        cmocka_unit_test(what_shows_no_prefix_teaches_none),
        cmocka_unit_test(given_one_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
