/* SPDX-License-Identifier: Apache-2.0
 * A stream over a file that may be gzip'd. */
#ifndef CTL_GZFILE_H
#define CTL_GZFILE_H

#include <stdio.h>

/* Reads what a file holds, decompressed if it is gzip; fd is taken over. A file that ends inside its gzip member, or
 * is damaged, is a read error with EIO. NULL with errno, and fd is closed then, too. */
FILE *gzfile_reader(int fd);

#endif
