/*
 * mqkeys.h - maps keyed by queues, as brokers of this protocol write them: the
 * key is a bare object, which is no JSON, without white space. Any thread.
 */
#ifndef LT_REMOTING_MQKEYS_H
#define LT_REMOTING_MQKEYS_H

#include <inttypes.h>
#include <string.h>
#include "base/buffer.h"
#include "remoting/worker.h"

static inline void
lt_mqkeys_put(struct lt_buffer *out, const struct lt_gateway *g,
    const char *topic, uint32_t queue)
{
	lt_buffer_text(out, "{\"brokerName\":");
	lt_buffer_quote(out, g->broker_name, strlen(g->broker_name));
	lt_buffer_format(out, ",\"queueId\":%" PRIu32 ",\"topic\":", queue);
	lt_buffer_quote(out, topic, strlen(topic));
	lt_buffer_text(out, "}");
}

#endif
