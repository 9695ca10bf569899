/*
 * guard_test.c - a gateway with accounts: who does not sign is refused, and who
 * signs may do what the rules say, for each request code of codes.def and of
 * the name server, with each right.
 */
#include "workerrig.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "names/names.h"
#include "net/hmac.h"
#include "proto/access.h"
#include "proto/name.h"
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

static const char *const nothing_at_all[] = {NULL};

static void
rules(struct lt_options *o, const char *const *lines)
{
	struct lt_ini_error err;

	lt_options_defaults(o);
	/* Else its connections would be cut between two requests. */
	if (lines != nothing_at_all &&
	    lt_access_add(o, "ak:weak group of-no-use trace", &err) != 0)
		fail_msg("%s", err.text);
	if (lt_access_add(
		o, "ak:root topic * manage,publish,subscribe", &err) != 0 ||
	    lt_access_add(o, "ak:root group * manage,subscribe", &err) != 0)
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
	assert_memory_equal(r.h.remark.p, "ak:weak has not", 15);
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

	snprintf(topic, sizeof topic, "ak:we* topic %s %s",
	    is_all ? "*" : TOPIC_NAME, rights[i].name);
	snprintf(group, sizeof group, "ak:weak group %s %s",
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
		allow(RULES("ak:weak topic other* publish,subscribe,manage,"
			    "trace",
		    "ak:weak group other* publish,subscribe,manage,trace",
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
	allow(RULES("ak:weak topic orders* publish,subscribe"));
	assert_true(
	    is_refused(as("weak", 30, FIELDS({"topic", longest}), NULL)));
	assert_true(is_refused(as("weak", 30, NONE, NULL)));
	assert_true(is_refused(as("weak", 30, FIELDS({"topic", ""}), NULL)));
	assert_false(
	    is_refused(as("weak", 30, FIELDS({"topic", "orders9"}), NULL)));
	/* A ? is one character, not everything. */
	allow(RULES("ak:weak topic ? manage,trace"));
	assert_true(is_refused(as("weak", 26, NONE, NULL)));
}

/* --- what: names in bodies and in the log ----------------------------------
 */

#define BOTH_RULES                                                             \
	"ak:weak topic " TOPIC_NAME " subscribe",                              \
	    "ak:weak group " GROUP_NAME " subscribe"

/* The body needs both. */
static void
needs_both(int32_t code, const char *body)
{
	allow(NO_RULES);
	assert_true(is_refused(as("weak", code, NONE, body)));
	allow(RULES("ak:weak topic * subscribe"));
	assert_true(is_refused(as("weak", code, NONE, body)));
	allow(RULES("ak:weak group * subscribe"));
	assert_true(is_refused(as("weak", code, NONE, body)));
	allow(RULES("ak:weak topic * publish,manage,trace",
	    "ak:weak group * publish,manage,trace"));
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
	needs_both(400,
	    "{\"consumerGroup\":\"" GROUP_NAME "\",\"topic\":\"" TOPIC_NAME
	    "\",\"clientId\":\"c@1\",\"strategyName\":\"AVG\"}");
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
	/* But as nobody else, who would lose what is meant for it. */
	assert_int_equal(as("root", 34, NONE,
			     "{\"clientID\":\"root@1\",\"producerDataSet\":["
			     "{\"groupName\":\"p\"}]}"),
	    0);
	int fd = rig_connect(0);
	(void)ask_signed(fd, "weak", "weak-secret", 34, NONE,
	    "{\"clientID\":\"root@1\",\"producerDataSet\":["
	    "{\"groupName\":\"p\"}]}");
	receive(fd, &r);
	assert_true(is_refused(r.h.code));
	close(fd);
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
	allow(RULES("ak:weak topic " TOPIC_NAME " publish,trace,manage"));
	assert_true(is_refused(as("weak", 33, view, NULL)));
	allow(RULES("ak:weak topic " TOPIC_NAME " subscribe"));
	assert_int_equal(as("weak", 33, view, NULL), 0);
	assert_true(r.f.body_bytes > 0);
	/* Nobody's messages come by way of one's own group. */
	assert_true(is_refused(as("weak", 36, back, NULL)));
	allow(RULES("ak:weak group " GROUP_NAME " subscribe,manage"));
	assert_true(is_refused(as("weak", 36, back, NULL)));
	assert_true(is_refused(as("weak", 309, direct, NULL)));
	allow(RULES("ak:weak group " GROUP_NAME " subscribe,manage",
	    "ak:weak topic " TOPIC_NAME " subscribe"));
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
	allow(RULES("ak:weak topic * publish,subscribe,manage"));
	assert_true(is_refused(as("weak", 310, send, "body")));
	assert_true(is_refused(
	    as("weak", 30, FIELDS({"topic", "%RETRY%" GROUP_NAME}), NULL)));
	allow(RULES("ak:weak group " GROUP_NAME " subscribe"));
	assert_false(is_refused(as("weak", 310, send, "body")));
	assert_false(is_refused(
	    as("weak", 30, FIELDS({"topic", "%RETRY%" GROUP_NAME}), NULL)));
}

/* --- the name server's -----------------------------------------------------
 */

static const struct {
	int32_t code;
	enum lt_names_need need;
} name_rows[] = {
#define NAMECODE(number, name, handler, need, acts)                            \
	{number, LT_NAMES_NEED_##need},
#include "names/namecodes.def"
};

static void
name_servers_calls_are_asked(void **state)
{
	int fd = rig_connect(NAMES);
	size_t known = 0;

	(void)state;
	for (int32_t code = 0; code < 100000; code++)
		known += lt_names_has(code) != 0;
	assert_int_equal(known, LT_COUNT(name_rows)); /* all of them */
	for (size_t i = 0; i < LT_COUNT(name_rows); i++) {
		int32_t code = name_rows[i].code;
		enum lt_names_need need = name_rows[i].need;

		assert_true(lt_names_has(code));
		allow(RULES("ak:weak topic * publish,subscribe,trace",
		    "ak:weak topic ?* manage", "ak:weak group * manage"));
		if (is_refused(as_on(fd, "weak", code, NONE)) !=
		    (need == LT_NAMES_NEED_manage))
			fail_msg("code %d: %s", code,
			    need == LT_NAMES_NEED_manage ? "allowed"
							 : "refused");
		allow(RULES("ak:weak topic mine subscribe",
		    "ak:weak topic ?* trace", "ak:weak group * manage"));
		if (is_refused(as_on(fd, "weak", code, NONE)) !=
		    (need != LT_NAMES_NEED_free))
			fail_msg("code %d: %s with little", code,
			    need != LT_NAMES_NEED_free ? "allowed" : "refused");
		allow(RULES("ak:weak topic * manage"));
		if (is_refused(as_on(fd, "weak", code, NONE)))
			fail_msg("code %d: refused", code);
	}
	print_message("%zu codes of the name server\n", known);
	allow(RULES("ak:weak topic mine subscribe"));
	assert_false(
	    is_refused(as_on(fd, "weak", 105, FIELDS({"topic", "mine"}))));
	assert_false(
	    is_refused(as_on(fd, "weak", 105, FIELDS({"topic", "TBW102"}))));
	assert_true(
	    is_refused(as_on(fd, "weak", 105, FIELDS({"topic", "yours"}))));
	close(fd);
}

/* --- grants of the log -----------------------------------------------------
 */

static _Atomic uint64_t changes = 1;

static uint64_t
count_changes(void)
{
	return changes;
}

/* As the gateway's main thread does when the counter in shared memory moves. */
static void
learn(void)
{
	uint64_t before = lt_guard_generation(it.g.guard);

	changes++;
	lt_guard_tick(it.g.guard, lt_clock_mono_ms());
	assert_true(lt_guard_generation(it.g.guard) > before);
}

static struct leat_grant
grant(const char *who, int on_group, const char *pattern, uint32_t mask)
{
	struct leat_grant g = {.on_group = (uint32_t)on_group, .rights = mask};

	snprintf(g.principal, sizeof g.principal, "%s", who);
	snprintf(g.pattern, sizeof g.pattern, "%s", pattern);
	return g;
}

static void
begin_learning(void)
{
	static int has_begun;
	struct leat_options session = {
	    .socket = it.socket, .name = LT_NAME_GATEWAY};

	if (!has_begun)
		OK(lt_guard_begin(it.g.guard, &session, count_changes));
	has_begun = 1;
}

static void
grants_are_learned(void **state)
{
	struct leat_grant of_topic =
	    grant("ak:weak", 0, "orders*", LEAT_RIGHT_SUBSCRIBE);
	struct leat_grant of_others =
	    grant("any", 0, "*", LEAT_RIGHT_SUBSCRIBE | LEAT_RIGHT_MANAGE);
	const struct field *ask_it = FIELDS({"topic", "orders9"});

	(void)state;
	begin_learning();
	allow(NO_RULES);
	assert_true(is_refused(as("weak", 30, ask_it, NULL)));
	OK(leat_grant_add(it.local, &of_topic));
	OK(leat_grant_add(it.local, &of_others)); /* for local ones */
	learn();
	assert_false(is_refused(as("weak", 30, ask_it, NULL)));
	assert_true(
	    is_refused(as("weak", 30, FIELDS({"topic", "other"}), NULL)));
	OK(leat_grant_remove(it.local, &of_topic));
	learn();
	assert_true(is_refused(as("weak", 30, ask_it, NULL)));
	OK(leat_grant_remove(it.local, &of_others));
}

/* A remote peer's key, as the channel hands it over. */
static void
keys_have_what_is_granted(void **state)
{
	const struct lt_remoting_text orders = lt_call_text("orders");
	uint8_t key[LT_PRINCIPAL_KEY_BYTES] = {1, 2, 3};
	struct lt_principal who = lt_principal_key(key);
	struct lt_worker w = {.g = &it.g};
	struct lt_call by_key = {.worker = &w, .who = who};
	char text[LT_PRINCIPAL_TEXT];
	struct leat_grant g;

	(void)state;
	begin_learning();
	allow(RULES("any topic * publish", "ak:* topic * publish"));
	assert_true(lt_guard_asks(&by_key));
	assert_false(lt_guard_knows(it.g.guard, &who));
	assert_false(lt_guard_may_topic(&by_key, LT_RIGHT_PUBLISH, orders));
	lt_principal_print(&who, text);
	g = grant(text, 0, "orders", LEAT_RIGHT_PUBLISH);
	OK(leat_grant_add(it.local, &g));
	learn();
	assert_true(lt_guard_knows(it.g.guard, &who));
	assert_true(lt_guard_may_topic(&by_key, LT_RIGHT_PUBLISH, orders));
	assert_false(lt_guard_may_topic(&by_key, LT_RIGHT_MANAGE, orders));
	by_key.who.key[31]++;
	assert_false(lt_guard_knows(it.g.guard, &by_key.who));
	assert_false(lt_guard_may_topic(&by_key, LT_RIGHT_PUBLISH, orders));
	OK(leat_grant_remove(it.local, &g));
	learn();
	assert_false(lt_guard_knows(it.g.guard, &who));
	/* And by a rule of the file. */
	snprintf(text + strlen(text), sizeof text - strlen(text), "%s", "");
	char line[128];
	snprintf(line, sizeof line, "%s topic * trace", text);
	allow(RULES(line));
	assert_true(lt_guard_knows(it.g.guard, &who));
}

/* 1: the peer closed it within so long. */
static int
is_closed(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c;

	return poll(&p, 1, ms) == 1 && recv(fd, &c, 1, MSG_DONTWAIT) <= 0;
}

static void
who_has_nothing_left_is_cut(void **state)
{
	int weak = rig_connect(1), root = rig_connect(1);
	uint64_t from;

	(void)state;
	allow(RULES("ak:weak topic orders publish"));
	assert_int_equal(as_on(weak, "weak", 305, NONE), 0);
	assert_int_equal(as_on(root, "root", 305, NONE), 0);
	allow(RULES("ak:weak topic other publish")); /* something */
	assert_false(is_closed(weak, 400));
	allow(nothing_at_all);
	from = lt_clock_mono_ms();
	assert_true(is_closed(weak, 1000));
	print_message("cut after %llu ms\n",
	    (unsigned long long)(lt_clock_mono_ms() - from));
	assert_false(is_closed(root, 200));
	close(weak);
	close(root);
	close(it.fd); /* of weak, too */
	it.fd = rig_connect(0);
}

/* Who waits for messages has to ask again, and is refused. */
static void
held_pulls_end(void **state)
{
	const struct field *pull = FIELDS({"consumerGroup", GROUP_NAME},
	    {"topic", TOPIC_NAME}, {"queueId", "0"}, {"queueOffset", "0"},
	    {"maxMsgNums", "32"}, {"sysFlag", "6"}, {"commitOffset", "0"},
	    {"suspendTimeoutMillis", "15000"}, {"subscription", "*"},
	    {"subVersion", "0"}, {"expressionType", "TAG"});
	char id[64];
	char offset[32];
	struct field again[16];
	int fd = rig_connect(0), status, tries = 0;
	int32_t opaque;
	size_t n = 0;

	(void)state;
	allow(RULES(BOTH_RULES));
	(void)place_of(TOPIC_NAME, id); /* it is there */
	for (; pull[n].name != NULL; n++)
		again[n] = pull[n];
	again[n] = pull[n];
	/* To the end, wherever that is. */
	do {
		status = as_on(fd, "weak", 30,
		    FIELDS({"topic", TOPIC_NAME}, {"queueId", "0"}));
		assert_int_equal(status, 0);
		snprintf(offset, sizeof offset, "%lld",
		    (long long)number(&r, "offset"));
		again[3].value = offset;
		opaque = ask_signed(fd, "weak", "weak-secret", 11, again, NULL);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		status = poll(&p, 1, 300);
		if (status == 1)
			receive(fd, &r);
	} while (status == 1 && ++tries < 10);
	if (status == 1)
		fail_msg("not held: %d %.*s", r.h.code, (int)r.h.remark.bytes,
		    r.h.remark.p);
	allow(RULES("ak:weak topic other publish"));
	receive(fd, &r);
	assert_int_equal(r.h.opaque, opaque);
	assert_int_equal(r.h.code, 19); /* nothing found */
	assert_true(is_refused(as_on(fd, "weak", 11, again)));
	close(fd);
}

/* --- the audit -------------------------------------------------------------
 */

static char audit[1 << 20];

/* Everything that the topic has now, a line each. */
static const char *
read_audit(void)
{
	struct leat_subscription s = LEAT_SUBSCRIPTION_INIT;
	struct leat_delivery d[64];
	struct leat_consumer *c;
	size_t used = 0;
	int n;

	s.topic = LT_NAME_AUDIT_TOPIC;
	s.from = LEAT_FROM_BEGIN;
	OK(leat_subscribe(it.local, &s, &c));
	while ((n = leat_poll(c, d, 64, 0)) > 0 || !leat_at_end(c))
		for (int i = 0; i < n; i++) {
			assert_true(used + d[i].body_bytes + 2 < sizeof audit);
			memcpy(audit + used, d[i].body, d[i].body_bytes);
			used += d[i].body_bytes;
			audit[used++] = '\n';
		}
	audit[used] = '\0';
	leat_unsubscribe(c);
	return audit;
}

/* How many lines have all of these. */
static size_t
lines_with(const char *text, const char *a, const char *b)
{
	size_t n = 0;

	for (const char *line = text, *end; (end = strchr(line, '\n')) != NULL;
	     line = end + 1) {
		char one[1200];

		snprintf(one, sizeof one, "%.*s ", (int)(end - line), line);
		n += strstr(one, a) != NULL && strstr(one, b) != NULL;
	}
	return n;
}

/* Waits for the clerk to tell. */
static void
expect_lines(size_t count, const char *a, const char *b)
{
	uint64_t until = lt_clock_mono_ms() + PATIENCE_MS;
	size_t n;

	while ((n = lines_with(read_audit(), a, b)) < count)
		if (lt_clock_mono_ms() > until)
			fail_msg(
			    "%zu lines with %s and %s in\n%s", n, a, b, audit);
	assert_int_equal(n, count);
}

static void
refusals_and_acts_are_recorded(void **state)
{
	int names = rig_connect(NAMES), other = rig_connect(1);
	const struct field *make =
	    FIELDS({"topic", "made"}, {"defaultTopic", "TBW102"},
		{"readQueueNums", "2"}, {"writeQueueNums", "2"}, {"perm", "6"},
		{"topicFilterType", "SINGLE_TAG"}, {"topicSysFlag", "0"},
		{"order", "false"});
	size_t before;

	(void)state;
	before = lines_with(read_audit(), "outcome=unsigned", "");
	assert_int_equal(
	    call_on(other, 30, FIELDS({"topic", "t"}), NULL, &r), REFUSED_CODE);
	expect_lines(before + 1, "outcome=unsigned", "");
	await(ask_signed(it.fd, "weak", "wrong", 10,
		  FIELDS({"topic", "audited-1"}), NULL),
	    &r);
	expect_lines(1, "act=SEND_MESSAGE", "object=account:weak outcome=sig");
	allow(RULES("ak:weak topic nothing publish"));
	assert_true(
	    is_refused(as("weak", 17, FIELDS({"topic", "a b\"c"}), NULL)));
	expect_lines(1, "principal=ak:weak peer=127.0.0.1:",
	    "object=\"topic:a b\\x22c\" "
	    "outcome=denied");
	assert_int_equal(as("root", 17, make, NULL), 0);
	expect_lines(1, "by=gateway principal=ak:root",
	    "act=UPDATE_AND_CREATE_TOPIC object=topic:made outcome=ok");
	assert_int_equal(as("root", 215, FIELDS({"topic", "made"}), NULL), 0);
	expect_lines(
	    1, "act=DELETE_TOPIC_IN_BROKER", "object=topic:made outcome=ok");
	assert_int_equal(as_on(names, "root", 318, NONE), 0);
	expect_lines(1, "principal=ak:root",
	    "act=UPDATE_NAMESRV_CONFIG object=- outcome=ok");
	/* leat-queue knows whose acts these were: one record is enough. */
	assert_int_equal(lines_with(read_audit(), "by=queue", "topic:made"), 0);
	/* Reading and sending leave none. */
	before = lines_with(read_audit(), "outcome=", "");
	assert_int_equal(
	    as("root", 30, FIELDS({"topic", "orders"}, {"queueId", "0"}), NULL),
	    0);
	assert_int_equal(as("root", 46, NONE, "{}"), 0);
	assert_int_equal(lines_with(read_audit(), "outcome=", ""), before);
	close(names);
	close(other);
}

static void
the_audit_topic_is_guarded(void **state)
{
	const struct field *pull = FIELDS({"consumerGroup", GROUP_NAME},
	    {"topic", LT_NAME_AUDIT_TOPIC}, {"queueId", "0"},
	    {"queueOffset", "0"}, {"maxMsgNums", "1"}, {"sysFlag", "4"},
	    {"commitOffset", "0"}, {"suspendTimeoutMillis", "0"},
	    {"subscription", "*"}, {"subVersion", "0"});
	const struct field *send =
	    FIELDS({"a", "pg"}, {"b", LT_NAME_AUDIT_TOPIC}, {"c", "TBW102"},
		{"d", "1"}, {"e", "0"}, {"f", "0"}, {"g", "1700000000123"},
		{"h", "0"}, {"i", "KEYS\001k1"}, {"j", "0"});

	(void)state;
	allow(RULES(
	    "ak:weak topic * publish,subscribe", "ak:weak group * subscribe"));
	assert_true(is_refused(as("weak", 11, pull, NULL)));
	assert_true(is_refused(as("weak", 310, send, "forged")));
	allow(RULES("ak:weak topic * publish,subscribe,trace",
	    "ak:weak group * subscribe"));
	assert_int_equal(as("weak", 11, pull, NULL), 0);
	/* Nobody writes there but the broker. */
	assert_int_not_equal(as("weak", 310, send, "forged"), 0);
	assert_int_not_equal(as("root", 310, send, "forged"), 0);
	assert_int_equal(lines_with(read_audit(), "forged", ""), 0);
	/* The others need the right to manage them. */
	assert_true(is_refused(
	    as("weak", 30, FIELDS({"topic", LT_NAME_CONFIG_TOPIC}), NULL)));
	assert_false(is_refused(
	    as("root", 30, FIELDS({"topic", LT_NAME_CONFIG_TOPIC}), NULL)));
}

/* What records say of refusals that have none. */
static size_t
counted(const char *text)
{
	size_t sum = 0;

	while ((text = strstr(text, "object=count:")) != NULL)
		sum += strtoull(text += strlen("object=count:"), NULL, 10);
	return sum;
}

/* However many are refused, no worker waits, and all of them are counted. */
static void
a_flood_is_counted(void **state)
{
	enum {
		FLOOD = 3000
	};
	const char *text = read_audit();
	size_t before = lines_with(text, "outcome=unsigned", "");
	size_t counted_before = counted(text), more, n;
	uint64_t until = lt_clock_mono_ms() + PATIENCE_MS;

	(void)state;
	for (int i = 0; i < FLOOD; i++) {
		(void)ask(9999, NONE, NULL, 0);
		if (i % 100 == 99)
			for (int k = 0; k < 100; k++)
				receive(it.fd, &r);
	}
	do {
		text = read_audit();
		n = lines_with(text, "outcome=unsigned", "") - before;
		more = counted(text) - counted_before;
	} while (n + more < FLOOD && lt_clock_mono_ms() < until);
	print_message("%zu records, %zu counted\n", n, more);
	assert_int_equal(n + more, FLOOD);
	assert_true(more > 0);
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
	    cmocka_unit_test(grants_are_learned),
	    cmocka_unit_test(keys_have_what_is_granted),
	    cmocka_unit_test(who_has_nothing_left_is_cut),
	    cmocka_unit_test(held_pulls_end),
	    cmocka_unit_test(refusals_and_acts_are_recorded),
	    cmocka_unit_test(the_audit_topic_is_guarded),
	    cmocka_unit_test(a_flood_is_counted),
	};
	const struct CMUnitTest anonymous[] = {
	    cmocka_unit_test(who_does_not_sign_may_do_everything),
	};
	int failed =
	    cmocka_run_group_tests_name("guard", tests, set_up, rig_teardown);

	return failed + cmocka_run_group_tests_name("anonymous", anonymous,
			    set_up_anonymous, rig_teardown);
}
