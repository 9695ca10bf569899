/*
 * segment.h - shared segments: memfds with a checked head, sealed.
 *
 * Every segment begins with struct lt_segment_head in its first page; data
 * begins at LT_SEGMENT_DATA_AT. Head fields never change after creation. An
 * attacher copies and checks them (magic, version, sizes against fstat), and
 * never looks at the shared copy again.
 *
 * Who writes what dies with it: segments written by the store alone (page,
 * beacon, ring) are sealed F_SEAL_FUTURE_WRITE once the store has mapped them,
 * so nobody can ever map them writable again; a new store gets new ones.
 * Segments that clients write (lane, table) are sealed against resizing only
 * and outlive every broker process but the supervisor.
 */
#ifndef LT_SHM_SEGMENT_H
#define LT_SHM_SEGMENT_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

#define LT_SEGMENT_VERSION 1
#define LT_SEGMENT_DATA_AT 4096

enum lt_segment_kind {
	LT_SEGMENT_LANE = 0x4c54414e,
	LT_SEGMENT_PAGE = 0x4c545047,
	LT_SEGMENT_BEACON = 0x4c544243,
	LT_SEGMENT_RING = 0x4c545247,
	LT_SEGMENT_TABLE = 0x4c545442,
	LT_SEGMENT_FETCH = 0x4c544645,
	LT_SEGMENT_STATE = 0x4c545354,
	LT_SEGMENT_COUNTER = 0x4c54434e
};

struct lt_segment_head {
	uint32_t magic; /* enum lt_segment_kind */
	uint16_t version;
	uint16_t head_bytes; /* sizeof(struct lt_segment_head) */
	uint64_t total_bytes;
	uint64_t data_bytes; /* power of two for lanes and rings */
	uint64_t id;
	uint64_t generation;
	uint64_t extra[3]; /* by kind: table: first offset, window, -; page:
			      completion entries */
};

struct lt_segment {
	void *base; /* NULL: not mapped */
	size_t bytes;
	struct lt_segment_head head; /* private, checked copy */
	int writable;
};

/*
 * Create a memfd, size it, reserve its memory (so that a full /dev/shm or
 * memory limit is LEAT_E_NOSPACE here and never a SIGBUS later: pages are
 * fallocated for `reserve` != 0), write the head, map it read-write.
 * *fd_out is owned by the caller, close-on-exec, mode 0600.
 */
int lt_segment_create(struct lt_segment *seg, const char *name,
    const struct lt_segment_head *head, int reserve, int *fd_out) LT_MUST_CHECK;
/*
 * Map a received descriptor (borrowed) of the expected kind. LEAT_E_CORRUPT:
 * not a segment, wrong size, or not sealed against resizing when need_seals;
 * LEAT_E_VERSION: another layout version.
 */
int lt_segment_attach(struct lt_segment *seg, int fd, enum lt_segment_kind kind,
    int writable, int need_seals) LT_MUST_CHECK;
void lt_segment_detach(struct lt_segment *seg);
/* Seal against shrinking and growing; read_only: also against every future
 * writable mapping; then against more seals. */
int lt_segment_seal(int fd, int read_only) LT_MUST_CHECK;

#endif
