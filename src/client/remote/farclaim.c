/*
 * farclaim.c - what was handed out of a queue and is not acknowledged, in order
 * of offsets. A RocketMQ group knows one number for a queue, so that is the
 * least of these; the rest is remembered here. What is given back, or was held
 * longer than a lease, is sent back to the broker, which delivers it again
 * later, and counts as done once the broker has taken it.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <string.h>

#include "base/clock.h"

#define ATTEMPTS "16"
#define SOON 1 /* the shortest of the broker's delays */
#define BY_ATTEMPT 0 /* the broker's back-off */

enum state {
	HELD,
	DONE,
	GIVEN_BACK,
	RAN_OUT
};

static struct lt_farclaim *
claim_at(const struct lt_farsource *s, uint32_t i)
{
	return &s->claims[(s->claim_at + i) & (s->claim_room - 1)];
}

int64_t
lt_farclaim_floor(const struct lt_farsource *s)
{
	return s->claim_count == 0 ? s->next : claim_at(s, 0)->offset;
}

static int
grow(struct lt_farsource *s)
{
	uint32_t room = s->claim_room == 0 ? 64 : s->claim_room * 2, i;
	struct lt_farclaim *claims = lt_mem_array(room, sizeof(*claims));

	if (claims == NULL)
		return LEAT_E_NOMEM;
	for (i = 0; i < s->claim_count; i++)
		claims[i] = *claim_at(s, i);
	lt_mem_free(s->claims);
	s->claims = claims;
	s->claim_room = room;
	s->claim_at = 0;
	return LEAT_OK;
}

int
lt_farclaim_add(struct lt_farsource *s, int64_t offset, int64_t log_offset)
{
	if (s->claim_count == LT_FAR_HELD_MAX)
		return LEAT_E_LIMIT;
	if (s->claim_count == s->claim_room && grow(s) != LEAT_OK)
		return LEAT_E_NOMEM;
	*claim_at(s, s->claim_count++) =
	    (struct lt_farclaim){offset, log_offset, lt_clock_mono_ms(), HELD};
	return LEAT_OK;
}

static struct lt_farclaim *
find(const struct lt_farsource *s, int64_t offset)
{
	uint32_t low = 0, high = s->claim_count, mid;

	while (low < high) {
		mid = (low + high) / 2;
		if (claim_at(s, mid)->offset < offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->claim_count && claim_at(s, low)->offset == offset
		   ? claim_at(s, low)
		   : NULL;
}

static void
done(struct lt_farsource *s, struct lt_farclaim *c)
{
	c->state = DONE;
	while (s->claim_count > 0 && claim_at(s, 0)->state == DONE) {
		s->claim_at++;
		s->claim_count--;
	}
}

int
lt_farclaim_act(struct lt_farsource *s, int64_t offset, enum lt_act act)
{
	struct lt_farclaim *c = find(s, offset);

	/* Acknowledged before and gone: nobody else can have it. */
	if (c == NULL)
		return offset < s->next ? LEAT_OK : LEAT_E_INVALID;
	if (c->state == DONE)
		return LEAT_OK;
	if (c->state != HELD)
		return LEAT_E_LEASE;
	if (act == LT_ACT_ACK)
		done(s, c);
	else if (act == LT_ACT_NACK)
		c->state = GIVEN_BACK;
	else
		c->stamp = lt_clock_mono_ms();
	return LEAT_OK;
}

int
lt_farclaim_owes(const struct lt_farsource *s)
{
	uint32_t i;

	for (i = 0; i < s->claim_count; i++)
		if (claim_at(s, i)->state >= GIVEN_BACK)
			return 1;
	return 0;
}

static void
on_sent_back(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	struct lt_farsource *s = user;
	struct lt_farclaim *c = find(s, s->back);

	(void)body;
	(void)bytes;
	s->back = -1;
	if (status == LEAT_OK && head->code == 0) {
		if (c != NULL)
			done(s, c);
	} else {
		s->back_at = lt_clock_mono_ms() + 3 * LT_FAR_RETRY_MS;
	}
	lt_farclaim_due(s, lt_clock_mono_ms());
}

static int
send_back(struct lt_farsource *s, const struct lt_farclaim *c)
{
	struct lt_farrequest r;
	int status =
	    lt_farask_begin(&r, s->queue->conn, 36, 3 * (size_t)LT_NAME_FIELD);

	if (status != LEAT_OK)
		return status;
	lt_farask_put(&r, "bname", s->queue->broker);
	lt_remoting_put_i64(
	    &r.e, "delayLevel", c->state == GIVEN_BACK ? SOON : BY_ATTEMPT);
	lt_farask_put(&r, "group", s->group->name);
	lt_farask_put(&r, "maxReconsumeTimes", ATTEMPTS);
	lt_remoting_put_i64(&r.e, "offset", c->log_offset);
	lt_farask_put(&r, "originTopic", s->queue->topic->name);
	lt_farask_put(&r, "unitMode", "false");
	return lt_farask_end(&r, NULL, 0, LT_FAR_RPC_MS, on_sent_back, s);
}

void
lt_farclaim_due(struct lt_farsource *s, uint64_t now)
{
	uint32_t i;

	for (i = 0; i < s->claim_count; i++) {
		struct lt_farclaim *c = claim_at(s, i);

		if (c->state == HELD && now >= c->stamp + LT_FAR_LEASE_MS)
			c->state = RAN_OUT;
		if (c->state < GIVEN_BACK || s->back >= 0 || now < s->back_at)
			continue;
		if (send_back(s, c) == LEAT_OK)
			s->back = c->offset;
		else
			s->back_at = now + LT_FAR_RETRY_MS;
	}
}

void
lt_farclaim_clear(struct lt_farsource *s)
{
	s->claim_count = s->claim_at = 0;
}
