/* json_fuzz.c - any bytes as the JSON header of a remoting command. */
#include "config.h"

#include "../proto/golden.h"
#include "recode.h"

#define FUZZ_NAME "json"
#define FUZZ_RUNS 100000
#include "drive.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	recode(LT_REMOTING_JSON, data, bytes);
	return 0;
}

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const char *const more[] = {
	    "{\"extFields\":{\"a\":[1,{\"b\":-2.5e+3}],\"c\":true,\"d\":null}}",
	    "{\"remark\":\"\\ud83d\\ude00\\ud83d "
	    "\\u00e9\\u0800\\\\\\/\\b\\f\"}",
	    " { \"x\" : [ ] , \"code\" : \"7\" , \"y\" : { } } \r\n",
	    "{\"opaque\":-2147483648,\"version\":32767,\"code\":200050}",
	};
	const char *text = n < 4 ? golden[n].header : more[n % 4];
	size_t bytes = strlen(text);

	if (bytes > cap)
		return 0;
	memcpy(buf, text, bytes);
	return bytes;
}
