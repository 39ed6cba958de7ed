/* SPDX-License-Identifier: Apache-2.0
 * One life of the hub: attach to the supervisor, take in events, give them to the shards, answer people and scrapers.
 */
#ifndef HUB_HUB_H
#define HUB_HUB_H

/* Runs on the attach socket until STOP, its end, or SIGTERM. Returns the exit status (shared/proto.h); the reason of
 * one that is not EXIT_DONE has been logged and, if there is a supervisor, told to it. */
int hub_run(int attach_fd);

#endif
