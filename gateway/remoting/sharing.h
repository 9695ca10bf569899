/*
 * sharing.h - groups that local and remote members share: what leat-queue is
 * told of the remote ones, and what it says of the local ones. The clerk's
 * duty, every 100 ms and whenever a group changed:
 *
 *   hub: offsets ──commit──► leat-queue ◄──ids of remote members── hub
 *                                 └──ids of local members──► hub ──► 40
 *
 * Offsets come before ids: a member that leaves commits, then goes, and whoever
 * has its queues next begins where it was. What could not be told is told with
 * the next round; to a new leat-queue everything.
 */
#ifndef LT_REMOTING_SHARING_H
#define LT_REMOTING_SHARING_H

#include "base/check.h"

struct lt_gateway;
struct lt_sharing;

int lt_sharing_create(
    const struct lt_gateway *g, struct lt_sharing **out) LT_MUST_CHECK;
/* Its clerk has stopped. */
void lt_sharing_destroy(struct lt_sharing *s);
/* The gateway has a clerk now: its duty begins. */
void lt_sharing_begin(struct lt_sharing *s);
/* The remote members of the group changed. Any thread. */
void lt_sharing_note(struct lt_sharing *s, const char *group);

#endif
