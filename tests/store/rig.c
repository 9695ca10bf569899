/* rig.c - a store and its clients, taken apart for tests. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <ftw.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fdpass.h"
#include "base/sys.h"
#include "leat/leat.h"

void
rig_dir_make(char dir[64])
{
	snprintf(dir, 64, "/tmp/leat-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
rig_dir_remove(const char *dir)
{
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
make_segments(struct lt_duty *d)
{
	struct lt_segment_head beacon = {
	    .magic = LT_SEGMENT_BEACON, .data_bytes = 4096};
	struct lt_segment_head state = {
	    .magic = LT_SEGMENT_STATE, .data_bytes = 4096};
	int fd;

	assert_int_equal(lt_segment_create(&d->beacon_seg, "beacon", &beacon, 0,
			     &d->beacon_fd),
	    LEAT_OK);
	d->beacon = d->beacon_seg.base;
	assert_int_equal(
	    lt_segment_create(&d->state_seg, "state", &state, 0, &fd), LEAT_OK);
	close(fd);
	d->state = (struct lt_duty_state *)((char *)d->state_seg.base +
					    LT_SEGMENT_DATA_AT);
}

int
rig_try_start(
    struct rig *r, const char *dir, void (*change)(struct lt_options *o))
{
	struct lt_duty *d = &r->d;
	int pair[2], status;

	memset(r, 0, sizeof(*r));
	snprintf(r->dir, sizeof(r->dir), "%s", dir);
	lt_options_defaults(&d->options);
	d->options.store_segment_bytes = 4u << 20;
	d->options.store_prefill_bytes = 1u << 20;
	d->options.store_retain_hours = 0;
	d->options.store_disk_full_percent = 100;
	if (change != NULL)
		change(&d->options);
	d->default_level = LEAT_LOGGED;
	d->now_ms = lt_clock_mono_ms();
	d->peer.fd = -1;
	d->store_dir = -1;
	lt_hash_init(&d->session_map);
	lt_hash_init(&d->marks);
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	lt_peer_set(d, pair[0], 1);
	r->peer = pair[1];
	(void)fcntl(r->peer, F_SETFL, O_NONBLOCK);
	d->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(d->dir >= 0);
	make_segments(d);
	status = lt_duty_open(d);
	if (status == LEAT_OK)
		status = lt_recover_run(
		    d->store_dir, d->log, d->queues, &d->recovered, NULL, NULL);
	if (status == LEAT_OK)
		status = lt_commitlog_sync(d->log);
	if (status == LEAT_OK)
		status = lt_mark_load(d);
	if (status == LEAT_OK)
		status = lt_batch_init(d);
	if (status == LEAT_OK)
		status = lt_commitlog_start(d->log);
	lt_session_init_system(d);
	if (status == LEAT_OK)
		status = lt_upkeep_init(d);
	if (d->store_ms < d->recovered.last_store_ms)
		d->store_ms = d->recovered.last_store_ms;
	d->is_open = 1;
	if (status == LEAT_OK)
		rig_topic(r, RIG_TOPIC, RIG_NAME, 4, 6);
	return status;
}

void
rig_start(struct rig *r, const char *dir, void (*change)(struct lt_options *o))
{
	assert_int_equal(rig_try_start(r, dir, change), LEAT_OK);
}

void
rig_drop(struct rig *r)
{
	struct lt_duty *d = &r->d;

	while (d->feeds != NULL)
		lt_feed_drop(d, d->feeds->cq);
	lt_session_fini_all(d);
	lt_topicmap_fini(d);
	lt_batch_fini(d);
	lt_recovered_fini(&d->recovered);
	lt_snapshot_image_free(d->job.image);
	lt_commitlog_close(d->log);
	lt_cq_set_close(d->queues);
	lt_segment_detach(&d->beacon_seg);
	lt_segment_detach(&d->state_seg);
	lt_peer_set(d, -1, 0);
	close(d->beacon_fd);
	close(d->epoll);
	if (d->store_dir >= 0)
		close(d->store_dir);
	close(d->dir);
	close(r->peer);
}

void
rig_topic(struct rig *r, uint32_t id, const char *name, uint32_t queues,
    uint32_t perm)
{
	struct lt_wire_topic m = {
	    .id = id,
	    .read_queues = queues,
	    .write_queues = queues,
	    .perm = perm,
	};

	snprintf(m.name, sizeof(m.name), "%s", name);
	assert_int_equal(lt_topicmap_put(&r->d, &m), LEAT_OK);
}

int
rig_turn(struct rig *r)
{
	r->d.now_ms = lt_clock_mono_ms();
	if (!r->d.batch.is_appended)
		lt_batch_sweep(&r->d);
	return lt_publish_run(&r->d);
}

void
rig_turns(struct rig *r)
{
	uint64_t before;

	do {
		before = lt_commitlog_end(r->d.log);
		assert_int_equal(rig_turn(r), LEAT_OK);
	} while (lt_commitlog_end(r->d.log) != before);
}

unsigned
rig_said(struct rig *r, void *msg, size_t cap)
{
	int fds[LT_FDPASS_MAX], is_reply;
	size_t bytes, count;

	if (lt_fdpass_recv(r->peer, msg, cap, &bytes, fds, &count,
		MSG_DONTWAIT) != LEAT_OK)
		return 0;
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	assert_int_equal(
	    lt_wire_check(msg, bytes, 'S', 'Q', &is_reply), LEAT_OK);
	return ((struct lt_wire *)msg)->op;
}

static int
make_page(struct rig_client *c, uint64_t lane_bytes)
{
	struct lt_segment_head head = {.magic = LT_SEGMENT_PAGE};
	struct lt_segment seg;
	int fd;

	c->entries = lt_page_entries(lane_bytes);
	head.id = c->id;
	head.extra[0] = c->entries;
	head.data_bytes = c->entries * sizeof(struct lt_page_done);
	assert_int_equal(
	    lt_segment_create(&seg, "page", &head, 0, &fd), LEAT_OK);
	lt_segment_detach(&seg);
	assert_int_equal(
	    lt_segment_attach(&c->page, fd, LT_SEGMENT_PAGE, 0, 0), LEAT_OK);
	c->shown = c->page.base;
	return fd;
}

void
rig_client_make(struct rig_client *c, uint64_t id, uint64_t lane_bytes)
{
	struct lt_segment_head head = {.magic = LT_SEGMENT_LANE};

	memset(c, 0, sizeof(*c));
	c->id = id;
	head.id = id;
	head.data_bytes = lane_bytes;
	assert_int_equal(
	    lt_segment_create(&c->lane, "lane", &head, 0, &c->lane_fd),
	    LEAT_OK);
	assert_int_equal(lt_segment_seal(c->lane_fd, 0), LEAT_OK);
	c->shared = c->lane.base;
	lt_lane_writer_init(&c->writer, &c->lane, 0);
	c->page_fd = make_page(c, lane_bytes);
	c->store_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	c->client_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

int
rig_client_new_page(struct rig_client *c, uint64_t lane_bytes)
{
	int old = c->page_fd;

	lt_segment_detach(&c->page);
	c->page_fd = make_page(c, lane_bytes);
	return old;
}

void
rig_client_free(struct rig_client *c)
{
	lt_segment_detach(&c->lane);
	lt_segment_detach(&c->page);
	close(c->lane_fd);
	close(c->page_fd);
	close(c->store_event);
	close(c->client_event);
}

void
rig_attach(struct rig *r, struct rig_client *c, int old_page)
{
	struct lt_wire_attach m = {.session = c->id, .pid = 4711};
	uint32_t topic = RIG_TOPIC;
	uint64_t logged;
	int fds[5] = {dup(c->lane_fd), dup(c->page_fd), dup(c->store_event),
	    dup(c->client_event), old_page};

	m.has_old = old_page >= 0;
	m.topic_count = 1;
	assert_int_equal(lt_session_attach(&r->d, &m, &topic, fds,
			     old_page >= 0 ? 5 : 4, &logged),
	    LEAT_OK);
}

int
rig_put(struct rig_client *c, uint32_t topic, const char *name, uint32_t queue,
    uint32_t level, const void *body, size_t bytes)
{
	struct lt_record_spec spec = {
	    .topic = name,
	    .topic_bytes = strlen(name),
	    .queue = queue,
	    .tag = "T",
	    .tag_bytes = 1,
	};
	struct lt_lane_rec rec = {.kind = LT_LANE_PUBLISH};
	uint64_t head =
	    atomic_load_explicit(&c->shown->lane_head, memory_order_acquire);
	size_t need = lt_record_bytes(&spec, bytes);
	uint8_t *payload;
	int status;

	if (need == 0)
		return LEAT_E_INVALID;
	status = lt_lane_claim(&c->writer, head, (uint32_t)need, &payload);
	if (status != LEAT_OK)
		return status;
	memcpy(payload + LT_RECORD_BODY_AT, body, bytes);
	rec.bytes = (uint32_t)lt_record_finish(payload, &spec, bytes);
	rec.topic = topic;
	rec.level = (uint16_t)level;
	rec.seq = ++c->seq;
	lt_lane_put(&c->writer, &rec);
	lt_lane_publish(&c->writer);
	return LEAT_OK;
}

struct lt_page_done
rig_done(const struct rig_client *c, uint64_t seq)
{
	struct lt_page_done e;

	assert_true(atomic_load_explicit(
			&c->shown->logged, memory_order_acquire) >= seq);
	e = *lt_page_entry(c->page.base, c->entries, seq);
	assert_true(e.seq == seq);
	return e;
}

int
rig_ring_make(uint64_t bytes)
{
	struct lt_segment_head head = {
	    .magic = LT_SEGMENT_RING, .data_bytes = bytes};
	struct lt_segment seg;
	int fd;

	assert_int_equal(
	    lt_segment_create(&seg, "ring", &head, 0, &fd), LEAT_OK);
	lt_segment_detach(&seg);
	return fd;
}
