/*
 * remote.h - the remote twin of each public call: what libleat does when the
 * session is with a RocketMQ cluster (remote/). A public call hands over to its
 * twin where it finds that the handle is not a local session's; the twin says
 * INVALID if it is no remote one's either. So local calls pay nothing.
 */
#ifndef LT_CLIENT_REMOTE_H
#define LT_CLIENT_REMOTE_H

#include "client/client.h"

/* Does options or the environment name a server? Its text, else NULL. */
const char *lt_far_server(const struct leat_options *options);
int lt_far_connect(const struct leat_options *options, const char *server,
    struct leat *leat) LT_MUST_CHECK;
/* 1 if it was a remote session, and is gone. */
int lt_far_close(struct leat *leat);
/* What has no twin: UNSUPPORTED, which says where it is served. */
int lt_far_here_only(struct leat *leat, const char *what) LT_MUST_CHECK;
int lt_far_ping(struct leat *leat, int timeout_ms) LT_MUST_CHECK;
int lt_far_fd(struct leat *leat) LT_MUST_CHECK;
int lt_far_arm(struct leat *leat) LT_MUST_CHECK;

int lt_farflight_publish(struct leat *leat, const struct leat_message *message,
    int timeout_ms, struct leat_receipt *receipt) LT_MUST_CHECK;
int lt_farflight_publish_batch(struct leat *leat,
    const struct leat_message *messages, size_t count, int timeout_ms,
    struct leat_receipt *receipts) LT_MUST_CHECK;
int lt_farflight_submit(struct leat *leat, const struct leat_message *message,
    int timeout_ms, void *user) LT_MUST_CHECK;
int lt_farflight_reserve(struct leat *leat, const struct leat_message *message,
    size_t max_body_bytes, int timeout_ms, void **body_out) LT_MUST_CHECK;
int lt_farflight_commit(
    struct leat *leat, size_t body_bytes, void *user) LT_MUST_CHECK;
void lt_farflight_abort(struct leat *leat);
int lt_farflight_completions(struct leat *leat, struct leat_receipt *out,
    size_t max, int timeout_ms) LT_MUST_CHECK;
size_t lt_farflight_count(const struct leat *leat);
void lt_farflight_kick(struct leat *leat);
int lt_farflight_flush(struct leat *leat, int timeout_ms) LT_MUST_CHECK;

int lt_farintake_subscribe(struct leat *leat,
    const struct leat_subscription *subscription,
    struct leat_consumer **out) LT_MUST_CHECK;
void lt_farintake_unsubscribe(struct leat_consumer *c);
int lt_farintake_poll(struct leat_consumer *c, struct leat_delivery *out,
    size_t max, int timeout_ms) LT_MUST_CHECK;
enum lt_act {
	LT_ACT_ACK,
	LT_ACT_NACK,
	LT_ACT_EXTEND
};
int lt_farintake_act(struct leat_consumer *c,
    const struct leat_delivery *deliveries, size_t count,
    enum lt_act act) LT_MUST_CHECK;
int64_t lt_farintake_lease_ms(const struct leat_consumer *c);
int lt_farintake_at_end(struct leat_consumer *c) LT_MUST_CHECK;

int lt_fartopic_create(
    struct leat *leat, const struct leat_topic *topic) LT_MUST_CHECK;
int lt_fartopic_update(
    struct leat *leat, const struct leat_topic *topic, int force) LT_MUST_CHECK;
int lt_fartopic_delete(struct leat *leat, const char *name) LT_MUST_CHECK;
int lt_fartopic_describe(
    struct leat *leat, const char *name, struct leat_topic *out) LT_MUST_CHECK;
int lt_fartopic_list(struct leat *leat,
    int (*each)(const struct leat_topic *topic, void *user),
    void *user) LT_MUST_CHECK;
int lt_fartopic_range(struct leat *leat, const char *topic, uint32_t queue,
    struct leat_queue_range *out) LT_MUST_CHECK;

int lt_fargroup_describe(struct leat *leat, const char *group,
    int (*each)(const struct leat_group *entry, void *user),
    void *user) LT_MUST_CHECK;
int lt_fargroup_seek(struct leat *leat, const char *group, const char *topic,
    enum leat_from from, int64_t value, int apply,
    int (*each)(const struct leat_group *entry, void *user),
    void *user) LT_MUST_CHECK;
int lt_fargroup_delete(struct leat *leat, const char *group) LT_MUST_CHECK;

int lt_farfind_id(struct leat *leat, const char *topic, const char *id,
    int (*each)(const struct leat_delivery *, void *),
    void *user) LT_MUST_CHECK;
int lt_farfind_key(struct leat *leat, const char *topic, const char *key,
    size_t max, int (*each)(const struct leat_delivery *, void *),
    void *user) LT_MUST_CHECK;
int lt_farfind_offset(struct leat *leat, const char *topic, uint32_t queue,
    int64_t offset, int (*each)(const struct leat_delivery *, void *),
    void *user) LT_MUST_CHECK;
int lt_farfind_status(
    struct leat *leat, struct leat_status_report *out) LT_MUST_CHECK;

#endif
