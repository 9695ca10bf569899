/*
 * derive.h - the parts of recovery that rebuild shares. Private.
 */
#ifndef LT_STORE_DERIVE_H
#define LT_STORE_DERIVE_H

#include "base/check.h"
#include "store/consumequeue.h"
#include "store/reader.h"
#include "store/recover.h"

struct lt_derive_config {
	int store_dir;
	struct lt_reader *reader;
	struct lt_cq_set *queues; /* fresh */
	void (*progress)(unsigned percent, void *user);
	void (*report)(void *user, const char *line);
	void *user;
};

/* What a queue that the log has nothing of any more begins with, from its own
 * files: the offset behind the last entry below log_min. */
int lt_derive_seed(
    int store_dir, struct lt_cq_set *queues, uint64_t log_min) LT_MUST_CHECK;
/* From the snapshot if it can be relied on (else it is removed), or from the
 * log's beginning: put into queues what the log has. Does not write the log. */
int lt_derive_all(const struct lt_derive_config *config,
    struct lt_recovered *out) LT_MUST_CHECK;
/* Remove from the queue files what the queues do not have. */
int lt_derive_sweep(int store_dir, struct lt_cq_set *queues) LT_MUST_CHECK;

#endif
