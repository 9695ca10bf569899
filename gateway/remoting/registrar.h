/*
 * registrar.h - tells name servers which topics this broker has: the one in
 * this process, and others over TCP. One thread: that of the loop it is given.
 *
 * leat-queue counts changes of its topics in shared memory, so nothing is asked
 * while nothing changed; each name server hears of a change within a tick, and
 * every 30 s that we live.
 */
#ifndef LT_REMOTING_REGISTRAR_H
#define LT_REMOTING_REGISTRAR_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <leat/leat.h>
#include "base/check.h"
#include "net/net.h"
#include "remoting/worker.h"

struct lt_registrar;

#define LT_REGISTRAR_TAG 1000 /* of our connections: and higher */
#define LT_REGISTRAR_SERVERS_MAX 16
#define LT_REGISTRAR_AWAITED_MAX 5000 /* topics */

struct lt_registrar_config {
	const struct lt_gateway
	    *gateway; /* borrowed; no address: tells nothing */
	const struct sockaddr_in *servers; /* other name servers */
	size_t server_count;
	const struct lt_account *account; /* that signs; NULL: nobody */
	struct leat_options session;
	uint64_t (*topic_changes)(void); /* grows when topics change */
};

int lt_registrar_create(const struct lt_registrar_config *config,
    struct lt_net *net, struct lt_registrar **out) LT_MUST_CHECK;
void lt_registrar_destroy(struct lt_registrar *r);
/* From the loop's callbacks. */
void lt_registrar_tick(struct lt_registrar *r, uint64_t now_ms);
void lt_registrar_opened(struct lt_registrar *r, struct lt_conn *c);
void lt_registrar_closed(struct lt_registrar *r, struct lt_conn *c);
int lt_registrar_frame(
    struct lt_registrar *r, struct lt_conn *c, uint8_t *p, size_t bytes);
/* Wait until name servers that can be reached know the topics that there are
 * now; at most timeout_ms. Any thread but the loop's; NULL: nothing to wait
 * for. Returns at once where topics are so many that each list is long: then
 * they are told when the loop looks. */
uint64_t lt_registrar_changes(const struct lt_registrar *r); /* of topics */
void lt_registrar_await(struct lt_registrar *r, int timeout_ms);
/* Say goodbye: clients look elsewhere. 1: something was sent, so the loop
 * should have a moment. */
int lt_registrar_leave(struct lt_registrar *r);

#endif
