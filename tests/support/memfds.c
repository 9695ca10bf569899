/* memfds.c - see memfds.h. */
#include "config.h"
#include "memfds.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define LOW 16 /* below it a number may be taken from the kernel, by dup2 */
#define FIRST_FD (1 << 20)
#define FDS 4096
#define PASSED 16 /* with a message */
#define SEND_BYTES 212992u /* unread, as a socket has it by default */
#define MESSAGE_BYTES 768u /* what one takes beside its own */
#define LARGE (256u << 10) /* memory that the kernel zeroes */
#define WATCHES 1024

enum kind {
	SOCKET,
	EPOLL,
	MEMORY,
	EVENT,
	PROCESS,
	FOREIGN /* under way: a descriptor of the kernel's */
};

struct object;
struct message {
	struct message *next;
	size_t bytes, fd_count;
	struct object *passed[PASSED];
	uint8_t data[];
};

struct watch {
	struct object *of; /* lent: it goes when the object does */
	int fd;
	uint32_t events;
	epoll_data_t data;
};

struct object {
	enum kind kind;
	unsigned refs; /* descriptors, messages under way, mappings */
	unsigned watches; /* of it */
	union {
		struct {
			struct object *peer; /* lent; NULL: gone */
			struct object *next; /* accepted behind this one */
			struct object *waiting; /* to be accepted */
			struct message *head, **tail;
			size_t unread; /* bytes */
			int error;
		};
		struct {
			struct object *next_memory;
			uint8_t *base;
			size_t size;
			unsigned maps;
			ino_t ino;
			int seals;
		};
		uint64_t count;
		int foreign;
	};
};

static struct {
	int is_mounted;
	struct object *slots[LOW + FDS];
	size_t first_free, open;
	struct object *listener; /* one is enough, and one epoll set */
	struct sockaddr_un at;
	struct watch watch[WATCHES];
	size_t watch_count, turn;
	struct object *memory; /* all there is */
	ino_t last_ino;
} my = {.first_free = LOW};

/* --- descriptors ---------------------------------------------------------- */

static struct object **
slot_of(int fd)
{
	if (fd >= 0 && fd < LOW)
		return &my.slots[fd];
	if (fd >= FIRST_FD && fd < FIRST_FD + FDS)
		return &my.slots[LOW + fd - FIRST_FD];
	return NULL;
}

static struct object *
find(int fd)
{
	struct object **slot = slot_of(fd);

	return slot == NULL ? NULL : *slot;
}

static struct object *
find_kind(int fd, enum kind kind)
{
	struct object *o = find(fd);

	return o != NULL && o->kind == kind ? o : NULL;
}

static struct object *
make(enum kind kind)
{
	struct object *o = calloc(1, sizeof(*o));

	LT_ASSERT(o != NULL);
	o->kind = kind;
	if (kind == SOCKET)
		o->tail = &o->head;
	return o;
}

static int
install(struct object *o)
{
	size_t i = my.first_free;

	while (i < LOW + FDS && my.slots[i] != NULL)
		i++;
	LT_ASSERT(i < LOW + FDS);
	my.first_free = i + 1;
	my.slots[i] = o;
	my.open++;
	o->refs++;
	return (int)(FIRST_FD + i - LOW);
}

static void unref(struct object *o);

static void
drop_message(struct object *o)
{
	struct message *m = o->head;

	o->head = m->next;
	if (o->head == NULL)
		o->tail = &o->head;
	o->unread -= m->bytes + MESSAGE_BYTES;
	for (size_t i = 0; i < m->fd_count; i++)
		unref(m->passed[i]);
	free(m);
}

static void
end_socket(struct object *o)
{
	struct object *waiting;

	while ((waiting = o->waiting) != NULL) {
		o->waiting = waiting->next;
		unref(waiting);
	}
	if (o == my.listener)
		my.listener = NULL;
	if (o->peer != NULL) {
		o->peer->peer = NULL;
		if (o->head != NULL)
			o->peer->error = ECONNRESET;
	}
	while (o->head != NULL)
		drop_message(o);
}

static void
end_memory(struct object *o)
{
	struct object **at = &my.memory;

	while (*at != o)
		at = &(*at)->next_memory;
	*at = o->next_memory;
	if (o->size > LARGE)
		(void)syscall(SYS_munmap, o->base, o->size);
	else
		free(o->base);
}

static void
unwatch(size_t i)
{
	my.watch[i].of->watches--;
	memmove(&my.watch[i], &my.watch[i + 1],
	    (--my.watch_count - i) * sizeof(my.watch[0]));
	if (my.turn > i)
		my.turn--;
}

static void
unref(struct object *o)
{
	if (--o->refs > 0)
		return;
	for (size_t i = my.watch_count; o->watches > 0;)
		if (my.watch[--i].of == o)
			unwatch(i);
	if (o->kind == SOCKET)
		end_socket(o);
	else if (o->kind == MEMORY)
		end_memory(o);
	else if (o->kind == FOREIGN && o->foreign >= 0)
		(void)syscall(SYS_close, o->foreign);
	while (o->kind == EPOLL && my.watch_count > 0)
		unwatch(my.watch_count - 1);
	free(o);
}

int
close(int fd)
{
	struct object **slot = slot_of(fd), *o = slot == NULL ? NULL : *slot;

	if (o == NULL)
		return (int)syscall(SYS_close, fd);
	*slot = NULL;
	my.open--;
	if (fd >= FIRST_FD && (size_t)(slot - my.slots) < my.first_free)
		my.first_free = (size_t)(slot - my.slots);
	unref(o);
	return 0;
}

int
dup2(int from, int to)
{
	struct object *o = find(from);

	if (o == NULL)
		return (int)syscall(SYS_dup3, from, to, 0);
	LT_ASSERT(to >= 0 && to < LOW);
	o->refs++;
	if (my.slots[to] != NULL)
		close(to);
	my.slots[to] = o;
	my.open++;
	return to;
}

/* Only a descriptor of our own opened again. */
int
open(const char *path, int flags, ...)
{
	struct object *o;
	va_list ap;
	int mode, fd;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	if (sscanf(path, "/proc/self/fd/%d", &fd) == 1 &&
	    (o = find(fd)) != NULL)
		return install(o);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
fcntl(int fd, int cmd, ...)
{
	struct object *o = find(fd);
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	if (o == NULL)
		return (int)syscall(SYS_fcntl, fd, cmd, arg);
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return install(o);
	case F_GETFD:
		return FD_CLOEXEC;
	case F_GETFL:
		return O_RDWR | O_NONBLOCK;
	case F_SETFL:
		return 0;
	}
	errno = o->kind != MEMORY ? EINVAL : EPERM;
	if (o->kind == MEMORY && cmd == F_GET_SEALS)
		return o->seals;
	if (o->kind != MEMORY || cmd != F_ADD_SEALS || o->seals & F_SEAL_SEAL)
		return -1;
	o->seals |= (int)arg;
	return 0;
}

/* --- sockets -------------------------------------------------------------- */

static void
join(struct object *a, struct object *b)
{
	a->peer = b;
	b->peer = a;
}

int
socketpair(int domain, int type, int protocol, int fds[2])
{
	struct object *a, *b;

	if (!my.is_mounted)
		return (int)syscall(
		    SYS_socketpair, domain, type, protocol, fds);
	join(a = make(SOCKET), b = make(SOCKET));
	fds[0] = install(a);
	fds[1] = install(b);
	return 0;
}

int
socket(int domain, int type, int protocol)
{
	if (!my.is_mounted)
		return (int)syscall(SYS_socket, domain, type, protocol);
	LT_ASSERT(domain == AF_UNIX && (type & 15) == SOCK_SEQPACKET);
	return install(make(SOCKET));
}

int
bind(int fd, const struct sockaddr *addr, socklen_t bytes)
{
	struct object *o = find_kind(fd, SOCKET);

	if (o == NULL)
		return (int)syscall(SYS_bind, fd, addr, bytes);
	LT_ASSERT(my.listener == NULL);
	my.listener = o;
	memcpy(&my.at, addr, bytes);
	return 0;
}

int
listen(int fd, int backlog)
{
	return find(fd) != NULL ? 0 : (int)syscall(SYS_listen, fd, backlog);
}

int
connect(int fd, const struct sockaddr *addr, socklen_t bytes)
{
	struct object *o = find_kind(fd, SOCKET), *other, **at;

	if (o == NULL)
		return (int)syscall(SYS_connect, fd, addr, bytes);
	if (my.listener == NULL ||
	    strcmp(my.at.sun_path,
		((const struct sockaddr_un *)addr)->sun_path) != 0) {
		errno = ECONNREFUSED;
		return -1;
	}
	join(o, other = make(SOCKET));
	other->refs++;
	for (at = &my.listener->waiting; *at != NULL; at = &(*at)->next)
		;
	*at = other;
	return 0;
}

int
accept4(int fd, struct sockaddr *addr, socklen_t *bytes, int flags)
{
	struct object *o = find_kind(fd, SOCKET), *other;

	if (o == NULL)
		return (int)syscall(SYS_accept4, fd, addr, bytes, flags);
	other = o->waiting;
	if (other == NULL) {
		errno = EAGAIN;
		return -1;
	}
	o->waiting = other->next;
	other->next = NULL;
	fd = install(other);
	other->refs--;
	return fd;
}

/* The peer is this process. */
int
getsockopt(int fd, int level, int name, void *value, socklen_t *bytes)
{
	struct ucred *cred = value;

	if (find_kind(fd, SOCKET) == NULL)
		return (int)syscall(
		    SYS_getsockopt, fd, level, name, value, bytes);
	LT_ASSERT(level == SOL_SOCKET);
	switch (name) {
	case SO_PEERCRED:
		cred->pid = getpid();
		cred->uid = geteuid();
		cred->gid = getegid();
		return 0;
	case SO_PEERGROUPS:
		*bytes = 0;
		return 0;
	case SO_PEERPIDFD:
		*(int *)value = install(make(PROCESS));
		return 0;
	}
	errno = ENOPROTOOPT;
	return -1;
}

static struct object *
pass(int fd)
{
	struct object *o = find(fd);

	if (o == NULL) {
		o = make(FOREIGN);
		o->foreign = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
		LT_ASSERT(o->foreign >= 0);
	}
	o->refs++;
	return o;
}

/* 0, or errno. */
static int
may_send(struct object *o, size_t bytes)
{
	int error = o->error;

	o->error = 0;
	if (error != 0)
		return error;
	if (o->peer == NULL)
		return EPIPE;
	if (bytes > SEND_BYTES - 32)
		return EMSGSIZE;
	return o->peer->unread >= SEND_BYTES ? EAGAIN : 0;
}

ssize_t
sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct object *o = find_kind(fd, SOCKET);
	struct cmsghdr *c =
	    msg->msg_controllen == 0 ? NULL : CMSG_FIRSTHDR(msg);
	struct message *m;
	size_t bytes;

	if (o == NULL)
		return syscall(SYS_sendmsg, fd, msg, flags);
	LT_ASSERT(msg->msg_iovlen == 1);
	bytes = msg->msg_iov->iov_len;
	errno = may_send(o, bytes);
	if (errno != 0)
		return -1;
	m = malloc(sizeof(*m) + bytes);
	LT_ASSERT(m != NULL);
	m->next = NULL;
	m->bytes = bytes;
	m->fd_count = 0;
	memcpy(m->data, msg->msg_iov->iov_base, bytes);
	if (c != NULL) {
		LT_ASSERT(c->cmsg_type == SCM_RIGHTS);
		m->fd_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		LT_ASSERT(m->fd_count <= PASSED);
	}
	for (size_t i = 0; i < m->fd_count; i++) {
		int passed;

		memcpy(&passed, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
		m->passed[i] = pass(passed);
	}
	*o->peer->tail = m;
	o->peer->tail = &m->next;
	o->peer->unread += bytes + MESSAGE_BYTES;
	return (ssize_t)bytes;
}

ssize_t
send(int fd, const void *p, size_t bytes, int flags)
{
	struct iovec iov = {.iov_base = (void *)p, .iov_len = bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return sendmsg(fd, &msg, flags);
}

static int
arrive(struct object *o)
{
	int fd;

	if (o->kind != FOREIGN)
		return install(o);
	fd = o->foreign;
	o->foreign = -1;
	return fd;
}

ssize_t
recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct object *o = find_kind(fd, SOCKET);
	struct cmsghdr *c = msg->msg_control;
	struct message *m;
	size_t bytes, length;

	if (o == NULL)
		return syscall(SYS_recvmsg, fd, msg, flags);
	errno = o->error;
	o->error = 0;
	if (errno != 0)
		return -1;
	m = o->head;
	if (m == NULL) {
		msg->msg_controllen = 0;
		msg->msg_flags = 0;
		errno = EAGAIN;
		return o->peer == NULL ? 0 : -1;
	}
	bytes = msg->msg_iov->iov_len;
	msg->msg_flags = m->bytes > bytes ? MSG_TRUNC : 0;
	bytes = m->bytes < bytes ? m->bytes : bytes;
	memcpy(msg->msg_iov->iov_base, m->data, bytes);
	length = m->fd_count * sizeof(int);
	LT_ASSERT(length == 0 || CMSG_LEN(length) <= msg->msg_controllen);
	msg->msg_controllen = length == 0 ? 0 : CMSG_SPACE(length);
	if (length > 0)
		*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(length),
		    .cmsg_level = SOL_SOCKET,
		    .cmsg_type = SCM_RIGHTS};
	for (size_t i = 0; i < m->fd_count; i++) {
		int passed = arrive(m->passed[i]);

		memcpy(CMSG_DATA(c) + i * sizeof(int), &passed, sizeof(int));
	}
	drop_message(o);
	return (ssize_t)bytes;
}

/* --- waiting -------------------------------------------------------------- */

static uint32_t
ready(const struct object *o)
{
	uint32_t events = 0;

	if (o->kind == EVENT)
		return EPOLLOUT | (o->count > 0 ? EPOLLIN : 0);
	if (o->kind != SOCKET)
		return 0;
	if (o == my.listener)
		return o->waiting != NULL ? EPOLLIN : 0;
	if (o->head != NULL)
		events |= EPOLLIN;
	if (o->error != 0)
		events |= EPOLLERR;
	if (o->peer == NULL)
		events |= EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP;
	else if (o->peer->unread <= SEND_BYTES / 4)
		events |= EPOLLOUT;
	return events;
}

int
epoll_create1(int flags)
{
	if (!my.is_mounted)
		return (int)syscall(SYS_epoll_create1, flags);
	LT_ASSERT(my.watch_count == 0);
	my.turn = 0;
	return install(make(EPOLL));
}

int
epoll_ctl(int set, int op, int fd, struct epoll_event *event)
{
	struct object *o = find(fd);
	struct watch *w = my.watch, *end = my.watch + my.watch_count;

	if (find_kind(set, EPOLL) == NULL)
		return (int)syscall(SYS_epoll_ctl, set, op, fd, event);
	errno = o == NULL ? EBADF : o->kind == MEMORY ? EPERM : 0;
	if (errno != 0)
		return -1;
	while (w < end && (w->of != o || w->fd != fd))
		w++;
	if ((w == end) != (op == EPOLL_CTL_ADD)) {
		errno = op == EPOLL_CTL_ADD ? EEXIST : ENOENT;
		return -1;
	}
	if (op == EPOLL_CTL_DEL) {
		unwatch((size_t)(w - my.watch));
		return 0;
	}
	if (op == EPOLL_CTL_ADD) {
		LT_ASSERT(my.watch_count++ < WATCHES);
		o->watches++;
		w->of = o;
		w->fd = fd;
	}
	w->events = event->events | EPOLLHUP | EPOLLERR;
	w->data = event->data;
	return 0;
}

/* Who was left out comes first the next time. */
int
epoll_wait(int set, struct epoll_event *events, int max, int timeout_ms)
{
	int n = 0;

	if (find_kind(set, EPOLL) == NULL)
		return (int)syscall(SYS_epoll_pwait, set, events, max,
		    timeout_ms, NULL, sizeof(sigset_t));
	for (size_t i = 0; i < my.watch_count && n < max; i++) {
		const struct watch *w =
		    &my.watch[(my.turn + i) % my.watch_count];
		uint32_t now = ready(w->of) & w->events;

		if (now == 0)
			continue;
		events[n].events = now;
		events[n++].data = w->data;
		if (n == max)
			my.turn = (my.turn + i + 1) % my.watch_count;
	}
	return n;
}

/* -1: not ours. */
static int
look(struct pollfd *fds, nfds_t count)
{
	int n = 0;

	for (nfds_t i = 0; i < count; i++) {
		struct object *o = find(fds[i].fd);
		unsigned wanted = (unsigned)fds[i].events | POLLHUP | POLLERR;

		if (o == NULL)
			return -1;
		fds[i].revents = (short)(ready(o) & wanted);
		n += fds[i].revents != 0;
	}
	return n;
}

/* By another name: glibc declares that poll() only writes. */
int memfds_poll(struct pollfd *fds, nfds_t count, int timeout_ms) __asm__(
    "poll");
int
memfds_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec ts = {timeout_ms / 1000, timeout_ms % 1000 * 1000000l};
	int n = count == 0 ? -1 : look(fds, count);

	return n >= 0
		   ? n
		   : (int)syscall(SYS_ppoll, fds, count,
			 timeout_ms < 0 ? NULL : &ts, NULL, sizeof(sigset_t));
}

/* --- files ---------------------------------------------------------------- */

int
eventfd(unsigned count, int flags)
{
	struct object *o;

	if (!my.is_mounted)
		return (int)syscall(SYS_eventfd2, count, flags);
	o = make(EVENT);
	o->count = count;
	return install(o);
}

ssize_t
read(int fd, void *buf, size_t bytes)
{
	struct object *o = find_kind(fd, EVENT);

	if (o == NULL)
		return syscall(SYS_read, fd, buf, bytes);
	errno = o->count == 0 ? EAGAIN : 0;
	memcpy(buf, &o->count, sizeof(o->count));
	o->count = 0;
	return errno == 0 ? (ssize_t)sizeof(o->count) : -1;
}

ssize_t
write(int fd, const void *buf, size_t bytes)
{
	struct object *o = find_kind(fd, EVENT);
	uint64_t more;

	if (o == NULL)
		return syscall(SYS_write, fd, buf, bytes);
	memcpy(&more, buf, sizeof(more));
	o->count += more;
	return sizeof(more);
}

int
memfd_create(const char *name, unsigned flags)
{
	struct object *o;

	if (!my.is_mounted)
		return (int)syscall(SYS_memfd_create, name, flags);
	o = make(MEMORY);
	o->ino = ++my.last_ino;
	o->seals = flags & MFD_ALLOW_SEALING ? 0 : F_SEAL_SEAL;
	o->next_memory = my.memory;
	my.memory = o;
	return install(o);
}

/* Once: such a file gets its size before it is used, and then is sealed. */
int
ftruncate(int fd, off_t bytes)
{
	struct object *o = find_kind(fd, MEMORY);

	if (o == NULL)
		return (int)syscall(SYS_ftruncate, fd, bytes);
	LT_ASSERT(bytes > 0);
	if (o->base != NULL) {
		errno = EPERM;
		return -1;
	}
	o->size = (size_t)bytes;
	if (o->size > LARGE) {
		o->base = (uint8_t *)syscall(SYS_mmap, NULL, o->size,
		    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		LT_ASSERT(o->base != MAP_FAILED);
		return 0;
	}
	o->base = aligned_alloc(4096, (o->size + 4095) / 4096 * 4096);
	LT_ASSERT(o->base != NULL);
	memset(o->base, 0, o->size);
	return 0;
}

int
fallocate(int fd, int mode, off_t at, off_t bytes)
{
	return find_kind(fd, MEMORY) != NULL
		   ? 0
		   : (int)syscall(SYS_fallocate, fd, mode, at, bytes);
}

int
fchmod(int fd, mode_t mode)
{
	return find(fd) != NULL ? 0 : (int)syscall(SYS_fchmod, fd, mode);
}

int
fstat(int fd, struct stat *st)
{
	struct object *o = find(fd);

	if (o == NULL)
		return fstatat(fd, "", st, AT_EMPTY_PATH);
	memset(st, 0, sizeof(*st));
	st->st_mode = (o->kind == MEMORY ? S_IFREG : S_IFSOCK) | 0600;
	if (o->kind == MEMORY) {
		st->st_ino = o->ino;
		st->st_size = (off_t)o->size;
	}
	return 0;
}

void *
mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t off)
{
	struct object *o = find_kind(fd, MEMORY);

	if (o == NULL)
		return (void *)syscall(
		    SYS_mmap, at, bytes, prot, flags, fd, off);
	LT_ASSERT(off == 0 && bytes <= o->size && flags == MAP_SHARED);
	if (prot & PROT_WRITE && o->seals & F_SEAL_FUTURE_WRITE) {
		errno = EPERM;
		return MAP_FAILED;
	}
	o->refs++;
	o->maps++;
	return o->base;
}

int
munmap(void *p, size_t bytes)
{
	for (struct object *o = my.memory; o != NULL; o = o->next_memory)
		if (o->base == p && o->maps > 0) {
			o->maps--;
			unref(o);
			return 0;
		}
	return (int)syscall(SYS_munmap, p, bytes);
}

/* --- the test's side ------------------------------------------------------ */

void
memfds_mount(void)
{
	my.is_mounted = 1;
}

size_t
memfds_open(void)
{
	return my.open;
}
