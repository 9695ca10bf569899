/*
 * entrances.c - addresses of the settings to sockets. What is configured must
 * be free, now or when a predecessor is gone; a default that is not free is
 * left alone. The default of Leat channels is on all interfaces, but only
 * reserved: it is opened when a key has a grant.
 */
#include "config.h"
#include "remoting/entrances.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/keyfile.h"
#include "base/log.h"
#include "base/sys.h"
#include "leat/status.h"

#define BIND_TRIES 30 /* of 10 ms: a predecessor is going */
#define NAMES_PORT 9876
#define VIP_BELOW 2 /* some clients send to the port two lower */

struct opening {
	struct lt_entrances *e;
	char *why;
	size_t why_bytes;
};

LT_PRINTF(2, 3)
static int
fail(const struct opening *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->why, o->why_bytes, fmt, ap);
	va_end(ap);
	return LEAT_E_CONFIG;
}

int
lt_entrances_resolve(const char *text, struct sockaddr_in *out)
{
	struct addrinfo hints = {
	    .ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char host[256];
	size_t bytes;
	int port = lt_bytes_port(text, &bytes);

	if (port <= 0 || bytes == 0 || bytes >= sizeof host)
		return -1;
	snprintf(host, sizeof host, "%.*s", (int)bytes, text);
	if (getaddrinfo(host, NULL, &hints, &found) != 0 || found == NULL)
		return -1;
	memcpy(out, found->ai_addr, sizeof *out);
	out->sin_port = htons((uint16_t)port);
	freeaddrinfo(found);
	return 0;
}

/* --- sockets ---------------------------------------------------------------
 */

static int
add(const struct opening *o, int fd, const char *name, uint16_t port,
    enum lt_role role, int awaits_keys)
{
	if (o->e->count == LT_ENTRANCES_MAX) {
		lt_sys.close(fd);
		return fail(o,
		    "setting=gateway.%s fix=\"name at most %d addresses\"",
		    name, LT_ENTRANCES_MAX / 2);
	}
	o->e->all[o->e->count++] = (struct lt_entrance){
	    .fd = fd, .role = role, .awaits_keys = awaits_keys};
	lt_log_info("listening", "role=%s port=%u%s", name, port,
	    awaits_keys ? " from=\"the first grant to a key\"" : "");
	return LEAT_OK;
}

static int
look_up(const struct opening *o, const char *name, const char *text,
    struct sockaddr_in *out)
{
	return lt_entrances_resolve(text, out) == 0
		   ? LEAT_OK
		   : fail(o,
			 "setting=gateway.%s value=\"%s\" fix=\"write "
			 "HOST:PORT, an address of this host\"",
			 name, text);
}

/* What is done with each address of a list. */
typedef int one_fn(const struct opening *o, const char *name, const char *text,
    enum lt_role role);

static int
check_one(const struct opening *o, const char *name, const char *text,
    enum lt_role role)
{
	struct sockaddr_in at;

	(void)role;
	return look_up(o, name, text, &at);
}

static int
open_one(const struct opening *o, const char *name, const char *text,
    enum lt_role role)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	struct sockaddr_in at;
	int fd, rc;

	rc = look_up(o, name, text, &at);
	if (rc != LEAT_OK)
		return rc;
	rc = LEAT_E_BUSY;
	for (int i = 0; rc == LEAT_E_BUSY && i < BIND_TRIES; i++) {
		if (i > 0)
			nanosleep(&pause, NULL);
		rc = lt_net_bind(&at, &fd);
	}
	if (rc != LEAT_OK)
		return fail(o,
		    "setting=gateway.%s value=\"%s\" status=%s fix=\"%s\"",
		    name, text, leat_status_name(rc),
		    rc == LEAT_E_BUSY
			? "stop who listens there, or write another address"
			: "write an address of this host, and a port that its "
			  "user may open");
	return add(o, fd, name, ntohs(at.sin_port), role, 0);
}

static int
each(const struct opening *o, const char *name, char *list, enum lt_role role,
    one_fn *one)
{
	char *rest = NULL;
	int rc = LEAT_OK;

	if (strcmp(list, "none") == 0)
		return LEAT_OK;
	for (char *s = strtok_r(list, ";, ", &rest); s != NULL && rc == LEAT_OK;
	     s = strtok_r(NULL, ";, ", &rest))
		rc = one(o, name, s, role);
	return rc;
}

static int
open_default(
    const struct opening *o, const char *name, uint16_t port, enum lt_role role)
{
	int is_channel = role == LT_ROLE_CHANNEL;
	struct sockaddr_in at = {.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr =
		htonl(is_channel ? INADDR_ANY : INADDR_LOOPBACK)};
	int fd;
	int rc = is_channel ? lt_net_reserve(&at, &fd) : lt_net_bind(&at, &fd);

	if (rc == LEAT_OK)
		return add(o, fd, name, port, role, is_channel);
	lt_log_warn("not-listening",
	    "role=%s port=%u status=%s fix=\"set gateway.%s to another "
	    "address, or to none\"",
	    name, port, leat_status_name(rc), name);
	return LEAT_OK;
}

static int
open_broker(const struct opening *o, struct lt_options *options)
{
	uint16_t port = (uint16_t)options->broker_port;
	int rc;

	if (options->gateway_listen[0] != 0)
		return each(o, "listen", options->gateway_listen,
		    LT_ROLE_BROKER, open_one);
	rc = open_default(o, "listen", port, LT_ROLE_BROKER);
	return rc != LEAT_OK || port <= VIP_BELOW
		   ? rc
		   : open_default(o, "listen", (uint16_t)(port - VIP_BELOW),
			 LT_ROLE_BROKER);
}

/* --- what stands before them ----------------------------------------------
 */

static int
load_tls(const struct opening *o, const struct lt_options *options)
{
	char why[200];

	o->e->mode = (enum lt_net_tls)options->gateway_tls;
	if (o->e->mode == LT_NET_TLS_OFF ||
	    lt_tls_load(options->gateway_tls_cert, options->gateway_tls_key,
		&o->e->tls, why, sizeof why) == LEAT_OK)
		return LEAT_OK;
	return fail(o,
	    "setting=gateway.tls_cert why=\"%s\" fix=\"name readable PEM "
	    "files in gateway.tls_cert and gateway.tls_key\"",
	    why);
}

static int
load_key(const struct opening *o, int dir)
{
	uint8_t secret[LT_SECRET_KEY], public[LT_SECRET_KEY];
	char why[300];
	int rc = lt_keyfile_read(
	    dir, LT_OPTIONS_KEY_FILE, secret, public, why, sizeof why);

	if (rc != LEAT_OK)
		return fail(
		    o, "what=\"no key of this broker\" fix=\"%s\"", why);
	rc = lt_channels_create(secret, &o->e->channels);
	lt_secret_wipe(secret, sizeof secret);
	return rc == LEAT_OK ? rc : fail(o, "what=\"out of memory\"");
}

int
lt_entrances_check(struct lt_options *options, char *why, size_t why_bytes)
{
	struct lt_entrances none = {0};
	const struct opening o = {&none, why, why_bytes};
	int rc = each(
	    &o, "listen", options->gateway_listen, LT_ROLE_BROKER, check_one);

	if (rc == LEAT_OK)
		rc = each(&o, "names", options->gateway_names, LT_ROLE_NAMES,
		    check_one);
	if (rc == LEAT_OK)
		rc = each(&o, "channel", options->gateway_channel,
		    LT_ROLE_CHANNEL, check_one);
	if (rc == LEAT_OK)
		rc = load_tls(&o, options);
	lt_tls_free(none.tls);
	return rc;
}

int
lt_entrances_open(struct lt_entrances *e, struct lt_options *options, int dir,
    char *why, size_t why_bytes)
{
	const struct opening o = {e, why, why_bytes};
	int rc = open_broker(&o, options);

	if (rc == LEAT_OK)
		rc = options->gateway_names[0] != 0
			 ? each(&o, "names", options->gateway_names,
			       LT_ROLE_NAMES, open_one)
			 : open_default(&o, "names", NAMES_PORT, LT_ROLE_NAMES);
	if (rc == LEAT_OK)
		rc = options->gateway_channel[0] != 0
			 ? each(&o, "channel", options->gateway_channel,
			       LT_ROLE_CHANNEL, open_one)
			 : open_default(&o, "channel",
			       LT_ENTRANCES_CHANNEL_PORT, LT_ROLE_CHANNEL);
	if (rc == LEAT_OK)
		rc = load_tls(&o, options);
	if (rc == LEAT_OK && lt_entrances_has(e, LT_ROLE_CHANNEL))
		rc = load_key(&o, dir);
	return rc;
}

/* --- who uses them ---------------------------------------------------------
 */

int
lt_entrances_has(const struct lt_entrances *e, enum lt_role role)
{
	for (size_t i = 0; i < e->count; i++)
		if (e->all[i].role == role)
			return 1;
	return 0;
}

uint16_t
lt_entrances_port(const struct lt_entrances *e, enum lt_role role)
{
	struct sockaddr_in at;
	socklen_t n = sizeof at;
	uint16_t port = 0;

	for (size_t i = 0; i < e->count; i++)
		if (e->all[i].role == role &&
		    getsockname(e->all[i].fd, (void *)&at, &n) == 0)
			port = ntohs(at.sin_port);
	return port;
}

int
lt_entrances_share(
    const struct lt_entrances *e, struct lt_worker *w, int awaits_keys)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct lt_entrance *at = &e->all[i];
		int fd, rc;

		if (at->awaits_keys != awaits_keys)
			continue;
		fd = fcntl(at->fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return lt_sys_status(errno);
		rc = at->role == LT_ROLE_CHANNEL
			 ? lt_net_listen_channel(
			       w->net, fd, (int)at->role, e->channels)
			 : lt_net_listen(
			       w->net, fd, (int)at->role, e->mode, e->tls);
		if (rc != LEAT_OK)
			return rc;
	}
	return LEAT_OK;
}

void
lt_entrances_close(struct lt_entrances *e)
{
	lt_tls_free(e->tls);
	lt_channels_destroy(e->channels);
	for (size_t i = 0; i < e->count; i++)
		lt_sys.close(e->all[i].fd);
	e->count = 0;
}
