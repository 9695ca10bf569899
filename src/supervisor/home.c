/*
 * home.c - the directory that holds everything, and the files the supervisor
 * makes in it: lock, secret, the broker's key, socket. Start-up only. Whatever
 * goes wrong is one line on standard error that names the fix.
 *
 * The lock is an flock on a descriptor that the children inherit, so it lasts
 * until the last process that may write here is gone: after a SIGKILL of the
 * supervisor a new one waits for the old children, which leave by themselves.
 * A record lock on the same file belongs to the supervisor alone and tells the
 * two cases apart, zombies and reused process ids included.
 */
#include "config.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/keyfile.h"
#include "base/secret.h"
#include "base/sys.h"
#include "leat/status.h"

#define SECRET_BYTES 32
/* How long processes of a killed supervisor may take, and it itself. */
#define ORPHANS_MS 10000
#define DYING_MS 300
#define BACKLOG 1024

#define say(...)                                                               \
	do {                                                                   \
		fprintf(stderr, "leatd: " __VA_ARGS__);                        \
		fputc('\n', stderr);                                           \
	} while (0)

/* --- the directory --- */

static int
make_dirs(const char *dir)
{
	struct stat st;

	int rc = lt_sys_mkdirs(AT_FDCWD, dir);
	int err = errno;
	if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode)) {
		say("%s is not a directory: name one with --dir", dir);
		return -1;
	}
	if (rc != LEAT_OK) {
		say("cannot make directory %s (%s): name another with --dir, "
		    "or make it for this user",
		    dir, strerror(err));
		return -1;
	}
	return 0;
}

int
lt_home_make(struct lt_home *h, const struct lt_options *o)
{
	char full[PATH_MAX];

	h->lock_fd = h->listener = h->dir_fd = -1;
	if (make_dirs(o->broker_dir) != 0)
		return -1;
	if (realpath(o->broker_dir, full) == NULL) {
		say("cannot resolve %s: %s", o->broker_dir, strerror(errno));
		return -1;
	}
	if (strlen(full) >= sizeof h->dir) {
		say("%s is longer than %zu bytes: name a shorter directory "
		    "with --dir",
		    full, sizeof h->dir - 1);
		return -1;
	}
	strcpy(h->dir, full);
	h->dir_fd = open(h->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->dir_fd < 0) {
		say("cannot open directory %s (%s): let this user read it",
		    h->dir, strerror(errno));
		return -1;
	}
	return 0;
}

int
lt_home_drop_root(struct lt_home *h, const struct lt_options *o)
{
	if (geteuid() == 0 && o->broker_user[0] != 0) {
		errno = 0;
		const struct passwd *pw = getpwnam(o->broker_user);
		if (pw == NULL) {
			say("broker.user: no user \"%s\" here: make it or "
			    "correct the setting",
			    o->broker_user);
			return -1;
		}
		if (fchown(h->dir_fd, pw->pw_uid, pw->pw_gid) != 0 ||
		    initgroups(pw->pw_name, pw->pw_gid) != 0 ||
		    setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0) {
			say("cannot become user %s: %s", o->broker_user,
			    strerror(errno));
			return -1;
		}
	}
	if (faccessat(h->dir_fd, ".", W_OK | X_OK, AT_EACCESS) != 0) {
		say("directory %s is not writable for user id %u: chown it or "
		    "name another with --dir",
		    h->dir, (unsigned)geteuid());
		return -1;
	}
	return 0;
}

/* --- the lock --- */

/* Process id of the leatd that holds the directory, 0: it is gone. */
static pid_t
holder(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

/* 0: locked; 1: try again; -1 after an error line. */
static int
try_lock(const struct lt_home *h, uint64_t waited_ms)
{
	if (flock(h->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK && errno != EINTR) {
		say("cannot lock %s/lock: %s", h->dir, strerror(errno));
		return -1;
	}
	pid_t pid = holder(h->lock_fd);
	if (pid != 0 && waited_ms >= DYING_MS) {
		say("%s is in use by leatd with process id %d: stop it or name "
		    "another directory with --dir",
		    h->dir, (int)pid);
		return -1;
	}
	if (waited_ms >= ORPHANS_MS) {
		say("%s is still in use by processes of a leatd that is gone: "
		    "kill leat-store and leat-queue",
		    h->dir);
		return -1;
	}
	return 1;
}

int
lt_home_lock(struct lt_home *h)
{
	const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
	struct flock mine = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	uint64_t begin = lt_clock_mono_ms();
	char text[32];
	int rc;

	h->lock_fd =
	    openat(h->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (h->lock_fd < 0) {
		say("cannot open %s/lock (%s): chown it to user id %u", h->dir,
		    strerror(errno), (unsigned)geteuid());
		return -1;
	}
	while ((rc = try_lock(h, lt_clock_mono_ms() - begin)) > 0)
		nanosleep(&pause, NULL);
	if (rc != 0)
		return -1;
	/* For readers; nothing depends on it. */
	int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
	if (fcntl(h->lock_fd, F_SETLK, &mine) != 0 ||
	    ftruncate(h->lock_fd, 0) != 0 ||
	    pwrite(h->lock_fd, text, (size_t)n, 0) != n) {
		say("cannot write %s/lock: %s", h->dir, strerror(errno));
		return -1;
	}
	return 0;
}

/* --- the secret --- */

static int
make_secret(int dir)
{
	uint8_t secret[SECRET_BYTES];

	lt_secret_random(secret, sizeof secret);
	int fd = openat(
	    dir, "secret.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	int rc = lt_sys_write_full(fd, secret, sizeof secret, 0) == LEAT_OK &&
			 fchmod(fd, 0600) == 0 && fsync(fd) == 0
		     ? 0
		     : -1;
	lt_secret_wipe(secret, sizeof secret);
	close(fd);
	if (rc != 0 || renameat(dir, "secret.tmp", dir, "secret") != 0)
		return -1;
	return fsync(dir);
}

int
lt_home_secret(struct lt_home *h)
{
	struct stat st;

	if (fstatat(h->dir_fd, "secret", &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISREG(st.st_mode) && st.st_size == SECRET_BYTES &&
		    (st.st_mode & 077) == 0)
			return 0;
		say("%s/secret is not a private file of %d bytes (mode 0600): "
		    "remove it, a new one is made",
		    h->dir, SECRET_BYTES);
		return -1;
	}
	if (errno != ENOENT || make_secret(h->dir_fd) != 0) {
		say("cannot make %s/secret: %s", h->dir, strerror(errno));
		return -1;
	}
	return 0;
}

/* --- the broker's key --- */

/* What clients are given, for anybody who may look into the directory. */
static int
show_public(const struct lt_home *h)
{
	char line[LT_SECRET_TEXT + 1], there[LT_SECRET_TEXT + 1] = "";
	int n = snprintf(line, sizeof line, "%s\n", h->key);
	int fd =
	    openat(h->dir_fd, LT_OPTIONS_PUBLIC_FILE, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		(void)!pread(fd, there, sizeof there - 1, 0);
		close(fd);
	}
	if (strcmp(there, line) != 0 &&
	    lt_sys_replace_file(
		h->dir_fd, LT_OPTIONS_PUBLIC_FILE, line, (size_t)n) != LEAT_OK)
		return -1;
	return fchmodat(h->dir_fd, LT_OPTIONS_PUBLIC_FILE, 0644, 0);
}

int
lt_home_key(struct lt_home *h)
{
	uint8_t secret[LT_SECRET_KEY], public[LT_SECRET_KEY];
	char why[300];
	int rc = lt_keyfile_read(
	    h->dir_fd, LT_OPTIONS_KEY_FILE, secret, public, why, sizeof why);

	if (rc == LEAT_E_NOTFOUND)
		rc = lt_keyfile_make(h->dir_fd, LT_OPTIONS_KEY_FILE, secret,
		    public, why, sizeof why);
	if (rc != LEAT_OK) {
		say("%s/%s", h->dir, why);
		return -1;
	}
	lt_secret_wipe(secret, sizeof secret);
	lt_secret_text(h->key, public);
	if (show_public(h) != 0) {
		say("cannot write %s/%s: %s", h->dir, LT_OPTIONS_PUBLIC_FILE,
		    strerror(errno));
		return -1;
	}
	return 0;
}

/* --- the socket --- */

/* The path is free, or was left behind by a dead broker. */
static int
clear_socket(const struct sockaddr_un *at)
{
	struct stat st;

	if (lstat(at->sun_path, &st) != 0) {
		if (errno == ENOENT)
			return 0;
		say("cannot look at %s: %s", at->sun_path, strerror(errno));
		return -1;
	}
	if (!S_ISSOCK(st.st_mode)) {
		say("%s exists and is no socket: remove it or set "
		    "broker.socket to another path",
		    at->sun_path);
		return -1;
	}
	/* We hold the lock, so it is not ours; a broker with another
	 * directory might listen here. */
	int fd =
	    socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int answered = fd >= 0 && (connect(fd, (const struct sockaddr *)at,
				       sizeof *at) == 0 ||
				      errno == EAGAIN);
	if (fd >= 0)
		close(fd);
	if (answered) {
		say("another broker listens at %s: stop it or set "
		    "broker.socket to another path",
		    at->sun_path);
		return -1;
	}
	if (unlink(at->sun_path) != 0) {
		say("cannot remove the stale socket %s: %s", at->sun_path,
		    strerror(errno));
		return -1;
	}
	return 0;
}

static int
choose_path(struct lt_home *h, const struct lt_options *o)
{
	char path[PATH_MAX];

	if (o->broker_socket[0] != 0)
		snprintf(path, sizeof path, "%s", o->broker_socket);
	else
		snprintf(path, sizeof path, "%s/leat.sock", h->dir);
	if (strlen(path) >= sizeof h->socket) {
		say("socket path %s is longer than %zu bytes: set "
		    "broker.socket to a shorter one",
		    path, sizeof h->socket - 1);
		return -1;
	}
	strcpy(h->socket, path);
	return 0;
}

int
lt_home_listen(struct lt_home *h, const struct lt_options *o)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	_Static_assert(
	    sizeof h->socket <= sizeof at.sun_path, "socket path fits");
	if (choose_path(h, o) != 0)
		return -1;
	strcpy(at.sun_path, h->socket);
	if (clear_socket(&at) != 0)
		return -1;
	h->listener =
	    socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->listener < 0) {
		say("cannot make a socket: %s", strerror(errno));
		return -1;
	}
	/* The mask, not a chmod after: there is no moment with other rights. */
	mode_t mask = umask(0777 & ~(mode_t)o->broker_socket_mode);
	int rc = bind(h->listener, (const struct sockaddr *)&at, sizeof at);
	int err = errno;
	umask(mask);
	if (rc != 0) {
		say("cannot bind socket %s (%s): make its directory writable "
		    "or set broker.socket",
		    h->socket, strerror(err));
		close(h->listener);
		h->listener = -1; /* what is at the path is not ours */
		return -1;
	}
	if (listen(h->listener, BACKLOG) != 0) {
		say("cannot listen at %s: %s", h->socket, strerror(errno));
		return -1;
	}
	return 0;
}

void
lt_home_leave(struct lt_home *h)
{
	if (h->listener >= 0 && unlink(h->socket) != 0 && errno != ENOENT)
		say("cannot remove %s: %s", h->socket, strerror(errno));
	if (h->listener >= 0)
		close(h->listener);
	/* The lock goes last, when no file here is ours any more. */
	if (h->dir_fd >= 0)
		close(h->dir_fd);
	if (h->lock_fd >= 0)
		close(h->lock_fd);
	h->listener = h->dir_fd = h->lock_fd = -1;
}
