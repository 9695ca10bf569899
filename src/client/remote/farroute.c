/*
 * farroute.c - where topics are. Name servers are asked in turn; what one says
 * holds for 30 s, or until a broker contradicts it. A topic that no name server
 * knows is published to where TBW102 is, whose brokers then make it.
 *
 * A queue keeps its number as long as the brokers stay the same: numbers count
 * through the brokers by name, and in each through its queues. Queues that
 * vanish stay in memory behind the others, with what is still in them.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/remote/farjson.h"

#define MAKER "TBW102"
#define MADE_UP_QUEUES 4u
#define UNKNOWN_MS 1000u /* look again for a topic that is not there */
#define UNUSED_MS 600000u /* then nobody cares where it is */

struct broker { /* of a route */
	char name[128];
	char addr[LT_FAR_ADDR]; /* of its lowest id */
	int64_t id;
	uint32_t reads, writes, perm;
	int has_queues;
};

struct route {
	struct broker brokers[LT_FAR_BROKERS_MAX];
	size_t count;
	int bad;
};

/* --- reading ------------------------------------------------------------- */

static struct broker *
broker_of(struct route *r, const char *name)
{
	struct broker *b;
	size_t i;

	for (i = 0; i < r->count; i++)
		if (strcmp(r->brokers[i].name, name) == 0)
			return &r->brokers[i];
	if (r->count == LT_FAR_BROKERS_MAX || name[0] == '\0') {
		r->bad = 1;
		return NULL;
	}
	b = &r->brokers[r->count++];
	memset(b, 0, sizeof(*b));
	b->id = -1;
	strcpy(b->name, name);
	return b;
}

/* One of brokerDatas, or a member of brokerAddrTable. */
static void
read_broker(struct lt_farjson *j, struct route *r)
{
	char key[64], id[32], addr[LT_FAR_ADDR], best[LT_FAR_ADDR] = "",
						 name[128] = "";
	int64_t lowest = INT64_MAX, n;
	struct broker *b;

	if (!lt_farjson_open(j, '{'))
		return;
	while (lt_farjson_key(j, key, sizeof(key))) {
		if (strcmp(key, "brokerName") == 0) {
			lt_farjson_text(j, name, sizeof(name));
		} else if (strcmp(key, "brokerAddrs") == 0) {
			if (!lt_farjson_open(j, '{'))
				continue;
			while (lt_farjson_key(j, id, sizeof(id))) {
				n = strtoll(id, NULL, 10);
				lt_farjson_text(j, addr, sizeof(addr));
				if (n < 0 || n >= lowest || addr[0] == '\0')
					continue;
				lowest = n;
				strcpy(best, addr);
			}
		} else {
			lt_farjson_skip(j);
		}
	}
	b = broker_of(r, name);
	if (b == NULL)
		return;
	strcpy(b->addr, best);
	b->id = best[0] == '\0' ? -1 : lowest;
}

static void
read_queues(struct lt_farjson *j, struct route *r)
{
	char key[64], name[128] = "";
	int64_t reads = 0, writes = 0, perm = 0;
	struct broker *b;

	if (!lt_farjson_open(j, '{'))
		return;
	while (lt_farjson_key(j, key, sizeof(key))) {
		if (strcmp(key, "brokerName") == 0)
			lt_farjson_text(j, name, sizeof(name));
		else if (strcmp(key, "readQueueNums") == 0)
			reads = lt_farjson_number(j, -1);
		else if (strcmp(key, "writeQueueNums") == 0)
			writes = lt_farjson_number(j, -1);
		else if (strcmp(key, "perm") == 0)
			perm = lt_farjson_number(j, -1);
		else
			lt_farjson_skip(j);
	}
	if (reads < 0 || writes < 0 || perm < 0 || reads > LT_FAR_QUEUE_MAX ||
	    writes > LT_FAR_QUEUE_MAX) {
		r->bad = 1;
		return;
	}
	b = broker_of(r, name);
	if (b == NULL)
		return;
	b->has_queues = 1;
	b->reads = (uint32_t)reads;
	b->writes = (uint32_t)writes;
	b->perm = (uint32_t)perm & LEAT_PERM_BOTH;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(
	    ((const struct broker *)a)->name, ((const struct broker *)b)->name);
}

static int
read_route(const uint8_t *body, size_t bytes, struct route *r)
{
	struct lt_farjson j;
	char key[64];

	memset(r, 0, sizeof(*r));
	lt_farjson_init(&j, body, bytes);
	if (!lt_farjson_open(&j, '{'))
		return LEAT_E_CORRUPT;
	while (lt_farjson_key(&j, key, sizeof(key))) {
		int is_brokers = strcmp(key, "brokerDatas") == 0;

		if (!is_brokers && strcmp(key, "queueDatas") != 0)
			lt_farjson_skip(&j);
		else if (lt_farjson_open(&j, '['))
			while (lt_farjson_item(&j) && !r->bad) {
				if (is_brokers)
					read_broker(&j, r);
				else
					read_queues(&j, r);
			}
	}
	qsort(r->brokers, r->count, sizeof(r->brokers[0]), by_name);
	return j.bad || r->bad ? LEAT_E_CORRUPT : LEAT_OK;
}

/* --- topics -------------------------------------------------------------- */

static struct lt_farqueue *
queue_of(struct lt_fartopic *t, const struct broker *b, uint32_t id)
{
	struct lt_farqueue *q;
	uint32_t i;

	for (i = 0; i < t->queue_all; i++) {
		q = t->queues[i];
		if (q->id == id && strcmp(q->broker, b->name) == 0)
			return q;
	}
	if (lt_mem_grow((void **)&t->queues, &t->queue_capacity, t->queue_all,
		sizeof(*t->queues)) != LEAT_OK)
		return NULL;
	q = lt_mem_alloc(sizeof(*q));
	if (q == NULL)
		return NULL;
	q->topic = t;
	q->id = id;
	strcpy(q->broker, b->name);
	t->queues[t->queue_all++] = q;
	return q;
}

/* Put q at place n; what was there goes to where q was. */
static void
place(struct lt_fartopic *t, struct lt_farqueue *q, uint32_t n)
{
	uint32_t i = n;

	while (t->queues[i] != q)
		i++;
	t->queues[i] = t->queues[n];
	t->queues[n] = q;
}

/* A channel leads to one broker, whatever addresses its name server knows. */
static struct lt_farconn *
conn_of(struct lt_far *far, const char *addr)
{
	return far->keys != NULL ? far->names[0] : lt_farconn_of(far, addr);
}

static int
is_ours(const struct lt_far *far, const char *broker)
{
	return far->keys == NULL || strcmp(far->home.broker, broker) == 0;
}

static int
apply_broker(struct lt_fartopic *t, const struct broker *b, uint32_t *n)
{
	uint32_t reads = (b->perm & LEAT_PERM_READ) ? b->reads : 0;
	uint32_t writes = (b->perm & LEAT_PERM_WRITE) ? b->writes : 0;
	uint32_t all = b->reads > b->writes ? b->reads : b->writes, id;
	struct lt_farconn *conn;

	if (!b->has_queues || b->id < 0)
		return LEAT_OK;
	if (!is_ours(t->far, b->name))
		return LEAT_OK;
	conn = conn_of(t->far, b->addr);
	if (conn == NULL)
		return LEAT_E_NOMEM;
	if (*n + all > LT_FAR_QUEUE_MAX)
		return LEAT_E_CORRUPT;
	conn->is_broker = 1;
	t->perm |= b->perm;
	for (id = 0; id < all; id++) {
		struct lt_farqueue *q = queue_of(t, b, id);

		if (q == NULL)
			return LEAT_E_NOMEM;
		place(t, q, *n);
		if (q->conn != conn || q->number != *n ||
		    q->reads != (id < reads))
			t->version++;
		q->conn = conn;
		q->number = (*n)++;
		q->reads = id < reads;
		q->writes = id < writes && b->id == 0;
	}
	return LEAT_OK;
}

static int
apply(struct lt_fartopic *t, struct route *r, int is_made_up)
{
	uint32_t n = 0, i;
	size_t b;
	int status = LEAT_OK;

	for (b = 0; b < r->count; b++)
		if (r->brokers[b].has_queues && r->brokers[b].id >= 0 &&
		    is_ours(t->far, r->brokers[b].name))
			n += r->brokers[b].reads + r->brokers[b].writes;
	if (n == 0) /* nobody has it just now */
		return LEAT_E_NOTFOUND;
	n = 0;
	t->perm = 0;
	for (b = 0; b < r->count && status == LEAT_OK; b++) {
		if (is_made_up) {
			struct broker *at = &r->brokers[b];

			if (at->reads > MADE_UP_QUEUES)
				at->reads = MADE_UP_QUEUES;
			at->writes = at->reads;
		}
		status = apply_broker(t, &r->brokers[b], &n);
	}
	if (n != t->queue_count)
		t->version++;
	t->queue_count = n;
	for (i = t->write_count = 0; i < n; i++)
		t->write_count += t->queues[i]->writes;
	for (i = n; i < t->queue_all; i++)
		t->queues[i]->reads = t->queues[i]->writes = 0;
	t->is_made_up = is_made_up;
	return status;
}

static void on_route(int status, const struct lt_remoting *head,
    const uint8_t *body, size_t bytes, void *user);

static int
ask_route(struct lt_fartopic *t, const char *name)
{
	struct lt_far *far = t->far;
	struct lt_farrequest q;
	size_t i;
	int status = LEAT_E_UNREACHABLE;

	for (i = 0; i < far->name_count && status != LEAT_OK; i++) {
		status = lt_farask_begin(&q,
		    far->names[(far->name_turn + i) % far->name_count], 105,
		    strlen(name));
		if (status != LEAT_OK)
			continue;
		far->name_turn = (far->name_turn + i) % far->name_count;
		lt_farask_put(&q, "acceptStandardJsonOnly", "true");
		lt_farask_put(&q, "topic", name);
		status = lt_farask_end(&q, NULL, 0, 3000, on_route, t);
	}
	return status;
}

static void
settle(struct lt_fartopic *t, int status)
{
	uint64_t now = lt_clock_mono_ms();

	t->is_asking = 0;
	t->said = status;
	/* What was known stays good until its broker says no: a name server
	 * forgets the topics of a broker that is away. */
	if (status == LEAT_OK || t->status != LEAT_OK)
		t->status = status;
	t->refresh_at =
	    now + (status == LEAT_OK && !t->is_made_up ? LT_FAR_ROUTE_MS
						       : UNKNOWN_MS);
}

static void
on_route(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	struct lt_fartopic *t = user;
	struct lt_far *far = t->far;
	int is_maker = t->is_asking == 2;
	static const struct route none;
	struct route *r;

	if (status != LEAT_OK) {
		far->name_turn++; /* the next one may answer */
		settle(
		    t, status == LEAT_E_TIMEOUT ? LEAT_E_UNREACHABLE : status);
		return;
	}
	if (head->code == 17 && !is_maker && t->may_make &&
	    t->status != LEAT_OK) {
		t->is_asking = 2;
		status = ask_route(t, MAKER);
		if (status != LEAT_OK)
			settle(t, LEAT_E_UNREACHABLE);
		return;
	}
	r = lt_mem_alloc(sizeof(*r));
	if (r == NULL) {
		settle(t, LEAT_E_NOMEM);
		return;
	}
	*r = none;
	if (head->code == 0)
		status = read_route(body, bytes, r);
	else if (head->code != 17)
		status = lt_farask_status(head->code);
	if (status == LEAT_OK)
		status = apply(t, r, is_maker);
	settle(t, status);
	lt_mem_free(r);
}

struct lt_fartopic *
lt_farroute_topic(struct lt_far *far, const char *name)
{
	struct lt_fartopic *t;

	for (t = far->topics; t != NULL; t = t->next)
		if (strcmp(t->name, name) == 0)
			break;
	if (t == NULL) {
		if (strlen(name) >= sizeof(t->name))
			return NULL;
		t = lt_mem_alloc(sizeof(*t));
		if (t == NULL)
			return NULL;
		strcpy(t->name, name);
		t->far = far;
		t->status = LEAT_E_AGAIN;
		t->next = far->topics;
		far->topics = t;
	}
	t->used_at = lt_clock_mono_ms();
	return t;
}

void
lt_farroute_refresh(struct lt_fartopic *t)
{
	int status;

	if (t->is_asking)
		return;
	t->is_asking = 1;
	status = ask_route(t, t->name);
	if (status != LEAT_OK)
		settle(
		    t, status == LEAT_E_DENIED ? status : LEAT_E_UNREACHABLE);
}

int
lt_farroute_wait(struct lt_fartopic *t, uint64_t deadline)
{
	int asked = 0;

	while (t->status != LEAT_OK) {
		if (asked && !t->is_asking && t->status != LEAT_E_UNREACHABLE)
			return t->status;
		if (asked && lt_wait_expired(deadline))
			return t->is_asking ? LEAT_E_TIMEOUT : t->status;
		asked = 1;
		lt_farroute_refresh(t);
		lt_far_pump(t->far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	}
	return LEAT_OK;
}

int
lt_farroute_fresh(struct lt_fartopic *t, uint64_t deadline)
{
	/* What is under way may be from before. */
	while (t->is_asking && !lt_wait_expired(deadline))
		lt_far_pump(t->far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	lt_farroute_refresh(t);
	while (t->is_asking) {
		lt_far_pump(t->far, lt_wait_left(deadline, LT_FAR_TICK_MS));
		if (t->is_asking && lt_wait_expired(deadline))
			return LEAT_E_TIMEOUT;
	}
	return t->said == LEAT_OK && t->is_made_up ? LEAT_E_NOTFOUND : t->said;
}

void
lt_farroute_due(struct lt_far *far, uint64_t now)
{
	struct lt_fartopic *t;

	for (t = far->topics; t != NULL; t = t->next)
		if (t->refresh_at != 0 && now >= t->refresh_at &&
		    now < t->used_at + UNUSED_MS)
			lt_farroute_refresh(t);
}

void
lt_farroute_free(struct lt_far *far)
{
	struct lt_fartopic *t;
	uint32_t i;

	while ((t = far->topics) != NULL) {
		far->topics = t->next;
		for (i = 0; i < t->queue_all; i++)
			lt_mem_free(t->queues[i]);
		lt_mem_free(t->queues);
		lt_mem_free(t);
	}
}

/* --- name servers asked by who waits ---------------------------------------
 */

int
lt_farroute_ask(struct lt_far *far, int32_t code, const char *const *fields,
    uint64_t deadline, struct lt_farreply *reply)
{
	size_t tries = 0;
	int status;

	for (;;) {
		struct lt_farconn *c =
		    far->names[far->name_turn % far->name_count];
		uint64_t slice = lt_clock_mono_ms() + 3000;

		if (far->name_count == 1 || slice > deadline)
			slice = deadline;
		status = lt_farask_call(c, code, fields, NULL, 0, slice, reply);
		if (status == LEAT_OK || reply->code >= 0)
			return status;
		far->name_turn++;
		if (lt_wait_expired(deadline) ||
		    (++tries > 3 * far->name_count && deadline == LT_FOREVER))
			return status;
	}
}

int
lt_farroute_brokers(struct lt_far *far, uint64_t deadline,
    struct lt_farbroker out[LT_FAR_BROKERS_MAX])
{
	struct lt_farreply reply;
	struct lt_farjson j;
	struct route *r;
	char key[128];
	size_t i, n = 0;
	int status = lt_farroute_ask(far, 106, NULL, deadline, &reply);

	if (status != LEAT_OK)
		return lt_far_fail(
		    far, status, "cannot ask for brokers", "", &reply);
	r = lt_mem_alloc(sizeof(*r));
	if (r == NULL) {
		lt_farask_drop(&reply);
		return LEAT_E_NOMEM;
	}
	lt_farjson_init(&j, reply.body, reply.bytes);
	if (!lt_farjson_open(&j, '{'))
		r->bad = 1;
	while (!r->bad && lt_farjson_key(&j, key, sizeof(key))) {
		if (strcmp(key, "brokerAddrTable") != 0)
			lt_farjson_skip(&j);
		else if (lt_farjson_open(&j, '{'))
			while (!r->bad && lt_farjson_key(&j, key, sizeof(key)))
				read_broker(&j, r);
	}
	status = j.bad || r->bad ? LEAT_E_CORRUPT : LEAT_OK;
	for (i = 0; i < r->count && status == LEAT_OK; i++) {
		if (r->brokers[i].id != 0 || !is_ours(far, r->brokers[i].name))
			continue;
		out[n].conn = conn_of(far, r->brokers[i].addr);
		if (out[n].conn == NULL)
			status = LEAT_E_NOMEM;
		else
			strcpy(out[n++].name, r->brokers[i].name);
	}
	lt_mem_free(r);
	lt_farask_drop(&reply);
	if (status == LEAT_OK && n == 0)
		return lt_connect_fail(far->leat, LEAT_E_UNREACHABLE,
		    "no broker is registered with name server %s",
		    far->names[0]->addr);
	return status == LEAT_OK ? (int)n
				 : lt_far_fail(far, status,
				       "cannot ask for brokers", "", NULL);
}
