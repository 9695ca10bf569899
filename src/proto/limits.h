/* limits.h - every fixed bound, and what happens at it. */
#ifndef LT_PROTO_LIMITS_H
#define LT_PROTO_LIMITS_H

#define LT_TOPIC_MAX 127 /* characters; system %RETRY%, %DLQ%: 255 */
#define LT_GROUP_MAX 120 /* characters */
#define LT_NAME_FIELD 256 /* fixed name field in messages, with NUL */
#define LT_MEMBER_FIELD 64
#define LT_PROPERTIES_MAX 32767 /* bytes, with the CRC property: refused */
#define LT_QUEUES_MAX 65536 /* queues of one topic: refused */
#define LT_TOPICS_MAX 65536 /* topics of a broker: refused */
#define LT_BODY_MAX (64u << 20) /* ceiling of max_body_bytes */
#define LT_RECORD_OVERHEAD 65536 /* record bytes beyond the body, at most */
#define LT_WIRE_MAX 65536 /* one admission or control message */
#define LT_SESSIONS_MAX 16384 /* refused with LIMIT */
#define LT_LANE_MIN 65536
#define LT_LANE_MAX (256u << 20)
#define LT_LEVELS_MAX 18 /* delay levels; larger ones are clamped */
#define LT_SETTING_TEXT_MAX 4096 /* bytes of a setting: refused */
#define LT_SETTINGS_MAX 131072 /* of all groups: refused */
#define LT_GRANTS_MAX 4096 /* grants in the log: refused */
#define LT_GROUP_WINDOW_MIN 64
#define LT_GROUP_WINDOW_MAX 65536

#endif
