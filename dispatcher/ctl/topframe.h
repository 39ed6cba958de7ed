/* SPDX-License-Identifier: Apache-2.0
 * One frame of `shardcapctl top`, from two answers to `status`. Pure. */
#ifndef CTL_TOPFRAME_H
#define CTL_TOPFRAME_H

#include <stdio.h>

#include "dispatcher/ctl/jsontext.h"
#include "shared/clock.h"

struct topframe_sample {
    struct jsontext status;
    struct mono at;
};

/* Writes lines of printable ASCII. before: for what moves a second; NULL shows "-" there, as does what is new since. */
void topframe_write(const struct topframe_sample *now, const struct topframe_sample *before, FILE *out);

#endif
