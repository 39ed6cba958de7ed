/* SPDX-License-Identifier: Apache-2.0
 * A recursive descent over the text that only moves a pointer. Failure policy: see jsontext.h. */
#include "dispatcher/ctl/jsontext.h"

#include <string.h>

#define DEPTH_MAX 16

static void skip_blanks(struct jsontext *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n' || *t->at == '\r'))
        t->at++;
}

static bool take(struct jsontext *t, char c)
{
    skip_blanks(t);
    if (t->at == t->end || *t->at != c)
        return false;
    t->at++;
    return true;
}

static bool skip_string(struct jsontext *t)
{
    if (!take(t, '"'))
        return false;
    for (; t->at < t->end; t->at++) {
        if (*t->at == '"') {
            t->at++;
            return true;
        }
        if ((unsigned char)*t->at < ' ')
            return false;
        if (*t->at == '\\' && ++t->at == t->end)
            return false;
    }
    return false;
}

static bool digit(const struct jsontext *t)
{
    return t->at < t->end && *t->at >= '0' && *t->at <= '9';
}

/* What may follow a digit in a number, beside digits. */
static bool of_number(const struct jsontext *t)
{
    char c = t->at < t->end ? *t->at : ' ';
    return c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-';
}

static bool skip_number(struct jsontext *t)
{
    if (t->at < t->end && *t->at == '-')
        t->at++;
    if (!digit(t))
        return false;
    while (digit(t) || of_number(t))
        t->at++;
    return true;
}

static bool skip_word(struct jsontext *t)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(t->end - t->at) >= n && memcmp(t->at, words[i], n) == 0) {
            t->at += n;
            return true;
        }
    }
    return false;
}

static bool skip_value(struct jsontext *t, int depth);

static bool skip_list(struct jsontext *t, char close, int depth)
{
    t->at++;
    if (take(t, close))
        return true;
    do {
        if (close == '}' && (!skip_string(t) || !take(t, ':')))
            return false;
        if (!skip_value(t, depth))
            return false;
    } while (take(t, ','));
    return take(t, close);
}

static bool skip_value(struct jsontext *t, int depth)
{
    skip_blanks(t);
    if (t->at == t->end || depth == DEPTH_MAX)
        return false;
    switch (*t->at) {
    case '{':
        return skip_list(t, '}', depth + 1);
    case '[':
        return skip_list(t, ']', depth + 1);
    case '"':
        return skip_string(t);
    case 't':
    case 'f':
    case 'n':
        return skip_word(t);
    default:
        return skip_number(t);
    }
}

/* Takes one value off t. */
static bool take_value(struct jsontext *t, struct jsontext *value_r)
{
    skip_blanks(t);
    value_r->at = t->at;
    bool good = skip_value(t, 0);
    value_r->end = t->at;
    return good;
}

int jsontext_open(struct jsontext *out, const char *text, size_t len)
{
    struct jsontext rest = {text, text + len};
    if (!take_value(&rest, out))
        return SC_EFORMAT;
    skip_blanks(&rest);
    return rest.at == rest.end ? SC_OK : SC_EFORMAT;
}

bool jsontext_next(struct jsontext *iterator, struct jsontext *name_r, struct jsontext *value_r)
{
    if (iterator->at == iterator->end)
        return false;
    /* Between two calls it stands behind a value, so an opening bracket is its own. */
    bool object = iterator->end[-1] == '}';
    if (*iterator->at == '{' || *iterator->at == '[')
        iterator->at++;
    else if (!take(iterator, ','))
        return false;
    skip_blanks(iterator);
    struct jsontext name = {iterator->at, iterator->at};
    if (object) {
        if (!skip_string(iterator))
            return false;
        name.end = iterator->at;
        if (!take(iterator, ':'))
            return false;
    }
    if (name_r)
        *name_r = name;
    return take_value(iterator, value_r);
}

bool jsontext_member(struct jsontext object, const char *name, struct jsontext *value_r)
{
    size_t n = strlen(name);
    struct jsontext have;
    if (object.at == object.end || *object.at != '{')
        return false;
    while (jsontext_next(&object, &have, value_r))
        if ((size_t)(have.end - have.at) == n + 2 && memcmp(have.at + 1, name, n) == 0)
            return true;
    return false;
}

bool jsontext_u64(struct jsontext value, uint64_t *out)
{
    *out = 0;
    uint64_t n = 0;
    for (const char *p = value.at; p < value.end; p++) {
        if (*p < '0' || *p > '9' || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
            return false;
    }
    *out = n;
    return value.at < value.end;
}

bool jsontext_true(struct jsontext value)
{
    return value.end - value.at == 4 && memcmp(value.at, "true", 4) == 0;
}

bool jsontext_string(struct jsontext value, char *out, size_t cap)
{
    size_t n = (size_t)(value.end - value.at);
    out[0] = '\0';
    if (n < 2 || n - 2 >= cap || *value.at != '"' || memchr(value.at, '\\', n))
        return false;
    memcpy(out, value.at + 1, n - 2);
    out[n - 2] = '\0';
    return true;
}

uint64_t jsontext_u64_of(struct jsontext object, const char *name)
{
    struct jsontext value;
    uint64_t n = 0;
    return jsontext_member(object, name, &value) && jsontext_u64(value, &n) ? n : 0;
}

bool jsontext_true_of(struct jsontext object, const char *name)
{
    struct jsontext value;
    return jsontext_member(object, name, &value) && jsontext_true(value);
}

bool jsontext_string_of(struct jsontext object, const char *name, char *out, size_t cap)
{
    struct jsontext value;
    out[0] = '\0';
    return jsontext_member(object, name, &value) && jsontext_string(value, out, cap);
}

void jsontext_write(const char *text, size_t len, FILE *out)
{
    (void)fputc('"', out);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' || c >= 0x7f || c == '"' || c == '\\')
            (void)fprintf(out, "\\u%04x", c);
        else
            (void)fputc(c, out);
    }
    (void)fputc('"', out);
}
