/* SPDX-License-Identifier: Apache-2.0
 * What this build is. */
#ifndef SHARED_VERSION_H
#define SHARED_VERSION_H

/* "0.1.0", and the short commit in hex ("unknown" outside a checkout). Static storage. */
const char *version_text(void);
const char *version_commit(void);
/* The compression libraries it was built with: "zlib libdeflate ISA-L". */
const char *version_codecs(void);

#endif
