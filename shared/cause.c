/* SPDX-License-Identifier: Apache-2.0
 * Names and classes of the closed list of causes. Cannot fail. */
#include "shared/cause.h"

static const struct {
    const char *name;
    bool trouble;
} causes[] = {
#define CAUSE_ROW(name, label, trouble) [CAUSE_##name] = {label, trouble},
    CAUSE_LIST(CAUSE_ROW)
#undef CAUSE_ROW
};

const char *cause_name(enum cause c)
{
    return (unsigned)c < CAUSE_COUNT ? causes[c].name : "none";
}

bool cause_is_trouble(enum cause c)
{
    return (unsigned)c < CAUSE_COUNT && causes[c].trouble;
}
