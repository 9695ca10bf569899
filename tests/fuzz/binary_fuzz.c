/* binary_fuzz.c - any bytes as the binary header of a remoting command. */
#include "config.h"

#include "../proto/golden.h"
#include "recode.h"

#define FUZZ_NAME "binary"
#define FUZZ_RUNS 200000
#include "drive.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	recode(LT_REMOTING_BINARY, data, bytes);
	return 0;
}

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	struct lt_remoting_encoder e;
	size_t bytes;

	if (n < 2) {
		bytes = golden[4 + n].bytes;
		if (bytes > cap)
			return 0;
		memcpy(buf, golden[4 + n].header, bytes);
		return bytes;
	}
	lt_remoting_begin(&e, buf, cap, LT_REMOTING_BINARY, 200050, 1, -1);
	for (unsigned i = 2; i < n; i++)
		lt_remoting_put(&e, "name", "values", i - 1);
	bytes = lt_remoting_end(&e, "remark", n % 3, 0);
	if (bytes < LT_REMOTING_PREFIX)
		return 0;
	memmove(buf, buf + LT_REMOTING_PREFIX, bytes - LT_REMOTING_PREFIX);
	return bytes - LT_REMOTING_PREFIX;
}
