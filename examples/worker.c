/*
 * worker.c - a member of a consumer group. Start it as often as you like: each
 * message goes to one of the workers. A message that cannot be handled is given
 * back and comes again, to any of them, with a higher attempt.
 *
 *   worker TOPIC GROUP [COUNT]    stops after COUNT messages, or at SIGINT
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <leat/leat.h>

static volatile sig_atomic_t stopped;

static void
stop(int sig)
{
	(void)sig;
	stopped = 1;
}

/* Your work. This one cannot do "fail" at the first attempt. */
static int
handle(const struct leat_delivery *d)
{
	int is_fail = d->body_bytes == 4 && memcmp(d->body, "fail", 4) == 0;
	printf("%.*s: %s, attempt %u\n", (int)d->body_bytes,
	    (const char *)d->body,
	    is_fail && d->attempt == 1 ? "given back" : "done", d->attempt);
	return is_fail && d->attempt == 1 ? -1 : 0;
}

static long
work(struct leat_consumer *consumer, long limit)
{
	struct leat_delivery d[64];
	long done = 0;
	while (!stopped && (limit == 0 || done < limit)) {
		int count = leat_poll(consumer, d, 64, 500);
		if (count < 0) {
			fprintf(stderr, "worker: poll: %s\n",
			    leat_status_text(count));
			return -1;
		}
		for (int i = 0; i < count; i++) {
			int good = handle(&d[i]) == 0;
			int rc = good ? leat_ack(consumer, &d[i], 1)
				      : leat_nack(consumer, &d[i], 1);
			/* LEASE: we took too long, another worker has it. */
			if (rc != LEAT_OK)
				fprintf(stderr, "worker: %s\n",
				    leat_status_text(rc));
			else
				done += good;
		}
	}
	return done;
}

int
main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: worker TOPIC GROUP [COUNT]\n");
		return 2;
	}
	struct sigaction action = {.sa_handler = stop};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);

	struct leat *leat = NULL;
	struct leat_consumer *consumer;
	int rc = leat_connect(NULL, &leat);
	if (rc != LEAT_OK) {
		fprintf(stderr, "worker: connect: %s\n", leat_error(NULL));
		return 1;
	}
	struct leat_subscription subscription = LEAT_SUBSCRIPTION_INIT;
	subscription.topic = argv[1];
	subscription.group = argv[2];
	rc = leat_subscribe(leat, &subscription, &consumer);
	if (rc != LEAT_OK) {
		fprintf(stderr, "worker: %s: %s\n", argv[1], leat_error(leat));
		leat_close(leat);
		return 1;
	}
	long done = work(consumer, argc > 3 ? atol(argv[3]) : 0);
	leat_unsubscribe(consumer);
	leat_close(leat);
	printf("%ld done\n", done);
	return done < 0;
}
