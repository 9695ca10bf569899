/* fake_cluster.c - the scripted name server and broker; see fake_cluster.h. */
#include "config.h"
#include "fake_cluster.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/crc32.h"
#include "leat/status.h"
#include "proto/remoting.h"
#include "proto/sendbatch.h"

#define CONNS 32
#define LOG_BASE 0x12D687 /* log offset of the first message */
#define HOLD_TURNS 5 /* a pull without messages is held for so many */

struct conn {
	int fd;
	uint8_t *rx;
	size_t bytes, room;
	struct { /* held pulls */
		int32_t opaque;
		uint32_t queue;
		int64_t offset;
		int turns;
	} held[FAKE_QUEUES * 4];
	size_t held_count;
};

struct inside {
	pthread_t thread;
	pthread_mutex_t lock; /* of the messages */
	int listener;
	struct conn conns[CONNS];
	_Atomic int notify;
	char client_id[128]; /* of the last heartbeat */
};

static uint64_t
roll(struct fake_cluster *f)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return f->random;
}

static void
write_all(struct conn *c, const void *p, size_t bytes)
{
	while (bytes > 0 && c->fd >= 0) {
		ssize_t n = send(c->fd, p, bytes, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		p = (const char *)p + n;
		bytes -= (size_t)n;
	}
}

static void
hang_up(struct conn *c)
{
	close(c->fd);
	c->fd = -1;
	c->bytes = c->held_count = 0;
}

/* --- answers ------------------------------------------------------------- */

struct answer {
	struct lt_remoting_encoder e;
	uint8_t buf[4096];
};

static void
start(struct answer *a, int32_t code, int32_t opaque)
{
	lt_remoting_begin(&a->e, a->buf, sizeof(a->buf), LT_REMOTING_JSON, code,
	    LT_REMOTING_RESPONSE, opaque);
}

static void
finish(struct fake_cluster *f, struct conn *c, struct answer *a,
    const void *body, size_t bytes)
{
	struct lt_buffer out;
	char junk[2048];
	size_t n;

	if (f->mischief == FAKE_NO_JSON && bytes > 0 && bytes < sizeof(junk))
		body = memset(junk, 0x5b, bytes);
	n = lt_remoting_end(&a->e, NULL, 0, bytes);
	lt_buffer_init(&out, 1u << 26);
	lt_buffer_add(&out, a->buf, n);
	lt_buffer_add(&out, body, bytes);
	if (f->mischief == FAKE_HUGE_FRAME)
		lt_bytes_put32(out.p, 0x7fffffff);
	if (f->mischief == FAKE_MUTATES && roll(f) % 4 == 0) {
		int flips = 1 + (int)(roll(f) % 3);

		while (flips-- > 0)
			out.p[roll(f) % out.bytes] = (uint8_t)roll(f);
		if (roll(f) % 8 == 0) {
			out.bytes = roll(f) % out.bytes;
			write_all(c, out.p, out.bytes);
			hang_up(c);
			lt_buffer_fini(&out);
			return;
		}
	}
	write_all(c, out.p, out.bytes);
	lt_buffer_fini(&out);
}

static void
put_number(
    struct fake_cluster *f, struct answer *a, const char *name, int64_t v)
{
	if (f->mischief != FAKE_NO_FIELDS)
		lt_remoting_put_i64(&a->e, name, v);
}

static void
simple(struct fake_cluster *f, struct conn *c, int32_t code, int32_t opaque)
{
	struct answer a;

	start(&a, code, opaque);
	finish(f, c, &a, NULL, 0);
}

static void
text(struct fake_cluster *f, struct conn *c, int32_t opaque, const char *body)
{
	struct answer a;

	start(&a, 0, opaque);
	finish(f, c, &a, body, strlen(body));
}

static void
offset(struct fake_cluster *f, struct conn *c, int32_t opaque, int64_t v)
{
	struct answer a;

	start(&a, 0, opaque);
	put_number(f, &a, "offset", v);
	finish(f, c, &a, NULL, 0);
}

/* --- messages ------------------------------------------------------------ */

static void
store(struct fake_cluster *f, uint32_t queue, const void *body, size_t bytes,
    const char *props, size_t props_bytes)
{
	struct inside *in = f->inside;
	struct fake_message *m;

	pthread_mutex_lock(&in->lock);
	m = &f->messages[f->count % FAKE_MESSAGES];
	memset(m, 0, sizeof(*m));
	m->queue = queue;
	m->offset = f->max[queue]++;
	m->crc = lt_crc32(0, body, bytes) & 0x7fffffff;
	memcpy(m->body, body, bytes < 63 ? bytes : 63);
	memcpy(m->props, props, props_bytes < 255 ? props_bytes : 255);
	f->count++;
	pthread_mutex_unlock(&in->lock);
}

void
fake_cluster_put(
    struct fake_cluster *f, uint32_t queue, const char *body, const char *props)
{
	store(f, queue, body, strlen(body), props, strlen(props));
}

void
fake_cluster_pack(
    struct fake_cluster *f, uint32_t queue, const void *zlib, size_t bytes)
{
	struct inside *in = f->inside;

	pthread_mutex_lock(&in->lock);
	f->messages[f->count].queue = queue;
	f->messages[f->count].offset = f->max[queue]++;
	f->messages[f->count].packed = (uint32_t)bytes;
	memcpy(f->messages[f->count].body, zlib, bytes);
	f->count++;
	pthread_mutex_unlock(&in->lock);
}

static void
add_record(struct lt_buffer *b, const struct fake_message *m, int64_t at)
{
	size_t body = m->packed != 0 ? m->packed : strlen(m->body),
	       props = strlen(m->props);
	uint8_t r[1024] = {0};
	size_t n = 91 + body + 1 + props;

	lt_bytes_put32(r, (uint32_t)n);
	lt_bytes_put32(r + 4, 0xDAA320A7u);
	lt_bytes_put32(r + 12, m->queue);
	lt_bytes_put64(r + 20, (uint64_t)m->offset);
	lt_bytes_put64(r + 28, (uint64_t)at);
	lt_bytes_put32(r + 36, m->packed != 0 ? 0x301 : 0);
	lt_bytes_put32(r + 72, m->reconsume);
	lt_bytes_put32(r + 84, (uint32_t)body);
	memcpy(r + 88, m->body, body);
	r[88 + body] = 1;
	r[89 + body] = 't';
	lt_bytes_put16(r + 90 + body, (uint16_t)props);
	memcpy(r + 92 + body, m->props, props);
	lt_buffer_add(b, r, n);
}

static int
pull(struct fake_cluster *f, struct conn *c, int32_t opaque, uint32_t queue,
    int64_t from, int last)
{
	struct inside *in = f->inside;
	struct lt_buffer b;
	struct answer a;
	int64_t next = from, max = f->max[queue];
	int i, n = 0, moved = f->drops;

	if (moved > 0) {
		f->drops = 0;
		start(&a, 21, opaque);
		next = moved - 1;
	} else if (from >= max) {
		if (!last)
			return 0;
		start(&a, 19, opaque);
	} else {
		start(&a, 0, opaque);
	}
	lt_buffer_init(&b, 1u << 20);
	pthread_mutex_lock(&in->lock);
	for (i = 0; i < f->count && n < 16 && moved == 0; i++) {
		struct fake_message m = f->messages[i];

		if (m.queue != queue || m.offset < from)
			continue;
		next = m.offset + 1;
		if (f->mischief == FAKE_REPEATS_OFFSETS)
			m.offset = from;
		add_record(&b, &m, i * 100);
		n++;
	}
	pthread_mutex_unlock(&in->lock);
	if (f->mischief == FAKE_CUTS_RECORDS && b.bytes > 3)
		b.bytes -= 3;
	put_number(f, &a, "nextBeginOffset", next);
	put_number(f, &a, "minOffset", 0);
	put_number(f, &a, "maxOffset", max);
	put_number(f, &a, "suggestWhichBrokerId", 0);
	finish(f, c, &a, b.p, b.bytes);
	lt_buffer_fini(&b);
	return 1;
}

static void
on_send(struct fake_cluster *f, struct conn *c, const struct lt_remoting *h,
    const struct lt_remoting_frame *frame)
{
	struct lt_sendbatch_message m;
	struct lt_remoting_text props = lt_remoting_find(h, "i");
	size_t cursor = 0;
	struct answer a;
	int32_t queue = -1;
	int64_t first;
	int code = f->send_code;
	const uint8_t *p;

	f->sends++;
	if (code != 0 && --f->times == 0)
		f->send_code = 0;
	if (code != 0 && (code < 10 || code > 12)) {
		simple(f, c, code, h->opaque);
		return;
	}
	if (lt_remoting_i32(h, "e", &queue) != LEAT_OK || queue < 0 ||
	    queue >= FAKE_QUEUES) {
		simple(f, c, 29, h->opaque);
		return;
	}
	p = f->refuse_body ? memchr(frame->body, '!', frame->body_bytes) : NULL;
	if (p != NULL) {
		simple(f, c, 13, h->opaque);
		return;
	}
	first = f->max[queue];
	if (h->code == 320) {
		f->batches++;
		while (lt_sendbatch_next(frame->body, frame->body_bytes,
			   &cursor, &m) == LEAT_OK)
			store(f, (uint32_t)queue, m.body, m.body_bytes, m.props,
			    m.props_bytes);
	} else {
		store(f, (uint32_t)queue, frame->body, frame->body_bytes,
		    props.p, props.bytes);
	}
	if (f->mischief == FAKE_HANGS_UP) {
		if (--f->times <= 0)
			f->mischief = FAKE_GOOD;
		hang_up(c);
		return;
	}
	start(&a, code, h->opaque);
	put_number(f, &a, "queueId", queue);
	put_number(f, &a, "queueOffset", first);
	if (f->mischief != FAKE_NO_FIELDS)
		lt_remoting_put(
		    &a.e, "msgId", "7F00000100002A9F000000000012D687", 32);
	finish(f, c, &a, NULL, 0);
}

/* --- sessions that connect again ------------------------------------------
 */

static void
greeting(struct fake_cluster *f, struct conn *c, int32_t opaque)
{
	struct answer a;

	f->greetings++;
	start(&a, 0, opaque);
	lt_remoting_put(&a.e, "brokerName", "b", 1);
	lt_remoting_put_i64(&a.e, "logEnd", LOG_BASE + f->count);
	finish(f, c, &a, NULL, 0);
}

/* Some of them at a time. */
static void
sent(struct fake_cluster *f, struct conn *c, const struct lt_remoting *h)
{
	struct lt_remoting_text session = lt_remoting_find(h, "session");
	struct inside *in = f->inside;
	struct lt_buffer b;
	struct answer a;
	int64_t begin = 0;
	int i, most;

	f->recalls++;
	if (lt_remoting_i64(h, "begin", &begin) != LEAT_OK ||
	    session.bytes != 16) {
		simple(f, c, 29, h->opaque);
		return;
	}
	lt_buffer_init(&b, 1u << 20);
	pthread_mutex_lock(&in->lock);
	i = begin < LOG_BASE ? 0 : (int)(begin - LOG_BASE);
	for (most = i + 100; i < most && i < f->count; i++) {
		struct fake_message *m = &f->messages[i % FAKE_MESSAGES];
		const char *id = strstr(m->props, "UNIQ_KEY\001");

		if (id == NULL || memcmp(id + 9, session.p, 16) != 0)
			continue;
		lt_buffer_put32(&b, 0);
		lt_buffer_put32(&b, (uint32_t)strtoul(id + 33, NULL, 16));
		lt_buffer_put32(&b, m->queue);
		lt_buffer_put32(&b, m->crc);
		lt_buffer_put32(&b, 0);
		lt_buffer_put32(&b, (uint32_t)m->offset);
		lt_buffer_put32(&b, 0);
		lt_buffer_put32(&b, (uint32_t)(LOG_BASE + i));
	}
	pthread_mutex_unlock(&in->lock);
	start(&a, 0, h->opaque);
	lt_remoting_put_i64(&a.e, "next", LOG_BASE + i);
	lt_remoting_put_i64(&a.e, "logEnd", LOG_BASE + f->count);
	finish(f, c, &a, b.p, b.bytes);
	lt_buffer_fini(&b);
}

/* --- requests ------------------------------------------------------------ */

static void
route(struct fake_cluster *f, struct conn *c, int32_t opaque)
{
	char body[512];

	if (f->unknown) {
		simple(f, c, 17, opaque);
		return;
	}
	snprintf(body, sizeof(body),
	    "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"127.0.0.1:%d\"},"
	    "\"brokerName\":\"b\",\"cluster\":\"c\"}],\"filterServerTable\":{},"
	    "\"queueDatas\":[{\"brokerName\":\"b\",\"perm\":6,"
	    "\"readQueueNums\":%d,\"writeQueueNums\":%d}]}",
	    f->port, FAKE_QUEUES, FAKE_QUEUES);
	text(f, c, opaque, body);
}

static void
brokers(struct fake_cluster *f, struct conn *c, int32_t opaque)
{
	char body[512];

	snprintf(body, sizeof(body),
	    "{\"brokerAddrTable\":{\"b\":{\"brokerAddrs\":{0:\"127.0.0.1:%d\"},"
	    "\"brokerName\":\"b\",\"cluster\":\"c\"}},\"clusterAddrTable\":"
	    "{\"c\":[\"b\"]}}",
	    f->port);
	text(f, c, opaque, body);
}

static void
members(struct fake_cluster *f, struct conn *c, int32_t opaque)
{
	struct inside *in = f->inside;
	char body[512];

	snprintf(body, sizeof(body), "{\"consumerIdList\":[%s\"%s\"]}",
	    f->members ? "\"~other\"," : "", in->client_id);
	text(f, c, opaque, body);
}

static void
on_beat(struct fake_cluster *f, const struct lt_remoting_frame *frame)
{
	struct inside *in = f->inside;
	const char *p = (const char *)frame->body;
	char copy[256] = {0};

	f->beats++;
	memcpy(copy, p, frame->body_bytes < 255 ? frame->body_bytes : 255);
	(void)sscanf(copy, "{\"clientID\":\"%127[^\"]", in->client_id);
}

static void
on_pull(struct fake_cluster *f, struct conn *c, const struct lt_remoting *h)
{
	int32_t queue = 0, flags = 0;
	int64_t from = 0, done = 0;

	if (lt_remoting_i32(h, "queueId", &queue) != LEAT_OK || queue < 0 ||
	    queue >= FAKE_QUEUES ||
	    lt_remoting_i64(h, "queueOffset", &from) != LEAT_OK) {
		simple(f, c, 29, h->opaque);
		return;
	}
	if (lt_remoting_i32(h, "sysFlag", &flags) == LEAT_OK &&
	    (flags & 1) != 0 &&
	    lt_remoting_i64(h, "commitOffset", &done) == LEAT_OK)
		f->committed[queue] = done;
	if (pull(f, c, h->opaque, (uint32_t)queue, from, 0) ||
	    c->held_count == sizeof(c->held) / sizeof(c->held[0]))
		return;
	c->held[c->held_count].opaque = h->opaque;
	c->held[c->held_count].queue = (uint32_t)queue;
	c->held[c->held_count].turns = 0;
	c->held[c->held_count++].offset = from;
}

static void
on_queue(struct fake_cluster *f, struct conn *c, const struct lt_remoting *h)
{
	struct lt_remoting_text topic = lt_remoting_find(h, "topic");
	int32_t queue = 0;
	int64_t v = -1;
	int is_retry = topic.bytes > 7 && memcmp(topic.p, "%RETRY%", 7) == 0;

	if (lt_remoting_i32(h, "queueId", &queue) != LEAT_OK || queue < 0 ||
	    queue >= FAKE_QUEUES)
		queue = 0;
	if (h->code == 15) {
		if (lt_remoting_i64(h, "commitOffset", &v) == LEAT_OK &&
		    !is_retry)
			f->committed[queue] = v;
		f->commits++;
		simple(f, c, 0, h->opaque);
	} else if (h->code == 14) {
		v = is_retry ? -1 : f->committed[queue];
		if (v < 0)
			simple(f, c, 22, h->opaque);
		else
			offset(f, c, h->opaque, v);
	} else {
		offset(f, c, h->opaque, h->code == 30 ? f->max[queue] : 0);
	}
}

static void
request(struct fake_cluster *f, struct conn *c,
    const struct lt_remoting_frame *frame, const struct lt_remoting *h)
{
	struct lt_remoting_text topic = lt_remoting_find(h, "topic");
	int32_t n = 0;
	int64_t v = -1;

	switch (h->code) {
	case 105:
		/* No retry topic here: redelivery is the broker's business. */
		if (topic.bytes > 0 && topic.p[0] == '%')
			simple(f, c, 17, h->opaque);
		else
			route(f, c, h->opaque);
		break;
	case 106:
		brokers(f, c, h->opaque);
		break;
	case 30001:
		greeting(f, c, h->opaque);
		break;
	case 30002:
		sent(f, c, h);
		break;
	case 310:
	case 320:
		on_send(f, c, h, frame);
		break;
	case 34:
		on_beat(f, frame);
		simple(f, c, 0, h->opaque);
		break;
	case 35:
		f->leaves++;
		simple(f, c, 0, h->opaque);
		break;
	case 36:
		if (lt_remoting_i64(h, "offset", &v) == LEAT_OK)
			f->back_offset = v;
		if (lt_remoting_i32(h, "delayLevel", &n) == LEAT_OK)
			f->back_level = n;
		f->backs++;
		simple(f, c, 0, h->opaque);
		break;
	case 38:
		members(f, c, h->opaque);
		break;
	case 11:
		on_pull(f, c, h);
		break;
	case 14:
	case 15:
	case 29:
	case 30:
	case 31:
		on_queue(f, c, h);
		break;
	default:
		simple(f, c, 3, h->opaque);
		break;
	}
}

/* --- the thread ---------------------------------------------------------- */

static void
input(struct fake_cluster *f, struct conn *c)
{
	struct lt_remoting_frame frame;
	struct lt_remoting h;
	size_t at = 0;
	ssize_t n;

	if (c->room - c->bytes < 65536) {
		c->room += 1u << 20;
		c->rx = realloc(c->rx, c->room);
	}
	n = recv(c->fd, c->rx + c->bytes, c->room - c->bytes, 0);
	if (n <= 0) {
		hang_up(c);
		return;
	}
	c->bytes += (size_t)n;
	while (c->fd >= 0 && lt_remoting_frame(c->rx + at, c->bytes - at,
				 &frame) == LEAT_OK) {
		if (lt_remoting_decode(&frame, &h) != LEAT_OK)
			hang_up(c);
		else if ((h.flag & LT_REMOTING_RESPONSE) == 0)
			request(f, c, &frame, &h);
		at += frame.bytes;
	}
	if (c->fd < 0)
		return;
	c->bytes -= at;
	memmove(c->rx, c->rx + at, c->bytes);
}

static void
turn(struct fake_cluster *f, struct conn *c)
{
	size_t i;

	for (i = 0; i < c->held_count && c->fd >= 0;) {
		c->held[i].turns++;
		if (pull(f, c, c->held[i].opaque, c->held[i].queue,
			c->held[i].offset, c->held[i].turns > HOLD_TURNS) &&
		    c->held_count > 0)
			c->held[i] = c->held[--c->held_count];
		else
			i++;
	}
}

static void
tell_members(struct conn *c)
{
	struct lt_remoting_encoder e;
	uint8_t buf[256];
	size_t n;

	lt_remoting_begin(
	    &e, buf, sizeof(buf), LT_REMOTING_JSON, 40, LT_REMOTING_ONEWAY, 7);
	lt_remoting_put(&e, "consumerGroup", "g", 1);
	n = lt_remoting_end(&e, NULL, 0, 0);
	write_all(c, buf, n);
}

static void *
run(void *user)
{
	struct fake_cluster *f = user;
	struct inside *in = f->inside;
	struct pollfd p[CONNS + 1];
	int i, told;

	while (!f->stop) {
		p[CONNS] = (struct pollfd){in->listener, POLLIN, 0};
		for (i = 0; i < CONNS; i++)
			p[i] = (struct pollfd){in->conns[i].fd, POLLIN, 0};
		(void)poll(p, CONNS + 1, 5);
		told = atomic_exchange(&in->notify, 0);
		for (i = 0; i < CONNS; i++) {
			struct conn *c = &in->conns[i];

			if (c->fd >= 0 && p[i].fd >= 0 && p[i].revents != 0)
				input(f, c);
			if (c->fd >= 0)
				turn(f, c);
			if (c->fd >= 0 && told)
				tell_members(c);
		}
		if ((p[CONNS].revents & POLLIN) == 0)
			continue;
		for (i = 0; i < CONNS && in->conns[i].fd >= 0;)
			i++;
		if (i < CONNS) {
			in->conns[i].fd = accept(in->listener, NULL, NULL);
			f->conns++;
		}
	}
	return NULL;
}

struct fake_cluster *
fake_cluster_start(uint64_t seed)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t bytes = sizeof(a);
	struct fake_cluster *f = calloc(1, sizeof(*f));
	struct inside *in = calloc(1, sizeof(*in));
	int i;

	f->inside = in;
	f->random = seed * 2 + 1;
	for (i = 0; i < FAKE_QUEUES; i++)
		f->committed[i] = -1;
	for (i = 0; i < CONNS; i++)
		in->conns[i].fd = -1;
	pthread_mutex_init(&in->lock, NULL);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(in->listener, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    listen(in->listener, 64) != 0 ||
	    getsockname(in->listener, (struct sockaddr *)&a, &bytes) != 0)
		abort();
	f->port = ntohs(a.sin_port);
	snprintf(
	    f->server, sizeof(f->server), "rocketmq://127.0.0.1:%d", f->port);
	if (pthread_create(&in->thread, NULL, run, f) != 0)
		abort();
	return f;
}

void
fake_cluster_stop(struct fake_cluster *f)
{
	struct inside *in = f->inside;
	int i;

	f->stop = 1;
	pthread_join(in->thread, NULL);
	for (i = 0; i < CONNS; i++) {
		if (in->conns[i].fd >= 0)
			close(in->conns[i].fd);
		free(in->conns[i].rx);
	}
	close(in->listener);
	pthread_mutex_destroy(&in->lock);
	free(in);
	free(f);
}

void
fake_cluster_notify(struct fake_cluster *f)
{
	struct inside *in = f->inside;

	in->notify = 1;
}
