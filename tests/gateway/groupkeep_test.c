/*
 * groupkeep_test.c - what is set for groups outlives everybody: a real gateway
 * under leatd, asked over its port, and killed, as are leat-queue, leat-store
 * and the whole broker. The workers of the rig are a second gateway beside it,
 * which hears of the changes.
 */
#include "config.h"
#include "workerrig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "remoting/groups.h"

#define ROUNDS 24 /* LEAT_LONG=1: 400 */

static uint16_t port; /* of the real gateway */
static int own; /* the rig's connection */
static char settings[128];

static const char *const victims[] = {
    "leat-gateway", "leat-queue", "leat-store", "leatd"};

/* --- the real gateway -------------------------------------------------------
 */

static uint16_t
free_port(void)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof at;
	int fd;

	OK(lt_net_bind(&at, &fd));
	assert_int_equal(getsockname(fd, (void *)&at, &n), 0);
	close(fd);
	return ntohs(at.sin_port);
}

static int
setup(void **state)
{
	port = free_port();
	snprintf(settings, sizeof settings,
	    "[gateway]\nlisten = 127.0.0.1:%u\nnames = none\n"
	    "[supervisor]\nrestart_ms = 10\n",
	    port);
	rig_settings = settings;
	if (rig_setup(state) != 0)
		return -1;
	own = it.fd;
	it.fd = -1;
	return 0;
}

static int
teardown(void **state)
{
	if (it.fd >= 0)
		close(it.fd);
	it.fd = own;
	return rig_teardown(state);
}

/* it.fd becomes a connection with it, as soon as there is one. */
static void
reach(void)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	struct sockaddr_in at = {.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	uint64_t until = lt_clock_mono_ms() + PATIENCE_MS;

	if (it.fd >= 0)
		close(it.fd);
	for (;;) {
		it.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(it.fd >= 0);
		if (connect(it.fd, (void *)&at, sizeof at) == 0)
			return;
		close(it.fd);
		assert_true(lt_clock_mono_ms() < until);
		nanosleep(&pause, NULL);
	}
}

static void
kill_one(const char *name)
{
	pid_t pid;

	if (strcmp(name, "leatd") == 0) {
		rig_kill_broker();
		return;
	}
	pid = rig_child(name);
	assert_true(pid > 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	/* Its port may be free for a moment longer than it lives. */
	while (strcmp(name, "leat-gateway") == 0 && rig_child(name) == pid)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* The answer of the gateway; -1: the connection ended before. */
static int32_t
answered(int32_t opaque)
{
	struct lt_remoting_frame f;
	struct lt_remoting h;
	size_t n = 0;

	while (lt_remoting_frame(it.in, n, &f) == LEAT_E_AGAIN) {
		struct pollfd p = {.fd = it.fd, .events = POLLIN};
		ssize_t k;

		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		k = recv(it.fd, it.in + n, f.bytes > n ? f.bytes - n : 4, 0);
		if (k <= 0)
			return -1;
		n += (size_t)k;
	}
	OK(lt_remoting_decode(&f, &h));
	assert_int_equal(h.opaque, opaque);
	return h.code;
}

/* --- what is set -----------------------------------------------------------
 */

static void change(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

static void
change(const char *format, ...)
{
	char body[512];
	struct reply r;
	va_list args;

	va_start(args, format);
	vsnprintf(body, sizeof body, format, args);
	va_end(args);
	assert_int_equal(call(200, NONE, body, &r), LT_CODE_SUCCESS);
}

static void
expect(const char *group, const char *what)
{
	struct reply r;

	assert_int_equal(call(352, FIELDS({"group", group}), NULL, &r), 0);
	if (strstr(text(&r), what) == NULL)
		fail_msg("%s is not in %s", what, text(&r));
}

static int
retry_max(const char *group)
{
	static const char name[] = "\"retryMaxTimes\":";
	struct reply r;
	const char *at;

	assert_int_equal(call(352, FIELDS({"group", group}), NULL, &r), 0);
	at = strstr(text(&r), name);
	assert_non_null(at);
	return atoi(at + strlen(name));
}

static int
is_listed(const char *group)
{
	struct reply r;
	char name[64];

	snprintf(name, sizeof name, "\"groupName\":\"%s\"", group);
	assert_int_equal(call(201, NONE, NULL, &r), 0);
	return strstr(text(&r), name) != NULL;
}

static int
assigned(const char *what)
{
	struct reply r;

	assert_int_equal(call(34, NONE,
			     "{\"clientID\":\"c\",\"consumerDataSet\":[{"
			     "\"groupName\":\"popping\",\"messageModel\":"
			     "\"CLUSTERING\",\"subscriptionDataSet\":[{"
			     "\"topic\":\"t\"}]}]}",
			     &r),
	    LT_CODE_SUCCESS);
	assert_int_equal(call(400, NONE,
			     "{\"topic\":\"t\",\"consumerGroup\":\"popping\","
			     "\"clientId\":\"c\",\"strategyName\":\"AVG\","
			     "\"messageModel\":\"CLUSTERING\"}",
			     &r),
	    LT_CODE_SUCCESS);
	return strstr(text(&r), what) != NULL;
}

/* The tool's table has that row. */
static void
shown(const char *row)
{
	const char *build = getenv("top_builddir");
	char command[256], out[8192];
	size_t n;
	FILE *f;

	snprintf(command, sizeof command,
	    "%s/leat --socket %s group settings | tr -s ' '",
	    build != NULL ? build : ".", it.socket);
	f = popen(command, "r");
	assert_non_null(f);
	n = fread(out, 1, sizeof out - 1, f);
	assert_int_equal(pclose(f), 0);
	out[n] = '\0';
	if (strstr(out, row) == NULL)
		fail_msg("%s is not in %s", row, out);
}

/* The rig's gateway is told of what the other one did. */
static void
heard(const char *name, int is_known, int retries)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	uint64_t until = lt_clock_mono_ms() + PATIENCE_MS;
	struct lt_groups_config config = {.retry_max = -1};

	while (lt_groups_get(it.g.groups, lt_call_text(name), &config) !=
		   is_known ||
	       (is_known && config.retry_max != retries)) {
		assert_true(lt_clock_mono_ms() < until);
		nanosleep(&pause, NULL);
	}
}

static void
test_settings_survive(void **state)
{
	struct leat_topic t = {.name = "t", .read_queues = 2};
	struct reply r;

	OK(leat_topic_create(it.local, &t));
	reach();
	change("{\"groupName\":\"g\",\"consumeEnable\":false,"
	       "\"retryMaxTimes\":0,\"retryQueueNums\":2,"
	       "\"consumeBroadcastEnable\":false,"
	       "\"consumeMessageOrderly\":true,"
	       "\"notifyConsumerIdsChangedEnable\":false,\"groupSysFlag\":3,"
	       "\"attributes\":{\"+a\":\"b\",\"+c\":\"d\"},"
	       "\"groupRetryPolicy\":{\"type\":\"EXPONENTIAL\"}}");
	change("{\"groupName\":\"gone\",\"retryMaxTimes\":3}");
	assert_int_equal(call(207, FIELDS({"groupName", "gone"}), NULL, &r), 0);
	assert_int_equal(call(401, NONE,
			     "{\"topic\":\"t\",\"consumerGroup\":\"popping\","
			     "\"mode\":\"POP\",\"popShareQueueNum\":1}",
			     &r),
	    LT_CODE_SUCCESS);
	await(send_message("t", "0", "x"), &r);
	for (size_t i = 0; i < LT_COUNT(victims); i++) {
		/* Named by its member alone; nobody else names it later. */
		assert_int_equal(i > 0, is_listed("named"));
		if (i == 0) {
			assert_int_equal(
			    call(352, FIELDS({"group", "named"}), NULL, &r), 0);
			heard("named", 1, 16); /* leat-queue has it */
		}
		kill_one(victims[i]);
		reach();
		/* All at once: it serves nobody before it knows. */
		await(pull("t", "0", "*", "0"), &r);
		assert_int_equal(r.h.code, LT_CODE_NO_PERMISSION);
		expect("g",
		    "{\"attributes\":{\"a\":\"b\",\"c\":\"d\"},\"brokerId\":0,"
		    "\"consumeBroadcastEnable\":false,\"consumeEnable\":false,"
		    "\"consumeFromMinEnable\":true,"
		    "\"consumeMessageOrderly\":true,\"consumeTimeoutMinute\":"
		    "15,\"groupName\":\"g\",\"groupRetryPolicy\":{\"type\":"
		    "\"EXPONENTIAL\"},\"groupSysFlag\":3,"
		    "\"notifyConsumerIdsChangedEnable\":false,");
		assert_int_equal(retry_max("g"), i);
		assert_int_equal(is_listed("gone"), 0);
		assert_int_equal(assigned("POP"), 1);
		change("{\"groupName\":\"g\",\"consumeEnable\":false,"
		       "\"retryMaxTimes\":%zu,\"consumeBroadcastEnable\":false,"
		       "\"consumeMessageOrderly\":true,\"retryQueueNums\":2,"
		       "\"notifyConsumerIdsChangedEnable\":false,"
		       "\"groupSysFlag\":3,\"groupRetryPolicy\":{\"type\":"
		       "\"EXPONENTIAL\"}}",
		    i + 1);
		heard("g", 1, (int)i + 1);
	}
	shown("consumeEnable false\n");
	shown("popping t mode POP\n");
	/* Allowed again. */
	change("{\"groupName\":\"g\",\"attributes\":{\"-a\":\"\"}}");
	expect("g", "{\"attributes\":{\"c\":\"d\"},\"brokerId\":0,");
	await(pull("t", "0", "*", "0"), &r);
	assert_int_equal(r.h.code, LT_CODE_SUCCESS);
}

/* By whoever it is done: the settings go, and their effects. */
static void
test_delete_removes(void **state)
{
	struct leat_topic t = {.name = "t", .read_queues = 2};
	struct reply r;

	OK(leat_topic_create(it.local, &t));
	reach();
	for (int by_local = 0; by_local < 2; by_local++) {
		change("{\"groupName\":\"g\",\"consumeEnable\":false}");
		change("{\"groupName\":\"popping\",\"retryMaxTimes\":7}");
		assert_int_equal(
		    call(401, NONE,
			"{\"topic\":\"t\",\"consumerGroup\":\"popping\","
			"\"mode\":\"POP\",\"popShareQueueNum\":0}",
			&r),
		    LT_CODE_SUCCESS);
		assert_int_equal(assigned("POP"), 1);
		assert_int_equal(
		    call(35,
			FIELDS({"clientID", "c"}, {"consumerGroup", "popping"}),
			NULL, &r),
		    0);
		heard("popping", 1, 7);
		if (by_local) {
			OK(leat_group_delete(it.local, "g"));
			OK(leat_group_delete(it.local, "popping"));
		} else {
			assert_int_equal(
			    call(207, FIELDS({"groupName", "g"}), NULL, &r), 0);
			assert_int_equal(call(207,
					     FIELDS({"groupName", "popping"},
						 {"cleanOffset", "true"}),
					     NULL, &r),
			    0);
		}
		heard("g", 0, 0);
		heard("popping", 0, 0);
		kill_one(by_local ? "leatd" : "leat-gateway");
		reach();
		assert_int_equal(is_listed("g"), 0);
		assert_int_equal(is_listed("popping"), 0);
		await(pull("t", "0", "*", "0"), &r);
		assert_int_equal(r.h.code, LT_CODE_PULL_NOT_FOUND);
		assert_int_equal(assigned("PULL"), 1);
		assert_int_equal(
		    call(35,
			FIELDS({"clientID", "c"}, {"consumerGroup", "popping"}),
			NULL, &r),
		    0);
	}
}

static uint64_t
random_below(uint64_t *state, uint64_t n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % n;
}

/* Killed in the midst of changes: what was answered holds, and nothing older
 * comes back. */
static void
test_killed_at_any_time(void **state)
{
	const char *seed = getenv("LEAT_SEED");
	uint64_t rng = seed != NULL ? strtoull(seed, NULL, 0) : 41;
	int rounds = getenv("LEAT_LONG") != NULL ? 400 : ROUNDS;
	int asked = 0, unanswered = 0, kept;
	struct reply r;

	print_message("LEAT_SEED=%llu\n", (unsigned long long)rng);
	reach();
	change("{\"groupName\":\"g\",\"retryMaxTimes\":0}");
	for (int i = 0; i < rounds; i++) {
		int acked = asked, n = 1 + (int)random_below(&rng, 4);
		struct timespec pause = {
		    .tv_nsec = (long)random_below(&rng, 3000000)};
		int32_t first = it.opaque + 1;
		char body[64];

		for (int k = 0; k < n; k++) {
			snprintf(body, sizeof body,
			    "{\"groupName\":\"g\",\"retryMaxTimes\":%d}",
			    ++asked);
			(void)ask(200, NONE, body, strlen(body));
		}
		nanosleep(&pause, NULL);
		kill_one(victims[random_below(&rng, LT_COUNT(victims))]);
		for (int k = 0; k < n; k++) {
			int32_t code = answered(first + k);

			if (code < 0) {
				unanswered += n - k;
				break;
			}
			acked = code == 0 ? asked - n + k + 1 : acked;
		}
		reach();
		kept = retry_max("g");
		if (kept < acked || kept > asked)
			fail_msg("round %d: %d, but %d was answered, %d asked",
			    i, kept, acked, asked);
		/* What was not answered may still be made, but not behind this.
		 */
		snprintf(body, sizeof body,
		    "{\"groupName\":\"g\",\"retryMaxTimes\":%d}", ++asked);
		assert_int_equal(call(200, NONE, body, &r), 0);
		assert_int_equal(retry_max("g"), asked);
	}
	print_message("%d changes, %d kills, %d not answered\n", asked, rounds,
	    unanswered);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_settings_survive),
	    T(test_delete_removes),
	    T(test_killed_at_any_time),
	};

	return cmocka_run_group_tests_name("groupkeep", tests, NULL, NULL);
}
