/*
 * story.h - a store's life in a directory, made up from a seed: clients at
 * each level, several topics of which one comes and goes, segments that roll,
 * are retained and used again, checkpoints, restarts. What was promised to
 * whom, and when, is kept, so that the store can be judged at any later time
 * by what lies on the disk.
 *
 * "When" is a number of the film that records the life (support/film.h), or 0
 * without one.
 */
#ifndef LT_TESTS_STORE_STORY_H
#define LT_TESTS_STORE_STORY_H

#include <stddef.h>
#include <stdint.h>
#include "../support/film.h"
#include "rig.h"

#define STORY_SEGMENT 65536u
#define STORY_CLIENTS 4
#define STORY_NEVER SIZE_MAX

struct story_sent {
	uint64_t session;
	const char *topic;
	uint32_t queue;
	uint32_t body_bytes;
	uint8_t *body;
	int64_t log_offset; /* -1: no receipt */
	int64_t queue_offset;
	int32_t status;
	size_t sent_at; /* first moment it may be in the log */
	size_t logged_at;
	size_t synced_at;
};

struct story_client {
	struct rig_client c;
	uint32_t level;
	uint64_t collected;
	uint64_t synced;
	uint32_t *sent; /* by sequence: index into story.sent */
	size_t capacity;
	int is_attached;
};

struct story_moment {
	size_t at;
	uint64_t value;
};

struct story {
	char dir[128];
	struct rig rig;
	int is_up;
	int status; /* the one that ended the store's process */
	struct film *film; /* borrowed; or NULL */
	uint64_t rng;
	uint64_t mono_ms, wall_ms; /* the clocks' */
	void (*change)(struct lt_options *o); /* on top of the story's own */
	struct story_client *clients; /* of all lives */
	size_t client_count, client_capacity;
	size_t live; /* index of the first of this life */
	struct story_sent *sent;
	size_t count, capacity;
	struct story_moment *mins; /* the log may begin there from then on */
	size_t min_count, min_capacity;
	struct story_moment *ends; /* the log was synced up to there by then */
	size_t end_count, end_capacity;
	struct story_moment *system; /* by log offset: synced at */
	size_t system_count, system_capacity;
	unsigned calm; /* of that many messages at level synced, one is */
	int gone_state; /* of the topic that comes and goes */
	int said; /* its record: 1 is logged, -1 was refused */
	unsigned turns, restarts, checkpoints, deletions, refused;
	uint64_t began; /* segment of the last "begin" records */
};

void story_begin(struct story *s, const char *dir, struct film *film,
    uint64_t seed, void (*change)(struct lt_options *o));
/* Start the store's process in here, with new clients. A status. */
int story_start(struct story *s);
/* Some messages from everybody, one turn of the store. A status: what is not
 * LEAT_OK ended the process. */
int story_turn(struct story *s);
/* The store's process is gone, without a word. */
void story_kill(struct story *s);
void story_end(struct story *s);
/* The wall clock moves. */
void story_set_wall(struct story *s, int64_t ms);

/* What a judgement found. */
struct story_verdict {
	char why[400]; /* "": nothing */
	uint64_t recovery_ns;
	uint64_t records;
	uint64_t damaged; /* extents, all behind what was synced */
};

/*
 * Recover what lies in `dir` and compare it with what was promised up to the
 * moment `cut`; `level` LEAT_LOGGED holds receipts of that level to be
 * promises too (a kill), LEAT_SYNCED does not (a power cut). Twice, and with
 * go_on write something more in between. 0: all is there.
 */
int story_judge(const struct story *s, size_t cut, uint32_t level,
    const char *dir, int go_on, struct story_verdict *out);
/* Only recover, as a store does that then makes a checkpoint. A status. */
int story_recover(const char *dir, uint64_t *ns_out);

#endif
