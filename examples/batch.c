/*
 * batch.c - many messages without waiting for each: submit while there is room,
 * collect receipts as they come. Bodies are written in place, straight into
 * the memory that the broker reads, so nothing is copied on this side.
 *
 *   batch TOPIC COUNT
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <leat/leat.h>

#define WINDOW 1000 /* messages under way at most */

/* Take receipts; the count of good ones, or -1 at the first that is not. */
static long
collect(struct leat *leat, int timeout_ms)
{
	struct leat_receipt receipts[100];
	int count = leat_completions(leat, receipts, 100, timeout_ms);
	if (count < 0) {
		fprintf(stderr, "batch: %s\n", leat_error(leat));
		return -1;
	}
	for (int i = 0; i < count; i++) {
		if (receipts[i].status == LEAT_OK)
			continue;
		fprintf(stderr, "batch: message %" PRIuPTR ": %s\n",
		    (uintptr_t)receipts[i].user,
		    leat_status_text(receipts[i].status));
		return -1;
	}
	return count;
}

/* Reserve, write in place, commit. */
static int
submit(struct leat *leat, const char *topic, uintptr_t number)
{
	struct leat_message message = LEAT_MESSAGE_INIT;
	char key[32];
	void *body;
	snprintf(key, sizeof key, "number-%" PRIuPTR, number);
	message.topic = topic;
	message.keys = key;
	message.level = LEAT_SYNCED;
	int rc = leat_reserve(leat, &message, 64, 5000, &body);
	if (rc != LEAT_OK)
		return rc;
	int used = snprintf(body, 64, "this is number %" PRIuPTR, number);
	return leat_commit(leat, (size_t)used, (void *)number);
}

static int
publish(struct leat *leat, const char *topic, uintptr_t count)
{
	uintptr_t good = 0;
	for (uintptr_t i = 1; i <= count; i++) {
		int rc = submit(leat, topic, i);
		if (rc != LEAT_OK) {
			fprintf(stderr, "batch: message %" PRIuPTR ": %s\n", i,
			    leat_error(leat));
			return 1;
		}
		long n =
		    collect(leat, leat_in_flight(leat) < WINDOW ? 0 : 5000);
		if (n < 0)
			return 1;
		good += (uintptr_t)n;
	}
	while (leat_in_flight(leat) > 0) {
		long n = collect(leat, 5000);
		if (n <= 0)
			return 1;
		good += (uintptr_t)n;
	}
	printf("%" PRIuPTR " synced\n", good);
	return good == count ? 0 : 1;
}

int
main(int argc, char **argv)
{
	struct leat *leat = NULL;
	if (argc != 3) {
		fprintf(stderr, "usage: batch TOPIC COUNT\n");
		return 2;
	}
	if (leat_connect(NULL, &leat) != LEAT_OK) {
		fprintf(stderr, "batch: connect: %s\n", leat_error(NULL));
		return 1;
	}
	int rc = publish(leat, argv[1], strtoul(argv[2], NULL, 10));
	leat_close(leat);
	return rc;
}
