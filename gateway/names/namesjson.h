/*
 * namesjson.h - the JSON bodies that come to a name server. Door of this room
 * to jansson; what is written needs no library (bodies.c).
 *
 * Java's serializer writes maps with number keys as {0:"a"}, which is no JSON:
 * such keys are quoted and the text is read once more.
 */
#ifndef LT_GATEWAY_NAMES_NAMESJSON_H
#define LT_GATEWAY_NAMES_NAMESJSON_H

#include "names/registration.h"

/* Version and topics of a registration's body; `bare`: of a broker so old that
 * the body is only the topics' part. out->json holds the texts. LEAT_OK,
 * LEAT_E_CORRUPT, LEAT_E_INVALID (a field's value), LEAT_E_LIMIT or
 * LEAT_E_NOMEM. */
int lt_namesjson_registration(const void *text, size_t bytes, int bare,
    uint32_t topics_max, struct lt_registration *out) LT_MUST_CHECK;
/* A DataVersion: LEAT_OK, LEAT_E_CORRUPT or LEAT_E_NOMEM. */
int lt_namesjson_version(
    const void *text, size_t bytes, struct lt_data_version *out) LT_MUST_CHECK;
/* Is it a JSON array? (what we do not use of a compressed body) */
int lt_namesjson_is_array(const void *text, size_t bytes);

/* A topic's route, as a broker sends it: each entry of queueDatas goes to
 * `each` with the broker's name; a negative answer ends it and is returned. */
int lt_namesjson_route(const void *text, size_t bytes,
    int (*each)(struct lt_remoting_text broker,
	const struct lt_topic_queues *queues, void *user),
    void *user) LT_MUST_CHECK;

/* Once per process, before its sandbox: hash keys for all of jansson. */
void lt_namesjson_seed(void);
void lt_namesjson_free(void *json);

#endif
