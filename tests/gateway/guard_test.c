/*
 * guard_test.c - a gateway with accounts: who does not sign is refused, and who
 * signs may do what the rules say, for each request code of codes.def and of
 * the name server, with each right.
 */
#include "workerrig.h"

#include <unistd.h>

#include "base/clock.h"
#include "net/hmac.h"
#include "proto/access.h"
#include "proto/offsetid.h"
#include "remoting/guard.h"
#include "remoting/naming.h"

#define REFUSED_CODE 16
#define TOPIC_NAME "orders"
#define GROUP_NAME "billing"

static struct reply r;

/* --- accounts and rules ----------------------------------------------------
 */

static const char *const secrets[][2] = {
    {"weak", "weak-secret"}, {"root", "root-secret"}};

static void
rules(struct lt_options *o, const char *const *lines)
{
	struct lt_ini_error err;

	lt_options_defaults(o);
	if (lt_access_add(
		o, "key:root topic * manage,publish,subscribe", &err) != 0 ||
	    lt_access_add(o, "key:root group * manage,subscribe", &err) != 0)
		fail_msg("%s", err.text);
	for (; *lines != NULL; lines++)
		if (lt_access_add(o, *lines, &err) != 0)
			fail_msg("%s: %s", *lines, err.text);
}

#define RULES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_RULES ((const char *const[]){NULL})

static void
allow(const char *const *lines)
{
	static struct lt_options o;

	rules(&o, lines);
	lt_guard_reload(it.g.guard, &o);
}

static void
make_guard(int anonymous)
{
	static struct lt_options o;
	struct lt_accounts *accounts;
	char path[] = "/tmp/leat-guard-XXXXXX", why[200];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	for (size_t i = 0; i < LT_COUNT(secrets); i++)
		assert_true(
		    dprintf(fd, "%s %s\n", secrets[i][0], secrets[i][1]) > 0);
	close(fd);
	if (lt_accounts_read(path, &accounts, why, sizeof why) != LEAT_OK)
		fail_msg("%s", why);
	unlink(path);
	rules(&o, NO_RULES);
	o.gateway_anonymous = (uint64_t)anonymous;
	OK(lt_guard_create(accounts, &o, &rig_guard));
}

static int
set_up(void **state)
{
	make_guard(0);
	return rig_setup(state);
}

static int
set_up_anonymous(void **state)
{
	make_guard(1);
	return rig_setup(state);
}

/* --- signed requests -------------------------------------------------------
 */

static int
by_name(const void *a, const void *b)
{
	return strcmp(
	    ((const struct field *)a)->name, ((const struct field *)b)->name);
}

static int32_t
ask_signed(int fd, const char *key, const char *secret, int32_t code,
    const struct field *fields, const char *body)
{
	struct field all[40];
	char signature[LT_HMAC_TEXT + 1];
	struct lt_hmac h;
	size_t n = 0;

	while (fields[n].name != NULL) {
		all[n] = fields[n];
		n++;
	}
	all[n++] = (struct field){"AccessKey", key};
	qsort(all, n, sizeof all[0], by_name);
	lt_hmac_init(&h, secret, strlen(secret));
	for (size_t i = 0; i < n; i++)
		lt_hmac_add(&h, all[i].value, strlen(all[i].value));
	if (body != NULL)
		lt_hmac_add(&h, body, strlen(body));
	lt_hmac_text(&h, signature);
	all[n++] = (struct field){"Signature", signature};
	all[n] = (struct field){NULL, NULL};
	return ask_on(fd, code, all, body, body != NULL ? strlen(body) : 0);
}

static int32_t
as(const char *key, int32_t code, const struct field *fields, const char *body)
{
	const char *secret =
	    strcmp(key, "weak") == 0 ? "weak-secret" : "root-secret";

	await(ask_signed(it.fd, key, secret, code, fields, body), &r);
	return r.h.code;
}

static int32_t
as_on(int fd, const char *key, int32_t code, const struct field *fields)
{
	const char *secret =
	    strcmp(key, "weak") == 0 ? "weak-secret" : "root-secret";
	int32_t opaque = ask_signed(fd, key, secret, code, fields, NULL);

	receive(fd, &r);
	assert_int_equal(r.h.opaque, opaque);
	return r.h.code;
}

static int
is_refused(int32_t code)
{
	if (code != REFUSED_CODE)
		return 0;
	assert_true(r.h.remark.bytes > 15);
	assert_memory_equal(r.h.remark.p, "access key weak", 15);
	return 1;
}

/* --- who -------------------------------------------------------------------
 */

static void
who_does_not_sign_is_refused(void **state)
{
	int names = rig_connect(NAMES);
	uint64_t before = lt_guard_refused(it.g.guard);
	char first[256];
	size_t bytes;

	(void)state;
	assert_int_equal(
	    call(30, FIELDS({"topic", "t"}), NULL, &r), REFUSED_CODE);
	assert_int_equal(call(9999, NONE, NULL, &r), REFUSED_CODE);
	assert_int_equal(
	    call(10, FIELDS({"AccessKey", ""}, {"Signature", "x"}), NULL, &r),
	    REFUSED_CODE);
	assert_int_equal(
	    call_on(names, 105, FIELDS({"topic", "TBW102"}), NULL, &r),
	    REFUSED_CODE);
	assert_int_equal(
	    as_on(names, "weak", 105, FIELDS({"topic", "TBW102"})), 0);
	/* Wrong: which of the two is not said. */
	await(ask_signed(it.fd, "weak", "weak-secreT", 46, NONE, "{}"), &r);
	assert_int_equal(r.h.code, REFUSED_CODE);
	bytes = r.h.remark.bytes;
	assert_true(bytes < sizeof first);
	memcpy(first, r.h.remark.p, bytes);
	await(ask_signed(it.fd, "nobody", "weak-secret", 46, NONE, "{}"), &r);
	assert_int_equal(r.h.code, REFUSED_CODE);
	assert_int_equal(r.h.remark.bytes, bytes);
	assert_memory_equal(r.h.remark.p, first, bytes);
	assert_int_equal(lt_guard_refused(it.g.guard), before + 6);
	assert_int_equal(as("weak", 46, NONE, "{}"), 0);
	assert_int_equal(lt_guard_refused(it.g.guard), before + 6);
	close(names);
}

/* However many are refused: one line in a second. */
static void
refusals_are_logged_now_and_then(void **state)
{
	FILE *log = tmpfile();
	int err = dup(STDERR_FILENO);
	uint64_t from = lt_clock_mono_ms();
	char line[512];
	size_t lines = 0, most;

	(void)state;
	assert_non_null(log);
	assert_true(err >= 0);
	assert_true(dup2(fileno(log), STDERR_FILENO) >= 0);
	for (int i = 0; i < 500; i++)
		(void)call(30, FIELDS({"topic", "t"}), NULL, &r);
	most = (lt_clock_mono_ms() - from) / 1000 + 2;
	assert_true(dup2(err, STDERR_FILENO) >= 0);
	close(err);
	rewind(log);
	while (fgets(line, sizeof line, log) != NULL)
		lines += strstr(line, "request-refused") != NULL;
	fclose(log);
	assert_in_range(lines, 0, most);
}

/* --- what: every row of codes.def ------------------------------------------
 */

static const struct {
	const char *name;
	unsigned bit;
} rights[] = {{"publish", LT_RIGHT_PUBLISH}, {"subscribe", LT_RIGHT_SUBSCRIBE},
    {"manage", LT_RIGHT_MANAGE}, {"trace", LT_RIGHT_TRACE}};

struct row {
	int32_t code;
	int is_inside;
	struct lt_need need;
};

#define TOPIC(right, field)                                                    \
	0,                                                                     \
	{                                                                      \
		LT_NEED_##right, 0, field, NULL                                \
	}
#define GROUP(right, field)                                                    \
	0,                                                                     \
	{                                                                      \
		0, LT_NEED_##right, NULL, field                                \
	}
#define BOTH(right, topic, group)                                              \
	0,                                                                     \
	{                                                                      \
		LT_NEED_##right, LT_NEED_##right, topic, group                 \
	}
#define TOPICS(right) TOPIC(right, NULL)
#define GROUPS(right) GROUP(right, NULL)
#define INSIDE(text)                                                           \
	1,                                                                     \
	{                                                                      \
		0, 0, NULL, NULL                                               \
	}
#define FREE                                                                   \
	0,                                                                     \
	{                                                                      \
		0, 0, NULL, NULL                                               \
	}
#define CODE(code, name, handler, need, text) {code, need},
#define REFUSED(code, name, text)
static const struct row rows[] = {
#include "remoting/codes.def"
};

#define NAMES_FIELDS                                                           \
	FIELDS({"topic", TOPIC_NAME}, {"b", TOPIC_NAME},                       \
	    {"consumerGroup", GROUP_NAME}, {"group", GROUP_NAME},              \
	    {"groupName", GROUP_NAME}, {"destGroup", GROUP_NAME})

static void
expect(const struct row *row, int is_allowed, const char *what)
{
	if (is_refused(as("weak", row->code, NAMES_FIELDS, NULL)) == is_allowed)
		fail_msg("code %d, %s: %s", row->code, what,
		    is_allowed ? "refused" : "allowed");
}

/* One right, on those names or on all. */
static void
with_right(const struct row *row, size_t i, int is_all)
{
	char topic[80], group[80];
	unsigned bit = rights[i].bit;
	const struct lt_need *n = &row->need;
	int topic_is = n->topic == 0 || ((n->topic & bit) != 0 &&
					    (is_all || n->topic_field != NULL));
	int group_is = n->group == 0 || ((n->group & bit) != 0 &&
					    (is_all || n->group_field != NULL));

	snprintf(topic, sizeof topic, "key:we* topic %s %s",
	    is_all ? "*" : TOPIC_NAME, rights[i].name);
	snprintf(group, sizeof group, "key:weak group %s %s",
	    is_all ? "*" : GROUP_NAME, rights[i].name);
	allow(RULES(topic, group));
	expect(row, topic_is && group_is, rights[i].name);
	allow(RULES(topic));
	expect(row, topic_is && n->group == 0, "topic only");
	allow(RULES(group));
	expect(row, group_is && n->topic == 0, "group only");
}

static void
each_code_needs_its_right(void **state)
{
	size_t asked = 0;

	(void)state;
	for (size_t i = 0; i < LT_COUNT(rows); i++) {
		const struct row *row = &rows[i];

		if (row->is_inside)
			continue;
		allow(RULES("key:weak topic other* publish,subscribe,manage,"
			    "trace",
		    "key:weak group other* publish,subscribe,manage,trace",
		    "any topic * publish,subscribe,manage,trace",
		    "any group * publish,subscribe,manage,trace"));
		expect(row, row->need.topic == 0 && row->need.group == 0,
		    "no right");
		for (size_t k = 0; k < LT_COUNT(rights); k++) {
			with_right(row, k, 0);
			with_right(row, k, 1);
		}
		asked++;
	}
	print_message("%zu codes of %zu\n", asked, LT_COUNT(rows));
}

/* Names that are no names, or absent, are nobody's. */
static void
names_are_whole(void **state)
{
	char longest[300];

	(void)state;
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	allow(RULES("key:weak topic orders* publish,subscribe"));
	assert_true(
	    is_refused(as("weak", 30, FIELDS({"topic", longest}), NULL)));
	assert_true(is_refused(as("weak", 30, NONE, NULL)));
	assert_true(is_refused(as("weak", 30, FIELDS({"topic", ""}), NULL)));
	assert_false(
	    is_refused(as("weak", 30, FIELDS({"topic", "orders9"}), NULL)));
	/* A ? is one character, not everything. */
	allow(RULES("key:weak topic ? manage,trace"));
	assert_true(is_refused(as("weak", 26, NONE, NULL)));
}

/* --- what: names in bodies and in the log ----------------------------------
 */

#define BOTH_RULES                                                             \
	"key:weak topic " TOPIC_NAME " subscribe",                             \
	    "key:weak group " GROUP_NAME " subscribe"

/* The body needs both. */
static void
needs_both(int32_t code, const char *body)
{
	allow(NO_RULES);
	assert_true(is_refused(as("weak", code, NONE, body)));
	allow(RULES("key:weak topic * subscribe"));
	assert_true(is_refused(as("weak", code, NONE, body)));
	allow(RULES("key:weak group * subscribe"));
	assert_true(is_refused(as("weak", code, NONE, body)));
	allow(RULES("key:weak topic * publish,manage,trace",
	    "key:weak group * publish,manage,trace"));
	assert_true(is_refused(as("weak", code, NONE, body)));
	allow(RULES(BOTH_RULES));
	assert_int_equal(as("weak", code, NONE, body), 0);
}

static void
bodies_are_asked(void **state)
{
	static const char locks[] =
	    "{\"consumerGroup\":\"" GROUP_NAME "\",\"clientId\":\"c@1\","
	    "\"mqSet\":[{\"brokerName\":\"broker-a\",\"topic\":\"" TOPIC_NAME
	    "\",\"queueId\":0}]}";

	(void)state;
	needs_both(34,
	    "{\"clientID\":\"c@1\",\"producerDataSet\":[{\"groupName\":\"p\"}],"
	    "\"consumerDataSet\":[{\"groupName\":\"" GROUP_NAME "\","
	    "\"consumeType\":\"CONSUME_PASSIVELY\","
	    "\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":["
	    "{\"topic\":\"%RETRY%" GROUP_NAME "\",\"subString\":\"*\"},"
	    "{\"topic\":\"" TOPIC_NAME "\",\"subString\":\"*\"}]}]}");
	needs_both(41, locks);
	needs_both(42, locks);
	needs_both(200151,
	    "{\"brokerName\":\"broker-a\",\"acks\":[{\"c\":\"" GROUP_NAME
	    "\",\"t\":\"" TOPIC_NAME
	    "\",\"so\":0,\"q\":0,\"pt\":1,\"b\":\"AQ==\"}]}");
	/* A producer needs nothing to say that it is there. */
	allow(NO_RULES);
	assert_int_equal(as("weak", 34, NONE,
			     "{\"clientID\":\"c@2\",\"producerDataSet\":["
			     "{\"groupName\":\"p\"}]}"),
	    0);
}

/* The place in the log of a message that root sends there; its id. */
static int64_t
place_of(const char *topic, char id_out[64])
{
	struct lt_offsetid id;
	struct lt_remoting_text text;

	assert_int_equal(
	    as("root", 310,
		FIELDS({"a", "pg"}, {"b", topic}, {"c", "TBW102"}, {"d", "4"},
		    {"e", "0"}, {"f", "0"}, {"g", "1700000000123"}, {"h", "0"},
		    {"i", "KEYS\001k1"}, {"j", "0"}),
		"body"),
	    0);
	text = lt_remoting_find(&r.h, "msgId");
	OK(lt_offsetid_decode(text.p, text.bytes, &id));
	snprintf(id_out, 64, "%.*s", (int)text.bytes, text.p);
	return (int64_t)id.log_offset;
}

static void
messages_are_asked(void **state)
{
	char id[64], offset[32];
	const struct field view[] = {{"offset", offset}, {NULL, NULL}};
	const struct field back[] = {{"group", GROUP_NAME}, {"offset", offset},
	    {"delayLevel", "1"}, {NULL, NULL}};
	const struct field direct[] = {{"consumerGroup", GROUP_NAME},
	    {"clientId", "nobody"}, {"msgId", id}, {NULL, NULL}};

	(void)state;
	allow(NO_RULES);
	snprintf(
	    offset, sizeof offset, "%lld", (long long)place_of("orders", id));
	assert_true(is_refused(as("weak", 33, view, NULL)));
	assert_int_equal(r.f.body_bytes, 0);
	allow(RULES("key:weak topic " TOPIC_NAME " publish,trace,manage"));
	assert_true(is_refused(as("weak", 33, view, NULL)));
	allow(RULES("key:weak topic " TOPIC_NAME " subscribe"));
	assert_int_equal(as("weak", 33, view, NULL), 0);
	assert_true(r.f.body_bytes > 0);
	/* Nobody's messages come by way of one's own group. */
	assert_true(is_refused(as("weak", 36, back, NULL)));
	allow(RULES("key:weak group " GROUP_NAME " subscribe,manage"));
	assert_true(is_refused(as("weak", 36, back, NULL)));
	assert_true(is_refused(as("weak", 309, direct, NULL)));
	allow(RULES("key:weak group " GROUP_NAME " subscribe,manage",
	    "key:weak topic " TOPIC_NAME " subscribe"));
	assert_int_equal(as("weak", 36, back, NULL), 0);
	assert_false(is_refused(as("weak", 309, direct, NULL)));
}

static void
a_retry_topic_is_its_groups(void **state)
{
	static const struct field send[] = {{"a", "pg"},
	    {"b", "%RETRY%" GROUP_NAME}, {"c", "TBW102"}, {"d", "1"},
	    {"e", "0"}, {"f", "0"}, {"g", "1700000000123"}, {"h", "0"},
	    {"i", "KEYS\001k1"}, {"j", "0"}, {NULL, NULL}};

	(void)state;
	allow(RULES("key:weak topic * publish,subscribe,manage"));
	assert_true(is_refused(as("weak", 310, send, "body")));
	assert_true(is_refused(
	    as("weak", 30, FIELDS({"topic", "%RETRY%" GROUP_NAME}), NULL)));
	allow(RULES("key:weak group " GROUP_NAME " subscribe"));
	assert_false(is_refused(as("weak", 310, send, "body")));
	assert_false(is_refused(
	    as("weak", 30, FIELDS({"topic", "%RETRY%" GROUP_NAME}), NULL)));
}

/* --- the name server's -----------------------------------------------------
 */

static void
name_servers_calls_are_asked(void **state)
{
	static const int32_t managing[] = {
	    100, 102, 103, 104, 205, 216, 217, 318, 319, 322, 327, 904};
	static const int32_t free_ones[] = {
	    101, 105, 106, 206, 219, 224, 304, 311, 312, 313, 901};
	int fd = rig_connect(NAMES);
	size_t known = 0;

	(void)state;
	for (int32_t code = 0; code < 100000; code++)
		known += lt_names_has(code) != 0;
	assert_int_equal(
	    known, LT_COUNT(managing) + LT_COUNT(free_ones)); /* all of them */
	for (size_t i = 0; i < LT_COUNT(managing); i++) {
		assert_true(lt_names_has(managing[i]));
		allow(RULES("key:weak topic * publish,subscribe,trace",
		    "key:weak topic ?* manage", "key:weak group * manage"));
		if (!is_refused(as_on(fd, "weak", managing[i], NONE)))
			fail_msg("code %d: allowed", managing[i]);
		allow(RULES("key:weak topic * manage"));
		if (is_refused(as_on(fd, "weak", managing[i], NONE)))
			fail_msg("code %d: refused", managing[i]);
	}
	allow(NO_RULES);
	for (size_t i = 0; i < LT_COUNT(free_ones); i++) {
		assert_true(lt_names_has(free_ones[i]));
		assert_false(is_refused(as_on(fd, "weak", free_ones[i], NONE)));
	}
	close(fd);
}

/* --- with [gateway] anonymous = on -----------------------------------------
 */

static void
who_does_not_sign_may_do_everything(void **state)
{
	(void)state;
	assert_int_equal(call(26, NONE, NULL, &r), 0);
	await(send_message("orders", "0", "body"), &r);
	assert_int_equal(r.h.code, 0);
	/* Who signs may not. */
	assert_true(is_refused(as("weak", 26, NONE, NULL)));
	assert_int_equal(as("root", 26, NONE, NULL), 0);
	await(ask_signed(it.fd, "root", "wrong", 26, NONE, NULL), &r);
	assert_int_equal(r.h.code, REFUSED_CODE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_does_not_sign_is_refused),
	    cmocka_unit_test(refusals_are_logged_now_and_then),
	    cmocka_unit_test(each_code_needs_its_right),
	    cmocka_unit_test(names_are_whole),
	    cmocka_unit_test(bodies_are_asked),
	    cmocka_unit_test(messages_are_asked),
	    cmocka_unit_test(a_retry_topic_is_its_groups),
	    cmocka_unit_test(name_servers_calls_are_asked),
	};
	const struct CMUnitTest anonymous[] = {
	    cmocka_unit_test(who_does_not_sign_may_do_everything),
	};
	int failed =
	    cmocka_run_group_tests_name("guard", tests, set_up, rig_teardown);

	return failed + cmocka_run_group_tests_name("anonymous", anonymous,
			    set_up_anonymous, rig_teardown);
}
