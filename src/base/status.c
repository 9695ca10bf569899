/* status.c - names and texts of the one status list. */
#include "config.h"
#include "leat/status.h"

const char *
leat_status_text(int status)
{
	switch (status) {
#define LEAT_X(symbol, value, retryable, text)                                 \
	case value:                                                            \
		return text;
		LEAT_STATUS_LIST(LEAT_X)
#undef LEAT_X
	default:
		return "unknown status";
	}
}

const char *
leat_status_name(int status)
{
	switch (status) {
#define LEAT_X(symbol, value, retryable, text)                                 \
	case value:                                                            \
		return #symbol;
		LEAT_STATUS_LIST(LEAT_X)
#undef LEAT_X
	default:
		return "LEAT_E_?";
	}
}

int
leat_status_retryable(int status)
{
	switch (status) {
#define LEAT_X(symbol, value, retryable, text)                                 \
	case value:                                                            \
		return retryable;
		LEAT_STATUS_LIST(LEAT_X)
#undef LEAT_X
	default:
		return 0;
	}
}
