/*
 * probe.c - how long a send takes while others are at work: one connection that
 * speaks RocketMQ's remoting protocol, one message at a time, at a fixed rate.
 * The clock of a message starts when it was due.
 *
 *   probe send HOST:PORT TOPIC BYTES RATE SECONDS   "count p50 p99 max" in us
 *   probe idle HOST:PORT COUNT                      opens COUNT connections,
 *       each asks once; prints "ready", keeps them until its input ends
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "proto/remoting.h"

#define SEND_V2 310
#define UNSERVED 9999 /* any answer will do */
#define ANSWER_MS 10000

static uint8_t out[1 << 20], in[1 << 20];
static int32_t opaque;

_Noreturn static void
end(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int
dial(const char *to)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	const char *colon = strrchr(to, ':');
	char host[64];
	int one = 1;

	if (colon == NULL)
		end("write HOST:PORT");
	snprintf(host, sizeof host, "%.*s", (int)(colon - to), to);
	at.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &at.sin_addr) != 1)
		end("write an IPv4 address");
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
	    connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
		end("cannot connect");
	return fd;
}

/* One request and its answer's code. */
static int
ask(int fd, size_t bytes)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	static struct lt_remoting h;
	struct lt_remoting_frame f;
	size_t had = 0;

	if (write(fd, out, bytes) != (ssize_t)bytes)
		end("cannot send");
	for (;;) {
		if (poll(&p, 1, ANSWER_MS) <= 0)
			end("no answer");
		ssize_t n = read(fd, in + had, sizeof in - had);
		if (n <= 0)
			end("the connection was closed");
		had += (size_t)n;
		if (had >= 4 && had >= lt_bytes_get32(in) + 4u)
			break;
	}
	if (lt_remoting_frame(in, had, &f) != 0 ||
	    lt_remoting_decode(&f, &h) != 0)
		end("an answer makes no sense");
	return h.code;
}

static size_t
request(int code, const char *topic, size_t body)
{
	struct lt_remoting_encoder e;
	char born[32];

	lt_remoting_begin(
	    &e, out, sizeof out, LT_REMOTING_JSON, code, 0, ++opaque);
	if (topic != NULL) {
		snprintf(
		    born, sizeof born, "%lld", (long long)lt_clock_wall_ms());
		const char *const fields[][2] = {{"a", "probe"}, {"b", topic},
		    {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"},
		    {"g", born}, {"h", "0"}, {"i", ""}, {"j", "0"},
		    {"k", "false"}, {"m", "false"}};

		for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
			lt_remoting_put(&e, fields[i][0], fields[i][1],
			    strlen(fields[i][1]));
	}
	size_t n = lt_remoting_end(&e, NULL, 0, body);
	if (n == 0 || body > sizeof out - n)
		end("too large");
	memset(out + n, 'x', body);
	return n + body;
}

static void
wait_until(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u),
	    .tv_nsec = (long)(ns % 1000000000u)};

	while (
	    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static int
probe_send(char **argv)
{
	static struct lt_histogram h;
	int fd = dial(argv[0]);
	size_t bytes = (size_t)atoi(argv[2]);
	uint64_t step = 1000000000u / (uint64_t)atoi(argv[3]);
	uint64_t due = lt_clock_mono_ns();
	uint64_t stop = due + (uint64_t)atoi(argv[4]) * 1000000000u;

	/* The first ones make the topic. */
	for (int i = 0; i < 20; i++)
		(void)ask(fd, request(SEND_V2, argv[1], bytes));
	lt_histogram_init(&h);
	for (due = lt_clock_mono_ns(); due < stop; due += step) {
		wait_until(due);
		if (ask(fd, request(SEND_V2, argv[1], bytes)) != 0)
			end("a send was refused");
		lt_histogram_add(&h, (lt_clock_mono_ns() - due) / 1000);
	}
	printf("%llu %llu %llu %llu\n", (unsigned long long)h.count,
	    (unsigned long long)lt_histogram_at(&h, 0.5),
	    (unsigned long long)lt_histogram_at(&h, 0.99),
	    (unsigned long long)h.max);
	return 0;
}

static int
probe_idle(char **argv)
{
	struct rlimit files;
	int count = atoi(argv[1]);
	char byte;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	for (int i = 0; i < count; i++)
		(void)ask(dial(argv[0]), request(UNSERVED, NULL, 0));
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "send") == 0)
		return probe_send(argv + 2);
	if (argc == 4 && strcmp(argv[1], "idle") == 0)
		return probe_idle(argv + 2);
	fputs("usage: probe send HOST:PORT TOPIC BYTES RATE SECONDS\n"
	      "       probe idle HOST:PORT COUNT\n",
	    stderr);
	return 2;
}
