/* notify.h - tell the service manager how we do (the sd_notify datagrams). */
#ifndef LT_SUPERVISOR_NOTIFY_H
#define LT_SUPERVISOR_NOTIFY_H

#include "base/check.h"

/* Remember NOTIFY_SOCKET and take it out of the environment. 1: somebody
 * listens. */
int lt_notify_init(void);
/* One datagram of NAME=VALUE lines; nothing without a listener. Never blocks,
 * never fails visibly: the manager's own time-outs are the safety net. */
void lt_notify_send(const char *fmt, ...) LT_PRINTF(1, 2);

#endif
