/*
 * schedule.h - messages that wait for their time: RocketMQ's delay levels.
 */
#ifndef LT_QUEUE_SCHEDULE_H
#define LT_QUEUE_SCHEDULE_H

#include <stdint.h>

struct lt_manager;
struct lt_topic;

/* The topic as it is made when it is used first; its id is 0. */
void lt_schedule_topic(struct lt_topic *out);
/* The store is up and the topics are known, or the topic was made just now. */
void lt_schedule_up(struct lt_manager *m);
void lt_schedule_store_gone(struct lt_manager *m);
void lt_schedule_fini(struct lt_manager *m);
/* Deliver what is due, a bounded number at a time. */
void lt_schedule_timer(struct lt_manager *m, uint64_t now_ms);
/* ms until the next thing to do, -1: nothing. */
int lt_schedule_timeout(const struct lt_manager *m, uint64_t now_ms);

#endif
