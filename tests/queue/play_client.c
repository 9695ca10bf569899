/* play_client.c - clients of the played world. See play.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdpass.h"
#include "play_world.h"

/* --- clients ------------------------------------------------------------- */

void
play_connect(struct play_client *c)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memset(c, 0, sizeof(*c));
	c->lane_fd = c->page_fd = -1;
	snprintf(
	    addr.sun_path, sizeof(addr.sun_path), "%s/sock", play_world.dir);
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(c->fd >= 0);
	assert_int_equal(
	    connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	play_pump();
}

void
play_connect_as(struct play_client *c, uint32_t uid)
{
	struct lt_conn *conn;

	play_connect(c);
	conn = LIST_FIRST(&play_manager()->conns);
	conn->peer.uid = uid;
	conn->peer.gid_count = 0;
	if (!lt_grants_may_connect(play_manager(), &conn->peer))
		conn->refusal = LEAT_E_DENIED;
}

void
play_close(struct play_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->lane_fd >= 0)
		close(c->lane_fd);
	if (c->page_fd >= 0)
		close(c->page_fd);
	c->fd = c->lane_fd = c->page_fd = -1;
	play_drop_msg(&c->reply);
	play_drop_msg(&c->event);
	if (play_world.sup >= 0)
		play_pump();
}

void
play_post(struct play_client *c, enum lt_op op, void *request, size_t bytes)
{
	size_t fixed = lt_wire_op_row(op)->request_bytes;

	lt_wire_init(request, op, fixed, bytes - fixed, ++c->tag);
	(void)!lt_fdpass_send(c->fd, request, bytes, NULL, 0);
}

int
play_receive(struct play_client *c)
{
	static struct play_msg in;
	const struct lt_wire *h = (const void *)in.bytes;
	int is_reply, status;

	play_pump();
	while ((status = lt_fdpass_recv(c->fd, in.bytes, sizeof(in.bytes),
		    &in.size, in.fds, &in.fd_count, MSG_DONTWAIT)) == LEAT_OK) {
		assert_int_equal(
		    lt_wire_check(in.bytes, in.size, 'Q', 'C', &is_reply),
		    LEAT_OK);
		struct play_msg *to = is_reply ? &c->reply : &c->event;
		play_drop_msg(to);
		*to = in;
		if (!is_reply)
			c->events[h->op]++;
		else if (h->tag == c->tag)
			return 1;
	}
	return status == LEAT_E_AGAIN ? 0 : -1000;
}

int
play_call(struct play_client *c, enum lt_op op, void *request, size_t bytes)
{
	int got;

	play_post(c, op, request, bytes);
	got = play_receive(c);
	if (got != 1)
		return got == 0 ? -1001 : got;
	return ((const struct lt_wire *)c->reply.bytes)->status;
}

static int
hello(struct play_client *c, const struct play_client *old)
{
	const struct lt_wire_welcome *reply = (const void *)c->reply.bytes;
	struct lt_wire_hello req;
	int status;

	memset(&req, 0, sizeof(req));
	if (old != NULL) {
		req.session = old->session;
		req.boot = old->boot;
		memcpy(req.token, old->token, sizeof(req.token));
	}
	strcpy(req.name, "test");
	req.lane_bytes = LT_LANE_MIN;
	status = play_call(c, LT_OP_HELLO, &req, sizeof(req));
	if (status != LEAT_OK)
		return status;
	assert_int_equal(c->reply.fd_count, 5);
	c->session = reply->session;
	c->boot = reply->boot;
	c->store_gen = reply->store_gen;
	memcpy(c->token, reply->token, sizeof(c->token));
	c->lane_fd = c->reply.fds[0];
	c->page_fd = c->reply.fds[1];
	c->reply.fds[0] = c->reply.fds[1] = -1;
	return LEAT_OK;
}

int
play_hello(struct play_client *c)
{
	return hello(c, NULL);
}
int
play_resume(struct play_client *c, const struct play_client *old)
{
	return hello(c, old);
}

int
play_open(struct play_client *c, const char *topic, uint32_t rights)
{
	struct lt_wire_topic_open req;

	memset(&req, 0, sizeof(req));
	req.rights = rights;
	assert_int_equal(lt_bytes_field(req.name, sizeof(req.name), topic), 0);
	return play_call(c, LT_OP_TOPIC_OPEN, &req, sizeof(req));
}

int
play_create(struct play_client *c, const char *topic, uint32_t queues)
{
	struct lt_wire_topic req;

	memset(&req, 0, sizeof(req));
	req.read_queues = req.write_queues = queues;
	assert_int_equal(lt_bytes_field(req.name, sizeof(req.name), topic), 0);
	return play_call(c, LT_OP_TOPIC_CREATE, &req, sizeof(req));
}

static int
take_sub(struct play_client *c, struct play_sub *sub)
{
	const struct lt_wire_subscribed *r = (const void *)c->reply.bytes;
	struct stat st;
	size_t at = 0;

	memset(sub, 0, sizeof(*sub));
	sub->id = r->id;
	sub->topic_id = r->topic_id;
	sub->owner = r->owner;
	sub->offset = r->offset;
	sub->min_offset = r->min_offset;
	sub->max_offset = r->max_offset;
	sub->has_ring = (int)r->has_ring;
	sub->has_table = (int)r->has_table;
	assert_int_equal(c->reply.fd_count, r->has_ring + r->has_table);
	if (r->has_ring) {
		/* Sealed: nobody maps it writable. */
		assert_int_not_equal(
		    lt_segment_attach(&sub->ring_seg, c->reply.fds[at],
			LT_SEGMENT_RING, 1, 1),
		    LEAT_OK);
		assert_int_equal(lt_segment_attach(&sub->ring_seg,
				     c->reply.fds[at++], LT_SEGMENT_RING, 0, 1),
		    LEAT_OK);
	}
	if (r->has_table) {
		assert_int_equal(fstat(c->reply.fds[at], &st), 0);
		sub->table_inode = st.st_ino;
		assert_int_equal(lt_segment_attach(&sub->table_seg,
				     c->reply.fds[at], LT_SEGMENT_TABLE, 1, 1),
		    LEAT_OK);
		assert_int_equal(
		    lt_table_init(&sub->table, &sub->table_seg), LEAT_OK);
	}
	return LEAT_OK;
}

static int
subscribe(struct play_client *c, struct play_sub *sub,
    struct lt_wire_subscribe *req, const char *topic, const char *group,
    const char *member)
{
	int status;

	assert_int_equal(
	    lt_bytes_field(req->topic, sizeof(req->topic), topic), 0);
	assert_int_equal(
	    lt_bytes_field(req->group, sizeof(req->group), group), 0);
	assert_int_equal(
	    lt_bytes_field(req->member, sizeof(req->member), member), 0);
	status = play_call(c, LT_OP_SUBSCRIBE, req, sizeof(*req));
	memset(sub, 0, sizeof(*sub));
	return status == LEAT_OK ? take_sub(c, sub) : status;
}

int
play_subscribe(struct play_client *c, struct play_sub *sub, const char *topic,
    uint32_t queue, const char *group, uint32_t mode, const char *member,
    uint32_t from, int64_t value)
{
	struct lt_wire_subscribe req = {
	    .queue = queue, .mode = mode, .from = from, .value = value};

	return subscribe(c, sub, &req, topic, group, member);
}

int
play_resubscribe(struct play_client *c, struct play_sub *sub, const char *topic,
    uint32_t queue, const char *group, uint32_t mode, int64_t position,
    uint64_t old_id)
{
	struct lt_wire_subscribe req = {.queue = queue,
	    .mode = mode,
	    .from = LEAT_FROM_OFFSET,
	    .value = position,
	    .resume = 1,
	    .old_id = old_id};

	play_sub_fini(sub);
	return subscribe(c, sub, &req, topic, group, "");
}

void
play_sub_fini(struct play_sub *sub)
{
	lt_segment_detach(&sub->ring_seg);
	lt_segment_detach(&sub->table_seg);
}

int
play_unsubscribe(struct play_client *c, uint64_t id)
{
	struct lt_wire_number req;

	memset(&req, 0, sizeof(req));
	req.number = id;
	return play_call(c, LT_OP_UNSUBSCRIBE, &req, sizeof(req));
}

void
play_give_process(uint64_t session)
{
	struct lt_session *s = lt_session_find(play_manager(), session);
	int fd;

	play_world.child = fork();
	assert_true(play_world.child >= 0);
	if (play_world.child == 0) {
		pause();
		_exit(0);
	}
	fd = (int)syscall(SYS_pidfd_open, play_world.child, 0);
	assert_true(fd >= 0);
	assert_int_equal(lt_session_rewatch(s, fd), LEAT_OK);
	close(fd);
	lt_session_keep(s);
	play_pump();
}

void
play_kill_process(void)
{
	struct pollfd p;

	/* Its end may be seen before it is waited for. */
	p.fd = (int)syscall(SYS_pidfd_open, play_world.child, 0);
	p.events = POLLIN;
	kill(play_world.child, SIGKILL);
	assert_int_equal(poll(&p, 1, 10000), 1);
	close(p.fd);
	assert_int_equal(waitpid(play_world.child, NULL, 0), play_world.child);
	play_pump();
}
