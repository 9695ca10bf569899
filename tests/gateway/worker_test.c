/*
 * worker_test.c - one worker of the gateway before a real broker: what remote
 * clients send is there for local ones, and the other way round.
 */
#include "config.h"
#include "remoting/worker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "hub/hub.h"
#include "leat/status.h"
#include "proto/record.h"

#define OK(call) assert_int_equal(call, LEAT_OK)
#define PATIENCE_MS 10000

static struct {
	char dir[64], socket[96];
	pid_t leatd;
	int store_dir;
	struct lt_gateway g;
	struct lt_worker *worker;
	pthread_t thread;
	uint16_t port;
	struct leat *local;
	int fd; /* our connection */
	int32_t opaque;
	uint8_t in[1 << 20];
} it;

/* --- the broker, the worker ------------------------------------------------
 */

static void
start_broker(void)
{
	const char *build = getenv("top_builddir");
	char path[128], line[256] = "";
	int out[2];

	snprintf(it.dir, sizeof it.dir, "/tmp/leat-gw-XXXXXX");
	assert_non_null(mkdtemp(it.dir));
	snprintf(it.socket, sizeof it.socket, "%s/leat.sock", it.dir);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	it.leatd = fork();
	assert_true(it.leatd >= 0);
	if (it.leatd == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(out[1], STDOUT_FILENO);
		snprintf(
		    path, sizeof path, "%s/leatd", build != NULL ? build : ".");
		execl(path, "leatd", "--dir", it.dir, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	for (size_t n = 0; strchr(line, '\n') == NULL;) {
		ssize_t k = read(out[0], line + n, sizeof line - 1 - n);

		assert_true(k > 0);
		n += (size_t)k;
	}
	assert_int_equal(strncmp(line, "ready", 5), 0);
	close(out[0]);
	snprintf(path, sizeof path, "%s/store", it.dir);
	it.store_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(it.store_dir >= 0);
}

static void *
run(void *arg)
{
	(void)!lt_net_run(arg);
	return NULL;
}

static void
connect_to_worker(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
	    .sin_port = htons(it.port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	it.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(it.fd >= 0);
	assert_int_equal(connect(it.fd, (void *)&at, sizeof at), 0);
	assert_int_equal(
	    setsockopt(it.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)),
	    0);
}

static int
setup(void **state)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct leat_options session = {.name = "gateway"};
	struct lt_hub_limits hub = {0};
	struct lt_worker_config config = {.limits = {.frame_bytes = 16 << 20,
					      .conn_bytes = 1 << 20,
					      .memory_bytes = 64 << 20,
					      .connections = 100}};
	socklen_t n = sizeof at;
	int fd;

	start_broker();
	session.socket = it.socket;
	OK(leat_connect(&session, &it.local));
	OK(lt_hub_create(&hub, &it.g.hub));
	OK(lt_clerk_start(&session, &it.g.clerk));
	it.g.broker_name = it.g.cluster_name = "leat";
	it.g.store_ip = 0x7f000001;
	it.g.store_port = 10911;
	it.g.max_body_bytes = 4 << 20;
	it.g.default_queues = 4;
	it.g.auto_create = 1;
	config.session = session;
	config.session.lane_bytes = 16 << 20;
	config.store_dir = it.store_dir;
	OK(lt_worker_create(&it.g, &config, &it.worker));
	OK(lt_net_bind(&at, &fd));
	assert_int_equal(getsockname(fd, (void *)&at, &n), 0);
	it.port = ntohs(at.sin_port);
	OK(lt_net_listen(it.worker->net, fd, 0, LT_NET_TLS_OFF, NULL));
	assert_int_equal(
	    pthread_create(&it.thread, NULL, run, it.worker->net), 0);
	connect_to_worker();
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	close(it.fd);
	lt_net_stop(it.worker->net);
	pthread_join(it.thread, NULL);
	lt_clerk_stop(it.g.clerk);
	lt_worker_destroy(it.worker);
	lt_hub_destroy(it.g.hub);
	leat_close(it.local);
	close(it.store_dir);
	kill(it.leatd, SIGTERM);
	waitpid(it.leatd, NULL, 0);
	snprintf(command, sizeof command, "rm -rf '%s'", it.dir);
	assert_int_equal(system(command), 0);
	return 0;
}

/* --- a remote client -------------------------------------------------------
 */

struct field {
	const char *name, *value;
};

static int32_t
ask(int32_t code, const struct field *fields, const void *body, size_t bytes)
{
	static uint8_t out[LT_REMOTING_PREFIX + 65536];
	struct lt_remoting_encoder e;
	size_t n;

	lt_remoting_begin(
	    &e, out, sizeof out, LT_REMOTING_JSON, code, 0, ++it.opaque);
	for (; fields->name != NULL; fields++)
		lt_remoting_put(
		    &e, fields->name, fields->value, strlen(fields->value));
	n = lt_remoting_end(&e, NULL, 0, bytes);
	assert_true(n > 0);
	if (bytes <= sizeof out - n) {
		if (bytes > 0)
			memcpy(out + n, body, bytes);
		n += bytes;
		bytes = 0;
	}
	assert_int_equal(send(it.fd, out, n, MSG_NOSIGNAL), n);
	assert_int_equal(send(it.fd, body, bytes, MSG_NOSIGNAL), bytes);
	return it.opaque;
}

struct reply {
	struct lt_remoting_frame f;
	struct lt_remoting h;
};

static void
await(int32_t opaque, struct reply *r)
{
	size_t n = 0;

	while (lt_remoting_frame(it.in, n, &r->f) == LEAT_E_AGAIN) {
		struct pollfd p = {.fd = it.fd, .events = POLLIN};
		size_t want = r->f.bytes > n ? r->f.bytes - n : 4 - n % 4;
		ssize_t k;

		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		k = recv(it.fd, it.in + n, want, 0);
		assert_true(k > 0);
		n += (size_t)k;
	}
	OK(lt_remoting_decode(&r->f, &r->h));
	assert_int_equal(r->h.opaque, opaque);
	assert_int_equal(r->h.flag, LT_REMOTING_RESPONSE);
}

static int64_t
number(const struct reply *r, const char *name)
{
	int64_t value;

	OK(lt_remoting_i64(&r->h, name, &value));
	return value;
}

static int32_t
send_message(const char *topic, const char *queue, const char *body)
{
	const struct field fields[] = {{"a", "pg"}, {"b", topic},
	    {"c", "TBW102"}, {"d", "4"}, {"e", queue}, {"f", "0"},
	    {"g", "1700000000123"}, {"h", "7"},
	    {"i", "UNIQ_KEY\001THEIRS\002TAGS\001red\002KEYS\001k1"},
	    {"j", "0"}, {NULL, NULL}};

	return ask(310, fields, body, strlen(body));
}

static int32_t
pull(const char *topic, const char *offset, const char *tags, const char *wait)
{
	const struct field fields[] = {{"consumerGroup", "g"}, {"topic", topic},
	    {"queueId", "0"}, {"queueOffset", offset}, {"maxMsgNums", "32"},
	    {"sysFlag", "6"}, {"commitOffset", "0"},
	    {"suspendTimeoutMillis", wait}, {"subscription", tags},
	    {"subVersion", "0"}, {NULL, NULL}};

	return ask(11, fields, NULL, 0);
}

/* The only message of a pull's answer. */
static void
check_body(const struct reply *r, const char *want, struct lt_record_view *v)
{
	assert_int_equal(r->h.code, LT_CODE_SUCCESS);
	OK(lt_record_parse(r->f.body, r->f.body_bytes, v));
	OK(lt_record_check(v));
	assert_int_equal(v->bytes, r->f.body_bytes);
	assert_int_equal(v->body_bytes, strlen(want));
	assert_memory_equal(v->body, want, v->body_bytes);
}

/* --- tests -----------------------------------------------------------------
 */

/* Remote to remote: the topic is made, the record keeps what its client said.
 */
static void
test_send_and_pull(void **state)
{
	struct lt_record_view v;
	struct lt_record_texts texts;
	struct lt_remoting_text id;
	struct reply r;

	await(send_message("made", "0", "hello"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(number(&r, "queueOffset"), 0);
	assert_int_equal(number(&r, "queueId"), 0);
	id = lt_remoting_find(&r.h, "msgId");
	assert_int_equal(id.bytes, 32);
	assert_memory_equal(id.p, "7F00000100002A9F", 16);
	id = lt_remoting_find(&r.h, "transactionId");
	assert_int_equal(id.bytes, 6);
	assert_memory_equal(id.p, "THEIRS", 6);

	await(pull("made", "0", "*", "0"), &r);
	check_body(&r, "hello", &v);
	assert_int_equal(number(&r, "nextBeginOffset"), 1);
	assert_int_equal(number(&r, "minOffset"), 0);
	assert_int_equal(number(&r, "maxOffset"), 1);
	assert_int_equal(number(&r, "suggestWhichBrokerId"), 0);
	assert_int_equal(v.flag, 7);
	assert_int_equal(v.born_ms, 1700000000123);
	assert_int_equal(lt_bytes_get32(v.base + 48), 0x7f000001);
	lt_record_texts(&v, &texts);
	assert_memory_equal(texts.id, "THEIRS", 6);
	assert_memory_equal(texts.tag, "red", 3);
	assert_memory_equal(texts.keys, "k1", 2);

	/* Codes of the rest. */
	await(pull("made", "0", "blue", "0"), &r);
	assert_int_equal(r.h.code, LT_CODE_PULL_RETRY);
	assert_int_equal(number(&r, "nextBeginOffset"), 1);
	await(pull("made", "9", "*", "0"), &r);
	assert_int_equal(r.h.code, LT_CODE_PULL_MOVED);
	assert_int_equal(number(&r, "nextBeginOffset"), 1);
	await(pull("made", "1", "*", "200"), &r);
	assert_int_equal(r.h.code, LT_CODE_PULL_NOT_FOUND);
	assert_int_equal(number(&r, "nextBeginOffset"), 1);
	await(pull("none", "0", "*", "0"), &r);
	assert_int_equal(r.h.code, LT_CODE_TOPIC_NOT_EXIST);
}

/* A pull that waits is answered by what comes, from here and from elsewhere. */
static void
test_held(void **state)
{
	struct leat_topic t = {
	    .name = "t", .read_queues = 1, .write_queues = 1};
	struct leat_message m = LEAT_MESSAGE_INIT;
	struct lt_record_view v;
	struct reply r;
	int32_t held, sent;

	OK(leat_topic_create(it.local, &t));
	m.topic = "t";
	m.body = "local";
	m.body_bytes = 5;
	m.tag = "green";
	/* Written before the worker looked, then while it waits. */
	OK(leat_publish(it.local, &m, PATIENCE_MS, NULL));
	await(pull("t", "0", "*", "15000"), &r);
	check_body(&r, "local", &v);
	for (int i = 1; i <= 20; i++) {
		char at[12];

		snprintf(at, sizeof at, "%d", i);
		held = pull("t", at, "green || blue", "15000");
		OK(leat_publish(it.local, &m, PATIENCE_MS, NULL));
		await(held, &r);
		check_body(&r, "local", &v);
		assert_int_equal(v.queue_offset, i);
	}
	/* One that does not pass, then one that does. */
	held = pull("t", "21", "green", "15000");
	sent = send_message("t", "0", "red one");
	await(sent, &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	OK(leat_publish(it.local, &m, PATIENCE_MS, NULL));
	await(held, &r);
	check_body(&r, "local", &v);
	assert_int_equal(v.queue_offset, 22);
}

/* Who has finished writing still gets what it asked for. */
static void
test_half_closed(void **state)
{
	struct reply r;

	(void)send_message("half", "0", "hello");
	assert_int_equal(shutdown(it.fd, SHUT_WR), 0);
	await(it.opaque, &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(recv(it.fd, it.in, 1, 0), 0);
}

/* Remote to local. */
static void
test_local_consumer(void **state)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_topic t = {
	    .name = "t", .read_queues = 1, .write_queues = 1};
	struct leat_consumer *c;
	struct leat_delivery d;
	struct reply r;

	OK(leat_topic_create(it.local, &t));
	s.topic = "t";
	s.group = "g";
	OK(leat_subscribe(it.local, &s, &c));
	await(send_message("t", "0", "from afar"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(leat_poll(c, &d, 1, PATIENCE_MS), 1);
	assert_int_equal(d.body_bytes, 9);
	assert_memory_equal(d.body, "from afar", 9);
	assert_string_equal(d.id, "THEIRS");
	assert_string_equal(d.tag, "red");
	OK(leat_ack(c, &d, 1));
}

/* Many at once: each gets its own place, all are there in the end. */
static void
test_pipelined(void **state)
{
	enum {
		COUNT = 3000,
		WINDOW = 100
	};
	struct reply r;
	int64_t seen = 0;

	await(send_message("many", "0", "first"), &r);
	for (int i = 0; i < COUNT; i += WINDOW) {
		int32_t last = it.opaque;

		for (int k = 0; k < WINDOW; k++)
			(void)send_message("many", "0", "body");
		for (int k = 1; k <= WINDOW; k++) {
			await(last + k, &r);
			assert_int_equal(r.h.code, LT_CODE_SUCCESS);
			assert_int_equal(number(&r, "queueOffset"), i + k);
		}
	}
	while (seen < COUNT + 1) {
		char at[24];

		snprintf(at, sizeof at, "%lld", (long long)seen);
		await(pull("many", at, "*", "15000"), &r);
		assert_int_equal(r.h.code, LT_CODE_SUCCESS);
		for (uint32_t n = 0; n < r.f.body_bytes;) {
			struct lt_record_view v;

			OK(lt_record_parse(
			    r.f.body + n, r.f.body_bytes - n, &v));
			assert_int_equal(v.queue_offset, seen++);
			n += v.bytes;
		}
		assert_int_equal(number(&r, "nextBeginOffset"), seen);
	}
}

static void
test_batch(void **state)
{
	static const char props[] = "UNIQ_KEY\001B\002";
	const struct field fields[] = {{"a", "pg"}, {"b", "batch"},
	    {"c", "TBW102"}, {"d", "4"}, {"e", "1"}, {"f", "0"},
	    {"g", "1700000000123"}, {"h", "0"}, {"m", "true"}, {NULL, NULL}};
	uint8_t body[256];
	struct lt_remoting_text ids;
	struct reply r;
	size_t n = 0;

	for (int i = 0; i < 3; i++) {
		uint32_t bytes = 22 + 4 + sizeof props - 1;

		memset(body + n, 0, bytes);
		lt_bytes_put32(body + n, bytes);
		lt_bytes_put32(body + n + 16, 4);
		memcpy(body + n + 20, "body", 4);
		lt_bytes_put16(body + n + 24, sizeof props - 1);
		memcpy(body + n + 26, props, sizeof props - 1);
		n += bytes;
	}
	await(ask(320, fields, body, n), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(number(&r, "queueOffset"), 0);
	assert_int_equal(number(&r, "queueId"), 1);
	ids = lt_remoting_find(&r.h, "msgId");
	assert_int_equal(ids.bytes, 3 * 32 + 2);
	assert_int_equal(ids.p[32], ',');
	/* Lengths that do not fit: nothing of it is logged. */
	await(ask(320, fields, body, n - 1), &r);
	assert_int_equal(r.h.code, LT_CODE_MESSAGE_ILLEGAL);
}

static void
test_refusals(void **state)
{
	static const char *const delays[] = {
	    "DELAY\0013\002", "K\001v\002TIMER_DELIVER_MS\0019\002"};
	const struct field none[] = {{NULL, NULL}};
	char *large = calloc(1, (4 << 20) + 2);
	struct reply r;

	assert_non_null(large);
	await(ask(9999, none, NULL, 0), &r);
	assert_int_equal(r.h.code, LT_CODE_NOT_SUPPORTED);
	await(send_message("bad name!", "0", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_INVALID_PARAMETER);
	await(send_message("few", "0", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	await(send_message("few", "4", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_INVALID_PARAMETER);
	await(send_message("few", "-1", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	memset(large, 'x', (4 << 20) + 1);
	await(send_message("few", "0", large), &r);
	assert_int_equal(r.h.code, LT_CODE_MESSAGE_ILLEGAL);
	/* Never early: what would have to wait is refused. */
	for (size_t i = 0; i < LT_COUNT(delays); i++) {
		const struct field fields[] = {{"a", "pg"}, {"b", "few"},
		    {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"},
		    {"g", "1"}, {"h", "0"}, {"i", delays[i]}, {NULL, NULL}};

		await(ask(310, fields, "x", 1), &r);
		assert_int_equal(r.h.code, LT_CODE_MESSAGE_ILLEGAL);
	}
	/* It went on. */
	await(send_message("few", "0", "x"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	free(large);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_send_and_pull),
	    T(test_held),
	    T(test_half_closed),
	    T(test_local_consumer),
	    T(test_pipelined),
	    T(test_batch),
	    T(test_refusals),
	};

	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
