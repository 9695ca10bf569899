/*
 * session_test.c - HELLO, resume, death and what the supervisor keeps; the
 * store's and the queue manager's death under connected clients.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/doorbell.h"
#include "shm/lane.h"
#include "play.h"

static int
setup(void **state)
{
	play_init();
	return 0;
}

static int
teardown(void **state)
{
	play_fini();
	return 0;
}

static void
start(void)
{
	play_queue_start();
	play_store_start();
	assert_true(play_is_ready());
}

static uint64_t
inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static int
ping(struct play_client *c)
{
	struct lt_wire_none req;

	return play_call(c, LT_OP_PING, &req, sizeof(req));
}

static void
clients_wait_for_the_store(void **state)
{
	struct play_client c;
	struct lt_wire_hello req;

	play_queue_start();
	assert_false(play_is_ready());
	play_connect(&c); /* the listener's backlog holds it */
	memset(&req, 0, sizeof(req));
	play_post(&c, LT_OP_HELLO, &req, sizeof(req));
	assert_int_equal(play_receive(&c), 0);
	play_store_start();
	assert_true(play_is_ready());
	assert_int_equal(play_receive(&c), 1);
	assert_int_equal(
	    ((const struct lt_wire *)c.reply.bytes)->status, LEAT_OK);
	play_close(&c);
}

static void
hello_gives_what_was_agreed(void **state)
{
	struct play_client c;
	struct lt_segment seg;
	const struct lt_wire_welcome *reply;
	void *p;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	reply = (const void *)c.reply.bytes;
	assert_int_equal(reply->next_seq, 1);
	assert_int_equal(reply->lane_bytes, LT_LANE_MIN);
	assert_true(play_is_attached(c.session));
	assert_int_equal(play_kept(LT_KEEP_SESSION), 1);
	assert_int_equal(play_kept(LT_KEEP_PAGE), 1);
	/* The lane can be written but not resized, the page only read. */
	assert_int_equal(
	    lt_segment_attach(&seg, c.lane_fd, LT_SEGMENT_LANE, 1, 1), LEAT_OK);
	lt_segment_detach(&seg);
	assert_int_equal(ftruncate(c.lane_fd, 4096), -1);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, c.page_fd, 0);
	assert_ptr_equal(p, MAP_FAILED);
	assert_int_equal(write(c.page_fd, "x", 1), -1);
	assert_int_equal(
	    lt_segment_attach(&seg, c.page_fd, LT_SEGMENT_PAGE, 0, 1), LEAT_OK);
	lt_segment_detach(&seg);
	/* Beacon too. */
	p = mmap(
	    NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, c.reply.fds[2], 0);
	assert_ptr_equal(p, MAP_FAILED);
	assert_int_equal(ping(&c), LEAT_OK);
	play_close(&c);
}

static void
malformed_messages_cost_the_connection_only(void **state)
{
	struct play_client good, bad;
	struct lt_wire_none req;
	struct lt_wire raw;

	start();
	play_connect(&good);
	assert_int_equal(play_hello(&good), LEAT_OK);
	/* A request before HELLO. */
	play_connect(&bad);
	assert_int_equal(
	    play_call(&bad, LT_OP_STATUS, &req, sizeof(req)), -1000);
	play_close(&bad);
	/* What only the store may say. */
	play_connect(&bad);
	assert_int_equal(play_hello(&bad), LEAT_OK);
	assert_int_equal(
	    play_call(&bad, LT_OP_E_ROLLED, &req, sizeof(req)), -1000);
	play_close(&bad);
	/* Too short for what it says it is. */
	play_connect(&bad);
	assert_int_equal(
	    play_call(&bad, LT_OP_SUBSCRIBE, &raw, sizeof(raw)), -1000);
	play_close(&bad);
	assert_int_equal(ping(&good), LEAT_OK);
	play_close(&good);
}

static void
strangers_are_refused(void **state)
{
	struct play_client c;
	struct lt_wire_hello req;

	play_options.access_count = 0;
	start();
	play_connect_as(&c, 4242);
	memset(&req, 0, sizeof(req));
	assert_int_equal(
	    play_call(&c, LT_OP_HELLO, &req, sizeof(req)), LEAT_E_DENIED);
	assert_int_equal(play_receive(&c), -1000);
	play_close(&c);
}

static void
sessions_are_limited(void **state)
{
	struct play_client a, b;

	play_options.queue_sessions_max = 1;
	start();
	play_connect(&a);
	play_connect(&b);
	assert_int_equal(play_hello(&a), LEAT_OK);
	assert_int_equal(play_hello(&b), LEAT_E_LIMIT);
	play_close(&a);
	play_close(&b);
}

static void
bye_drains_and_drops(void **state)
{
	struct play_client c;
	struct lt_wire_none req;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	assert_int_equal(play_call(&c, LT_OP_BYE, &req, sizeof(req)), LEAT_OK);
	play_pump();
	assert_false(play_is_attached(c.session));
	assert_int_equal(play_kept(LT_KEEP_SESSION), 0);
	assert_int_equal(play_kept(LT_KEEP_PAGE), 0);
	play_close(&c);
}

static void
death_of_the_process_ends_it_at_once(void **state)
{
	struct play_client c;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	play_give_process(c.session);
	assert_true(play_is_attached(c.session));
	play_kill_process();
	assert_false(play_is_attached(c.session));
	assert_int_equal(play_kept(LT_KEEP_SESSION), 0);
	assert_int_equal(play_receive(&c), -1000);
	assert_int_equal(c.events[LT_OP_EV_CLOSED], 1);
	play_close(&c);
}

static void
a_lost_connection_has_grace(void **state)
{
	struct play_client c, again;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	uint64_t lane = inode(c.lane_fd);
	struct play_client old = c;
	play_close(&c);
	play_pass(play_options.queue_session_grace_ms - 500);
	assert_true(play_is_attached(old.session));
	play_connect(&again);
	assert_int_equal(play_resume(&again, &old), LEAT_OK);
	assert_int_equal(again.session, old.session);
	assert_int_equal(inode(again.lane_fd), lane);
	play_close(&again);
	play_pass(play_options.queue_session_grace_ms + 500);
	assert_false(play_is_attached(old.session));
	assert_int_equal(play_kept(LT_KEEP_SESSION), 0);
}

static void
a_token_is_needed_to_resume(void **state)
{
	struct play_client c, thief;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	struct play_client forged = c;
	forged.token[3] ^= 1;
	play_connect(&thief);
	assert_int_equal(play_resume(&thief, &forged), LEAT_E_DENIED);
	/* Nor is another user's connection let in with the right one. */
	play_close(&thief);
	play_options.access_count = 0;
	assert_int_equal(ping(&c), LEAT_OK);
	play_close(&c);
}

static void
store_death_gives_new_pages(void **state)
{
	struct play_client c;
	struct lt_wire_none req;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	uint64_t page = inode(c.page_fd);
	play_store_kill();
	play_pump();
	/* Needs no store: served. */
	assert_int_equal(
	    play_call(&c, LT_OP_STATUS, &req, sizeof(req)), LEAT_OK);
	/* Needs it: waits until it is back. */
	play_post(&c, LT_OP_PING, &req, sizeof(req));
	assert_int_equal(play_receive(&c), 0);
	play_store_start();
	assert_int_equal(play_receive(&c), 1);
	assert_int_equal(c.events[LT_OP_EV_PAGE], 1);
	assert_int_equal(c.event.fd_count, 2);
	assert_int_not_equal(inode(c.event.fds[0]), page);
	assert_int_equal(((struct lt_wire_page *)c.event.bytes)->store_gen, 2);
	assert_true(play_is_attached(c.session));
	assert_int_equal(play_kept(LT_KEEP_PAGE), 1);
	play_close(&c);
}

/* Between the request and its answer. */
static void
store_death_during_hello(void **state)
{
	struct play_client c;
	struct lt_wire_hello req;

	start();
	play_connect(&c);
	memset(&req, 0, sizeof(req));
	play_store_mute(1);
	play_post(&c, LT_OP_HELLO, &req, sizeof(req));
	assert_int_equal(play_receive(&c), 0);
	play_store_kill();
	play_store_mute(0);
	play_store_start();
	assert_int_equal(play_receive(&c), 1);
	assert_int_equal(
	    ((const struct lt_wire *)c.reply.bytes)->status, LEAT_OK);
	assert_int_equal(play_kept(LT_KEEP_SESSION), 1);
	play_close(&c);
}

static void
queue_death_keeps_sessions(void **state)
{
	struct play_client c, again;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	assert_int_equal(play_create(&c, "orders", 2), LEAT_OK);
	assert_int_equal(play_open(&c, "orders", LT_RIGHT_PUBLISH), LEAT_OK);
	uint32_t id = ((struct lt_wire_topic *)c.reply.bytes)->id;
	uint64_t lane = inode(c.lane_fd), page = inode(c.page_fd);
	play_queue_kill();
	play_queue_start();
	assert_true(play_is_ready());
	/* The store goes on with what it has, and still grants the topic. */
	assert_true(play_is_attached(c.session));
	assert_true(play_is_granted(c.session, id));
	assert_int_equal(play_receive(&c), -1000);
	play_connect(&again);
	assert_int_equal(play_resume(&again, &c), LEAT_OK);
	assert_int_equal(inode(again.lane_fd), lane);
	assert_int_equal(inode(again.page_fd), page);
	assert_int_equal(again.session, c.session);
	play_close(&c);
	play_close(&again);
}

static void
both_die(void **state)
{
	struct play_client c, again;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	uint64_t lane = inode(c.lane_fd), page = inode(c.page_fd);
	play_store_kill();
	play_queue_kill();
	play_queue_start();
	assert_false(play_is_ready());
	play_store_start();
	assert_true(play_is_ready());
	play_connect(&again);
	assert_int_equal(play_resume(&again, &c), LEAT_OK);
	assert_int_equal(inode(again.lane_fd), lane);
	assert_int_not_equal(inode(again.page_fd), page);
	play_close(&c);
	play_close(&again);
}

/* After the whole broker: same identity, new lane. */
static void
a_new_boot_knows_the_token(void **state)
{
	struct play_client c, again;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	uint64_t lane = inode(c.lane_fd);
	play_broker_kill();
	start();
	play_connect(&again);
	assert_int_equal(play_resume(&again, &c), LEAT_OK);
	assert_int_equal(again.session, c.session);
	assert_int_not_equal(again.boot, c.boot);
	assert_int_not_equal(inode(again.lane_fd), lane);
	play_close(&c);
	play_close(&again);
}

static void
a_dead_client_is_found_after_our_own_death(void **state)
{
	struct play_client c;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	play_give_process(c.session);
	play_queue_kill();
	play_kill_process();
	play_queue_start();
	play_pump();
	assert_false(play_is_attached(c.session));
	assert_int_equal(play_kept(LT_KEEP_SESSION), 0);
	play_close(&c);
}

/* Whoever asks is told when nothing of those who died can come any more. */
static void
settled_when_the_lanes_of_the_dead_are_empty(void **state)
{
	struct play_client dead, c;
	struct lt_wire_none req;

	start();
	play_connect(&dead);
	assert_int_equal(play_hello(&dead), LEAT_OK);
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	assert_int_equal(
	    play_call(&c, LT_OP_SETTLED, &req, sizeof(req)), LEAT_OK);
	play_give_process(dead.session);
	play_store_mute(1);
	play_kill_process();
	play_post(&c, LT_OP_SETTLED, &req, sizeof(req));
	assert_int_equal(play_receive(&c), 0);
	/* A store that dies has not said so. */
	play_store_kill();
	play_store_mute(0);
	assert_int_equal(play_receive(&c), 0);
	play_store_start();
	assert_int_equal(play_receive(&c), 1);
	assert_int_equal(
	    ((const struct lt_wire *)c.reply.bytes)->status, LEAT_OK);
	assert_false(play_is_attached(dead.session));
	play_close(&dead);
	play_close(&c);
}

static void
a_lane_is_replaced_by_a_larger_one(void **state)
{
	struct play_client c, again;
	struct lt_wire_number req;
	struct lt_segment seg;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	memset(&req, 0, sizeof(req));
	req.number = LT_LANE_MIN * 3;
	assert_int_equal(play_call(&c, LT_OP_LANE, &req, sizeof(req)), LEAT_OK);
	assert_int_equal(c.reply.fd_count, 1);
	assert_int_equal(
	    lt_segment_attach(&seg, c.reply.fds[0], LT_SEGMENT_LANE, 1, 1),
	    LEAT_OK);
	assert_int_equal(seg.head.data_bytes, LT_LANE_MIN * 4);
	lt_segment_detach(&seg);
	uint64_t lane = inode(c.reply.fds[0]);
	/* It is the new one that is kept. */
	play_queue_kill();
	play_queue_start();
	play_connect(&again);
	assert_int_equal(play_resume(&again, &c), LEAT_OK);
	assert_int_equal(inode(again.lane_fd), lane);
	req.number = LT_LANE_MIN;
	assert_int_equal(
	    play_call(&again, LT_OP_LANE, &req, sizeof(req)), LEAT_E_INVALID);
	play_close(&c);
	play_close(&again);
}

static void
a_forged_lane_ends_its_session(void **state)
{
	struct play_client c;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	play_forged(c.session);
	assert_int_equal(play_receive(&c), -1000);
	assert_int_equal(c.events[LT_OP_EV_CLOSED], 1);
	assert_int_equal(
	    ((struct lt_wire *)c.event.bytes)->status, LEAT_E_CORRUPT);
	assert_false(play_is_attached(c.session));
	play_close(&c);
}

/* A client that sends but never reads: others are served, it is closed. */
static void
a_client_that_does_not_read_blocks_nobody(void **state)
{
	struct play_client deaf, c;
	struct lt_wire_none req;
	struct lt_conn *conn;
	unsigned sent = 0;
	int closed = 0;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	play_connect(&deaf);
	assert_int_equal(play_hello(&deaf), LEAT_OK);
	while (sent++ < 100000 && !closed) {
		play_post(&deaf, LT_OP_STATUS, &req, sizeof(req));
		play_pump();
		closed = 1;
		LIST_FOREACH(conn, &play_manager()->conns, link)
		if (conn->session != NULL && conn->session->id == deaf.session)
			closed = 0;
	}
	assert_true(closed);
	assert_int_equal(ping(&c), LEAT_OK);
	play_close(&deaf);
	play_close(&c);
}

/* Requests beyond the bound wait in the client's own socket. */
static void
requests_in_progress_are_bounded(void **state)
{
	struct play_client c;
	struct lt_wire_none req;

	start();
	play_connect(&c);
	assert_int_equal(play_hello(&c), LEAT_OK);
	play_store_mute(1);
	for (int i = 0; i < LT_JOBS_MAX * 3; i++)
		play_post(&c, LT_OP_PING, &req, sizeof(req));
	play_pump();
	assert_int_equal(
	    LIST_FIRST(&play_manager()->conns)->job_count, LT_JOBS_MAX);
	play_store_mute(0);
	assert_int_equal(play_receive(&c), 1); /* the last one's answer */
	assert_int_equal(LIST_FIRST(&play_manager()->conns)->job_count, 0);
	play_close(&c);
}

static void
silent_connections_are_closed(void **state)
{
	struct play_client c;

	start();
	play_connect(&c);
	play_pass(LT_HELLO_MS + 1000);
	assert_int_equal(play_receive(&c), -1000);
	play_close(&c);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(clients_wait_for_the_store),
	    TEST(hello_gives_what_was_agreed),
	    TEST(malformed_messages_cost_the_connection_only),
	    TEST(strangers_are_refused),
	    TEST(sessions_are_limited),
	    TEST(bye_drains_and_drops),
	    TEST(death_of_the_process_ends_it_at_once),
	    TEST(a_lost_connection_has_grace),
	    TEST(a_token_is_needed_to_resume),
	    TEST(store_death_gives_new_pages),
	    TEST(store_death_during_hello),
	    TEST(queue_death_keeps_sessions),
	    TEST(both_die),
	    TEST(a_new_boot_knows_the_token),
	    TEST(a_dead_client_is_found_after_our_own_death),
	    TEST(settled_when_the_lanes_of_the_dead_are_empty),
	    TEST(a_lane_is_replaced_by_a_larger_one),
	    TEST(a_forged_lane_ends_its_session),
	    TEST(a_client_that_does_not_read_blocks_nobody),
	    TEST(requests_in_progress_are_bounded),
	    TEST(silent_connections_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
