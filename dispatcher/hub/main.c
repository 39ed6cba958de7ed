/* SPDX-License-Identifier: Apache-2.0
 * shardcap-hub: UUID events to the shards, HTTP and the control socket. Started by shardcap, with the attach socket as
 * fd 3 and no command line but -version and -layout. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "dispatcher/hub/hub.h"
#include "dispatcher/hub/journal.h"
#include "shared/config.h"
#include "shared/counters.h"
#include "shared/layout.h"
#include "shared/proto.h"
#include "shared/version.h"

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "-version") == 0) {
        printf("shardcap-hub %s (%s)\n", version_text(), version_commit());
        return EXIT_DONE;
    }
    if (argc == 2 && strcmp(argv[1], "-layout") == 0) {
        char layout[LAYOUT_TEXT];
        printf("%s journal %u\n", layout_common(layout), JOURNAL_LAYOUT);
        return EXIT_DONE;
    }
    if (argc > 1) {
        (void)fprintf(stderr, "shardcap-hub takes -version and -layout only; it is started by shardcap\n");
        return EXIT_USAGE;
    }
    (void)prctl(PR_SET_NAME, "shardcap-hub"); /* exec by fd may have left a number */
    return hub_run(PROTO_FD);
}
