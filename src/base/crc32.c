/* crc32.c - the door to libdeflate's checksum. */
#include "config.h"
#include "base/crc32.h"

#include <libdeflate.h>

uint32_t
lt_crc32(uint32_t crc, const void *data, size_t bytes)
{
	/* libdeflate takes NULL to mean "give me the first value". */
	if (bytes == 0)
		return crc;
	return libdeflate_crc32(crc, data, bytes);
}
