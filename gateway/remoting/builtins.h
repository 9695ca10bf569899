/*
 * builtins.h - topics that a broker of this protocol has without anybody having
 * made them, and names that are not to be made.
 *
 * Nothing is stored in them here; clients want to be routed to some (TBW102: a
 * topic may be made by sending to it; _REPLY_TOPIC: answers to requests), tools
 * know the others by name. Any thread.
 */
#ifndef LT_REMOTING_BUILTINS_H
#define LT_REMOTING_BUILTINS_H

#include <stddef.h>
#include <leat/leat.h>
#include "base/buffer.h"

struct lt_gateway;

#define LT_BUILTINS_INHERIT 1 /* in perm: topics may be made after it */

/* Those that can be asked for by name; stops at and returns the first that is
 * not 0. */
int lt_builtins_each(const struct lt_gateway *g,
    int (*each)(const struct leat_topic *topic, void *user), void *user);
/* 1: it is one of these. out may be NULL. */
int lt_builtins_find(
    const struct lt_gateway *g, const char *name, struct leat_topic *out);
/* 1: nobody may make or delete a topic of that name. */
int lt_builtins_is_reserved(const struct lt_gateway *g, const char *name);
/* 305: all names, as a JSON list. */
void lt_builtins_write(const struct lt_gateway *g, struct lt_buffer *out);

#endif
