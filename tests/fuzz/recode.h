/*
 * recode.h - for fuzz targets: any bytes as a remoting header. What is read
 * lies within them, and written and read again it is the same.
 */
#ifndef LT_TESTS_RECODE_H
#define LT_TESTS_RECODE_H

#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "leat/status.h"
#include "proto/remoting.h"

/* A copy in an allocation of its own size: decoding changes it. */
static uint8_t *
recode_copy(const uint8_t *p, size_t bytes)
{
	uint8_t *copy = malloc(bytes + (bytes == 0));

	LT_ASSERT(copy != NULL);
	if (bytes > 0)
		memcpy(copy, p, bytes);
	return copy;
}

static void
recode_same(struct lt_remoting_text a, struct lt_remoting_text b)
{
	LT_ASSERT(a.bytes == b.bytes && (a.p == NULL) == (b.p == NULL));
	LT_ASSERT(a.bytes == 0 || memcmp(a.p, b.p, a.bytes) == 0);
}

static void
recode_inside(struct lt_remoting_text t, const uint8_t *p, size_t bytes)
{
	LT_ASSERT(
	    t.p == NULL || ((const uint8_t *)t.p >= p &&
			       (const uint8_t *)t.p + t.bytes <= p + bytes));
}

static void
recode_again(const struct lt_remoting *h)
{
	static uint8_t buf[LT_REMOTING_HEADER_MAX * 8];
	static struct lt_remoting again;
	struct lt_remoting_encoder e;
	struct lt_remoting_frame f;
	size_t n;

	lt_remoting_begin(
	    &e, buf, sizeof(buf), h->encoding, h->code, h->flag, h->opaque);
	for (uint32_t i = 0; i < h->ext_count; i++)
		lt_remoting_put_ext(&e, &h->ext[i]);
	n = lt_remoting_end(&e, h->remark.p, h->remark.bytes, 0);
	if (n == 0) { /* escapes made it too large */
		LT_ASSERT(e.used > LT_REMOTING_HEADER_MAX);
		return;
	}
	LT_ASSERT(lt_remoting_frame(buf, n, &f) == LEAT_OK && f.bytes == n);
	LT_ASSERT(f.body_bytes == 0 && f.encoding == h->encoding);
	LT_ASSERT(lt_remoting_decode(&f, &again) == LEAT_OK);
	LT_ASSERT(again.code == h->code && again.flag == h->flag);
	LT_ASSERT(again.opaque == h->opaque);
	LT_ASSERT(again.version == LT_REMOTING_VERSION);
	LT_ASSERT(again.language == LT_REMOTING_OTHER);
	LT_ASSERT(again.ext_count == h->ext_count);
	recode_same(again.remark, h->remark);
	for (uint32_t i = 0; i < h->ext_count; i++) {
		recode_same(again.ext[i].name, h->ext[i].name);
		recode_same(again.ext[i].value, h->ext[i].value);
	}
}

/* All of it, as the header of a command. */
static void
recode(enum lt_remoting_encoding encoding, const uint8_t *data, size_t bytes)
{
	static struct lt_remoting h;
	uint8_t *copy = recode_copy(data, bytes);
	struct lt_remoting_frame f = {.encoding = encoding,
	    .header = copy,
	    .header_bytes = (uint32_t)bytes};
	int status = lt_remoting_decode(&f, &h);

	LT_ASSERT(status == LEAT_OK || status == LEAT_E_CORRUPT);
	if (status == LEAT_OK) {
		LT_ASSERT(h.ext_count <= LT_REMOTING_EXT_MAX);
		recode_inside(h.remark, copy, bytes);
		for (uint32_t i = 0; i < h.ext_count; i++) {
			LT_ASSERT(h.ext[i].name.p != NULL);
			LT_ASSERT(h.ext[i].value.p != NULL);
			recode_inside(h.ext[i].name, copy, bytes);
			recode_inside(h.ext[i].value, copy, bytes);
		}
		recode_again(&h);
	}
	free(copy);
}

#endif
