/* SPDX-License-Identifier: Apache-2.0
 * Samples ten seconds apart in a ring of an hour; what they hold; a picture of them. */
#include "dispatcher/hub/history.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/hub/chart.h"

struct world {
    struct config config;
    struct supervisor_page supervisor;
    struct dispatcher_page dispatcher;
    struct shard_page shard[2];
    struct hub_page hub;
    struct pages pages;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->config.shards = 2;
    w->config.ringsize = 1000;
    w->pages = (struct pages){.config = &w->config,
                              .supervisor = &w->supervisor,
                              .dispatcher = &w->dispatcher,
                              .shard = {&w->shard[0], &w->shard[1]},
                              .hub = &w->hub};
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static struct mono at(int64_t seconds)
{
    return (struct mono){seconds * NS_PER_SEC};
}

static void test_ten_seconds_apart(void **state)
{
    struct world *w = *state;
    struct history *h = &w->hub.history;
    assert_int_equal(history_count(h), 0);
    for (int64_t tenth = 0; tenth <= 305; tenth++) /* as the hub calls it: ten times a second */
        history_tick(h, &w->pages, (struct mono){tenth * 100 * NS_PER_MS});
    assert_int_equal(history_count(h), 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(history_at(h, i)->mono_ns, (int64_t)i * HISTORY_STEP_NS);
}

static void test_an_hour_is_kept(void **state)
{
    struct world *w = *state;
    struct history *h = &w->hub.history;
    for (int64_t i = 0; i < 1000; i++)
        history_tick(h, &w->pages, at(10 * i));
    assert_int_equal(history_count(h), HISTORY_SAMPLES);
    assert_int_equal(history_at(h, HISTORY_SAMPLES - 1)->mono_ns, at(9990).ns);
    assert_int_equal(history_at(h, 0)->mono_ns, at(9990 - 3600).ns);
}

static void test_a_clock_that_goes_back_starts_anew(void **state)
{
    struct world *w = *state;
    struct history *h = &w->hub.history;
    history_tick(h, &w->pages, at(100));
    history_tick(h, &w->pages, at(110));
    history_tick(h, &w->pages, at(5));
    assert_int_equal(history_count(h), 1);
    assert_int_equal(history_at(h, 0)->mono_ns, at(5).ns);
}

static void test_what_a_sample_holds(void **state)
{
    struct world *w = *state;
    struct history_sample s;
    counter_set(&w->dispatcher.delivered, 100);
    counter_set(&w->dispatcher.drops[CAUSE_NOT_TCP], 7);
    counter_set(&w->dispatcher.drops[CAUSE_RING_FULL], 3);
    counter_set(&w->dispatcher.ring_backlog[1], 250);
    for (int i = 0; i < 2; i++) {
        counter_set(&w->shard[i].c.files, 4);
        counter_set(&w->shard[i].c.flows_live, 5);
        counter_set(&w->shard[i].c.budget_limit, 1000);
    }
    counter_set(&w->shard[0].c.budget_used, 900);
    sli_add(&w->shard[0].c.uuid_delay[NAME_BY_LOOKUP], 2 * NS_PER_MS);
    sli_add(&w->shard[1].c.uuid_delay[NAME_BY_DESTROY], 4 * NS_PER_MS);
    sli_add(&w->shard[1].c.file_delay, 700 * NS_PER_MS);
    history_read(&s, &w->pages, at(1));
    assert_int_equal(s.delivered, 100);
    assert_int_equal(s.limits, 7);
    assert_int_equal(s.lost, 3);
    assert_int_equal(s.files, 8);
    assert_int_equal(s.flows_live, 10);
    assert_int_equal(s.uuids, 2);
    assert_int_equal(s.uuid_ns, 6 * NS_PER_MS);
    assert_int_equal(s.closed, 1);
    assert_int_equal(s.closed_ns, 700 * NS_PER_MS);
    assert_int_equal(s.ring_permille, 250);   /* of the fullest, not the sum */
    assert_int_equal(s.budget_permille, 900); /* likewise */
}

static const char *number(double v)
{
    static struct text t;
    text_clear(&t);
    chart_number(v, &t);
    text_add(&t, "", 1);
    return t.data;
}

static void test_numbers_as_people_read_them(void **state)
{
    (void)state;
    assert_string_equal(number(0), "0");
    assert_string_equal(number(3.44), "3.4");
    assert_string_equal(number(0.0123), "0.0123");
    assert_string_equal(number(999), "999");
    assert_string_equal(number(1000), "1,000");
    assert_string_equal(number(1234567), "1,234,567");
}

static void test_a_gap_in_the_line_and_a_round_top(void **state)
{
    (void)state;
    const double age[] = {40, 30, 20, 10, 0}, value[] = {0, 30, NAN, 15, 30};
    struct chart c = {.title = "T",
                      .unit = "ms",
                      .span_s = 40,
                      .age_s = age,
                      .points = 5,
                      .line = {{"a", "name{x=\"y\"}", 30, value}}};
    struct text t = {0};
    chart_svg(&c, &t);
    text_add(&t, "", 1);
    assert_false(t.failed);
    /* top is 50: 30 stands at 90 * (1 - 30/50) = 36 */
    assert_non_null(strstr(t.data, "d=\"M0.0 90.0L80.0 36.0M240.0 63.0L320.0 36.0\""));
    assert_null(strstr(t.data, "h0"));
    assert_non_null(strstr(t.data, ">50 ms<"));
    assert_non_null(strstr(t.data, "data-metric='name{x=\"y\"}' data-value=\"30\">30<"));
    text_free(&t);
}

static void test_a_point_without_neighbours_is_a_dot(void **state)
{
    (void)state;
    static const struct {
        double value[4];
        const char *path;
    } rows[] = {
        {{NAN, NAN, NAN, 1}, "d=\"M320.0 0.0h0\""},
        {{NAN, 1, NAN, NAN}, "d=\"M106.7 0.0h0\""},
        {{1, NAN, 1, 1}, "d=\"M0.0 0.0h0M213.3 0.0L320.0 0.0\""},
        {{1, 1, NAN, 1}, "d=\"M0.0 0.0L106.7 0.0M320.0 0.0h0\""},
        {{NAN, NAN, NAN, NAN}, "d=\"\""},
    };
    const double age[] = {30, 20, 10, 0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct chart c = {
            .title = "T", .unit = "", .span_s = 30, .age_s = age, .points = 4, .line = {{"a", NULL, 1, rows[i].value}}};
        struct text t = {0};
        chart_svg(&c, &t);
        text_add(&t, "", 1);
        if (t.failed || !strstr(t.data, rows[i].path))
            fail_msg("%s is not in %s", rows[i].path, t.data);
        text_free(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ten_seconds_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_hour_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_clock_that_goes_back_starts_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_sample_holds, set_up, tear_down),
        cmocka_unit_test(test_numbers_as_people_read_them),
        cmocka_unit_test(test_a_gap_in_the_line_and_a_round_top),
        cmocka_unit_test(test_a_point_without_neighbours_is_a_dot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
