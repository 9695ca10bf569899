/*
 * signature.c - the signature of RocketMQ's first access control: HMAC-SHA1
 * with the account's secret over the values of all fields in order of their
 * names (bytes; no separators; Signature itself left out), then the body; in
 * Base64, as field Signature. Header codes are not signed, nor is the opaque.
 *
 * Which fields a client had when it signed depends on the client:
 *   _UNIQUE_KEY_QUERY        added behind the signature up to version 399
 *   SecurityToken            Java signs it, Go does not
 *   __ZONE_NAME, __ZONE_MODE of Java's environment: added behind it
 * so what is as one of them signs is taken. None of these is looked at by
 * anybody else but the first, and that is signed or not by the version. A name
 * that is there twice is what nobody signs, and two readers might take
 * different ones: refused.
 */
#include "config.h"
#include "remoting/signature.h"

#include <string.h>

#include "base/mem.h"
#include "leat/status.h"

#define UNIQUE_UNSIGNED_UNTIL 399

enum { /* fields that are left out, as bits */
	NOTHING = 0,
	UNIQUE = 1,
	TOKEN = 2,
	ZONE = 4,
	ITSELF = 8
};

static const struct {
	const char *name;
	unsigned is;
} special[] = {
    {"Signature", ITSELF},
    {"SecurityToken", TOKEN},
    {"_UNIQUE_KEY_QUERY", UNIQUE},
    {"__ZONE_NAME", ZONE},
    {"__ZONE_MODE", ZONE},
};

/* The fields in order of their names. */
struct sorted {
	const struct lt_remoting_ext *fields[LT_REMOTING_EXT_MAX];
	unsigned is[LT_REMOTING_EXT_MAX];
	unsigned any; /* of all of them */
};

static int
by_name(const struct lt_remoting_text *a, const struct lt_remoting_text *b)
{
	size_t least = a->bytes < b->bytes ? a->bytes : b->bytes;
	int order = least == 0 ? 0 : memcmp(a->p, b->p, least);

	return order != 0 ? order
			  : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static unsigned
what_is(const struct lt_remoting_text *name)
{
	for (size_t i = 0; i < LT_COUNT(special); i++)
		if (name->bytes == strlen(special[i].name) &&
		    memcmp(name->p, special[i].name, name->bytes) == 0)
			return special[i].is;
	return NOTHING;
}

/* 0: a name is there twice. Clients send maps, mostly sorted ones. */
static int
sort(const struct lt_remoting *h, struct sorted *s)
{
	s->any = NOTHING;
	for (uint32_t i = 0; i < h->ext_count; i++) {
		const struct lt_remoting_ext *field = &h->ext[i];
		uint32_t at = i;
		int order = 1;

		while (at > 0 && (order = by_name(&field->name,
				      &s->fields[at - 1]->name)) < 0) {
			s->fields[at] = s->fields[at - 1];
			at--;
		}
		if (order == 0)
			return 0;
		s->fields[at] = field;
	}
	for (uint32_t i = 0; i < h->ext_count; i++) {
		s->is[i] = what_is(&s->fields[i]->name);
		s->any |= s->is[i];
	}
	return 1;
}

/* Is it the signature of the fields but those? */
static int
is_signed(const struct lt_hmac *key, const struct sorted *s, uint32_t count,
    unsigned without, const void *body, size_t body_bytes,
    struct lt_remoting_text signature)
{
	struct lt_hmac h = *key;
	char text[LT_HMAC_TEXT + 1];

	for (uint32_t i = 0; i < count; i++)
		if ((s->is[i] & without) == 0)
			lt_hmac_add(&h, s->fields[i]->value.p,
			    s->fields[i]->value.bytes);
	lt_hmac_add(&h, body, body_bytes);
	lt_hmac_text(&h, text);
	return signature.bytes == LT_HMAC_TEXT &&
	       lt_hmac_same(text, signature.p);
}

int
lt_signature_check(const struct lt_accounts *accounts,
    const struct lt_remoting *h, const void *body, size_t body_bytes,
    const struct lt_account **out)
{
	static const struct lt_account nobody;
	static const unsigned unsigned_by[] = {NOTHING, TOKEN, ZONE};
	struct lt_remoting_text key = lt_remoting_find(h, "AccessKey");
	struct lt_remoting_text signature = lt_remoting_find(h, "Signature");
	unsigned without = ITSELF;
	const struct lt_account *account;
	struct sorted s;
	int is_right = 0;

	if (key.bytes == 0)
		return LEAT_E_NOTFOUND;
	if (!sort(h, &s))
		return LEAT_E_DENIED;
	if (h->version <= UNIQUE_UNSIGNED_UNTIL)
		without |= UNIQUE;
	/* Who has no account waits as long as who signed with a wrong key. */
	account = lt_accounts_find(accounts, key);
	for (size_t i = 0; i < LT_COUNT(unsigned_by) && !is_right; i++)
		if ((unsigned_by[i] & ~s.any) == 0)
			is_right = is_signed(
			    account != NULL ? &account->hmac : &nobody.hmac, &s,
			    h->ext_count, without | unsigned_by[i], body,
			    body_bytes, signature);
	if (account == NULL || !is_right)
		return LEAT_E_DENIED;
	*out = account;
	return LEAT_OK;
}

/* --- requests of ours ------------------------------------------------------
 */

/* Escaped, a byte may be six times as long. */
static size_t
room_for(const struct lt_remoting_frame *f)
{
	return LT_REMOTING_PREFIX + 6 * (size_t)f->header_bytes + 1024;
}

static size_t
encode(const struct lt_account *account, struct lt_remoting *h,
    const struct lt_remoting_frame *f, void *to, size_t room)
{
	char text[LT_HMAC_TEXT + 1];
	struct lt_hmac hmac = account->hmac;
	struct lt_remoting_encoder e;
	struct sorted s;

	h->ext[h->ext_count++] = (struct lt_remoting_ext){
	    lt_call_text("AccessKey"), lt_call_text(account->key)};
	if (!sort(h, &s))
		return 0;
	lt_remoting_begin(
	    &e, to, room, f->encoding, h->code, h->flag, h->opaque);
	for (uint32_t i = 0; i < h->ext_count; i++) {
		lt_hmac_add(
		    &hmac, s.fields[i]->value.p, s.fields[i]->value.bytes);
		lt_remoting_put_ext(&e, s.fields[i]);
	}
	lt_hmac_add(&hmac, f->body, f->body_bytes);
	lt_hmac_text(&hmac, text);
	lt_remoting_put(&e, "Signature", text, LT_HMAC_TEXT);
	return lt_remoting_end(&e, NULL, 0, f->body_bytes);
}

int
lt_signature_add(const struct lt_account *account, struct lt_buffer *frame)
{
	struct lt_remoting_frame f;
	struct lt_remoting h;
	uint8_t *made;
	size_t room, n;
	int status = lt_remoting_frame(frame->p, frame->bytes, &f);

	if (status == LEAT_OK)
		status = lt_remoting_decode(&f, &h);
	if (status != LEAT_OK || h.ext_count >= LT_REMOTING_EXT_MAX - 1)
		return status != LEAT_OK ? status : LEAT_E_TOOBIG;
	room = room_for(&f);
	made = lt_mem_alloc(room + f.body_bytes);
	if (made == NULL)
		return LEAT_E_NOMEM;
	n = encode(account, &h, &f, made, room);
	if (n > 0)
		memcpy(made + n, f.body, f.body_bytes);
	lt_buffer_clear(frame);
	if (n > 0)
		lt_buffer_add(frame, made, n + f.body_bytes);
	lt_mem_free(made);
	return n > 0 ? lt_buffer_status(frame) : LEAT_E_TOOBIG;
}
