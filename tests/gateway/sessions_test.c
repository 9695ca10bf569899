/*
 * sessions_test.c - a session that goes on with another connection: the one it
 * had is closed, nothing of it is under way when the greeting is answered, and
 * what the log has of it is told. Frames over plain sockets, two workers.
 */
#include "config.h"
#include "workerrig.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32.h"

#define TOKEN "0123456789abcdef0123456789abcdef"
#define OTHER "0123456789abcdef0123456789abcdee"
#define SESSION "00000000000000AB"
#define BURST 3000

static int32_t
greet(int fd, const char *token, const char *attempt, struct reply *r)
{
	return call_on(fd, 30001,
	    FIELDS({"session", token}, {"attempt", attempt}), NULL, r);
}

static int32_t
send_with(int fd, const char *topic, const char *queue, uint64_t seq,
    const char *more)
{
	char props[80];

	snprintf(props, sizeof props, "UNIQ_KEY\001%s%016llX\002%s", SESSION,
	    (unsigned long long)seq, more);
	return ask_on(fd, 310,
	    FIELDS({"a", "P"}, {"b", topic}, {"c", "TBW102"}, {"d", "4"},
		{"e", queue}, {"f", "0"}, {"g", "1"}, {"h", "0"}, {"i", props},
		{"j", "0"}, {"k", "false"}, {"m", "false"}),
	    "body", 4);
}

static int32_t
send_as(int fd, const char *topic, const char *queue, uint64_t seq)
{
	return send_with(fd, topic, queue, seq, "");
}

/* How many of the session the log has from *begin on; *begin: behind them. */
static size_t
sent(int fd, const char *topic, int64_t *begin, uint64_t *seqs, size_t most)
{
	size_t n = 0;
	int64_t until = -1, next;
	struct reply r;

	do {
		char text[24];

		snprintf(text, sizeof text, "%lld", (long long)*begin);
		assert_int_equal(call_on(fd, 30002,
				     FIELDS({"topic", topic},
					 {"session", SESSION}, {"begin", text}),
				     NULL, &r),
		    LT_CODE_SUCCESS);
		if (until < 0)
			until = number(&r, "logEnd");
		next = number(&r, "next");
		assert_true(next >= *begin);
		assert_int_equal(r.f.body_bytes % 32, 0);
		for (uint32_t at = 0; at < r.f.body_bytes; at += 32, n++) {
			if (n < most)
				seqs[n] = lt_bytes_get64(r.f.body + at);
			assert_int_equal(lt_bytes_get32(r.f.body + at + 12),
			    lt_crc32(0, "body", 4) & 0x7fffffff);
		}
		if (next == *begin)
			usleep(20000); /* the disk */
		*begin = next;
	} while (*begin < until);
	return n;
}

/* The peer closes, and until then says what it will. */
static int
is_closed(int fd)
{
	struct timeval t = {.tv_sec = PATIENCE_MS / 1000};
	char junk[4096];
	ssize_t n;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	while ((n = recv(fd, junk, sizeof junk, 0)) > 0)
		continue;
	return n == 0 || errno == ECONNRESET;
}

static void
test_greeting(void **state)
{
	int a = rig_connect(0), b = rig_connect(1), c = rig_connect(1);
	struct reply r;
	int64_t end;

	assert_int_equal(greet(a, TOKEN, "1", &r), LT_CODE_SUCCESS);
	end = number(&r, "logEnd");
	assert_true(end >= 0);
	assert_non_null(lt_remoting_find(&r.h, "brokerName").p);
	/* Again is the same; of another session it is not. */
	assert_int_equal(greet(a, TOKEN, "1", &r), LT_CODE_SUCCESS);
	assert_int_not_equal(greet(a, OTHER, "1", &r), LT_CODE_SUCCESS);
	/* What comes late does not end what came after it. */
	assert_int_not_equal(greet(b, TOKEN, "0", &r), LT_CODE_SUCCESS);
	assert_int_equal(greet(a, TOKEN, "1", &r), LT_CODE_SUCCESS);
	assert_int_equal(greet(b, OTHER, "9", &r), LT_CODE_SUCCESS);
	/* Goes on with another connection, of another worker. */
	assert_int_equal(greet(c, TOKEN, "2", &r), LT_CODE_SUCCESS);
	assert_true(is_closed(a));
	assert_int_equal(greet(b, OTHER, "9", &r), LT_CODE_SUCCESS);
	close(a);
	close(b);
	close(c);
}

/* Two in one piece: the second comes before the first is answered. */
static void
test_one_greeting_at_a_time(void **state)
{
	int fd = rig_connect(0), on = 1, off = 0, busy = 0;
	struct reply r;

	assert_int_equal(
	    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on), 0);
	for (int i = 0; i < 3; i++)
		(void)ask_on(fd, 30001,
		    FIELDS({"session", TOKEN}, {"attempt", "10"}), NULL, 0);
	assert_int_equal(
	    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off), 0);
	for (int i = 0; i < 3; i++) {
		receive(fd, &r);
		if (r.h.code != LT_CODE_SUCCESS)
			busy += r.h.code == LT_CODE_SYSTEM_BUSY;
	}
	assert_int_equal(busy, 2);
	assert_int_equal(greet(fd, TOKEN, "10", &r), LT_CODE_SUCCESS);
	close(fd);
}

static void
test_malformed(void **state)
{
	static const char *const tokens[] = {"", "0123456789abcdef", TOKEN "0"};
	struct reply r;

	for (size_t i = 0; i < LT_COUNT(tokens); i++)
		assert_int_not_equal(
		    greet(it.fd, tokens[i], "1", &r), LT_CODE_SUCCESS);
	assert_int_not_equal(greet(it.fd, TOKEN, "x", &r), LT_CODE_SUCCESS);
	assert_int_not_equal(call(30001, NONE, NULL, &r), LT_CODE_SUCCESS);
	assert_int_not_equal(call(30002, NONE, NULL, &r), LT_CODE_SUCCESS);
	assert_int_not_equal(
	    call(30002,
		FIELDS({"topic", "t"}, {"session", SESSION}, {"begin", "-1"}),
		NULL, &r),
	    LT_CODE_SUCCESS);
	/* Beyond the log's end there is nothing. */
	assert_int_equal(call(30002,
			     FIELDS({"topic", "t"}, {"session", SESSION},
				 {"begin", "9223372036854775807"}),
			     NULL, &r),
	    LT_CODE_SUCCESS);
	assert_int_equal(r.f.body_bytes, 0);
	assert_true(number(&r, "next") == INT64_MAX);
}

static void
test_what_was_sent(void **state)
{
	uint64_t seqs[16];
	struct reply r;
	int64_t begin;

	assert_int_equal(greet(it.fd, TOKEN, "50", &r), LT_CODE_SUCCESS);
	begin = number(&r, "logEnd");
	for (uint64_t i = 1; i <= 5; i++) {
		await(send_as(it.fd, "t", "1", i), &r);
		assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	}
	await(send_message("t", "0", "of others"), &r);
	assert_int_equal(sent(it.fd, "t", &begin, seqs, 16), 5);
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(seqs[i], i + 1);
	/* Of another topic, or behind all of it. */
	assert_int_equal(sent(it.fd, "t", &begin, seqs, 16), 0);
	begin = 0;
	assert_int_equal(sent(it.fd, "u", &begin, seqs, 16), 0);
	/* Delayed: it waits in another topic, and is of this one. */
	assert_int_equal(greet(it.fd, TOKEN, "50", &r), LT_CODE_SUCCESS);
	begin = number(&r, "logEnd");
	await(send_with(it.fd, "t", "1", 9, "DELAY\00118\002"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
	assert_int_equal(sent(it.fd, "t", &begin, seqs, 16), 1);
	assert_int_equal(seqs[0], 9);
}

/* Sent without waiting, and connected again at once: what is found then is all
 * that there will ever be, and no hole is in it. */
static void
test_fence(void **state)
{
	uint64_t *seqs = calloc(BURST, sizeof *seqs);
	int fd = rig_connect(0), total = 0;
	int64_t begin, late, end;
	struct reply r;
	char text[16];

	assert_int_equal(greet(fd, OTHER, "100", &r), LT_CODE_SUCCESS);
	end = number(&r, "logEnd");
	for (int round = 0; round < 10; round++) {
		int next = rig_connect(1 - round % 2);
		size_t n, more;

		begin = late = end;
		for (int i = 0; i < BURST; i++)
			(void)send_as(
			    fd, "t", "1", (uint64_t)(round * BURST + i + 1));
		snprintf(text, sizeof text, "%d", round + 101);
		assert_int_equal(greet(next, OTHER, text, &r), LT_CODE_SUCCESS);
		end = number(&r, "logEnd");
		n = sent(next, "t", &begin, seqs, BURST);
		assert_true(n <= BURST);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(
			    seqs[i], (uint64_t)(round * BURST) + i + 1);
		assert_true(is_closed(fd));
		close(fd);
		usleep(20000); /* time for what should not come */
		more = sent(next, "t", &late, seqs, BURST);
		assert_int_equal(more, n);
		total += (int)n;
		fd = next;
	}
	print_message("%d of %d were stored\n", total, 10 * BURST);
	close(fd);
	free(seqs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_greeting),
	    cmocka_unit_test(test_one_greeting_at_a_time),
	    cmocka_unit_test(test_malformed),
	    cmocka_unit_test(test_what_was_sent),
	    cmocka_unit_test(test_fence),
	};

	return cmocka_run_group_tests_name(
	    "sessions", tests, rig_setup, rig_teardown);
}
