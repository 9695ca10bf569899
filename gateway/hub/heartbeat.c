/*
 * heartbeat.c - what members send as JSON, with every text and count checked;
 * the only user of jansson in this room.
 *
 * C++ clients send enumerations as ordinals and versions as texts, and leave
 * out what is empty; Go's have no fingerprint, Node's no expression type. Tags
 * codes come from the text, so that they are what the store computes; from the
 * codes sent only if there is no text.
 */
#include "config.h"
#include "hub/heartbeat.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "base/mem.h"
#include "hub/tags.h"
#include "leat/status.h"
#include "proto/limits.h"
#include "proto/name.h"

static const char *const from_names[] = {"CONSUME_FROM_LAST_OFFSET",
    "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
    "CONSUME_FROM_MIN_OFFSET", "CONSUME_FROM_MAX_OFFSET",
    "CONSUME_FROM_FIRST_OFFSET", "CONSUME_FROM_TIMESTAMP"};
static const char *const type_names[] = {
    "CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP"};
static const char *const model_names[] = {"BROADCASTING", "CLUSTERING"};

const char *
lt_heartbeat_from_name(uint8_t from)
{
	return from_names[from < LT_COUNT(from_names) ? from : 0];
}

const char *
lt_heartbeat_type_name(uint8_t type)
{
	return type_names[type < LT_COUNT(type_names) ? type : 0];
}

const char *
lt_heartbeat_model_name(uint8_t model)
{
	return model_names[model < LT_COUNT(model_names) ? model : 0];
}

/* --- fields ----------------------------------------------------------------
 */

static int
load(const void *body, size_t bytes, json_t **out, const char **why_out)
{
	json_error_t error;

	*out = NULL;
	*why_out = "the body is larger than 1 MiB";
	if (bytes > LT_HEARTBEAT_BODY_MAX)
		return LEAT_E_TOOBIG;
	*why_out = "the body is no JSON object";
	*out = json_loadb(body, bytes, 0, &error);
	return json_is_object(*out) ? LEAT_OK : LEAT_E_CORRUPT;
}

static json_t *
field(const json_t *object, const char *name)
{
	json_t *v = json_object_get(object, name);

	return json_is_null(v) ? NULL : v;
}

/* A whole number, also as text or with a point; absent: 0. */
static int
number(const json_t *v, int64_t *out)
{
	*out = 0;
	if (v == NULL)
		return LEAT_OK;
	if (json_is_integer(v)) {
		*out = json_integer_value(v);
		return LEAT_OK;
	}
	if (json_is_real(v)) {
		double d = json_real_value(v);

		if (!(d > -9e18 && d < 9e18))
			return LEAT_E_INVALID;
		*out = (int64_t)d;
		return LEAT_OK;
	}
	if (!json_is_string(v))
		return LEAT_E_INVALID;
	const char *text = json_string_value(v);
	size_t digits = strspn(text + (text[0] == '-'), "0123456789");

	if (digits == 0 || digits > 18 ||
	    text[(text[0] == '-') + digits] != '\0')
		return LEAT_E_INVALID;
	*out = strtoll(text, NULL, 10);
	return LEAT_OK;
}

static uint8_t
truth(const json_t *v)
{
	return json_is_true(v) ||
	       (json_is_string(v) &&
		   strcasecmp(json_string_value(v), "true") == 0);
}

static uint8_t
choice(
    const json_t *v, const char *const *names, size_t count, uint8_t fallback)
{
	if (json_is_integer(v) && json_integer_value(v) >= 0 &&
	    json_integer_value(v) < (json_int_t)count)
		return (uint8_t)json_integer_value(v);
	for (size_t i = 0; json_is_string(v) && i < count; i++)
		if (strcasecmp(json_string_value(v), names[i]) == 0)
			return (uint8_t)i;
	return fallback;
}

/* A list that may be absent. */
static int
list_of(const json_t *object, const char *name, size_t most, json_t **out)
{
	*out = field(object, name);
	if (*out != NULL && !json_is_array(*out))
		return LEAT_E_CORRUPT;
	return json_array_size(*out) > most ? LEAT_E_LIMIT : LEAT_OK;
}

static const char *
group_of(const json_t *object, const char *name)
{
	const char *group = json_string_value(json_object_get(object, name));

	return lt_name_group(group) == LEAT_OK ? group : NULL;
}

static const char *
topic_of(const json_t *object)
{
	const char *topic = json_string_value(json_object_get(object, "topic"));

	return lt_name_topic(topic) == LEAT_OK ? topic : NULL;
}

/* Not empty, no control characters, not too long. */
static const char *
client_id_of(const json_t *object, const char *name)
{
	const char *id = json_string_value(json_object_get(object, name));
	size_t n = 0;

	if (id == NULL)
		return NULL;
	while ((uint8_t)id[n] >= ' ' && id[n] != 0x7f)
		n++;
	return id[n] == '\0' && n > 0 && n <= LT_HEARTBEAT_ID_MAX ? id : NULL;
}

/* --- a heartbeat -----------------------------------------------------------
 */

static int
codes_of(
    const json_t *object, struct lt_heartbeat_sub *sub, struct lt_tags *tags)
{
	json_t *list, *code;
	size_t i;
	int rc;

	if (sub->text != NULL)
		return lt_tags_parse(sub->text, strlen(sub->text), tags);
	rc = list_of(object, "codeSet", LT_TAGS_MAX, &list);
	json_array_foreach(list, i, code)
	{
		int64_t value = 0;

		if (rc == LEAT_OK)
			rc = number(code, &value);
		if (rc == LEAT_OK)
			rc = lt_tags_add(tags, value);
	}
	return rc;
}

static int
sub_of(const json_t *object, struct lt_heartbeat_sub *sub, const char **why_out)
{
	const json_t *text = field(object, "subString");
	const json_t *expression = field(object, "expressionType");
	struct lt_tags tags;
	int rc;

	tags.count = 0;
	*why_out = "a subscription's topic is no legal name";
	if ((sub->topic = topic_of(object)) == NULL)
		return LEAT_E_NAME;
	*why_out = "a subscription's text, version or codes";
	sub->text = json_string_value(text);
	sub->expression =
	    expression == NULL ? "TAG" : json_string_value(expression);
	if ((text != NULL && sub->text == NULL) || sub->expression == NULL ||
	    number(field(object, "subVersion"), &sub->version) != LEAT_OK)
		return LEAT_E_INVALID;
	if (json_string_length(text) > LT_HEARTBEAT_TEXT_MAX ||
	    strlen(sub->expression) >= LT_NAME_FIELD)
		return LEAT_E_LIMIT;
	sub->is_class_filter = truth(field(object, "classFilterMode"));
	if (sub->expression[0] == '\0')
		sub->expression = "TAG";
	if (strcmp(sub->expression, "TAG") != 0 || sub->is_class_filter)
		return LEAT_OK;
	rc = codes_of(object, sub, &tags);
	if (rc != LEAT_OK || tags.count == 0)
		return rc;
	sub->codes = lt_mem_array(tags.count, sizeof *sub->codes);
	if (sub->codes == NULL)
		return LEAT_E_NOMEM;
	memcpy(sub->codes, tags.codes, tags.count * sizeof *sub->codes);
	sub->code_count = tags.count;
	return LEAT_OK;
}

static int
consumer_of(
    const json_t *object, struct lt_heartbeat_consumer *c, const char **why_out)
{
	json_t *list, *value;
	size_t i;
	int rc;

	*why_out = "a consumer's group is no legal name";
	if ((c->group = group_of(object, "groupName")) == NULL)
		return LEAT_E_NAME;
	c->from = choice(field(object, "consumeFromWhere"), from_names,
	    LT_COUNT(from_names), LT_HEARTBEAT_FROM_LAST);
	c->type = choice(field(object, "consumeType"), type_names,
	    LT_COUNT(type_names), LT_HEARTBEAT_PASSIVELY);
	c->model = choice(field(object, "messageModel"), model_names,
	    LT_COUNT(model_names), LT_HEARTBEAT_CLUSTERING);
	c->is_unit = truth(field(object, "unitMode"));
	*why_out = "subscriptionDataSet is no list, or too long";
	rc = list_of(
	    object, "subscriptionDataSet", LT_HEARTBEAT_SUBS_MAX, &list);
	if (rc != LEAT_OK || json_array_size(list) == 0)
		return rc;
	c->subs = lt_mem_array(json_array_size(list), sizeof *c->subs);
	if (c->subs == NULL)
		return LEAT_E_NOMEM;
	json_array_foreach(list, i, value)
	{
		c->sub_count++;
		rc = sub_of(value, &c->subs[i], why_out);
		if (rc != LEAT_OK)
			return rc;
	}
	return LEAT_OK;
}

static int
consumers_of(const json_t *root, struct lt_heartbeat *out, const char **why_out)
{
	json_t *list, *value;
	size_t i;
	int rc =
	    list_of(root, "consumerDataSet", LT_HEARTBEAT_GROUPS_MAX, &list);

	*why_out = "consumerDataSet is no list, or too long";
	if (rc != LEAT_OK || json_array_size(list) == 0)
		return rc;
	out->consumers =
	    lt_mem_array(json_array_size(list), sizeof *out->consumers);
	if (out->consumers == NULL)
		return LEAT_E_NOMEM;
	json_array_foreach(list, i, value)
	{
		out->consumer_count++;
		rc = consumer_of(value, &out->consumers[i], why_out);
		if (rc != LEAT_OK)
			return rc;
	}
	return LEAT_OK;
}

static int
producers_of(const json_t *root, struct lt_heartbeat *out, const char **why_out)
{
	json_t *list, *value;
	size_t i;
	int rc =
	    list_of(root, "producerDataSet", LT_HEARTBEAT_GROUPS_MAX, &list);

	*why_out = "producerDataSet is no list, or too long";
	if (rc != LEAT_OK || json_array_size(list) == 0)
		return rc;
	out->producers =
	    lt_mem_array(json_array_size(list), sizeof *out->producers);
	if (out->producers == NULL)
		return LEAT_E_NOMEM;
	*why_out = "a producer's group is no legal name";
	json_array_foreach(list, i, value)
	{
		const char *group = group_of(value, "groupName");

		if (group == NULL)
			return LEAT_E_NAME;
		out->producers[out->producer_count++] = group;
	}
	return LEAT_OK;
}

int
lt_heartbeat_read(const void *body, size_t bytes, struct lt_heartbeat *out,
    const char **why_out)
{
	json_t *root;
	int64_t fingerprint;
	int rc;

	*out = (struct lt_heartbeat){0};
	rc = load(body, bytes, &root, why_out);
	out->json = root;
	if (rc != LEAT_OK)
		goto out;
	*why_out = "clientID is missing, not printable or too long";
	out->client_id = client_id_of(root, "clientID");
	rc = out->client_id == NULL ? LEAT_E_INVALID : LEAT_OK;
	if (rc != LEAT_OK)
		goto out;
	*why_out = "heartbeatFingerprint is no number";
	rc = number(field(root, "heartbeatFingerprint"), &fingerprint);
	out->fingerprint = (int32_t)fingerprint;
	out->without_sub = truth(field(root, "withoutSub"));
	if (rc == LEAT_OK)
		rc = consumers_of(root, out, why_out);
	if (rc == LEAT_OK)
		rc = producers_of(root, out, why_out);
out:
	if (rc != LEAT_OK)
		lt_heartbeat_free(out);
	else
		*why_out = "";
	return rc;
}

void
lt_heartbeat_free(struct lt_heartbeat *h)
{
	for (uint32_t i = 0; i < h->consumer_count; i++) {
		struct lt_heartbeat_consumer *c = &h->consumers[i];

		for (uint32_t j = 0; j < c->sub_count; j++)
			lt_mem_free(c->subs[j].codes);
		lt_mem_free(c->subs);
	}
	lt_mem_free(h->consumers);
	lt_mem_free(h->producers);
	json_decref(h->json);
	*h = (struct lt_heartbeat){0};
}

/* --- queues to lock --------------------------------------------------------
 */

static int
queue_of(const json_t *object, struct lt_heartbeat_queue *q)
{
	const json_t *broker = field(object, "brokerName");
	int64_t queue;

	q->topic = topic_of(object);
	if (q->topic == NULL)
		return LEAT_E_NAME;
	q->broker = broker == NULL ? "" : json_string_value(broker);
	if (q->broker == NULL || field(object, "queueId") == NULL ||
	    number(field(object, "queueId"), &queue) != LEAT_OK || queue < 0 ||
	    queue >= LT_QUEUES_MAX)
		return LEAT_E_INVALID;
	q->queue = (uint32_t)queue;
	return LEAT_OK;
}

int
lt_heartbeat_locks_read(const void *body, size_t bytes,
    struct lt_heartbeat_locks *out, const char **why_out)
{
	json_t *root, *list, *value;
	size_t i;
	int rc;

	*out = (struct lt_heartbeat_locks){0};
	rc = load(body, bytes, &root, why_out);
	out->json = root;
	if (rc != LEAT_OK)
		goto out;
	*why_out = "consumerGroup is no legal name";
	out->group = group_of(root, "consumerGroup");
	rc = out->group == NULL ? LEAT_E_NAME : LEAT_OK;
	if (rc != LEAT_OK)
		goto out;
	*why_out = "clientId is missing, not printable or too long";
	out->client_id = client_id_of(root, "clientId");
	rc = out->client_id == NULL ? LEAT_E_INVALID : LEAT_OK;
	if (rc != LEAT_OK)
		goto out;
	*why_out = "mqSet is no list, or too long";
	rc = list_of(root, "mqSet", LT_HEARTBEAT_QUEUES_MAX, &list);
	if (rc != LEAT_OK || json_array_size(list) == 0)
		goto out;
	out->queues = lt_mem_array(json_array_size(list), sizeof *out->queues);
	rc = out->queues == NULL ? LEAT_E_NOMEM : LEAT_OK;
	if (rc != LEAT_OK)
		goto out;
	*why_out = "a queue's topic, broker or number";
	json_array_foreach(list, i, value)
	{
		rc = queue_of(value, &out->queues[i]);
		if (rc != LEAT_OK)
			goto out;
		out->count++;
	}
out:
	if (rc != LEAT_OK)
		lt_heartbeat_locks_free(out);
	else
		*why_out = "";
	return rc;
}

void
lt_heartbeat_locks_free(struct lt_heartbeat_locks *locks)
{
	lt_mem_free(locks->queues);
	json_decref(locks->json);
	*locks = (struct lt_heartbeat_locks){0};
}
