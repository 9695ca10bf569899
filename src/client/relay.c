/*
 * relay.c - what a gateway's session has besides a producer's: it is woken
 * whenever the log grew. The queue manager is told once, and again by a session
 * that was resumed, since its successor may not know.
 */
#include "config.h"
#include "client/relay.h"
#include "client/client.h"

void
lt_relay_restore(struct leat *leat, uint64_t deadline)
{
	struct lt_wire_none msg = {0};

	if (leat->must_follow && lt_link_call(leat, LT_OP_FOLLOW, &msg,
				     sizeof(msg), deadline, NULL) == LEAT_OK)
		leat->must_follow = 0;
}

int
lt_relay_follow(struct leat *leat, int timeout_ms)
{
	struct lt_wire_none msg = {0};
	int status = lt_link_call(leat, LT_OP_FOLLOW, &msg, sizeof(msg),
	    lt_wait_deadline(timeout_ms), NULL);

	if (status == LEAT_OK)
		leat->follows = 1;
	return status;
}

uint64_t
lt_relay_log_end(const struct leat *leat)
{
	/* acquire: the records below are written; pairs with the store's
	 * release, behind the append */
	return atomic_load_explicit(
	    &leat->beacon->log_end, memory_order_acquire);
}

void
lt_relay_want_log(struct leat *leat, int on)
{
	leat->wants_log = on != 0;
}
