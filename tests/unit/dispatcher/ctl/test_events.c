/* SPDX-License-Identifier: Apache-2.0
 * Messages of events.sock: their form, topics, and the way into a record and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/ctl/events.h"

static const struct wall noon = {1700000000 * NS_PER_SEC + 120};

static int parse(struct event_message *m, const char *text)
{
    return events_parse(m, text, strlen(text), noon);
}

static void forms(void **state)
{
    (void)state;
    struct event_message m;
    assert_int_equal(parse(&m, "flow.saved {\"a\":1}"), SC_OK);
    assert_string_equal(m.topic, "flow.saved");
    assert_int_equal(jsontext_u64_of(m.body, "a"), 1);
    static const char *const bad[] = {"",
                                      "flow.saved",
                                      " {}",
                                      "flow.saved ",
                                      "flow.saved 1",
                                      "flow.saved {",
                                      "fl\"w {}",
                                      "a.topic.that.is.longer.than.any.of.ours {}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(parse(&m, bad[i]), SC_EFORMAT);
}

static void topics(void **state)
{
    (void)state;
    struct event_message m;
    char flow[] = "flow.", saved[] = "flow.saved", uuid[] = "uuid";
    char *one[] = {flow}, *two[] = {uuid, saved}, *other[] = {uuid};
    assert_int_equal(parse(&m, "flow.saved {}"), SC_OK);
    assert_true(events_wanted(&m, NULL, 0));
    assert_true(events_wanted(&m, one, 1));
    assert_true(events_wanted(&m, two, 2));
    assert_false(events_wanted(&m, other, 1));
    assert_int_equal(parse(&m, "flow.lost {}"), SC_OK);
    assert_false(events_wanted(&m, two, 2));
}

static void there_and_back(void **state)
{
    (void)state;
    struct event_message m, back;
    char *text = NULL;
    size_t len;
    assert_int_equal(parse(&m, "uuid.open {\"a\":\n[1,{\"b\":\"}\"}]} "), SC_OK);
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    events_write(&m, f);
    (void)fclose(f);
    assert_string_equal(text, "{\"time\":\"2023-11-14T22:13:20.000000120Z\",\"topic\":\"uuid.open\",\"event\":"
                              "{\"a\": [1,{\"b\":\"}\"}]}}\n");
    assert_int_equal(events_read(&back, text, len - 1), SC_OK);
    assert_string_equal(back.topic, "uuid.open");
    assert_true(back.time.ns == noon.ns);
    assert_int_equal(back.body.end - back.body.at, strlen("{\"a\": [1,{\"b\":\"}\"}]}"));
    free(text);
    static const char *const bad[] = {"{}", "{\"time\":\"2023-11-14T22:13:20Z\",\"topic\":\"uuid.open\"}",
                                      "{\"time\":\"yesterday\",\"topic\":\"uuid.open\",\"event\":{}}",
                                      "{\"time\":\"2023-11-14T22:13:20Z\",\"topic\":\"uuid.open\",\"event\":1}",
                                      "uuid.open {}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(events_read(&back, bad[i], strlen(bad[i])), SC_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(topics),
        cmocka_unit_test(there_and_back),
    };
    return cmocka_run_group_tests_name("ctl/events", tests, NULL, NULL);
}
