/*
 * leat.c - the program `leat`: finds the command in the table, reads options by
 * it, runs it, and turns its status into an exit status. Everything a command
 * accepts is in commands.def.
 */
#include "config.h"
#include "tools/tool.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
	const char *noun, *verb, *args;
	int least, most;
	const char *text;
	int (*run)(struct lt_tool *t);
};

static const struct command commands[] = {
#define COMMAND(sym, noun, verb, args, least, most, text)                      \
	{noun, verb, args, least, most, text, lt_tool_##sym},
#include "tools/commands.def"
};

#define C(sym) (1ull << LT_TOOL_##sym)
#define BENCH (C(bench_publish) | C(bench_consume) | C(bench_latency))
#define EVERY (~0ull)

static const struct option_row {
	uint64_t commands;
	int key;
	const char *name, *arg, *text;
} options[] = {
#define OPT(commands, key, name, arg, text) {commands, key, name, arg, text},
#include "tools/commands.def"
    {EVERY, 1001, "socket", "PATH",
	"the broker's DIR/leat.sock; or LEAT_SOCKET"},
    {EVERY, 1002, "server", "ADDR",
	"leat://BROKERKEY@HOST:PORT, or rocketmq://HOST:PORT, name servers; "
	"or LEAT_SERVER"},
    {EVERY, 1006, "key", "FILE",
	"our key, for leat:// (~/.config/leat/key); or LEAT_KEY"},
    {EVERY, 1003, "json", 0, "machine-readable output"},
    {EVERY, 1004, "no-color", 0, "plain text on a terminal"},
    {EVERY, 1005, "timeout", "SECONDS", "how long one request may take (30)"},
    {EVERY, 'h', "help", 0, "this text"},
};

#define OPTIONS_MAX (LT_COUNT(options) + 1)

struct getopt_tables {
	struct option longs[OPTIONS_MAX];
	char shorts[2 * OPTIONS_MAX + 2];
};

_Static_assert(LT_TOOL_COMMANDS <= 64, "command masks have 64 bits");

volatile int lt_tool_stopped;

static void
stop(int sig)
{
	lt_tool_stopped = sig;
}

void
lt_tool_catch(void)
{
	struct sigaction sa = {.sa_handler = stop};
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int
lt_tool_exit_status(int status)
{
	switch (status) {
	case LEAT_OK:
		return 0;
	case LEAT_E_INVALID:
	case LEAT_E_NAME:
	case LEAT_E_UNSUPPORTED:
		return 2;
	case LEAT_E_UNREACHABLE:
		return 3;
	case LEAT_E_DENIED:
	case LEAT_E_PERM:
		return 4;
	case LEAT_E_NOTFOUND:
	case LEAT_E_QUEUE:
		return 5;
	default:
		return 1;
	}
}

/* What to do about it; NULL if the reason says it all. */
const char *
lt_tool_fix(int status)
{
	switch (status) {
	case LEAT_E_UNREACHABLE:
		return "name a running broker with --socket DIR/leat.sock or "
		       "LEAT_SOCKET, or --server ADDR or LEAT_SERVER";
	case LEAT_E_DENIED:
		return "ask the broker's owner for it: `leat grant add`";
	case LEAT_E_PERM:
		return "change it with `leat topic update TOPIC --perm rw`";
	case LEAT_E_NOTFOUND:
		return "`leat topic list` and `leat group list` show what "
		       "there is";
	case LEAT_E_QUEUE:
		return "`leat topic describe TOPIC` shows its queues";
	case LEAT_E_NOSPACE:
		return "make room on the broker's disk, or let more expire "
		       "(retain_hours, retain_bytes)";
	case LEAT_E_TOOBIG:
		return "raise max_body_bytes in leat.conf or send less";
	case LEAT_E_TIMEOUT:
		return "`leat status` shows what the broker does; --timeout "
		       "waits longer";
	case LEAT_E_VERSION:
		return "use the leat of the same release as the broker";
	case LEAT_E_BUSY:
		return "stop its consumers first";
	default:
		return NULL;
	}
}

static void
one_line(const char *text)
{
	for (; *text != '\0'; text++)
		fputc((unsigned char)*text < 0x20 ? ' ' : *text, stderr);
}

static bool
ends_with(const char *text, const char *tail)
{
	size_t n = strlen(text), t = strlen(tail);
	return n >= t && strcmp(text + n - t, tail) == 0;
}

/* The library's line mostly names what failed and the fix; what it lacks is
 * put around it. */
int
lt_tool_fail(struct lt_tool *t, int status, const char *fmt, ...)
{
	char what[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	const char *text = leat_status_text(status);
	const char *reason = leat_error(t->leat);
	const char *fix = lt_tool_fix(status);
	if (reason == NULL || reason[0] == '\0')
		reason = text;
	fputs("leat: ", stderr);
	if (strstr(reason, what) == NULL) {
		one_line(what);
		fputs(": ", stderr);
	}
	one_line(reason);
	if (fix != NULL &&
	    (ends_with(reason, text) || status == LEAT_E_UNREACHABLE))
		fprintf(stderr, "; %s", fix);
	fputc('\n', stderr);
	return status;
}

int
lt_tool_complain(int status, const char *fmt, ...)
{
	char what[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	fputs("leat: ", stderr);
	one_line(what);
	fputc('\n', stderr);
	return status;
}

int
lt_tool_confirm(bool yes, const char *question, const char *name)
{
	if (yes || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return 1;
	fprintf(stderr, "%s %s? [y/N] ", question, name);
	char answer[16];
	return fgets(answer, sizeof answer, stdin) != NULL &&
	       (answer[0] == 'y' || answer[0] == 'Y');
}

int
lt_tool_target(struct lt_tool *t, struct leat_options *out)
{
	if (t->server != NULL && t->socket != NULL)
		return lt_tool_complain(LEAT_E_INVALID,
		    "--socket and --server name two brokers; say one");
	int rc = lt_tool_context(t);
	out->socket = t->socket;
	out->server = t->server;
	out->key = t->key;
	return rc;
}

int
lt_tool_connect(struct lt_tool *t)
{
	if (t->leat != NULL)
		return LEAT_OK;
	struct leat_options o = {.name = "leat",
	    .connect_timeout_ms = t->timeout_ms < 5000 ? t->timeout_ms : 5000};
	int rc = lt_tool_target(t, &o);
	if (rc != LEAT_OK)
		return rc;
	rc = leat_connect(&o, &t->leat);
	if (rc == LEAT_OK)
		return LEAT_OK;
	t->leat = NULL;
	if (rc == LEAT_E_TIMEOUT)
		rc = LEAT_E_UNREACHABLE;
	const char *where = t->server != NULL	? t->server
			    : t->socket != NULL ? t->socket
						: getenv("LEAT_SERVER");
	if (where == NULL || where[0] == '\0')
		where = getenv("LEAT_SOCKET");
	return lt_tool_fail(t, rc, "%s",
	    where != NULL && where[0] != '\0' ? where : "/run/leat/leat.sock");
}

/* --- help --- */

static void
print_options(uint64_t mask, bool common)
{
	for (size_t i = 0; i < LT_COUNT(options); i++) {
		const struct option_row *o = &options[i];
		char left[64];
		if ((o->commands & mask) == 0 ||
		    (o->commands == EVERY) != common)
			continue;
		snprintf(left, sizeof left, "%s%c%s--%s%s%s",
		    o->key < 256 ? "-" : " ", o->key < 256 ? o->key : ' ',
		    o->key < 256 ? ", " : "  ", o->name, o->arg ? " " : "",
		    o->arg ? o->arg : "");
		printf("  %-26s %s\n", left, o->text);
	}
}

static void
print_command(const struct command *c)
{
	char left[64];
	snprintf(left, sizeof left, "%s%s%s%s%s", c->noun,
	    c->verb[0] != '\0' ? " " : "", c->verb,
	    c->args[0] != '\0' ? " " : "", c->args);
	printf("  %-24s %s\n", left, c->text);
}

static void
help_all(const char *noun)
{
	printf("usage: leat [--socket PATH | --server ADDR] [--json] NOUN "
	       "[VERB] ...\n\n");
	for (size_t i = 0; i < LT_COUNT(commands); i++)
		if (noun == NULL || strcmp(noun, commands[i].noun) == 0)
			print_command(&commands[i]);
	printf("\nEvery command:\n");
	print_options(1, true);
	printf("\n`leat NOUN VERB --help` has the options of one; leat(1) has "
	       "examples.\n"
	       "Exit status: 0 ok, 1 failed, 2 usage, 3 not reachable, "
	       "4 not allowed, 5 not found.\n");
}

static void
help_one(enum lt_tool_command which)
{
	const struct command *c = &commands[which];
	printf("usage: leat %s%s%s%s%s [options]\n%s\n\n", c->noun,
	    c->verb[0] != '\0' ? " " : "", c->verb,
	    c->args[0] != '\0' ? " " : "", c->args, c->text);
	print_options(1ull << which, false);
	printf("\nEvery command:\n");
	print_options(1ull << which, true);
}

/* --- options --- */

static void
make_tables(uint64_t mask, bool stop_at_operand, struct getopt_tables *g)
{
	size_t n = 0, s = 0;
	memset(g, 0, sizeof *g);
	g->shorts[s++] = stop_at_operand ? '+' : ':';
	if (stop_at_operand)
		g->shorts[s++] = ':';
	for (size_t i = 0; i < LT_COUNT(options); i++) {
		const struct option_row *o = &options[i];
		if ((o->commands & mask) == 0 ||
		    (stop_at_operand && o->commands != EVERY))
			continue;
		g->longs[n++] = (struct option){o->name,
		    o->arg != NULL ? required_argument : no_argument, NULL,
		    o->key};
		if (o->key < 256) {
			g->shorts[s++] = (char)o->key;
			if (o->arg != NULL)
				g->shorts[s++] = ':';
		}
	}
}

/* An option every command has: LEAT_OK, LEAT_E_END after --help, or an error
 * that was reported. */
static int
common_option(struct lt_tool *t, int key)
{
	switch (key) {
	case 1001:
		t->socket = optarg;
		return LEAT_OK;
	case 1002:
		t->server = optarg;
		return LEAT_OK;
	case 1006:
		t->key = optarg;
		return LEAT_OK;
	case 1003:
		t->json = true;
		return LEAT_OK;
	case 1004:
		t->color = false;
		return LEAT_OK;
	case 1005: {
		uint64_t seconds;
		t->arg = optarg;
		t->option = "timeout";
		int rc = lt_tool_number(t, 1, 86400, &seconds);
		if (rc == LEAT_OK)
			t->timeout_ms = (int)(seconds * 1000);
		return rc;
	}
	default:
		return LEAT_E_END;
	}
}

static int
option_error(struct lt_tool *t, int kind)
{
	/* With a long option optopt is its key or 0. */
	const char *word = optind > 0 ? t->argv[optind - 1] : "";
	char letter[3] = {'-', (char)optopt, '\0'};
	if (optopt > 0 && optopt < 256 && strncmp(word, "--", 2) != 0)
		word = letter;
	if (kind == ':')
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: needs a value; see `leat %s --help`", word, t->name);
	return lt_tool_complain(LEAT_E_INVALID,
	    "%s: no such option here; see `leat %s --help`", word, t->name);
}

static const char *
option_name(const struct lt_tool *t, int key)
{
	for (size_t i = 0; i < LT_COUNT(options); i++)
		if (options[i].key == key &&
		    (options[i].commands >> t->command & 1) != 0)
			return options[i].name;
	return "";
}

int
lt_tool_next(struct lt_tool *t)
{
	struct getopt_tables *g = t->getopt;
	for (;;) {
		int key =
		    getopt_long(t->argc, t->argv, g->shorts, g->longs, NULL);
		if (key == '?' || key == ':')
			return option_error(t, key);
		if (key == -1)
			break;
		if (key < 1000 && key != 'h') {
			t->arg = optarg;
			t->option = option_name(t, key);
			return key;
		}
		int rc = common_option(t, key);
		if (rc == LEAT_E_END) {
			help_one(t->command);
			exit(0);
		}
		if (rc != LEAT_OK)
			return rc;
	}
	const struct command *c = &commands[t->command];
	int given = t->argc - optind;
	if (given < c->least)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: %s is missing; see `leat %s --help`", t->name, c->args,
		    t->name);
	if (given > c->most)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: `%s` is too much; see `leat %s --help`", t->name,
		    t->argv[optind + c->most], t->name);
	for (int i = 0; i < given && i < (int)LT_COUNT(t->operands); i++)
		t->operands[i] = t->argv[optind + i];
	return 0;
}

/* --- dispatch --- */

/* Options before the noun. Gives the noun's index in argv, or a status. */
static int
read_globals(struct lt_tool *t, struct getopt_tables *g)
{
	t->name = "";
	make_tables(EVERY, true, g);
	for (;;) {
		if (optind < t->argc &&
		    strcmp(t->argv[optind], "--version") == 0) {
			printf("leat %s\n", leat_version());
			exit(0);
		}
		int key =
		    getopt_long(t->argc, t->argv, g->shorts, g->longs, NULL);
		if (key == -1)
			return optind;
		if (key == '?' || key == ':')
			return lt_tool_complain(LEAT_E_INVALID,
			    "%s: %s; see `leat --help`", t->argv[optind - 1],
			    key == ':' ? "needs a value" : "no such option");
		int rc = common_option(t, key);
		if (rc == LEAT_E_END) {
			help_all(NULL);
			exit(0);
		}
		if (rc != LEAT_OK)
			return rc;
	}
}

/* Which command argv[at...] names; *words_out of them. */
static int
find_command(struct lt_tool *t, int at, int *words_out)
{
	const char *noun = t->argv[at];
	const char *verb = at + 1 < t->argc ? t->argv[at + 1] : "";
	bool noun_known = false;
	for (size_t i = 0; i < LT_COUNT(commands); i++) {
		if (strcmp(commands[i].noun, noun) != 0)
			continue;
		noun_known = true;
		*words_out = commands[i].verb[0] != '\0' ? 2 : 1;
		if (*words_out == 1 || strcmp(commands[i].verb, verb) == 0)
			return (int)i;
	}
	if (noun_known &&
	    (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0)) {
		help_all(noun);
		exit(0);
	}
	if (!noun_known)
		return lt_tool_complain(LEAT_E_INVALID,
		    "%s: no such command; see `leat --help`", noun);
	return lt_tool_complain(LEAT_E_INVALID,
	    verb[0] != '\0' ? "%s %s: no such command; see `leat %s --help`"
			    : "%s%s: needs a verb; see `leat %s --help`",
	    noun, verb, noun);
}

static int
run(struct lt_tool *t)
{
	struct getopt_tables g;
	int words = 1, at = read_globals(t, &g);
	if (at < 0)
		return at;
	if (at >= t->argc) {
		help_all(NULL);
		return LEAT_E_INVALID;
	}
	int which = find_command(t, at, &words);
	if (which < 0)
		return which;
	char name[64];
	snprintf(name, sizeof name, "%s%s%s", commands[which].noun,
	    words > 1 ? " " : "", commands[which].verb);
	t->name = name;
	t->command = (enum lt_tool_command)which;
	make_tables(1ull << which, false, &g);
	t->getopt = &g;
	t->argc -= at + words - 1;
	t->argv += at + words - 1;
	optind = 0;
	return commands[which].run(t);
}

int
main(int argc, char **argv)
{
	struct lt_tool t = {.argc = argc, .argv = argv, .timeout_ms = 30000};
	t.color = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
	t.progress = isatty(STDERR_FILENO);
	opterr = 0;
	int rc = run(&t);
	int out = lt_output_finish();
	leat_close(t.leat);
	return lt_tool_exit_status(rc != LEAT_OK ? rc : out);
}
