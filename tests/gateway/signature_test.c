/*
 * signature_test.c - signatures of each client, made elsewhere (the constants
 * are of Python's hmac, those of RFC 2202 of the RFC), in both header
 * encodings; then each value and the body changed bit by bit. The names of
 * fields are not signed by anybody, only their order counts.
 */
#include "config.h"
#include "remoting/signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "leat/status.h"

#define OK(call) assert_int_equal(call, LEAT_OK)
#define SECRET "12345678secret"
#define LONG_SECRET                                                            \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                   \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static char path[64];
static struct lt_accounts *accounts;

static void
write_file(const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int
set_up(void **state)
{
	char why[200];
	int fd;

	(void)state;
	snprintf(path, sizeof path, "/tmp/leat-accounts-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	write_file("# who may come in\n"
		   "\n"
		   "  shop\t" SECRET "  \r\n"
		   "long " LONG_SECRET "\n"
		   "shopping other#secret",
	    0640);
	OK(lt_accounts_read(path, &accounts, why, sizeof why));
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	lt_accounts_free(accounts);
	unlink(path);
	return 0;
}

/* --- requests --------------------------------------------------------------
 */

static struct {
	uint8_t bytes[4096];
	struct lt_remoting_frame f;
	struct lt_remoting h;
	const struct lt_account *account;
} it;

static void
decode(size_t bytes)
{
	OK(lt_remoting_frame(it.bytes, bytes, &it.f));
	OK(lt_remoting_decode(&it.f, &it.h));
}

static int
check(void)
{
	it.account = NULL;
	return lt_signature_check(
	    accounts, &it.h, it.f.body, it.f.body_bytes, &it.account);
}

/* A header as it comes from others, in JSON. */
static void
json(const char *header, const char *body)
{
	size_t n = strlen(header), m = strlen(body);

	lt_bytes_put32(it.bytes, (uint32_t)(4 + n + m));
	lt_bytes_put32(it.bytes + 4, (uint32_t)n);
	memcpy(it.bytes + 8, header, n);
	memcpy(it.bytes + 8 + n, body, m);
	decode(8 + n + m);
}

struct pair {
	const char *name, *value;
};
#define PAIRS(...) ((const struct pair[]){__VA_ARGS__, {NULL, NULL}})

static void
encode(enum lt_remoting_encoding encoding, int version,
    const struct pair *pairs, const char *body)
{
	struct lt_remoting_encoder e;
	size_t n, m = strlen(body);

	lt_remoting_begin(
	    &e, it.bytes, sizeof it.bytes - m, encoding, 310, 0, 1);
	for (; pairs->name != NULL; pairs++)
		lt_remoting_put(
		    &e, pairs->name, pairs->value, strlen(pairs->value));
	n = lt_remoting_end(&e, NULL, 0, m);
	assert_true(n > 0);
	memcpy(it.bytes + n, body, m);
	decode(n + m);
	it.h.version = version;
}

/* In both encodings. */
static void
takes(int version, const struct pair *pairs, const char *body)
{
	for (int encoding = LT_REMOTING_JSON; encoding <= LT_REMOTING_BINARY;
	     encoding++) {
		encode(encoding, version, pairs, body);
		OK(check());
		assert_non_null(it.account);
	}
}

static void
refuses(int version, const struct pair *pairs, const char *body)
{
	for (int encoding = LT_REMOTING_JSON; encoding <= LT_REMOTING_BINARY;
	     encoding++) {
		encode(encoding, version, pairs, body);
		assert_int_equal(check(), LEAT_E_DENIED);
		assert_null(it.account);
	}
}

#define SEND                                                                   \
	{"a", "pg"}, {"b", "orders"}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, \
	    {"f", "0"}, {"g", "1700000000123"}, {"h", "7"},                    \
	    {"i", "UNIQ_KEY\001THEIRS\002TAGS\001red"}, {"j", "0"},            \
	    {"k", "false"},                                                    \
	{                                                                      \
		"AccessKey", "shop"                                            \
	}
#define SEND_SIGNED                                                            \
	{                                                                      \
		"Signature", "Obf5PD8Pr+WxvUqy1R9iGven/Ig="                    \
	}
#define SEND_BODY "hello, world"

/* --- what is taken ---------------------------------------------------------
 */

static void
the_primitive_is_that_of_the_rfc(void **state)
{
	static const struct {
		uint8_t fill;
		size_t key_bytes;
		const char *key, *text, *signature;
	} rows[] = {
	    {0x0b, 20, NULL, "Hi There", "thcxhlUFcmTii8C2+zeMjvFGvgA="},
	    {0, 4, "Jefe", "what do ya want for nothing?",
		"7/zfauXrL6LSdBbV8YTfnCWafHk="},
	    {0xaa, 80, NULL,
		"Test Using Larger Than Block-Size Key - Hash Key First",
		"qkrl4VJy0A6VcFY3zoo7Ve1AIRI="},
	    {0xaa, 80, NULL,
		"Test Using Larger Than Block-Size Key and Larger Than One "
		"Block-Size Data",
		"6OmdD0UjfXhta7qnllx4CLv/GpE="},
	};

	(void)state;
	for (size_t i = 0; i < LT_COUNT(rows); i++) {
		struct lt_hmac key, h;
		char filled[80], text[LT_HMAC_TEXT + 1];

		memset(filled, rows[i].fill, sizeof filled);
		lt_hmac_init(&key, rows[i].key != NULL ? rows[i].key : filled,
		    rows[i].key_bytes);
		for (size_t cut = 0; cut <= strlen(rows[i].text); cut++) {
			h = key;
			lt_hmac_add(&h, rows[i].text, cut);
			lt_hmac_add(
			    &h, rows[i].text + cut, strlen(rows[i].text) - cut);
			lt_hmac_text(&h, text);
			assert_string_equal(text, rows[i].signature);
		}
		assert_true(lt_hmac_same(text, rows[i].signature));
		for (size_t at = 0; at < LT_HMAC_TEXT; at++) {
			text[at] ^= 1;
			assert_false(lt_hmac_same(text, rows[i].signature));
			text[at] ^= 1;
		}
	}
}

static void
clients_sign_in_their_ways(void **state)
{
	(void)state;
	takes(399, PAIRS(SEND, SEND_SIGNED), SEND_BODY);
	assert_string_equal(it.account->key, "shop");
	/* Order of names, not of the header; capitals first. */
	takes(399, PAIRS(SEND_SIGNED, SEND), SEND_BODY);
	takes(1,
	    PAIRS({"ab", "5"}, {"a", "4"}, {"alpha", "2"}, {"B", "6"},
		{"Alpha", "3"}, {"Zeta", "1"}, {"AccessKey", "shop"},
		{"Signature", "4Aizdxo43xx8IiSPShCuy8uZUio="}),
	    "");
	/* Java signs its token, Go does not. */
	takes(399,
	    PAIRS(SEND, {"SecurityToken", "t0ken"},
		{"Signature", "qn3ehDXpBAWv+/j4okTwJgOcyqs="}),
	    SEND_BODY);
	takes(399, PAIRS(SEND, {"SecurityToken", "t0ken"}, SEND_SIGNED),
	    SEND_BODY);
	/* A zone is put into a header that was signed. */
	takes(435,
	    PAIRS(SEND, {"__ZONE_NAME", "z1"}, {"__ZONE_MODE", "true"},
		SEND_SIGNED),
	    SEND_BODY);
	/* Heartbeats; C++ and Node have a channel. */
	takes(399,
	    PAIRS({"AccessKey", "shop"},
		{"Signature", "K8uwY75oxXRrVneqxmed6G0V9eM="}),
	    "{\"clientID\":\"c@1\"}");
	takes(63,
	    PAIRS({"AccessKey", "shop"}, {"OnsChannel", "ALIYUN"},
		{"Signature", "l40LUpk1LjBGCcSLWIno+ekf3kc="}),
	    "{\"clientID\":\"c@1\"}");
	/* A secret that is longer than a block. */
	takes(399,
	    PAIRS({"topic", "orders"}, {"AccessKey", "long"},
		{"Signature", "H2/8l0axibzNbnipDVaAHkQzh/o="}),
	    "");
	assert_string_equal(it.account->key, "long");
}

static void
a_query_by_id_is_signed_by_version(void **state)
{
#define QUERY                                                                  \
	{"topic", "orders"}, {"key", "k1"}, {"maxNum", "32"},                  \
	    {"AccessKey", "shop"},                                             \
	{                                                                      \
		"_UNIQUE_KEY_QUERY", "true"                                    \
	}
	const struct pair without[] = {
	    QUERY, {"Signature", "iOcFKQKyJvqMSHCBStl5Ci101yk="}, {NULL, NULL}};
	const struct pair with[] = {
	    QUERY, {"Signature", "waKgHkNDYtC2AmMzPhypGucdptY="}, {NULL, NULL}};

	(void)state;
	takes(399, without, "");
	refuses(400, without, "");
	takes(400, with, "");
	refuses(399, with, "");
}

/* Values are the text that was received, whatever its kind. */
static void
json_values_are_as_they_came(void **state)
{
	(void)state;
	json("{\"code\":10,\"extFields\":{\"AccessKey\":\"shop\","
	     "\"OnsChannel\":\"ALIYUN\",\"topic\":\"orders\",\"queueId\":3,"
	     "\"ratio\":1.50e+2,\"neg\":-0,\"unitMode\":false,\"x\":null,"
	     "\"Signature\":\"HuROnQ8hvxt6s4qmV4MQvmtymBc=\"}}",
	    "x");
	OK(check());
	json("{\"code\":10,\"extFields\":{\"AccessKey\":\"shop\","
	     "\"OnsChannel\":\"ALIYUN\",\"topic\":\"orders\",\"queueId\":3,"
	     "\"ratio\":150,\"neg\":-0,\"unitMode\":false,"
	     "\"Signature\":\"HuROnQ8hvxt6s4qmV4MQvmtymBc=\"}}",
	    "x");
	assert_int_equal(check(), LEAT_E_DENIED);
	json("{\"code\":10,\"extFields\":{\"AccessKey\":\"shop\","
	     "\"topic\":\"orders\","
	     "\"key\":\"\\u4e2d\\\"\\\\\\/\\n\\ud83d\\ude00\","
	     "\"Signature\":\"MDJTYFG92XZ8B7CXtx1pnPkIAZU=\"}}",
	    "");
	OK(check());
}

/* What we send is taken as it was sent, with the signature. */
static void
requests_of_ours_are_signed(void **state)
{
	const struct pair pairs[] = {{"brokerName", "a\"\\\n\001b"},
	    {"AAA", "first"}, {"brokerId", "0"}, {NULL, NULL}};
	const struct lt_account *shop =
	    lt_accounts_find(accounts, (struct lt_remoting_text){"shop", 4});
	struct lt_buffer frame;

	(void)state;
	assert_non_null(shop);
	for (int encoding = LT_REMOTING_JSON; encoding <= LT_REMOTING_BINARY;
	     encoding++) {
		struct lt_remoting_encoder e;
		size_t n;

		lt_remoting_begin(
		    &e, it.bytes, sizeof it.bytes - 64, encoding, 103, 2, 77);
		for (const struct pair *p = pairs; p->name != NULL; p++)
			lt_remoting_put(
			    &e, p->name, p->value, strlen(p->value));
		n = lt_remoting_end(&e, NULL, 0, strlen(SEND_BODY));
		memcpy(it.bytes + n, SEND_BODY, strlen(SEND_BODY));
		lt_buffer_init(&frame, 8192);
		lt_buffer_add(&frame, it.bytes, n + strlen(SEND_BODY));
		OK(lt_signature_add(shop, &frame));
		assert_true(frame.bytes <= sizeof it.bytes);
		memcpy(it.bytes, frame.p, frame.bytes);
		decode(frame.bytes);
		OK(check());
		assert_ptr_equal(it.account, shop);
		assert_int_equal(it.h.code, 103);
		assert_int_equal(it.h.flag, 2);
		assert_int_equal(it.h.opaque, 77);
		assert_int_equal(it.h.ext_count, 5);
		assert_int_equal(it.f.body_bytes, strlen(SEND_BODY));
		for (const struct pair *p = pairs; p->name != NULL; p++) {
			struct lt_remoting_text t =
			    lt_remoting_find(&it.h, p->name);

			assert_int_equal(t.bytes, strlen(p->value));
			assert_memory_equal(t.p, p->value, t.bytes);
		}
		lt_buffer_fini(&frame);
	}
	lt_buffer_init(&frame, 64);
	lt_buffer_add(&frame, "no frame", 8);
	assert_int_not_equal(lt_signature_add(shop, &frame), LEAT_OK);
	lt_buffer_fini(&frame);
}

/* --- what is not -----------------------------------------------------------
 */

static void
nobody_is_who_has_no_key(void **state)
{
	(void)state;
	encode(LT_REMOTING_JSON, 399, PAIRS({"topic", "orders"}), "");
	assert_int_equal(check(), LEAT_E_NOTFOUND);
	/* C++ without credentials. */
	encode(LT_REMOTING_JSON, 399,
	    PAIRS({"AccessKey", ""}, {"OnsChannel", "ALIYUN"},
		{"Signature", "vxZ7M9rGSFDSKqH5uv0Cd8cVKxs="}),
	    "");
	assert_int_equal(check(), LEAT_E_NOTFOUND);
}

static void
wrong_ones_are_refused(void **state)
{
	(void)state;
	refuses(399, PAIRS(SEND, {"Signature", ""}), SEND_BODY);
	refuses(399, PAIRS(SEND, {"Signature", "Obf5PD8Pr+WxvUqy1R9iGven/Ig"}),
	    SEND_BODY);
	refuses(399, PAIRS(SEND), SEND_BODY);
	/* Added, left out, twice. */
	refuses(399, PAIRS(SEND, {"l", "x"}, SEND_SIGNED), SEND_BODY);
	refuses(399, PAIRS(SEND, {"b", "secrets"}, SEND_SIGNED), SEND_BODY);
	encode(LT_REMOTING_JSON, 399, PAIRS(SEND, {"b", ""}, SEND_SIGNED),
	    SEND_BODY);
	assert_int_equal(check(), LEAT_E_DENIED);
	refuses(399,
	    PAIRS({"topic", "orders"}, {"AccessKey", "shop"},
		{"AccessKey", "long"},
		{"Signature", "H2/8l0axibzNbnipDVaAHkQzh/o="}),
	    "");
	/* Another's signature; accounts whose names begin alike. */
	refuses(399,
	    PAIRS({"topic", "orders"}, {"AccessKey", "shop"},
		{"Signature", "H2/8l0axibzNbnipDVaAHkQzh/o="}),
	    "");
	refuses(399,
	    PAIRS({"topic", "orders"}, {"AccessKey", "sho"},
		{"Signature", "c+HN7VDfOIgMmJT0ZCCC1V4sn3o="}),
	    "");
	takes(399,
	    PAIRS({"topic", "orders"}, {"AccessKey", "shop"},
		{"Signature", "c+HN7VDfOIgMmJT0ZCCC1V4sn3o="}),
	    "");
}

static void
every_bit_counts(void **state)
{
	const struct pair pairs[] = {SEND, SEND_SIGNED, {NULL, NULL}};
	size_t flips = 0;

	(void)state;
	for (int encoding = LT_REMOTING_JSON; encoding <= LT_REMOTING_BINARY;
	     encoding++) {
		encode(encoding, 399, pairs, SEND_BODY);
		for (uint32_t i = 0; i < it.h.ext_count; i++)
			for (uint32_t at = 0; at < it.h.ext[i].value.bytes * 8;
			     at++, flips++) {
				uint8_t *p =
				    it.bytes +
				    ((const uint8_t *)it.h.ext[i].value.p -
					it.bytes) +
				    at / 8;

				*p ^= (uint8_t)(1 << at % 8);
				assert_int_equal(check(), LEAT_E_DENIED);
				*p ^= (uint8_t)(1 << at % 8);
			}
		for (uint32_t at = 0; at < it.f.body_bytes * 8; at++, flips++) {
			uint8_t *p = it.bytes + (it.f.body - it.bytes) + at / 8;

			*p ^= (uint8_t)(1 << at % 8);
			assert_int_equal(check(), LEAT_E_DENIED);
			*p ^= (uint8_t)(1 << at % 8);
		}
		it.f.body_bytes--;
		assert_int_equal(check(), LEAT_E_DENIED);
		it.f.body_bytes++;
		OK(check());
	}
	print_message("%zu bits\n", flips);
}

/* --- the file --------------------------------------------------------------
 */

static void
unread(const char *text, mode_t mode, const char *says)
{
	struct lt_accounts *none = NULL;
	char why[200];

	write_file(text, mode);
	assert_int_equal(
	    lt_accounts_read(path, &none, why, sizeof why), LEAT_E_CONFIG);
	assert_null(none);
	if (strstr(why, says) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why, says);
	assert_null(strstr(why, "12345678"));
}

static void
the_file_is_checked(void **state)
{
	char key[LT_PRINCIPAL_NAME + 1], line[512];
	struct lt_accounts *none = NULL;
	char why[200];

	(void)state;
	unread("shop " SECRET "\n", 0644, "chmod 0640");
	unread("shop " SECRET "\n", 0604, "chmod 0600");
	unread("shop " SECRET "\n", 0660, "others may read or write");
	unread("", 0600, "has no account");
	unread("# shop " SECRET "\n", 0600, "has no account");
	unread("a 12345678\n\nshop\n", 0600, "line 3: write ACCESSKEY");
	unread("shop 12345678 more\n", 0600, "line 1: write ACCESSKEY");
	unread("sh*p 12345678\n", 0600, "line 1: an access key");
	unread("shop 12345678\nb 12345678\nshop 12345678x\n", 0600,
	    "access key shop twice");
	memset(key, 'k', sizeof key);
	key[LT_PRINCIPAL_NAME] = '\0';
	snprintf(line, sizeof line, "%s 12345678", key);
	unread(line, 0600, "line 1: an access key");
	unlink(path);
	assert_int_equal(
	    lt_accounts_read(path, &none, why, sizeof why), LEAT_E_CONFIG);
	assert_non_null(strstr(why, "cannot be opened"));
	assert_int_equal(
	    lt_accounts_read("/tmp", &none, why, sizeof why), LEAT_E_CONFIG);
}

static void
so_many_accounts_fit(void **state)
{
	struct lt_accounts *all = NULL;
	size_t at = 0, room = (LT_ACCOUNTS_MAX + 1) * 32;
	char *text = malloc(room), why[200];

	(void)state;
	assert_non_null(text);
	for (int i = 0; i < LT_ACCOUNTS_MAX; i++)
		at += (size_t)snprintf(
		    text + at, room - at, "key%d secret%d\n", i * 7919, i);
	write_file(text, 0600);
	OK(lt_accounts_read(path, &all, why, sizeof why));
	assert_int_equal(lt_accounts_count(all), LT_ACCOUNTS_MAX);
	for (int i = 0; i < LT_ACCOUNTS_MAX; i++) {
		const struct lt_account *a;
		char key[32];

		snprintf(key, sizeof key, "key%d", i * 7919);
		a = lt_accounts_find(
		    all, (struct lt_remoting_text){key, (uint32_t)strlen(key)});
		assert_non_null(a);
		assert_string_equal(a->key, key);
		assert_null(lt_accounts_find(
		    all, (struct lt_remoting_text){key, sizeof key}));
	}
	lt_accounts_free(all);
	snprintf(text + at, room - at, "one more");
	unread(text, 0600, "at most 4096 accounts");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_primitive_is_that_of_the_rfc),
	    cmocka_unit_test(clients_sign_in_their_ways),
	    cmocka_unit_test(a_query_by_id_is_signed_by_version),
	    cmocka_unit_test(json_values_are_as_they_came),
	    cmocka_unit_test(requests_of_ours_are_signed),
	    cmocka_unit_test(nobody_is_who_has_no_key),
	    cmocka_unit_test(wrong_ones_are_refused),
	    cmocka_unit_test(every_bit_counts),
	    cmocka_unit_test(the_file_is_checked),
	    cmocka_unit_test(so_many_accounts_fit),
	};

	return cmocka_run_group_tests_name(
	    "signature", tests, set_up, tear_down);
}
