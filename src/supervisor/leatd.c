/*
 * leatd.c - the supervisor's command line and start-up, as a checklist:
 * settings, directory, user, lock, secret, counters, socket, children. What
 * happens then is watch.c. leatd(8) is the manual.
 */
#include "config.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/sys.h"
#include "leat/status.h"
#include "shm/counter.h"
#include "supervisor/notify.h"

#define EXIT_USAGE 2
#define DEFAULT_CONFIG SYSCONFDIR "/leat/leat.conf"

static const char usage[] =
    "usage: leatd [--dir DIR] [-c FILE] [--check] [--print-config]\n"
    "\n"
    "  -d, --dir DIR       keep everything in DIR; it is made if missing\n"
    "  -c, --config FILE   read settings from FILE\n"
    "                      (default " DEFAULT_CONFIG ", if it exists and\n"
    "                      there is no --dir)\n"
    "      --check         check the settings and leave\n"
    "      --print-config  print all settings as a file and leave\n"
    "      --help, --version\n"
    "\n"
    "Stays in the foreground; prints one \"ready\" line; SIGTERM stops it,\n"
    "SIGHUP reads FILE again. See leatd(8) and leat.conf(5).\n";

struct args {
	int check;
	int print;
};

static void
print_line(void *user, const char *line)
{
	fprintf(user, "%s\n", line);
}

/* -1: go on; else exit status. */
static int
take_arg(struct lt_sup *s, struct args *a, int option)
{
	switch (option) {
	case 'd':
		if (optarg[0] == 0 ||
		    lt_bytes_field(
			s->dir_override, sizeof s->dir_override, optarg) != 0) {
			fprintf(stderr,
			    "leatd: --dir wants a path of 1 to %zu "
			    "bytes\n",
			    sizeof s->dir_override - 1);
			return EXIT_USAGE;
		}
		return -1;
	case 'c':
		if (optarg[0] == 0 ||
		    lt_bytes_field(s->config, sizeof s->config, optarg) != 0) {
			fprintf(stderr,
			    "leatd: -c wants a path of 1 to %zu "
			    "bytes\n",
			    sizeof s->config - 1);
			return EXIT_USAGE;
		}
		return -1;
	case 'k':
		a->check = 1;
		return -1;
	case 'p':
		a->print = 1;
		return -1;
	case 'h':
		fputs(usage, stdout);
		return 0;
	case 'V':
		puts("leatd " PACKAGE_VERSION);
		return 0;
	default:
		fputs("leatd: --help shows what there is\n", stderr);
		return EXIT_USAGE;
	}
}

static int
parse_args(struct lt_sup *s, struct args *a, int argc, char **argv)
{
	static const struct option options[] = {
	    {"dir", required_argument, NULL, 'd'},
	    {"config", required_argument, NULL, 'c'},
	    {"check", no_argument, NULL, 'k'},
	    {"print-config", no_argument, NULL, 'p'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	int option;

	while (
	    (option = getopt_long(argc, argv, "d:c:h", options, NULL)) != -1) {
		int rc = take_arg(s, a, option);
		if (rc >= 0)
			return rc;
	}
	if (optind < argc) {
		fprintf(stderr,
		    "leatd: \"%s\" is no option: --help shows what "
		    "there is\n",
		    argv[optind]);
		return EXIT_USAGE;
	}
	if (s->config[0] == 0 && s->dir_override[0] == 0) {
		if (access(DEFAULT_CONFIG, F_OK) == 0) {
			strcpy(s->config, DEFAULT_CONFIG);
		} else if (!a->check && !a->print) {
			fputs("leatd: no directory: name one with --dir DIR, "
			      "or a configuration with -c FILE (there is "
			      "no " DEFAULT_CONFIG ")\n",
			    stderr);
			return EXIT_USAGE;
		}
	}
	return -1;
}

/* --- start-up --- */

static void
raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) != 0)
		lt_log_warn(
		    "limit-not-raised", "error=\"%s\"", strerror(errno));
}

static int
catch_signals(struct lt_sup *s)
{
	static const int caught[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < LT_COUNT(caught); i++) {
		signal(caught[i], SIG_DFL); /* an ignored one would be lost */
		sigaddset(&set, caught[i]);
	}
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -1;
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd < 0 ? -1 : 0;
}

static int
make_counters(struct lt_sup *s)
{
	struct lt_segment_head head = {
	    .magic = LT_SEGMENT_COUNTER,
	    .data_bytes = lt_counter_segment_bytes(),
	    .generation = s->boot,
	};

	if (lt_segment_create(&s->counters, "leat-counters", &head, 1,
		&s->counter_fd) != LEAT_OK ||
	    lt_segment_seal(s->counter_fd, 0) != LEAT_OK) {
		fputs("leatd: no shared memory for counters: free some\n",
		    stderr);
		return -1;
	}
	lt_counter_use(&s->counters);
	lt_stat_set(sup_pid, (uint64_t)getpid());
	lt_stat_set(sup_started_ms, (uint64_t)lt_clock_wall_ms());
	return 0;
}

static int
has_gateway(const struct lt_options *o)
{
	return strcmp(o->gateway_listen, "none") != 0 ||
	       strcmp(o->gateway_names, "none") != 0 ||
	       (o->gateway_channel[0] != '\0' &&
		   strcmp(o->gateway_channel, "none") != 0);
}

static void
init_children(struct lt_sup *s)
{
	static const struct {
		const char *name;
		char letter;
	} procs[] = {
#define PROC(symbol, name, letter, reads, writes, sys) {name, letter},
#include "supervisor/procs.def"
	};

	for (size_t i = 0; i < LT_PROC_COUNT; i++) {
		struct lt_child *c = &s->child[i];
		c->proc = (enum lt_proc)i;
		c->name = procs[i].name;
		c->letter = procs[i].letter;
		c->peer = -1;
		c->wanted =
		    c->proc != LT_PROC_GATEWAY || has_gateway(&s->options);
		lt_post_init(&c->box);
	}
}

/* Everything before the first child; an error line was printed if -1. */
static int
prepare(struct lt_sup *s)
{
	if (lt_secret_init() != LEAT_OK) {
		fputs("leatd: libsodium does not start\n", stderr);
		return -1;
	}
	umask(0027);
	raise_limits();
	if (lt_spawn_find(s) != 0 || lt_home_make(&s->home, &s->loaded) != 0 ||
	    lt_home_drop_root(&s->home, &s->loaded) != 0 ||
	    lt_home_lock(&s->home) != 0 || lt_home_secret(&s->home) != 0 ||
	    lt_home_key(&s->home) != 0)
		return -1;
	do
		lt_secret_random(&s->boot, sizeof s->boot);
	while (s->boot == 0);
	if (make_counters(s) != 0)
		return -1;
	if (catch_signals(s) != 0) {
		fputs("leatd: cannot catch signals\n", stderr);
		return -1;
	}
	if (lt_home_listen(&s->home, &s->loaded) != 0)
		return -1;
	lt_settings_use(s);
	return 0;
}

static int
run(struct lt_sup *s)
{
	int rc = 1;

	if (prepare(s) != 0)
		goto out;
	s->has_listener = lt_notify_init();
	lt_keep_init(&s->kept);
	init_children(s);
	lt_log_info("starting", "dir=\"%s\" socket=\"%s\" pid=%d version=%s",
	    s->home.dir, s->home.socket, (int)getpid(), PACKAGE_VERSION);
	lt_log_info("broker-key", "public=%s", s->home.key);
	for (size_t i = 0; i < LT_PROC_COUNT; i++)
		if (s->child[i].wanted && lt_spawn_child(s, &s->child[i]) != 0)
			s->child[i].restart_ms =
			    1; /* at once, then backs off */
	rc = lt_watch_run(s);
	lt_keep_fini(&s->kept);
out:
	lt_home_leave(&s->home);
	return rc;
}

int
main(int argc, char **argv)
{
	static struct lt_sup s;
	struct args a = {0};

	s.home.dir_fd = s.home.lock_fd = s.home.listener = -1;
	int rc = parse_args(&s, &a, argc, argv);
	if (rc >= 0)
		return rc;
	if (lt_settings_load(&s, &s.loaded) != 0)
		return 1;
	if (a.print) {
		lt_options_print(&s.loaded, print_line, stdout);
		return ferror(stdout) || fflush(stdout) != 0 ? 1 : 0;
	}
	if (a.check) {
		if (has_gateway(&s.loaded) && lt_spawn_check(&s) != 0)
			return 1;
		printf("%s: settings are legal\n",
		    s.config[0] != 0 ? s.config : "defaults");
		return 0;
	}
	lt_log_init("leatd", (enum lt_log_level)s.loaded.broker_log_level);
	lt_sys_fp_init();
	return run(&s);
}
