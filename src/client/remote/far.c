/*
 * far.c - a session with a RocketMQ cluster: connect, pump, close. There is no
 * thread: sockets are looked at, heartbeats sent and members' queues shared out
 * while calls are made. Who does not call for a minute loses his leases, as
 * everywhere; who does not for two, his queues: the brokers give up on him.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

#define SCHEME "rocketmq://"
#define PORT "9876"
#define EVENTS 64
#define CONNECT_MS 5000
#define CLOSE_MS 3000
#define ARENA_BLOCK 65536u

struct lt_far *
lt_far_of(const struct leat *leat)
{
	return leat != NULL && leat->magic == LT_FAR_MAGIC ? leat->far : NULL;
}

int
lt_far_here_only(struct leat *leat, const char *what)
{
	if (lt_far_of(leat) == NULL)
		return LEAT_E_INVALID;
	return lt_connect_fail(leat, LEAT_E_UNSUPPORTED,
	    "%s only on the broker's own host: leat --socket DIR/leat.sock ...",
	    what);
}

int
lt_far_fail(struct lt_far *far, int status, const char *what, const char *name,
    const struct lt_farreply *reply)
{
	const char *why = reply != NULL && reply->code > 0 ? reply->remark : "";

	if (status == LEAT_OK)
		return status;
	if (status == LEAT_E_UNSUPPORTED)
		return lt_connect_fail(far->leat, status,
		    "%s %s: this server does not support the request", what,
		    name);
	return lt_connect_fail(far->leat, status, "%s %s: %s%s%s", what, name,
	    leat_status_text(status), why[0] != '\0' ? ": " : "", why);
}

/* --- memory that is lent -----------------------------------------------------
 */

void *
lt_far_arena(struct lt_fararena **arena, size_t bytes)
{
	struct lt_fararena *a = *arena;
	size_t room;
	void *p;

	bytes = lt_bytes_align(bytes, 8);
	room = bytes > ARENA_BLOCK ? bytes : ARENA_BLOCK;
	if (a == NULL || a->room - a->used < bytes) {
		a = lt_mem_alloc(sizeof(*a) + room);
		if (a == NULL)
			return NULL;
		a->room = room;
		a->next = *arena;
		*arena = a;
	}
	p = a->bytes + a->used;
	a->used += bytes;
	return p;
}

/* One ordinary block is kept. */
void
lt_far_arena_empty(struct lt_fararena **arena)
{
	struct lt_fararena *a, *kept = NULL;

	while ((a = *arena) != NULL) {
		*arena = a->next;
		if (kept == NULL && a->room == ARENA_BLOCK) {
			kept = a;
			continue;
		}
		lt_mem_free(a);
	}
	if (kept != NULL) {
		kept->used = 0;
		kept->next = NULL;
	}
	*arena = kept;
}

/* --- pump --------------------------------------------------------------------
 */

static void
tick(struct lt_far *far, uint64_t now)
{
	struct lt_farconn *c;
	struct lt_fartopic *t;

	far->ticked_at = now;
	for (c = far->conns; c != NULL; c = c->next)
		if (c->is_connecting && now >= c->deadline)
			lt_farconn_down(c, LEAT_E_UNREACHABLE);
	lt_farask_expire(far, now);
	lt_farroute_due(far, now);
	for (t = far->topics; t != NULL; t = t->next)
		lt_faroutlet_due(t, now);
	lt_farmember_due(far, now);
}

static void
flush(struct lt_far *far)
{
	struct lt_farconn *c;

	for (c = far->conns; c != NULL; c = c->next)
		if (c->tx.bytes != 0)
			lt_farconn_flush(c);
}

void
lt_far_pump(struct lt_far *far, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	uint64_t now = lt_clock_mono_ms();
	int n, i;

	LT_ASSERT(!far->pumping);
	far->pumping = 1;
	if (now >= far->ticked_at + LT_FAR_TICK_MS)
		tick(far, now);
	flush(far);
	if (timeout_ms > LT_FAR_TICK_MS || timeout_ms < 0)
		timeout_ms = LT_FAR_TICK_MS;
	do {
		n = epoll_wait(far->epoll, events, EVENTS, timeout_ms);
		for (i = 0; i < n; i++)
			if (events[i].data.ptr != NULL)
				lt_farconn_event(
				    events[i].data.ptr, events[i].events);
		timeout_ms = 0;
	} while (n == EVENTS);
	now = lt_clock_mono_ms();
	far->pumped_at = now;
	lt_farhome_due(far, now);
	if (far->groups != NULL)
		lt_farmember_due(far, now);
	flush(far);
	far->pumping = 0;
}

void
lt_far_glance(struct lt_far *far)
{
	if (lt_clock_mono_ms() != far->pumped_at)
		lt_far_pump(far, 0);
}

/* --- connect
 * ------------------------------------------------------------------ */

const char *
lt_far_server(const struct leat_options *options)
{
	const char *server = options->server;

	if (server == NULL && options->socket == NULL)
		server = getenv("LEAT_SERVER");
	return server == NULL || *server == '\0' ? NULL : server;
}

/* "host:port;host" behind the scheme. */
static int
take_names(struct lt_far *far, const char *text)
{
	char addr[LT_FAR_ADDR];
	size_t bytes, host;
	int port;
	struct lt_farconn *c;

	for (;; text += bytes + 1) {
		bytes = strcspn(text, ";,");
		if (far->name_count == LT_FAR_NAMES_MAX ||
		    bytes + sizeof(PORT) + 1 > sizeof(addr) ||
		    memchr(text, '/', bytes) != NULL)
			return LEAT_E_INVALID;
		snprintf(addr, sizeof(addr), "%.*s", (int)bytes, text);
		port = lt_bytes_port(addr, &host);
		if (port < 0 || host == 0)
			return LEAT_E_INVALID;
		if (port == 0)
			strcat(addr, ":" PORT);
		c = lt_farconn_of(far, addr);
		if (c == NULL)
			return LEAT_E_NOMEM;
		far->names[far->name_count++] = c;
		if (text[bytes] == '\0')
			return LEAT_OK;
	}
}

static void
name_client(struct lt_far *far, const char *name)
{
	size_t i;

	if (name == NULL)
		name = program_invocation_short_name;
	snprintf(far->client_id, sizeof(far->client_id), "%.60s@%ld#%016llx",
	    name, (long)getpid(), (unsigned long long)far->id);
	for (i = 0; far->client_id[i] != '\0'; i++)
		if (strchr("\"\\<>&/'", far->client_id[i]) != NULL ||
		    (unsigned char)far->client_id[i] <= ' ' ||
		    (unsigned char)far->client_id[i] > '~')
			far->client_id[i] = '-';
}

static void
destroy(struct lt_far *far)
{
	struct lt_farconn *c;

	if (far == NULL)
		return;
	while ((c = far->conns) != NULL) {
		far->conns = c->next;
		lt_farconn_free(c);
	}
	lt_farroute_free(far);
	lt_farflight_free(far);
	if (far->epoll >= 0)
		close(far->epoll);
	if (far->timer >= 0)
		close(far->timer);
	lt_farchannel_forget(far);
	lt_mem_free(far->calls);
	lt_mem_free(far);
}

static struct lt_far *
create(struct leat *leat)
{
	struct lt_far *far = lt_mem_alloc(sizeof(*far));

	if (far == NULL)
		return NULL;
	far->leat = leat;
	far->timer = -1;
	far->call_free = LT_FAR_CALLS;
	far->next_seq = far->oldest = 1;
	lt_buffer_init(&far->batch, LT_REMOTING_FRAME_MAX);
	far->epoll = epoll_create1(EPOLL_CLOEXEC);
	far->calls = lt_mem_array(LT_FAR_CALLS, sizeof(*far->calls));
	if (far->calls == NULL || far->epoll < 0 ||
	    getrandom(&far->id, sizeof(far->id), 0) != sizeof(far->id)) {
		destroy(far);
		return NULL;
	}
	return far;
}

static int
connect_names(struct lt_far *far, const char *server, uint64_t deadline)
{
	struct lt_farreply reply = {0};
	struct leat *leat = far->leat;
	int status = take_names(far, server + sizeof(SCHEME) - 1);

	if (status != LEAT_OK)
		return lt_connect_fail(leat, status,
		    "%s: write rocketmq://HOST:PORT, at most %d of them "
		    "with ; between",
		    server, LT_FAR_NAMES_MAX);
	status = lt_farroute_ask(far, 106, NULL, deadline, &reply);
	lt_farask_drop(&reply);
	if (status == LEAT_E_TIMEOUT)
		status = LEAT_E_UNREACHABLE;
	if (status == LEAT_OK)
		return status;
	if (status == LEAT_E_DENIED)
		return lt_connect_fail(leat, status,
		    "%s serves signed requests only: use leat:// and a key",
		    server);
	return lt_connect_fail(leat, status,
	    reply.code >= 0 ? "%s is no name server: %s"
			    : "cannot connect to %s: %s: is its name "
			      "server running?",
	    server, leat_status_text(status));
}

int
lt_far_connect(
    const struct leat_options *o, const char *server, struct leat *leat)
{
	int is_channel = strncmp(server, "leat://", 7) == 0, status;
	struct lt_far *far;
	uint64_t deadline;

	if (!is_channel && strncmp(server, SCHEME, sizeof(SCHEME) - 1) != 0)
		return lt_connect_fail(leat, LEAT_E_INVALID,
		    "%s: no server address: write leat://BROKERKEY@HOST:PORT, "
		    "or rocketmq://HOST:PORT of a name server",
		    server);
	far = create(leat);
	if (far == NULL)
		return lt_connect_fail(leat, LEAT_E_NOMEM, "out of memory");
	name_client(far, o->name);
	deadline = lt_wait_deadline(
	    o->connect_timeout_ms == 0 ? CONNECT_MS : o->connect_timeout_ms);
	status = is_channel ? lt_farhome_connect(far, server, o->key, deadline)
			    : connect_names(far, server, deadline);
	if (status != LEAT_OK) {
		destroy(far);
		return status;
	}
	leat->far = far;
	leat->magic = LT_FAR_MAGIC;
	return LEAT_OK;
}

int
lt_far_close(struct leat *leat)
{
	struct lt_far *far = lt_far_of(leat);

	if (far == NULL)
		return 0;
	while (far->groups != NULL)
		lt_farintake_unsubscribe(far->groups->consumers);
	/* What was accepted goes out, if somebody takes it. */
	(void)!lt_farflight_flush(leat, CLOSE_MS);
	destroy(far);
	leat->far = NULL;
	return 1;
}

int
lt_far_ping(struct leat *leat, int timeout_ms)
{
	struct lt_far *far = lt_far_of(leat);
	struct lt_farbroker brokers[LT_FAR_BROKERS_MAX];
	struct lt_farreply reply;
	uint64_t deadline = lt_wait_deadline(timeout_ms);
	int status, n;

	if (far == NULL)
		return LEAT_E_INVALID;
	n = lt_farroute_brokers(far, deadline, brokers);
	if (n < 0)
		return n;
	status = lt_farask_call(
	    brokers[0].conn, 28, NULL, NULL, 0, deadline, &reply);
	lt_farask_drop(&reply);
	/* Whatever it says, it is there. */
	if (reply.code >= 0)
		return LEAT_OK;
	return lt_far_fail(far, status, "broker", brokers[0].name, NULL);
}

/* --- applications with a loop of their own
 * ---------------------------------------- */

int
lt_far_fd(struct leat *leat)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct lt_far *far = lt_far_of(leat);

	if (far == NULL)
		return LEAT_E_INVALID;
	if (far->timer >= 0)
		return far->epoll;
	far->timer =
	    timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (far->timer < 0 ||
	    epoll_ctl(far->epoll, EPOLL_CTL_ADD, far->timer, &ev) != 0)
		return lt_connect_fail(leat, LEAT_E_LIMIT,
		    "cannot make a timer: raise the limit on open files");
	return far->epoll;
}

static int
anything_ready(struct lt_far *far)
{
	struct lt_fargroup *g;
	size_t i;

	if (far->in_flight != 0 &&
	    far->flights[far->oldest & (LT_FAR_FLIGHTS - 1)].is_done)
		return 1;
	for (g = far->groups; g != NULL; g = g->next)
		for (i = 0; i < g->source_count; i++)
			if (g->sources[i] != NULL &&
			    lt_farsource_ready(g->sources[i]))
				return 1;
	return 0;
}

int
lt_far_arm(struct leat *leat)
{
	struct itimerspec ts = {
	    .it_value = {.tv_nsec = LT_FAR_TICK_MS * 1000000L}};
	struct lt_far *far = lt_far_of(leat);
	uint64_t n;

	if (far == NULL)
		return LEAT_E_INVALID;
	if (far->timer < 0)
		return lt_connect_fail(
		    leat, LEAT_E_INVALID, "call leat_fd() before leat_arm()");
	(void)!read(far->timer, &n, sizeof(n));
	lt_far_pump(far, 0);
	if (anything_ready(far))
		return 1;
	(void)timerfd_settime(far->timer, 0, &ts, NULL);
	return 0;
}
