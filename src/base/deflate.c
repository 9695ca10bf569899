/* deflate.c - the door to libdeflate's zlib streams. */
#include "config.h"
#include "base/deflate.h"

#include <libdeflate.h>

#include "leat/status.h"

#define FIRST_ROOM 4096u

int
lt_deflate_pack(const void *in, size_t bytes, int level, struct lt_buffer *out)
{
	struct libdeflate_compressor *c = libdeflate_alloc_compressor(level);
	if (c == NULL)
		return LEAT_E_NOMEM;
	size_t room = libdeflate_zlib_compress_bound(c, bytes);
	void *to = lt_buffer_reserve(out, room);
	if (to != NULL)
		lt_buffer_took(
		    out, libdeflate_zlib_compress(c, in, bytes, to, room));
	libdeflate_free_compressor(c);
	return lt_buffer_status(out);
}

/* libdeflate wants room for all of it, and the stream does not say how much
 * that is: four times as much until it fits. */
int
lt_deflate_unpack(const void *in, size_t bytes, struct lt_buffer *out)
{
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	size_t most = out->most - out->bytes, room = FIRST_ROOM, taken, made;
	enum libdeflate_result r;
	void *to;

	if (d == NULL)
		return LEAT_E_NOMEM;
	for (;; room *= 4) {
		room = room > most ? most : room;
		to = lt_buffer_reserve(out, room);
		if (to == NULL)
			break;
		r = libdeflate_zlib_decompress_ex(
		    d, in, bytes, to, room, &taken, &made);
		if (r != LIBDEFLATE_INSUFFICIENT_SPACE || room == most)
			break;
	}
	libdeflate_free_decompressor(d);
	if (to == NULL)
		return lt_buffer_status(out);
	if (r == LIBDEFLATE_INSUFFICIENT_SPACE)
		return LEAT_E_TOOBIG;
	if (r != LIBDEFLATE_SUCCESS || taken != bytes)
		return LEAT_E_CORRUPT;
	lt_buffer_took(out, made);
	return LEAT_OK;
}
