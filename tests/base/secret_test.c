/* secret_test.c - the MAC against another BLAKE2b, CRC-32 against its check
 * value, memory that is not swapped. */
#include "config.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32.h"
#include "base/secret.h"
#include "leat/status.h"

static void
mac_depends_on_everything(void **state)
{
	uint8_t key[32] = {1}, a[16], b[16];

	lt_secret_mac(a, key, sizeof key, "data", 4);
	lt_secret_mac(b, key, sizeof key, "data", 4);
	assert_true(lt_secret_equal(a, b, 16));
	lt_secret_mac(b, key, sizeof key, "datb", 4);
	assert_false(lt_secret_equal(a, b, 16));
	key[31] = 1;
	lt_secret_mac(b, key, sizeof key, "data", 4);
	assert_false(lt_secret_equal(a, b, 16));
	lt_secret_mac(b, key, 16, "data", 4);
	assert_false(lt_secret_equal(a, b, 16));
}

/* Computed with an independent implementation of RFC 7693. */
static void
mac_is_keyed_blake2b(void **state)
{
	static const uint8_t want[16] = {0x1a, 0x64, 0xbe, 0x47, 0xe4, 0x72,
	    0x9d, 0x95, 0x1c, 0x30, 0x2e, 0xe5, 0x43, 0xf9, 0x7c, 0xf3};
	uint8_t key[32], out[16];

	for (unsigned i = 0; i < sizeof key; i++)
		key[i] = (uint8_t)i;
	lt_secret_mac(out, key, sizeof key, "abc", 3);
	assert_memory_equal(out, want, 16);
}

static void
random_is_not_constant(void **state)
{
	uint8_t a[32] = {0}, b[32] = {0};

	lt_secret_random(a, sizeof a);
	lt_secret_random(b, sizeof b);
	assert_memory_not_equal(a, b, 32);
	lt_secret_wipe(a, sizeof a);
	memset(b, 0, sizeof b);
	assert_memory_equal(a, b, 32);
}

/* Of this process, as the kernel says. */
static long
locked_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	long kib = -1;

	assert_non_null(f);
	while (fgets(line, sizeof line, f) != NULL)
		(void)sscanf(line, "VmLck: %ld kB", &kib);
	fclose(f);
	return kib;
}

static void
locked_memory_is_not_swapped(void **state)
{
	enum {
		BYTES = 16384
	};
	uint8_t *p = aligned_alloc(4096, BYTES);
	long before = locked_kib();

	assert_non_null(p);
	if (lt_secret_lock(p, BYTES) != 0) {
		free(p);
		print_message("no memory may be locked here\n");
		skip();
	}
#ifdef __SANITIZE_ADDRESS__ /* it keeps locks from the kernel */
	assert_in_range(locked_kib(), before, before + BYTES / 1024);
#else
	assert_int_equal(locked_kib(), before + BYTES / 1024);
#endif
	memset(p, 7, BYTES);
	lt_secret_unlock(p, BYTES);
	assert_int_equal(locked_kib(), before);
	for (int i = 0; i < BYTES; i++)
		assert_int_equal(p[i], 0); /* wiped, too */
	free(p);
}

static void
crc_has_its_check_value(void **state)
{
	assert_int_equal(lt_crc32(0, "123456789", 9), 0xCBF43926u);
	assert_int_equal(
	    lt_crc32(lt_crc32(0, "1234", 4), "56789", 5), 0xCBF43926u);
	assert_int_equal(lt_crc32(0, NULL, 0), 0);
	assert_int_equal(lt_crc32(0xCBF43926u, NULL, 0), 0xCBF43926u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(mac_depends_on_everything),
	    cmocka_unit_test(mac_is_keyed_blake2b),
	    cmocka_unit_test(random_is_not_constant),
	    cmocka_unit_test(locked_memory_is_not_swapped),
	    cmocka_unit_test(crc_has_its_check_value),
	};

	if (lt_secret_init() != LEAT_OK)
		return 99;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
