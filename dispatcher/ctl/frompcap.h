/* SPDX-License-Identifier: Apache-2.0
 * One FlowEvent for each flow of a capture file. */
#ifndef CTL_FROMPCAP_H
#define CTL_FROMPCAP_H

#include <stdbool.h>
#include <stddef.h>

#include "dispatcher/ctl/capfile.h"

#define FROMPCAP_PREFIX "pcap" /* default of the names' prefix */

/* Reads the file to its end and hands over one open event a flow, as a line with its newline, in the order of first
 * packets; a SYN with a new sequence number after FIN or RST opens a further flow of the same addresses and ports.
 * Timestamp = first packet. SrcIP, the local side, is who receives the SYN, else who has the lower port. The UUID is
 * <prefix>_%016X of a hash over addresses, ports and first time: the same for the same file, others for other flows.
 * take returns false to stop. Returns SC_OK (also when stopped), SC_EINVAL (prefix), SC_ENOMEM or SC_EFORMAT (the file
 * is cut; what came before was handed over), with a text in error. */
int frompcap_read(struct capfile *file, const char *prefix, bool (*take)(void *ctx, const char *line, size_t len),
                  void *ctx, char error[CAPFILE_ERROR]) SC_MUST_CHECK;

#endif
