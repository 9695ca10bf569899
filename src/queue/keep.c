/*
 * keep.c - tell the supervisor which segments to keep for our successor. A
 * message that was sent survives our death in the supervisor's socket.
 */
#include "config.h"
#include "queue/queue.h"

#include <string.h>

#include "base/sys.h"

static void
send_keep(struct lt_manager *m, enum lt_op op, enum lt_keep kind, uint64_t id,
    const void *blob, size_t blob_bytes, const int *fds, size_t fd_count)
{
	struct lt_wire_keep msg;

	LT_ASSERT(blob_bytes <= sizeof(msg.blob));
	memset(&msg, 0, sizeof(msg));
	lt_wire_init(&msg.h, op, sizeof(msg), 0, 0);
	msg.kind = kind;
	msg.id = id;
	msg.blob_bytes = (uint32_t)blob_bytes;
	if (blob_bytes > 0)
		memcpy(msg.blob, blob, blob_bytes);
	if (lt_port_send(&m->supervisor, &msg, sizeof(msg), fds, fd_count) !=
	    LEAT_OK)
		lt_manager_fatal("supervisor does not take messages");
}

void
lt_keep_put(struct lt_manager *m, enum lt_keep kind, uint64_t id,
    const void *blob, size_t blob_bytes, const int *fds, size_t fd_count)
{
	(void)lt_failpoint(LT_FP_QUEUE_KEEP);
	send_keep(m, LT_OP_SUP_KEEP, kind, id, blob, blob_bytes, fds, fd_count);
}

void
lt_keep_drop(struct lt_manager *m, enum lt_keep kind, uint64_t id)
{
	send_keep(m, LT_OP_SUP_DROP, kind, id, NULL, 0, NULL, 0);
}
