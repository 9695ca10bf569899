/*
 * segment.c - create, attach and seal shared segments (memfds).
 *
 * May be called by any process; one thread. Memory of a segment that clients
 * can make the broker touch is reserved at creation: tmpfs memory that cannot
 * be had is LEAT_E_NOSPACE here, never a SIGBUS later.
 */
#include "config.h"
#include "shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "leat/status.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

_Static_assert(sizeof(struct lt_segment_head) == 64, "segment head");

static int
make_memfd(const char *name)
{
	int fd = lt_sys.memfd_create(
	    name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) /* a kernel before 6.3 */
		fd = lt_sys.memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

int
lt_segment_create(struct lt_segment *seg, const char *name,
    const struct lt_segment_head *head, int reserve, int *fd_out)
{
	size_t bytes = LT_SEGMENT_DATA_AT + head->data_bytes;
	void *base;
	int fd, status;

	memset(seg, 0, sizeof(*seg));
	fd = make_memfd(name);
	if (fd < 0)
		return lt_sys_status(errno);
	if (fchmod(fd, 0600) < 0 || lt_sys.ftruncate(fd, (off_t)bytes) < 0)
		goto fail;
	if (reserve && lt_sys.fallocate(fd, 0, 0, (off_t)bytes) < 0)
		goto fail;
	base =
	    lt_sys.mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		goto fail;
	seg->base = base;
	seg->bytes = bytes;
	seg->writable = 1;
	seg->head = *head;
	seg->head.version = LT_SEGMENT_VERSION;
	seg->head.head_bytes = sizeof(struct lt_segment_head);
	seg->head.total_bytes = bytes;
	memcpy(base, &seg->head, sizeof(seg->head));
	*fd_out = fd;
	return LEAT_OK;
fail:
	status = errno == ENOMEM ? LEAT_E_NOSPACE : lt_sys_status(errno);
	lt_log_warn("segment-create-failed", "name=%s bytes=%zu error=\"%s\"",
	    name, bytes, strerror(errno));
	close(fd);
	return status;
}

/* Is the private copy of a head one that we could have written? */
static int
check_head(const struct lt_segment_head *head, enum lt_segment_kind kind,
    uint64_t file_bytes)
{
	if (head->magic != (uint32_t)kind)
		return LEAT_E_CORRUPT;
	if (head->version != LT_SEGMENT_VERSION ||
	    head->head_bytes != sizeof(*head))
		return LEAT_E_VERSION;
	if (head->total_bytes != file_bytes ||
	    head->data_bytes != file_bytes - LT_SEGMENT_DATA_AT)
		return LEAT_E_CORRUPT;
	return LEAT_OK;
}

int
lt_segment_attach(struct lt_segment *seg, int fd, enum lt_segment_kind kind,
    int writable, int need_seals)
{
	struct stat st;
	void *base;
	int status, seals, prot = PROT_READ | (writable ? PROT_WRITE : 0);

	memset(seg, 0, sizeof(*seg));
	if (lt_sys.fstat(fd, &st) < 0)
		return lt_sys_status(errno);
	if (!S_ISREG(st.st_mode) || st.st_size <= LT_SEGMENT_DATA_AT)
		return LEAT_E_CORRUPT;
	if (need_seals) {
		seals = fcntl(fd, F_GET_SEALS);
		if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) !=
				     (F_SEAL_SHRINK | F_SEAL_GROW))
			return LEAT_E_CORRUPT;
	}
	base = lt_sys.mmap(NULL, (size_t)st.st_size, prot, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return lt_sys_status(errno);
	seg->base = base;
	seg->bytes = (size_t)st.st_size;
	seg->writable = writable;
	memcpy(&seg->head, base, sizeof(seg->head));
	status = check_head(&seg->head, kind, (uint64_t)st.st_size);
	if (status != LEAT_OK)
		lt_segment_detach(seg);
	return status;
}

void
lt_segment_detach(struct lt_segment *seg)
{
	if (seg->base != NULL)
		munmap(seg->base, seg->bytes);
	seg->base = NULL;
	seg->bytes = 0;
}

int
lt_segment_seal(int fd, int read_only)
{
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, have;

	if (read_only)
		seals |= F_SEAL_FUTURE_WRITE;
	/* A predecessor may have done it. */
	have = fcntl(fd, F_GET_SEALS);
	if (have >= 0 && (have & seals) == seals)
		return LEAT_OK;
	if (fcntl(fd, F_ADD_SEALS, seals) < 0)
		return lt_sys_status(errno);
	return LEAT_OK;
}
