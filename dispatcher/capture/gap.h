/* SPDX-License-Identifier: Apache-2.0
 * What the time between two dispatchers may have cost: the interfaces go on counting what they receive. An estimate
 * from above: it holds what the last dispatcher still took after its last look, and packets that are none of ours. */
#ifndef CAPTURE_GAP_H
#define CAPTURE_GAP_H

#include "dispatcher/capture/links.h"

/* Notes what each captured interface has received so far; call it each second. first: this dispatcher has just opened
 * its interfaces, and what was received since its predecessor's last look is added to gap_rx. An interface that was
 * replaced or counts anew adds nothing. */
void gap_look(struct dispatcher_page *page, const struct links *links, bool first);

#endif
