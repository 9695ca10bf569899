/*
 * ballast.c - make a virtual machine's free memory as fast as it was a minute
 * ago: `ballast MIB` touches that much, gives nearly all of it back, says
 * "ready" and waits to be ended.
 *
 * Hosts take back guest memory that lies free in large blocks; its next first
 * touch then costs 10 us a page instead of 1.6, more than all the rest of a
 * message. A page kept of each MiB leaves no block large enough for that.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define KEEP_EACH (1u << 20)

int
main(int argc, char **argv)
{
	size_t bytes = argc == 2 ? strtoul(argv[1], NULL, 10) << 20 : 0;

	if (bytes == 0) {
		fputs("usage: ballast MIB\n", stderr);
		return 2;
	}
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		perror("ballast");
		return 1;
	}
	/* Huge pages would come back whole. */
	(void)madvise(p, bytes, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < bytes; i += PAGE)
		p[i] = 1;
	for (size_t i = 0; i + KEEP_EACH <= bytes; i += KEEP_EACH)
		(void)madvise(p + i + PAGE, KEEP_EACH - PAGE, MADV_DONTNEED);
	puts("ready");
	fflush(stdout);
	pause();
	return 0;
}
