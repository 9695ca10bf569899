/*
 * duty.c - what leat-store works on, opened: DIR/store, the log, the queues.
 * Nothing is read yet; recovery comes next. DIR/store is durable when this
 * returns, for what is durable in it has to be found again.
 */
#include "config.h"
#include "store/duty.h"

#include <errno.h>
#include <fcntl.h>

#include "base/sys.h"
#include "leat/status.h"

int
lt_duty_open(struct lt_duty *d)
{
	int status = lt_sys_mkdirs(d->dir, "store");

	if (status == LEAT_OK)
		status = lt_sys_sync_parent(d->dir, "store");
	if (status != LEAT_OK)
		return status;
	d->store_dir =
	    lt_sys.openat(d->dir, "store", O_RDONLY | O_DIRECTORY, 0);
	if (d->store_dir < 0)
		return lt_sys_status(errno);
	status = lt_commitlog_open(d->store_dir, &d->options, &d->log);
	if (status == LEAT_OK)
		status = lt_cq_set_open(d->store_dir, &d->queues);
	return status;
}
