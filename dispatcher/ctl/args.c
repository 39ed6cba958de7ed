/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: see args.h. */
#include "dispatcher/ctl/args.h"

#include <string.h>

#define HELP_INDENT 22 /* where the explanations begin */

static const struct args_option none[] = {{0}};

static const struct args_option *options_of(const struct command *c)
{
    return c->options ? c->options : none;
}

/* The name in an option word ("--rate=5" -> "rate", 4) and its value, if it stands in the same word. */
static bool split(const char *word, const char **name_r, size_t *len_r, const char **value_r)
{
    if (word[0] != '-' || word[1] == '\0')
        return false;
    const char *name = word + (word[1] == '-' ? 2 : 1);
    const char *equals = strchr(name, '=');
    *name_r = name;
    *len_r = equals ? (size_t)(equals - name) : strlen(name);
    *value_r = equals ? equals + 1 : NULL;
    return true;
}

static bool same(const char *name, size_t len, const char *have)
{
    return strlen(have) == len && memcmp(name, have, len) == 0;
}

int args_take(int argc, char **argv, int *at, const char *name, const char **value_r)
{
    const char *have, *value;
    size_t len;
    if (*at >= argc || !split(argv[*at], &have, &len, &value) || !same(have, len, name))
        return 0;
    (*at)++;
    if (!value && *at < argc)
        value = argv[(*at)++];
    *value_r = value;
    return value ? 1 : -1;
}

static int find(const struct command *c, const char *name, size_t len)
{
    const struct args_option *o = options_of(c);
    for (int i = 0; o[i].name; i++)
        if (same(name, len, o[i].name))
            return i;
    return -1;
}

/* An option that wants a value, at *at. */
static int take_value(int argc, char **argv, int *at, const char *name, const char *wants, const char **value_r,
                      char error[ARGS_ERROR])
{
    if (args_take(argc, argv, at, name, value_r) > 0)
        return SC_OK;
    (void)snprintf(error, ARGS_ERROR, "-%s wants a value: %s", name, wants);
    return SC_EINVAL;
}

/* One option word at *at. */
static int take_option(struct args *out, int argc, char **argv, int *at, char error[ARGS_ERROR])
{
    const char *name = "", *value = NULL;
    size_t len = 0;
    (void)split(argv[*at], &name, &len, &value); /* it is one: that was looked at */
    if (same(name, len, "rundir"))
        return take_value(argc, argv, at, "rundir", "DIR", &out->rundir, error);
    if (same(name, len, "help") || same(name, len, "h")) {
        out->help = true;
        return SC_OK;
    }
    int i = find(out->command, name, len);
    if (i < 0) {
        (void)snprintf(error, ARGS_ERROR, "%s has no option %.64s", out->command->name, argv[*at]);
        return SC_EINVAL;
    }
    const struct args_option *option = &options_of(out->command)[i];
    if (option->value)
        return take_value(argc, argv, at, option->name, option->value, &out->value[i], error);
    if (value) {
        (void)snprintf(error, ARGS_ERROR, "-%s takes no value", option->name);
        return SC_EINVAL;
    }
    out->value[i] = "";
    (*at)++;
    return SC_OK;
}

int args_parse(struct args *out, const struct command *command, int argc, char **argv, char error[ARGS_ERROR])
{
    *out = (struct args){.command = command, .operand = argv};
    bool options_end = false;
    for (int at = 0; at < argc && !out->help;) {
        if (options_end || argv[at][0] != '-' || argv[at][1] == '\0') {
            argv[out->count++] = argv[at++]; /* never overtakes: at >= count */
        } else if (strcmp(argv[at], "--") == 0) {
            options_end = true;
            at++;
        } else if (take_option(out, argc, argv, &at, error) != SC_OK) {
            return SC_EINVAL;
        }
    }
    if (out->help || (out->count >= command->least && (command->most < 0 || out->count <= command->most)))
        return SC_OK;
    (void)snprintf(error, ARGS_ERROR, "%s takes %s", command->name,
                   command->operands[0] ? command->operands : "options only");
    return SC_EINVAL;
}

const char *args_get(const struct args *a, const char *name)
{
    int i = find(a->command, name, strlen(name));
    return i < 0 ? NULL : a->value[i];
}

bool args_has(const struct args *a, const char *name)
{
    return args_get(a, name) != NULL;
}

bool args_number(const struct args *a, const char *name, uint64_t min, uint64_t max, uint64_t fallback,
                 uint64_t *value_r)
{
    const char *text = args_get(a, name);
    *value_r = fallback;
    if (!text)
        return true;
    uint64_t value = 0;
    bool good = text[0] != '\0';
    for (const char *p = text; good && *p; p++)
        good = *p >= '0' && *p <= '9' && !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
    if (good && value >= min && value <= max) {
        *value_r = value;
        return true;
    }
    (void)fprintf(stderr, "shardcapctl: -%s wants a whole number from %llu to %llu\n", name, (unsigned long long)min,
                  (unsigned long long)max);
    return false;
}

/* Explanations of several lines go on under their first. */
static void explain(const char *head, const char *text, FILE *out)
{
    (void)fprintf(out, "  %-*s", HELP_INDENT - 2, head);
    if (strlen(head) > HELP_INDENT - 4)
        (void)fprintf(out, "\n%*s", HELP_INDENT, "");
    for (; *text; text++) {
        (void)fputc(*text, out);
        if (*text == '\n')
            (void)fprintf(out, "%*s", HELP_INDENT, "");
    }
    (void)fputc('\n', out);
}

void args_help(const struct command *c, FILE *out)
{
    (void)fprintf(out, "usage: shardcapctl [-rundir DIR] %s", c->name);
    for (const struct args_option *o = options_of(c); o->name; o++)
        (void)fprintf(out, " [-%s%s%s]", o->name, o->value ? " " : "", o->value ? o->value : "");
    (void)fprintf(out, "%s%s\n%s\n", c->operands[0] ? " " : "", c->operands, c->summary);
    for (const struct args_option *o = options_of(c); o->name; o++) {
        char head[96];
        (void)snprintf(head, sizeof head, "-%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        explain(head, o->text, out);
    }
    (void)fprintf(out, "exit status: %s; 2 wrong usage\n", c->status);
}

void args_summary(const struct command *c, FILE *out)
{
    char head[96];
    (void)snprintf(head, sizeof head, "%s%s%s", c->name, c->operands[0] ? " " : "", c->operands);
    explain(head, c->summary, out);
}
