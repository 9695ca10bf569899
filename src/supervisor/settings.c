/*
 * settings.c - from the command line and a file to the settings in force.
 * What goes wrong is one line on standard error with file, line and fix.
 */
#include "config.h"
#include "supervisor/supervisor.h"

#include <stdio.h>
#include <string.h>

#include "leat/status.h"

#define DEFAULT_DIR LOCALSTATEDIR "/lib/leat"

int
lt_settings_load(const struct lt_sup *s, struct lt_options *o)
{
	struct lt_ini_error err = {0};

	lt_options_defaults(o);
	int rc =
	    s->config[0] != 0 ? lt_options_load(o, s->config, &err) : LEAT_OK;
	if (rc == LEAT_OK && s->dir_override[0] != 0)
		strcpy(o->broker_dir, s->dir_override);
	if (rc == LEAT_OK && o->broker_dir[0] == 0)
		strcpy(o->broker_dir, DEFAULT_DIR);
	if (rc == LEAT_OK)
		rc = lt_options_check(o, &err);
	if (rc == LEAT_OK)
		return 0;
	if (err.line > 0)
		fprintf(stderr, "leatd: %s:%d: %s\n", s->config, err.line,
		    err.text);
	else
		fprintf(stderr, "leatd: %s: %s\n",
		    s->config[0] != 0 ? s->config : "settings", err.text);
	return -1;
}

void
lt_settings_use(struct lt_sup *s)
{
	s->options = s->loaded;
	/* Every process reads where things really are. */
	strcpy(s->options.broker_dir, s->home.dir);
	strcpy(s->options.broker_socket, s->home.socket);
}
