/*
 * reader.h - read-only view of the commit log, for every process but the
 * writer. Segments are mapped on demand through a small cache (at most 64
 * mappings); a segment that retention recycled is noticed because a record
 * must carry its own position.
 */
#ifndef LT_STORE_READER_H
#define LT_STORE_READER_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "proto/record.h"

struct lt_reader;

/* store_dir: descriptor of DIR/store, borrowed. NOTFOUND without commitlog/. */
int lt_reader_open(int store_dir, struct lt_reader **out) LT_MUST_CHECK;
void lt_reader_close(struct lt_reader *r);
/* Look at the directory again (after LT_OP_E_ROLLED). */
int lt_reader_refresh(struct lt_reader *r) LT_MUST_CHECK;
uint64_t lt_reader_min(const struct lt_reader *r); /* base of oldest segment */
uint64_t lt_reader_limit(const struct lt_reader *r); /* end of newest segment */
uint64_t lt_reader_segment_bytes(const struct lt_reader *r);
/*
 * The record at log_offset, parsed, physicalOffset compared, checksum verified.
 * view points into the mapping: lent until the next call on r (copy, then
 * check again if the segment may be recycled meanwhile: lt_reader_copy does).
 * LEAT_OK, CORRUPT, NOTFOUND (no such segment), END (zeroes: nothing written
 * there), LEAT_E_AGAIN for a BLANK: go on at lt_reader_next_segment().
 */
int lt_reader_get(struct lt_reader *r, uint64_t log_offset,
    struct lt_record_view *view) LT_MUST_CHECK;
/* Copy `bytes` at log_offset into dst and verify the copy. */
int lt_reader_copy(struct lt_reader *r, uint64_t log_offset, uint32_t bytes,
    void *dst, struct lt_record_view *view) LT_MUST_CHECK;
uint64_t lt_reader_next_segment(const struct lt_reader *r, uint64_t log_offset);
/*
 * The next valid record at or after `from` (which need not be a record's
 * start), below limit: by walking, and behind damage by searching a known magic
 * whose physicalOffset is its own position and whose checksum holds.
 * *damaged_out: bytes skipped because they are not a record (0: none; BLANK
 * tails and zeroes at the end of the log are not damage). LEAT_E_END: none.
 */
int lt_reader_next(struct lt_reader *r, uint64_t from, uint64_t limit,
    struct lt_record_view *view, uint64_t *damaged_out) LT_MUST_CHECK;
/* Where the damage begins that the last lt_reader_next skipped. */
uint64_t lt_reader_damage_at(const struct lt_reader *r);
/* The log's bytes as they are: *p_out lent until the next call, *bytes_out of
 * them up to the segment's end. LEAT_OK, NOTFOUND (no such segment), others.
 * Where nothing was written there may be nothing to look at (SIGBUS): */
int lt_reader_bytes(struct lt_reader *r, uint64_t log_offset,
    const uint8_t **p_out, size_t *bytes_out) LT_MUST_CHECK;
/* That many of the next `bytes` of a segment can be looked at. */
size_t lt_reader_there(struct lt_reader *r, uint64_t log_offset, size_t bytes);
/* Base of the segment that holds log_offset. LEAT_OK, NOTFOUND. */
int lt_reader_segment(const struct lt_reader *r, uint64_t log_offset,
    uint64_t *base_out) LT_MUST_CHECK;
/* Where the log goes on if its last record ends at log_offset: there, or in the
 * next segment if a BLANK closes this one. */
uint64_t lt_reader_end(struct lt_reader *r, uint64_t log_offset);
/* Number of segments. */
size_t lt_reader_count(const struct lt_reader *r);

#endif
