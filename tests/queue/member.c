/* member.c - members of the group "g" on queue 0 of the topic "t". */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/bytes.h"
#include "member.h"

struct play_client member_client;

void
member_connect_client(struct play_client *client)
{
	play_connect(client);
	assert_int_equal(play_hello(client), LEAT_OK);
}

void
member_publish(int n)
{
	for (int i = 0; i < n; i++)
		play_publish("t", 0, NULL, NULL, "body", 4);
	play_pump();
}

int
member_join(struct play_client *client, struct play_sub *sub, const char *group)
{
	return play_subscribe(
	    client, sub, "t", 0, group, LEAT_CLUSTERING, "", 0, 0);
}

int
member_claim(struct play_sub *sub, int64_t offset, uint32_t *attempt)
{
	int status = lt_table_claim(&sub->table, offset, (uint16_t)sub->owner,
	    lt_table_stamp(play_now_ms), attempt);

	if (status == LEAT_OK &&
	    atomic_load(&sub->table.shared->cursor) <= offset)
		atomic_store(&sub->table.shared->cursor, offset + 1);
	return status;
}

void
member_consume(struct play_sub *sub, int64_t from, int64_t to)
{
	uint32_t attempt;

	for (int64_t o = from; o < to; o++) {
		assert_int_equal(member_claim(sub, o, &attempt), LEAT_OK);
		assert_int_equal(
		    lt_table_ack(&sub->table, o, (uint16_t)sub->owner),
		    LEAT_OK);
	}
}

/* First entry of GROUP_LIST. */
const struct lt_wire_group_entry *
member_listed(const char *group, uint32_t *count_out)
{
	const struct lt_wire_groups *r =
	    (const void *)member_client.reply.bytes;
	struct lt_wire_group req;

	memset(&req, 0, sizeof(req));
	(void)lt_bytes_field(req.group, sizeof(req.group), group);
	assert_int_equal(
	    play_call(&member_client, LT_OP_GROUP_LIST, &req, sizeof(req)),
	    LEAT_OK);
	if (count_out != NULL)
		*count_out = r->count;
	return (const void *)(r + 1);
}

int64_t
member_progress_of(const char *group)
{
	return member_listed(group, NULL)->progress;
}

int
member_seek(const char *group, uint32_t from, int64_t value, uint32_t apply)
{
	struct lt_wire_seek req;

	memset(&req, 0, sizeof(req));
	req.from = from;
	req.value = value;
	req.apply = apply;
	(void)lt_bytes_field(req.group, sizeof(req.group), group);
	strcpy(req.topic, "t");
	return play_call(&member_client, LT_OP_GROUP_SEEK, &req, sizeof(req));
}

int
member_delete_group(const char *group)
{
	struct lt_wire_name req;

	memset(&req, 0, sizeof(req));
	(void)lt_bytes_field(req.name, sizeof(req.name), group);
	return play_call(&member_client, LT_OP_GROUP_DELETE, &req, sizeof(req));
}

void
member_restart_broker(void)
{
	play_close(&member_client);
	play_broker_kill();
	play_queue_start();
	play_store_start();
	assert_true(play_is_ready());
	member_connect_client(&member_client);
}

int
member_setup(void **state)
{
	play_init();
	play_queue_start();
	play_store_start();
	member_connect_client(&member_client);
	assert_int_equal(play_create(&member_client, "t", 2), LEAT_OK);
	return 0;
}

int
member_teardown(void **state)
{
	play_close(&member_client);
	play_fini();
	return 0;
}
