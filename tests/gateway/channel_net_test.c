/*
 * channel_net_test.c - Leat channels in gateway/net: the same frames as plain,
 * in pieces of any size; what is bounded; who comes too often, too slowly, with
 * another key, or spoils a byte. Time stands still unless it is put forward.
 */
#include "config.h"
#include "chanpeer.h"
#include "netrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sys.h"
#include "leat/status.h"

static struct lt_noise_pair broker, alice, mallory;
static struct lt_channels *channels;
static struct chanpeer peers[256];
static atomic_int is_revoked;

static int
admits_alice(const uint8_t key[LT_SECRET_KEY])
{
	return !atomic_load(&is_revoked) &&
	       memcmp(key, alice.public, LT_SECRET_KEY) == 0;
}

static void
start(const struct lt_net_limits *limits)
{
	assert_int_equal(lt_channels_create(broker.secret, &channels), LEAT_OK);
	atomic_store(&is_revoked, 0);
	rig_admits = admits_alice;
	rig_start_channel(limits, channels);
}

static void
stop(void)
{
	rig_stop();
	assert_int_equal(lt_channels_pieces(channels), 1);
	assert_int_equal(rig.counters.memory, 0);
	lt_channels_destroy(channels);
}

static struct chanpeer *
meet(struct chanpeer *p, const struct lt_noise_pair *own, unsigned x)
{
	int fd = chanpeer_dial(rig.port, x);

	assert_true(fd >= 0);
	chanpeer_init(p, fd, own, broker.public);
	return p;
}

static struct chanpeer *
join(struct chanpeer *p)
{
	assert_int_equal(chanpeer_shake(meet(p, &alice, 0)), 0);
	return p;
}

static void
order(struct chanpeer *p, enum order what, uint32_t arg)
{
	uint8_t frame[RIG_HEAD];

	frame_make(frame, sizeof frame, what, arg, 0);
	assert_int_equal(chanpeer_send(p, frame, sizeof frame), 0);
}

/* The frame as records of so many bytes. */
static int
echo(struct chanpeer *p, uint32_t bytes, size_t part)
{
	uint8_t *frame = malloc(bytes), *back = malloc(bytes);
	int right = 1;

	frame_make(frame, bytes, ORDER_ECHO, 0, bytes);
	for (size_t at = 0; right && at < bytes; at += part)
		right = chanpeer_send(p, frame + at,
			    bytes - at < part ? bytes - at : part) == 0;
	right = right && chanpeer_recv(p, back, bytes) == 0 &&
		memcmp(frame, back, bytes) == 0;
	free(frame);
	free(back);
	return right;
}

static int
pattern(struct chanpeer *p, size_t bytes, size_t step)
{
	uint8_t *got = malloc(bytes);
	int right = chanpeer_recv(p, got, bytes) == 0;

	for (size_t at = 0; right && at < bytes; at++)
		right =
		    got[at] == (uint8_t)(at / step * step % 256 + at % step);
	free(got);
	return right;
}

/* The broker closes it; how many bytes came before that. */
static size_t
await_end(struct chanpeer *p)
{
	size_t bytes = chanpeer_rest(p->fd);

	chanpeer_close(p);
	return bytes;
}

static void
await_nobody(void)
{
	assert_true(rig_await_current(0));
}

/* --- bytes -----------------------------------------------------------------
 */

static void
test_same_frames(void **state)
{
	static const uint32_t sizes[] = {
	    12, 100, 4096, 5000, 65499, 65518, 65519, 70000, 1000000, 5000000};

	start(&rig_limits);
	join(&peers[0]);
	join(&peers[1]);
	assert_int_equal(rig_counters().channels, 2);
	assert_int_equal(rig_counters().half_open, 0);
	for (size_t i = 0; i < LT_COUNT(sizes); i++) {
		assert_true(echo(&peers[0], sizes[i], sizes[i]));
		assert_true(echo(&peers[1], sizes[i], 60000));
	}
	assert_true(echo(&peers[0], 3000, 7)); /* and empty ones: */
	assert_int_equal(chanpeer_record(&peers[0], NULL, 0, 0), 0);
	assert_true(echo(&peers[0], 3000, 1));
	/* An idle connection keeps nothing but its keys. */
	assert_int_equal(rig_counters().memory, 0);
	assert_int_equal(lt_channels_pieces(channels), 3);
	chanpeer_close(&peers[0]);
	chanpeer_close(&peers[1]);
	stop();
}

/* A record ends one frame, for whose rest alone there is room, and holds more
 * than a read: no event will tell of that. */
static void
test_rest_of_a_record(void **state)
{
	static uint8_t all[60000], back[sizeof all];

	start(&rig_limits);
	join(&peers[0]);
	frame_make(all, 10000, ORDER_ECHO, 0, 1);
	frame_make(all + 10000, 20000, ORDER_ECHO, 0, 2);
	frame_make(all + 30000, 30000, ORDER_ECHO, 0, 3);
	assert_int_equal(chanpeer_send(&peers[0], all, 5000), 0);
	while (rig_counters().bytes_in != 5000)
		;
	assert_int_equal(
	    chanpeer_send(&peers[0], all + 5000, sizeof all - 5000), 0);
	assert_int_equal(chanpeer_recv(&peers[0], back, sizeof back), 0);
	assert_memory_equal(back, all, sizeof all);
	assert_int_equal(rig_counters().memory, 0);
	chanpeer_close(&peers[0]);
	stop();
}

static struct lt_sys real;
static atomic_uint calls;

static ssize_t
recv_one(int fd, void *p, size_t bytes, int flags)
{
	return real.recv(fd, p, flags == 0 && bytes > 1 ? 1 : bytes, flags);
}

/* One byte, and then none for once. */
static ssize_t
send_one(int fd, const struct msghdr *msg, int flags)
{
	struct iovec v = {.iov_base = msg->msg_iov[0].iov_base, .iov_len = 1};
	struct msghdr one = {.msg_iov = &v, .msg_iovlen = 1};

	if (atomic_fetch_add(&calls, 1) % 2 == 1) {
		errno = EAGAIN;
		return -1;
	}
	return real.sendmsg(fd, &one, flags);
}

static void
test_byte_by_byte(void **state)
{
	real = lt_sys;
	start(&rig_limits);
	lt_sys.recv = recv_one;
	lt_sys.sendmsg = send_one;
	join(&peers[0]);
	assert_true(echo(&peers[0], 12, 12));
	assert_true(echo(&peers[0], 5000, 5000));
	assert_true(echo(&peers[0], 300, 1));
	order(&peers[0], ORDER_LEND, 100000);
	assert_true(pattern(&peers[0], 100000, 50000));
	assert_int_equal(rig_counters().memory, 0);
	lt_sys = real;
	chanpeer_close(&peers[0]);
	stop();
	printf("byte by byte: %u writes of one byte\n", calls / 2);
}

static void
test_big_replies_are_bounded(void **state)
{
	struct lt_net_limits limits = rig_limits;

	limits.conn_bytes = 256 << 10;
	start(&limits);
	join(&peers[0]);
	size_t records = peers[0].records;
	order(&peers[0], ORDER_LEND, 8 << 20);
	for (int i = 0; i < 60; i++)
		order(&peers[0], ORDER_FILL, 100000);
	assert_true(pattern(&peers[0], 8 << 20, 50000));
	/* All in large records: as few as may be, nearly. */
	records = peers[0].records - records;
	assert_in_range(records, (8 << 20) / 65518, (8 << 20) / 65518 + 60);
	while (rig_counters().unsent == 0)
		; /* nothing is taken, and little is held */
	for (int i = 0; i < 60; i++) {
		assert_true(rig_counters().memory < 1 << 20);
		assert_true(pattern(&peers[0], 100000, 3000));
	}
	assert_int_equal(rig_counters().frames, 61);
	chanpeer_close(&peers[0]);
	stop();
}

static void
test_memory_is_bounded(void **state)
{
	static uint8_t piece[60000];
	struct lt_net_limits limits = rig_limits;

	limits.memory_bytes = 1 << 20;
	start(&limits);
	for (size_t i = 0; i < 40; i++) {
		join(&peers[i]);
		frame_make(piece, sizeof piece, ORDER_ECHO, 0, 1);
		piece[1] = 0xFF; /* much larger */
		assert_int_equal(
		    chanpeer_send(&peers[i], piece, sizeof piece), 0);
	}
	while (rig_counters().closed[LT_NET_MEMORY] == 0)
		;
	/* Nobody had to go for what another one had. */
	while (rig_counters().bytes_in < 40 * sizeof piece)
		;
	assert_true(rig_counters().memory <= 1 << 20);
	assert_in_range(rig_counters().current, 10, 17);
	for (size_t i = 0; i < 40; i++)
		chanpeer_close(&peers[i]);
	await_nobody();
	stop();
}

/* --- the end ---------------------------------------------------------------
 */

static void
test_last_replies(void **state)
{
	uint8_t frame[RIG_HEAD], back[RIG_HEAD];

	start(&rig_limits);
	/* Who has finished gets what is owed, then our END. */
	join(&peers[0]);
	order(&peers[0], ORDER_LATER, 0);
	frame_make(frame, sizeof frame, ORDER_ECHO, 0, 0);
	assert_int_equal(chanpeer_record(&peers[0], frame, sizeof frame, 1), 0);
	assert_int_equal(chanpeer_recv(&peers[0], back, sizeof back), 0);
	assert_memory_equal(back, frame, sizeof frame);
	rig_release();
	assert_int_equal(chanpeer_recv(&peers[0], back, sizeof back), 0);
	assert_int_equal(chanpeer_recv(&peers[0], back, 1), -1);
	assert_true(peers[0].is_over);
	chanpeer_close(&peers[0]);
	/* A drain: all of it, then END. */
	join(&peers[0]);
	order(&peers[0], ORDER_DRAIN, 3000000);
	assert_true(pattern(&peers[0], 3000000, 50000));
	assert_int_equal(chanpeer_recv(&peers[0], back, 1), -1);
	assert_true(peers[0].is_over);
	chanpeer_close(&peers[0]);
	await_nobody();
	stop();
	assert_int_equal(rig.counters.closed[LT_NET_PEER], 1);
	assert_int_equal(rig.counters.closed[LT_NET_OWNER], 1);
}

/* An end that the peer has not sealed is none: nobody waits for replies, and
 * half a frame, or record, is nothing. */
static void
test_truncated(void **state)
{
	uint8_t frame[RIG_HEAD], out[RIG_HEAD + LT_CHANNEL_OVER];

	start(&rig_limits);
	for (size_t cut = 0; cut <= sizeof out; cut++) {
		join(&peers[0]);
		order(&peers[0], ORDER_LATER, 0);
		frame_make(frame, sizeof frame, ORDER_REFUSE, 0, 0);
		chanpeer_seal(&peers[0], frame, sizeof frame, 0, out);
		assert_int_equal(
		    send_all(peers[0].fd, out, cut == sizeof out ? 0 : cut), 0);
		shutdown(peers[0].fd, SHUT_WR);
		assert_int_equal(await_end(&peers[0]), 0);
		if (cut % 50 == 49)
			rig_advance(1000 * 60);
		await_nobody();
		rig_release(); /* nobody is there for it */
	}
	stop();
	assert_int_equal(
	    rig.counters.closed[LT_NET_ERROR], RIG_HEAD + LT_CHANNEL_OVER + 1);
	assert_int_equal(rig.counters.closed[LT_NET_FRAME], 0);
	assert_int_equal(rig.unshaken, 0);
}

static void
test_new_keys_by_age(void **state)
{
	struct lt_net_limits limits = rig_limits;
	uint8_t old[LT_SECRET_KEY];

	limits.idle_ms = 0;
	start(&limits);
	join(&peers[0]);
	memcpy(old, peers[0].channel.noise.up.in.key, sizeof old);
	assert_true(echo(&peers[0], 100, 100));
	assert_memory_equal(old, peers[0].channel.noise.up.in.key, sizeof old);
	rig_advance(LT_CHANNEL_REKEY_MS);
	assert_true(echo(&peers[0], 100, 100));
	assert_memory_not_equal(
	    old, peers[0].channel.noise.up.in.key, sizeof old);
	assert_true(echo(&peers[0], 100000, 100000));
	chanpeer_close(&peers[0]);
	stop();
}

/* --- who is not let in -----------------------------------------------------
 */

static void
test_unknown_and_revoked(void **state)
{
	uint8_t first[RIG_HEAD];

	start(&rig_limits);
	frame_make(first, sizeof first, ORDER_ECHO, 0, 0);
	for (int k = 0; k < 2; k++) {
		meet(&peers[k], k == 0 ? &mallory : &alice, 0);
		atomic_store(&is_revoked, k);
		assert_int_equal(chanpeer_hello(&peers[k]), 0);
		assert_int_equal(chanpeer_proof(&peers[k]), 0);
		/* Also who does not wait for it. */
		(void)chanpeer_send(&peers[k], first, sizeof first);
		assert_int_equal(await_end(&peers[k]), 0);
	}
	await_nobody();
	assert_int_equal(rig_counters().closed[LT_NET_STRANGER], 2);
	/* Behind an answer of the table, nobody else: */
	rig_admits = NULL;
	atomic_store(&is_revoked, 0);
	meet(&peers[0], &alice, 0);
	assert_int_equal(chanpeer_shake(&peers[0]), -1);
	chanpeer_close(&peers[0]);
	stop();
	assert_int_equal(rig.counters.frames, 0);
	assert_int_equal(rig.counters.bytes_in, 0);
	assert_int_equal(rig.unshaken, 3);
}

static void
test_revoked_while_up(void **state)
{
	uint8_t c;

	start(&rig_limits);
	join(&peers[0]);
	assert_true(echo(&peers[0], 100, 100));
	rig_admit_again();
	assert_true(echo(&peers[0], 100, 100));
	atomic_store(&is_revoked, 1);
	rig_admit_again();
	assert_int_equal(chanpeer_recv(&peers[0], &c, 1), -1);
	assert_true(peers[0].is_over);
	chanpeer_close(&peers[0]);
	await_nobody();
	stop();
	assert_int_equal(rig.counters.closed[LT_NET_STRANGER], 1);
	assert_int_equal(rig.unshaken, 0);
}

static void
test_other_languages(void **state)
{
	static const char *const texts[] = {
	    "GET / HTTP/1.1\r\nHost: a\r\n\r\n...............................",
	    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03...................."
	    "................................................................",
	    "\0\0\0\x40\0\0\0\x3c{\"code\":105,\"flag\":0,\"language\":\"C\"}"
	    "................................................................",
	};
	uint8_t other[LT_SECRET_KEY];

	start(&rig_limits);
	for (size_t i = 0; i < LT_COUNT(texts); i++) {
		int fd = chanpeer_dial(rig.port, 0);

		assert_int_equal(send_all(fd, texts[i], LT_CHANNEL_HELLO), 0);
		assert_int_equal(chanpeer_rest(fd), 0);
		close(fd);
	}
	/* And who means another broker. */
	memcpy(other, mallory.public, sizeof other);
	meet(&peers[0], &alice, 0);
	lt_channel_init(&peers[0].channel, &alice, other);
	assert_int_equal(chanpeer_hello(&peers[0]), 0);
	assert_int_equal(await_end(&peers[0]), 0);
	await_nobody();
	stop();
	assert_int_equal(
	    rig.counters.closed[LT_NET_CHANNEL_BAD], LT_COUNT(texts) + 1);
	assert_int_equal(rig.unshaken, LT_COUNT(texts) + 1);
}

/* Each byte of each message of the client's, one bit of it. */
static void
test_flips(void **state)
{
	static const size_t sizes[] = {LT_CHANNEL_HELLO, LT_CHANNEL_PROOF};
	uint8_t message[LT_CHANNEL_PROOF], answer[LT_CHANNEL_ANSWER];
	unsigned flips = 0;

	start(&rig_limits);
	for (size_t k = 0; k < LT_COUNT(sizes); k++)
		for (size_t i = 0; i < sizes[k]; i++, flips++) {
			struct chanpeer *p =
			    meet(&peers[0], &alice, flips % 200);

			assert_int_equal(
			    lt_channel_hello(&p->channel, message), LEAT_OK);
			if (k == 1) {
				assert_int_equal(
				    send_all(p->fd, message, sizes[0]), 0);
				assert_int_equal(
				    recv_all(p->fd, answer, sizeof answer), 0);
				assert_int_equal(lt_channel_finish(&p->channel,
						     answer, message),
				    LEAT_OK);
			}
			message[i] ^= (uint8_t)(1u << (i % 8));
			assert_int_equal(send_all(p->fd, message, sizes[k]), 0);
			assert_int_equal(await_end(p), 0);
		}
	await_nobody();
	stop();
	assert_int_equal(rig.counters.closed[LT_NET_CHANNEL_BAD] +
			     rig.counters.closed[LT_NET_STRANGER],
	    flips);
	assert_int_equal(rig.unshaken, flips);
	assert_int_equal(rig.counters.frames, 0);
	printf("%u flips\n", flips);
}

enum spoil {
	SPOIL_FLIP,
	SPOIL_REPLAY,
	SPOIL_SWAP,
	SPOIL_DROP,
	SPOIL_LENGTH,
	SPOIL_BOUNDS
};

/* Records behind the handshake: no frame that was not sent so, and so far. */
static void
test_spoilt_records(void **state)
{
	uint8_t frame[RIG_HEAD], back[RIG_HEAD];
	uint8_t a[RIG_HEAD + LT_CHANNEL_OVER], b[sizeof a];
	unsigned cases = 0;

	start(&rig_limits);
	frame_make(frame, sizeof frame, ORDER_ECHO, 0, 0);
	for (size_t i = 0; i < sizeof a; i++)
		for (int how = SPOIL_FLIP; how <= SPOIL_BOUNDS; how++) {
			if (how != SPOIL_FLIP && i > 0)
				continue;
			if (++cases % 60 == 0)
				rig_advance(5000);
			join(&peers[0]);
			chanpeer_seal(&peers[0], frame, sizeof frame, 0, a);
			chanpeer_seal(&peers[0], frame, sizeof frame, 0, b);
			if (how == SPOIL_FLIP)
				b[i] ^= (uint8_t)(1u << (i % 8));
			if (how == SPOIL_REPLAY)
				memcpy(b, a, sizeof b);
			if (how == SPOIL_LENGTH) /* a shorter one */
				b[1]--;
			if (how == SPOIL_BOUNDS)
				b[0] = b[1] = 0;
			if (how == SPOIL_SWAP)
				(void)send_all(peers[0].fd, b, sizeof b);
			if (how != SPOIL_DROP)
				(void)send_all(peers[0].fd, a, sizeof a);
			(void)send_all(peers[0].fd, b, sizeof b);
			/* A longer length waits for more: */
			shutdown(peers[0].fd, SHUT_WR);
			/* The first one's echo, or nothing. */
			if (chanpeer_recv(&peers[0], back, sizeof back) == 0) {
				assert_int_not_equal(how, SPOIL_SWAP);
				assert_int_not_equal(how, SPOIL_DROP);
				assert_memory_equal(back, frame, sizeof back);
			}
			assert_int_not_equal(
			    chanpeer_recv(&peers[0], back, 1), 0);
			chanpeer_close(&peers[0]);
			await_nobody();
		}
	stop();
	assert_int_equal(rig.counters.closed[LT_NET_CHANNEL_BAD] +
			     rig.counters.closed[LT_NET_ERROR],
	    cases);
	assert_int_equal(rig.counters.frames, cases - 2);
	printf("%u spoilt records\n", cases);
}

/* --- who comes too often, or stays too long --------------------------------
 */

static void
test_half_open_are_bounded(void **state)
{
	struct lt_net_limits limits = rig_limits;
	uint8_t answer[LT_CHANNEL_ANSWER];

	limits.half_open = 8;
	start(&limits);
	for (unsigned i = 0; i < 20; i++) {
		meet(&peers[i], &alice, 0);
		if (i % 2 == 0) {
			assert_int_equal(chanpeer_hello(&peers[i]), 0);
			assert_int_equal(
			    recv(peers[i].fd, answer, sizeof answer,
				MSG_PEEK | MSG_WAITALL),
			    sizeof answer);
		}
		while (rig_counters().accepted != i + 1)
			;
	}
	/* Those behind have displaced the oldest, which hear nothing more. */
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(
		    await_end(&peers[i]), i % 2 == 0 ? LT_CHANNEL_ANSWER : 0);
	assert_int_equal(rig_counters().closed[LT_NET_HALF], 12);
	assert_int_equal(rig_counters().half_open, 8);
	/* Who makes it is not half open; the others go on. */
	join(&peers[0]);
	assert_int_equal(rig_counters().half_open, 7);
	assert_int_equal(chanpeer_shake(&peers[19]), 0);
	assert_true(echo(&peers[19], 100, 100));
	assert_true(echo(&peers[0], 100, 100));
	assert_int_equal(rig_counters().half_open, 6);
	chanpeer_close(&peers[0]);
	for (unsigned i = 13; i < 20; i++)
		chanpeer_close(&peers[i]);
	await_end(&peers[12]);
	await_nobody();
	stop();
	assert_int_equal(rig.counters.closed[LT_NET_HALF], 13);
}

static unsigned
flood(unsigned x, unsigned times)
{
	unsigned answered = 0;

	for (unsigned i = 0; i < times; i++) {
		meet(&peers[0], &alice, x);
		answered += chanpeer_shake(&peers[0]) == 0;
		chanpeer_close(&peers[0]);
	}
	return answered;
}

static void
test_sources_have_buckets(void **state)
{
	start(&rig_limits);
	assert_int_equal(flood(2, 300), LT_NET_HELLOS_BURST);
	assert_int_equal(rig_counters().flooded, 300 - LT_NET_HELLOS_BURST);
	/* Nobody else is concerned. */
	assert_int_equal(flood(3, 50), 50);
	rig_advance(1000);
	assert_int_equal(flood(2, 50), LT_NET_HELLOS_S);
	rig_advance(50);
	assert_int_equal(flood(2, 10), 1);
	rig_advance(100000);
	assert_int_equal(flood(2, 150), LT_NET_HELLOS_BURST);
	stop();
	assert_int_equal(rig.unshaken, 0);
}

static void
test_handshakes_have_5_seconds(void **state)
{
	struct lt_net_limits limits = rig_limits;
	uint8_t hello[LT_CHANNEL_HELLO];

	limits.shake_ms = LT_NET_SHAKE_MS;
	start(&limits);
	meet(&peers[0], &alice, 0); /* says nothing */
	meet(&peers[1], &alice, 0); /* says a part */
	assert_int_equal(lt_channel_hello(&peers[1].channel, hello), LEAT_OK);
	assert_int_equal(send_all(peers[1].fd, hello, 20), 0);
	meet(&peers[2], &alice, 0); /* ends half-way */
	assert_int_equal(chanpeer_hello(&peers[2]), 0);
	assert_int_equal(recv_all(peers[2].fd, hello, 48), 0);
	while (rig_counters().half_open != 3)
		;
	rig_advance(LT_NET_SHAKE_MS - 1);
	join(&peers[3]);
	join(&peers[4]);
	rig_advance(1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(await_end(&peers[i]), 0);
	assert_int_equal(rig_counters().closed[LT_NET_HELLO], 3);
	/* The first frame has the time that it has elsewhere. */
	rig_advance(rig_limits.hello_ms - 2);
	assert_true(echo(&peers[3], 100, 100));
	rig_advance(1);
	assert_int_equal(await_end(&peers[4]), LT_CHANNEL_OVER); /* END */
	assert_true(echo(&peers[3], 100, 100));
	chanpeer_close(&peers[3]);
	await_nobody();
	stop();
	assert_int_equal(rig.counters.closed[LT_NET_HELLO], 4);
	assert_int_equal(rig.unshaken, 2);
}

static void
test_many(void **state)
{
	start(&rig_limits);
	for (size_t i = 0; i < LT_COUNT(peers); i++) {
		meet(&peers[i], &alice, 1 + (unsigned)i);
		assert_int_equal(chanpeer_hello(&peers[i]), 0);
	}
	for (size_t i = 0; i < LT_COUNT(peers); i++)
		assert_int_equal(chanpeer_proof(&peers[i]), 0);
	for (size_t i = 0; i < LT_COUNT(peers); i++) {
		assert_int_equal(chanpeer_welcome(&peers[i]), 0);
		assert_true(echo(&peers[i], 1000, 1000));
	}
	assert_int_equal(lt_channels_pieces(channels), LT_COUNT(peers) + 1);
	assert_int_equal(rig_counters().memory, 0);
	for (size_t i = 0; i < LT_COUNT(peers); i++)
		chanpeer_close(&peers[i]);
	await_nobody();
	stop();
}

static int
setup(void **state)
{
	alarm(180);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_same_frames),
	    cmocka_unit_test(test_rest_of_a_record),
	    cmocka_unit_test(test_byte_by_byte),
	    cmocka_unit_test(test_big_replies_are_bounded),
	    cmocka_unit_test(test_memory_is_bounded),
	    cmocka_unit_test(test_last_replies),
	    cmocka_unit_test(test_truncated),
	    cmocka_unit_test(test_new_keys_by_age),
	    cmocka_unit_test(test_unknown_and_revoked),
	    cmocka_unit_test(test_revoked_while_up),
	    cmocka_unit_test(test_other_languages),
	    cmocka_unit_test(test_flips),
	    cmocka_unit_test(test_spoilt_records),
	    cmocka_unit_test(test_half_open_are_bounded),
	    cmocka_unit_test(test_sources_have_buckets),
	    cmocka_unit_test(test_handshakes_have_5_seconds),
	    cmocka_unit_test(test_many),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	if (lt_secret_init() != LEAT_OK)
		return 1;
	lt_secret_pair(broker.secret, broker.public);
	lt_secret_pair(alice.secret, alice.public);
	lt_secret_pair(mallory.secret, mallory.public);
	return cmocka_run_group_tests(tests, setup, NULL);
}
