/*
 * netspeed_test.c - what the loop costs: echoes through gateway/net beside a
 * bare epoll echo in the same run, and the memory of connections that are idle.
 * By itself a short run that proves that it works; LEAT_LONG=1: the figures.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/net.h"

#define FRAME 128
#define DEPTH 32 /* frames in flight of a pipelining connection */
#define PEERS 64

static double seconds = 0.2;
static unsigned idle_count = 200;

/* --- servers, in a child each --------------------------------------------- */

static int64_t
cut(const uint8_t *p, size_t bytes, void *user)
{
	return bytes < 4 ? 0 : (int64_t)lt_bytes_get32(p);
}

static int
frame(struct lt_conn *c, uint8_t *p, size_t bytes, void *user)
{
	void *room = lt_conn_room(c, bytes);

	if (room == NULL)
		return -1;
	memcpy(room, p, bytes);
	lt_conn_put(c, bytes);
	return 0;
}

static void
serve_net(int fd)
{
	static const struct lt_net_owner owner = {.cut = cut, .frame = frame};
	static const struct lt_net_limits limits = {.frame_bytes = 1 << 20,
	    .conn_bytes = 1 << 20,
	    .memory_bytes = 64 << 20,
	    .connections = 20000};
	struct lt_net *net;
	int rc = lt_net_create(&owner, NULL, &limits, 100, &net);

	LT_ASSERT(rc == 0);
	rc = lt_net_listen(net, fd, 0, LT_NET_TLS_OFF, NULL);
	LT_ASSERT(rc == 0);
	rc = lt_net_run(net);
	LT_ASSERT(rc == 0);
}

/* What came goes back: no frames, no bounds, no waiting output. */
static void
serve_epoll(int listener)
{
	static char scratch[65536];
	struct epoll_event events[64], ev = {.events = EPOLLIN};
	int one = 1;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	ev.data.fd = listener;
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev);
	for (;;) {
		int n = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener) {
				ev.data.fd =
				    accept4(fd, NULL, NULL, SOCK_NONBLOCK);
				setsockopt(ev.data.fd, IPPROTO_TCP, TCP_NODELAY,
				    &one, sizeof one);
				epoll_ctl(
				    epoll, EPOLL_CTL_ADD, ev.data.fd, &ev);
				continue;
			}
			ssize_t got = recv(fd, scratch, sizeof scratch, 0);
			if (got <= 0)
				close(fd);
			else if (send(fd, scratch, (size_t)got, MSG_NOSIGNAL) !=
				 got)
				LT_ASSERT(!"the echo did not fit");
		}
	}
}

static pid_t
start(void (*serve)(int fd), struct sockaddr_in *at)
{
	socklen_t bytes = sizeof *at;
	int fd;

	*at = (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int rc = lt_net_bind(at, &fd);
	LT_ASSERT(rc == 0);
	getsockname(fd, (struct sockaddr *)at, &bytes);
	pid_t child = fork();
	if (child == 0) {
		serve(fd);
		_exit(1);
	}
	close(fd);
	return child;
}

static void
stop(pid_t child)
{
	kill(child, SIGKILL);
}

/* --- the load ---------------------------------------------------------------
 */

static int
dial(const struct sockaddr_in *at)
{
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)at, sizeof *at) != 0) {
		perror("connect");
		exit(1);
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

/* Every connection keeps `depth` frames in flight; echoes a second. */
static double
echoes(const struct sockaddr_in *at, int peers, int depth)
{
	static uint8_t p[DEPTH * FRAME], back[65536];
	static size_t begun[1024]; /* bytes of the last frame that were sent */
	struct epoll_event events[PEERS];
	int fds[PEERS];
	uint64_t bytes = 0;
	int epoll = epoll_create1(0);

	for (int i = 0; i < depth; i++)
		lt_bytes_put32(p + i * FRAME, FRAME);
	for (int i = 0; i < peers; i++) {
		struct epoll_event ev = {.events = EPOLLIN};

		ev.data.fd = fds[i] = dial(at);
		LT_ASSERT((size_t)fds[i] < LT_COUNT(begun));
		begun[fds[i]] = 0;
		epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &ev);
		LT_ASSERT(
		    send(fds[i], p, (size_t)depth * FRAME, 0) == depth * FRAME);
	}
	uint64_t from = lt_clock_mono_ns(), now;
	do {
		int n = epoll_wait(epoll, events, PEERS, 20000);

		LT_ASSERT(n > 0);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			ssize_t got = recv(fd, back, sizeof back, 0);

			LT_ASSERT(got > 0);
			bytes += (uint64_t)got;
			/* As many bytes as came: the frames stay whole. */
			for (ssize_t left = got; left > 0;) {
				size_t at_byte = begun[fd] % FRAME;
				size_t part = sizeof p - at_byte;

				if (part > (size_t)left)
					part = (size_t)left;
				LT_ASSERT(send(fd, p + at_byte, part, 0) ==
					  (ssize_t)part);
				begun[fd] += part;
				left -= (ssize_t)part;
			}
		}
		now = lt_clock_mono_ns();
	} while ((double)(now - from) < seconds * 1e9);
	for (int i = 0; i < peers; i++)
		close(fds[i]);
	close(epoll);
	return (double)bytes / FRAME * 1e9 / (double)(now - from);
}

static void
compare(int peers, int depth)
{
	struct sockaddr_in net_at, epoll_at;
	pid_t net = start(serve_net, &net_at);
	pid_t bare = start(serve_epoll, &epoll_at);
	double best[2] = {0, 0};

	for (int round = 0; round < 3; round++) {
		double a = echoes(&net_at, peers, depth);
		double b = echoes(&epoll_at, peers, depth);

		best[0] = a > best[0] ? a : best[0];
		best[1] = b > best[1] ? b : best[1];
	}
	printf("%d connections, %d in flight each, %d bytes: net %.0f/s, bare "
	       "epoll %.0f/s, ratio %.2f\n",
	    peers, depth, FRAME, best[0], best[1], best[0] / best[1]);
	stop(net);
	stop(bare);
}

/* --- memory -----------------------------------------------------------------
 */

static long
resident(pid_t pid)
{
	char path[64];
	long all, pages = 0;

	snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
	FILE *f = fopen(path, "r");
	LT_ASSERT(f != NULL && fscanf(f, "%ld %ld", &all, &pages) == 2);
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

static void
echo_on(int fd)
{
	uint8_t p[FRAME];

	memset(p, 0, sizeof p);
	lt_bytes_put32(p, FRAME);
	LT_ASSERT(send(fd, p, sizeof p, 0) == FRAME);
	LT_ASSERT(recv(fd, p, sizeof p, MSG_WAITALL) == FRAME);
}

/* Each has spoken once, so whatever that took is seen. */
static int
idle_memory(void)
{
	struct rlimit files;
	struct sockaddr_in at;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < idle_count + 100) {
		printf("SKIP idle memory: %lu descriptors at most\n",
		    (unsigned long)files.rlim_cur);
		return 0;
	}
	pid_t net = start(serve_net, &at);
	int *fds = lt_mem_array(idle_count, sizeof(*fds));
	LT_ASSERT(fds != NULL);
	echo_on(dial(&at));
	long before = resident(net);
	for (unsigned i = 0; i < idle_count; i++) {
		fds[i] = dial(&at);
		echo_on(fds[i]);
	}
	long each = (resident(net) - before) / (long)idle_count;
	printf(
	    "%u idle connections: %ld bytes resident each\n", idle_count, each);
	for (unsigned i = 0; i < idle_count; i++)
		close(fds[i]);
	lt_mem_free(fds);
	stop(net);
	return each > 4096;
}

int
main(void)
{
	if (getenv("LEAT_LONG") != NULL) {
		seconds = 1;
		idle_count = 10000;
	}
	signal(SIGCHLD, SIG_IGN);
	alarm(600);
	compare(1, 1);
	compare(1, DEPTH);
	compare(PEERS, 1);
	compare(PEERS, DEPTH);
	return idle_memory();
}
