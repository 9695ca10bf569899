/*
 * channel_test.c - a client and a broker; handshakes and records that somebody
 * changed, cut, repeated or made up; new keys when they are due; the session
 * that leat-channel(7) prints.
 */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "leat/status.h"
#include "proto/channel.h"

#define NOW 1000u

struct two {
	struct lt_channel client, broker;
	uint8_t hello[LT_CHANNEL_HELLO];
	uint8_t answer[LT_CHANNEL_ANSWER];
	uint8_t proof[LT_CHANNEL_PROOF];
};

static struct lt_noise_pair client_key, broker_key, other_key;

static void
begin(struct two *t)
{
	memset(t, 0, sizeof *t);
	lt_channel_init(&t->client, &client_key, broker_key.public);
	lt_channel_init(&t->broker, &broker_key, NULL);
}

/* Until so many messages of the handshake went through. */
static void
shake(struct two *t, int messages)
{
	if (messages > 0) {
		assert_int_equal(lt_channel_hello(&t->client, t->hello), 0);
		assert_int_equal(lt_channel_greet(&t->broker, t->hello), 0);
	}
	if (messages > 1) {
		assert_int_equal(lt_channel_answer(&t->broker, t->answer), 0);
		assert_int_equal(
		    lt_channel_finish(&t->client, t->answer, t->proof), 0);
	}
	if (messages > 2)
		assert_int_equal(lt_channel_accept(&t->broker, t->proof), 0);
}

static void
up(struct two *t)
{
	begin(t);
	shake(t, 3);
	assert_true(lt_channel_is_up(&t->client));
	assert_true(lt_channel_is_up(&t->broker));
}

/* Nothing brings it back, and no key is left. */
static void
is_over(struct lt_channel *ch)
{
	struct lt_noise none = {.is_ended = 1};
	uint8_t p[LT_CHANNEL_OVER + 1] = {0, 18}, *out;
	size_t bytes;

	assert_false(lt_channel_is_up(ch));
	assert_memory_equal(&ch->noise, &none, sizeof none);
	assert_int_equal(lt_channel_seal(ch, p, 1, 0, NOW), LEAT_E_INVALID);
	assert_int_equal(
	    lt_channel_open(ch, p, sizeof p, &out, &bytes), LEAT_E_CORRUPT);
	assert_int_equal(bytes, 0);
}

/* A record with text; its size. */
static size_t
seal(struct lt_channel *ch, uint8_t *record, const char *text, int end)
{
	size_t bytes = strlen(text);

	memcpy(record + LT_CHANNEL_HEAD, text, bytes);
	assert_int_equal(lt_channel_seal(ch, record, bytes, end, NOW), LEAT_OK);
	assert_int_equal(lt_channel_cut(record, 2), bytes + LT_CHANNEL_OVER);
	return bytes + LT_CHANNEL_OVER;
}

/* A record as nobody of us makes it. */
static size_t
forge(struct lt_channel *ch, uint8_t *record, uint8_t flags, const char *text)
{
	size_t bytes = strlen(text);

	lt_bytes_put16(record, (uint16_t)(1 + bytes + LT_SECRET_TAG));
	record[LT_CHANNEL_LENGTH] = flags;
	memcpy(record + LT_CHANNEL_HEAD, text, bytes);
	assert_int_equal(lt_noise_seal(&ch->noise, record + LT_CHANNEL_LENGTH,
			     1 + bytes, record + LT_CHANNEL_LENGTH),
	    LEAT_OK);
	return bytes + LT_CHANNEL_OVER;
}

static void
opens(struct lt_channel *ch, uint8_t *record, size_t bytes, const char *text,
    int status)
{
	uint8_t *out;
	size_t n;

	assert_int_equal(lt_channel_open(ch, record, bytes, &out, &n), status);
	assert_ptr_equal(out, record + LT_CHANNEL_HEAD);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(out, text, n);
}

/* Of bytes that are copied first, in memory of their own size. */
static void
refuses(const struct lt_channel *ch, const uint8_t *record, size_t bytes)
{
	struct lt_channel copy = *ch;
	uint8_t *p = malloc(bytes == 0 ? 1 : bytes), *out;
	size_t n = 1;

	memcpy(p, record, bytes);
	assert_int_equal(
	    lt_channel_open(&copy, p, bytes, &out, &n), LEAT_E_CORRUPT);
	assert_int_equal(n, 0);
	is_over(&copy);
	free(p);
}

/* --- handshake -------------------------------------------------------------
 */

static void
a_session(void **state)
{
	static const size_t sizes[] = {0, 1, 16, 17, 1024, 65517, 65518};
	uint8_t *record = calloc(1, LT_CHANNEL_RECORD_MAX), *out;
	struct two t;
	size_t n;

	up(&t);
	assert_memory_equal(t.hello, "LEATCH\0\1", 8);
	assert_memory_equal(lt_channel_peer(&t.client), broker_key.public, 32);
	assert_memory_equal(lt_channel_peer(&t.broker), client_key.public, 32);
	for (size_t i = 0; i < 2 * LT_COUNT(sizes); i++) {
		struct lt_channel *from = i % 2 ? &t.client : &t.broker;
		struct lt_channel *to = i % 2 ? &t.broker : &t.client;
		size_t bytes = sizes[i / 2];
		memset(record + LT_CHANNEL_HEAD, (int)i, bytes);
		assert_int_equal(
		    lt_channel_seal(from, record, bytes, 0, NOW), LEAT_OK);
		assert_int_equal(
		    lt_channel_cut(record, 2), bytes + LT_CHANNEL_OVER);
		assert_int_equal(lt_channel_open(to, record,
				     bytes + LT_CHANNEL_OVER, &out, &n),
		    LEAT_OK);
		assert_int_equal(n, bytes);
		for (size_t j = 0; j < n; j++)
			if (out[j] != i)
				fail_msg("byte %zu of %zu", j, n);
	}
	assert_int_equal(
	    lt_channel_seal(&t.client, record, 65519, 0, NOW), LEAT_E_INVALID);
	assert_int_equal(lt_channel_seal(&t.client, record, SIZE_MAX, 0, NOW),
	    LEAT_E_INVALID);
	assert_int_equal(seal(&t.client, record, "x", 0), 20);
	opens(&t.broker, record, 20, "x", LEAT_OK);
	free(record);
}

/* What each of the five calls says in each state of each side. */
static int
call(struct lt_channel *ch, int which, const struct two *t)
{
	uint8_t out[LT_CHANNEL_PROOF];

	switch (which) {
	case 0:
		return lt_channel_hello(ch, out);
	case 1:
		return lt_channel_greet(ch, t->hello);
	case 2:
		return lt_channel_answer(ch, out);
	case 3:
		return lt_channel_finish(ch, t->answer, out);
	default:
		return lt_channel_accept(ch, t->proof);
	}
}

static void
calls_in_their_order_only(void **state)
{
	/* The call that is due behind so many messages. */
	static const int due[2][4] = {{0, 3, -1, -1}, {1, 2, 4, -1}};
	struct two t, next;

	for (int done = 0; done <= 3; done++) {
		begin(&t);
		shake(&t, done);
		next = t; /* who makes what is due to be read */
		if (done == 0)
			assert_int_equal(
			    lt_channel_hello(&next.client, t.hello), 0);
		if (done == 1)
			assert_int_equal(
			    lt_channel_answer(&next.broker, t.answer), 0);
		for (int i = 0; i < 10; i++) {
			struct lt_channel ch = i < 5 ? t.client : t.broker;
			int is_due = i % 5 == due[i / 5][done];

			assert_int_equal(call(&ch, i % 5, &t),
			    is_due ? LEAT_OK : LEAT_E_CORRUPT);
			if (!is_due)
				is_over(&ch);
		}
	}
}

/* Nothing is sealed or opened before it is up, and what was tried leaves no
 * trace. */
static void
no_records_before_it_is_up(void **state)
{
	uint8_t record[64] = {0, 20};
	struct two t;

	for (int done = 0; done < 3; done++) {
		begin(&t);
		shake(&t, done);
		struct two before = t;
		int client_is_up = done == 2;
		if (!client_is_up)
			assert_int_equal(
			    lt_channel_seal(&t.client, record, 3, 0, NOW),
			    LEAT_E_INVALID);
		assert_int_equal(lt_channel_seal(&t.broker, record, 3, 1, NOW),
		    LEAT_E_INVALID);
		assert_memory_equal(&t, &before, sizeof t);
		assert_int_equal(lt_channel_is_up(&t.client), client_is_up);
		assert_false(lt_channel_is_up(&t.broker));
		refuses(&t.broker, record, 22);
	}
}

static void
every_bit_of_the_handshake(void **state)
{
	uint8_t hello[LT_CHANNEL_HELLO], answer[LT_CHANNEL_ANSWER];
	uint8_t proof[LT_CHANNEL_PROOF], out[LT_CHANNEL_PROOF];
	unsigned flips = 0;
	struct two t;

	begin(&t);
	for (size_t bit = 0; bit < 8 * sizeof hello; bit++, flips++) {
		struct lt_channel ch = t.broker;
		if (bit == 0)
			assert_int_equal(
			    lt_channel_hello(&t.client, t.hello), 0);
		memcpy(hello, t.hello, sizeof hello);
		hello[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(lt_channel_greet(&ch, hello), LEAT_E_CORRUPT);
		is_over(&ch);
	}
	assert_int_equal(lt_channel_greet(&t.broker, t.hello), 0);
	assert_int_equal(lt_channel_answer(&t.broker, t.answer), 0);
	for (size_t bit = 0; bit < 8 * sizeof answer; bit++, flips++) {
		struct lt_channel ch = t.client;
		memcpy(answer, t.answer, sizeof answer);
		answer[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(
		    lt_channel_finish(&ch, answer, out), LEAT_E_CORRUPT);
		is_over(&ch);
	}
	assert_int_equal(lt_channel_finish(&t.client, t.answer, t.proof), 0);
	for (size_t bit = 0; bit < 8 * sizeof proof; bit++, flips++) {
		struct lt_channel ch = t.broker;
		memcpy(proof, t.proof, sizeof proof);
		proof[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(lt_channel_accept(&ch, proof), LEAT_E_CORRUPT);
		is_over(&ch);
	}
	assert_int_equal(lt_channel_accept(&t.broker, t.proof), 0);
	print_message("%u flipped bits\n", flips);
}

static void
wrong_keys_and_old_handshakes(void **state)
{
	uint8_t out[LT_CHANNEL_PROOF];
	struct two old, t;

	/* Another broker than the client means. */
	begin(&t);
	lt_channel_init(&t.broker, &other_key, NULL);
	assert_int_equal(lt_channel_hello(&t.client, t.hello), 0);
	assert_int_equal(lt_channel_greet(&t.broker, t.hello), LEAT_E_CORRUPT);
	is_over(&t.broker);
	/* A recorded hello is worth an answer, and its proof nothing. */
	up(&old);
	begin(&t);
	assert_int_equal(lt_channel_greet(&t.broker, old.hello), 0);
	assert_int_equal(lt_channel_answer(&t.broker, t.answer), 0);
	assert_int_equal(
	    lt_channel_accept(&t.broker, old.proof), LEAT_E_CORRUPT);
	is_over(&t.broker);
	/* Nor is a recorded answer. */
	begin(&t);
	assert_int_equal(lt_channel_hello(&t.client, t.hello), 0);
	assert_int_equal(
	    lt_channel_finish(&t.client, old.answer, out), LEAT_E_CORRUPT);
	is_over(&t.client);
}

/* --- records ---------------------------------------------------------------
 */

static void
every_bit_of_a_record(void **state)
{
	uint8_t record[128], p[128];
	unsigned flips = 0;
	struct two t;

	up(&t);
	for (int way = 0; way < 2; way++) {
		struct lt_channel *from = way ? &t.broker : &t.client;
		struct lt_channel *to = way ? &t.client : &t.broker;
		size_t bytes = seal(from, record, "some bytes of a stream", 0);
		for (size_t bit = 0; bit < 8 * bytes; bit++, flips++) {
			memcpy(p, record, bytes);
			p[bit / 8] ^= (uint8_t)(1 << bit % 8);
			refuses(to, p, bytes);
		}
		for (size_t n = 0; n < bytes; n++)
			refuses(to, record, n);
		memcpy(p, record, bytes);
		p[bytes] = 0;
		refuses(to, p, bytes + 1);
		/* The length lies, and so does the cut. */
		for (size_t n = 0; n < bytes; n++) {
			memcpy(p, record, bytes);
			lt_bytes_put16(p, (uint16_t)n);
			if (n != bytes - 2)
				refuses(to, p, n + 2 < 2 ? 2 : n + 2);
		}
		refuses(from, record, bytes); /* sent back */
		opens(to, record, bytes, "some bytes of a stream", LEAT_OK);
		refuses(to, record, bytes);
	}
	print_message("%u flipped bits\n", flips);
}

static void
where_records_end(void **state)
{
	uint8_t p[4] = {0};

	assert_int_equal(lt_channel_cut(p, 0), 0);
	assert_int_equal(lt_channel_cut(p, 1), 0);
	for (unsigned n = 0; n <= UINT16_MAX; n++) {
		lt_bytes_put16(p, (uint16_t)n);
		int64_t want = n < 17 ? LEAT_E_CORRUPT : (int64_t)n + 2;
		assert_int_equal(lt_channel_cut(p, 2), want);
		assert_int_equal(lt_channel_cut(p, 4), want);
		assert_int_equal(lt_channel_cut(p, 1), 0);
	}
}

static void
replayed_reordered_left_out(void **state)
{
	uint8_t record[4][64], p[64];
	struct two t, u;
	size_t bytes = 0;

	up(&t);
	up(&u);
	for (int i = 0; i < 4; i++)
		bytes =
		    seal(&t.client, record[i], (char[2]){(char)('a' + i)}, 0);
	for (int next = 0; next < 4; next++) {
		for (int i = 0; i < 4; i++) {
			refuses(&u.broker, record[i], bytes);
			refuses(&u.client, record[i], bytes);
			if (i != next)
				refuses(&t.broker, record[i], bytes);
		}
		memcpy(p, record[next], bytes);
		opens(&t.broker, p, bytes, (char[2]){(char)('a' + next)}, 0);
	}
}

static void
flags_that_nobody_knows(void **state)
{
	uint8_t record[64];

	for (int flags = 0; flags < 256; flags++) {
		struct two t;
		up(&t);
		size_t bytes = forge(&t.client, record, (uint8_t)flags, "text");
		if (flags > 3)
			refuses(&t.broker, record, bytes);
		else
			opens(&t.broker, record, bytes, "text",
			    flags & LT_CHANNEL_END ? LEAT_E_CLOSED : LEAT_OK);
	}
}

static void
nothing_behind_the_end(void **state)
{
	uint8_t record[64];
	struct two t;
	size_t bytes;

	up(&t);
	bytes = seal(&t.client, record, "last words", 1);
	opens(&t.broker, record, bytes, "last words", LEAT_E_CLOSED);
	assert_int_equal(
	    lt_channel_seal(&t.client, record, 0, 0, NOW), LEAT_E_INVALID);
	assert_int_equal(
	    lt_channel_seal(&t.client, record, 0, 1, NOW), LEAT_E_INVALID);
	/* The other way it is open. */
	for (int i = 0; i < 3; i++) {
		bytes = seal(&t.broker, record, "more", 0);
		opens(&t.client, record, bytes, "more", LEAT_OK);
	}
	/* Though well made, it is too late. */
	bytes = forge(&t.client, record, 0, "again");
	refuses(&t.broker, record, bytes);
	bytes = seal(&t.broker, record, "", 1);
	opens(&t.client, record, bytes, "", LEAT_E_CLOSED);
	lt_channel_fini(&t.client);
	lt_channel_fini(&t.broker);
	is_over(&t.client);
	is_over(&t.broker);
}

/* --- new keys --------------------------------------------------------------
 */

/* The next record of the client, and whether it was the last of its key. */
static int
renews(struct two *t, uint64_t now_ms)
{
	uint8_t record[64], key[LT_SECRET_KEY], *out;
	size_t n;

	memcpy(key, t->client.noise.up.out.key, sizeof key);
	memcpy(record + LT_CHANNEL_HEAD, "0123456789", 10);
	assert_int_equal(
	    lt_channel_seal(&t->client, record, 10, 0, now_ms), LEAT_OK);
	int is_new = memcmp(key, t->client.noise.up.out.key, sizeof key) != 0;
	assert_int_equal(
	    lt_channel_open(&t->broker, record, 10 + LT_CHANNEL_OVER, &out, &n),
	    LEAT_OK);
	assert_int_equal(n, 10);
	assert_memory_equal(
	    t->client.noise.up.out.key, t->broker.noise.up.in.key, sizeof key);
	assert_int_equal(t->client.out.records, t->broker.in.records);
	assert_int_equal(t->client.out.bytes, t->broker.in.bytes);
	if (is_new)
		assert_int_equal(t->client.out.records, 0);
	return is_new;
}

static void
by_count_bytes_and_age(void **state)
{
	struct two t;

	up(&t);
	t.client.out.records = t.broker.in.records =
	    LT_CHANNEL_REKEY_RECORDS - 2;
	assert_false(renews(&t, NOW));
	assert_true(renews(&t, NOW));
	assert_false(renews(&t, NOW));

	t.client.out.bytes = t.broker.in.bytes = LT_CHANNEL_REKEY_BYTES - 20;
	assert_false(renews(&t, NOW)); /* 10 are missing */
	assert_true(renews(&t, NOW)); /* and now none */
	t.client.out.bytes = t.broker.in.bytes = LT_CHANNEL_REKEY_BYTES - 1;
	assert_true(renews(&t, NOW));
	assert_false(renews(&t, NOW));

	assert_false(renews(&t, NOW + LT_CHANNEL_REKEY_MS - 1));
	assert_true(renews(&t, NOW + LT_CHANNEL_REKEY_MS));
	assert_false(renews(&t, NOW + 2 * LT_CHANNEL_REKEY_MS - 1));
	assert_true(renews(&t, NOW + 2 * LT_CHANNEL_REKEY_MS));

	/* The age begins with the first record. */
	up(&t);
	assert_false(renews(&t, 77 * (uint64_t)LT_CHANNEL_REKEY_MS));
	assert_false(renews(&t, 78 * (uint64_t)LT_CHANNEL_REKEY_MS - 1));
	assert_true(renews(&t, 78 * (uint64_t)LT_CHANNEL_REKEY_MS));
	/* Numbers go on with a new key. */
	assert_int_equal(t.client.noise.up.out.n, 3);
	/* And what the broker seals has its own. */
	assert_int_equal(t.broker.noise.up.out.n, 0);
}

/* As it comes, not with counters set: twice the limit of records. */
static void
by_count_in_earnest(void **state)
{
	unsigned renewed = 0;
	struct two t;

	up(&t);
	for (unsigned i = 1; i <= 2 * LT_CHANNEL_REKEY_RECORDS; i++)
		if (renews(&t, NOW)) {
			renewed++;
			assert_int_equal(i, renewed * LT_CHANNEL_REKEY_RECORDS);
		}
	assert_int_equal(renewed, 2);
}

static void
a_key_that_is_gone(void **state)
{
	uint8_t record[64];
	struct two t;

	up(&t);
	size_t bytes = forge(&t.client, record, LT_CHANNEL_REKEY, "new");
	opens(&t.broker, record, bytes, "new", LEAT_OK);
	struct lt_channel old = t.client;
	bytes = seal(&old, record, "old", 0);
	refuses(&t.broker, record, bytes);
	lt_noise_rekey_out(&t.client.noise);
	bytes = seal(&t.client, record, "", 0);
	opens(&t.broker, record, bytes, "", LEAT_OK);
	/* Who changes it without a word. */
	lt_noise_rekey_out(&t.client.noise);
	bytes = seal(&t.client, record, "", 0);
	refuses(&t.broker, record, bytes);
}

static void
a_peer_that_never_renews(void **state)
{
	uint8_t record[64];
	struct two t;
	size_t bytes;

	up(&t);
	t.broker.in.records = 2 * LT_CHANNEL_REKEY_RECORDS - 1;
	bytes = forge(&t.client, record, 0, "x");
	opens(&t.broker, record, bytes, "x", LEAT_OK);
	bytes = forge(&t.client, record, 0, "x");
	refuses(&t.broker, record, bytes);

	up(&t);
	t.broker.in.bytes = 2 * (uint64_t)LT_CHANNEL_REKEY_BYTES - 1;
	bytes = forge(&t.client, record, 0, "x");
	opens(&t.broker, record, bytes, "x", LEAT_OK);
	bytes = forge(&t.client, record, 0, "");
	opens(&t.broker, record, bytes, "", LEAT_OK);
	bytes = forge(&t.client, record, LT_CHANNEL_REKEY, "x");
	refuses(&t.broker, record, bytes);
}

static void
used_up_counters(void **state)
{
	uint8_t record[64];
	struct two t;

	up(&t);
	t.client.noise.up.out.n = t.broker.noise.up.in.n = UINT64_MAX - 1;
	size_t bytes = seal(&t.client, record, "x", 0);
	opens(&t.broker, record, bytes, "x", LEAT_OK);
	assert_int_equal(
	    lt_channel_seal(&t.client, record, 1, 0, NOW), LEAT_E_INVALID);
	refuses(&t.broker, record, bytes);
}

/* --- the session in the manual ---------------------------------------------
 */

static char block[8192];

static void
print_hex(const char *label, const void *p, size_t bytes)
{
	const uint8_t *b = p;
	size_t at = strlen(block);

	for (size_t i = 0; i < bytes; i++) {
		if (i % 28 == 0)
			at += (size_t)sprintf(block + at, "%s%-14s ",
			    i == 0 ? "" : "\n", i == 0 ? label : "");
		at += (size_t)sprintf(block + at, "%02x", b[i]);
	}
	strcpy(block + at, "\n");
}

static struct lt_noise_pair
count_from(int first)
{
	struct lt_noise_pair k;

	for (int i = 0; i < LT_SECRET_KEY; i++)
		k.secret[i] = (uint8_t)(first + i);
	lt_secret_public(k.public, k.secret);
	return k;
}

static void
print_record(struct two *t, int of_broker, const char *text, int end)
{
	struct lt_channel *from = of_broker ? &t->broker : &t->client;
	struct lt_channel *to = of_broker ? &t->client : &t->broker;
	uint8_t record[64];
	size_t bytes = seal(from, record, text, end);

	print_hex(of_broker ? "broker" : "client", record, bytes);
	opens(to, record, bytes, text, end ? LEAT_E_CLOSED : LEAT_OK);
}

static void
the_manual_is_right(void **state)
{
	struct lt_noise_pair client = count_from(0x01),
			     broker = count_from(0x21);
	struct lt_noise_pair once = count_from(0x41), again = count_from(0x61);
	char path[4096];
	struct two t;
	const char *top = getenv("top_srcdir");

	lt_channel_init(&t.client, &client, broker.public);
	lt_channel_init(&t.broker, &broker, NULL);
	lt_noise_once(&t.client.noise, once.secret);
	lt_noise_once(&t.broker.noise, again.secret);
	shake(&t, 3);
	print_hex("client public", client.public, LT_SECRET_KEY);
	print_hex("broker public", broker.public, LT_SECRET_KEY);
	print_hex("hello", t.hello, sizeof t.hello);
	print_hex("answer", t.answer, sizeof t.answer);
	print_hex("proof", t.proof, sizeof t.proof);
	print_hex("h", t.client.noise.hash, LT_SECRET_HASH);
	print_hex("k1", t.client.noise.up.out.key, LT_SECRET_KEY);
	print_hex("k2", t.client.noise.up.in.key, LT_SECRET_KEY);
	print_record(&t, 1, "", 0);
	print_record(&t, 0, "water", 0);
	t.client.out.records = t.broker.in.records =
	    LT_CHANNEL_REKEY_RECORDS - 1;
	print_record(&t, 0, "flows", 0);
	print_hex("new k1", t.client.noise.up.out.key, LT_SECRET_KEY);
	print_record(&t, 0, "on", 1);
	print_record(&t, 1, "yes", 1);

	snprintf(path, sizeof path, "%s/man/leat-channel.7",
	    top == NULL ? "." : top);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	char *page = calloc(1, 1 << 20);
	assert_true(fread(page, 1, (1 << 20) - 1, f) > 0);
	fclose(f);
	if (strstr(page, block) == NULL) {
		fputs(block, stderr);
		fail_msg("%s does not have this session", path);
	}
	free(page);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_session),
	    cmocka_unit_test(calls_in_their_order_only),
	    cmocka_unit_test(no_records_before_it_is_up),
	    cmocka_unit_test(every_bit_of_the_handshake),
	    cmocka_unit_test(wrong_keys_and_old_handshakes),
	    cmocka_unit_test(every_bit_of_a_record),
	    cmocka_unit_test(where_records_end),
	    cmocka_unit_test(replayed_reordered_left_out),
	    cmocka_unit_test(flags_that_nobody_knows),
	    cmocka_unit_test(nothing_behind_the_end),
	    cmocka_unit_test(by_count_bytes_and_age),
	    cmocka_unit_test(by_count_in_earnest),
	    cmocka_unit_test(a_key_that_is_gone),
	    cmocka_unit_test(a_peer_that_never_renews),
	    cmocka_unit_test(used_up_counters),
	    cmocka_unit_test(the_manual_is_right),
	};

	if (lt_secret_init() != LEAT_OK)
		return 99;
	lt_secret_pair(client_key.secret, client_key.public);
	lt_secret_pair(broker_key.secret, broker_key.public);
	lt_secret_pair(other_key.secret, other_key.public);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
