/*
 * post.c - a box for each worker, behind one mutex that is held for a list
 * operation.
 */
#include "config.h"
#include "remoting/post.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "leat/status.h"
#include "net/net.h"
#include "remoting/worker.h"

STAILQ_HEAD(letters, lt_letter);

struct lt_post_box {
	struct lt_post *post;
	struct lt_net *net;
	struct letters letters; /* lock */
	size_t count, bytes; /* lock */
	struct lt_post_box *next;
};

struct lt_post {
	pthread_mutex_t lock;
	struct lt_post_box *boxes; /* lock */
	atomic_uint opaque;
};

struct bytes {
	struct lt_letter letter;
	size_t count;
	uint8_t p[];
};

int
lt_post_create(struct lt_post **out)
{
	struct lt_post *post = lt_mem_alloc(sizeof *post);

	if (post == NULL)
		return LEAT_E_NOMEM;
	pthread_mutex_init(&post->lock, NULL);
	*out = post;
	return LEAT_OK;
}

static void
free_letters(struct letters *letters)
{
	struct lt_letter *l;

	while ((l = STAILQ_FIRST(letters)) != NULL) {
		STAILQ_REMOVE_HEAD(letters, link);
		lt_mem_free(l);
	}
}

void
lt_post_destroy(struct lt_post *post)
{
	if (post == NULL)
		return;
	LT_ASSERT(post->boxes == NULL);
	pthread_mutex_destroy(&post->lock);
	lt_mem_free(post);
}

struct lt_post_box *
lt_post_box(struct lt_post *post, struct lt_net *net)
{
	struct lt_post_box *box = lt_mem_alloc(sizeof *box);

	if (box == NULL)
		return NULL;
	box->post = post;
	box->net = net;
	STAILQ_INIT(&box->letters);
	pthread_mutex_lock(&post->lock);
	box->next = post->boxes;
	post->boxes = box;
	pthread_mutex_unlock(&post->lock);
	return box;
}

void
lt_post_box_close(struct lt_post_box *box)
{
	struct lt_post_box **at;

	if (box == NULL)
		return;
	pthread_mutex_lock(&box->post->lock);
	for (at = &box->post->boxes; *at != box; at = &(*at)->next)
		continue;
	*at = box->next;
	pthread_mutex_unlock(&box->post->lock);
	free_letters(&box->letters);
	lt_mem_free(box);
}

int
lt_post_send(struct lt_post *post, struct lt_letter *letter)
{
	struct lt_post_box *box;
	int status = LEAT_E_NOTFOUND;

	pthread_mutex_lock(&post->lock);
	for (box = post->boxes; box != NULL; box = box->next)
		if (lt_net_number(box->net) == lt_net_number_of(letter->to))
			break;
	if (box != NULL)
		status = box->count >= LT_POST_LETTERS_MAX ||
				 box->bytes + letter->bytes > LT_POST_BYTES_MAX
			     ? LEAT_E_BUSY
			     : LEAT_OK;
	if (status == LEAT_OK) {
		STAILQ_INSERT_TAIL(&box->letters, letter, link);
		box->count++;
		box->bytes += letter->bytes;
		lt_net_wake(box->net);
	}
	pthread_mutex_unlock(&post->lock);
	if (status != LEAT_OK)
		lt_mem_free(letter);
	return status;
}

void
lt_post_all(
    struct lt_post *post, struct lt_letter *(*make)(void *user), void *user)
{
	struct lt_post_box *box;
	struct lt_letter *l;

	pthread_mutex_lock(&post->lock);
	for (box = post->boxes; box != NULL; box = box->next) {
		l = make(user);
		if (l == NULL)
			continue;
		STAILQ_INSERT_TAIL(&box->letters, l, link);
		box->count++;
		box->bytes += l->bytes;
		lt_net_wake(box->net);
	}
	pthread_mutex_unlock(&post->lock);
}

void
lt_post_collect(struct lt_post_box *box, struct lt_worker *w)
{
	struct letters letters = STAILQ_HEAD_INITIALIZER(letters);
	struct lt_letter *l;

	pthread_mutex_lock(&box->post->lock);
	STAILQ_CONCAT(&letters, &box->letters);
	box->count = box->bytes = 0;
	pthread_mutex_unlock(&box->post->lock);
	while ((l = STAILQ_FIRST(&letters)) != NULL) {
		STAILQ_REMOVE_HEAD(&letters, link);
		l->open(w, l);
	}
}

static void
open_bytes(struct lt_worker *w, struct lt_letter *letter)
{
	struct bytes *b = (struct bytes *)letter;
	struct lt_conn *c = lt_conn_find(w->net, letter->to);
	void *room = c != NULL ? lt_conn_room(c, b->count) : NULL;

	if (room != NULL) {
		memcpy(room, b->p, b->count);
		lt_conn_put(c, b->count);
	}
	lt_mem_free(b);
}

void
lt_post_bytes(struct lt_post *post, uint64_t conn, const void *p, size_t count)
{
	struct bytes *b = lt_mem_alloc(sizeof *b + count);

	if (b == NULL)
		return;
	b->letter.to = conn;
	b->letter.bytes = sizeof *b + count;
	b->letter.open = open_bytes;
	b->count = count;
	memcpy(b->p, p, count);
	(void)lt_post_send(post, &b->letter);
}

static void
open_close(struct lt_worker *w, struct lt_letter *letter)
{
	struct lt_conn *c = lt_conn_find(w->net, letter->to);

	if (c != NULL)
		lt_conn_close(c);
	lt_mem_free(letter);
}

void
lt_post_close(struct lt_post *post, uint64_t conn)
{
	struct lt_letter *l = lt_mem_alloc(sizeof *l);

	if (l == NULL)
		return; /* its idle time closes it later */
	l->to = conn;
	l->bytes = sizeof *l;
	l->open = open_close;
	(void)lt_post_send(post, l);
}

int32_t
lt_post_opaque(struct lt_post *post)
{
	return (int32_t)(atomic_fetch_add(&post->opaque, 1) & INT32_MAX);
}
