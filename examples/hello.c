/*
 * hello.c - publish one message, then read the topic from its beginning.
 *
 *   cc hello.c $(pkg-config --cflags --libs leat) -o hello
 *   LEAT_SOCKET=DIR/leat.sock ./hello
 */
#include <stdio.h>
#include <string.h>
#include <leat/leat.h>

static int
fail(struct leat *leat, int status, const char *what)
{
	fprintf(stderr, "hello: %s: %s (%s)\n", what, leat_status_text(status),
	    leat_error(leat));
	return 1;
}

int
main(void)
{
	struct leat *leat = NULL;
	int rc = leat_connect(NULL, &leat);
	if (rc != LEAT_OK)
		return fail(NULL, rc, "connect");

	struct leat_message message = LEAT_MESSAGE_INIT;
	struct leat_receipt receipt;
	message.topic = "hello";
	message.body = "hello, water";
	message.body_bytes = strlen(message.body);
	rc = leat_publish(leat, &message, 5000, &receipt);
	if (rc != LEAT_OK)
		return fail(leat, rc, "publish");
	printf("published %s\n", receipt.id);

	struct leat_subscription subscription = LEAT_SUBSCRIPTION_INIT;
	struct leat_consumer *consumer;
	subscription.topic = "hello";
	subscription.from = LEAT_FROM_BEGIN;
	rc = leat_subscribe(leat, &subscription, &consumer);
	if (rc != LEAT_OK)
		return fail(leat, rc, "subscribe");

	struct leat_delivery d[16];
	int count, seen = 0;
	while (!seen && (count = leat_poll(consumer, d, 16, 5000)) > 0) {
		for (int i = 0; i < count; i++) {
			printf("%s: %.*s\n", d[i].id, (int)d[i].body_bytes,
			    (const char *)d[i].body);
			seen = seen || strcmp(d[i].id, receipt.id) == 0;
		}
	}
	leat_unsubscribe(consumer);
	leat_close(leat);
	return seen ? 0 : 1;
}
