/*
 * gateway_main.c - the program leat-gateway, as a checklist: what the
 * supervisor says, addresses, sandbox, clerk, workers; then the main thread's
 * loop, which hears the supervisor and tells name servers about us.
 *
 * Everything that needs a file or a name of a host is done before the sandbox.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdpass.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/sys.h"
#include "hub/hub.h"
#include "leat/status.h"
#include "names/namesjson.h"
#include "proto/options.h"
#include "proto/wire.h"
#include "remoting/clerk.h"
#include "remoting/entrances.h"
#include "remoting/groupkeep.h"
#include "remoting/guard.h"
#include "remoting/ledger.h"
#include "remoting/naming.h"
#include "remoting/popper.h"
#include "remoting/registrar.h"
#include "remoting/sharing.h"
#include "remoting/visitors.h"
#include "remoting/worker.h"
#include "shm/counter.h"
#include "supervisor/sandbox.h"

#define SUPERVISOR_FD 3
#define TICK_MS 100
#define CONNECT_MS 500
#define HELLO_MS 60000
#define LEAVE_MS 300 /* for name servers to hear of our end */
#define LANE_BYTES (4u << 20)
#define WORKERS_MAX 64
#define THREADS_DEFAULT_MAX 4

enum {
	START_COUNTERS,
	START_DIR,
	START_FDS
};

static struct {
	struct lt_options options;
	struct lt_segment counters;
	int dir, store_dir;
	struct lt_entrances entrances;
	struct sockaddr_in servers[LT_REGISTRAR_SERVERS_MAX];
	size_t server_count;
	char address[80]; /* that clients dial */
	struct lt_accounts *accounts; /* the guard's, once there is one */
	const struct lt_account *account; /* that we sign with */
	struct lt_gateway g;
	struct lt_net *net; /* of the main thread */
	struct lt_registrar *registrar;
	struct lt_worker *workers[WORKERS_MAX];
	pthread_t threads[WORKERS_MAX];
	size_t worker_count;
	int is_check; /* look at the settings, and leave */
	int is_stopping;
	uint64_t leave_ms; /* stop then */
	_Alignas(8) uint8_t msg[LT_WIRE_MAX];
} it;

LT_NORETURN static void LT_PRINTF(1, 2) fatal(const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	lt_log_error("fatal", "%s", text);
	_exit(1);
}

/* --- the supervisor --------------------------------------------------------
 */

/* One message, if there is one. Its descriptors are the caller's. */
static const struct lt_wire *
receive(int flags, int fds[LT_FDPASS_MAX], size_t *fd_count)
{
	size_t bytes;
	int is_reply;
	int rc = lt_fdpass_recv(
	    SUPERVISOR_FD, it.msg, sizeof it.msg, &bytes, fds, fd_count, flags);

	if (rc == LEAT_E_AGAIN)
		return NULL;
	if (rc == LEAT_E_UNREACHABLE) {
		lt_log_warn("supervisor-gone", "workers=%zu", it.worker_count);
		_exit(0);
	}
	if (rc != LEAT_OK ||
	    lt_wire_check(it.msg, bytes, 'U', 'G', &is_reply) != LEAT_OK ||
	    is_reply)
		fatal("fix=\"install all programs from one build\" "
		      "what=\"malformed message from the supervisor\"");
	return (const struct lt_wire *)it.msg;
}

static void
say(enum lt_op op)
{
	struct lt_wire_none msg = {0};

	lt_wire_init(&msg.h, op, sizeof msg, 0, 0);
	if (lt_fdpass_send(SUPERVISOR_FD, &msg, sizeof msg, NULL, 0) != LEAT_OK)
		_exit(0);
}

static void
await_start(void)
{
	const struct lt_wire_start *m = NULL;
	int fds[LT_FDPASS_MAX];
	struct pollfd p = {.fd = SUPERVISOR_FD, .events = POLLIN};
	size_t count = 0;

	while (m == NULL) {
		const struct lt_wire *h;

		(void)poll(&p, 1, -1);
		h = receive(0, fds, &count);
		if (h != NULL && h->op == LT_OP_SUP_STOP)
			_exit(0);
		if (h != NULL &&
		    (h->op == LT_OP_SUP_START || h->op == LT_OP_SUP_CHECK))
			m = (const void *)h;
	}
	it.is_check = m->h.op == LT_OP_SUP_CHECK;
	if (count != (it.is_check ? 0 : START_FDS) ||
	    m->options.version != LT_OPTIONS_VERSION ||
	    m->options.bytes != sizeof m->options)
		fatal("fix=\"install all programs from one build\" "
		      "what=\"supervisor is of another version\"");
	it.options = m->options;
	if (it.is_check)
		return;
	it.dir = fds[START_DIR];
	lt_log_set_level((enum lt_log_level)it.options.broker_log_level);
	if (lt_segment_attach(&it.counters, fds[START_COUNTERS],
		LT_SEGMENT_COUNTER, 1, 0) != LEAT_OK)
		fatal("what=\"counter segment is not usable\"");
	lt_counter_use(&it.counters);
}

static uint64_t
topic_changes(void)
{
	return lt_counter_read(&it.counters, LT_STAT_queue_topic_changes);
}

static uint64_t
grant_changes(void)
{
	return lt_counter_read(&it.counters, LT_STAT_queue_grant_changes);
}

static uint64_t
group_changes(void)
{
	return lt_counter_read(&it.counters, LT_STAT_queue_group_changes);
}

/* --- what is needed of files and names -------------------------------------
 */

static int
has(enum lt_role role)
{
	return lt_entrances_has(&it.entrances, role);
}

/* A name server alone, without a plain port for clients, is none just because
 * channels come in by default: plain clients would be sent to nobody. */
static int
is_broker(void)
{
	return has(LT_ROLE_BROKER) ||
	       (has(LT_ROLE_CHANNEL) &&
		   (!has(LT_ROLE_NAMES) || it.options.gateway_channel[0] != 0));
}

static void
find_servers(void)
{
	char *list = it.options.gateway_namesrv;
	char *rest = NULL;

	for (char *s = strtok_r(list, ";, ", &rest); s != NULL;
	     s = strtok_r(NULL, ";, ", &rest)) {
		if (it.server_count == LT_REGISTRAR_SERVERS_MAX)
			fatal("setting=gateway.namesrv fix=\"name at most %d\"",
			    LT_REGISTRAR_SERVERS_MAX);
		if (lt_entrances_resolve(s, &it.servers[it.server_count]) != 0)
			fatal(
			    "setting=gateway.namesrv value=\"%s\" fix=\"write "
			    "HOST:PORT of a host that can be looked up\"",
			    s);
		it.server_count++;
	}
}

static void
load_accounts(void)
{
	const char *file = it.options.gateway_accounts;
	const char *as = it.options.gateway_sign_as;
	char why[300];

	if (file[0] == '\0' && as[0] == '\0')
		return;
	if (lt_accounts_read(file, &it.accounts, why, sizeof why) != LEAT_OK)
		fatal("setting=gateway.accounts value=\"%s\" fix=\"%s\"", file,
		    why);
	if (as[0] != '\0')
		it.account = lt_accounts_find(it.accounts, lt_call_text(as));
	if (as[0] != '\0' && it.account == NULL)
		fatal("setting=gateway.sign_as value=\"%s\" fix=\"name an "
		      "access key of gateway.accounts\"",
		    as);
	lt_log_info("accounts", "count=%zu anonymous=%d",
	    lt_accounts_count(it.accounts), it.options.gateway_anonymous != 0);
}

/* --- workers ---------------------------------------------------------------
 */

static void *
work(void *arg)
{
	struct lt_worker *w = arg;

	(void)pthread_setname_np(pthread_self(), "gateway-worker");
	if (lt_net_run(w->net) != LEAT_OK)
		fatal("what=\"a worker's loop failed\"");
	return NULL;
}

static size_t
thread_count(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = it.options.gateway_threads;

	if (n == 0)
		n = cpus < 4 ? 1 : (size_t)cpus / 2;
	if (it.options.gateway_threads == 0 && n > THREADS_DEFAULT_MAX)
		n = THREADS_DEFAULT_MAX;
	return n;
}

static void
start_workers(const struct leat_options *session)
{
	size_t n = thread_count();
	struct lt_worker_config config = {
	    .session = *session,
	    .store_dir = it.store_dir,
	    .limits = {.frame_bytes = LT_REMOTING_FRAME_MAX,
		.conn_bytes = it.options.gateway_conn_bytes,
		.memory_bytes = it.options.gateway_memory_bytes / n,
		.connections =
		    (uint32_t)((it.options.gateway_connections + n - 1) / n),
		.idle_ms = (uint32_t)it.options.gateway_idle_ms,
		.stall_ms = (uint32_t)it.options.gateway_stall_ms,
		.hello_ms = HELLO_MS,
		.half_open = (uint32_t)((LT_NET_HALF_OPEN + n - 1) / n),
		.shake_ms = LT_NET_SHAKE_MS},
	};
	sigset_t all, before;
	int rc;

	config.session.lane_bytes = LANE_BYTES;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (size_t i = 0; i < n; i++) {
		rc = lt_worker_create(&it.g, &config, &it.workers[i]);
		if (rc != LEAT_OK)
			fatal("what=\"a worker cannot start\" status=%s "
			      "why=\"%s\"",
			    leat_status_name(rc), leat_error(NULL));
		if (lt_entrances_share(&it.entrances, it.workers[i], 0) !=
		    LEAT_OK)
			fatal("what=\"cannot listen\"");
		it.worker_count++;
	}
	for (size_t i = 0; i < n; i++)
		if (pthread_create(&it.threads[i], NULL, work, it.workers[i]) !=
		    0)
			fatal("what=\"no thread for a worker\"");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void
stop_workers(void)
{
	for (size_t i = 0; i < it.worker_count; i++) {
		lt_net_stop(it.workers[i]->net);
		pthread_join(it.threads[i], NULL);
	}
	lt_clerk_stop(it.g.clerk);
	it.g.clerk = NULL; /* who leaves with its worker asks for nothing */
	for (size_t i = 0; i < it.worker_count; i++)
		lt_worker_destroy(it.workers[i]);
}

/* --- the main thread's loop ------------------------------------------------
 */

static int64_t
cut(const uint8_t *p, size_t bytes, void *user)
{
	return lt_worker_cut(p, bytes, user);
}

static int
frame(struct lt_conn *c, uint8_t *p, size_t bytes, void *user)
{
	return lt_registrar_frame(it.registrar, c, p, bytes);
}

static void
opened(struct lt_conn *c, void *user)
{
	if (!it.is_stopping) /* else it would register us again */
		lt_registrar_opened(it.registrar, c);
}

static void
closed(struct lt_conn *c, void *user)
{
	if (it.registrar != NULL)
		lt_registrar_closed(it.registrar, c);
}

static void
count_all(void)
{
	const struct lt_visitors *v = it.g.visitors;

	lt_stat_set(gateway_refused, lt_guard_refused(it.g.guard));
	lt_stat_set(gateway_channels, lt_visitors_count(v, LT_VISIT_UP));
	lt_stat_set(
	    gateway_half_open, lt_visitors_count(v, LT_VISIT_HALF_OPEN));
	lt_stat_set(gateway_handshakes, lt_visitors_count(v, LT_VISIT_MADE));
	lt_stat_set(gateway_unshaken, lt_visitors_count(v, LT_VISIT_REFUSED));
	lt_stat_set(gateway_flooded, lt_visitors_count(v, LT_VISIT_FLOODED));
	lt_stat_set(gateway_revoked, lt_visitors_count(v, LT_VISIT_REVOKED));
}

/* How far the grants are in force in all workers: `leat grant` waits for it. */
static void
count_grants(void)
{
	uint64_t generation, learned;

	learned = lt_guard_learned(it.g.guard, &generation);
	for (size_t i = 0; i < it.worker_count; i++)
		if (atomic_load(&it.workers[i]->rules_seen) != generation)
			return;
	if (lt_popper_has_seen(it.g.popper, generation))
		lt_stat_set(gateway_grant_changes, learned);
}

static void
tick(uint64_t now_ms, void *user)
{
	lt_worker_count(it.workers, it.worker_count);
	count_all();
	count_grants();
	if (!it.is_stopping)
		lt_guard_tick(it.g.guard, now_ms);
	if (it.is_stopping && now_ms >= it.leave_ms)
		lt_net_stop(it.net);
	else if (!it.is_stopping && it.registrar != NULL)
		lt_registrar_tick(it.registrar, now_ms);
}

static void
begin_stop(void)
{
	if (it.is_stopping)
		return;
	lt_log_info("stopping", "workers=%zu", it.worker_count);
	it.is_stopping = 1;
	it.leave_ms = lt_clock_mono_ms();
	if (it.registrar != NULL && lt_registrar_leave(it.registrar))
		it.leave_ms += LEAVE_MS;
	else
		lt_net_stop(it.net);
}

static void
take_options(const struct lt_wire_start *m)
{
	if (m->options.version != LT_OPTIONS_VERSION ||
	    m->options.bytes != sizeof m->options)
		return; /* an older program would not have been started */
	lt_log_set_level((enum lt_log_level)m->options.broker_log_level);
	lt_guard_reload(it.g.guard, &m->options);
	lt_log_info(
	    "settings-changed", "access_rules=%u", m->options.access_count);
}

/* All that the supervisor has said since. 1: to stop. */
static int
hear_supervisor(void)
{
	const struct lt_wire *h;
	int fds[LT_FDPASS_MAX], must_stop = 0;
	size_t count;

	while ((h = receive(MSG_DONTWAIT, fds, &count)) != NULL) {
		for (size_t i = 0; i < count; i++)
			close(fds[i]);
		must_stop |= h->op == LT_OP_SUP_STOP;
		if (h->op == LT_OP_SUP_OPTIONS)
			take_options((const void *)h);
	}
	return must_stop;
}

static void
control_ready(void *user)
{
	if (hear_supervisor())
		begin_stop();
}

/* Somebody waits for name servers to hear of a topic. */
static void
woken(void *user)
{
	if (!it.is_stopping && it.registrar != NULL)
		lt_registrar_tick(it.registrar, lt_clock_mono_ms());
}

static const struct lt_net_owner owner = {
    .cut = cut,
    .opened = opened,
    .frame = frame,
    .woken = woken,
    .tick = tick,
    .closed = closed,
};

static void
start_main_loop(const struct leat_options *session)
{
	const struct lt_net_limits limits = {
	    .frame_bytes = LT_REMOTING_FRAME_MAX,
	    .conn_bytes = 64u << 20,
	    .memory_bytes = 256u << 20,
	    .connections = LT_REGISTRAR_SERVERS_MAX,
	    .stall_ms = HELLO_MS,
	    .hello_ms = HELLO_MS,
	};
	struct lt_registrar_config config = {
	    .gateway = &it.g,
	    .servers = it.servers,
	    /* Others find us by a plain port only. */
	    .server_count = has(LT_ROLE_BROKER) ? it.server_count : 0,
	    .account = it.account,
	    .session = *session,
	    .topic_changes = topic_changes,
	};
	int rc = lt_net_create(&owner, NULL, &limits, TICK_MS, &it.net);

	/* Who serves no clients is no broker to be told of. */
	if (rc == LEAT_OK && is_broker())
		rc = lt_registrar_create(&config, it.net, &it.registrar);
	if (rc == LEAT_OK)
		rc = lt_net_watch(it.net, SUPERVISOR_FD, control_ready, NULL);
	if (rc != LEAT_OK)
		fatal("what=\"cannot start\" status=%s", leat_status_name(rc));
	it.g.registrar = it.registrar;
}

/* --- start and end ---------------------------------------------------------
 */

LT_NORETURN static void
check_settings(void)
{
	char why[600];

	lt_log_set_level(LT_LOG_WARN);
	if (lt_entrances_check(&it.options, why, sizeof why) != LEAT_OK)
		fatal("%s", why);
	find_servers();
	load_accounts();
	exit(0);
}

static void
before_sandbox(void)
{
	char why[600];

	if (lt_sys_mkdirs(it.dir, "store") != LEAT_OK ||
	    (it.store_dir = lt_sys.openat(
		 it.dir, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)) < 0)
		fatal("what=\"cannot open DIR/store\" error=\"%s\"",
		    strerror(errno));
	if (lt_entrances_open(
		&it.entrances, &it.options, it.dir, why, sizeof why) != LEAT_OK)
		fatal("%s", why);
	find_servers();
	load_accounts();
	lt_namesjson_seed();
}

static void
share(void)
{
	const struct lt_options *o = &it.options;
	const struct lt_hub_limits hub = {0};
	struct lt_names_limits names = {
	    .port = lt_entrances_port(&it.entrances, LT_ROLE_NAMES)};
	struct in_addr ip;
	int rc = lt_hub_create(&hub, &it.g.hub);

	it.g.group_changes = group_changes;
	if (rc == LEAT_OK)
		rc = lt_gateway_open(&it.g);
	if (rc == LEAT_OK)
		rc = lt_guard_create(it.accounts, o, &it.g.guard);
	if (rc == LEAT_OK && (has(LT_ROLE_NAMES) || has(LT_ROLE_CHANNEL)))
		rc = lt_naming_create(&names, &it.g.naming);
	if (rc != LEAT_OK)
		fatal("what=\"out of memory\"");
	it.g.broker_name = o->broker_name;
	it.g.cluster_name = o->gateway_cluster;
	it.g.store_ip =
	    inet_pton(AF_INET, o->broker_host, &ip) == 1 ? ntohl(ip.s_addr) : 0;
	it.g.store_port = (uint16_t)o->broker_port;
	it.g.max_body_bytes = (uint32_t)o->store_max_body_bytes;
	it.g.default_queues = (uint32_t)o->queue_default_queues;
	it.g.auto_create = o->queue_auto_create != 0;
	snprintf(it.address, sizeof it.address, "%s:%u", o->broker_host,
	    (unsigned)o->broker_port);
	if (is_broker()) /* else nobody is to dial us */
		it.g.address = it.address;
	it.g.entrances = &it.entrances;
	it.g.options = o;
}

/* leat-queue answers when the log is recovered, however long that takes. */
static void
start_clerk(struct leat_options *session)
{
	int rc;

	session->connect_timeout_ms = CONNECT_MS;
	do {
		if (hear_supervisor())
			_exit(0);
		rc = lt_clerk_start(
		    session, lt_groupkeep_load, it.g.groupkeep, &it.g.clerk);
	} while (rc == LEAT_E_TIMEOUT || rc == LEAT_E_UNREACHABLE);
	session->connect_timeout_ms = 0;
	if (rc == LEAT_OK) /* nobody is served before that is known */
		rc = lt_guard_begin(it.g.guard, session, grant_changes);
	if (rc != LEAT_OK)
		fatal(
		    "what=\"no session with leat-queue\" status=%s why=\"%s\"",
		    leat_status_name(rc), leat_error(NULL));
	lt_sharing_begin(it.g.sharing);
	lt_ledger_start(it.g.ledger, it.g.clerk);
	lt_popper_begin(it.g.popper, session);
}

int
main(void)
{
	struct leat_options session = {.name = "leat-gateway"};

	lt_log_init("leat-gateway", LT_LOG_INFO);
	if (lt_secret_init() != LEAT_OK)
		fatal("what=\"libsodium does not start\"");
	lt_sys_fp_init();
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN); /* the supervisor decides */
	(void)signal(SIGHUP, SIG_IGN);
	await_start();
	if (it.is_check)
		check_settings();
	before_sandbox();
	if (it.options.broker_sandbox &&
	    lt_sandbox_enter(
		"leat-gateway", it.dir, it.options.broker_socket) != LEAT_OK)
		fatal("what=\"sandbox refused\"");
	share();
	session.socket = it.options.broker_socket;
	start_clerk(&session);
	start_main_loop(&session);
	start_workers(&session);
	if (it.registrar != NULL)
		lt_registrar_tick(it.registrar, lt_clock_mono_ms());
	say(LT_OP_SUP_READY);
	if (lt_net_run(it.net) != LEAT_OK)
		fatal("what=\"the main loop failed\"");
	stop_workers();
	lt_gateway_close(&it.g);
	lt_net_destroy(it.net);
	lt_registrar_destroy(it.registrar);
	lt_hub_destroy(it.g.hub);
	lt_entrances_close(&it.entrances);
	lt_log_info("stopped", "workers=%zu", it.worker_count);
	return 0;
}
