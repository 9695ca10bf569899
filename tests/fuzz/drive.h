/*
 * drive.h - a fuzz target without a fuzzer. Each target defines
 * LLVMFuzzerTestOneInput and fuzz_seed; with libFuzzer
 * (clang -fsanitize=fuzzer,address -DLT_LIBFUZZER) that is all. Otherwise
 * main() here runs the files named on the command line, or mutates the seeds
 * in a fixed pseudo-random way for LEAT_FUZZ_RUNS runs: a smoke test that needs
 * no clang, best built with sanitizers.
 */
#ifndef LT_TESTS_DRIVE_H
#define LT_TESTS_DRIVE_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
/* A valid input, n = 0, 1, ...; its size. */
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

#ifndef LT_LIBFUZZER
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

int
main(int argc, char **argv)
{
	static uint8_t buf[FUZZ_CAP];
	const char *text = getenv("LEAT_FUZZ_RUNS");
	unsigned long runs = text == NULL ? FUZZ_RUNS : strtoul(text, NULL, 10);

	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");

		if (f == NULL) {
			perror(argv[i]);
			return 1;
		}
		fuzz_run(buf, fread(buf, 1, sizeof(buf), f));
		fclose(f);
	}
	for (unsigned long i = 0; argc == 1 && i < runs; i++) {
		size_t n =
		    fuzz_seed((unsigned)(i % FUZZ_SEEDS), buf, sizeof(buf));

		fuzz_run(buf, i < FUZZ_SEEDS ? n : fuzz_mutate(buf, n));
	}
	return 0;
}
#endif
#endif
