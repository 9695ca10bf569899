/*
 * check.h - assertions that stay on in release, and compiler helpers.
 *
 * LT_ASSERT is for our own bugs only; bytes from disk, shared memory or the
 * network are validated and give a status, never an assertion.
 */
#ifndef LT_BASE_CHECK_H
#define LT_BASE_CHECK_H

#define LT_NORETURN __attribute__((noreturn))
#define LT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define LT_MUST_CHECK __attribute__((warn_unused_result))
#define LT_LIKELY(x) __builtin_expect(!!(x), 1)
#define LT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define LT_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Write one line to standard error and abort. */
LT_NORETURN void lt_check_fail(
    const char *expr, const char *file, int line, const char *func);

#define LT_ASSERT(expr)                                                        \
	do {                                                                   \
		if (LT_UNLIKELY(!(expr)))                                      \
			lt_check_fail(#expr, __FILE__, __LINE__, __func__);    \
	} while (0)

#ifdef LT_DEBUG
#define LT_ASSERT_SLOW(expr) LT_ASSERT(expr)
#else
#define LT_ASSERT_SLOW(expr)                                                   \
	do {                                                                   \
	} while (0)
#endif

#endif
