/* SPDX-License-Identifier: Apache-2.0
 * Places with a name at which a test lets the process die. In an ordinary build they are nothing; with
 * -DSHARDCAP_CRASHPOINTS (make crashpoints) the environment says where and how:
 *
 *     SHARDCAP_CRASH=name[=value][:kill|:fault|:hang][/n][,..]
 *
 * value: only when the place passes this number (a TCP sequence number). kill: as if somebody else had killed it (a
 * breakpoint trap, for no process here may signal another); fault: an illegal instruction; hang: an endless loop. /n:
 * at random, once in n times. Failure policy: what does not parse is no crash.
 *
 * `scribble=slot` turns the process of that slot, once it is ready, into one that writes nonsense into the memory that
 * it is given and into the doorbell, for ever. */
#ifndef SHARD_CRASHPOINT_H
#define SHARD_CRASHPOINT_H

#include <stddef.h>
#include <stdint.h>

#ifdef SHARDCAP_CRASHPOINTS
void crashpoint(const char *name, uint64_t value);
void crashpoint_read(void); /* takes the environment as it is now; done by itself at the first place that is reached */
void crashpoint_scribble(uint64_t slot, void *memory, size_t bytes, int doorbell);
#define CRASHPOINT(name) crashpoint(name, 0)
#define CRASHPOINT_SCRIBBLE(slot, memory, bytes, doorbell) crashpoint_scribble(slot, memory, bytes, doorbell)
#define CRASHPOINT_VALUE(name, value) crashpoint(name, value)
#else
#define CRASHPOINT(name) ((void)0)
#define CRASHPOINT_SCRIBBLE(slot, memory, bytes, doorbell) ((void)0)
#define CRASHPOINT_VALUE(name, value) ((void)0)
#endif

#endif
