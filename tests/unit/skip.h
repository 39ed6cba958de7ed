/* SPDX-License-Identifier: Apache-2.0
 * A skipped test says why: the runner lists skips by reason. Include after cmocka.h, use in the test itself. */
#ifndef TESTS_UNIT_SKIP_H
#define TESTS_UNIT_SKIP_H

#define SKIP_BECAUSE(reason)                                                                                           \
    do {                                                                                                               \
        print_message("SKIP %s: %s\n", __func__, reason);                                                              \
        skip();                                                                                                        \
    } while (0)

/* valgrind lets a call take its descriptor and closes it if the limit was reached: then a connection is lost. */
#define SKIP_WHERE_LIMITS_OF_FDS_ARE_EMULATED()                                                                        \
    do {                                                                                                               \
        const char *preload = getenv("LD_PRELOAD");                                                                    \
        if (preload && strstr(preload, "vgpreload"))                                                                   \
            SKIP_BECAUSE("not under valgrind: it emulates the limit of descriptors");                                  \
    } while (0)

#endif
