/*
 * sandbox.h - what a process of the broker may still do once it has what it
 * needs. A convenience library of its own: children link it, without the rest
 * of the supervisor.
 */
#ifndef LT_SUPERVISOR_SANDBOX_H
#define LT_SUPERVISOR_SANDBOX_H

#include "base/check.h"

enum lt_proc {
#define PROC(symbol, name, letter, reads, writes, sys) symbol,
#include "supervisor/procs.def"
	LT_PROC_COUNT
};

/*
 * Give up for ever what procs.def does not grant `process` (as it is
 * named there): no new privileges, Landlock below dir_fd (borrowed), a
 * seccomp allow-list. Call it once, after SUP_START, when everything outside
 * DIR is open and before the first thread is made. socket_path: the admission
 * socket, for the log line; may be "".
 *
 * What the kernel does not offer is logged and left out, and is no error. A
 * refused call gives EPERM; with LEAT_SANDBOX_STRICT=1 in the environment it
 * kills the process (SIGSYS), so that tests find what the lists forgot.
 * LEAT_OK; LEAT_E_INVALID: no such process.
 */
int lt_sandbox_enter(
    const char *process, int dir_fd, const char *socket_path) LT_MUST_CHECK;

#endif
