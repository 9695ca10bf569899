/*
 * cutter.h - a stretch of network that breaks: takes connections on a loopback
 * port, passes their bytes on to another, and cuts them all when it is told
 * to, with whatever is on its way. With a broker's key it also ends the Leat
 * channel: what it passes on is plain.
 */
#ifndef TESTS_SUPPORT_CUTTER_H
#define TESTS_SUPPORT_CUTTER_H

#include <stdatomic.h>
#include <stdint.h>
#include "proto/noise.h"

#define CUTTER_CONNS 64

struct cutter_conn {
	struct cutter *c;
	int near, far; /* client's side, server's side; -1: free */
	_Atomic int is_cut;
};

struct cutter {
	int port, target; /* on 127.0.0.1 */
	int listener;
	_Atomic int stop;
	_Atomic int is_deaf; /* what the server says is thrown away */
	_Atomic int accepted, refused, cuts, tampers;
	_Atomic int64_t bytes_left; /* from the server; then all is cut. -1 */
	_Atomic int threads;
	int has_channel;
	struct lt_noise_pair own;
	const uint8_t *known; /* the one client's key; NULL: any */
	struct cutter_conn conns[CUTTER_CONNS];
	void *thread;
};

/* port 0: any. own NULL: bytes are passed on as they are. */
struct cutter *cutter_start(
    int port, int target, const struct lt_noise_pair *own);
void cutter_stop(struct cutter *c);
/* All connections, at once. How many there were. */
int cutter_cut(struct cutter *c);

#endif
