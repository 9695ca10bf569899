/*
 * storelink.c - requests to leat-store and their answers, matched by tag. When
 * the store dies every unanswered request ends with UNREACHABLE; jobs are
 * parked and start over once it is back. A message the store has no right to
 * send means that one of us is the wrong version: fatal.
 */
#include "config.h"
#include "queue/queue.h"

#include <poll.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/consumequeue.h"

struct call {
	uint32_t tag;
	lt_storelink_done *done;
	uint64_t number;
	void *user;
};

/* A range call remembers its queue, so that its answer is noted even if the
 * job behind it has gone. */
struct sync_call {
	uint32_t topic;
	uint32_t queue;
	struct lt_job *job;
	lt_storelink_done *then; /* NULL: a phase waits for it, or the job */
	uint64_t number;
	char name[LT_NAME_FIELD];
};

static void
end_call(
    struct lt_manager *m, struct call *call, int status, struct lt_wire *reply)
{
	lt_storelink_done *done = call->done;
	uint64_t number = call->number;
	void *user = call->user;

	(void)lt_hash_del(&m->calls, &call->tag, sizeof(call->tag));
	lt_mem_free(call);
	done(m, number, user, status, status == LEAT_OK ? reply : NULL);
}

/* Before anybody relies on it: entries that are not in the files, or none. */
static void
note_lent(struct lt_manager *m, const struct call *call,
    const struct lt_wire *msg, int *fd)
{
	const struct lt_wire_range *r = (const void *)msg;
	const struct sync_call *sync = call->user;
	int lent = -1;

	if (msg->bytes < sizeof(*r) || r->max_offset < r->min_offset)
		return;
	if (fd != NULL) {
		lent = *fd;
		*fd = -1; /* the port closes what is left */
	}
	if (lt_cq_view_lent(m->view, sync->name, sync->queue, r->min_offset,
		(size_t)(r->max_offset - r->min_offset), lent) != LEAT_OK)
		lt_manager_fatal("out of memory");
}

static void
store_message(struct lt_port *port, struct lt_wire *msg, size_t bytes, int *fds,
    size_t fd_count)
{
	struct lt_manager *m = port->m;
	int is_reply;
	struct call *call;

	if (lt_wire_check(msg, bytes, 'S', 'Q', &is_reply) != LEAT_OK)
		lt_manager_fatal("malformed message from the store");
	if (!is_reply) {
		lt_manager_store_event(m, msg, fds, fd_count);
		return;
	}
	call = lt_hash_get(&m->calls, &msg->tag, sizeof(msg->tag));
	if (call == NULL)
		return;
	if (msg->op == LT_OP_S_QUEUE_SYNC && msg->status == LEAT_OK)
		note_lent(m, call, msg, fd_count > 0 ? &fds[0] : NULL);
	end_call(m, call, msg->status, msg);
}

static void
store_hangup(struct lt_port *port)
{
	struct lt_manager *m = port->m;

	lt_log_warn(
	    "store-gone", "store_gen=%llu", (unsigned long long)m->store_gen);
	lt_storelink_close(m);
}

int
lt_storelink_open(struct lt_manager *m, int fd)
{
	lt_storelink_close(m);
	m->store.limit_bytes = LT_SIBLING_OUT;
	m->store.message = store_message;
	m->store.hangup = store_hangup;
	return lt_port_open(m, &m->store, fd);
}

void
lt_storelink_close(struct lt_manager *m)
{
	struct call *call;
	size_t cursor = 0;

	if (m->store.source.fd >= 0) {
		lt_port_close(&m->store);
		lt_manager_store_gone(m);
	}
	/* Callbacks make no new calls: the phase says there is no store. */
	while ((call = lt_hash_next(&m->calls, &cursor)) != NULL)
		end_call(m, call, LEAT_E_UNREACHABLE, NULL);
}

static void
put(struct lt_manager *m, void *msg, size_t bytes, const int *fds,
    size_t fd_count)
{
	/* A store that is gone is noticed by its hang-up, not here. */
	if (lt_port_send(&m->store, msg, bytes, fds, fd_count) == LEAT_E_LIMIT)
		lt_manager_fatal("store does not take messages");
}

void
lt_storelink_send(struct lt_manager *m, void *msg, size_t bytes)
{
	put(m, msg, bytes, NULL, 0);
}

void
lt_storelink_call(struct lt_manager *m, void *msg, size_t bytes, const int *fds,
    size_t fd_count, lt_storelink_done *done, uint64_t number, void *user)
{
	struct lt_wire *h = msg;
	struct call *call = lt_mem_alloc(sizeof(*call));

	if (call == NULL)
		lt_manager_fatal("out of memory");
	if (++m->next_tag == 0)
		m->next_tag = 1;
	*call = (struct call){
	    .tag = m->next_tag, .done = done, .number = number, .user = user};
	h->tag = call->tag;
	if (lt_hash_put(&m->calls, &call->tag, sizeof(call->tag), call) !=
	    LEAT_OK)
		lt_manager_fatal("out of memory");
	put(m, msg, bytes, fds, fd_count);
}

/* One answer for a job. */
static void
job_answer(struct lt_job *job, int status, const struct lt_wire *reply)
{
	LT_ASSERT(job->calls > 0);
	job->calls--;
	if (status != LEAT_OK && job->status != LEAT_E_UNREACHABLE)
		job->status = status;
	if (reply != NULL && reply->bytes >= sizeof(struct lt_wire_range) &&
	    (reply->op == LT_OP_S_QUEUE_SYNC || reply->op == LT_OP_S_RING)) {
		const struct lt_wire_range *r = (const void *)reply;

		job->min = r->min_offset;
		job->max = r->max_offset;
	}
	if (job->calls > 0)
		return;
	if (job->status == LEAT_E_UNREACHABLE) {
		lt_job_restart(job);
		return;
	}
	lt_job_run(job);
}

static void
job_done(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	job_answer(user, status, reply);
}

void
lt_storelink_job_fds(struct lt_job *job, void *msg, size_t bytes,
    const int *fds, size_t fd_count)
{
	if (job->calls++ == 0)
		job->status = LEAT_OK;
	lt_storelink_call(job->m, msg, bytes, fds, fd_count, job_done, 0, job);
}

void
lt_storelink_job(struct lt_job *job, void *msg, size_t bytes)
{
	lt_storelink_job_fds(job, msg, bytes, NULL, 0);
}

static void
sync_done(struct lt_manager *m, uint64_t number, void *user, int status,
    const struct lt_wire *reply)
{
	struct sync_call *call = user;
	struct lt_job *job = call->job;
	lt_storelink_done *then = call->then;

	number = call->number;

	if (reply != NULL) {
		const struct lt_wire_range *r = (const void *)reply;
		struct lt_qref *q = lt_ringset_get(m, call->topic, call->queue);

		if (q != NULL && r->max_offset > q->max)
			q->max = r->max_offset;
		if (q != NULL && r->max_offset > q->synced)
			q->synced = r->max_offset;
	}
	lt_mem_free(call);
	if (then != NULL)
		then(m, number, NULL, status, reply);
	else if (job != NULL)
		job_answer(job, status, reply);
	else
		lt_manager_settled(m);
}

static void
sync_queue(struct lt_manager *m, const char *name, const struct sync_call *of)
{
	struct lt_wire_queue msg;
	struct sync_call *call = lt_mem_alloc(sizeof(*call));

	if (call == NULL)
		lt_manager_fatal("out of memory");
	*call = *of;
	(void)lt_bytes_field(call->name, sizeof(call->name), name);
	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_QUEUE_SYNC, sizeof(msg), 0, 0);
	msg.topic = call->topic;
	msg.queue = call->queue;
	(void)lt_bytes_field(msg.name, sizeof(msg.name), name);
	lt_storelink_call(m, &msg, sizeof(msg), NULL, 0, sync_done, 0, call);
}

void
lt_storelink_sync(struct lt_manager *m, uint32_t topic, uint32_t queue,
    const char *name, struct lt_job *job)
{
	struct sync_call call = {.topic = topic, .queue = queue, .job = job};

	if (job != NULL && job->calls++ == 0)
		job->status = LEAT_OK;
	sync_queue(m, name, &call);
}

void
lt_storelink_range(struct lt_manager *m, const struct lt_topic *topic,
    uint32_t queue, lt_storelink_done *then, uint64_t number)
{
	struct sync_call call = {
	    .topic = topic->id, .queue = queue, .then = then, .number = number};

	sync_queue(m, topic->name, &call);
}

int
lt_storelink_alive(const struct lt_manager *m)
{
	struct pollfd p = {.fd = m->store.source.fd};

	return p.fd >= 0 && poll(&p, 1, 0) >= 0 &&
	       (p.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0;
}

void
lt_storelink_wake(struct lt_manager *m, uint64_t session)
{
	struct lt_wire_number msg;

	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, LT_OP_S_WAKE, sizeof(msg), 0, 0);
	msg.number = session;
	lt_storelink_send(m, &msg, sizeof(msg));
}
