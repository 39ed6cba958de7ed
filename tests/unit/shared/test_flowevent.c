/* SPDX-License-Identifier: Apache-2.0
 * FlowEvent lines: tcp-info's exact form both ways, and every way in which a line can be bad, each with its reason.
 * Lines are parsed from blocks of their exact size, so that a sanitizer sees an over-read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/flowevent.h"

#define UUID "ndt-4c6fb_1625899199_00000000013A4623"
#define TIME "2024-11-19T16:51:48.123456789Z"
#define ID                                                                                                             \
    "{\"SPort\":443,\"DPort\":51234,\"SrcIP\":\"192.0.2.10\",\"DstIP\":\"198.51.100.7\",\"Interface\":0,"              \
    "\"Cookie\":20596259}"
#define OPEN_TIME(t) "{\"Event\":0,\"Timestamp\":\"" t "\",\"UUID\":\"" UUID "\",\"ID\":" ID "}"
#define OPEN_ID(id) "{\"Event\":0,\"Timestamp\":\"" TIME "\",\"UUID\":\"" UUID "\",\"ID\":" id "}"
#define OPEN_UUID(u) "{\"Event\":0,\"Timestamp\":\"" TIME "\",\"UUID\":" u ",\"ID\":" ID "}"
#define OPEN OPEN_TIME(TIME)
#define CLOSE "{\"Event\":1,\"Timestamp\":\"" TIME "\",\"UUID\":\"" UUID "\",\"ID\":null}"

static struct flowevent ev;

static enum flowevent_bad parse_n(const char *line, size_t len)
{
    char *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, line, len);
    memset(&ev, 0xa5, sizeof ev);
    enum flowevent_bad verdict = flowevent_parse(exact, len, &ev);
    free(exact);
    return verdict;
}

static enum flowevent_bad parse(const char *line)
{
    return parse_n(line, strlen(line));
}

static void assert_verdict(const char *line, enum flowevent_bad expected)
{
    enum flowevent_bad verdict = parse(line);
    if (verdict != expected)
        fail_msg("%s: %s instead of %s", line, flowevent_bad_name(verdict), flowevent_bad_name(expected));
}

static void open_event(void **state)
{
    (void)state;
    assert_verdict(OPEN, FLOWEVENT_GOOD);
    assert_int_equal(ev.kind, FLOWEVENT_OPEN);
    assert_int_equal(ev.time.ns, INT64_C(1732035108123456789));
    assert_int_equal(ev.yyyymmdd, 20241119);
    assert_string_equal(ev.uuid.text, UUID);
    assert_true(ev.has_id);
    assert_int_equal(ev.src.len, 4);
    assert_memory_equal(ev.src.bytes, ((uint8_t[]){192, 0, 2, 10}), 4);
    assert_memory_equal(ev.dst.bytes, ((uint8_t[]){198, 51, 100, 7}), 4);
    assert_int_equal(ev.sport, 443);
    assert_int_equal(ev.dport, 51234);
    assert_int_equal(ev.interface_index, 0);
    assert_int_equal(ev.cookie, 20596259);
    struct flowkey key;
    (void)flowkey_make(&key, 4, ev.dst.bytes, 51234, ev.src.bytes, 443);
    assert_true(flowkey_equal(&key, &ev.key));
}

static void close_event(void **state)
{
    (void)state;
    assert_verdict(CLOSE, FLOWEVENT_GOOD);
    assert_int_equal(ev.kind, FLOWEVENT_CLOSE);
    assert_false(ev.has_id);
    assert_verdict("{\"Event\":1,\"Timestamp\":\"" TIME "\",\"UUID\":\"a\"}", FLOWEVENT_GOOD);
    assert_verdict("{\"Event\":1,\"Timestamp\":\"" TIME "\",\"UUID\":\"a\",\"ID\":" ID "}", FLOWEVENT_GOOD);
    assert_true(ev.has_id);
}

static void both_forms_come_back_exactly(void **state)
{
    (void)state;
    static const char *const lines[] = {
        OPEN,
        CLOSE,
        OPEN_TIME("2024-11-19T16:51:48Z"),
        OPEN_TIME("2024-11-19T16:51:48.1Z"),
        OPEN_TIME("2024-11-19T23:30:00.5-05:00"),
        OPEN_TIME("2024-11-20T01:30:00+14:00"),
        OPEN_TIME("1969-12-31T23:59:59.999999999Z"),
        OPEN_TIME("0001-01-01T00:00:00Z"),
        OPEN_TIME("9999-12-31T00:00:00Z"),
        OPEN_ID("{\"SPort\":0,\"DPort\":65535,\"SrcIP\":\"2001:db8::1\",\"DstIP\":\"2001:db8::2\",\"Interface\":7,"
                "\"Cookie\":-9223372036854775808}"),
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[FLOWEVENT_TEXT];
        assert_verdict(lines[i], FLOWEVENT_GOOD);
        assert_int_equal(flowevent_format(&ev, text, sizeof text), strlen(lines[i]));
        assert_string_equal(text, lines[i]);
        assert_int_equal(flowevent_format(&ev, text, strlen(lines[i])), SC_ETOOLONG);
    }
}

static void largest_event_fits(void **state)
{
    (void)state;
    char text[FLOWEVENT_TEXT];
    assert_verdict(OPEN_ID("{\"SPort\":65535,\"DPort\":65535,\"SrcIP\":\"1111:2222:3333:4444:5555:6666:7777:8888\","
                           "\"DstIP\":\"1111:2222:3333:4444:5555:6666:7777:9999\",\"Interface\":-2147483648,"
                           "\"Cookie\":-9223372036854775808}"),
                   FLOWEVENT_GOOD);
    memset(ev.uuid.text, 'u', UUID_MAX);
    ev.uuid.text[UUID_MAX] = '\0';
    ev.zone_minutes = -23 * 60 - 59;
    ev.destroyed = true;
    ev.seen.ns = INT64_MIN;
    assert_true(flowevent_format(&ev, text, sizeof text) > 0);
}

/* What the hub and its shards say to one another. */
static void end_of_a_socket_comes_back_with_its_moment(void **state)
{
    static const char line[] =
        "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48Z\",\"UUID\":\"a_1\",\"ID\":{\"SPort\":443,\"DPort\":1,"
        "\"SrcIP\":\"192.0.2.1\",\"DstIP\":\"192.0.2.2\",\"Interface\":0,\"Cookie\":5},\"Source\":\"destroy\","
        "\"Seen\":9007199254740993}";
    char text[FLOWEVENT_TEXT];
    (void)state;
    assert_int_equal(flowevent_parse(line, strlen(line), &ev), FLOWEVENT_GOOD);
    assert_true(ev.destroyed);
    assert_int_equal(ev.seen.ns, INT64_C(9007199254740993));
    assert_int_equal(flowevent_format(&ev, text, sizeof text), strlen(line));
    assert_string_equal(text, line);
}

static void cookies_never_pass_a_double(void **state)
{
    (void)state;
    static const int64_t cookies[] = {INT64_C(9007199254740993), -INT64_C(9007199254740993), INT64_MAX, INT64_MIN, -1};
    for (size_t i = 0; i < sizeof cookies / sizeof cookies[0]; i++) {
        char line[512];
        (void)snprintf(
            line, sizeof line,
            OPEN_ID("{\"SPort\":1,\"DPort\":2,\"SrcIP\":\"192.0.2.1\",\"DstIP\":\"192.0.2.2\",\"Cookie\":%lld}"),
            (long long)cookies[i]);
        assert_verdict(line, FLOWEVENT_GOOD);
        assert_int_equal(ev.cookie, cookies[i]);
    }
}

#define COOKIE(c) OPEN_ID("{\"SPort\":1,\"DPort\":2,\"SrcIP\":\"192.0.2.1\",\"DstIP\":\"192.0.2.2\",\"Cookie\":" c "}")
#define INTERFACE(i)                                                                                                   \
    OPEN_ID("{\"SPort\":1,\"DPort\":2,\"SrcIP\":\"192.0.2.1\",\"DstIP\":\"192.0.2.2\",\"Interface\":" i "}")

static void cookie_and_interface_that_are_no_integers(void **state)
{
    (void)state;
    assert_verdict(COOKIE("9223372036854775808"), FLOWEVENT_BADJSON);
    assert_verdict(COOKIE("1e3"), FLOWEVENT_BADJSON);
    assert_verdict(COOKIE("1.0"), FLOWEVENT_BADJSON);
    assert_verdict(COOKIE("\"1\""), FLOWEVENT_BADJSON);
    assert_verdict(COOKIE("null"), FLOWEVENT_GOOD);
    assert_int_equal(ev.cookie, 0);
    assert_verdict(INTERFACE("2147483647"), FLOWEVENT_GOOD);
    assert_verdict(INTERFACE("2147483648"), FLOWEVENT_BADJSON);
    assert_verdict(INTERFACE("\"eth0\""), FLOWEVENT_BADJSON);
}

static void keys_match_in_any_case(void **state)
{
    (void)state;
    assert_verdict("{\"EVENT\":0,\"timestamp\":\"" TIME "\",\"uUiD\":\"a\",\"id\":{\"sport\":1,\"DPORT\":2,\"srcip\":"
                   "\"192.0.2.1\",\"DstIp\":\"192.0.2.2\",\"cookIE\":5}}",
                   FLOWEVENT_GOOD);
    assert_int_equal(ev.cookie, 5);
    assert_verdict("{\"\\u0045vent\":1,\"Timestamp\" : \"" TIME "\",\"UUID\"\t:\"a\",\"x\":[{\"y\":1.5}]}",
                   FLOWEVENT_GOOD);
    assert_string_equal(ev.uuid.text, "a");
}

/* Hostile input 38. */
static void of_duplicates_the_last_wins(void **state)
{
    (void)state;
#define REST ",\"Timestamp\":\"" TIME "\",\"ID\":" ID "}"
    assert_verdict("{\"Event\":0,\"UUID\":\"first\",\"UUID\":\"Last\"" REST, FLOWEVENT_GOOD);
    assert_string_equal(ev.uuid.text, "Last");
    /* Only a parser that folds before it stores gets this one right. */
    assert_verdict("{\"Event\":0,\"uuid\":\"a\",\"UUID\":\"b\",\"uuid\":\"C\"" REST, FLOWEVENT_GOOD);
    assert_string_equal(ev.uuid.text, "C");
    assert_verdict("{\"Event\":0,\"UUID\":\"good\",\"uuid\":\"../bad\"" REST, FLOWEVENT_BADUUID);
    assert_verdict("{\"Event\":1,\"Event\":0,\"EVENT\":1,\"UUID\":\"a\",\"Timestamp\":\"" TIME "\",\"ID\":null}",
                   FLOWEVENT_GOOD);
    assert_int_equal(ev.kind, FLOWEVENT_CLOSE);
#undef REST
}

/* Hostile input 38. */
static void blanks_around_a_line(void **state)
{
    (void)state;
    assert_verdict(OPEN "\r", FLOWEVENT_GOOD);
    assert_verdict(" \t" OPEN " \r", FLOWEVENT_GOOD);
    assert_verdict("", FLOWEVENT_BADJSON);
    assert_verdict("\r", FLOWEVENT_BADJSON);
    assert_verdict("   ", FLOWEVENT_BADJSON);
}

/* Hostile input 38. */
static void lines_that_are_not_one_json_object(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "null",
        "0",
        "\"x\"",
        "[]",
        "[" OPEN "]",
        "{",
        "}",
        OPEN "x",
        OPEN OPEN,
        "x" OPEN,
        "\xef\xbb\xbf" OPEN,
        "{'Event':0}",
        "{\"Event\":0,}",
        "{\"a\":\"",
        "{\"a\":\"\\",
        "{\"a\\\":1}",
        "{\"UUID\":\"\xc0\xaf\"}",
        OPEN "\n",
        "\n" OPEN,
        "{\"Event\":0,\n\"x\":1}",
        "{\"\\N\":1,\"Event\":0}",
        "{\"a\":\"\\u0000\"}",
        "\xff\xfe{\0}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_verdict(bad[i], FLOWEVENT_BADJSON);
    assert_verdict(OPEN_ID("5"), FLOWEVENT_BADJSON);
    assert_verdict(OPEN_ID("[]"), FLOWEVENT_BADJSON);
    assert_verdict(OPEN_ID("\"x\""), FLOWEVENT_BADJSON);
}

/* Hostile input 38. */
static void nul_bytes(void **state)
{
    (void)state;
    char line[sizeof OPEN];
    for (size_t i = 0; i < sizeof OPEN - 1; i++) { /* in place of each byte */
        memcpy(line, OPEN, sizeof OPEN);
        line[i] = '\0';
        assert_int_equal(parse_n(line, sizeof OPEN - 1), FLOWEVENT_BADJSON);
    }
    assert_int_equal(parse_n(OPEN, sizeof OPEN), FLOWEVENT_BADJSON); /* behind the last */
}

static void cut_at_every_byte(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof OPEN - 1; n++)
        assert_int_equal(parse_n(OPEN, n), FLOWEVENT_BADJSON);
}

/* An open event with an unknown key that nests n deep (below the line's own object). */
static char *nested(char *out, int n, char open, char close)
{
    char *p = stpcpy(out, "{\"x\":");
    for (int i = 0; i < n; i++)
        p = open == '{' ? stpcpy(p, "{\"y\":") : stpcpy(p, "[");
    p = stpcpy(p, "1");
    for (int i = 0; i < n; i++)
        *p++ = close;
    strcpy(p, ",");
    strcat(p, &OPEN[1]);
    return out;
}

/* Hostile input 38. */
static void depth(void **state)
{
    (void)state;
    static char line[FLOWEVENT_LINE_MAX];
    assert_verdict(nested(line, 7, '[', ']'), FLOWEVENT_GOOD);
    assert_verdict(nested(line, 7, '{', '}'), FLOWEVENT_GOOD);
    assert_verdict(nested(line, 8, '[', ']'), FLOWEVENT_BADJSON);
    assert_verdict(nested(line, 8, '{', '}'), FLOWEVENT_BADJSON);
    assert_verdict(nested(line, 30000, '[', ']'), FLOWEVENT_BADJSON);
    memset(line, '[', sizeof line);
    assert_int_equal(parse_n(line, sizeof line), FLOWEVENT_BADJSON);
    /* Brackets in strings do not nest. */
    assert_verdict("{\"x\":\"[[[[[[[[[[[[{{{{{{\\\"[[[[[[[\","
                   "\"Event\":1,\"UUID\":\"a\",\"Timestamp\":\"" TIME "\"}",
                   FLOWEVENT_GOOD);
}

/* Hostile input 38. */
static void length(void **state)
{
    (void)state;
    static char line[FLOWEVENT_LINE_MAX + 1];
    memset(line, ' ', sizeof line);
    memcpy(line, OPEN, sizeof OPEN - 1);
    assert_int_equal(parse_n(line, FLOWEVENT_LINE_MAX), FLOWEVENT_GOOD);
    assert_int_equal(parse_n(line, FLOWEVENT_LINE_MAX + 1), FLOWEVENT_TOOLONG);
}

static void event_kinds(void **state)
{
    (void)state;
#define EVENT(e) "{\"Event\":" e ",\"Timestamp\":\"" TIME "\",\"UUID\":\"a\",\"ID\":" ID "}"
    assert_verdict(EVENT("0"), FLOWEVENT_GOOD);
    assert_verdict(EVENT("1"), FLOWEVENT_GOOD);
    assert_verdict(EVENT("2"), FLOWEVENT_UNKNOWNEVENT);
    assert_verdict(EVENT("-1"), FLOWEVENT_UNKNOWNEVENT);
    assert_verdict(EVENT("4294967296"), FLOWEVENT_UNKNOWNEVENT);
    assert_verdict(EVENT("0.0"), FLOWEVENT_UNKNOWNEVENT);
    assert_verdict(EVENT("\"0\""), FLOWEVENT_UNKNOWNEVENT);
    assert_verdict(EVENT("null"), FLOWEVENT_UNKNOWNEVENT);
    assert_verdict("{}", FLOWEVENT_UNKNOWNEVENT);
    assert_verdict("{\"Timestamp\":\"" TIME "\",\"UUID\":\"a\",\"ID\":" ID "}", FLOWEVENT_UNKNOWNEVENT);
#undef EVENT
}

static void nil_ids(void **state)
{
    (void)state;
    assert_verdict(OPEN_ID("null"), FLOWEVENT_NILID);
    assert_verdict("{\"Event\":0,\"Timestamp\":\"" TIME "\",\"UUID\":\"a\"}", FLOWEVENT_NILID);
}

static void bad_uuids(void **state)
{
    (void)state;
    static const char *const bad[] = {
        OPEN_UUID("\"\""),       OPEN_UUID("\"../../etc/x\""), OPEN_UUID("\"a/b\""), OPEN_UUID("\"-rf\""),
        OPEN_UUID("\"a\\n\""),   OPEN_UUID("\"a\\\\b\""),      OPEN_UUID("5"),       OPEN_UUID("null"),
        OPEN_UUID("\"\u00fc\""), OPEN_UUID("\"a..b\""),        OPEN_UUID("[]"),      OPEN_UUID("\"\\u002e\\u002e\""),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_verdict(bad[i], FLOWEVENT_BADUUID);
    assert_verdict("{\"Event\":1,\"Timestamp\":\"" TIME "\"}", FLOWEVENT_BADUUID);
}

/* Hostile inputs 20, 38. */
static void bad_addresses(void **state)
{
    (void)state;
#define IPS(s, d) OPEN_ID("{\"SPort\":1,\"DPort\":2,\"SrcIP\":" s ",\"DstIP\":" d "}")
    static const char *const bad[] = {
        IPS("\"\"", "\"192.0.2.1\""),
        IPS("\"192.0.2.1\"", "\"nonsense\""),
        IPS("\"192.0.2.256\"", "\"192.0.2.1\""),
        IPS("\"192.0.2.1\"", "\"2001:db8::1\""),
        IPS("5", "\"192.0.2.1\""),
        IPS("null", "null"),
        IPS("\"192.0.2\"", "\"192.0.2.1\""),
        IPS("\"192.0.2.1 \"", "\"192.0.2.1\""),
        OPEN_ID("{\"SPort\":1,\"DPort\":2}"),
        OPEN_ID("{}"),
        OPEN_ID("{\"SrcIP\":\"192.0.2.1\",\"SPort\":1,\"DPort\":2}"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_verdict(bad[i], FLOWEVENT_BADIP);
    assert_verdict(IPS("\"::ffff:192.0.2.1\"", "\"192.0.2.2\""), FLOWEVENT_GOOD);
    assert_int_equal(ev.src.len, 4);
    assert_int_equal(ev.key.addr_len, 4);
#undef IPS
}

/* Hostile input 38. */
static void bad_ports(void **state)
{
    (void)state;
#define PORTS(s, d) OPEN_ID("{\"SPort\":" s ",\"DPort\":" d ",\"SrcIP\":\"192.0.2.1\",\"DstIP\":\"192.0.2.2\"}")
    static const char *const values[] = {"-1", "65536", "70000", "1e3", "80.0", "\"80\"", "null", "true", "[]", "{}"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char line[512];
        (void)snprintf(line, sizeof line, PORTS("%s", "2"), values[i]);
        assert_verdict(line, FLOWEVENT_BADPORT);
        (void)snprintf(line, sizeof line, PORTS("1", "%s"), values[i]);
        assert_verdict(line, FLOWEVENT_BADPORT);
    }
    assert_verdict(PORTS("0", "65535"), FLOWEVENT_GOOD);
    assert_verdict(OPEN_ID("{\"SPort\":1,\"SrcIP\":\"192.0.2.1\",\"DstIP\":\"192.0.2.2\"}"), FLOWEVENT_BADPORT);
    assert_verdict(OPEN_ID("{\"DPort\":1,\"SrcIP\":\"192.0.2.1\",\"DstIP\":\"192.0.2.2\"}"), FLOWEVENT_BADPORT);
#undef PORTS
}

/* Hostile input 39. */
static void good_times(void **state)
{
    (void)state;
    static const struct {
        const char *time;
        int64_t ns;
        uint32_t date;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, 19700101},
        {"1970-01-01T00:00:00.000000001Z", 1, 19700101},
        {"1970-01-01T00:00:01.1234567899Z", 1123456789, 19700101},           /* 10 digits */
        {"1970-01-01T00:00:01.12345678999999999999Z", 1123456789, 19700101}, /* 20 */
        {"1970-01-01T00:00:00.5+00:00", 500000000, 19700101},
        {"1970-01-01T00:00:00-00:00", 0, 19700101},
        {"1970-01-01T14:00:00+14:00", 0, 19700101},
        {"1969-12-31T14:00:00-10:00", 0, 19691231},
        {"2024-11-20T01:00:00+14:00", INT64_C(1732014000000000000), 20241120},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000000000), 20170101}, /* a leap second */
        {"2016-12-31T22:59:60.25Z", INT64_C(1483225200250000000), 20161231},
        {"2000-02-29T00:00:00Z", INT64_C(951782400000000000), 20000229},
        {"0001-01-01T00:00:00Z", INT64_MIN, 10101},
        {"0001-01-01T00:00:00+14:00", INT64_MIN, 10101},
        {"9999-12-31T23:59:59.999999999Z", INT64_MAX, 99991231},
        {"9999-12-31T23:59:60Z", INT64_MAX, 99991231},
        {"2262-04-11T23:47:15Z", INT64_C(9223372035000000000), 22620411},
        {"2262-04-11T23:47:16.9Z", INT64_MAX, 22620411},
        {"1677-09-21T00:12:44Z", INT64_C(-9223372036000000000), 16770921},
        {"1677-09-21T00:12:43Z", INT64_MIN, 16770921},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[512];
        (void)snprintf(line, sizeof line, OPEN_TIME("%s"), cases[i].time);
        assert_verdict(line, FLOWEVENT_GOOD);
        assert_int_equal(ev.time.ns, cases[i].ns);
        assert_int_equal(ev.yyyymmdd, cases[i].date);
    }
}

/* Hostile input 39. */
static void bad_times(void **state)
{
    (void)state;
    static const char *const times[] = {
        "",
        "2024-11-19T16:51:48",
        "2024-11-19T16:51:48.123",
        "2024-11-19 16:51:48Z",
        "2024-11-19t16:51:48Z",
        "2024-11-19T16:51:48z",
        "2024-11-19T16:51:48.Z",
        "2024-11-19T16:51:48,5Z",
        "2024-11-19T16:51:61Z",
        "2024-11-19T16:60:48Z",
        "2024-11-19T24:00:00Z",
        "2024-00-19T16:51:48Z",
        "2024-13-19T16:51:48Z",
        "2024-11-00T16:51:48Z",
        "2024-11-31T16:51:48Z",
        "2023-02-29T16:51:48Z",
        "1900-02-29T16:51:48Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-001-01-01T00:00:00Z",
        "2024-11-19T16:51:48+24:00",
        "2024-11-19T16:51:48+14:60",
        "2024-11-19T16:51:48+1400",
        "2024-11-19T16:51:48+14",
        "2024-11-19T16:51:48+",
        "2024-11-19T16:51:48ZZ",
        "2024-11-19T16:51:48Z ",
        " 2024-11-19T16:51:48Z",
        "2024-11-19T16:51",
        "2024-11-19",
        "1732035108",
        "2024-99-99T99:99:99Z",
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char line[512];
        (void)snprintf(line, sizeof line, OPEN_TIME("%s"), times[i]);
        assert_verdict(line, FLOWEVENT_BADTIME);
    }
    assert_verdict("{\"Event\":1,\"UUID\":\"a\",\"Timestamp\":1732035108}", FLOWEVENT_BADTIME);
    assert_verdict("{\"Event\":1,\"UUID\":\"a\",\"Timestamp\":null}", FLOWEVENT_BADTIME);
    assert_verdict("{\"Event\":1,\"UUID\":\"a\"}", FLOWEVENT_BADTIME);
}

static void reasons_have_the_labels_of_the_metric(void **state)
{
    (void)state;
    assert_string_equal(flowevent_bad_name(FLOWEVENT_NILID), "nilid");
    assert_string_equal(flowevent_bad_name(FLOWEVENT_BADIP), "badip");
    assert_string_equal(flowevent_bad_name(FLOWEVENT_UNKNOWNEVENT), "unknownevent");
    assert_string_equal(flowevent_bad_name(FLOWEVENT_GOOD), "good");
    assert_string_equal(flowevent_bad_name(FLOWEVENT_BAD_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_event),
        cmocka_unit_test(close_event),
        cmocka_unit_test(both_forms_come_back_exactly),
        cmocka_unit_test(largest_event_fits),
        cmocka_unit_test(end_of_a_socket_comes_back_with_its_moment),
        cmocka_unit_test(cookies_never_pass_a_double),
        cmocka_unit_test(cookie_and_interface_that_are_no_integers),
        cmocka_unit_test(keys_match_in_any_case),
        cmocka_unit_test(of_duplicates_the_last_wins),
        cmocka_unit_test(blanks_around_a_line),
        cmocka_unit_test(lines_that_are_not_one_json_object),
        cmocka_unit_test(nul_bytes),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(depth),
        cmocka_unit_test(length),
        cmocka_unit_test(event_kinds),
        cmocka_unit_test(nil_ids),
        cmocka_unit_test(bad_uuids),
        cmocka_unit_test(bad_addresses),
        cmocka_unit_test(bad_ports),
        cmocka_unit_test(good_times),
        cmocka_unit_test(bad_times),
        cmocka_unit_test(reasons_have_the_labels_of_the_metric),
    };
    return cmocka_run_group_tests_name("flowevent", tests, NULL, NULL);
}
