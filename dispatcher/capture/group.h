/* SPDX-License-Identifier: Apache-2.0
 * Hand-over of an interface between two dispatchers without a packet lost or doubled. Every capture is a member of a
 * group of the kernel's (PACKET_FANOUT_CBPF): each packet goes to exactly one member, which a program of one
 * instruction names. A successor joins the group, where it gets nothing, and then has the program replaced: from one
 * packet to the next they are its own, and what came before is in its predecessor's buffer. If either of the two dies,
 * the kernel gives the other one all that comes. */
#ifndef CAPTURE_GROUP_H
#define CAPTURE_GROUP_H

#include "dispatcher/capture/capture.h"

/* Makes a group of one. *group_r is its number. SC_OK, or SC_ESYS (a kernel before 4.15) with a text: the capture works
 * without. */
int group_new(struct capture *c, int *group_r, char error[CAPTURE_ERROR]) SC_MUST_CHECK;

/* Joins the group of a predecessor that lives. Before it has a filter, and before anything was read of it: what the
 * interface gave it so far is read and forgotten, to the last packet, for the predecessor has it, too. SC_OK, or
 * SC_ESYS with a text: close it. */
int group_join(struct capture *c, int group, char error[CAPTURE_ERROR]) SC_MUST_CHECK;

/* The packets are this capture's, which joined second, from now on; none goes to the other any more once this returns.
 * False: everything stays as it was (errno). */
bool group_take(struct capture *c);

/* The predecessor is gone: makes the group fit for the next one to join. False: nobody may join it any more. */
bool group_settle(struct capture *c);

#endif
