/*
 * rulebook.c - a sorted array: what is granted to a principal lies together,
 * and patterns of access keys lie behind the access keys.
 */
#include "config.h"
#include "proto/rulebook.h"

#include <string.h>

#include "base/mem.h"
#include "leat/status.h"
#include "proto/access.h"

struct lt_rulebook {
	struct lt_access_rule *rules;
	size_t count, capacity;
};

int
lt_rulebook_create(struct lt_rulebook **out)
{
	*out = lt_mem_alloc(sizeof **out);
	return *out != NULL ? LEAT_OK : LEAT_E_NOMEM;
}

void
lt_rulebook_destroy(struct lt_rulebook *book)
{
	if (book != NULL)
		lt_mem_free(book->rules);
	lt_mem_free(book);
}

static int
compare(const struct lt_access_rule *a, const struct lt_access_rule *b)
{
	int order = lt_principal_compare(&a->who, &b->who);

	if (order == 0)
		order = (a->what > b->what) - (a->what < b->what);
	return order != 0 ? order : strcmp(a->pattern, b->pattern);
}

/* First index whose rule is not before it. */
static size_t
place(const struct lt_rulebook *book, const struct lt_access_rule *like)
{
	size_t low = 0, high = book->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare(&book->rules[mid], like) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct lt_access_rule *
lt_rulebook_get(
    const struct lt_rulebook *book, const struct lt_access_rule *like)
{
	size_t at = place(book, like);

	return at < book->count && compare(&book->rules[at], like) == 0
		   ? &book->rules[at]
		   : NULL;
}

int
lt_rulebook_set(struct lt_rulebook *book, const struct lt_access_rule *rule)
{
	size_t at = place(book, rule);
	struct lt_access_rule *r;
	int is_there = at < book->count && compare(&book->rules[at], rule) == 0;

	if (is_there && rule->rights != 0) {
		book->rules[at].rights = rule->rights;
		return LEAT_OK;
	}
	if (is_there) {
		r = &book->rules[at];
		memmove(r, r + 1, (--book->count - at) * sizeof *r);
		return LEAT_OK;
	}
	if (rule->rights == 0)
		return LEAT_OK;
	if (book->count >= LT_GRANTS_MAX)
		return LEAT_E_LIMIT;
	if (lt_mem_grow((void **)&book->rules, &book->capacity, book->count,
		sizeof *r) != LEAT_OK)
		return LEAT_E_NOMEM;
	r = &book->rules[at];
	memmove(r + 1, r, (book->count++ - at) * sizeof *r);
	*r = *rule;
	return LEAT_OK;
}

size_t
lt_rulebook_count(const struct lt_rulebook *book)
{
	return book->count;
}

const struct lt_access_rule *
lt_rulebook_at(const struct lt_rulebook *book, size_t i)
{
	LT_ASSERT(i < book->count);
	return &book->rules[i];
}

/* The next rule at or behind *at that may be meant for who; NULL: no more. */
static const struct lt_access_rule *
next(const struct lt_rulebook *book, const struct lt_principal *who, size_t *at)
{
	/* Before every access key with * or ?. */
	struct lt_access_rule patterns = {.who = lt_principal_ak("*")};

	patterns.who.name[0] = '\1';
	patterns.who.name[1] = '*';
	while (*at < book->count) {
		const struct lt_access_rule *r = &book->rules[(*at)++];

		if (lt_principal_match(&r->who, who))
			return r;
		if (who->kind != LT_PRINCIPAL_AK || r->who.kind != who->kind)
			return NULL;
		if (!lt_principal_is_pattern(&r->who))
			*at = place(book, &patterns);
	}
	return NULL;
}

static size_t
first(const struct lt_rulebook *book, const struct lt_principal *who)
{
	struct lt_access_rule like = {.who = *who};

	return place(book, &like);
}

unsigned
lt_rulebook_rights(const struct lt_rulebook *book,
    const struct lt_principal *who, enum lt_access_what what, const char *name)
{
	const struct lt_access_rule *r;
	size_t at = first(book, who);
	unsigned mask = 0;

	while ((r = next(book, who, &at)) != NULL)
		mask |= lt_access_gives(r, who, what, name);
	return mask;
}

int
lt_rulebook_has(const struct lt_rulebook *book, const struct lt_principal *who)
{
	size_t at = first(book, who);

	return next(book, who, &at) != NULL;
}

const struct lt_access_rule *
lt_rulebook_find(const struct lt_rulebook *book, const struct lt_principal *who,
    enum lt_access_what what, const char *name, unsigned right)
{
	const struct lt_access_rule *r;
	size_t at = first(book, who);

	while ((r = next(book, who, &at)) != NULL)
		if ((lt_access_gives(r, who, what, name) & right) != 0)
			return r;
	return NULL;
}
