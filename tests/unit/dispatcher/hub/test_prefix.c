/* SPDX-License-Identifier: Apache-2.0
 * The prefix of tcp-info's UUIDs: learned where none is given, told again, never from a UUID that shows none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "dispatcher/hub/prefix.h"

static uint64_t memory[PREFIX_BYTES / sizeof(uint64_t)];

static int set_up(void **state)
{
    (void)state;
    memset(memory, 0, sizeof memory);
    return 0;
}

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
    prefix_init(&p, &none, memory);
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
    prefix_init(&p, &none, memory);
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
    prefix_init(&p, &given, memory);
    struct flowevent ev = event("ndt_5_00000000000000AB", 0xab);
    prefix_learn(&p, &ev);
    assert_string_equal(p.known.text, "file_4");
    assert_true(p.warned);
    assert_false(prefix_due(&p, (struct mono){1}));
}

static void successor_knows_it(void **state)
{
    (void)state;
    struct prefix p, next;
    const struct uuid none = {""}, given = {"file_4"};
    prefix_init(&p, &none, memory);
    struct flowevent ev = event("ndt_5_00000000000000AB", 0xab);
    prefix_learn(&p, &ev);
    prefix_init(&next, &none, memory);
    assert_string_equal(next.known.text, "ndt_5");
    assert_true(prefix_due(&next, (struct mono){0}));
    char text[FLOWEVENT_TEXT];
    struct flowevent back;
    int n = flowevent_format(&next.shows, text, sizeof text); /* as it goes to the shards */
    assert_true(n > 0);
    assert_int_equal(flowevent_parse(text, (size_t)n, &back), FLOWEVENT_GOOD);
    assert_true(back.prefix);
    assert_string_equal(back.uuid.text, ev.uuid.text);
    ev = event("new_6_00000000000000AC", 0xac);
    prefix_learn(&next, &ev);
    prefix_init(&p, &none, memory);
    assert_string_equal(p.known.text, "new_6");
    prefix_init(&p, &given, memory);
    assert_string_equal(p.known.text, "file_4");
    assert_false(prefix_due(&p, (struct mono){0}));
}

static void memory_that_does_not_check_teaches_none(void **state)
{
    (void)state;
    struct prefix p;
    const struct uuid none = {""};
    for (int fill = 1; fill < 256; fill++) {
        memset(memory, fill, sizeof memory);
        for (uint32_t place = 0; place < 4; place++) {
            memcpy(memory, &place, sizeof place);
            prefix_init(&p, &none, memory);
            assert_string_equal(p.known.text, "");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(learned_and_told_again, set_up),
        cmocka_unit_test_setup(what_shows_no_prefix_teaches_none, set_up),
        cmocka_unit_test_setup(given_one_stands, set_up),
        cmocka_unit_test_setup(successor_knows_it, set_up),
        cmocka_unit_test_setup(memory_that_does_not_check_teaches_none, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
