/*
 * entrances.h - where remote clients come in: what the settings say about
 * addresses, TLS and the broker's key becomes sockets, before the sandbox; the
 * workers share them.
 */
#ifndef LT_REMOTING_ENTRANCES_H
#define LT_REMOTING_ENTRANCES_H

#include <netinet/in.h>
#include <stddef.h>
#include "net/net.h"
#include "proto/options.h"
#include "remoting/worker.h"

#define LT_ENTRANCES_MAX 16
#define LT_ENTRANCES_CHANNEL_PORT 10922

struct lt_entrance {
	int fd;
	enum lt_role role;
	int awaits_keys; /* nobody can come before a key has a grant */
};

struct lt_entrances {
	struct lt_entrance all[LT_ENTRANCES_MAX];
	size_t count;
	enum lt_net_tls mode;
	struct lt_tls *tls;
	struct lt_channels *channels; /* NULL: no entrance of that role */
};

/* Look up the addresses, read the files; open nothing. The rest as below. */
int lt_entrances_check(
    struct lt_options *o, char *why, size_t why_bytes) LT_MUST_CHECK;
/* dir: the broker's, where its key is. The lists of o are cut up. why: on
 * failure what to write into the log, with the fix. */
int lt_entrances_open(struct lt_entrances *e, struct lt_options *o, int dir,
    char *why, size_t why_bytes) LT_MUST_CHECK;
void lt_entrances_close(struct lt_entrances *e); /* workers are destroyed */
int lt_entrances_has(const struct lt_entrances *e, enum lt_role role);
/* The last one's port; 0: there is none. */
uint16_t lt_entrances_port(const struct lt_entrances *e, enum lt_role role);
/* Have the worker listen at those that await keys, or at all others. */
int lt_entrances_share(const struct lt_entrances *e, struct lt_worker *w,
    int awaits_keys) LT_MUST_CHECK;
/* HOST:PORT; looks the host up. 0 or -1. */
int lt_entrances_resolve(const char *text, struct sockaddr_in *out);

#endif
