/*
 * bytes.h - big-endian loads and stores, rounding, hexadecimal. Inline; any
 * alignment; no allocation.
 */
#ifndef LT_BASE_BYTES_H
#define LT_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t
lt_bytes_get16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, 2);
	return __builtin_bswap16(v);
}

static inline uint32_t
lt_bytes_get32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

static inline uint64_t
lt_bytes_get64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return __builtin_bswap64(v);
}

static inline void
lt_bytes_put16(void *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, 2);
}

static inline void
lt_bytes_put32(void *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}

static inline void
lt_bytes_put64(void *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, 8);
}

/* Round up to a multiple of the power of two `to`. */
static inline uint64_t
lt_bytes_align(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

/* Least power of two >= v (v >= 1, v <= 2^63). */
static inline uint64_t
lt_bytes_pow2(uint64_t v)
{
	return v <= 1 ? 1 : 1ULL << (64 - __builtin_clzll(v - 1));
}

/* Eight digits at once: a nibble to each byte, then all to ASCII. */
static inline void
lt_bytes_hex32(char out[8], uint32_t v)
{
	uint64_t x = v, letter;

	x = (x & 0xffff0000) << 16 | (x & 0xffff);
	x = (x & 0x0000ff000000ff00) << 8 | (x & 0x000000ff000000ff);
	x = (x & 0x00f000f000f000f0) << 4 | (x & 0x000f000f000f000f);
	letter = ((x + 0x0606060606060606) >> 4) & 0x0101010101010101;
	lt_bytes_put64(out, x + 0x3030303030303030 + letter * 7);
}

/* 16 upper-case hexadecimal digits of v, no NUL. */
static inline void
lt_bytes_hex64(char out[16], uint64_t v)
{
	lt_bytes_hex32(out, (uint32_t)(v >> 32));
	lt_bytes_hex32(out + 8, (uint32_t)v);
}
/* Parse exactly 16 hexadecimal digits, any case. 0 or -1. */
int lt_bytes_unhex64(const char in[16], uint64_t *out);
/* Parse a text of exactly so many decimal digits, as names of files are: 0, or
 * -1 if it is another or beyond INT64_MAX. */
int lt_bytes_digits(const char *text, size_t digits, uint64_t *out);
/* Copy a string into a fixed field, NUL-padded to n. 0, or -1 if it and its
 * NUL do not fit (the field is then empty). */
int lt_bytes_field(char *field, size_t n, const char *text);
/* 1 if a fixed field from a stranger holds a NUL within n. */
int lt_bytes_terminated(const char *field, size_t n);
/* The port of HOST:PORT or [HOST]:PORT: 1 to 65535; 0 if none is named, -1 if
 * it is no port. *host_bytes_out: the length of HOST, brackets included. */
int lt_bytes_port(const char *text, size_t *host_bytes_out);

#endif
