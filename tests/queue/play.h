/*
 * play.h - leat-queue run inside a test: its whole program, with supervisor,
 * store and clients played in the same thread, and a clock that only the test
 * moves. Nothing happens but in play_pump(), so every order of events can be
 * made, and either process be killed between any two of them.
 */
#ifndef LT_TESTS_QUEUE_PLAY_H
#define LT_TESTS_QUEUE_PLAY_H

#include <stddef.h>
#include <stdint.h>
#include "proto/wire.h"
#include "queue/queue.h"
#include "shm/page.h"
#include "shm/ring.h"

#define PLAY_FDS 8

/* A received message and its descriptors, until the next receive. */
struct play_msg {
	_Alignas(16) uint8_t bytes[LT_WIRE_MAX];
	size_t size;
	int fds[PLAY_FDS];
	size_t fd_count;
};

struct play_client {
	int fd; /* -1: closed */
	uint32_t tag;
	struct play_msg reply;
	struct play_msg event; /* last event seen while waiting for a reply */
	unsigned events[128]; /* by operation */
	uint64_t session;
	uint8_t token[16];
	uint64_t boot;
	uint64_t store_gen;
	int lane_fd;
	int page_fd;
};

extern struct lt_options play_options; /* before play_queue_start() */
extern uint64_t play_now_ms;
extern int64_t play_wall_step_ms; /* how far the wall clock was set */

/* One directory and one log for the test; everything else dies with its
 * process. */
void play_init(void);
void play_fini(void);
struct lt_manager *play_manager(void);
/* The supervisor starts and kills (no warning, nothing flushed). */
void play_queue_start(void);
void play_queue_kill(void);
void play_store_start(void);
void play_store_kill(void);
/* The whole broker died: nothing is kept but the log; another boot. */
void play_broker_kill(void);
/* Orderly: 1 if it would exit now. */
int play_queue_stop(void);
/* Both processes do what they have to, at the present time. */
void play_pump(void);
void play_pass(uint64_t ms); /* time passes in small steps, with pumps */
int play_is_ready(void); /* SUP_READY was said */
/* The store reads but does not answer (on 1). */
void play_store_mute(int on);
/* Once the store has served such a message, nothing of leat-queue runs any
 * more (play_queue_kill() is next). */
void play_freeze_at(enum lt_op op);
/* How many messages of this operation the store has got since its start. */
unsigned play_store_got(enum lt_op op);
/* Entries kept by the supervisor. */
size_t play_kept(enum lt_keep kind);

/* The store's view. */
int64_t play_publish(const char *topic, uint32_t queue, const char *keys,
    const char *tag, const void *body, size_t bytes);
/* The same for a remote client: born data of its own, properties as a text. */
int64_t play_relay(const char *topic, uint32_t queue, const char *text,
    int has_id, const void *body, size_t bytes);
/* NULL: there is none. */
const struct lt_record_view *play_record(
    const char *topic, uint32_t queue, int64_t offset);
/* It dies in the moment before the queue manager serves its clients. */
void play_store_die_unseen(void);
void play_heal(const char *topic, uint32_t queue, int64_t offset);
void play_damage(const char *topic, uint32_t queue, int64_t offset);
/* Its queue entry has another size. */
void play_resize(
    const char *topic, uint32_t queue, int64_t offset, uint32_t bytes);
/* The queue's files look empty (on 1). */
void play_hide(const char *topic, uint32_t queue, int on);
void play_retain(const char *topic, uint32_t queue, int64_t first_kept);
/* The same, but nobody is told yet. */
void play_unlink(const char *topic, uint32_t queue, int64_t first_kept);
/* How often the log's files were listed. */
unsigned play_refreshes(void);
void play_roll(void); /* E_ROLLED */
void play_forged(uint64_t session);
int play_is_attached(uint64_t session);
int play_is_granted(uint64_t session, uint32_t topic);
int play_is_watched(uint64_t session, uint32_t topic, uint32_t queue);
unsigned play_wakes(uint64_t session);
int64_t play_records(const char *topic); /* of queue 0 */
/* Refuse S_APPEND with this status from now on. */
void play_refuse_appends(int status);
/* Only the nth from now (1: the next). */
void play_refuse_append(int status, unsigned nth);

/* Clients. */
void play_connect(struct play_client *c);
void play_connect_as(struct play_client *c, uint32_t uid);
void play_close(struct play_client *c);
/* Send a request (header is filled) and pump until it is answered: status of
 * the reply, or -1000 if the connection was closed, -1001 if no answer came. */
int play_call(
    struct play_client *c, enum lt_op op, void *request, size_t bytes);
/* Only send. */
void play_post(
    struct play_client *c, enum lt_op op, void *request, size_t bytes);
/* Receive what is there into reply/event: 1 if the reply to the last request
 * came, 0 not, -1000 closed. */
int play_receive(struct play_client *c);
int play_hello(struct play_client *c);
int play_resume(struct play_client *c, const struct play_client *old);
int play_open(struct play_client *c, const char *topic, uint32_t rights);
int play_create(struct play_client *c, const char *topic, uint32_t queues);
struct play_sub {
	uint64_t id;
	uint32_t topic_id;
	uint32_t owner;
	int64_t offset;
	int64_t min_offset;
	int64_t max_offset;
	int has_ring;
	int has_table;
	uint64_t table_inode;
	struct lt_segment ring_seg;
	struct lt_segment table_seg;
	struct lt_table table;
};
int play_subscribe(struct play_client *c, struct play_sub *sub,
    const char *topic, uint32_t queue, const char *group, uint32_t mode,
    const char *member, uint32_t from, int64_t value);
int play_resubscribe(struct play_client *c, struct play_sub *sub,
    const char *topic, uint32_t queue, const char *group, uint32_t mode,
    int64_t position, uint64_t old_id);
void play_sub_fini(struct play_sub *sub);
int play_unsubscribe(struct play_client *c, uint64_t id);
/* The session's process: a child that only sleeps, and its death. */
void play_give_process(uint64_t session);
void play_kill_process(void);

#endif
