/*
 * config_fuzz.c - any bytes as a configuration file: it is refused with a line
 * and a text, leaving the settings as they were, or taken; what is taken and
 * printed reads back as the same settings.
 */
#include "config.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "leat/status.h"
#include "proto/options.h"

#define FUZZ_NAME "config"
#define FUZZ_RUNS 10000
#include "drive.h"

struct text {
	char p[65536];
	size_t bytes;
};

/* One user and one group, without a look into this host's files. */
struct passwd *
getpwnam(const char *name)
{
	static struct passwd leat = {.pw_uid = 0};

	return strcmp(name, "root") == 0 ? &leat : NULL;
}

struct group *
getgrnam(const char *name)
{
	static struct group leat = {.gr_gid = 0};

	return strcmp(name, "root") == 0 ? &leat : NULL;
}

static int
load(struct lt_options *o, const void *p, size_t bytes, struct lt_ini_error *e)
{
	static int fd = -1;
	static char path[64];

	if (fd < 0) {
		fd = memfd_create("config", MFD_CLOEXEC);
		LT_ASSERT(fd >= 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	LT_ASSERT(ftruncate(fd, 0) == 0);
	LT_ASSERT(pwrite(fd, p, bytes, 0) == (ssize_t)bytes);
	return lt_options_load(o, path, e);
}

static void
emit(void *user, const char *line)
{
	struct text *t = user;
	size_t n = strlen(line);

	LT_ASSERT(t->bytes + n + 1 <= sizeof(t->p));
	memcpy(t->p + t->bytes, line, n);
	t->p[t->bytes + n] = '\n';
	t->bytes += n + 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct lt_options before, o, again;
	static struct text text;
	struct lt_ini_error err;
	uint32_t gid = 0;
	int rc;

	lt_options_defaults(&before);
	o = before;
	rc = load(&o, data, bytes, &err);
	if (rc != LEAT_OK) {
		LT_ASSERT(err.text[0] != 0 &&
			  memchr(err.text, 0, sizeof(err.text)) != NULL);
		LT_ASSERT(memcmp(&o, &before, sizeof(o)) == 0);
		return 0;
	}
	if (lt_options_check(&o, &err) != LEAT_OK) {
		LT_ASSERT(err.text[0] != 0);
		return 0;
	}
	LT_ASSERT(o.access_count <= LT_ACCESS_MAX);
	(void)lt_options_rights(
	    &o, 1, 1000, &gid, 1, LT_ACCESS_TOPIC, "orders");
	(void)lt_options_may_connect(&o, 1, 1000, &gid, 1);
	(void)lt_options_reload(&before, &o, &(const char *){NULL});
	text.bytes = 0;
	lt_options_print(&o, emit, &text);
	lt_options_defaults(&again);
	LT_ASSERT(load(&again, text.p, text.bytes, &err) == LEAT_OK);
	LT_ASSERT(lt_options_check(&again, &err) == LEAT_OK);
	LT_ASSERT(memcmp(&o, &again, sizeof(o)) == 0);
	return 0;
}

size_t
fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static struct lt_options o;
	static struct text text;
	static const char *const files[] = {
	    "[access]\nallow = any topic orders.* publish,subscribe\n"
	    "allow = user:root group * manage\n",
	    "[store]\nsegment_bytes = 64M\nretain_hours = 3d\n",
	    "# nothing\n; at all\n\n",
	    "[broker]\ndir = /x\n[store]\nflush = 1\n\tmore",
	    "[access]\nallow = os-group:root topic a trace\n"
	    "allow = os-group:12 group g subscribe, manage\n",
	    "[broker]\nsandbox = no\nlog_level = debug\nspin = adaptive\n",
	};
	size_t bytes;

	if (n < LT_COUNT(files)) {
		bytes = strlen(files[n]);
		memcpy(buf, files[n], bytes);
		return bytes;
	}
	lt_options_defaults(&o);
	text.bytes = 0;
	lt_options_print(&o, emit, &text);
	LT_ASSERT(text.bytes <= cap);
	memcpy(buf, text.p, text.bytes);
	return text.bytes;
}
