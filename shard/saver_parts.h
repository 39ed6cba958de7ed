/* SPDX-License-Identifier: Apache-2.0
 * What the files of the saver share. Nothing else includes this. */
#ifndef SHARD_SAVER_PARTS_H
#define SHARD_SAVER_PARTS_H

#include "shard/saver.h"

/* The wait of an unnamed flow for its UUID is over: the hash source names it, or its packets are counted as no_uuid
 * under `state`. False if the slot was freed thereby. */
bool saver_wait_over(struct savers *s, uint32_t idx, enum saver_state state);

/* All that is asked for of the flow is saved: its file is complete, later packets are dropped as capture_limit. */
void saver_full(struct savers *s, uint32_t idx);

/* Drops a flow whose chain does not check. */
void saver_lost(struct savers *s, uint32_t idx);

/* Half-open flows that a shard keeps at most: a quarter of its budget, so that a flood of SYNs takes nothing from flows
 * with packets to save. */
uint32_t saver_probation_cap(const struct savers *s);

/* Gives up the oldest flow of HALFOPEN or WAITING and counts its packets. False if there is none. */
bool saver_evict(struct savers *s, enum flow_list_id list, enum cause cause);

/* Seals what there is of idx, unless that was in vain a short while ago. True if it gave blocks back. */
bool saver_seal(struct savers *s, uint32_t idx);

/* Makes room for the name of idx before it takes of the reserve. evict: half-open flows may go for it, and where even
 * the reserve has none, other flows without a name. */
void saver_room_for_name(struct savers *s, uint32_t idx, bool evict);

/* At start. */
void savers_room_init(struct savers *s);

/* Counts idx for maxflows in the tick of `now`, once. */
void saver_count_flow(struct savers *s, uint32_t idx, struct instant now);

/* idx is ended by GC: its name is kept, in case it goes on. */
void saver_keep_name(struct savers *s, uint32_t idx);

#endif
