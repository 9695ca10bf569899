/* chanrig.c - see chanrig.h. */
#include "config.h"
#include "chanrig.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "proto/name.h"

#define PATIENCE_US 20000000u

#define DEFAULT_PORT 10922

struct chanrig it;
static int is_default;

uint64_t
chanrig_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- the broker ------------------------------------------------------------
 */

static uint16_t
free_port(void)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof at;
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	close(fd);
	return at.sin_port;
}

static void
write_conf(int has_alice)
{
	char key[LT_SECRET_TEXT];
	FILE *f = fopen(it.conf, "w");

	assert_non_null(f);
	fprintf(f, "[gateway]\nlisten = 127.0.0.1:%u\nnames = none\n",
	    ntohs(it.plain));
	if (!is_default)
		fprintf(f, "channel = 127.0.0.1:%u\n", ntohs(it.channel));
	fputs("[store]\nlevel = logged\n[access]\n"
	      "allow = any topic * publish\n",
	    f);
	lt_secret_text(key, it.alice.public);
	if (has_alice)
		fprintf(f,
		    "allow = key:%s topic t* publish,subscribe\n"
		    "allow = key:%s group g* subscribe\n",
		    key, key);
	assert_int_equal(fclose(f), 0);
}

void
chanrig_rules(int has_alice)
{
	write_conf(has_alice);
	assert_int_equal(kill(it.leatd, SIGHUP), 0);
}

static void
read_key(void)
{
	char path[128], text[LT_SECRET_TEXT + 1] = "";
	FILE *f;

	snprintf(path, sizeof path, "%s/broker.pub", it.dir);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof text, f), LT_SECRET_TEXT);
	assert_int_equal(text[LT_SECRET_TEXT - 1], '\n');
	text[LT_SECRET_TEXT - 1] = '\0';
	OK(lt_secret_parse(it.key, text));
	fclose(f);
}

static int
setup(void)
{
	struct leat_options session = {.name = "chanrig"};
	const char *build = getenv("top_builddir");
	char path[256], socket[128], log[128], line[256] = "";
	int out[2];

	alarm(300);
	memset(&it, 0, sizeof it);
	lt_secret_pair(it.alice.secret, it.alice.public);
	lt_secret_pair(it.mallory.secret, it.mallory.public);
	snprintf(it.dir, sizeof it.dir, "/tmp/leat-chan-XXXXXX");
	assert_non_null(mkdtemp(it.dir));
	snprintf(it.conf, sizeof it.conf, "%s/test.conf", it.dir);
	it.plain = free_port();
	it.channel = is_default ? htons(DEFAULT_PORT) : free_port();
	write_conf(!is_default);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	it.leatd = fork();
	assert_true(it.leatd >= 0);
	if (it.leatd == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		snprintf(log, sizeof log, "%s/log", it.dir);
		dup2(out[1], STDOUT_FILENO);
		dup2(open(log, O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
		snprintf(
		    path, sizeof path, "%s/leatd", build != NULL ? build : ".");
		execl(path, "leatd", "--dir", it.dir, "-c", it.conf,
		    (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	for (size_t n = 0; strchr(line, '\n') == NULL;) {
		ssize_t k = read(out[0], line + n, sizeof line - 1 - n);

		assert_true(k > 0);
		n += (size_t)k;
	}
	close(out[0]);
	read_key();
	snprintf(socket, sizeof socket, "%s/leat.sock", it.dir);
	session.socket = socket;
	OK(leat_connect(&session, &it.local));
	return 0;
}

int
chanrig_setup(void **state)
{
	is_default = 0;
	return setup();
}

int
chanrig_setup_default(void **state)
{
	is_default = 1;
	return setup();
}

int
chanrig_said(const char *text)
{
	static char log[1 << 20];
	char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/log", it.dir);
	f = fopen(path, "r");
	assert_non_null(f);
	log[fread(log, 1, sizeof log - 1, f)] = '\0';
	fclose(f);
	return strstr(log, text) != NULL;
}

int
chanrig_teardown(void **state)
{
	char command[128];

	if (it.audit != NULL)
		leat_unsubscribe(it.audit);
	leat_close(it.local);
	kill(it.leatd, SIGTERM);
	waitpid(it.leatd, NULL, 0);
	if (getenv("LEAT_KEEP") == NULL) {
		snprintf(command, sizeof command, "rm -rf '%s'", it.dir);
		assert_int_equal(system(command), 0);
	}
	return 0;
}

uint64_t
chanrig_counter(const char *name)
{
	static struct leat_status_report r;

	OK(leat_status_get(it.local, &r));
	for (size_t i = 0; i < r.counter_count; i++)
		if (strcmp(r.counters[i].name, name) == 0)
			return r.counters[i].value;
	fail_msg("no counter %s", name);
	return 0;
}

uint64_t
chanrig_await(const char *name, uint64_t value)
{
	uint64_t end = chanrig_now_us() + PATIENCE_US;
	uint64_t now;

	while ((now = chanrig_counter(name)) < value && chanrig_now_us() < end)
		usleep(5000); /* it is written ten times a second */
	if (now < value)
		fail_msg("%s is %llu", name, (unsigned long long)now);
	return now;
}

#define AUDIT_BYTES (8u << 20)

size_t
chanrig_audit(const char *what, size_t count)
{
	struct leat_subscription sub = {
	    .topic = LT_NAME_AUDIT_TOPIC, .queue = 0, .from = LEAT_FROM_BEGIN};
	uint64_t end = chanrig_now_us() + PATIENCE_US;
	static char all[AUDIT_BYTES];
	static size_t used;
	struct leat_delivery d[64];
	size_t seen = 0;

	if (it.audit == NULL) {
		used = 0;
		OK(leat_subscribe(it.local, &sub, &it.audit));
	}
	do {
		int n = leat_poll(it.audit, d, LT_COUNT(d), 100);

		assert_true(n >= 0);
		for (int i = 0; i < n; i++) {
			assert_true(used + d[i].body_bytes + 2 < sizeof all);
			memcpy(all + used, d[i].body, d[i].body_bytes);
			used += d[i].body_bytes;
			all[used++] = '\n';
			all[used] = '\0';
		}
		seen = 0;
		for (char *at = all; (at = strstr(at, what)) != NULL; at++)
			seen++;
	} while (seen < count && chanrig_now_us() < end);
	return seen;
}

/* --- requests --------------------------------------------------------------
 */

size_t
chanrig_frame(uint8_t *out, size_t room, int is_json, int32_t code,
    int32_t opaque, const struct chanfield *fields, const void *body,
    size_t bytes)
{
	struct lt_remoting_encoder e;

	lt_remoting_begin(&e, out, room - bytes,
	    is_json ? LT_REMOTING_JSON : LT_REMOTING_BINARY, code, 0, opaque);
	for (; fields->name != NULL; fields++)
		lt_remoting_put(
		    &e, fields->name, fields->value, strlen(fields->value));
	size_t n = lt_remoting_end(&e, NULL, 0, bytes);
	assert_true(n > 0);
	if (bytes > 0)
		memcpy(out + n, body, bytes);
	return n + bytes;
}

int
chanrig_reply(struct chanpeer *p, struct chanreply *r)
{
	struct lt_remoting_frame f;
	uint32_t size;

	if (chanpeer_recv(p, r->bytes, 4) != 0)
		return -1;
	size = lt_bytes_get32(r->bytes);
	assert_true(size <= sizeof r->bytes - 4);
	if (chanpeer_recv(p, r->bytes + 4, size) != 0)
		return -1;
	OK(lt_remoting_frame(r->bytes, size + 4, &f));
	OK(lt_remoting_decode(&f, &r->h));
	r->code = r->h.code;
	r->opaque = r->h.opaque;
	r->body = f.body;
	r->body_bytes = f.body_bytes;
	return 0;
}

int
chanrig_call(struct chanpeer *p, int is_json, int32_t code,
    const struct chanfield *fields, const void *body, size_t bytes,
    struct chanreply *r)
{
	static uint8_t out[1 << 18];
	static int32_t opaque;
	size_t n = chanrig_frame(
	    out, sizeof out, is_json, code, ++opaque, fields, body, bytes);

	if (chanpeer_send(p, out, n) != 0)
		return -1;
	do
		if (chanrig_reply(p, r) != 0)
			return -1;
	while ((r->h.flag & LT_REMOTING_RESPONSE) == 0);
	assert_int_equal(r->opaque, opaque);
	return r->code;
}

int
chanrig_send(struct chanpeer *p, const char *topic, const void *body,
    size_t bytes, struct chanreply *r)
{
	return chanrig_call(p, 0, 310,
	    CHANFIELDS({"a", "pg"}, {"b", topic}, {"c", "TBW102"}, {"d", "4"},
		{"e", "0"}, {"f", "0"}, {"g", "1700000000123"}, {"h", "0"},
		{"i", "KEYS\001k1"}, {"j", "0"}),
	    body, bytes, r);
}
