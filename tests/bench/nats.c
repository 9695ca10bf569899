/*
 * nats.c - NATS JetStream as a peer, in NATS's own protocol over loopback. A
 * file stream of one subject; publishing with a reply subject, so that each
 * message is acknowledged; a push consumer with acknowledgement "all", sent for
 * the last message of what one read brought.
 */
#include "config.h"
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct own {
	char inbox[96];
	char last[256]; /* reply subject of the last message */
};

struct head {
	char *subject, *reply;
	size_t bytes;
};

static void
hello(struct load_link *l)
{
	l->fd = load_connect_port(l, l->plan->where);
	load_print(l, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
}

static void
nats_connect(struct load_link *l, bool consumer)
{
	struct own *own = calloc(1, sizeof *own);
	l->own = own;
	hello(l);
	snprintf(own->inbox, sizeof own->inbox, "_%s.%s.%d", l->plan->name,
	    consumer ? "deliver" : "ack", (int)l->index);
	load_print(l, "SUB %s 1\r\n", own->inbox);
	load_flush(l);
}

/* "MSG SUBJECT SID [REPLY] BYTES" */
static bool
read_head(char *text, struct head *h)
{
	char *save, *word[6];
	int words = 0;
	for (char *w = strtok_r(text, " ", &save); w != NULL && words < 6;
	     w = strtok_r(NULL, " ", &save))
		word[words++] = w;
	if (words < 4)
		return false;
	h->subject = word[1];
	h->reply = words > 4 ? word[3] : NULL;
	h->bytes = strtoul(word[words - 1], NULL, 10);
	return true;
}

/* Next message's body; NULL: need more. Answers a PING. */
static char *
next(struct load_link *l, struct head *h)
{
	for (;;) {
		size_t begin = l->in_begin;
		/* An incomplete message is read again: leave it as it came. */
		char *text = load_line(l), copy[512];
		if (text == NULL)
			return NULL;
		if (strncmp(text, "PING", 4) == 0)
			load_print(l, "PONG\r\n");
		if (*text == '-')
			load_fail(l, "nats: %s", text);
		if (strncmp(text, "MSG ", 4) != 0)
			continue;
		size_t length = strlen(text);
		if (length >= sizeof copy)
			load_fail(l, "nats: long line");
		memcpy(copy, text, length + 1);
		if (!read_head(text, h))
			load_fail(l, "nats: %s", copy);
		if (l->in_end - l->in_begin < h->bytes + 2) {
			memcpy(text, copy, length);
			l->in_begin = begin;
			return NULL;
		}
		char *body = (char *)l->in + l->in_begin;
		l->in_begin += h->bytes + 2;
		return body;
	}
}

/* Ask JetStream, from the parent; an error is a failure. */
static void
api(struct load_link *l, const char *subject, const char *json)
{
	struct own *own = l->own;
	struct head h;
	char *body;
	load_print(l, "PUB $JS.API.%s %s %zu\r\n%s\r\n", subject, own->inbox,
	    strlen(json), json);
	load_flush(l);
	while ((body = next(l, &h)) == NULL)
		load_receive(l, true);
	body[h.bytes] = '\0';
	if (strstr(body, "\"error\"") != NULL)
		load_fail(l, "nats: %s", body);
}

static void
nats_prepare(struct load_link *l)
{
	const char *name = l->plan->name;
	char subject[256], json[768];
	nats_connect(l, false);
	snprintf(subject, sizeof subject, "STREAM.CREATE.%s", name);
	snprintf(json, sizeof json,
	    "{\"name\":\"%s\",\"subjects\":[\"%s\"],\"storage\":\"file\","
	    "\"retention\":\"limits\",\"max_consumers\":-1,\"max_msgs\":-1,"
	    "\"max_bytes\":-1,\"discard\":\"old\",\"num_replicas\":1}",
	    name, name);
	api(l, subject, json);
	if (l->plan->publish)
		return;
	snprintf(subject, sizeof subject, "CONSUMER.DURABLE.CREATE.%s.g", name);
	snprintf(json, sizeof json,
	    "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"g\","
	    "\"deliver_subject\":\"_%s.deliver.0\",\"deliver_policy\":\"all\","
	    "\"ack_policy\":\"all\",\"ack_wait\":30000000000,"
	    "\"max_ack_pending\":65536,\"replay_policy\":\"instant\"}}",
	    name, name);
	api(l, subject, json);
}

static void
nats_remove(struct load_link *l)
{
	char subject[256];
	snprintf(subject, sizeof subject, "STREAM.DELETE.%s", l->plan->name);
	api(l, subject, "");
}

static void
nats_submit(struct load_link *l, const void *body, size_t bytes)
{
	const struct own *own = l->own;
	load_print(l, "PUB %s %s %zu\r\n", l->plan->name, own->inbox, bytes);
	load_put(l, body, bytes);
	load_put(l, "\r\n", 2);
}

static bool
nats_receipts(struct load_link *l)
{
	struct head h;
	char *body;
	while ((body = next(l, &h)) != NULL) {
		if (h.bytes > 9 && memcmp(body, "{\"error\":", 9) == 0)
			load_fail(l, "nats: %.*s", (int)h.bytes, body);
		l->acked++;
	}
	return false;
}

static void
nats_consume(struct load_link *l)
{
	struct own *own = l->own;
	struct head h;
	char *body;
	load_receive(l, true);
	own->last[0] = '\0';
	while ((body = next(l, &h)) != NULL) {
		l->deliver(l->arg, body, h.bytes);
		if (h.reply != NULL)
			snprintf(own->last, sizeof own->last, "%s", h.reply);
	}
	if (own->last[0] != '\0')
		load_print(l, "PUB %s 0\r\n\r\n", own->last);
	load_flush(l);
}

const struct peer nats_peer = {"nats", nats_prepare, nats_remove, nats_connect,
    nats_submit, nats_receipts, nats_consume};
