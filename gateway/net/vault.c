/* vault.c - slabs of locked pages, and a list of their free pieces. */
#include "config.h"
#include "net/vault.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/sys.h"
#include "leat/status.h"

#define SLAB_BYTES 65536

struct slab {
	struct slab *next;
	uint8_t pieces[];
};

struct piece { /* a free one */
	struct piece *next;
};

struct lt_vault {
	pthread_mutex_t lock;
	size_t piece_bytes;
	size_t used;
	struct piece *free;
	struct slab *slabs;
	int has_said;
};

int
lt_vault_create(size_t piece_bytes, struct lt_vault **out)
{
	size_t align = _Alignof(max_align_t);
	struct lt_vault *v = lt_mem_alloc(sizeof *v);

	if (v == NULL)
		return LEAT_E_NOMEM;
	v->piece_bytes = (piece_bytes + align - 1) / align * align;
	LT_ASSERT(piece_bytes >= sizeof(struct piece));
	LT_ASSERT(v->piece_bytes <= SLAB_BYTES / 2);
	pthread_mutex_init(&v->lock, NULL);
	*out = v;
	return LEAT_OK;
}

static int
add_slab(struct lt_vault *v)
{
	struct slab *s = lt_sys.mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED)
		return LEAT_E_NOMEM;
	if (lt_secret_lock(s, SLAB_BYTES) != 0 && !v->has_said) {
		v->has_said = 1;
		lt_log_warn("keys-not-locked",
		    "fix=\"raise RLIMIT_MEMLOCK, or have no swap\"");
	}
	s->next = v->slabs;
	v->slabs = s;
	uint8_t *end = (uint8_t *)s + SLAB_BYTES;
	for (uint8_t *p = (uint8_t *)s + _Alignof(max_align_t);
	     p + v->piece_bytes <= end; p += v->piece_bytes) {
		struct piece *piece = (struct piece *)p;

		piece->next = v->free;
		v->free = piece;
	}
	return LEAT_OK;
}

void *
lt_vault_get(struct lt_vault *v)
{
	struct piece *piece;

	pthread_mutex_lock(&v->lock);
	piece = v->free != NULL || add_slab(v) == LEAT_OK ? v->free : NULL;
	if (piece != NULL) {
		v->free = piece->next;
		v->used++;
	}
	pthread_mutex_unlock(&v->lock);
	if (piece != NULL)
		memset(piece, 0, v->piece_bytes);
	return piece;
}

void
lt_vault_put(struct lt_vault *v, void *p)
{
	struct piece *piece = p;

	lt_secret_wipe(p, v->piece_bytes);
	pthread_mutex_lock(&v->lock);
	piece->next = v->free;
	v->free = piece;
	v->used--;
	pthread_mutex_unlock(&v->lock);
}

size_t
lt_vault_used(struct lt_vault *v)
{
	pthread_mutex_lock(&v->lock);
	size_t used = v->used;
	pthread_mutex_unlock(&v->lock);
	return used;
}

void
lt_vault_destroy(struct lt_vault *v)
{
	struct slab *next;

	if (v == NULL)
		return;
	for (struct slab *s = v->slabs; s != NULL; s = next) {
		next = s->next;
		lt_secret_unlock(s, SLAB_BYTES); /* wipes it */
		munmap(s, SLAB_BYTES);
	}
	pthread_mutex_destroy(&v->lock);
	lt_mem_free(v);
}
