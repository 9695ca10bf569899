/*
 * status.h - the one list of results.
 *
 * Every call that can fail returns LEAT_OK (0) or one of these negative codes.
 * LEAT_STATUS_LIST(X) expands X(symbol, value, retryable, text) per code, so
 * names, texts and tests come from here and nowhere else.
 */
#ifndef LEAT_STATUS_H
#define LEAT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#define LEAT_STATUS_LIST(X)                                                    \
	X(LEAT_OK, 0, 0, "ok")                                                 \
	X(LEAT_E_INVALID, -1, 0, "invalid argument")                           \
	X(LEAT_E_NOMEM, -2, 1, "out of memory")                                \
	X(LEAT_E_IO, -3, 0, "input/output error")                              \
	X(LEAT_E_CORRUPT, -4, 0, "damaged data")                               \
	X(LEAT_E_NOSPACE, -5, 1, "no space left")                              \
	X(LEAT_E_UNREACHABLE, -6, 1, "broker not reachable")                   \
	X(LEAT_E_DENIED, -7, 0, "not allowed")                                 \
	X(LEAT_E_NOTFOUND, -8, 0, "not found")                                 \
	X(LEAT_E_EXISTS, -9, 0, "already exists")                              \
	X(LEAT_E_TIMEOUT, -10, 1, "timed out")                                 \
	X(LEAT_E_AGAIN, -11, 1, "try again")                                   \
	X(LEAT_E_TOOBIG, -12, 0, "too big")                                    \
	X(LEAT_E_NAME, -13, 0, "illegal name")                                 \
	X(LEAT_E_QUEUE, -14, 0, "no such queue")                               \
	X(LEAT_E_VERSION, -15, 0, "wrong version")                             \
	X(LEAT_E_BUSY, -16, 1, "in use")                                       \
	X(LEAT_E_LEASE, -17, 0, "lease lost")                                  \
	X(LEAT_E_CLOSED, -18, 0, "closed")                                     \
	X(LEAT_E_LIMIT, -19, 0, "limit reached")                               \
	X(LEAT_E_PERM, -20, 0, "topic does not permit this")                   \
	X(LEAT_E_LAPPED, -21, 1, "overwritten by newer data")                  \
	X(LEAT_E_CONFIG, -22, 0, "configuration error")                        \
	X(LEAT_E_UNSUPPORTED, -23, 0, "not supported")                         \
	X(LEAT_E_END, -24, 0, "end of data")

enum leat_status {
#define LEAT_X(symbol, value, retryable, text) symbol = value,
	LEAT_STATUS_LIST(LEAT_X)
#undef LEAT_X
};

/* Text of a status, never NULL; an unknown code gives "unknown status". */
const char *leat_status_text(int status);
/* Symbol such as "LEAT_E_NOSPACE", never NULL. */
const char *leat_status_name(int status);
/* 1 if the same call may succeed later without anybody changing anything. */
int leat_status_retryable(int status);

#ifdef __cplusplus
}
#endif
#endif
