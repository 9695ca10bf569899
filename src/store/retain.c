/*
 * retain.c - which segments go. Oldest first and never past one that must
 * stay: the current one, one that the broker's own state reaches into, one
 * that is neither expired nor beyond the size limit. A full disk is reported,
 * it does not make anything unexpired go. Called by the store's one thread.
 */
#include "config.h"
#include "store/retain.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "leat/status.h"

#define HOUR_MS 3600000
#define DROPS_MAX 8 /* of one call */
#define DROPS_URGENT 64 /* of one call, above disk_expire_percent */

/* Use of the file system as df has it: what only root may use is not there. */
static int
disk_use(int store_dir, struct lt_retain_result *out)
{
	struct statvfs st;

	if (lt_sys.fstatvfs(store_dir, &st) != 0)
		return lt_sys_status(errno);
	uint64_t used = st.f_blocks - st.f_bfree;
	uint64_t all = used + st.f_bavail;
	out->disk_free = (uint64_t)st.f_bavail * st.f_frsize;
	out->disk_percent =
	    all == 0 ? 0 : (uint32_t)((used * 100 + all - 1) / all);
	return LEAT_OK;
}

static int
is_due(struct lt_commitlog *log, const struct lt_options *o,
    const struct lt_commitlog_segment *s, int64_t now_ms)
{
	uint64_t size = lt_commitlog_end(log) - lt_commitlog_min(log);

	if (o->store_retain_bytes != 0 && size > o->store_retain_bytes)
		return 1;
	if (o->store_retain_hours == 0 || s->last_ms == 0)
		return 0;
	int64_t keep_ms = (int64_t)o->store_retain_hours * HOUR_MS;
	return s->last_ms < now_ms - keep_ms;
}

/* Drop the oldest segment if it may go. LEAT_E_END: it stays. */
static int
drop_one(struct lt_commitlog *log, const struct lt_options *o, int64_t now_ms,
    uint64_t system_min)
{
	struct lt_commitlog_segment s;
	int rc = lt_commitlog_segment_at(log, 0, &s);

	if (rc != LEAT_OK)
		return rc;
	if (s.base + s.bytes > lt_commitlog_end(log) ||
	    s.base + s.bytes > system_min || !is_due(log, o, &s, now_ms))
		return LEAT_E_END;
	return lt_commitlog_drop_oldest(log);
}

int
lt_retain_run(struct lt_commitlog *log, struct lt_cq_set *queues,
    const struct lt_options *o, int64_t now_ms, uint64_t system_min,
    int store_dir, struct lt_retain_result *out)
{
	*out = (struct lt_retain_result){0};
	int rc = disk_use(store_dir, out);
	if (rc != LEAT_OK)
		return rc;
	uint32_t most = out->disk_percent > o->store_disk_expire_percent
			    ? DROPS_URGENT
			    : DROPS_MAX;
	while (rc == LEAT_OK && out->dropped < most) {
		rc = drop_one(log, o, now_ms, system_min);
		if (rc == LEAT_OK)
			out->dropped++;
	}
	if (rc == LEAT_E_END)
		rc = LEAT_OK;
	if (out->dropped > 0) {
		lt_log_info("log.retain", "dropped=%u log_min=%ju",
		    out->dropped, (uintmax_t)lt_commitlog_min(log));
		int trim = lt_cq_trim(queues, lt_commitlog_min(log));
		if (rc == LEAT_OK)
			rc = trim;
		int use = disk_use(store_dir, out);
		if (rc == LEAT_OK)
			rc = use;
	}
	out->disk_full = out->disk_percent > o->store_disk_full_percent;
	return rc;
}
