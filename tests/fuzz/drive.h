/*
 * drive.h - a fuzz target without a fuzzer. Each target defines
 * FUZZ_NAME, LLVMFuzzerTestOneInput and fuzz_seed; with libFuzzer
 * (clang -fsanitize=fuzzer,address -DLT_LIBFUZZER) that is all. Otherwise
 * main() here runs the files named on the command line, or the kept corpus
 * (corpus/FUZZ_NAME) and then seeds mutated in a fixed pseudo-random way for
 * LEAT_FUZZ_RUNS runs: a smoke test that needs no clang, best built with
 * sanitizers. --seeds DIR only writes the seeds there.
 */
#ifndef LT_TESTS_DRIVE_H
#define LT_TESTS_DRIVE_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
/* A valid input, n = 0, 1, ...; its size. */
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

#ifndef LT_LIBFUZZER
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_CAP 65536u
#define FUZZ_SEEDS 8

static uint64_t fuzz_state = 0x9e3779b97f4a7c15u;

static uint64_t
fuzz_random(void)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return fuzz_state;
}

static size_t
fuzz_mutate(uint8_t *p, size_t bytes)
{
	static const uint8_t odd[] = {0, 1, 2, 0x7f, 0x80, 0xda, 0xff};

	for (unsigned n = (unsigned)(fuzz_random() % 8); n > 0; n--) {
		size_t at = bytes == 0 ? 0 : fuzz_random() % bytes;
		size_t run = fuzz_random() % 32;

		switch (bytes == 0 ? 5 : fuzz_random() % 5) {
		case 0:
			p[at] ^= (uint8_t)(1 << fuzz_random() % 8);
			break;
		case 1:
			p[at] = odd[fuzz_random() % sizeof(odd)];
			break;
		case 2:
			bytes = at;
			break;
		case 3:
			if (at + run <= bytes)
				memset(p + at, odd[run % sizeof(odd)], run);
			break;
		case 4:
			if (bytes + run <= FUZZ_CAP && at + run <= bytes) {
				memmove(p + at + run, p + at, bytes - at);
				bytes += run;
			}
			break;
		default:
			break;
		}
	}
	return bytes;
}

/* The input in an allocation of its own size, so that a sanitizer sees every
 * byte read beyond it. */
static void
fuzz_run(const uint8_t *p, size_t bytes)
{
	uint8_t *exact = malloc(bytes == 0 ? 1 : bytes);

	if (exact == NULL)
		exit(1);
	memcpy(exact, p, bytes);
	LLVMFuzzerTestOneInput(exact, bytes);
	free(exact);
}

static int
fuzz_file(const char *path)
{
	static uint8_t buf[FUZZ_CAP];
	FILE *f = fopen(path, "rb");

	if (f == NULL) {
		perror(path);
		return 1;
	}
	fuzz_run(buf, fread(buf, 1, sizeof(buf), f));
	fclose(f);
	return 0;
}

static int
fuzz_corpus(void)
{
	const char *top = getenv("top_srcdir");
	char path[4096];
	struct dirent *e;
	unsigned n = 0;
	int rc = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s",
	    top == NULL ? "." : top, FUZZ_NAME);
	d = opendir(path);
	if (d == NULL) {
		perror(path);
		return 1;
	}
	size_t at = strlen(path);

	while (rc == 0 && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path + at, sizeof(path) - at, "/%s", e->d_name);
		rc = fuzz_file(path);
		n++;
	}
	closedir(d);
	printf("%s: %u inputs of the corpus\n", FUZZ_NAME, n);
	return rc != 0 || n == 0;
}

static int
fuzz_write_seeds(const char *dir)
{
	static uint8_t buf[FUZZ_CAP];
	char path[4096];

	for (unsigned i = 0; i < FUZZ_SEEDS; i++) {
		size_t n = fuzz_seed(i, buf, sizeof(buf));
		FILE *f;

		snprintf(path, sizeof(path), "%s/seed-%u", dir, i);
		f = fopen(path, "wb");
		if (f == NULL || fwrite(buf, 1, n, f) != n || fclose(f) != 0) {
			perror(path);
			return 1;
		}
	}
	return 0;
}

int
main(int argc, char **argv)
{
	static uint8_t buf[FUZZ_CAP];
	const char *text = getenv("LEAT_FUZZ_RUNS");
	unsigned long runs = text == NULL ? FUZZ_RUNS : strtoul(text, NULL, 10);

	if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
		return fuzz_write_seeds(argv[2]);
	for (int i = 1; i < argc; i++)
		if (fuzz_file(argv[i]) != 0)
			return 1;
	if (argc > 1)
		return 0;
	if (fuzz_corpus() != 0)
		return 1;
	for (unsigned long i = 0; i < runs; i++) {
		size_t n =
		    fuzz_seed((unsigned)(i % FUZZ_SEEDS), buf, sizeof(buf));

		fuzz_run(buf, i < FUZZ_SEEDS ? n : fuzz_mutate(buf, n));
	}
	printf("%s: %lu mutated seeds\n", FUZZ_NAME, runs);
	return 0;
}
#endif
#endif
