/* cut.c - cut PORT TARGET MS: a stretch of network whose connections break
 * after up to so many milliseconds, in the middle of anything (cutter.h). */
#include "config.h"
#include "tests/support/cutter.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void
stop(int sig)
{
	stopped = sig;
}

int
main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = stop};
	struct cutter *c;
	int most;

	if (argc != 4) {
		fprintf(stderr, "usage: cut PORT TARGET MS\n");
		return 2;
	}
	sigaction(SIGTERM, &sa, NULL);
	most = atoi(argv[3]);
	srandom((unsigned)time(NULL));
	c = cutter_start(atoi(argv[1]), atoi(argv[2]), NULL);
	while (!stopped) {
		usleep((useconds_t)(random() % most + 1) * 1000);
		/* At once, or behind some of the answers. */
		if (random() % 2 == 0)
			(void)cutter_cut(c);
		else
			c->bytes_left = random() % 5000;
	}
	printf("%d connections, %d cuts\n", (int)c->accepted, (int)c->cuts);
	cutter_stop(c);
	return 0;
}
