/*
 * workerrig.c - the broker, the workers, frames.
 */
#include "config.h"
#include "workerrig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client.h"
#include "hub/hub.h"
#include "remoting/groupkeep.h"
#include "proto/name.h"
#include "remoting/ledger.h"
#include "remoting/naming.h"
#include "remoting/popper.h"
#include "remoting/sharing.h"
#include "shm/counter.h"

struct rig it;
const char *rig_settings;
struct lt_guard *rig_guard;

/* The broker's counters; those of brokers before stay for a while, since the
 * clerk may just be reading them. */
static struct lt_segment counters[64];
static atomic_uint counters_at;

static uint64_t
group_changes(void)
{
	return lt_counter_read(
	    &counters[atomic_load(&counters_at)], LT_STAT_queue_group_changes);
}

static void
attach_counters(void)
{
	const struct leat_options session = {.socket = it.socket};
	unsigned next = (atomic_load(&counters_at) + 1) % LT_COUNT(counters);
	struct lt_wire_none msg = {0};
	struct leat *leat;
	int fd;

	OK(leat_connect(&session, &leat));
	OK(lt_link_call(leat, LT_OP_STATUS, &msg, sizeof msg,
	    lt_wait_deadline(PATIENCE_MS), NULL));
	fd = lt_link_take_fd(leat, 0);
	assert_true(fd >= 0);
	if (counters[next].base != NULL)
		lt_segment_detach(&counters[next]);
	OK(lt_segment_attach(&counters[next], fd, LT_SEGMENT_COUNTER, 0, 0));
	close(fd);
	leat_close(leat);
	atomic_store(&counters_at, next);
}

/* --- the broker, the worker ------------------------------------------------
 */

static void
launch(void)
{
	const char *build = getenv("top_builddir");
	char path[128], conf[128], line[256] = "";
	int out[2];

	snprintf(conf, sizeof conf, "%s/test.conf", it.dir);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	it.leatd = fork();
	assert_true(it.leatd >= 0);
	if (it.leatd == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(out[1], STDOUT_FILENO);
		snprintf(
		    path, sizeof path, "%s/leatd", build != NULL ? build : ".");
		execl(path, "leatd", "--dir", it.dir,
		    rig_settings != NULL ? "-c" : (char *)NULL, conf,
		    (char *)NULL);
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
	attach_counters();
}

static void
start_broker(void)
{
	char path[128];
	FILE *f;

	snprintf(it.dir, sizeof it.dir, "/tmp/leat-gw-XXXXXX");
	assert_non_null(mkdtemp(it.dir));
	snprintf(it.socket, sizeof it.socket, "%s/leat.sock", it.dir);
	if (rig_settings != NULL) {
		snprintf(path, sizeof path, "%s/test.conf", it.dir);
		f = fopen(path, "w");
		assert_non_null(f);
		assert_true(fputs(rig_settings, f) >= 0);
		assert_int_equal(fclose(f), 0);
	}
	launch();
	snprintf(path, sizeof path, "%s/store", it.dir);
	it.store_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(it.store_dir >= 0);
}

#define CHILDREN 8

static size_t
children(pid_t pids[CHILDREN])
{
	char path[64], line[4096] = "", *save = NULL;
	size_t n = 0;
	FILE *f;

	snprintf(
	    path, sizeof path, "/proc/%d/task/%d/children", it.leatd, it.leatd);
	f = fopen(path, "r");
	assert_non_null(f);
	(void)!fgets(line, sizeof line, f);
	fclose(f);
	for (char *p = strtok_r(line, " ", &save); p != NULL && n < CHILDREN;
	     p = strtok_r(NULL, " ", &save))
		pids[n++] = (pid_t)atoi(p);
	return n;
}

pid_t
rig_child(const char *name)
{
	pid_t pids[CHILDREN];
	size_t n = children(pids);
	char path[64], comm[32];

	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof path, "/proc/%d/comm", pids[i]);
		FILE *f = fopen(path, "r");
		if (f == NULL)
			continue;
		comm[0] = '\0';
		(void)!fgets(comm, sizeof comm, f);
		fclose(f);
		if (strncmp(comm, name, strlen(name)) == 0)
			return pids[i];
	}
	return -1;
}

void
rig_kill_broker(void)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	pid_t pids[CHILDREN];
	size_t n = children(pids);

	assert_int_equal(kill(it.leatd, SIGKILL), 0);
	for (size_t i = 0; i < n; i++)
		(void)kill(pids[i], SIGKILL);
	assert_int_equal(waitpid(it.leatd, NULL, 0), it.leatd);
	for (size_t i = 0; i < n; i++)
		while (kill(pids[i], 0) == 0)
			nanosleep(&pause, NULL);
	launch();
}

static void *
run(void *arg)
{
	(void)!lt_net_run(arg);
	return NULL;
}

int
rig_connect(int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
	    .sin_port = htons(it.ports[port]),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (void *)&at, sizeof at), 0);
	assert_int_equal(
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)),
	    0);
	return fd;
}

/* The port. */
static uint16_t
listen_at(int worker, enum lt_role role)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof at;
	int fd;

	OK(lt_net_bind(&at, &fd));
	assert_int_equal(getsockname(fd, (void *)&at, &n), 0);
	OK(lt_net_listen(
	    it.workers[worker]->net, fd, role, LT_NET_TLS_OFF, NULL));
	return ntohs(at.sin_port);
}

static void
start_worker(int i, const struct lt_worker_config *config)
{
	OK(lt_worker_create(&it.g, config, &it.workers[i]));
	it.ports[i] = listen_at(i, LT_ROLE_BROKER);
	if (i == 0)
		it.ports[NAMES] = listen_at(i, LT_ROLE_NAMES);
	assert_int_equal(
	    pthread_create(&it.threads[i], NULL, run, it.workers[i]->net), 0);
}

/* Topics are listed once; what is made later is looked for. */
static uint64_t
no_changes(void)
{
	return 0;
}

int
rig_setup(void **state)
{
	struct leat_options session = {.name = LT_NAME_GATEWAY};
	struct lt_hub_limits hub = {0};
	struct lt_worker_config config = {.limits = {.frame_bytes = 16 << 20,
					      .conn_bytes = 1 << 20,
					      .memory_bytes = 64 << 20,
					      .connections = 100}};

	struct lt_registrar_config registrar = {
	    .gateway = &it.g, .topic_changes = no_changes};

	(void)state;
	memset(&it.g, 0, sizeof it.g);
	start_broker();
	session.socket = it.socket;
	OK(leat_connect(&session, &it.local));
	OK(lt_hub_create(&hub, &it.g.hub));
	it.g.broker_name = "broker-a";
	it.g.cluster_name = "leat";
	it.g.address = "127.0.0.1:10911";
	it.g.store_ip = 0x7f000001;
	it.g.store_port = 10911;
	it.g.max_body_bytes = 4 << 20;
	it.g.default_queues = 4;
	it.g.auto_create = 1;
	it.g.group_changes = group_changes;
	it.g.guard = rig_guard;
	rig_guard = NULL;
	OK(lt_gateway_open(&it.g));
	OK(lt_clerk_start(
	    &session, lt_groupkeep_load, it.g.groupkeep, &it.g.clerk));
	OK(lt_naming_create(&(struct lt_names_limits){0}, &it.g.naming));
	registrar.session = session;
	OK(lt_registrar_create(&registrar, NULL, &it.registrar));
	lt_registrar_tick(it.registrar, lt_clock_mono_ms());
	lt_sharing_begin(it.g.sharing);
	lt_ledger_start(it.g.ledger, it.g.clerk);
	lt_popper_begin(it.g.popper, &session);
	config.session = session;
	config.session.lane_bytes = 16 << 20;
	config.store_dir = it.store_dir;
	for (int i = 0; i < WORKERS; i++)
		start_worker(i, &config);
	it.fd = rig_connect(0);
	return 0;
}

void
rig_stop(void)
{
	for (int i = 0; i < WORKERS; i++) {
		lt_net_stop(it.workers[i]->net);
		pthread_join(it.threads[i], NULL);
	}
	lt_clerk_stop(it.g.clerk);
	it.g.clerk = NULL;
}

int
rig_teardown(void **state)
{
	char command[128];

	(void)state;
	close(it.fd);
	if (it.g.clerk != NULL)
		rig_stop();
	for (int i = 0; i < WORKERS; i++)
		lt_worker_destroy(it.workers[i]);
	lt_registrar_destroy(it.registrar);
	lt_gateway_close(&it.g);
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

static uint8_t out[LT_REMOTING_PREFIX + 65536];

/* Header, then body. */
static void
send_frame(int fd, struct lt_remoting_encoder *e, const char *remark,
    const void *body, size_t bytes)
{
	size_t n = lt_remoting_end(
	    e, remark, remark != NULL ? strlen(remark) : 0, bytes);

	assert_true(n > 0);
	if (bytes <= sizeof out - n) {
		if (bytes > 0)
			memcpy(out + n, body, bytes);
		n += bytes;
		bytes = 0;
	}
	assert_int_equal(send(fd, out, n, MSG_NOSIGNAL), n);
	assert_int_equal(send(fd, body, bytes, MSG_NOSIGNAL), bytes);
}

int32_t
ask_on(int fd, int32_t code, const struct field *fields, const void *body,
    size_t bytes)
{
	struct lt_remoting_encoder e;

	lt_remoting_begin(
	    &e, out, sizeof out, LT_REMOTING_JSON, code, 0, ++it.opaque);
	for (; fields->name != NULL; fields++)
		lt_remoting_put(
		    &e, fields->name, fields->value, strlen(fields->value));
	send_frame(fd, &e, NULL, body, bytes);
	return it.opaque;
}

int32_t
ask(int32_t code, const struct field *fields, const void *body, size_t bytes)
{
	return ask_on(it.fd, code, fields, body, bytes);
}

void
respond(int fd, const struct reply *to, int32_t code, const char *remark,
    const char *body)
{
	struct lt_remoting_encoder e;

	lt_remoting_begin(&e, out, sizeof out, LT_REMOTING_JSON, code,
	    LT_REMOTING_RESPONSE, to->h.opaque);
	send_frame(fd, &e, remark, body, strlen(body));
}

void
receive(int fd, struct reply *r)
{
	size_t n = 0;

	while (lt_remoting_frame(it.in, n, &r->f) == LEAT_E_AGAIN) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		size_t want = r->f.bytes > n ? r->f.bytes - n : 4 - n % 4;
		ssize_t k;

		assert_true(n + want < sizeof it.in);
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		k = recv(fd, it.in + n, want, 0);
		assert_true(k > 0);
		n += (size_t)k;
	}
	it.in[n] = '\0';
	OK(lt_remoting_decode(&r->f, &r->h));
}

static void
await_on(int fd, int32_t opaque, struct reply *r)
{
	do
		receive(fd, r);
	while (r->h.code == 40 && r->h.flag == LT_REMOTING_ONEWAY);
	assert_int_equal(r->h.opaque, opaque);
	assert_int_equal(r->h.flag, LT_REMOTING_RESPONSE);
}

void
await(int32_t opaque, struct reply *r)
{
	await_on(it.fd, opaque, r);
}

int32_t
call_on(int fd, int32_t code, const struct field *fields, const void *body,
    struct reply *r)
{
	await_on(fd,
	    ask_on(fd, code, fields, body, body != NULL ? strlen(body) : 0), r);
	return r->h.code;
}

int32_t
call(
    int32_t code, const struct field *fields, const void *body, struct reply *r)
{
	return call_on(it.fd, code, fields, body, r);
}

int64_t
number(const struct reply *r, const char *name)
{
	int64_t value;

	OK(lt_remoting_i64(&r->h, name, &value));
	return value;
}

const char *
text(const struct reply *r)
{
	return (const char *)r->f.body;
}

int32_t
send_message(const char *topic, const char *queue, const char *body)
{
	const struct field fields[] = {{"a", "pg"}, {"b", topic},
	    {"c", "TBW102"}, {"d", "4"}, {"e", queue}, {"f", "0"},
	    {"g", "1700000000123"}, {"h", "7"},
	    {"i", "UNIQ_KEY\001THEIRS\002TAGS\001red\002KEYS\001k1"},
	    {"j", "0"}, {NULL, NULL}};

	return ask(310, fields, body, strlen(body));
}

int32_t
pull(const char *topic, const char *offset, const char *tags, const char *wait)
{
	const struct field fields[] = {{"consumerGroup", "g"}, {"topic", topic},
	    {"queueId", "0"}, {"queueOffset", offset}, {"maxMsgNums", "32"},
	    {"sysFlag", "6"}, {"commitOffset", "0"},
	    {"suspendTimeoutMillis", wait}, {"subscription", tags},
	    {"subVersion", "0"}, {NULL, NULL}};

	return ask(11, fields, NULL, 0);
}
