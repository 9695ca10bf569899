/*
 * recover.c - bring a store that stopped anyhow to a state to go on from.
 *
 *   1. Choose where to begin: at the snapshot's log offset if the log holds
 *      what the snapshot was made of, else at the log's beginning. A snapshot
 *      that cannot be relied on is removed first, so that it cannot seem right
 *      again once the log has grown.
 *   2. Pass over the log from there (scan.c).
 *   3. Set the log's end behind the last valid record (commitlog.c makes what
 *      is behind it zeroes).
 *   4. Sweep: queue files hold nothing at or above a queue's next offset. A
 *      power cut may have kept entries of messages that the log lost; read as
 *      entries of later messages they would hide those.
 *
 * A crash in between is harmless: nothing that recovery writes is read by the
 * next one before it is written again.
 */
#include "config.h"
#include "store/recover.h"

#include <string.h>

#include "leat/status.h"
#include "store/derive.h"
#include "store/reader.h"

int
lt_recover_run(int store_dir, struct lt_commitlog *log,
    struct lt_cq_set *queues, struct lt_recovered *out,
    void (*progress)(unsigned percent, void *user), void *user)
{
	struct lt_derive_config config = {
	    .store_dir = store_dir,
	    .queues = queues,
	    .progress = progress,
	    .user = user,
	};
	int rc;

	memset(out, 0, sizeof(*out));
	rc = lt_reader_open(store_dir, &config.reader);
	if (rc != LEAT_OK)
		return rc;
	rc = lt_derive_all(&config, out);
	lt_reader_close(config.reader);
	if (rc == LEAT_OK)
		rc = lt_commitlog_set_end(log, out->log_end);
	if (rc == LEAT_OK)
		rc = lt_derive_sweep(store_dir, queues);
	if (rc != LEAT_OK)
		lt_recovered_fini(out);
	return rc;
}
