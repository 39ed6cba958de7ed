/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: see leftovers.h. */
#include "shard/leftovers.h"

#include <string.h>

#include "shared/log.h"

bool leftovers_step(struct leftovers *l)
{
    struct outfile_job job = {.kind = OUTFILE_SALVAGE, .idx = l->next};
    if (l->under_way || l->next == l->count || outfile_submit(l->out, &job) != SC_OK)
        return false;
    if (l->next == 0)
        log_info("unfinished files of a predecessor are being finished files=%u", l->count);
    l->under_way = true;
    l->next++;
    return true;
}

void leftovers_result(struct leftovers *l, const struct outfile_result *r)
{
    l->under_way = false;
    if (r->error) {
        log_warn("an unfinished file of a predecessor stays for the next start: %s", strerror(r->error));
        counter_add(&l->c->file_errors, 1);
    }
    l->files += r->salvaged > 0;
    l->packets += r->salvaged;
    l->aside += r->aside;
    counter_add(&l->c->salvaged_files, r->salvaged > 0);
    counter_add(&l->c->salvaged_packets, r->salvaged);
    counter_add(&l->c->aside_files, r->aside);
    if (l->next == l->count)
        log_info("unfinished files of a predecessor: published=%llu packets=%llu aside=%llu",
                 (unsigned long long)l->files, (unsigned long long)l->packets, (unsigned long long)l->aside);
}
