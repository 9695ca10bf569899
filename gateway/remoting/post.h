/*
 * post.h - letters between workers: what one of them has for a connection of
 * another. A connection's id says whose it is (lt_net_number).
 *
 * Any thread sends; the letter is opened in the thread of that connection's
 * worker, or freed unread: the worker is gone, or its box is full.
 */
#ifndef LT_REMOTING_POST_H
#define LT_REMOTING_POST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "base/check.h"

struct lt_net;
struct lt_post;
struct lt_post_box;
struct lt_worker;

#define LT_POST_LETTERS_MAX 65536 /* in one box */
#define LT_POST_BYTES_MAX (64u << 20)

/* First in a block of lt_mem_alloc, which holds all that the letter says. */
struct lt_letter {
	STAILQ_ENTRY(lt_letter) link;
	uint64_t to; /* a connection's id */
	size_t bytes; /* of the block */
	/* Takes the letter. The connection may have gone. */
	void (*open)(struct lt_worker *w, struct lt_letter *letter);
};

int lt_post_create(struct lt_post **out) LT_MUST_CHECK;
void lt_post_destroy(struct lt_post *post); /* all boxes are closed */
/* A worker's box: made before it runs, closed before its net is destroyed.
 * NULL: out of memory. */
struct lt_post_box *lt_post_box(struct lt_post *post, struct lt_net *net);
void lt_post_box_close(struct lt_post_box *box);
/* The letter is taken, whatever is returned: LEAT_OK, NOTFOUND, BUSY. */
int lt_post_send(struct lt_post *post, struct lt_letter *letter);
/* A letter for each worker, made by make() under the post's lock; NULL: none
 * for that one. Boxes are never too full for these. */
void lt_post_all(
    struct lt_post *post, struct lt_letter *(*make)(void *user), void *user);
/* Bytes for a connection; what cannot be brought there is dropped. */
void lt_post_bytes(
    struct lt_post *post, uint64_t conn, const void *p, size_t bytes);
/* To be closed, by its own worker. */
void lt_post_close(struct lt_post *post, uint64_t conn);
/* Open what has come. From `woken`. */
void lt_post_collect(struct lt_post_box *box, struct lt_worker *w);
/* An opaque for a request of ours; not used again soon. */
int32_t lt_post_opaque(struct lt_post *post);

#endif
