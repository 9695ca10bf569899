/*
 * power_test.c - the power is cut: stories recorded call by call, cut anywhere,
 * and the store recovered from what a disk may have kept (support/film.h says
 * what that is). Some recoveries are recorded and cut as well.
 *
 *   LEAT_SEED    of the first story (default: the time)
 *   LEAT_IMAGES  how many crash images (default 1000; LEAT_LONG: 10000)
 *   LEAT_KEEP    the directory of an image that fails stays
 *
 * That the judgement can fail is shown by disks that lie.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "config.h"
#include "story.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../support/faults.h"
#include "base/clock.h"
#include "base/log.h"
#include "leat/leat.h"

#define IMAGES_OF_A_STORY 250
#define TURNS 500
#define RECOVERY_CUTS 2

static struct lt_clock real_clock;
static char top[128]; /* everything is below */
static uint64_t seed;
static char here[160]; /* for the last words */

struct tally {
	uint64_t *ns; /* of recoveries */
	size_t count, capacity;
	unsigned images, in_recovery, damaged, wrong;
	char first[600];
};

static uint64_t
number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text == NULL || text[0] == 0 ? otherwise
					    : strtoull(text, NULL, 10);
}

static void
last_words(int sig)
{
	ssize_t ignored = write(STDERR_FILENO, here, strlen(here));

	(void)ignored;
	signal(sig, SIG_DFL);
	raise(sig);
}

static void
make_dir(char out[160], const char *name)
{
	snprintf(out, 160, "%s/%s", top, name);
	faults_remove_tree(out);
	assert_int_equal(mkdir(out, 0750), 0);
}

/* --- the story -------------------------------------------------------------
 */

static void
without_zeroes(struct lt_options *o)
{
	o->store_prefill_bytes = 0;
	o->store_checkpoint_ms = 5000;
}

/* Every other story syncs rarely, and without a helper that does it too. */
static void
live(struct story *s, struct film *film, const char *dir, uint64_t its_seed)
{
	uint64_t rng = its_seed ^ 0x5eed;

	story_begin(
	    s, dir, film, its_seed, its_seed % 2 ? without_zeroes : NULL);
	s->calm = its_seed % 2 ? 200 : 1;
	assert_int_equal(story_start(s), LEAT_OK);
	for (int i = 0; i < TURNS; i++) {
		assert_int_equal(story_turn(s), LEAT_OK);
		if (film_random(&rng) % 180 != 0)
			continue;
		story_kill(s);
		s->restarts++;
		assert_int_equal(story_start(s), LEAT_OK);
	}
}

/* --- images ----------------------------------------------------------------
 */

static void
count(struct tally *t, const struct story_verdict *v, int bad)
{
	if (t->count == t->capacity) {
		t->capacity = t->capacity == 0 ? 1024 : 2 * t->capacity;
		t->ns = realloc(t->ns, t->capacity * sizeof(*t->ns));
		assert_non_null(t->ns);
	}
	if (v->recovery_ns > 0)
		t->ns[t->count++] = v->recovery_ns;
	t->images++;
	t->damaged += v->damaged > 0;
	if (bad == 0)
		return;
	if (t->wrong++ == 0)
		snprintf(t->first, sizeof(t->first), "%s: %s", here, v->why);
	if (getenv("LEAT_KEEP") != NULL) {
		char to[200];

		snprintf(to, sizeof(to), "%s/wrong-%u", top, t->wrong);
		(void)rename("image", to);
	}
}

/* The image's recovery is recorded, cut, and what is left recovered. */
static void
cut_recovery(struct story *s, size_t cut, const char *dir, uint64_t *rng,
    struct tally *t)
{
	struct story_verdict v;
	struct film_stage *stage;
	struct film *film = film_start(dir);
	char again[160];
	uint64_t ns;
	size_t from, length;

	assert_non_null(film);
	from = film_now(film);
	int rc = story_recover(dir, &ns);
	length = film_now(film) - from;
	film_stop(film);
	if (rc != LEAT_OK) {
		memset(&v, 0, sizeof(v));
		snprintf(v.why, sizeof(v.why), "recovery with a checkpoint: %s",
		    leat_status_name(rc));
		count(t, &v, -1);
	}
	for (int i = 0; rc == LEAT_OK && i < RECOVERY_CUTS; i++) {
		size_t at = from + film_random(rng) % (length + 1);

		stage = film_stage_make(film, FILM_HONEST);
		film_stage_advance(stage, at);
		make_dir(again, "again");
		assert_int_equal(
		    film_stage_build(stage, film_random(rng), again), 0);
		film_stage_free(stage);
		count(
		    t, &v, story_judge(s, cut, LEAT_SYNCED, again, i & 1, &v));
		t->in_recovery++;
	}
	film_free(film);
}

static int
ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* One story, and `images` of its cuts. */
static void
one_story(uint64_t its_seed, unsigned images, enum film_lie lie,
    struct tally *t, int is_told)
{
	char dir[160], image[160];
	uint64_t rng = its_seed, *cuts = calloc(images, sizeof(*cuts));
	static struct story s;
	struct story_verdict v;

	make_dir(dir, "live");
	struct film *film = film_start(dir);
	assert_non_null(film);
	live(&s, film, dir, its_seed);
	size_t events = film_now(film);
	story_kill(&s); /* its thread goes through the door */
	film_stop(film);
	lt_clock = real_clock;
	if (is_told)
		print_message("story seed=%" PRIu64 ": %zu messages, %u "
			      "restarts, log %" PRIu64 " to %" PRIu64
			      ", %u deletions, %zu segments used again, %zu "
			      "events\n",
		    its_seed, s.count, s.restarts,
		    s.min_count > 0 ? s.mins[s.min_count - 1].value : 0,
		    s.ends[s.end_count - 1].value, s.deletions,
		    film_renames(film, "spare"), events);
	assert_true(s.min_count > 0 && s.deletions > 0);
	assert_true(its_seed % 2 || film_renames(film, "spare") > 0);
	for (unsigned i = 0; i < images; i++)
		cuts[i] = film_random(&rng) % (events + 1);
	qsort(cuts, images, sizeof(*cuts), ascending);
	struct film_stage *stage = film_stage_make(film, lie);
	for (unsigned i = 0; i < images; i++) {
		uint64_t its = film_random(&rng);

		snprintf(here, sizeof(here),
		    "story %" PRIu64 " image %u cut at event %" PRIu64,
		    its_seed, i, cuts[i]);
		film_stage_advance(stage, cuts[i]);
		make_dir(image, "image");
		assert_int_equal(film_stage_build(stage, its, image), 0);
		if (lie == FILM_HONEST && i % 5 == 4) {
			cut_recovery(&s, cuts[i], image, &its, t);
			i += RECOVERY_CUTS - 1;
			continue;
		}
		count(t, &v,
		    story_judge(
			&s, cuts[i], LEAT_SYNCED, image, i % 4 == 0, &v));
	}
	film_stage_free(stage);
	story_end(&s);
	film_free(film);
	free(cuts);
}

static void
test_power_cuts(void **state)
{
	unsigned images = (unsigned)number(
	    "LEAT_IMAGES", getenv("LEAT_LONG") != NULL ? 10000 : 1000);
	struct tally t = {0};

	for (uint64_t i = 0; t.images < images && t.wrong == 0; i++) {
		unsigned left = images - t.images;

		one_story(seed + i,
		    left < IMAGES_OF_A_STORY ? left : IMAGES_OF_A_STORY,
		    FILM_HONEST, &t, 1);
	}
	qsort(t.ns, t.count, sizeof(*t.ns), ascending);
	print_message("%u images, %u of them cut in recovery, %u with a hole "
		      "behind what was synced, %u wrong\n",
	    t.images, t.in_recovery, t.damaged, t.wrong);
	print_message("recovery: min %.2f, median %.2f, max %.2f ms\n",
	    (double)t.ns[0] / 1e6, (double)t.ns[t.count / 2] / 1e6,
	    (double)t.ns[t.count - 1] / 1e6);
	free(t.ns);
	if (t.wrong > 0)
		fail_msg("%s (LEAT_SEED=%" PRIu64 ")", t.first, seed);
}

/* Each lie is found out. */
static void
test_lying_disks(void **state)
{
	static const struct {
		enum film_lie lie;
		const char *what;
	} lies[] = {
	    {FILM_LOG_SYNC, "fdatasync of the log does nothing"},
	    {FILM_DIR_SYNC, "fsync of directories does nothing"},
	    {FILM_QUEUE_SYNC, "consume queues are never safe"},
	    {FILM_ZEROES, "zeroes do not arrive in used segments"},
	};

	for (size_t i = 0; i < LT_COUNT(lies); i++) {
		struct tally t = {0};

		for (uint64_t n = 0; t.wrong == 0 && n < 8; n++)
			one_story((seed & ~1ull) + 1000 + 2 * n, 40,
			    lies[i].lie, &t, 0);
		print_message("%s: %u of %u images wrong, first: %s\n",
		    lies[i].what, t.wrong, t.images, t.first);
		free(t.ns);
		assert_true(t.wrong > 0);
	}
}

static int
setup(void **state)
{
	real_clock = lt_clock;
	assert_int_equal(film_scratch(top, sizeof(top)), 0);
	return 0;
}

static int
teardown(void **state)
{
	lt_clock = real_clock;
	if (getenv("LEAT_KEEP") == NULL)
		faults_remove_tree(top);
	else
		print_message("kept: %s\n", top);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_power_cuts, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_lying_disks, setup, teardown),
	};

	lt_log_init("power_test",
	    getenv("LEAT_LOG") != NULL ? LT_LOG_INFO : LT_LOG_ERROR);
	signal(SIGABRT, last_words);
	seed = number("LEAT_SEED", (uint64_t)time(NULL));
	print_message("LEAT_SEED=%" PRIu64 "\n", seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
