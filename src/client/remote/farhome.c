/*
 * farhome.c - the one broker behind a leat:// address: whose key it has, which
 * is ours, and the session that lasts through connections. Each connection
 * begins with a greeting (30001): a token that only this session and the broker
 * know, and which connection of the session it is. When the broker has
 * answered, nothing that went over earlier connections is under way any more:
 * it is in the log or never will be. Messages are sent behind the answer only.
 */
#include "config.h"
#include "client/remote/inside.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/keyfile.h"
#include "base/userdir.h"

#define SCHEME "leat://"
#define PORT "10922"
#define GREETING 30001
#define TOKEN_CHARS 32

/* --- the address and the keys ----------------------------------------------
 */

/* KEY@HOST[:PORT] behind the scheme. */
static int
parse(const char *text, uint8_t key[LT_SECRET_KEY], char addr[LT_FAR_ADDR])
{
	char shown[LT_SECRET_TEXT];
	const char *host = strchr(text, '@');
	size_t bytes;
	int port;

	if (host == NULL || host - text != LT_SECRET_TEXT - 1)
		return LEAT_E_INVALID;
	memcpy(shown, text, LT_SECRET_TEXT - 1);
	shown[LT_SECRET_TEXT - 1] = '\0';
	port = lt_bytes_port(++host, &bytes);
	if (lt_secret_parse(key, shown) != LEAT_OK || port < 0 || bytes == 0 ||
	    strpbrk(host, "/;,@ ") != NULL ||
	    strlen(host) + sizeof(PORT) + 1 > LT_FAR_ADDR)
		return LEAT_E_INVALID;
	snprintf(addr, LT_FAR_ADDR, "%s%s", host, port == 0 ? ":" PORT : "");
	return LEAT_OK;
}

static int
read_key(struct lt_far *far, const char *file, struct lt_noise_pair *own)
{
	char path[PATH_MAX], why[PATH_MAX + 200];
	int status;

	if (file == NULL)
		file = getenv("LEAT_KEY");
	if (file == NULL || file[0] == '\0') {
		status = lt_userdir_path(path, sizeof(path), "key");
		if (status != LEAT_OK)
			return lt_connect_fail(far->leat, LEAT_E_DENIED,
			    "no home directory for a key: name one with --key "
			    "FILE or LEAT_KEY");
		file = path;
	}
	status = lt_keyfile_read(
	    AT_FDCWD, file, own->secret, own->public, why, sizeof(why));
	if (status == LEAT_E_NOTFOUND)
		return lt_connect_fail(far->leat, LEAT_E_DENIED,
		    "no key in %.180s: make one with: leat key generate --out "
		    "FILE",
		    file);
	if (status != LEAT_OK)
		return lt_connect_fail(far->leat, status, "%s", why);
	return LEAT_OK;
}

/* --- the session -------------------------------------------------------------
 */

static void
take_broker(struct lt_far *far, const struct lt_remoting *head)
{
	struct lt_remoting_text name = lt_remoting_find(head, "brokerName");

	if (name.p == NULL || name.bytes >= sizeof(far->home.broker))
		return;
	memcpy(far->home.broker, name.p, name.bytes);
	far->home.broker[name.bytes] = '\0';
}

static void
on_greeting(int status, const struct lt_remoting *head, const uint8_t *body,
    size_t bytes, void *user)
{
	struct lt_far *far = user;
	struct lt_farhome *h = &far->home;
	struct lt_fartopic *t;

	(void)body;
	(void)bytes;
	h->is_asking = 0;
	if (status == LEAT_OK)
		status = lt_farask_status(head->code);
	if (status == LEAT_OK &&
	    lt_remoting_i64(head, "logEnd", &h->log_end) != LEAT_OK)
		status = LEAT_E_CORRUPT;
	h->status = status;
	if (status != LEAT_OK) {
		h->retry_at = lt_clock_mono_ms() + LT_FAR_RETRY_MS;
		return;
	}
	take_broker(far, head);
	h->is_greeted = 1;
	lt_farrecall_anew(far);
	for (t = far->topics; t != NULL; t = t->next)
		lt_faroutlet_due(t, lt_clock_mono_ms());
}

void
lt_farhome_due(struct lt_far *far, uint64_t now)
{
	struct lt_farconn *c = far->names[0];
	struct lt_farhome *h = &far->home;
	char token[TOKEN_CHARS];
	struct lt_farrequest r;

	if (far->keys == NULL || c == NULL)
		return;
	if (c->fd < 0 || c->is_connecting || h->is_greeted || h->is_asking ||
	    now < h->retry_at || lt_farask_begin(&r, c, GREETING, 0) != LEAT_OK)
		return;
	lt_bytes_hex64(token, h->token[0]);
	lt_bytes_hex64(token + 16, h->token[1]);
	lt_remoting_put(&r.e, "session", token, sizeof(token));
	lt_remoting_put_i64(&r.e, "attempt", ++h->attempt);
	h->is_asking = lt_farask_end(&r, NULL, 0, LT_FAR_RPC_MS, on_greeting,
			   far) == LEAT_OK;
}

void
lt_farhome_down(struct lt_far *far)
{
	far->home.is_greeted = 0;
	far->home.retry_at = 0;
}

/* --- connecting -------------------------------------------------------------
 */

int
lt_farhome_is_refused(const struct lt_far *far)
{
	return far->keys != NULL && far->names[0]->fd < 0 &&
	       far->names[0]->unknown_times >= LT_FAR_UNKNOWN_TIMES;
}

int
lt_farhome_refused(const struct lt_far *far)
{
	const struct lt_farconn *c = far->names[0];
	char key[LT_SECRET_TEXT];

	if (c->refused == LT_FAR_OTHER_BROKER)
		return lt_connect_fail(far->leat, LEAT_E_DENIED,
		    "%s has another key than the address says, or is too busy "
		    "to shake hands: compare with: leat key show --broker",
		    c->addr);
	lt_secret_text(key, far->keys->own.public);
	return lt_connect_fail(far->leat, LEAT_E_DENIED,
	    "%s does not know our key: on the broker: leat grant add key:%s "
	    "topic '*' publish,subscribe",
	    c->addr, key);
}

static int
greet(struct lt_far *far, uint64_t deadline)
{
	struct lt_farconn *c = far->names[0];
	int status;

	while (!far->home.is_greeted) {
		status = lt_farconn_up(c);
		if (status == LEAT_E_DENIED)
			return lt_farhome_refused(far);
		status = far->home.status;
		if (status == LEAT_E_UNSUPPORTED || status == LEAT_E_CORRUPT)
			return lt_connect_fail(far->leat, LEAT_E_VERSION,
			    "%s: the broker is of another release", c->addr);
		if (lt_wait_expired(deadline))
			return lt_connect_fail(far->leat, LEAT_E_UNREACHABLE,
			    "cannot connect to %s: is a broker with a key "
			    "running there?",
			    c->addr);
		lt_far_pump(far, lt_wait_left(deadline, LT_FAR_TICK_MS));
	}
	return LEAT_OK;
}

int
lt_farhome_connect(struct lt_far *far, const char *server, const char *key_file,
    uint64_t deadline)
{
	uint8_t broker[LT_SECRET_KEY];
	struct lt_noise_pair own;
	char addr[LT_FAR_ADDR];
	int status;

	if (lt_secret_init() != LEAT_OK)
		return lt_connect_fail(
		    far->leat, LEAT_E_IO, "no source of random numbers");
	if (parse(server + sizeof(SCHEME) - 1, broker, addr) != LEAT_OK)
		return lt_connect_fail(far->leat, LEAT_E_INVALID,
		    "%s: write leat://BROKERKEY@HOST:PORT, BROKERKEY the 43 "
		    "characters that leat key show --broker prints",
		    server);
	status = read_key(far, key_file, &own);
	if (status != LEAT_OK)
		return status;
	status = lt_farchannel_keys(far, &own, broker);
	lt_secret_wipe(&own, sizeof(own));
	if (status != LEAT_OK)
		return lt_connect_fail(far->leat, status, "out of memory");
	lt_secret_random(far->home.token, sizeof(far->home.token));
	far->names[0] = lt_farconn_of(far, addr);
	if (far->names[0] == NULL)
		return lt_connect_fail(
		    far->leat, LEAT_E_NOMEM, "out of memory");
	far->name_count = 1;
	return greet(far, deadline);
}
