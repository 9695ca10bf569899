/*
 * registration.c - REGISTER_BROKER, read by a name server.
 *
 * The body is JSON, or one zlib stream of: version, topics, filter servers and
 * (from 5.0 on) static topics' mappings. Each is a u32 length and text, lists
 * have a u32 count in front. Of the last two only the form is looked at: filter
 * servers and static topics are not served.
 */
#include "config.h"
#include "names/registration.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32.h"
#include "base/deflate.h"
#include "base/mem.h"
#include "leat/status.h"
#include "names/namesjson.h"
#include "proto/limits.h"

#define VERSION_WRAPPED 37 /* the first whose body is more than the topics */
#define VERSION_MAPPINGS 413
#define TIMEOUT_MAX_MS 86400000

struct slice { /* of the inflated body, what is not read yet */
	const uint8_t *p;
	size_t left;
};

static int
take32(struct slice *s, uint32_t *out)
{
	if (s->left < 4)
		return LEAT_E_CORRUPT;
	*out = lt_bytes_get32(s->p);
	s->p += 4;
	s->left -= 4;
	return LEAT_OK;
}

static int
take_text(struct slice *s, struct lt_remoting_text *out)
{
	uint32_t bytes;

	if (take32(s, &bytes) != LEAT_OK || bytes > s->left)
		return LEAT_E_CORRUPT;
	*out = (struct lt_remoting_text){(const char *)s->p, bytes};
	s->p += bytes;
	s->left -= bytes;
	return LEAT_OK;
}

/* The next word of a topic's line: up to a space or the end. */
static struct lt_remoting_text
word(struct lt_remoting_text *line)
{
	const char *space =
	    line->bytes == 0 ? NULL : memchr(line->p, ' ', line->bytes);
	uint32_t n = space == NULL ? line->bytes : (uint32_t)(space - line->p);
	struct lt_remoting_text w = {line->p, n};

	n += space != NULL;
	line->p += n;
	line->bytes -= n;
	return w;
}

static int
word_number(struct lt_remoting_text *line, uint32_t most, uint32_t *out)
{
	struct lt_remoting_text w = word(line);
	uint32_t v = 0;

	if (w.bytes == 0 || w.bytes > 9)
		return LEAT_E_INVALID;
	for (uint32_t i = 0; i < w.bytes; i++) {
		if (w.p[i] < '0' || w.p[i] > '9')
			return LEAT_E_INVALID;
		v = v * 10 + (uint32_t)(w.p[i] - '0');
	}
	*out = v;
	return v <= most ? LEAT_OK : LEAT_E_INVALID;
}

/* "name read write perm SINGLE_TAG {}"; the last is of 5.0 and not used. */
static int
topic_line(struct lt_remoting_text line, struct lt_topic_queues *out)
{
	int rc;

	out->topic = word(&line);
	if ((rc = word_number(&line, LT_QUEUES_MAX, &out->read)) != LEAT_OK ||
	    (rc = word_number(&line, LT_QUEUES_MAX, &out->write)) != LEAT_OK ||
	    (rc = word_number(&line, 15, &out->perm)) != LEAT_OK)
		return rc;
	return word(&line).bytes > 0 ? LEAT_OK : LEAT_E_INVALID;
}

static int
read_topics(struct slice *s, uint32_t topics_max, struct lt_registration *out)
{
	struct lt_remoting_text line;
	uint32_t count;

	if (take32(s, &count) != LEAT_OK || count > s->left / 4)
		return LEAT_E_CORRUPT;
	if (count > topics_max)
		return LEAT_E_LIMIT;
	if (count == 0)
		return LEAT_OK;
	out->topics = lt_mem_array(count, sizeof(*out->topics));
	if (out->topics == NULL)
		return LEAT_E_NOMEM;
	for (; out->topic_count < count; out->topic_count++) {
		if (take_text(s, &line) != LEAT_OK)
			return LEAT_E_CORRUPT;
		int rc = topic_line(line, &out->topics[out->topic_count]);
		if (rc != LEAT_OK)
			return rc;
	}
	return LEAT_OK;
}

static int
read_compressed(const void *body, size_t bytes, int32_t version,
    uint32_t topics_max, size_t body_max, struct lt_registration *out)
{
	struct lt_remoting_text text;
	uint32_t mappings = 0;

	lt_buffer_init(&out->inflated, body_max);
	int rc = lt_deflate_unpack(body, bytes, &out->inflated);
	if (rc != LEAT_OK)
		return rc;
	struct slice s = {out->inflated.p, out->inflated.bytes};

	if (take_text(&s, &text) != LEAT_OK)
		return LEAT_E_CORRUPT;
	rc = lt_namesjson_version(text.p, text.bytes, &out->version);
	if (rc == LEAT_OK)
		rc = read_topics(&s, topics_max, out);
	if (rc != LEAT_OK)
		return rc;
	if (take_text(&s, &text) != LEAT_OK ||
	    !lt_namesjson_is_array(text.p, text.bytes))
		return LEAT_E_CORRUPT;
	if (version >= VERSION_MAPPINGS)
		rc = take32(&s, &mappings);
	while (rc == LEAT_OK && mappings-- > 0)
		rc = take_text(&s, &text);
	return rc == LEAT_OK && s.left == 0 ? LEAT_OK : LEAT_E_CORRUPT;
}

static int
read_header(const struct lt_remoting *request, struct lt_registration *out)
{
	out->cluster = lt_remoting_find(request, "clusterName");
	out->broker = lt_remoting_find(request, "brokerName");
	out->address = lt_remoting_find(request, "brokerAddr");
	out->ha_address = lt_remoting_find(request, "haServerAddr");
	out->zone = lt_remoting_find(request, "__ZONE_NAME");
	out->acting = LT_REGISTRATION_OLD;
	if (lt_remoting_find(request, "enableActingMaster").p != NULL)
		out->acting = lt_remoting_bool(request, "enableActingMaster")
				  ? LT_REGISTRATION_ACTING
				  : LT_REGISTRATION_PLAIN;
	int rc = lt_remoting_i64(
	    request, "heartbeatTimeoutMillis", &out->timeout_ms);
	if ((rc != LEAT_OK && rc != LEAT_E_NOTFOUND) || out->timeout_ms < 0)
		return LEAT_E_INVALID;
	if (out->timeout_ms > TIMEOUT_MAX_MS)
		out->timeout_ms = TIMEOUT_MAX_MS;
	if (lt_remoting_i64(request, "brokerId", &out->broker_id) != LEAT_OK)
		return LEAT_E_INVALID;
	return LEAT_OK;
}

int
lt_registration_read(const struct lt_remoting *request, const void *body,
    size_t body_bytes, uint32_t topics_max, size_t body_max,
    struct lt_registration *out, const char **why_out)
{
	int32_t crc = 0;

	*out = (struct lt_registration){.json = NULL};
	*why_out = "brokerId or heartbeatTimeoutMillis is not a number";
	if (read_header(request, out) != LEAT_OK)
		return LEAT_E_INVALID;
	*why_out = "crc32 not match";
	int rc = lt_remoting_i32(request, "bodyCrc32", &crc);
	if ((rc != LEAT_OK && rc != LEAT_E_NOTFOUND) ||
	    (crc != 0 &&
		(uint32_t)crc != (lt_crc32(0, body, body_bytes) & 0x7fffffff)))
		return LEAT_E_CORRUPT;
	if (body_bytes == 0)
		return LEAT_OK;
	if (lt_remoting_bool(request, "compressed"))
		rc = read_compressed(body, body_bytes, request->version,
		    topics_max, body_max, out);
	else
		rc = lt_namesjson_registration(body, body_bytes,
		    request->version < VERSION_WRAPPED, topics_max, out);
	*why_out = rc == LEAT_E_LIMIT	  ? "too many topics"
		   : rc == LEAT_E_TOOBIG  ? "the inflated body is too big"
		   : rc == LEAT_E_NOMEM	  ? "out of memory"
		   : rc == LEAT_E_INVALID ? "a topic's queues or perm are not "
					    "in range"
					  : "the body cannot be decoded";
	return rc;
}

void
lt_registration_fini(struct lt_registration *r)
{
	lt_namesjson_free(r->json);
	lt_buffer_fini(&r->inflated);
	lt_mem_free(r->topics);
	*r = (struct lt_registration){.json = NULL};
}
