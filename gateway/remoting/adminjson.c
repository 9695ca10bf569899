/*
 * adminjson.c - read leniently, as Java reads them: numbers may be texts,
 * unknown fields are skipped. The only user of jansson in this room.
 */
#include "config.h"
#include "remoting/adminjson.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "leat/status.h"

static json_t *
load(const void *body, size_t bytes)
{
	json_error_t error;
	json_t *v;

	if (bytes == 0 || bytes > LT_ADMINJSON_MAX)
		return NULL;
	v = json_loadb(body, bytes, 0, &error);
	if (json_is_object(v))
		return v;
	json_decref(v);
	return NULL;
}

static int64_t
number(const json_t *object, const char *name, int64_t def)
{
	const json_t *v = json_object_get(object, name);

	if (json_is_string(v))
		return strtoll(json_string_value(v), NULL, 10);
	return json_is_integer(v) ? (int64_t)json_integer_value(v) : def;
}

static int32_t
small(const json_t *object, const char *name, int32_t def)
{
	int64_t v = number(object, name, def);

	return v < INT32_MIN || v > INT32_MAX ? def : (int32_t)v;
}

static uint8_t
truth(const json_t *object, const char *name, uint8_t def)
{
	const json_t *v = json_object_get(object, name);

	return json_is_boolean(v) ? json_is_true(v) : def;
}

int
lt_adminjson_filter_type(
    const void *body, size_t bytes, char *out, size_t out_bytes)
{
	json_t *v = load(body, bytes);
	const char *type = json_string_value(json_object_get(
	    json_object_get(v, "subscriptionData"), "expressionType"));
	int status = v == NULL ? LEAT_E_CORRUPT : LEAT_OK;

	out[0] = '\0';
	if (type != NULL)
		strncat(out, type, out_bytes - 1);
	json_decref(v);
	return status;
}

/* As it is written, if it fits; NULL: the default. */
static int
piece(const json_t *v, char out[LT_GROUPTEXT_PIECE])
{
	char text[LT_GROUPTEXT_PIECE];
	size_t n;

	if (v == NULL || json_is_null(v))
		return LEAT_OK;
	if (!json_is_object(v))
		return LEAT_E_INVALID;
	n = json_dumpb(v, text, sizeof text, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (n == 0 || n >= sizeof text)
		return LEAT_E_TOOBIG;
	memset(out, 0, LT_GROUPTEXT_PIECE);
	memcpy(out, text, n);
	return LEAT_OK;
}

/* Attributes are changes of those before: "+name" sets, "-name" takes away. */
static int
alter(const json_t *changes, const char *before, char out[LT_GROUPTEXT_PIECE])
{
	json_error_t error;
	json_t *all = json_loads(before, 0, &error);
	const char *name;
	json_t *value;
	int status = all == NULL ? LEAT_E_NOMEM : LEAT_OK;

	json_object_foreach((json_t *)changes, name, value)
	{
		if (status != LEAT_OK)
			break;
		if (name[0] == '+' && name[1] != '\0' &&
		    json_is_string(value)) {
			if (json_object_set(all, name + 1, value) != 0)
				status = LEAT_E_NOMEM;
		} else if (name[0] != '-' ||
			   json_object_del(all, name + 1) != 0)
			status = LEAT_E_INVALID;
	}
	if (status == LEAT_OK)
		status = piece(all, out);
	json_decref(all);
	return status;
}

static int
read_pieces(
    const json_t *v, struct lt_groups *groups, struct lt_groups_config *c)
{
	struct lt_groups_config before = *c;
	int status =
	    piece(json_object_get(v, "groupRetryPolicy"), c->retry_policy);

	(void)lt_groups_get(groups,
	    (struct lt_remoting_text){c->name, (uint32_t)strlen(c->name)},
	    &before);
	if (status == LEAT_OK)
		status = alter(json_object_get(v, "attributes"),
		    before.attributes, c->attributes);
	return status;
}

static int
read_group(
    const json_t *v, struct lt_groups *groups, struct lt_groups_config *c)
{
	const json_t *name = json_object_get(v, "groupName");

	if (!json_is_string(name) ||
	    lt_grouptext_default(c, json_string_value(name),
		json_string_length(name)) != LEAT_OK)
		return LEAT_E_NAME;
#define NAME(field, member)
#define PIECE(field, member)
#define TRUTH(field, member) c->member = truth(v, field, c->member);
#define SMALL(field, member) c->member = small(v, field, c->member);
#define WIDE(field, member) c->member = number(v, field, c->member);
#define X(field, kind, member) kind(field, member)
	LT_GROUPTEXT_FIELDS(X)
#undef X
#undef WIDE
#undef SMALL
#undef TRUTH
#undef PIECE
#undef NAME
	return read_pieces(v, groups, c);
}

int
lt_adminjson_groups(const void *body, size_t bytes, int is_list,
    struct lt_groups *groups,
    int (*each)(const struct lt_groups_config *config, void *user), void *user)
{
	json_t *v = load(body, bytes), *list = v;
	struct lt_groups_config config;
	size_t count = 1;
	int status = LEAT_OK;

	if (v != NULL && is_list) {
		list = json_object_get(v, "groupConfigList");
		count = json_array_size(list);
	}
	if (v == NULL || list == NULL)
		status = LEAT_E_CORRUPT;
	for (size_t i = 0; status == LEAT_OK && i < count; i++) {
		status = read_group(
		    is_list ? json_array_get(list, i) : v, groups, &config);
		if (status == LEAT_OK)
			status = each(&config, user);
	}
	json_decref(v);
	return status;
}

static void
read_topic(const json_t *v, struct leat_topic *t)
{
	const char *name = json_string_value(json_object_get(v, "topicName"));
	int32_t read = small(v, "readQueueNums", 16);
	int32_t write = small(v, "writeQueueNums", 16);

	memset(t, 0, sizeof *t);
	if (name != NULL && strlen(name) < sizeof t->name)
		memcpy(t->name, name, strlen(name));
	t->read_queues = read < 0 ? 0 : (uint32_t)read;
	t->write_queues = write < 0 ? 0 : (uint32_t)write;
	t->perm = (uint32_t)small(v, "perm", LEAT_PERM_BOTH);
}

int
lt_adminjson_topics(const void *body, size_t bytes,
    int (*each)(const struct leat_topic *topic, void *user), void *user)
{
	json_t *v = load(body, bytes);
	const json_t *list = json_object_get(v, "topicConfigList");
	int status = json_is_array(list) ? LEAT_OK : LEAT_E_CORRUPT;
	struct leat_topic topic;

	for (size_t i = 0; status == LEAT_OK && i < json_array_size(list);
	     i++) {
		read_topic(json_array_get(list, i), &topic);
		status = each(&topic, user);
	}
	json_decref(v);
	return status;
}

static int
text(const json_t *object, const char *name, char *out, size_t room)
{
	const char *v = json_string_value(json_object_get(object, name));
	size_t n = v != NULL ? strlen(v) : 0;

	out[0] = '\0';
	if (n >= room)
		return LEAT_E_NAME;
	if (n > 0)
		memcpy(out, v, n + 1);
	return LEAT_OK;
}

int
lt_adminjson_assignment(
    const void *body, size_t bytes, struct lt_adminjson_assignment *out)
{
	json_t *v = load(body, bytes);
	int status = v == NULL ? LEAT_E_CORRUPT : LEAT_OK;

	memset(out, 0, sizeof *out);
#define TEXT(name, field)                                                      \
	if (status == LEAT_OK)                                                 \
	status = text(v, name, out->field, sizeof out->field)
	TEXT("topic", topic);
	TEXT("consumerGroup", group);
	TEXT("clientId", client);
	TEXT("strategyName", strategy);
	TEXT("messageModel", model);
	TEXT("mode", mode);
#undef TEXT
	out->share = small(v, "popShareQueueNum", 0);
	json_decref(v);
	return status;
}

int
lt_adminjson_acks(const void *body, size_t bytes,
    void (*each)(const struct lt_adminjson_ack *ack, void *user), void *user,
    size_t *count_out)
{
	json_t *v = load(body, bytes);
	const json_t *list = json_object_get(v, "acks"), *a;
	int status = v == NULL ? LEAT_E_CORRUPT : LEAT_OK;

	*count_out = json_array_size(list);
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct lt_adminjson_ack ack;

		a = json_array_get(list, i);
		ack.group = json_string_value(json_object_get(a, "c"));
		ack.topic = json_string_value(json_object_get(a, "t"));
		ack.bits = json_string_value(json_object_get(a, "b"));
		ack.queue = small(a, "q", -1);
		ack.start_offset = number(a, "so", -1);
		ack.pop_ms = number(a, "pt", -1);
		if (ack.group != NULL && strlen(ack.group) < LT_NAME_FIELD &&
		    ack.topic != NULL && strlen(ack.topic) < LT_NAME_FIELD &&
		    ack.bits != NULL && ack.queue >= 0)
			each(&ack, user);
	}
	json_decref(v);
	return status;
}
