/* SPDX-License-Identifier: Apache-2.0
 * The only file that is compiled with the commit. Cannot fail. */
#include "shared/version.h"

const char *version_text(void)
{
    return SC_VERSION;
}

const char *version_commit(void)
{
    return SC_COMMIT;
}

const char *version_codecs(void)
{
    return SC_CODECS;
}
