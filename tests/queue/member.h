/*
 * member.h - what tests of groups share: one client, a topic "t" of two queues,
 * and the claiming that libleat does.
 */
#ifndef LT_TESTS_QUEUE_MEMBER_H
#define LT_TESTS_QUEUE_MEMBER_H

#include <stdint.h>
#include "play.h"

extern struct play_client member_client;

/* cmocka's setup and teardown: broker up, client connected, topic there. */
int member_setup(void **state);
int member_teardown(void **state);
/* The whole broker dies and is started again; member_client is a new one. */
void member_restart_broker(void);
void member_connect_client(struct play_client *client);
/* n messages to queue 0. */
void member_publish(int n);
int member_join(
    struct play_client *client, struct play_sub *sub, const char *group);
/* As lt_table_claim(), at the played time. */
int member_claim(struct play_sub *sub, int64_t offset, uint32_t *attempt);
/* Claim and acknowledge [from, to). */
void member_consume(struct play_sub *sub, int64_t from, int64_t to);
/* First entry of the list; "": of all groups. */
const struct lt_wire_group_entry *member_listed(
    const char *group, uint32_t *count_out);
int64_t member_progress_of(const char *group);
int member_seek(
    const char *group, uint32_t from, int64_t value, uint32_t apply);
int member_delete_group(const char *group);

#endif
