/*
 * redis.c - Redis Streams as a peer, in RESP over a Unix socket. XADD
 * pipelined; XREADGROUP of up to LOAD_BATCH with the XACK of the batch before
 * in one write.
 */
#include "config.h"
#include "load.h"

#include <stdlib.h>
#include <string.h>

struct own {
	bool acking; /* the next reply is of an XACK */
	uint64_t ids;
	char id[LOAD_BATCH][32];
};

static void
put_bulk(struct load_link *l, const char *text)
{
	load_print(l, "$%zu\r\n%s\r\n", strlen(text), text);
}

static void
put_command(struct load_link *l, int count, const char *const *words)
{
	load_print(l, "*%d\r\n", count);
	for (int i = 0; i < count; i++)
		put_bulk(l, words[i]);
}

static char *
line(struct load_link *l)
{
	char *text;
	while ((text = load_line(l)) == NULL)
		load_receive(l, true);
	if (*text == '-')
		load_fail(l, "redis: %s", text + 1);
	return text;
}

/* The next simple value; what a "$" announces. */
static char *
value(struct load_link *l, size_t *bytes)
{
	char *head = line(l);
	*bytes = strlen(head);
	if (*head != '$')
		return head;
	*bytes = strtoul(head + 1, NULL, 10);
	while (l->in_end - l->in_begin < *bytes + 2)
		load_receive(l, true);
	char *text = (char *)l->in + l->in_begin;
	l->in_begin += *bytes + 2;
	return text;
}

static void
call(struct load_link *l, int count, const char *const *words)
{
	size_t bytes;
	put_command(l, count, words);
	load_flush(l);
	value(l, &bytes);
}

static void
redis_connect(struct load_link *l, bool consumer)
{
	l->own = consumer ? calloc(1, sizeof(struct own)) : NULL;
	l->fd = load_connect_unix(l, l->plan->where);
}

static void
redis_prepare(struct load_link *l)
{
	redis_connect(l, false);
	call(l, 6,
	    (const char *[]){
		"XGROUP", "CREATE", l->plan->name, "g", "$", "MKSTREAM"});
}

static void
redis_remove(struct load_link *l)
{
	call(l, 2, (const char *[]){"DEL", l->plan->name});
}

static void
redis_submit(struct load_link *l, const void *body, size_t bytes)
{
	load_print(l,
	    "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$1\r\nb\r\n",
	    strlen(l->plan->name), l->plan->name);
	load_print(l, "$%zu\r\n", bytes);
	load_put(l, body, bytes);
	load_put(l, "\r\n", 2);
}

/* A reply is "$N", then the id. */
static bool
redis_receipts(struct load_link *l)
{
	for (;;) {
		size_t begin = l->in_begin;
		char *text = load_line(l);
		if (text != NULL && *text != '$')
			load_fail(l, "redis: %s", text);
		if (text == NULL || load_line(l) == NULL) {
			l->in_begin = begin;
			return false;
		}
		l->acked++;
	}
}

static void
ask(struct load_link *l)
{
	struct own *own = l->own;
	if (own->ids > 0) {
		load_print(l, "*%d\r\n", (int)own->ids + 3);
		put_bulk(l, "XACK");
		put_bulk(l, l->plan->name);
		put_bulk(l, "g");
		for (uint64_t i = 0; i < own->ids; i++)
			put_bulk(l, own->id[i]);
	}
	own->acking = own->ids > 0;
	own->ids = 0;
	put_command(l, 11,
	    (const char *[]){"XREADGROUP", "GROUP", "g", "c", "COUNT", "1024",
		"BLOCK", "0", "STREAMS", l->plan->name, ">"});
	load_flush(l);
}

/* [[stream, [[id, ["b", body]], ...]]] */
static void
redis_consume(struct load_link *l)
{
	struct own *own = l->own;
	size_t bytes;
	ask(l);
	if (own->acking)
		value(l, &bytes);
	line(l);
	line(l);
	value(l, &bytes);
	unsigned long count = strtoul(line(l) + 1, NULL, 10);
	if (count > LOAD_BATCH)
		load_fail(l, "redis: %lu messages", count);
	for (unsigned long i = 0; i < count; i++) {
		line(l);
		char *id = value(l, &bytes);
		if (bytes >= sizeof own->id[0])
			load_fail(l, "redis: id of %zu bytes", bytes);
		memcpy(own->id[i], id, bytes);
		own->id[i][bytes] = '\0';
		line(l);
		value(l, &bytes);
		const char *body = value(l, &bytes);
		l->deliver(l->arg, body, bytes);
	}
	own->ids = count;
}

const struct peer redis_peer = {"redis", redis_prepare, redis_remove,
    redis_connect, redis_submit, redis_receipts, redis_consume};
