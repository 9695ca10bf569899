/* message.h - the message that tests of clients publish: a body for topic "t".
 */
#ifndef TESTS_CLIENT_MESSAGE_H
#define TESTS_CLIENT_MESSAGE_H

#include <string.h>
#include "leat/leat.h"

static inline struct leat_message
message(const char *body)
{
	struct leat_message m = LEAT_MESSAGE_INIT;

	m.topic = "t";
	m.body = body;
	m.body_bytes = strlen(body);
	return m;
}

#endif
