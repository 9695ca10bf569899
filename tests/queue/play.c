/*
 * play.c - see play.h. The program is included whole, so that its start, its
 * phases and its stop are what is tested; only main's loop is played.
 */
int leat_queue_main(void);
#define main leat_queue_main
#include "queue/queue_main.c"
#undef main

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fdpass.h"
#include "play_world.h"
#include "queue/schedule.h"

struct lt_options play_options;
uint64_t play_now_ms;
struct play_world play_world;

static uint64_t
fake_mono_ns(void)
{
	return play_now_ms * 1000000;
}

/* --- the played supervisor ----------------------------------------------- */

static void
kept_close(struct play_kept *k)
{
	for (size_t i = 0; i < k->fd_count; i++)
		close(k->fds[i]);
	k->fd_count = 0;
}

static void
sup_keep(int put)
{
	const struct lt_wire_keep *keep = (const void *)play_world.in.bytes;
	struct play_kept *k;
	size_t i;

	for (i = 0; i < play_world.kept_count; i++)
		if (play_world.kept[i].keep.kind == keep->kind &&
		    play_world.kept[i].keep.id == keep->id)
			break;
	if (!put && i == play_world.kept_count)
		return;
	k = &play_world.kept[i];
	assert_true(i < KEPTS);
	if (i < play_world.kept_count)
		kept_close(k);
	else
		play_world.kept_count++;
	if (!put) {
		*k = play_world.kept[--play_world.kept_count];
		return;
	}
	k->keep = *keep;
	k->fd_count = play_world.in.fd_count;
	memcpy(k->fds, play_world.in.fds, sizeof(k->fds));
	play_world.in.fd_count = 0;
}

static int
sup_pump(void)
{
	const struct lt_wire *h = (const void *)play_world.in.bytes;
	int is_reply, n = 0;

	while (play_world.sup >= 0 &&
	       play_take(play_world.sup, &play_world.in) == LEAT_OK) {
		assert_int_equal(lt_wire_check(play_world.in.bytes,
				     play_world.in.size, 'Q', 'U', &is_reply),
		    LEAT_OK);
		n++;
		if (h->op == LT_OP_SUP_READY)
			play_world.ready = 1;
		else
			sup_keep(h->op == LT_OP_SUP_KEEP);
	}
	return n;
}

static void
pair(int fds[2])
{
	int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;

	assert_int_equal(socketpair(AF_UNIX, type, 0, fds), 0);
}

void
play_queue_start(void)
{
	struct lt_manager *m = &manager;
	struct lt_wire_start start;
	int control[2], peer[2], fds[4];

	memset(m, 0, sizeof(*m));
	pair(control);
	pair(peer);
	play_world.sup = fcntl(control[0], F_DUPFD_CLOEXEC, 10);
	close(control[0]);
	if (control[1] != SUPERVISOR_FD) {
		assert_int_equal(
		    dup2(control[1], SUPERVISOR_FD), SUPERVISOR_FD);
		close(control[1]);
	}
	play_world.ready = 0;
	play_world.frozen = 0;
	play_world.generation++;
	play_index_forget();
	init(m);
	/* Backwards: nothing may rely on an order. */
	for (size_t i = play_world.kept_count; i-- > 0;) {
		struct lt_wire_keep keep = play_world.kept[i].keep;

		lt_wire_init(&keep.h, LT_OP_SUP_KEPT, sizeof(keep), 0, 0);
		assert_int_equal(
		    lt_fdpass_send(play_world.sup, &keep, sizeof(keep),
			play_world.kept[i].fds, play_world.kept[i].fd_count),
		    LEAT_OK);
		lt_loop_round(m, 0);
	}
	memset(&start, 0, sizeof(start));
	lt_wire_init(&start.h, LT_OP_SUP_START, sizeof(start), 0, 0);
	start.boot = play_world.boot;
	start.generation = play_world.generation;
	start.store_gen = play_world.store_gen;
	start.options = play_options;
	fds[0] = play_world.counter_fd;
	fds[1] = play_world.dir_fd;
	fds[2] = peer[0];
	fds[3] = play_world.listener;
	assert_int_equal(
	    lt_fdpass_send(play_world.sup, &start, sizeof(start), fds, 4),
	    LEAT_OK);
	close(peer[0]);
	if (play_world.store >= 0)
		close(play_world.store);
	play_world.store = peer[1]; /* the store's end, or kept for it */
	if (play_world.store_is_up) {
		memset(play_world.got, 0, sizeof(play_world.got));
		play_store_greet();
	} else if (play_world.store_gen > 0) {
		close(play_world.store);
		play_world.store = -1;
	}
	play_pump();
}

/* A process's end, as the kernel does it: descriptors close, that is all. */
void
play_queue_kill(void)
{
	struct lt_manager *m = &manager;
	struct lt_conn *conn, *next;

	/* What was sent is in the supervisor's socket. */
	sup_pump();
	lt_port_close(&m->store);
	m->phase = LT_PHASE_STORE;
	lt_storelink_close(m); /* ends calls, parks jobs */
	for (conn = LIST_FIRST(&m->conns); conn != NULL; conn = next) {
		next = LIST_NEXT(conn, link);
		lt_admit_close(conn);
	}
	struct lt_sub *sub;
	size_t cursor = 0;
	lt_port_close(&m->supervisor);
	while ((sub = lt_hash_next(&m->subs, &cursor)) != NULL)
		lt_mem_free(sub);
	for (size_t i = 0; i < m->progress_count; i++)
		if (m->progress[i] != NULL) {
			m->progress[i]->members = 0;
			if (m->progress[i]->claims != NULL) {
				LIST_INIT(&m->progress[i]->claims->subs);
				lt_group_claims_free(
				    m, m->progress[i]->claims, 1);
			}
		}
	lt_group_fini(m);
	lt_schedule_fini(m);
	struct lt_job *job;
	while ((job = TAILQ_FIRST(&m->store_waiting)) != NULL) {
		TAILQ_REMOVE(&m->store_waiting, job, wait_link);
		lt_mem_free(job->extra);
		lt_mem_free(job);
	}
	lt_session_fini(m);
	lt_ringset_fini(m);
	lt_topic_fini(m);
	lt_rulebook_destroy(m->grants);
	lt_audit_fini(m);
	lt_hash_fini(&m->calls);
	close(m->epoll_fd);
	close(m->dir_fd);
	if (m->store_fd >= 0)
		close(m->store_fd);
	if (m->beacon_fd >= 0)
		close(m->beacon_fd);
	close(m->counter_fd);
	close(m->listener.fd);
	lt_mem_free(m->removed);
	lt_mem_free(m->graves);
	lt_segment_detach(&m->counters);
	lt_counter_use(&play_world.counters);
	close(play_world.sup);
	play_world.sup = -1;
}

void
play_store_start(void)
{
	struct lt_wire_number peer;
	int ends[2];

	play_world.store_gen++;
	play_world.store_is_up = 1;
	memset(play_world.got, 0, sizeof(play_world.got));
	if (play_world.store_gen > 1 && play_world.sup >= 0) {
		pair(ends);
		memset(&peer, 0, sizeof(peer));
		lt_wire_init(&peer.h, LT_OP_SUP_PEER, sizeof(peer), 0, 0);
		assert_int_equal(lt_fdpass_send(play_world.sup, &peer,
				     sizeof(peer), &ends[0], 1),
		    LEAT_OK);
		close(ends[0]);
		play_world.store = ends[1];
	}
	play_store_greet();
	play_pump();
}

void
play_store_kill(void)
{
	close(play_world.store);
	play_world.store = -1;
	play_world.store_is_up = 0;
	close(play_world.beacon);
	play_world.beacon = -1;
	/* Its successor may wipe what is derived, and write it again. */
	for (size_t i = 0; i < play_world.queue_count; i++)
		play_world.queues[i]->flushed = 0;
	play_store_forget();
	for (size_t i = 0; i < play_world.queue_count; i++)
		lt_segment_detach(&play_world.queues[i]->ring);
}

void
play_broker_kill(void)
{
	play_store_kill();
	play_queue_kill();
	for (size_t i = 0; i < play_world.kept_count; i++)
		kept_close(&play_world.kept[i]);
	play_world.kept_count = 0;
	play_world.store_gen = 0;
	play_world.boot++;
}

/* --- pumping ------------------------------------------------------------- */

void
play_pump(void)
{
	struct lt_manager *m = &manager;
	int busy;

	do {
		busy = 0;
		if (play_world.sup >= 0 && !play_world.frozen) {
			housekeep(m, play_now_ms);
			lt_progress_timer(m, play_now_ms);
			lt_schedule_timer(m, play_now_ms);
			busy = lt_loop_round(m, 0) + lt_query_step(m);
		}
		busy += play_store_pump() + sup_pump();
	} while (busy);
}

void
play_pass(uint64_t ms)
{
	uint64_t until_ms = play_now_ms + ms;

	while (play_now_ms < until_ms) {
		uint64_t step = until_ms - play_now_ms;

		play_now_ms += step < 25 ? step : 25;
		play_pump();
	}
}

int
play_queue_stop(void)
{
	struct lt_wire_none stop;

	lt_wire_init(&stop.h, LT_OP_SUP_STOP, sizeof(stop), 0, 0);
	assert_int_equal(
	    lt_fdpass_send(play_world.sup, &stop, sizeof(stop), NULL, 0),
	    LEAT_OK);
	play_pump();
	return may_stop(&manager, play_now_ms);
}

struct lt_manager *
play_manager(void)
{
	return &manager;
}
void
play_freeze_at(enum lt_op op)
{
	play_world.got[op] = 0;
	play_world.freeze_at = op;
}

int
play_is_ready(void)
{
	return play_world.ready;
}
void
play_store_mute(int on)
{
	play_world.mute = on;
}
unsigned
play_store_got(enum lt_op op)
{
	return play_world.got[op];
}
void
play_refuse_appends(int status)
{
	play_world.refuse = status;
}

void
play_refuse_append(int status, unsigned nth)
{
	play_world.refuse = status;
	play_world.refuse_nth = nth;
}

size_t
play_kept(enum lt_keep kind)
{
	size_t n = 0;

	for (size_t i = 0; i < play_world.kept_count; i++)
		n += play_world.kept[i].keep.kind == (uint32_t)kind;
	return n;
}

/* --- the world ----------------------------------------------------------- */

void
play_init(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct lt_segment_head head = {.magic = LT_SEGMENT_COUNTER,
	    .data_bytes = lt_counter_segment_bytes()};
	uint8_t secret[32] = "0123456789abcdef0123456789abcde";
	int fd;

	memset(&play_world, 0, sizeof(play_world));
	play_world.sup = play_world.store = play_world.beacon = -1;
	play_world.boot = 77;
	play_now_ms = 1000000;
	play_wall_step_ms = 0;
	lt_clock.mono_ns = fake_mono_ns;
	lt_clock.wall_ms = play_wall_ms;
	lt_log_init("leat-queue", LT_LOG_ERROR);
	lt_options_defaults(&play_options);
	play_options.broker_sandbox = 0;
	play_options.broker_log_level = LT_LOG_ERROR;
	/* Tests use this descriptor; nobody else may get it. */
	if (fcntl(SUPERVISOR_FD, F_GETFD) < 0)
		assert_true(open("/dev/null", O_RDONLY) >= 0);
	strcpy(play_world.dir, "/tmp/leat-play-");
	memset(play_world.dir + strlen(play_world.dir), 'X', 6);
	assert_non_null(mkdtemp(play_world.dir));
	play_world.dir_fd =
	    open(play_world.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(play_world.dir_fd, "store", 0700), 0);
	fd = openat(
	    play_world.dir_fd, "secret", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, secret, sizeof(secret)), sizeof(secret));
	close(fd);
	assert_int_equal(lt_segment_create(&play_world.counters, "counters",
			     &head, 0, &play_world.counter_fd),
	    LEAT_OK);
	lt_counter_use(&play_world.counters);
	snprintf(
	    addr.sun_path, sizeof(addr.sun_path), "%s/sock", play_world.dir);
	play_world.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(
	    bind(play_world.listener, (struct sockaddr *)&addr, sizeof(addr)),
	    0);
	assert_int_equal(listen(play_world.listener, 64), 0);
}

void
play_fini(void)
{
	char path[128];

	play_broker_kill();
	for (size_t i = 0; i < play_world.log_count; i++)
		free(play_world.log[i].data);
	for (size_t i = 0; i < play_world.queue_count; i++)
		free(play_world.queues[i]);
	play_drop_msg(&play_world.in);
	close(play_world.listener);
	close(play_world.counter_fd);
	close(play_world.dir_fd);
	lt_segment_detach(&play_world.counters);
	snprintf(path, sizeof(path), "%s/sock", play_world.dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/secret", play_world.dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/store", play_world.dir);
	rmdir(path);
	assert_int_equal(rmdir(play_world.dir), 0);
}
