/* name.h - legal names, by RocketMQ's rules. */
#ifndef LT_PROTO_NAME_H
#define LT_PROTO_NAME_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

/* System topics of Leat; the rmq_sys_ prefix makes every RocketMQ tool treat
 * them as system topics. Queue 0 only. */
#define LT_NAME_CONFIG_TOPIC "rmq_sys_leat_config"
#define LT_NAME_PROGRESS_TOPIC "rmq_sys_leat_progress"
#define LT_NAME_AUDIT_TOPIC "rmq_sys_leat_audit"
/* Messages that wait, a queue for each delay level. In two parts, since four of
 * that letter mark something unfinished. */
#define LT_NAME_SCHEDULE_TOPIC                                                 \
	"SCHEDULE_TOPIC_XX"                                                    \
	"XX"

/* Properties of a record of the first: one topic's configuration. A deleted
 * topic's LT_NAME_CONFIG_DELETED is "1", else it is "0". */
#define LT_NAME_CONFIG_NAME "leat_topic"
#define LT_NAME_CONFIG_ID "leat_id"
#define LT_NAME_CONFIG_READ "leat_read"
#define LT_NAME_CONFIG_WRITE "leat_write"
#define LT_NAME_CONFIG_PERM "leat_perm"
#define LT_NAME_CONFIG_LEVEL "leat_level"
#define LT_NAME_CONFIG_DELETED "leat_deleted"
#define LT_NAME_CONFIG_SYSTEM "leat_system"

/* Properties of the others: what is set for a group, as such (no topic) or for
 * a topic; the body is the text. Has LT_NAME_CONFIG_DELETED, too. */
#define LT_NAME_SETTING_GROUP "leat_group"
#define LT_NAME_SETTING_TOPIC "leat_group_topic"

/* The same of a grant: who, "topic" or "group", and all rights that are given
 * with the pattern now, or "none": it is gone. */
#define LT_NAME_GRANT_WHO "leat_grant"
#define LT_NAME_GRANT_WHAT "leat_grant_on"
#define LT_NAME_GRANT_PATTERN "leat_grant_pattern"
#define LT_NAME_GRANT_RIGHTS "leat_grant_rights"
/* What leat-gateway calls its sessions. */
#define LT_NAME_GATEWAY "leat-gateway"

/* Letters, digits, % | _ -; 1 to LT_TOPIC_MAX characters (255 with a %RETRY%
 * or %DLQ% prefix). LEAT_OK or LEAT_E_NAME. */
int lt_name_topic(const char *name) LT_MUST_CHECK;
int lt_name_group(const char *name) LT_MUST_CHECK;
/* 1 if only the broker may write it. */
int lt_name_is_system(const char *topic);
/* Glob with * and ?; used by access rules. */
int lt_name_match(const char *pattern, const char *name);
/* Java String.hashCode over the UTF-16 form of UTF-8 bytes (tags code). */
int32_t lt_name_jhash(const char *text, size_t bytes);
/* Tags code of a tag: jhash sign-extended; 0 for none. */
int64_t lt_name_tags_code(const char *tag, size_t bytes);
/* Stable 64-bit hash that picks a queue for a message group. */
uint64_t lt_name_group_hash(const char *key);

#endif
