/*
 * naming.h - the name server of this gateway: its requests, on listeners of
 * that role, and what it knows of this broker itself.
 *
 * One lock around the tables of names/; any thread.
 */
#ifndef LT_REMOTING_NAMING_H
#define LT_REMOTING_NAMING_H

#include "names/names.h"
#include "remoting/call.h"
#include "remoting/guard.h"

struct lt_naming;

int lt_naming_create(
    const struct lt_names_limits *limits, struct lt_naming **out) LT_MUST_CHECK;
void lt_naming_destroy(struct lt_naming *naming);
/* A request of a name server's. */
void lt_naming_on_call(struct lt_call *call);
/* What one of these needs: routes nothing, registrations every topic. */
/* 1: this connection asks its name server that; on a channel the code says
 * whose it is. */
int lt_naming_is_asked(const struct lt_conn *c, int32_t code);
const struct lt_need *lt_naming_need(int32_t code);
/* What a connection registered goes with it; who is silent goes (every tick) */
void lt_naming_closed(struct lt_naming *naming, uint64_t conn);
void lt_naming_tick(struct lt_naming *naming);

/* This broker's topics, all of them, as they are now. */
void lt_naming_offer(struct lt_naming *naming, const struct lt_registration *r);

#endif
