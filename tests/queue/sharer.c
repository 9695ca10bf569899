/* sharer.c - see sharer.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "sharer.h"

struct play_client gateway;

/* --- the gateway's requests ------------------------------------------------
 */

int
commit_to(
    struct play_client *c, const char *topic, uint32_t queue, int64_t offset)
{
	struct {
		struct lt_wire_offsets w;
		struct lt_wire_offset at;
	} req;

	memset(&req, 0, sizeof(req));
	strcpy(req.w.group, "g");
	strcpy(req.w.topic, topic);
	req.w.count = 1;
	req.at.queue = queue;
	req.at.offset = offset;
	return play_call(c, LT_OP_GROUP_COMMIT, &req, sizeof(req));
}

/* 1: taken, 0: ignored. */
int
commit(uint32_t queue, int64_t offset)
{
	const struct lt_wire_number *r = (const void *)gateway.reply.bytes;

	OK(commit_to(&gateway, "s", queue, offset));
	assert_int_equal(r->number + r->value, 1);
	return (int)r->number;
}

void
fill_progress(struct lt_wire_progress *req, uint32_t queue)
{
	memset(req, 0, sizeof(*req));
	strcpy(req->group, "g");
	strcpy(req->topic, "s");
	req->queue = queue;
}

/* -1: none. */
int64_t
progress(uint32_t queue)
{
	const struct lt_wire_number *r = (const void *)gateway.reply.bytes;
	struct lt_wire_progress req;
	int status;

	fill_progress(&req, queue);
	status = play_call(&gateway, LT_OP_GROUP_PROGRESS, &req, sizeof(req));
	if (status == LEAT_E_NOTFOUND)
		return -1;
	assert_int_equal(status, LEAT_OK);
	return (int64_t)r->number;
}

/* ids are separated by blanks. */
int
remotes_part(
    struct play_client *c, const char *ids, uint32_t first, uint32_t more)
{
	struct members req;
	size_t n = strlen(ids);

	memset(&req, 0, sizeof(req));
	strcpy(req.w.group, "g");
	req.w.first = first;
	req.w.more = more;
	memcpy(req.ids, ids, n);
	for (size_t i = 0; i < n; i++)
		if (req.ids[i] == ' ')
			req.ids[i] = 0;
	for (size_t i = 0; i < n; i += strlen(req.ids + i) + 1)
		req.w.count++;
	return play_call(
	    c, LT_OP_GROUP_REMOTES, &req, sizeof(req.w) + (n == 0 ? 0 : n + 1));
}

void
remotes(const char *ids)
{
	OK(remotes_part(&gateway, ids, 0, 0));
}

/* How many local members there are; the i-th one's id. */
uint32_t
locals(const char **out, size_t max)
{
	const struct lt_wire_members *r = (const void *)gateway.reply.bytes;
	const char *at = (const char *)(r + 1);
	struct lt_wire_members req;

	memset(&req, 0, sizeof(req));
	strcpy(req.group, "g");
	OK(play_call(&gateway, LT_OP_GROUP_LOCALS, &req, sizeof(req)));
	for (uint32_t i = 0; i < r->count && i < max; i++) {
		out[i] = at;
		at += strlen(at) + 1;
	}
	return r->count;
}

/* --- a local member --------------------------------------------------------
 */

void
join_all(struct member *l, struct play_client *client)
{
	l->client = client;
	l->heard = client->events[LT_OP_EV_MOVED];
	for (uint32_t q = 0; q < QUEUES; q++)
		OK(play_subscribe(client, &l->sub[q], "s", q, "g",
		    LEAT_CLUSTERING, "", LEAT_FROM_BEGIN, 0));
}

/* As libleat does when it is told. */
void
ask_again(struct member *l, uint32_t queue, uint32_t resume)
{
	struct play_sub *sub = &l->sub[queue];
	struct lt_wire_subscribe req = {.queue = queue,
	    .mode = LEAT_CLUSTERING,
	    .from = LEAT_FROM_OFFSET,
	    .resume = resume,
	    .old_id = sub->id};
	const struct lt_wire_subscribed *r =
	    (const void *)l->client->reply.bytes;

	strcpy(req.topic, "s");
	strcpy(req.group, "g");
	OK(play_call(l->client, LT_OP_SUBSCRIBE, &req, sizeof(req)));
	sub->id = r->id;
	sub->has_table = (int)r->has_table;
	if (!r->has_table) /* what it has mapped stays */
		return;
	play_sub_fini(sub);
	assert_int_equal(l->client->reply.fd_count, 1 + r->has_ring);
	OK(lt_segment_attach(&sub->table_seg, l->client->reply.fds[r->has_ring],
	    LT_SEGMENT_TABLE, 1, 1));
	OK(lt_table_init(&sub->table, &sub->table_seg));
	sub->owner = r->owner;
	sub->offset = r->offset;
}

uint32_t
resume_of(const struct play_sub *sub)
{
	return sub->has_table &&
		       atomic_load(&sub->table.shared->closed) != LT_TABLE_LEFT
		   ? 1
		   : 2;
}

/* Everything that it was told of, until nothing changes; how many events. */
unsigned
follow(struct member *l)
{
	unsigned n;

	(void)play_receive(l->client);
	n = l->client->events[LT_OP_EV_MOVED] - l->heard;
	l->heard += n;
	for (uint32_t q = 0; n > 0 && q < QUEUES; q++)
		ask_again(l, q, resume_of(&l->sub[q]));
	return n;
}

unsigned
owned(const struct member *l)
{
	unsigned set = 0;

	for (uint32_t q = 0; q < QUEUES; q++)
		if (l->sub[q].has_table &&
		    atomic_load(&l->sub[q].table.shared->closed) == 0)
			set |= 1u << q;
	return set;
}

void
fini(struct member *l)
{
	for (uint32_t q = 0; q < QUEUES; q++)
		play_sub_fini(&l->sub[q]);
}

void
publish(uint32_t queue, int n)
{
	for (int i = 0; i < n; i++)
		play_publish("s", queue, NULL, NULL, "body", 4);
	play_pump();
}

void
restart_queue_manager(struct member *l)
{
	struct play_client again;

	play_queue_kill();
	play_queue_start();
	play_connect(&again);
	OK(play_resume(&again, l->client));
	play_close(l->client);
	*l->client = again;
	l->heard = 0;
	for (uint32_t q = 0; q < QUEUES; q++)
		ask_again(l, q, resume_of(&l->sub[q]));
}
