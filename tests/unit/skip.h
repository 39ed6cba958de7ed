/* SPDX-License-Identifier: Apache-2.0
 * A skipped test says why: the runner lists skips by reason. Include after cmocka.h, use in the test itself. */
#ifndef TESTS_UNIT_SKIP_H
#define TESTS_UNIT_SKIP_H

#define SKIP_BECAUSE(reason)                                                                                           \
    do {                                                                                                               \
        print_message("SKIP %s: %s\n", __func__, reason);                                                              \
        skip();                                                                                                        \
    } while (0)

#endif
