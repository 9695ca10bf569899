/*
 * registrar.c - one list of topics, made anew when leat-queue says that it
 * changed, and one row for each name server that is to know it.
 */
#include "config.h"
#include "remoting/registrar.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "leat/status.h"
#include "proto/limits.h"
#include "remoting/builtins.h"
#include "remoting/naming.h"
#include "remoting/signature.h"

#define PERIOD_MS 30000
#define RETRY_MS 1000
#define SILENT_MS 1000 /* who does not answer so long is not waited for */
#define PING_MS 100
#define NAMES_BYTES_MAX ((size_t)LT_TOPICS_MAX * 256)

struct server {
	struct sockaddr_in at;
	char text[32];
	uint64_t conn; /* 0: none */
	int is_up;
	uint64_t next_ms;
	int32_t said; /* code of the last answer that was logged, -1: none */
	int32_t opaque; /* of the registration sent last */
	uint64_t sent, told; /* changes that it had, that were answered */
	uint64_t sent_ms;
};

struct lt_registrar {
	struct lt_registrar_config config;
	struct lt_net *net;
	struct leat *leat;
	struct lt_registration registration;
	struct lt_topic_queues *topics;
	size_t *names_at; /* of each topic in `names` */
	size_t capacity, names_capacity;
	struct lt_buffer names, frame;
	struct lt_data_version version;
	uint64_t digest, changes, look_ms;
	int is_listed;
	pthread_mutex_t lock;
	pthread_cond_t told_more;
	uint64_t told; /* lock; changes that all know who can be reached */
	int is_long; /* lock; the list */
	int32_t opaque;
	size_t server_count;
	struct server servers[LT_REGISTRAR_SERVERS_MAX];
	struct lt_remoting reply;
};

/* --- the list --------------------------------------------------------------
 */

static int
add(struct lt_registrar *r, const char *name, uint32_t read, uint32_t write,
    uint32_t perm)
{
	uint32_t n = r->registration.topic_count;

	if (lt_mem_grow((void **)&r->topics, &r->capacity, n,
		sizeof *r->topics) != LEAT_OK ||
	    lt_mem_grow((void **)&r->names_at, &r->names_capacity, n,
		sizeof *r->names_at) != LEAT_OK)
		return LEAT_E_NOMEM;
	r->names_at[n] = r->names.bytes;
	lt_buffer_add(&r->names, name, strlen(name) + 1);
	r->topics[n] = (struct lt_topic_queues){
	    .topic.bytes = (uint32_t)strlen(name),
	    .read = read,
	    .write = write,
	    .perm = perm,
	};
	r->registration.topic_count = n + 1;
	return lt_buffer_status(&r->names);
}

static int
add_builtin(const struct leat_topic *topic, void *user)
{
	return add(user, topic->name, topic->read_queues, topic->write_queues,
	    topic->perm & ~(uint32_t)LEAT_PERM_NONE);
}

/* Not leat-queue's own, and not what is there by name already. */
static int
add_topic(const struct leat_topic *topic, void *user)
{
	struct lt_registrar *r = user;

	if (topic->system ||
	    lt_builtins_find(r->config.gateway, topic->name, NULL))
		return 0;
	return add_builtin(topic, user);
}

/* 1: there is a new list. The old one stays if it cannot be made. */
static int
list(struct lt_registrar *r, uint64_t now_ms)
{
	uint64_t changes = r->config.topic_changes();
	int rc;

	if ((r->is_listed && changes == r->changes) || now_ms < r->look_ms)
		return 0;
	r->is_listed = 0;
	r->registration.topic_count = 0;
	lt_buffer_clear(&r->names);
	rc = lt_builtins_each(r->config.gateway, add_builtin, r);
	/* This thread hears the supervisor too: a list is only asked for where
	 * it comes at once. */
	if (rc == LEAT_OK)
		rc = leat_ping(r->leat, PING_MS);
	if (rc == LEAT_OK)
		rc = leat_topic_list(r->leat, add_topic, r);
	if (rc != LEAT_OK) {
		lt_log_warn(
		    "topics-unknown", "status=%s", leat_status_name(rc));
		r->look_ms = now_ms + RETRY_MS;
		return 0;
	}
	for (uint32_t i = 0; i < r->registration.topic_count; i++)
		r->topics[i].topic.p =
		    (const char *)r->names.p + r->names_at[i];
	r->registration.topics = r->topics;
	r->changes = changes;
	r->is_listed = 1;
	lt_registration_date(
	    &r->registration, lt_clock_wall_ms(), &r->version, &r->digest);
	r->registration.version = r->version;
	return 1;
}

/* --- who is told -----------------------------------------------------------
 */

static int
send_frame(struct lt_registrar *r, struct lt_conn *c)
{
	void *room = lt_conn_room(c, r->frame.bytes);

	if (room == NULL)
		return LEAT_E_CLOSED;
	memcpy(room, r->frame.p, r->frame.bytes);
	lt_conn_put(c, r->frame.bytes);
	return LEAT_OK;
}

static int
sign(struct lt_registrar *r)
{
	return r->config.account == NULL
		   ? LEAT_OK
		   : lt_signature_add(r->config.account, &r->frame);
}

static void
tell(struct lt_registrar *r, struct server *s, struct lt_conn *c)
{
	lt_buffer_clear(&r->frame);
	if (lt_registration_frame(
		&r->registration, 0, ++r->opaque, &r->frame) == LEAT_OK &&
	    sign(r) == LEAT_OK)
		(void)!send_frame(r, c);
	s->opaque = r->opaque;
	s->sent = r->changes;
	s->sent_ms = lt_clock_mono_ms();
	s->next_ms = lt_clock_mono_ms() + PERIOD_MS;
}

/* Who waits for it hears what is known everywhere now. */
static void
spread(struct lt_registrar *r)
{
	uint64_t least = r->changes;

	for (size_t i = 0; i < r->server_count; i++)
		if (r->servers[i].is_up && r->servers[i].told < least &&
		    lt_clock_mono_ms() - r->servers[i].sent_ms < SILENT_MS)
			least = r->servers[i].told;
	pthread_mutex_lock(&r->lock);
	if (least != r->told)
		pthread_cond_broadcast(&r->told_more);
	r->told = least;
	r->is_long = r->registration.topic_count > LT_REGISTRAR_AWAITED_MAX;
	pthread_mutex_unlock(&r->lock);
}

uint64_t
lt_registrar_changes(const struct lt_registrar *r)
{
	return r == NULL ? 0 : r->config.topic_changes();
}

void
lt_registrar_await(struct lt_registrar *r, int timeout_ms)
{
	struct timespec until;
	uint64_t changes;
	int err = 0;

	if (r == NULL || r->config.gateway->address == NULL)
		return;
	changes = r->config.topic_changes();
	pthread_mutex_lock(&r->lock);
	err = r->told >= changes || r->is_long;
	pthread_mutex_unlock(&r->lock);
	if (err)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	lt_net_wake(r->net);
	pthread_mutex_lock(&r->lock);
	while (r->told < changes && err == 0)
		err = pthread_cond_timedwait(&r->told_more, &r->lock, &until);
	pthread_mutex_unlock(&r->lock);
}

static void
keep_told(struct lt_registrar *r, struct server *s, int changed, uint64_t now)
{
	struct lt_conn *c = s->conn == 0 ? NULL : lt_conn_find(r->net, s->conn);

	if (!changed && now < s->next_ms)
		return;
	if (c != NULL) {
		if (s->is_up)
			tell(r, s, c);
		return;
	}
	s->next_ms = now + RETRY_MS;
	s->is_up = 0;
	if (lt_net_connect(r->net, &s->at,
		LT_REGISTRAR_TAG + (int)(s - r->servers), &c) == LEAT_OK)
		s->conn = lt_conn_id(c);
}

void
lt_registrar_tick(struct lt_registrar *r, uint64_t now_ms)
{
	int changed;

	if (r->config.gateway->address == NULL)
		return; /* no broker, nothing to tell */
	changed = list(r, now_ms);
	if (!r->is_listed)
		return;
	if (changed)
		lt_naming_offer(r->config.gateway->naming, &r->registration);
	for (size_t i = 0; i < r->server_count; i++)
		keep_told(r, &r->servers[i], changed, now_ms);
	spread(r);
}

static struct server *
server_of(struct lt_registrar *r, struct lt_conn *c)
{
	size_t i = (size_t)(lt_conn_tag(c) - LT_REGISTRAR_TAG);

	return i < r->server_count ? &r->servers[i] : NULL;
}

void
lt_registrar_opened(struct lt_registrar *r, struct lt_conn *c)
{
	struct server *s = server_of(r, c);

	if (s == NULL)
		return;
	s->is_up = 1;
	if (r->is_listed)
		tell(r, s, c);
}

void
lt_registrar_closed(struct lt_registrar *r, struct lt_conn *c)
{
	struct server *s = server_of(r, c);

	if (s == NULL)
		return;
	if (s->said != LEAT_E_UNREACHABLE)
		lt_log_warn("namesrv-gone",
		    "namesrv=%s retry_ms=%d fix=\"start it, or correct "
		    "gateway.namesrv\"",
		    s->text, RETRY_MS);
	s->said = LEAT_E_UNREACHABLE;
	s->conn = 0;
	s->is_up = 0;
	s->next_ms = lt_clock_mono_ms() + RETRY_MS;
	spread(r);
}

int
lt_registrar_frame(
    struct lt_registrar *r, struct lt_conn *c, uint8_t *p, size_t bytes)
{
	struct lt_registration_answer a;
	struct lt_remoting_frame f;
	struct server *s = server_of(r, c);
	int rc = lt_remoting_frame(p, bytes, &f);

	if (rc == LEAT_OK)
		rc = lt_remoting_decode(&f, &r->reply);
	if (rc != LEAT_OK || s == NULL)
		return LEAT_E_CORRUPT;
	if (r->reply.opaque != s->opaque ||
	    lt_registration_answer(&r->reply, &a) != LEAT_OK)
		return LEAT_OK;
	if (a.code != s->said && a.code == 0)
		lt_log_info("registered", "namesrv=%s topics=%u", s->text,
		    r->registration.topic_count);
	else if (a.code != s->said)
		lt_log_warn("not-registered", "namesrv=%s code=%d why=\"%.*s\"",
		    s->text, a.code, (int)a.remark.bytes, a.remark.p);
	s->said = a.code;
	s->told = s->sent;
	spread(r);
	return LEAT_OK;
}

int
lt_registrar_leave(struct lt_registrar *r)
{
	int sent = 0;

	lt_buffer_clear(&r->frame);
	if (lt_registration_leave(&r->registration, ++r->opaque, &r->frame) !=
		LEAT_OK ||
	    sign(r) != LEAT_OK)
		return 0;
	for (size_t i = 0; i < r->server_count; i++) {
		struct server *s = &r->servers[i];
		struct lt_conn *c = s->conn == 0 || !s->is_up
					? NULL
					: lt_conn_find(r->net, s->conn);

		if (c != NULL && send_frame(r, c) == LEAT_OK) {
			lt_conn_drain(c);
			sent = 1;
		}
	}
	return sent;
}

/* --- life ------------------------------------------------------------------
 */

int
lt_registrar_create(const struct lt_registrar_config *config,
    struct lt_net *net, struct lt_registrar **out)
{
	struct lt_registrar *r = lt_mem_alloc(sizeof *r);
	pthread_condattr_t monotonic;
	int status;

	if (r == NULL)
		return LEAT_E_NOMEM;
	r->config = *config;
	r->net = net;
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&r->told_more, &monotonic);
	pthread_condattr_destroy(&monotonic);
	lt_buffer_init(&r->names, NAMES_BYTES_MAX);
	lt_buffer_init(&r->frame, NAMES_BYTES_MAX);
	r->registration = (struct lt_registration){
	    .cluster = lt_call_text(config->gateway->cluster_name),
	    .broker = lt_call_text(config->gateway->broker_name),
	    .address = lt_call_text(config->gateway->address != NULL
					? config->gateway->address
					: ""),
	};
	for (size_t i = 0; i < config->server_count; i++) {
		struct server *s = &r->servers[r->server_count++];
		char host[INET_ADDRSTRLEN];

		s->at = config->servers[i];
		s->said = -1;
		inet_ntop(AF_INET, &s->at.sin_addr, host, sizeof host);
		snprintf(s->text, sizeof s->text, "%s:%u", host,
		    ntohs(s->at.sin_port));
	}
	status = leat_connect(&config->session, &r->leat);
	if (status != LEAT_OK) {
		lt_registrar_destroy(r);
		return status;
	}
	*out = r;
	return LEAT_OK;
}

void
lt_registrar_destroy(struct lt_registrar *r)
{
	if (r == NULL)
		return;
	leat_close(r->leat);
	pthread_cond_destroy(&r->told_more);
	pthread_mutex_destroy(&r->lock);
	lt_buffer_fini(&r->names);
	lt_buffer_fini(&r->frame);
	lt_mem_free(r->topics);
	lt_mem_free(r->names_at);
	lt_mem_free(r);
}
