/*
 * namesjson.c - registration bodies, versions and routes out of JSON; the only
 * user of jansson in this room.
 */
#include "config.h"
#include "names/namesjson.h"

#include <string.h>

#include <jansson.h>

#include "base/mem.h"
#include "leat/status.h"
#include "proto/limits.h"

/* Values that a TopicConfig has if they are not sent. */
#define DEFAULT_QUEUES 16
#define DEFAULT_PERM 6
#define PERM_MAX 15

/* Bytes of the number that begins at p and is a map's key; 0: none. */
static size_t
bare_key_bytes(const char *p, size_t left)
{
	size_t n = left > 0 && p[0] == '-', digits = n;

	while (n < left && p[n] >= '0' && p[n] <= '9')
		n++;
	return n > digits && n < left && p[n] == ':' ? n : 0;
}

/* The same text with each bare number key in quotes. */
static void
quote_bare_keys(const char *text, size_t bytes, struct lt_buffer *out)
{
	int quoted = 0;

	for (size_t i = 0; i < bytes; i++) {
		size_t key = 0;

		lt_buffer_add(out, text + i, 1);
		if (quoted && text[i] == '\\' && i + 1 < bytes)
			lt_buffer_add(out, text + ++i, 1);
		else if (text[i] == '"')
			quoted = !quoted;
		else if (!quoted && (text[i] == '{' || text[i] == ','))
			key = bare_key_bytes(text + i + 1, bytes - i - 1);
		if (key > 0) {
			lt_buffer_quote(out, text + i + 1, key);
			i += key;
		}
	}
}

static int
load(const void *text, size_t bytes, json_t **out)
{
	json_error_t error;
	struct lt_buffer again;

	*out = json_loadb(text, bytes, JSON_DECODE_ANY, &error);
	if (*out != NULL)
		return LEAT_OK;
	lt_buffer_init(&again, bytes * 2 + 16);
	quote_bare_keys(text, bytes, &again);
	int rc = lt_buffer_status(&again);
	if (rc == LEAT_OK) {
		*out = json_loadb(
		    (char *)again.p, again.bytes, JSON_DECODE_ANY, &error);
		rc = *out != NULL ? LEAT_OK : LEAT_E_CORRUPT;
	}
	lt_buffer_fini(&again);
	return rc;
}

static struct lt_remoting_text
text_of(const json_t *v)
{
	struct lt_remoting_text t = {
	    json_string_value(v), (uint32_t)json_string_length(v)};
	return t;
}

/* A whole number from 0 to most; absent: *out stays. */
static int
number(const json_t *object, const char *name, int64_t most, uint32_t *out)
{
	const json_t *v = json_object_get(object, name);

	if (v == NULL || json_is_null(v))
		return LEAT_OK;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    json_integer_value(v) > most)
		return LEAT_E_INVALID;
	*out = (uint32_t)json_integer_value(v);
	return LEAT_OK;
}

static int
version_of(const json_t *object, struct lt_data_version *out)
{
	*out = (struct lt_data_version){0};
	if (object == NULL || json_is_null(object))
		return LEAT_OK;
	if (!json_is_object(object))
		return LEAT_E_CORRUPT;
	out->state =
	    json_integer_value(json_object_get(object, "stateVersion"));
	out->timestamp =
	    json_integer_value(json_object_get(object, "timestamp"));
	out->counter = json_integer_value(json_object_get(object, "counter"));
	return LEAT_OK;
}

/* The four numbers of a TopicConfig or a QueueData. */
static int
queues_of(const json_t *object, struct lt_topic_queues *out)
{
	int rc;

	if (!json_is_object(object))
		return LEAT_E_CORRUPT;
	out->read = out->write = DEFAULT_QUEUES;
	out->perm = DEFAULT_PERM;
	out->sysflag = 0;
	if ((rc = number(object, "readQueueNums", LT_QUEUES_MAX, &out->read)) !=
		LEAT_OK ||
	    (rc = number(object, "writeQueueNums", LT_QUEUES_MAX,
		 &out->write)) != LEAT_OK ||
	    (rc = number(object, "perm", PERM_MAX, &out->perm)) != LEAT_OK)
		return rc;
	return number(object, "topicSysFlag", INT32_MAX, &out->sysflag);
}

static int
topics_of(json_t *table, uint32_t topics_max, struct lt_registration *out)
{
	size_t count = json_object_size(table);
	const char *key;
	json_t *value;

	if (table == NULL || json_is_null(table) || count == 0)
		return table == NULL || json_is_null(table) ||
			       json_is_object(table)
			   ? LEAT_OK
			   : LEAT_E_CORRUPT;
	if (count > topics_max)
		return LEAT_E_LIMIT;
	out->topics = lt_mem_array(count, sizeof(*out->topics));
	if (out->topics == NULL)
		return LEAT_E_NOMEM;
	json_object_foreach(table, key, value)
	{
		struct lt_topic_queues *t = &out->topics[out->topic_count];
		int rc = queues_of(value, t);

		if (rc != LEAT_OK)
			return rc;
		t->topic = text_of(json_object_get(value, "topicName"));
		if (t->topic.p == NULL)
			t->topic = (struct lt_remoting_text){
			    key, (uint32_t)strlen(key)};
		out->topic_count++;
	}
	return LEAT_OK;
}

int
lt_namesjson_registration(const void *text, size_t bytes, int bare,
    uint32_t topics_max, struct lt_registration *out)
{
	json_t *root, *topics;
	int rc = load(text, bytes, &root);

	if (rc != LEAT_OK)
		return rc;
	out->json = root;
	topics =
	    bare ? root : json_object_get(root, "topicConfigSerializeWrapper");
	if (!json_is_object(root) ||
	    (topics != NULL && !json_is_object(topics)))
		return LEAT_E_CORRUPT;
	rc = version_of(json_object_get(topics, "dataVersion"), &out->version);
	if (rc != LEAT_OK)
		return rc;
	return topics_of(
	    json_object_get(topics, "topicConfigTable"), topics_max, out);
}

int
lt_namesjson_version(
    const void *text, size_t bytes, struct lt_data_version *out)
{
	json_t *root;
	int rc = load(text, bytes, &root);

	if (rc != LEAT_OK)
		return rc;
	rc = json_is_object(root) ? version_of(root, out) : LEAT_E_CORRUPT;
	json_decref(root);
	return rc;
}

int
lt_namesjson_is_array(const void *text, size_t bytes)
{
	json_t *root;

	if (load(text, bytes, &root) != LEAT_OK)
		return 0;
	int is = json_is_array(root);
	json_decref(root);
	return is;
}

int
lt_namesjson_route(const void *text, size_t bytes,
    int (*each)(struct lt_remoting_text broker,
	const struct lt_topic_queues *queues, void *user),
    void *user)
{
	json_t *root, *list, *value;
	size_t i;
	int rc = load(text, bytes, &root);

	if (rc != LEAT_OK)
		return rc;
	list = json_object_get(root, "queueDatas");
	if (!json_is_object(root) || (list != NULL && !json_is_array(list)))
		rc = LEAT_E_CORRUPT;
	json_array_foreach(list, i, value)
	{
		struct lt_topic_queues queues = {.topic = {NULL, 0}};
		const json_t *name = json_object_get(value, "brokerName");

		if (rc == LEAT_OK)
			rc = queues_of(value, &queues);
		if (rc == LEAT_OK && !json_is_string(name))
			rc = LEAT_E_INVALID;
		if (rc == LEAT_OK)
			rc = each(text_of(name), &queues, user);
	}
	json_decref(root);
	return rc;
}

void
lt_namesjson_free(void *json)
{
	json_decref(json);
}

void
lt_namesjson_seed(void)
{
	json_object_seed(0); /* of the kernel's random numbers */
}
