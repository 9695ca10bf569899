/*
 * driver.c - one end of a Leat channel over TCP, made of proto/channel, for
 * ../channel.sh: the other end is somebody else's Noise (peer.py, go/main.go,
 * which take the same arguments and do the same).
 *
 *   driver broker COUNT              prints "port N", serves one client
 *   driver client COUNT PORT [FAULT]
 *
 * Both send COUNT messages and check those of the other, twenty at a time: four
 * bytes of length and a body that follows from its number. Records end
 * anywhere, and each hundredth brings a new key. Then both say END. FAULT:
 * the client takes another key for the broker's (wrong), changes a record
 * (spoil), repeats one (again) or leaves without END (cut). Exit 0: all was
 * well; 3: the other end was refused, or closed; 1: another failure.
 */
#include "config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "leat/status.h"
#include "proto/channel.h"

#define BATCH 20
#define BIG 70000
#define REFUSED 3

static struct lt_noise_pair keys[2]; /* of client and broker; no secret */
static struct lt_channel ch;
static const char *fault = "";
static int fd;
static unsigned sent_records, got_records, renewed;
static uint8_t got[2 * LT_CHANNEL_RECORD_MAX + BIG]; /* of the stream, unread */
static size_t got_bytes;
static int got_end;

static void
finish(int code, const char *why)
{
	if (code == 0)
		printf("done: %u records sent, %u received, %u keys\n",
		    sent_records, got_records, renewed);
	else
		fprintf(stderr, "driver: %s\n", why);
	exit(code);
}

static void
send_all(const void *p, size_t bytes)
{
	const char *at = p;

	while (bytes > 0) {
		ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);
		if (n <= 0)
			finish(REFUSED, "closed while sending");
		at += n;
		bytes -= (size_t)n;
	}
}

static void
read_all(void *p, size_t bytes)
{
	if (recv(fd, p, bytes, MSG_WAITALL) != (ssize_t)bytes)
		finish(REFUSED, "closed while reading");
}

static void
check(int rc, const char *what)
{
	if (rc != LEAT_OK)
		finish(REFUSED, what);
}

static void
shake_hands(int is_broker)
{
	uint8_t hello[LT_CHANNEL_HELLO], answer[LT_CHANNEL_ANSWER];
	uint8_t proof[LT_CHANNEL_PROOF];

	if (is_broker) {
		lt_channel_init(&ch, &keys[1], NULL);
		read_all(hello, sizeof hello);
		check(lt_channel_greet(&ch, hello), "hello");
		check(lt_channel_answer(&ch, answer), "answer");
		send_all(answer, sizeof answer);
		read_all(proof, sizeof proof);
		check(lt_channel_accept(&ch, proof), "proof");
	} else {
		int wrong = strcmp(fault, "wrong") == 0;
		lt_channel_init(&ch, &keys[0], keys[wrong ? 0 : 1].public);
		check(lt_channel_hello(&ch, hello), "hello");
		send_all(hello, sizeof hello);
		read_all(answer, sizeof answer);
		check(lt_channel_finish(&ch, answer, proof), "answer");
		send_all(proof, sizeof proof);
	}
	if (!lt_secret_equal(
		lt_channel_peer(&ch), keys[!is_broker].public, LT_SECRET_KEY))
		finish(1, "another peer");
}

static void
send_record(const uint8_t *p, size_t bytes, int end)
{
	static uint8_t record[LT_CHANNEL_RECORD_MAX];

	if (++sent_records % 100 == 0)
		ch.out.records = LT_CHANNEL_REKEY_RECORDS - 1;
	memcpy(record + LT_CHANNEL_HEAD, p, bytes);
	check(lt_channel_seal(&ch, record, bytes, end, 1), "sealing");
	renewed += ch.out.records == 0;
	bytes += LT_CHANNEL_OVER;
	if (sent_records == 50 && strcmp(fault, "spoil") == 0)
		record[bytes - 1] ^= 1;
	if (sent_records == 50 && strcmp(fault, "cut") == 0)
		finish(REFUSED, "cut");
	send_all(record, bytes);
	if (sent_records == 50 && strcmp(fault, "again") == 0)
		send_all(record, bytes);
}

static void
receive_record(void)
{
	static uint8_t record[LT_CHANNEL_RECORD_MAX];
	uint8_t *out;
	size_t n;

	read_all(record, LT_CHANNEL_LENGTH);
	int64_t size = lt_channel_cut(record, LT_CHANNEL_LENGTH);
	if (size < 0)
		finish(REFUSED, "a length");
	read_all(record + LT_CHANNEL_LENGTH, (size_t)size - LT_CHANNEL_LENGTH);
	int rc = lt_channel_open(&ch, record, (size_t)size, &out, &n);
	if (rc != LEAT_OK && rc != LEAT_E_CLOSED)
		finish(REFUSED, "a record");
	got_records++;
	got_end = rc == LEAT_E_CLOSED;
	LT_ASSERT(got_bytes + n <= sizeof got);
	memcpy(got + got_bytes, out, n);
	got_bytes += n;
}

/* A message as who (1: client, 2: broker) sends it, its length first. */
static size_t
message(uint8_t *p, unsigned i, unsigned who)
{
	size_t bytes = i % 1000 == 999 ? BIG : i * 7919u % 1500;

	lt_bytes_put32(p, (uint32_t)bytes);
	for (size_t j = 0; j < bytes; j++)
		p[4 + j] = (uint8_t)(i * 31 + who + j * 7);
	return 4 + bytes;
}

static void
send_messages(unsigned first, unsigned count, unsigned who)
{
	static uint8_t p[BATCH * (4 + 1500) + 4 + BIG];
	size_t used = 0, at = 0;

	for (unsigned i = first; i < first + count; i++)
		used += message(p + used, i, who);
	while (at < used) {
		size_t n = 1 + sent_records * 12289u % 4000;
		if (used - at > BIG) /* now and then a whole one */
			n = LT_CHANNEL_PLAIN_MAX;
		if (n > used - at)
			n = used - at;
		send_record(p + at, n, 0);
		at += n;
	}
}

static void
receive_messages(unsigned first, unsigned count, unsigned who)
{
	static uint8_t want[4 + BIG];

	for (unsigned i = first; i < first + count; i++) {
		size_t bytes = message(want, i, who);
		while (got_bytes < bytes) {
			if (got_end)
				finish(1, "ended too early");
			receive_record();
		}
		if (memcmp(got, want, bytes) != 0)
			finish(1, "another message");
		got_bytes -= bytes;
		memmove(got, got + bytes, got_bytes);
	}
}

static void
open_socket(int is_broker, unsigned port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval patience = {.tv_sec = 120};
	socklen_t n = sizeof a;
	int rc, listening = socket(AF_INET, SOCK_STREAM, 0);

	fd = listening;
	if (is_broker) {
		rc = bind(listening, (struct sockaddr *)&a, sizeof a);
		rc = rc == 0 ? listen(listening, 1) : rc;
		getsockname(listening, (struct sockaddr *)&a, &n);
		printf("port %u\n", ntohs(a.sin_port));
		fflush(stdout);
		fd = rc == 0 ? accept(listening, NULL, NULL) : -1;
		close(listening);
	} else if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
		fd = -1;
	if (fd < 0)
		finish(1, "no connection");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

int
main(int argc, char **argv)
{
	int is_broker = argc > 1 && strcmp(argv[1], "broker") == 0;

	if (argc < (is_broker ? 3 : 4) || lt_secret_init() != LEAT_OK)
		return 2;
	unsigned count = (unsigned)strtoul(argv[2], NULL, 10), who = is_broker;
	fault = argc > 4 ? argv[4] : "";
	for (int k = 0; k < 2; k++) {
		for (int i = 0; i < LT_SECRET_KEY; i++)
			keys[k].secret[i] = (uint8_t)(1 + 32 * k + i);
		lt_secret_public(keys[k].public, keys[k].secret);
	}
	open_socket(
	    is_broker, is_broker ? 0 : (unsigned)strtoul(argv[3], NULL, 10));
	shake_hands(is_broker);
	if (is_broker)
		send_record((const uint8_t *)"", 0, 0);
	else
		receive_record();
	if (got_bytes > 0)
		finish(1, "the first record is not empty");
	for (unsigned i = 0; i < count; i += BATCH) {
		unsigned n = count - i < BATCH ? count - i : BATCH;
		send_messages(i, n, 1 + who);
		receive_messages(i, n, 2 - who);
	}
	send_record((const uint8_t *)"", 0, 1);
	while (!got_end)
		receive_record();
	if (got_bytes > 0)
		finish(1, "more than was to come");
	finish(0, NULL);
}
