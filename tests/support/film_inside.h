/* film_inside.h - what film.c records and stage.c reads. Private to these. */
#ifndef LT_TESTS_FILM_INSIDE_H
#define LT_TESTS_FILM_INSIDE_H

#include <limits.h>
#include <pthread.h>
#include "film.h"

enum film_kind {
	FILM_CREATE, /* node as name in dir */
	FILM_RENAME, /* name in dir is `to` now */
	FILM_UNLINK,
	FILM_WRITE, /* data NULL: zeroes */
	FILM_SIZE, /* node has `at` bytes */
	FILM_SYNC, /* of a file or a directory */
	FILM_SYNC_ALL
};

struct film_event {
	enum film_kind kind;
	int node;
	int dir;
	int failed;
	int is_punch; /* has no effect on the size */
	const char *name;
	const char *to;
	uint64_t at;
	uint64_t bytes;
	uint8_t *data;
	size_t begin; /* of a sync: events below are meant */
};

struct film_names {
	struct film_name {
		const char *name;
		int node;
	} * all;
	size_t count;
	size_t capacity;
};

struct film_failure {
	int is_there;
	pthread_t by;
};

struct film_node {
	int is_dir;
	int in_log;
	int in_queues;
	struct film_failure failure; /* of a sync of it */
	uint64_t size; /* now */
	struct film_names live; /* of a directory, now */
};

struct film {
	char root[PATH_MAX];
	struct film_node *nodes;
	size_t node_count, node_capacity;
	struct film_event *events;
	size_t event_count, event_capacity;
	char **texts;
	size_t text_count, text_capacity;
	size_t loaded; /* the event that makes safe what was there */
	struct film_failure failure; /* of any sync */
	size_t resyncs;
};

/* name is lent for the life of the list. */
void film_names_put(struct film_names *n, const char *name, int node);
int film_names_find(const struct film_names *n, const char *name);
int film_names_drop(struct film_names *n, const char *name);

#endif
